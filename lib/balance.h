/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pages that go from pool to pool of one task. slot->lock held. */

#include <stdbool.h>

struct tm_slot;

/* Gives free pages to the pools that are waited for; when there are too few, takes from pools that
 * have more than their part. What is idle there goes over at once, the rest as it is released:
 * then a later turn has it. */
void balance_pools(struct tm_slot *slot);
