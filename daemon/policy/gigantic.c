/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kernel takes back whole pages, so one of 1 GiB is free only when no buffer of its 512 chunks
 * is in use: what can be lent, and is asked back with a deadline, must not be of these. So they are
 * for pools that neither grow nor shrink, all of which is guaranteed. Such a pool is promised pages
 * of its own, and is no part of what the others divide: neither takes the other's.
 *
 * It is chosen when a pool is promised, not when it is filled, because until then another promise
 * could be made of the same pages.
 */

#include "policy/gigantic.h"

#include <string.h>

#include "base/attr.h"

bool gigantic_suits(const struct slot_policy *policy)
{
	return policy->node != NODE_ANY && policy->pool_min_bytes > 0 &&
	       policy->pool_min_bytes == policy->pool_max_bytes &&
	       policy->pool_min_bytes % GIGANTIC_BYTES == 0;
}

uint64_t gigantic_promised(const struct slot_policy *slots, size_t n_slots, int node,
			   const char *without)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_slots; i++)
		if (slots[i].is_gigantic && slots[i].node == node &&
		    !(without && strcmp(slots[i].name, without) == 0))
			sum += slots[i].pool_min_bytes / GIGANTIC_BYTES;
	return sum;
}

bool gigantic_choose(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
		     size_t n_slots, const struct slot_policy *candidate)
{
	uint64_t promised;

	if (candidate->keeps_pages)
		return candidate->is_gigantic;
	if (!gigantic_suits(candidate))
		return false;
	for (size_t k = 0; k < n_nodes; k++) {
		if (nodes[k].node != candidate->node)
			continue;
		promised = gigantic_promised(slots, n_slots, nodes[k].node, candidate->name);
		return promised <= nodes[k].gigantic &&
		       candidate->pool_min_bytes / GIGANTIC_BYTES <= nodes[k].gigantic - promised;
	}
	return false;
}

uint32_t gigantic_down(uint32_t chunks)
{
	return chunks - chunks % GIGANTIC_CHUNKS;
}

uint32_t gigantic_up(uint32_t chunks)
{
	if (chunks > UINT32_MAX - GIGANTIC_CHUNKS)
		return gigantic_down(UINT32_MAX);
	return gigantic_down(chunks + GIGANTIC_CHUNKS - 1);
}

void gigantic_divide(struct gigantic_task *tasks, size_t n, uint32_t n_share)
{
	uint32_t n_held = 0, n_left;

	for (size_t i = 0; i < n; i++)
		n_held += tasks[i].n_held;
	n_left = n_share > n_held ? gigantic_down(n_share - n_held) : 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t wanted = gigantic_up(tasks[i].wanted), n_more = 0;

		if (wanted > tasks[i].n_held)
			n_more = MIN(wanted - tasks[i].n_held, n_left);
		tasks[i].target = tasks[i].n_held + n_more;
		n_left -= n_more;
	}
}
