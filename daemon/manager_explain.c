/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mono.h"
#include "policy/booking.h"
#include "policy/explain.h"

/* Gathers what policy/explain.h puts in words. */

static void count_tier(const struct slot *slot, struct explain_tier *tier)
{
	const struct manager *manager = slot->manager;

	for (size_t i = 0; i < manager->n_slots; i++) {
		const struct slot *other = manager->slots[i];

		if (other->policy.node == slot->policy.node &&
		    other->policy.tier == slot->policy.tier)
			explain_count(tier, &other->policy, other->share_bytes,
				      other->guaranteed_bytes);
	}
}

static void sum_nodes(const struct slot *slot, struct explain_input *in)
{
	const struct manager *manager = slot->manager;

	for (size_t i = 0; i < manager->n_nodes; i++) {
		const struct node_info *node = &manager->nodes[i];

		if (slot->policy.node != NODE_ANY && slot->policy.node != node->node)
			continue;
		in->budget_bytes += node->budget_bytes;
		in->reserve_bytes += node->reserve_bytes;
	}
}

/* As the law saw them all at its last tick; of a dry run, as it sees them then. */
static void sum_controls(const struct slot *slot, struct explain_input *in)
{
	const struct manager *manager = slot->manager;
	bool is_shadow = in->control == &slot->shadow;

	for (size_t i = 0; i < manager->n_slots; i++) {
		const struct slot *other = manager->slots[i];

		if (other->policy.node == slot->policy.node)
			explain_count_group(&in->others, in->group,
					    is_shadow ? &other->shadow : &other->control);
	}
}

enum fault_kind manager_explain(struct manager *manager, const char *name,
				struct explain_view *ret_view, struct fault *fault)
{
	CLEANUP(freep) struct slot_view *view = malloc(sizeof(*view));
	const struct slot *slot = manager_find_slot(manager, name);
	struct explain_input in;
	uint64_t now_ns = mono_now_ns(), stuck_bytes = 0;
	enum fault_kind kind;

	(void)snprintf(fault->name, sizeof(fault->name), "%s", name);
	if (!view)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	kind = manager_view_slot(manager, name, view, fault);
	if (kind != FAULT_NONE)
		return kind;
	if (limit_read_stuck(slot->cg, &stuck_bytes) != CGDIR_OK)
		stuck_bytes = 0; /* there is no memory controller */
	in = (struct explain_input){
		.policy = &slot->policy,
		.share_bytes = slot->share_bytes,
		.guaranteed_bytes = slot->guaranteed_bytes,
		.requested_bytes = view->lease_bytes,
		.usage_bytes = view->usage_bytes,
		.swap_bytes = view->swap_bytes,
		.low_bytes = view->low_bytes,
		.unreclaimable_bytes = stuck_bytes,
		.kernel_max_bytes = view->kernel_max_bytes,
		.brake_bytes = view->kernel_high_bytes,
		.is_shrinking = slot->has_limit && slot->limit.shrink.is_pending,
		.shrink_note = slot->limit.shrink.note,
		.booked_bytes = booking_of(&slot->policy),
		.is_frozen = view->emergency && strcmp(view->emergency, "frozen") == 0,
		.is_unprotected = slot_is_unprotected(slot),
		.leak_bytes_per_s = view->leak_bytes_per_s,
		.is_enforced = manager_is_enforcing(manager),
	};
	count_tier(slot, &in.tier);
	sum_nodes(slot, &in);
	in.control = slot_shown_control(slot, &in.group);
	in.is_dry = slot_is_dry(slot);
	if (in.control)
		sum_controls(slot, &in);
	*ret_view = (struct explain_view){
		.class = view->class,
		.mode = slot_mode_names[slot->policy.mode],
	};
	(void)slot_advice(slot, ret_view->advice);
	(void)explain_reason(&in, ret_view->reason);
	ret_view->n_terms = explain_terms(&in, now_ns, ret_view->terms);
	return FAULT_NONE;
}
