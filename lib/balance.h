/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pages that go from pool to pool of one task. slot->lock held. */

#include <stdint.h>

struct tm_slot;

/* Gives free pages to the pools that are waited for; when there are too few, takes from pools that
 * have more than their part. What is idle there goes over at once, the rest as it is released:
 * then a later turn has it. */
void balance_pools(struct tm_slot *slot);
/* Frees up to @n pages that pools leave idle, beyond their minimum: a new pool's minimum goes
 * before the others' excess. Return: how many. */
uint32_t balance_reclaim(struct tm_slot *slot, uint32_t n);
