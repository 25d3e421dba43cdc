/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "kern/place.h"
#include "message_ids.h"
#include "policy/admit.h"
#include "policy/booking.h"
#include "policy/gigantic.h"
#include "saver.h"

/*
 * A kill at any instruction is harmless. What was answered is in the state file; of a request that
 * was not, the kernel may know more than the file or less, and restoring brings the kernel back to
 * the file (see manager_restore.c). Every request may simply be made again.
 */

void slot_policy_default(struct slot_policy *policy)
{
	*policy = (struct slot_policy){
		.node = NODE_ANY,
		.weight = WEIGHT_DEFAULT,
		.tier = TIER_DEFAULT,
		.max_bytes = BYTES_UNLIMITED,
	};
}

const struct slot_policy *manager_find_policy(const struct manager *manager, const char *name)
{
	const struct slot *slot = manager_find_slot(manager, name);

	return slot ? &slot->policy : NULL;
}

/* ---- the object */

static int slots_insert(struct manager *manager, struct slot *slot)
{
	struct slot **slots = reallocarray(manager->slots, manager->n_slots + 1, sizeof(*slots));
	size_t i;

	if (!slots)
		return -ENOMEM;
	manager->slots = slots;
	for (i = manager->n_slots; i > 0; i--) {
		if (strcmp(slots[i - 1]->policy.name, slot->policy.name) < 0)
			break;
		slots[i] = slots[i - 1];
	}
	slots[i] = slot;
	manager->n_slots++;
	return 0;
}

static void slots_delete(struct manager *manager, const struct slot *slot)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		if (manager->slots[i] != slot)
			continue;
		memmove(&manager->slots[i], &manager->slots[i + 1],
			(manager->n_slots - i - 1) * sizeof(*manager->slots));
		manager->n_slots--;
		return;
	}
}

void slot_leave_cgroup(struct slot *slot)
{
	revocation_close(slot);
	if (slot->save_op)
		writer_cancel(slot->manager->writer, slot->save_op);
	slot->save_op = NULL;
	heat_forget(slot);
	if (slot->has_limit) {
		slot_watch_close(slot);
		limit_deinit(&slot->limit);
	}
	slot->has_limit = false;
}

static void slot_free(struct slot *slot)
{
	struct grant *grant;

	if (!slot)
		return;
	LIST_FOREACH(&slot->grants, grant, in_slot) {
		load_free(TAKE(grant->load));
		grant_leave(grant);
	}
	removal_free(slot->removal);
	notices_close(slot);
	admission_forget_slot(slot->manager, slot);
	slot_leave_cgroup(slot);
	cgdir_close(slot->cg);
	free(slot);
}

static void slot_freep(struct slot **slot)
{
	slot_free(*slot);
}

void slot_close(struct slot *slot)
{
	slots_delete(slot->manager, slot);
	slot_free(slot);
}

static void on_limit_reached(struct limit *limit, void *userdata)
{
	struct slot *slot = userdata;
	char max[FORMAT_BYTES_MAX];

	events_add(slot->manager->events, LOG_LEVEL_INFO, "max-reached", MESSAGE_LIMIT_REACHED,
		   slot->policy.name, "slot %s: memory.max is %s now", slot->policy.name,
		   format_bytes(limit->shrink.target_bytes, max));
}

static void on_limit_delayed(struct limit *limit, void *userdata)
{
	struct slot *slot = userdata;
	char max[FORMAT_BYTES_MAX], usage[FORMAT_BYTES_MAX];

	events_add(slot->manager->events, LOG_LEVEL_INFO, "max-pending", MESSAGE_LIMIT_PENDING,
		   slot->policy.name,
		   "slot %s uses %s: memory.max becomes %s when that is reclaimed",
		   slot->policy.name, format_bytes(limit->shrink.progress.now_bytes, usage),
		   format_bytes(limit->shrink.target_bytes, max));
}

int slot_enter_cgroup(struct slot *slot, struct cgdir *cg)
{
	struct manager *manager = slot->manager;
	int r;

	slot->cg = cg;
	slot->n_oom_kills = UINT64_MAX;
	slot->min_written = slot->low_written = slot->hugetlb_written = BYTES_UNLIMITED;
	slot->gigantic_written = BYTES_UNLIMITED;
	slot->is_share_moving = false;
	slot->control = slot->shadow = (struct control_slot){};
	slot->watch = (struct slot_watch){};
	slot->frozen_by = 0;
	slot_find_frozen(slot);
	cgdir_forget_killed(cg); /* of an earlier daemon */
	if (!tree_get_controllers(manager->tree)->memory)
		return 0;
	r = limit_init(&slot->limit, manager->event, manager->writer, cg);
	if (r < 0)
		return r;
	slot->has_limit = true;
	slot->limit.delayed = on_limit_delayed;
	slot->limit.reached = on_limit_reached;
	slot->limit.userdata = slot;
	slot_watch_open(slot);
	return 0;
}

int slot_open(struct manager *manager, const struct slot_policy *policy, struct slot **ret_slot)
{
	CLEANUP(slot_freep) struct slot *slot = calloc(1, sizeof(*slot));
	struct cgdir *cg = NULL;
	int r;

	if (!slot)
		return -ENOMEM;
	slot->manager = manager;
	slot->policy = *policy;
	slot->policy.is_gigantic &= gigantic_suits(policy); /* a file can say anything */
	slot->planned = slot->policy;
	list_init(&slot->grants);
	r = notices_open(slot);
	if (r >= 0)
		r = tree_create_slot(manager->tree, policy, &cg);
	if (r >= 0)
		r = slot_enter_cgroup(slot, cg);
	if (r >= 0)
		r = slots_insert(manager, slot);
	if (r < 0)
		return r;
	*ret_slot = TAKE(slot);
	return 0;
}

void slot_note_policy(struct slot *slot)
{
	CLEANUP(freep) char *text = NULL;

	if (slot_policy_to_json(&slot->policy, &text) < 0 ||
	    cgdir_set_policy(slot->cg, text) != CGDIR_OK)
		log_debug("slot %s: its policy could not be noted on its cgroup",
			  slot->policy.name);
}

/* ---- add and set */

static bool policy_is_equal(const struct slot_policy *a, const struct slot_policy *b)
{
	return strcmp(a->name, b->name) == 0 && a->owner == b->owner && a->node == b->node &&
	       a->is_node_auto == b->is_node_auto && a->weight == b->weight && a->tier == b->tier &&
	       a->min_bytes == b->min_bytes && a->max_bytes == b->max_bytes &&
	       a->pool_min_bytes == b->pool_min_bytes && a->pool_max_bytes == b->pool_max_bytes &&
	       a->mode == b->mode && a->revoke == b->revoke &&
	       a->revoke_deadline_ms == b->revoke_deadline_ms && a->need_bytes == b->need_bytes &&
	       strcmp(a->on_resize, b->on_resize) == 0;
}

enum fault_kind fault_from_refusal(struct fault *fault, int cond, const struct refusal *refusal)
{
	fault->node = refusal->node;
	fault->needed = refusal->needed;
	fault->available = refusal->available;
	(void)snprintf(fault->field, sizeof(fault->field), "%s", refusal->field);
	return fault_set(fault, cond == ADMIT_REFUSED ? FAULT_REFUSED : FAULT_BAD_VALUE, "%s",
			 refusal->message);
}

struct slot_policy *manager_copy_policies(const struct manager *manager)
{
	struct slot_policy *policies = calloc(manager->n_slots + 1, sizeof(*policies));

	for (size_t i = 0; policies && i < manager->n_slots; i++) {
		policies[i] = manager->slots[i]->policy;
		policies[i].min_bytes = slot_min_bytes(manager->slots[i]);
	}
	return policies;
}

enum fault_kind manager_try_add(struct manager *manager, const struct add_request *request,
				const struct slot_policy *others, size_t n_others,
				uint64_t closed_nodes, struct slot_policy *ret_policy,
				struct fault *fault)
{
	struct booking_request booking = {
		.policy = request->policy,
		.choose_node = request->choose_node,
		.min_grant_bytes = request->min_grant_bytes,
		.closed_nodes = closed_nodes,
	};
	struct refusal refusal = { .field = "" };
	int cond = booking_admit(manager->nodes, manager->n_nodes, others, n_others,
				 &manager->config->booking, &booking, ret_policy, &refusal);

	if (cond != ADMIT_OK)
		return fault_from_refusal(fault, cond, &refusal);
	ret_policy->is_gigantic =
		gigantic_choose(manager->nodes, manager->n_nodes, others, n_others, ret_policy);
	ret_policy->keeps_pages = false;
	return FAULT_NONE;
}

/* Its tasks hold pages, or nothing of its pool changes. */
static bool slot_keeps_pages(const struct slot *slot, const struct slot_policy *policy)
{
	return !list_is_empty(&slot->grants) ||
	       (policy->node == slot->policy.node &&
		policy->pool_min_bytes == slot->policy.pool_min_bytes &&
		policy->pool_max_bytes == slot->policy.pool_max_bytes);
}

/* For a change of a slot that is there; .grant_bytes is set. */
static enum fault_kind manager_admit(struct manager *manager, struct slot_policy *policy,
				     struct fault *fault)
{
	CLEANUP(freep) struct slot_policy *policies = manager_copy_policies(manager);
	const struct slot *slot = manager_find_slot(manager, policy->name);
	struct add_request raised = { .policy = *policy, .min_grant_bytes = policy->need_bytes };
	struct refusal refusal = { .field = "" };
	struct slot_policy admitted;
	enum fault_kind kind;
	int cond;

	if (!policies)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	/* not when min is above max: that is to be refused */
	if (policy->min_bytes <= policy->max_bytes)
		raised.policy.min_bytes =
			MIN(policy->min_bytes + slot->lease_bytes, policy->max_bytes);
	raised.policy.is_gigantic = slot->policy.is_gigantic;
	raised.policy.keeps_pages = slot_keeps_pages(slot, policy);
	policy->is_gigantic = gigantic_choose(manager->nodes, manager->n_nodes, policies,
					      manager->n_slots, &raised.policy);
	if (policy->need_bytes > 0 && policy->need_bytes != slot->policy.need_bytes) {
		kind = manager_try_add(manager, &raised, policies, manager->n_slots, 0, &admitted,
				       fault);
		if (kind == FAULT_NONE)
			policy->grant_bytes = admitted.grant_bytes;
		return kind;
	}
	cond = booking_change(manager->nodes, manager->n_nodes, policies, manager->n_slots,
			      &manager->config->booking, &raised.policy, &refusal);
	if (cond != ADMIT_OK)
		return fault_from_refusal(fault, cond, &refusal);
	policy->grant_bytes = raised.policy.grant_bytes;
	return FAULT_NONE;
}

enum fault_kind manager_make_slot(struct manager *manager, const struct slot_policy *policy,
				  struct fault *fault)
{
	struct slot *slot = NULL;
	char min[FORMAT_BYTES_MAX], max[FORMAT_BYTES_MAX], granted[80] = "";
	enum fault_kind kind = manager_record(manager, policy, fault);
	int r;

	if (kind != FAULT_NONE)
		return kind;
	r = slot_open(manager, policy, &slot);
	if (r < 0) {
		saver_cancel(manager->saver, policy->name);
		return fault_set(fault, FAULT_FAILED, "its cgroup could not be made: %s",
				 strerror(-r));
	}
	slot_note_policy(slot);
	manager_replan(manager, /* is_change= */ true);
	slot->is_share_moving = false;
	if (policy->need_bytes > 0)
		(void)snprintf(granted, sizeof(granted), ", granted %s of a need of %s%s",
			       format_bytes(policy->grant_bytes, min),
			       format_bytes(policy->need_bytes, max),
			       policy->is_need_predicted ? " (from its history)" : "");
	events_add(manager->events, LOG_LEVEL_INFO, "slot-added", MESSAGE_SLOT_ADDED, policy->name,
		   "slot %s added: node %d, weight %u, tier %u, min %s, max %s%s", policy->name,
		   policy->node, policy->weight, policy->tier, format_bytes(policy->min_bytes, min),
		   format_bytes(policy->max_bytes, max), granted);
	return FAULT_NONE;
}

/* Is it the slot that is there? FAULT_NONE and *ret_is_same false: there is none of that name. */
static enum fault_kind add_again(struct manager *manager, const struct add_request *request,
				 bool *ret_is_same, struct fault *fault)
{
	const struct slot *existing = manager_find_slot(manager, request->policy.name);
	struct slot_policy policy = request->policy;

	*ret_is_same = existing != NULL;
	if (!existing)
		return FAULT_NONE;
	if (!existing->removal && policy.request_id[0] &&
	    strcmp(policy.request_id, existing->policy.request_id) == 0)
		return FAULT_NONE;
	if (request->choose_node) {
		policy.node = existing->policy.node;
		/* one that an earlier version made has forgotten that its node was chosen */
		policy.is_node_auto = existing->policy.is_node_auto;
	}
	if (!request->is_need_given) {
		policy.need_bytes = existing->policy.need_bytes;
		policy.is_need_predicted = existing->policy.is_need_predicted;
	}
	if (policy_is_equal(&policy, &existing->policy) && !existing->removal)
		return FAULT_NONE;
	(void)snprintf(fault->name, sizeof(fault->name), "%s", policy.name);
	return fault_set(fault, FAULT_SLOT_EXISTS,
			 "slot %s exists with other settings; change them with set", policy.name);
}

/* With how much of its need a request is content that does not say so. */
static uint64_t enough_of_need(const struct manager *manager, const struct add_request *request)
{
	const struct slot_policy *policy = &request->policy;
	const struct booking_request booking = { .policy = *policy,
						 .choose_node = request->choose_node };

	if (!policy->is_need_predicted)
		return policy->need_bytes;
	if (!request->may_wait)
		return 0;
	return MIN(policy->need_bytes, booking_attainable(manager->nodes, manager->n_nodes,
							  &manager->config->booking, &booking));
}

/* Fills in what was not told: the need from the history, and with how much it is content. */
static enum fault_kind complete_need(struct manager *manager, struct add_request *request,
				     struct fault *fault)
{
	struct slot_policy *policy = &request->policy;
	char need[FORMAT_BYTES_MAX], grant[FORMAT_BYTES_MAX];

	policy->grant_bytes = 0;
	policy->is_need_predicted = false;
	if (!request->is_need_given) {
		policy->need_bytes =
			MIN(histories_predict(manager, policy->name).bytes, policy->max_bytes);
		policy->is_need_predicted = policy->need_bytes > 0;
	}
	if (request->min_grant_bytes == BYTES_UNLIMITED)
		request->min_grant_bytes = enough_of_need(manager, request);
	if (policy->is_need_predicted)
		request->min_grant_bytes = MIN(request->min_grant_bytes, policy->need_bytes);
	if (request->min_grant_bytes <= policy->need_bytes)
		return FAULT_NONE;
	(void)snprintf(fault->field, sizeof(fault->field), "minGrantBytes");
	return fault_set(fault, FAULT_BAD_VALUE, "min-grant=%s is above need=%s",
			 format_bytes(request->min_grant_bytes, grant),
			 format_bytes(policy->need_bytes, need));
}

/* Takes @waiter over. */
static void add_or_wait(struct waiter *waiter)
{
	struct manager *manager = waiter->manager;
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(manager);
	struct fault fault = { .node = NODE_ANY };
	struct slot_policy policy;
	enum fault_kind kind;

	if (!others) {
		waiter_finish(waiter, fault_set(&fault, FAULT_FAILED, "out of memory"), &fault);
		return;
	}
	kind = manager_try_add(manager, &waiter->add, others, manager->n_slots,
			       admission_closed_nodes(manager, &waiter->entry), &policy, &fault);
	if (kind == FAULT_REFUSED && waiter->add.may_wait) {
		admission_wait(waiter, &fault, waiter->add.wait_ns);
		return;
	}
	if (kind == FAULT_REFUSED)
		events_add(manager->events, LOG_LEVEL_NOTICE, "refused", MESSAGE_REFUSED,
			   waiter->add.policy.name, "slot %s refused: %s", waiter->add.policy.name,
			   fault.message);
	if (kind == FAULT_NONE)
		kind = manager_make_slot(manager, &policy, &fault);
	if (kind == FAULT_NONE)
		admission_note_served(manager, &waiter->entry,
				      booking_nodes(manager->nodes, manager->n_nodes, &policy));
	waiter_finish(waiter, kind, &fault);
}

void manager_add(struct manager *manager, const struct add_request *request, done_fn done,
		 void *userdata)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter)), *old;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind = FAULT_NONE;
	bool is_same = false;

	if (!waiter) {
		done(fault_set(&fault, FAULT_FAILED, "out of memory"), &fault, userdata);
		return;
	}
	*waiter = (struct waiter){ .manager = manager,
				   .add = *request,
				   .done = done,
				   .userdata = userdata,
				   .subscriber = request->subscriber };
	kind = add_again(manager, request, &is_same, &fault);
	if (kind == FAULT_NONE && !is_same && !place_is_slot_name(request->policy.name)) {
		(void)snprintf(fault.field, sizeof(fault.field), "name");
		kind = fault_set(&fault, FAULT_BAD_VALUE,
				 "\"%s\" cannot be a slot's name: a-z, 0-9, dot, dash, underscore, "
				 "the first a letter or digit, and no name of a kernel file",
				 request->policy.name);
	}
	if (kind == FAULT_NONE && !is_same)
		kind = manager_check_hook(manager, &request->policy, &fault);
	if (kind == FAULT_NONE && !is_same)
		kind = complete_need(manager, &waiter->add, &fault);
	if (kind != FAULT_NONE || is_same) {
		waiter_finish(waiter, kind, &fault);
		return;
	}
	waiter->entry = admission_entry(manager, &waiter->add.policy, request->choose_node,
					request->waited_ns);
	old = admission_find(manager, request->policy.request_id);
	if (old && !old->is_lease && strcmp(old->add.policy.name, request->policy.name) == 0) {
		waiter->entry.since_ns = MIN(waiter->entry.since_ns, old->entry.since_ns);
		waiter->entry.n_passed = old->entry.n_passed;
		waiter->entry.due_ns = old->entry.due_ns;
		kind = fault_set(&fault, FAULT_FAILED,
				 "the same request was made again on another connection");
		waiter_finish(old, kind, &fault);
		fault = (struct fault){ .node = NODE_ANY };
	}
	add_or_wait(waiter);
}

static enum fault_kind slot_set(struct slot *slot, const struct slot_policy *wanted,
				struct fault *fault)
{
	struct manager *manager = slot->manager;
	struct slot_policy policy = *wanted;
	char min[FORMAT_BYTES_MAX], max[FORMAT_BYTES_MAX], share[FORMAT_BYTES_MAX];
	enum fault_kind kind;
	bool is_other_hook;

	if (policy_is_equal(&policy, &slot->policy))
		return FAULT_NONE;
	if (policy.need_bytes == 0)
		policy.grant_bytes = 0;
	if (policy.need_bytes != slot->policy.need_bytes)
		policy.is_need_predicted = false;
	is_other_hook = strcmp(policy.on_resize, slot->policy.on_resize) != 0;
	kind = is_other_hook ? manager_check_hook(manager, &policy, fault) : FAULT_NONE;
	if (kind == FAULT_NONE)
		kind = slot_check_gigantic(slot, &policy, fault);
	if (kind == FAULT_NONE)
		kind = manager_admit(manager, &policy, fault);
	if (kind == FAULT_REFUSED)
		events_add(manager->events, LOG_LEVEL_NOTICE, "refused", MESSAGE_REFUSED,
			   policy.name, "slot %s refused: %s", policy.name, fault->message);
	if (kind == FAULT_NONE)
		kind = manager_record(manager, &policy, fault);
	if (kind != FAULT_NONE)
		return kind;
	slot->policy = policy;
	if (is_other_hook)
		hook_reset(slot);
	slot_note_policy(slot);
	manager_replan(manager, /* is_change= */ true);
	events_add(manager->events, LOG_LEVEL_INFO, "slot-changed", MESSAGE_SLOT_CHANGED,
		   policy.name, "slot %s changed: weight %u, tier %u, min %s, max %s, share %s now",
		   policy.name, policy.weight, policy.tier, format_bytes(policy.min_bytes, min),
		   format_bytes(policy.max_bytes, max), format_bytes(slot->share_bytes, share));
	return FAULT_NONE;
}

void manager_set(struct manager *manager, const struct slot_policy *policy, done_fn done,
		 void *userdata)
{
	struct slot *slot = manager_find_slot(manager, policy->name);
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind =
		slot ? slot_set(slot, policy, &fault)
		     : fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", policy->name);

	manager_answer(manager, policy->name, kind, &fault, done, userdata);
}
