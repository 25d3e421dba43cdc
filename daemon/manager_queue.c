/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"
#include "policy/booking.h"

/*
 * The queue holds no memory and no promise, only live connections, so nothing of it has to
 * survive: a client whose daemon was restarted asks again and says how long it has waited. Who is
 * next is policy/queue.h's to say; here it is asked whenever the plan changed, from a deferred
 * event, so that no request is answered from within another one. With 10 000 slots it takes a
 * millisecond or more to find out whether one request fits, and some ten microseconds to tell a
 * client its new place, so that a long queue is gone through in parts.
 */

/* Of one part. */
#define TURN_NS (3 * NS_PER_MSEC)

static struct waiter *waiter_of(struct queue_entry *entry)
{
	return container_of(entry, struct waiter, entry);
}

/* ---- the waiter */

static void take_out(struct waiter *waiter)
{
	struct admission *admission = &waiter->manager->admission;

	for (size_t i = 0; i < admission->n_waiting; i++) {
		if (admission->queue[i] != &waiter->entry)
			continue;
		admission->n_waiting--;
		memmove(&admission->queue[i], &admission->queue[i + 1],
			(admission->n_waiting - i) * sizeof(struct queue_entry *));
		admission_kick(waiter->manager); /* the others moved up */
		return;
	}
}

void waiter_finish(struct waiter *waiter, enum fault_kind kind, const struct fault *fault)
{
	take_out(waiter);
	sd_event_source_disable_unref(waiter->timer);
	lease_free(waiter->lease);
	if (waiter->is_lease)
		waiter->done(kind, fault, waiter->userdata);
	else
		manager_answer(waiter->manager, waiter->add.policy.name, kind, fault, waiter->done,
			       waiter->userdata);
	free(waiter);
}

static const char *waiter_slot_name(const struct waiter *waiter)
{
	return waiter->is_lease ? waiter->lease->slot->policy.name : waiter->add.policy.name;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct waiter *waiter = userdata;
	struct fault fault = waiter->refusal;
	uint64_t waited_ms = (mono_now_ns() - waiter->entry.since_ns) / NS_PER_MSEC;
	enum fault_kind kind;

	(void)source;
	(void)usec;
	kind = fault_set(&fault, FAULT_REFUSED, "after %llu.%03llu s in the queue: %.240s",
			 (unsigned long long)(waited_ms / 1000),
			 (unsigned long long)(waited_ms % 1000), waiter->refusal.message);
	events_add(waiter->manager->events, LOG_LEVEL_NOTICE, "refused", MESSAGE_REFUSED,
		   waiter_slot_name(waiter), "slot %s refused %s", waiter_slot_name(waiter),
		   fault.message);
	waiter_finish(waiter, kind, &fault);
	return 0;
}

struct queue_entry admission_entry(struct manager *manager, const struct slot_policy *policy,
				   bool choose_node, uint64_t waited_ns)
{
	uint64_t now_ns = mono_now_ns();
	struct slot_policy there = *policy;

	if (choose_node)
		there.node = NODE_ANY;
	there.is_need_predicted = false; /* it waits for its need, whoever told it */
	return (struct queue_entry){
		.tier = MIN(policy->tier, (uint32_t)TIERS - 1),
		.since_ns = now_ns - MIN(waited_ns, now_ns),
		.sequence = ++manager->admission.last_sequence,
		.nodes = booking_nodes(manager->nodes, manager->n_nodes, &there),
	};
}

uint64_t admission_closed_nodes(const struct manager *manager, const struct queue_entry *entry)
{
	return queue_closed_nodes(manager->admission.queue, manager->admission.n_waiting, entry,
				  mono_now_ns());
}

void admission_note_served(struct manager *manager, const struct queue_entry *entry,
			   uint64_t taken_nodes)
{
	queue_note_served(manager->admission.queue, manager->admission.n_waiting, entry,
			  taken_nodes, mono_now_ns());
}

struct waiter *admission_find(const struct manager *manager, const char *request_id)
{
	for (size_t i = 0; request_id[0] && i < manager->admission.n_waiting; i++) {
		struct waiter *waiter = waiter_of(manager->admission.queue[i]);

		if (!waiter->is_lease && strcmp(waiter->add.policy.request_id, request_id) == 0)
			return waiter;
	}
	return NULL;
}

/* ---- waiting */

/* Would it be refused on an empty machine, too? Then waiting is in vain. */
static bool is_hopeless(struct waiter *waiter, struct fault *fault)
{
	struct slot_policy policy;

	if (waiter->is_lease)
		return lease_try(waiter->lease, &waiter->lease->slot->policy, 1, 0, fault) !=
		       FAULT_NONE;
	return manager_try_add(waiter->manager, &waiter->add, NULL, 0, 0, &policy, fault) !=
	       FAULT_NONE;
}

static bool passes_by_waiting(const struct fault *fault)
{
	static const char *const fields[] = { "min", "pool", "need", "queue" };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strcmp(fault->field, fields[i]) == 0)
			return true;
	return false;
}

static int put_in(struct waiter *waiter, uint64_t wait_ns)
{
	struct admission *admission = &waiter->manager->admission;
	struct queue_entry **grown =
		reallocarray(admission->queue, admission->n_waiting + 1, sizeof(*grown));
	size_t i;
	int r = 0;

	if (!grown)
		return -ENOMEM;
	admission->queue = grown;
	/* not relative: that counts from when the event loop woke up, too early for whoever waits */
	if (wait_ns != UINT64_MAX)
		r = sd_event_add_time(waiter->manager->event, &waiter->timer, CLOCK_MONOTONIC,
				      mono_now_ns() / NS_PER_USEC + wait_ns / NS_PER_USEC + 1, 1000,
				      on_deadline, waiter);
	if (r < 0)
		return r;
	for (i = admission->n_waiting; i > 0 && queue_is_before(&waiter->entry, grown[i - 1]); i--)
		grown[i] = grown[i - 1];
	grown[i] = &waiter->entry;
	admission->n_waiting++;
	return 0;
}

void admission_wait(struct waiter *waiter, const struct fault *refusal, uint64_t wait_ns)
{
	struct manager *manager = waiter->manager;
	struct fault fault = *refusal;
	enum fault_kind kind = FAULT_NONE;
	int r;

	if (!passes_by_waiting(refusal) || is_hopeless(waiter, &fault))
		kind = FAULT_REFUSED;
	else if (manager->admission.n_waiting >= QUEUE_LENGTH_MAX)
		kind = fault_set(&fault, FAULT_REFUSED, "%d requests wait already; %.200s",
				 QUEUE_LENGTH_MAX, refusal->message);
	if (kind == FAULT_NONE) {
		waiter->refusal = *refusal;
		r = put_in(waiter, wait_ns);
		if (r < 0)
			kind = fault_set(&fault, FAULT_FAILED, "it cannot wait: %s", strerror(-r));
	}
	if (kind != FAULT_NONE) {
		waiter_finish(waiter, kind, &fault);
		return;
	}
	events_add(manager->events, LOG_LEVEL_INFO, "queued", NULL, waiter_slot_name(waiter),
		   "slot %s waits: %s", waiter_slot_name(waiter), refusal->message);
	admission_kick(manager);
}

static void view_waiting(struct manager *manager, size_t i, struct wait_view *view)
{
	struct waiter *waiter = waiter_of(manager->admission.queue[i]);
	const struct slot_policy *policy =
		waiter->is_lease ? &waiter->lease->slot->policy : &waiter->add.policy;
	uint64_t now_ns = mono_now_ns();

	*view = (struct wait_view){
		.slot_name = policy->name,
		.request_id = waiter->is_lease ? "" : policy->request_id,
		.is_lease = waiter->is_lease,
		.node = !waiter->is_lease && waiter->add.choose_node ? NODE_ANY : policy->node,
		.tier = waiter->entry.tier,
		.bytes = waiter->is_lease ? waiter->lease->bytes
					  : MAX(policy->need_bytes, policy->min_bytes),
		.position = i + 1,
		.length = manager->admission.n_waiting,
		.waited_ns = now_ns - waiter->entry.since_ns,
		.n_passed = waiter->entry.n_passed,
		.is_due = queue_is_due(&waiter->entry, now_ns),
		.reason = waiter->refusal.message,
	};
}

size_t manager_count_waiting(const struct manager *manager)
{
	return manager->admission.n_waiting;
}

void manager_view_nth_waiting(struct manager *manager, size_t i, struct wait_view *view)
{
	view_waiting(manager, i, view);
}

/* ---- serving and telling */

struct turn {
	struct manager *manager;
	struct slot_policy *others;
	struct slot_policy policy; /* of the slot to be made, when one fits */
	uint64_t end_ns;
	bool has_asked; /* one at least, however slow the machine */
};

static bool tell(size_t i, void *userdata)
{
	struct turn *turn = userdata;
	struct manager *manager = turn->manager;
	struct waiter *waiter = waiter_of(manager->admission.queue[i]);
	struct wait_view view;

	if (waiter->told_position == i + 1 &&
	    strcmp(waiter->told_reason, waiter->refusal.message) == 0)
		return true;
	if (turn->has_asked && mono_now_ns() >= turn->end_ns)
		return false;
	turn->has_asked = true;
	waiter->told_position = i + 1;
	(void)snprintf(waiter->told_reason, sizeof(waiter->told_reason), "%s",
		       waiter->refusal.message);
	view_waiting(manager, i, &view);
	manager->hooks.waiting(&view, waiter->subscriber, manager->hooks.userdata);
	return true;
}

static enum queue_fit fit(size_t i, uint64_t closed, uint64_t *ret_taken, void *userdata)
{
	struct turn *turn = userdata;
	struct manager *manager = turn->manager;
	struct waiter *waiter = waiter_of(manager->admission.queue[i]);
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;

	if (turn->has_asked && mono_now_ns() >= turn->end_ns)
		return QUEUE_LATER;
	turn->has_asked = true;
	if (waiter->is_lease)
		kind = lease_try(waiter->lease, turn->others, manager->n_slots, closed, &fault);
	else
		kind = manager_try_add(manager, &waiter->add, turn->others, manager->n_slots,
				       closed, &turn->policy, &fault);
	if (kind != FAULT_NONE) {
		waiter->refusal = fault;
		return QUEUE_DOES_NOT_FIT;
	}
	*ret_taken = waiter->is_lease
			     ? waiter->entry.nodes
			     : booking_nodes(manager->nodes, manager->n_nodes, &turn->policy);
	return QUEUE_FITS;
}

static void serve(struct turn *turn, struct waiter *waiter, uint64_t taken)
{
	struct manager *manager = turn->manager;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind = FAULT_NONE;

	/* somebody else may have made the slot meanwhile */
	if (!waiter->is_lease && manager_find_slot(manager, waiter->add.policy.name)) {
		(void)snprintf(fault.name, sizeof(fault.name), "%s", waiter->add.policy.name);
		kind = fault_set(&fault, FAULT_SLOT_EXISTS, "slot %s was made by another request",
				 waiter->add.policy.name);
	} else {
		admission_note_served(manager, &waiter->entry, taken);
		if (waiter->is_lease)
			lease_begin(TAKE(waiter->lease));
		else
			kind = manager_make_slot(manager, &turn->policy, &fault);
	}
	waiter_finish(waiter, kind, &fault);
}

/* The first that fits. Return: may there be another? */
static bool serve_one(struct turn *turn)
{
	struct admission *admission = &turn->manager->admission;
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(turn->manager);
	uint64_t taken = QUEUE_TAKES_NOTHING;
	size_t i;

	if (!others) {
		log_error("out of memory: who waits goes on waiting");
		admission->is_changed = false;
		admission->pass = 0;
		return false;
	}
	turn->others = others;
	if (admission->pass == 0)
		admission->is_changed = false;
	i = queue_next(admission->queue, admission->n_waiting, mono_now_ns(), &admission->pass, fit,
		       turn, &taken);
	if (i != QUEUE_NOBODY && i != QUEUE_INTERRUPTED)
		serve(turn, waiter_of(admission->queue[i]), taken);
	return i != QUEUE_NOBODY;
}

/* Who is left is told when nobody can be served any more. */
static int on_turn(sd_event_source *source, void *userdata)
{
	struct manager *manager = userdata;
	struct admission *admission = &manager->admission;
	struct turn turn = { .manager = manager, .end_ns = mono_now_ns() + TURN_NS };
	bool is_through = true;

	if (admission->is_changed || admission->pass > 0)
		is_through = !serve_one(&turn);
	if (is_through)
		is_through = queue_tell(admission->n_waiting, &admission->next_told, tell, &turn);
	if (!is_through || admission->is_changed)
		(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

void admission_kick(struct manager *manager)
{
	struct admission *admission = &manager->admission;

	admission->is_changed = true;
	if (admission->turn && admission->n_waiting > 0)
		(void)sd_event_source_set_enabled(admission->turn, SD_EVENT_ONESHOT);
}

void admission_tick(struct manager *manager, uint64_t now_ns)
{
	struct admission *admission = &manager->admission;
	size_t n_due = 0;

	for (size_t i = 0; i < admission->n_waiting; i++)
		n_due += queue_is_due(admission->queue[i], now_ns);
	if (n_due < admission->n_due)
		admission_kick(manager);
	admission->n_due = n_due;
}

/* ---- connections, slots, build and teardown */

void admission_unsubscribe(struct manager *manager, const void *subscriber)
{
	struct admission *admission = &manager->admission;
	struct fault fault = { .node = NODE_ANY };
	bool has_ended = false;
	struct lease *lease;

	for (size_t i = admission->n_waiting; i > 0; i--) {
		struct waiter *waiter = waiter_of(admission->queue[i - 1]);

		if (waiter->subscriber != subscriber)
			continue;
		waiter_finish(waiter, fault_set(&fault, FAULT_FAILED, "given up"), &fault);
		i = MIN(i, admission->n_waiting + 1);
	}
	LIST_FOREACH(&admission->leases, lease, in_manager) {
		if (lease->subscriber != subscriber)
			continue;
		lease_free(lease);
		has_ended = true;
	}
	/* at the end of the daemon all clients hang up: the kernel keeps what it has */
	if (has_ended && sd_event_get_state(manager->event) == SD_EVENT_RUNNING)
		manager_replan(manager, /* is_change= */ true);
}

size_t admission_count_leases(const struct manager *manager, const struct slot *slot)
{
	size_t n = 0;

	for (size_t i = 0; i < manager->admission.n_waiting; i++) {
		const struct waiter *waiter = waiter_of(manager->admission.queue[i]);

		n += waiter->is_lease && waiter->lease->slot == slot;
	}
	return n;
}

void admission_forget_slot(struct manager *manager, struct slot *slot)
{
	struct admission *admission = &manager->admission;
	struct fault fault = { .node = NODE_ANY };
	struct lease *lease;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", slot->policy.name);
	for (size_t i = admission->n_waiting; i > 0; i--) {
		struct waiter *waiter = waiter_of(admission->queue[i - 1]);

		if (!waiter->is_lease || waiter->lease->slot != slot)
			continue;
		waiter_finish(waiter,
			      fault_set(&fault, FAULT_NO_SUCH_SLOT, "slot %s was removed",
					slot->policy.name),
			      &fault);
		i = MIN(i, admission->n_waiting + 1);
	}
	LIST_FOREACH(&admission->leases, lease, in_manager) {
		if (lease->slot != slot)
			continue;
		manager->hooks.lease_gone(lease->subscriber, manager->hooks.userdata);
		lease_free(lease);
	}
}

int admission_open(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	struct admission *admission = &manager->admission;
	int r;

	list_init(&admission->leases);
	admission->save_at_ns = UINT64_MAX;
	r = sd_event_add_defer(manager->event, &admission->turn, on_turn, manager);
	if (r >= 0)
		r = sd_event_source_set_enabled(admission->turn, SD_EVENT_OFF);
	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "the queue cannot be made: %s",
			       strerror(-r));
		return r;
	}
	return histories_open(manager, error);
}

void admission_close(struct manager *manager)
{
	struct admission *admission = &manager->admission;
	struct fault fault = { .node = NODE_ANY };

	admission->turn = sd_event_source_disable_unref(admission->turn);
	while (admission->n_waiting > 0)
		waiter_finish(waiter_of(admission->queue[admission->n_waiting - 1]),
			      fault_set(&fault, FAULT_FAILED, "the daemon ends"), &fault);
	free(admission->queue);
	admission->queue = NULL;
	histories_close(manager);
}
