/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"

/*
 * Every request ends in manager_replan(): entitlements are computed from scratch and what differs
 * from what was last written is written. Writes to memory.min and memory.low reclaim nothing and
 * return at once (6.12), so they are done on the loop; memory.max goes through struct limit.
 */

#define GROUP_MAX_LEAST (UINT64_C(16) << 20)

/* The protection a slot gets is a little below its share: with all of the group's memory
 * protected, reclaim would find nothing and fall back to ignoring protection altogether. The
 * node's reserve is that room, so nothing is taken off here but the partial page. */
static uint64_t page_floor(uint64_t bytes)
{
	return bytes == BYTES_UNLIMITED ? bytes : bytes & ~UINT64_C(4095);
}

static void write_protection(struct slot *slot, enum cgdir_file file, uint64_t bytes,
			     uint64_t *written)
{
	uint64_t seen;
	int r;

	bytes = page_floor(bytes);
	if (bytes == *written)
		return;
	r = cgdir_write_u64(slot->cg, file, bytes);
	if (r == CGDIR_OK)
		r = cgdir_read_u64(slot->cg, file, &seen);
	if (r == CGDIR_ABSENT || r == CGDIR_GONE)
		return;
	if (r != CGDIR_OK || seen != bytes)
		log_warning("slot %s: the kernel did not take %llu for its protection (%d)",
			    slot->policy.name, (unsigned long long)bytes, r);
	else
		*written = bytes;
}

void slot_write_low(struct slot *slot)
{
	write_protection(slot, CG_MEMORY_LOW, slot_low_bytes(slot), &slot->low_written);
	/* What it should come to use is not 0 because an emergency has taken its protection. */
	slot_tell(slot, MAX(slot_planned_low_bytes(slot), slot->guaranteed_bytes),
		  slot_is_unprotected(slot) ? NOTICE_PRESSURE : NOTICE_SHARE);
}

static void slot_write(struct slot *slot, bool is_change, uint64_t now_ns)
{
	uint64_t max_bytes = page_floor(slot->policy.max_bytes);

	write_protection(slot, CG_MEMORY_MIN, slot->guaranteed_bytes, &slot->min_written);
	slot_plan_control(slot);
	if (slot->has_limit && slot->limit.shrink.target_bytes != max_bytes)
		slot_set_max(slot, max_bytes, now_ns);
	slot_write_low(slot);
	slot_divide_pool(slot);
	if (!is_change)
		slot->is_share_moving = false;
}

/* Shows where usage is going after the share changed, if there is usage that could move. */
static void slot_start_progress(struct slot *slot, uint64_t old_share, uint64_t now_ns)
{
	uint64_t usage;

	if (slot->share_bytes == old_share ||
	    cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK || usage == 0)
		return;
	/* Below its share before and after: nothing will be taken, and nothing was held back. */
	if (usage < slot->share_bytes && usage < old_share - old_share / 16)
		return;
	progress_start(&slot->share_progress, usage, slot->share_bytes, now_ns);
	slot->is_share_moving = slot->share_progress.phase == PROGRESS_MOVING;
}

static void group_write(struct node_group *group, uint64_t min_bytes, uint64_t max_bytes,
			uint64_t now_ns)
{
	if (!group->cg)
		return;
	min_bytes = page_floor(min_bytes);
	if (group->min_written != min_bytes &&
	    cgdir_write_u64(group->cg, CG_MEMORY_MIN, min_bytes) == CGDIR_OK)
		group->min_written = min_bytes;
	max_bytes = page_floor(max_bytes);
	if (group->has_limit && group->max_target != max_bytes) {
		group->max_target = max_bytes;
		limit_set(&group->limit, max_bytes, /* hold_until_ns= */ 0, now_ns);
	}
}

/* What is guaranteed to the slots of one group. The plan of a node counts the parts of the slots
 * without a node, too, whose guarantee is in a group of its own. */
static uint64_t group_guaranteed(const struct manager *manager, int node)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == node)
			sum += manager->slots[i]->guaranteed_bytes;
	return sum;
}

static bool group_has_slots(const struct manager *manager, int node)
{
	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == node)
			return true;
	return false;
}

static uint64_t group_max(const struct manager *manager, size_t i)
{
	uint64_t max = i < manager->n_nodes ? manager->node_plans[i].group_max_bytes
					    : manager->any_plan.group_max_bytes;

	/* With a limit of 0 not even a slot's directory could be made in it; slots that get nothing
	 * (a higher tier has all) need the kernel's own memory all the same. */
	if (max == 0 && !group_has_slots(manager, manager->groups[i].node))
		return BYTES_UNLIMITED;
	return leftovers_group_max(&manager->groups[i],
				   MAX(max, GROUP_MAX_LEAST) +
					   group_lent_bytes(&manager->groups[i]));
}

void manager_write_group_max(struct manager *manager, struct node_group *group)
{
	group_write(group, group_guaranteed(manager, group->node),
		    group_max(manager, (size_t)(group - manager->groups)), mono_now_ns());
}

void manager_protect(struct manager *manager)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i <= manager->n_nodes; i++) {
		const struct node_group *group = &manager->groups[i];

		bytes += group_guaranteed(manager, group->node);
		bytes += group->cg ? cgdir_get_apart(group->cg) : 0;
	}
	if (bytes != manager->protected_bytes && tree_protect(manager->tree, bytes) == 0)
		manager->protected_bytes = bytes;
}

/* Guarantees go up before anything of them is handed out, group limits before the slots'. */
static void manager_write(struct manager *manager, bool is_change, const uint64_t *old_shares)
{
	uint64_t now_ns = mono_now_ns();

	for (size_t i = 0; i <= manager->n_nodes; i++)
		group_write(&manager->groups[i], group_guaranteed(manager, manager->groups[i].node),
			    group_max(manager, i), now_ns);
	manager_protect(manager);
	for (size_t i = 0; i < manager->n_slots; i++) {
		slot_write(manager->slots[i], is_change, now_ns);
		if (is_change)
			slot_start_progress(manager->slots[i], old_shares[i], now_ns);
	}
}

/* ---- transparent pages of pools */

static uint64_t group_apart(const struct node_group *group)
{
	const struct manager *manager = group->manager;
	uint64_t sum = 0;

	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == group->node)
			sum += manager->slots[i]->n_transparent * CHUNK_BYTES;
	return sum;
}

static void group_set_apart(struct node_group *group, uint64_t bytes)
{
	if (!group->cg)
		return;
	cgdir_set_apart(group->cg, bytes);
	group->min_written = BYTES_UNLIMITED;
	if (group->has_limit)
		limit_follow(&group->limit, mono_now_ns());
	manager_write_group_max(group->manager, group);
}

void slot_set_apart(struct slot *slot, uint32_t n_more)
{
	struct node_group *group = manager_group(slot->manager, slot->policy.node);
	uint64_t bytes = ((uint64_t)slot->n_transparent + n_more) * CHUNK_BYTES;
	uint64_t before = cgdir_get_apart(slot->cg);
	uint64_t of_group = group_apart(group) + n_more * CHUNK_BYTES;

	if (bytes == before)
		return;
	/* room above before there is something below, and the other way round */
	if (bytes > before)
		group_set_apart(group, of_group);
	cgdir_set_apart(slot->cg, bytes);
	slot->min_written = slot->low_written = BYTES_UNLIMITED;
	write_protection(slot, CG_MEMORY_MIN, slot->guaranteed_bytes, &slot->min_written);
	write_protection(slot, CG_MEMORY_LOW, slot_low_bytes(slot), &slot->low_written);
	if (slot->has_limit)
		limit_follow(&slot->limit, mono_now_ns());
	if (bytes < before)
		group_set_apart(group, of_group);
}

void manager_adopt_apart(struct manager *manager)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		slot_count_granted(slot);
		cgdir_set_apart(slot->cg, slot->n_transparent * CHUNK_BYTES);
		if (slot->has_limit)
			limit_adopt(&slot->limit);
	}
	for (size_t i = 0; i <= manager->n_nodes; i++)
		if (manager->groups[i].cg)
			cgdir_set_apart(manager->groups[i].cg, group_apart(&manager->groups[i]));
}

/* Who should get what now, an array to be freed; NULL: the old plan stays. */
static struct entitle_slot *manager_plan(struct manager *manager)
{
	struct entitle_slot *plans = calloc(manager->n_slots + 1, sizeof(*plans));
	int r;

	if (!plans) {
		log_error("no memory for a plan of %zu slots; the old one stays", manager->n_slots);
		return NULL;
	}
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];
		uint64_t need = slot_pool_need_chunks(slot);

		slot->planned = slot->policy;
		slot->planned.min_bytes = slot_min_bytes(slot);
		plans[i].policy = &slot->planned;
		plans[i].pool_need_chunks = need == UINT64_MAX ? 0 : need;
	}
	r = entitle(manager->nodes, manager->n_nodes, plans, manager->n_slots, manager->node_plans,
		    &manager->any_plan);
	if (r < 0) {
		log_error("no plan could be made: %s; the old one stays", strerror(-r));
		free(plans);
		return NULL;
	}
	if (r == ENTITLE_OVERPROMISED)
		log_warning("guarantees exceed the memory of a node and were cut in proportion");
	return plans;
}

static void slot_plan_pool(struct slot *slot, const struct entitle_slot *plan)
{
	slot->pool_share_chunks = (uint32_t)plan->pool_share_chunks;
	slot->pool_guaranteed_chunks = (uint32_t)plan->pool_guaranteed_chunks;
}

void manager_replan_pools(struct manager *manager)
{
	CLEANUP(freep) struct entitle_slot *plans = manager_plan(manager);

	if (!plans)
		return;
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_plan_pool(manager->slots[i], &plans[i]);
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_divide_pool(manager->slots[i]);
}

void manager_replan(struct manager *manager, bool is_change)
{
	CLEANUP(freep) struct entitle_slot *plans = manager_plan(manager);
	CLEANUP(freep) uint64_t *old_shares = calloc(manager->n_slots + 1, sizeof(*old_shares));

	if (!plans || !old_shares)
		return;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		old_shares[i] = slot->share_bytes;
		slot->share_bytes = plans[i].share_bytes;
		slot->guaranteed_bytes = plans[i].guaranteed_bytes;
		slot_plan_pool(slot, &plans[i]);
	}
	manager_write(manager, is_change, old_shares);
	admission_kick(manager);
}
