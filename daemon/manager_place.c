/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"
#include "policy/booking.h"
#include "policy/placement.h"

/*
 * Where a slot without a node of its own is best. What other slots count for is not what they use:
 * page cache fills whatever there is. It is what was booked for them, or what they use and are
 * shown to need up to their share, which nobody takes from them.
 */

static uint64_t slot_claim_bytes(const struct slot *slot)
{
	uint64_t booked = MAX(booking_of(&slot->policy), slot_min_bytes(slot)), usage = 0;

	if (cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK)
		usage = 0;
	return MAX(booked, MIN(MAX(usage, slot->control.demand_bytes), slot->share_bytes));
}

/* What all slots but @except claim of the @k-th node. */
static uint64_t node_claimed(const struct manager *manager, size_t k, const struct slot *except)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manager->n_slots; i++) {
		const struct slot *slot = manager->slots[i];

		if (slot == except)
			continue;
		if (slot->policy.node == manager->nodes[k].node)
			sum += slot_claim_bytes(slot);
		else if (slot->policy.node == NODE_ANY)
			sum += entitle_part_of_bytes(manager->nodes, manager->n_nodes, k,
						     slot->policy.name, slot_claim_bytes(slot));
	}
	return sum;
}

/* As slot_admit_on(), for a node that is named. */
static enum fault_kind admit_there(struct slot *slot, const struct slot_policy *others,
				   uint64_t closed, int node, struct slot_policy *ret_policy,
				   struct fault *fault)
{
	struct manager *manager = slot->manager;
	struct add_request request = { .policy = slot->policy };
	enum fault_kind kind;

	*ret_policy = slot->policy;
	if (node == slot->policy.node)
		return FAULT_NONE;
	request.policy.node = node;
	request.policy.min_bytes = slot_min_bytes(slot);
	request.min_grant_bytes = slot->policy.is_need_predicted ? 0 : slot->policy.grant_bytes;
	kind = manager_try_add(manager, &request, others, manager->n_slots, closed, ret_policy,
			       fault);
	ret_policy->min_bytes = slot->policy.min_bytes;
	return kind;
}

/* How each node would be for the slot, and its policy there. Return: false without memory. */
static bool slot_survey(struct slot *slot, struct placement_node nodes[static NODES_MAX],
			struct slot_policy policies[static NODES_MAX])
{
	struct manager *manager = slot->manager;
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(manager);
	struct queue_entry entry =
		admission_entry(manager, &slot->policy, /* choose_node= */ true, 0);
	uint64_t closed = admission_closed_nodes(manager, &entry);

	if (!others)
		return false;
	for (size_t k = 0; k < manager->n_nodes; k++) {
		const struct node_info *info = &manager->nodes[k];

		struct fault fault = { .node = NODE_ANY };

		nodes[k] = (struct placement_node){
			.node = info->node,
			.is_admitted = admit_there(slot, others, closed, info->node, &policies[k],
						   &fault) == FAULT_NONE,
			.grant_bytes = policies[k].grant_bytes,
			.budget_bytes = info->budget_bytes - info->reserve_bytes,
			.used_bytes = node_claimed(manager, k, slot),
			.free_chunks = MAX(slot_chunks_free_on(slot, k, PAGES_HUGE),
					   slot_chunks_free_on(slot, k, PAGES_TRANSPARENT)),
		};
		if (policies[k].is_gigantic)
			nodes[k].free_chunks =
				manager_gigantic_free(manager, info->node) * GIGANTIC_CHUNKS;
	}
	return true;
}

static struct placement_wish slot_wish(const struct slot *slot)
{
	uint64_t bytes = MAX(slot->policy.need_bytes, slot_min_bytes(slot));

	/* of an empty one the last task's page cache is no wish */
	if (slot_is_populated(slot))
		bytes = MAX(bytes, slot_claim_bytes(slot));
	return (struct placement_wish){
		.node = slot->policy.node,
		.bytes = bytes,
		.chunks = slot->policy.pool_max_bytes / CHUNK_BYTES,
	};
}

static enum fault_kind admit_best(struct slot *slot, struct slot_policy *ret_policy,
				  struct fault *fault)
{
	CLEANUP(freep) struct slot_policy *policies = calloc(NODES_MAX, sizeof(*policies));
	struct placement_wish wish = slot_wish(slot);
	struct placement_node nodes[NODES_MAX];
	size_t k;

	if (!policies || !slot_survey(slot, nodes, policies))
		return fault_set(fault, FAULT_FAILED, "out of memory");
	k = placement_choose(nodes, slot->manager->n_nodes, &wish);
	if (k == PLACEMENT_NOWHERE) /* not even where it is: it is on no one node */
		return fault_set(fault, FAULT_REFUSED, "no single node has room for slot %s",
				 slot->policy.name);
	*ret_policy = policies[k];
	return FAULT_NONE;
}

/* Without a person's word for it, so it is held back like a request that comes now. */
static enum fault_kind admit_advised(struct slot *slot, struct slot_policy *ret_policy,
				     struct fault *fault)
{
	struct manager *manager = slot->manager;
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(manager);
	struct queue_entry entry =
		admission_entry(manager, &slot->policy, /* choose_node= */ false, 0);

	if (!others)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	return admit_there(slot, others, admission_closed_nodes(manager, &entry), slot->advice.node,
			   ret_policy, fault);
}

enum fault_kind slot_admit_on(struct slot *slot, int node, struct slot_policy *ret_policy,
			      struct fault *fault)
{
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(slot->manager);

	if (!others)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	if (node == NODE_BEST)
		return admit_best(slot, ret_policy, fault);
	return admit_there(slot, others, /* closed= */ 0, node, ret_policy, fault);
}

static bool may_be_placed_anew(const struct slot *slot)
{
	return slot->policy.is_node_auto && slot->policy.node != NODE_ANY &&
	       slot->manager->n_nodes > 1 && list_is_empty(&slot->grants) &&
	       slot->lease_bytes == 0 && !slot_is_populated(slot);
}

/* It takes what it books of its new node, and passes who waits for that as a request would that
 * came now. */
static void slot_count_pass(struct slot *slot)
{
	struct manager *manager = slot->manager;
	struct queue_entry entry =
		admission_entry(manager, &slot->policy, /* choose_node= */ false, 0);

	admission_note_served(manager, &entry,
			      booking_nodes(manager->nodes, manager->n_nodes, &slot->policy));
}

void slot_place_anew(struct slot *slot)
{
	struct manager *manager = slot->manager;
	struct fault fault = { .node = NODE_ANY };
	struct slot_policy policy;
	int old = slot->policy.node;

	if (!may_be_placed_anew(slot) || admit_best(slot, &policy, &fault) != FAULT_NONE ||
	    policy.node == old)
		return;
	if (slot_relocate(slot, &policy, NULL, NULL, &fault) != FAULT_NONE) {
		log_warning("slot %s stays on node %d: %s", slot->policy.name, old, fault.message);
		return;
	}
	slot_count_pass(slot);
	events_add(manager->events, LOG_LEVEL_INFO, "slot-placed", MESSAGE_SLOT_PLACED,
		   slot->policy.name,
		   "slot %s, empty, went from node %d to node %d, where more of what it may need "
		   "is free",
		   slot->policy.name, old, slot->policy.node);
}

/* ---- advice */

static bool is_in_need(const struct slot *slot)
{
	return slot->control.track.class == CONTROL_EVIDENCE &&
	       !control_is_retested(&slot->control);
}

static int find_relief(struct slot *slot)
{
	CLEANUP(freep) struct slot_policy *policies = calloc(NODES_MAX, sizeof(*policies));
	struct placement_wish wish = slot_wish(slot);
	struct placement_node nodes[NODES_MAX];
	uint64_t usage = 0;
	size_t k;

	if (!policies || !slot_survey(slot, nodes, policies))
		return NODE_ANY;
	if (cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK)
		return NODE_ANY;
	wish.bytes = MAX(wish.bytes, MAX(usage, slot->control.demand_bytes));
	k = placement_relief(nodes, slot->manager->n_nodes, &wish);
	return k == PLACEMENT_NOWHERE ? NODE_ANY : nodes[k].node;
}

static bool may_be_moved_now(const struct slot *slot)
{
	return slot->manager->config->move == CONFIG_MOVE_AUTO && slot->policy.is_node_auto &&
	       list_is_empty(&slot->grants) && !slot->removal &&
	       !leftover_find(slot->manager, slot->policy.name, NODES_MAX);
}

static void slot_tell_advice(struct slot *slot)
{
	struct manager *manager = slot->manager;
	struct fault fault = { .node = NODE_ANY };
	struct slot_policy policy;
	bool is_moved = may_be_moved_now(slot);
	char text[ADVICE_TEXT_MAX];

	(void)slot_advice(slot, text);
	events_add(manager->events, LOG_LEVEL_NOTICE, "move-advised", MESSAGE_MOVE_ADVISED,
		   slot->policy.name, "slot %s %s%s", slot->policy.name, text,
		   is_moved ? "; it is moved now (move=auto)" : "");
	if (!is_moved)
		return;
	if (admit_advised(slot, &policy, &fault) != FAULT_NONE ||
	    slot_relocate(slot, &policy, NULL, NULL, &fault) != FAULT_NONE)
		log_warning("slot %s could not be moved: %s", slot->policy.name, fault.message);
	else
		slot_count_pass(slot);
}

const char *slot_advice(const struct slot *slot, char buf[static ADVICE_TEXT_MAX])
{
	const struct advice *advice = &slot->advice;
	uint64_t since_s = (advice->seen_ns - advice->since_ns) / NS_PER_SEC;

	buf[0] = '\0';
	if (advice->is_advised)
		(void)snprintf(
			buf, ADVICE_TEXT_MAX,
			"has wanted more memory than node %d gives it for %llu s, and node %d "
			"has 1.2 times its size free: tmctl move %s node=%d%s",
			slot->policy.node, (unsigned long long)since_s, advice->node,
			slot->policy.name, advice->node,
			list_is_empty(&slot->grants) ? "" : " (when its tasks have detached)");
	return buf;
}

void advice_tick(struct manager *manager, uint64_t now_ns)
{
	if (manager->config->move == CONFIG_MOVE_OFF || manager->n_nodes < 2 ||
	    !manager_is_controlling(manager))
		return;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];
		int relief = NODE_ANY;

		if (slot->policy.node == NODE_ANY)
			continue;
		if (advice_wants_relief(&slot->advice))
			relief = find_relief(slot);
		if (advice_step(&slot->advice, is_in_need(slot), relief, now_ns) == ADVICE_TELL)
			slot_tell_advice(slot);
	}
}
