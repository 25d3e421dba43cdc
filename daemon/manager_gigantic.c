/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "policy/admit.h"
#include "policy/gigantic.h"

/*
 * Pools of pages of 1 GiB: policy/gigantic.h says which. They are promised with the pool, and that
 * they are there is looked at again when the first task attaches: somebody else may have taken them,
 * or the host been booted with fewer. From then on until the last task detaches the pool stays what
 * it is.
 */

uint64_t manager_gigantic_free(const struct manager *manager, int node)
{
	struct hugetlb_counts counts;

	if (!tree_get_controllers(manager->tree)->hugetlb ||
	    hugetlb_read(node, PAGES_GIGANTIC, &counts) < 0)
		return 0;
	return counts.free;
}

uint32_t slot_gigantic_available(const struct slot *slot)
{
	uint64_t n_free = manager_gigantic_free(slot->manager, slot->policy.node) * GIGANTIC_CHUNKS;

	if (slot->n_granted >= slot->pool_share_chunks)
		return 0;
	return gigantic_down(
		(uint32_t)MIN(n_free, (uint64_t)slot->pool_share_chunks - slot->n_granted));
}

void slot_divide_gigantic(struct slot *slot)
{
	CLEANUP(freep) struct gigantic_task *tasks = NULL;
	struct grant *grant;
	size_t n = 0;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		n++;
	tasks = calloc(n, sizeof(*tasks));
	if (!tasks)
		return;
	n = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot)
		tasks[n++] = (struct gigantic_task){ .n_held = grant->n_held + grant->n_pending,
						     .wanted = grant->wanted };
	gigantic_divide(tasks, n, slot->pool_share_chunks);
	n = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot)
		grant_set_target(grant, tasks[n++].target);
}

/* ---- which pools */

/* Without them again, as far as its guarantee fits among the others. */
static bool may_do_without(const struct slot *slot, const struct slot_policy *policies)
{
	const struct manager *manager = slot->manager;
	struct slot_policy policy = slot->policy;
	struct refusal refusal;

	policy.min_bytes = slot_min_bytes(slot);
	policy.is_gigantic = false;
	policy.keeps_pages = true;
	return admit(manager->nodes, manager->n_nodes, policies, manager->n_slots, &policy,
		     &refusal) == ADMIT_OK;
}

static void slot_tell_pages(const struct slot *slot, uint64_t n_free)
{
	unsigned long long n = slot->policy.pool_min_bytes / GIGANTIC_BYTES;
	const char *name = slot->policy.name;
	int node = slot->policy.node;

	if (slot->policy.is_gigantic)
		events_add(slot->manager->events, LOG_LEVEL_NOTICE, "pool-pages", NULL, name,
			   "the pool of slot %s is of 1G huge pages from now on: node %d has the "
			   "%llu that it takes",
			   name, node, n);
	else
		events_add(
			slot->manager->events, LOG_LEVEL_WARNING, "pool-pages", NULL, name,
			"the pool of slot %s is not of 1G huge pages any more: it takes %llu, and "
			"node %d has %llu free",
			name, n, node, (unsigned long long)n_free);
}

void slot_settle_pages(struct slot *slot)
{
	struct manager *manager = slot->manager;
	CLEANUP(freep) struct slot_policy *policies = manager_copy_policies(manager);
	struct slot_policy policy = slot->policy;
	struct fault fault = { .node = NODE_ANY };
	uint64_t n_free;

	if (!policies || !list_is_empty(&slot->grants) ||
	    !(policy.is_gigantic || gigantic_suits(&policy)))
		return;
	n_free = manager_gigantic_free(manager, policy.node);
	policy.is_gigantic = gigantic_choose(manager->nodes, manager->n_nodes, policies,
					     manager->n_slots, &policy) &&
			     n_free >= policy.pool_min_bytes / GIGANTIC_BYTES;
	if (policy.is_gigantic == slot->policy.is_gigantic ||
	    (!policy.is_gigantic && !may_do_without(slot, policies)))
		return; /* in the second case it is refused with the number that failed */
	if (manager_record(manager, &policy, &fault) != FAULT_NONE) {
		log_warning("slot %s keeps its kind of pages: %s", policy.name, fault.message);
		return;
	}
	slot->policy = policy;
	slot_note_policy(slot);
	manager_replan_pools(manager);
	slot_tell_pages(slot, n_free);
}

enum fault_kind slot_check_gigantic(const struct slot *slot, const struct slot_policy *policy,
				    struct fault *fault)
{
	char held[FORMAT_BYTES_MAX];

	if (!slot->policy.is_gigantic || list_is_empty(&slot->grants) ||
	    (gigantic_suits(policy) && policy->pool_min_bytes >= slot->n_granted * CHUNK_BYTES))
		return FAULT_NONE;
	(void)snprintf(fault->field, sizeof(fault->field), "pool");
	fault->node = policy->node;
	fault->needed = slot->n_granted * CHUNK_BYTES;
	return fault_set(
		fault, FAULT_REFUSED,
		"tasks of slot %s hold %s in pages of 1G, which are given back when they "
		"detach or end: until then pool= and pool-max= can only be raised, both to "
		"the same number of whole GiB",
		policy->name, format_bytes(fault->needed, held));
}

/* ---- what is shown */

void manager_view_gigantic(const struct manager *manager, size_t i, struct node_view *view)
{
	int node = manager->nodes[i].node;

	view->gigantic_free = MIN(manager_gigantic_free(manager, node), manager->nodes[i].gigantic);
	for (size_t k = 0; k < manager->n_slots; k++) {
		const struct slot *slot = manager->slots[k];

		if (slot->policy.node != node || !slot->policy.is_gigantic)
			continue;
		view->gigantic_promised += slot->pool_guaranteed_chunks / GIGANTIC_CHUNKS;
		view->gigantic_granted += slot->n_granted / GIGANTIC_CHUNKS;
	}
}
