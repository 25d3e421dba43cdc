/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may do what. Pure; everybody may read. */

#include <stdbool.h>

#include "base/attr.h"
#include "model.h"

enum right {
	RIGHT_ADMINISTER, /* make, remove and change slots */
	RIGHT_TUNE,       /* change weight and max of a slot */
	RIGHT_RUN,        /* bring a process into a slot */
	RIGHT_ATTACH,     /* get pages of the slot that one's process is in */
	RIGHT_COMMAND,    /* name a command that is run as the slot's owner */
};

/* @slot: the policy of the slot it is about; NULL for RIGHT_ADMINISTER. */
MUST_USE bool rights_may(const struct peer *peer, enum right right, const struct slot_policy *slot);
