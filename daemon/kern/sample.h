/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The counters of a slot that the control law looks at, in five reads of kept files. */

#include "base/attr.h"
#include "kern/cgdir.h"
#include "model.h"

/* What the kernel does not have (no PSI, no cpu controller) is 0. Return: an enum cgdir_cond or
 * -errno; @ret is left alone but for CGDIR_OK. */
MUST_USE int sample_read(struct cgdir *cg, struct memory_sample *ret);
