/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_notice.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"

/*
 * Tasks that watch their slot are told what its memory should come to, and answer with what they
 * freed. When is policy/notice.h; here are the audience and the grace before memory.max is
 * lowered by reclaim.
 *
 * A slot without an audience costs one comparison; one with an audience a read of
 * memory.current for each look.
 */

/* A task that drops caches needs no more often; it is also what a client can cost us. */
#define INTERVAL_NS NS_PER_SEC
#define TIMER_ACCURACY_USEC 10000

struct watcher {
	struct list in_slot;
	void *subscriber;
	pid_t pid;
	bool is_task;
	uint64_t answered; /* sequence of the last notice it answered */
};

uint64_t notices_realtime_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / NS_PER_USEC;
}

int notices_read(const struct slot_notices *n, enum notice_why why, struct notice_input *ret)
{
	*ret = (struct notice_input){
		.now_ns = mono_now_ns(),
		.target_bytes = n->target_bytes,
		.max_bytes = n->slot->policy.max_bytes,
		.why = why,
	};
	return cgdir_read_u64(n->slot->cg, CG_MEMORY_CURRENT, &ret->usage_bytes);
}

int notices_open(struct slot *slot)
{
	struct slot_notices *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->slot = slot;
	list_init(&n->watchers);
	notice_init(&n->notice, INTERVAL_NS);
	slot->notices = n;
	hook_reset(slot);
	return 0;
}

static void watcher_free(struct slot_notices *n, struct watcher *watcher)
{
	list_remove(&watcher->in_slot);
	n->n_watchers--;
	n->n_tasks -= watcher->is_task;
	free(watcher);
}

void notices_close(struct slot *slot)
{
	struct manager_hooks *hooks = &slot->manager->hooks;
	struct slot_notices *n = slot->notices;
	struct watcher *watcher;

	if (!n)
		return;
	LIST_FOREACH(&n->watchers, watcher, in_slot) {
		void *subscriber = watcher->subscriber;

		watcher_free(n, watcher);
		hooks->watch_gone(slot->policy.name, subscriber, hooks->userdata);
	}
	hook_deinit(n);
	sd_event_source_disable_unref(n->timer);
	free(n);
	slot->notices = NULL;
}

/* ---- telling */

/* The end of the grace, if there is one and it helps to know of it. */
static uint64_t deadline_ns(const struct slot_notices *n, uint64_t now_ns)
{
	return n->slot->has_limit && n->slot->limit.shrink.is_held && n->hold_until_ns > now_ns
		       ? n->hold_until_ns
		       : 0;
}

static void fill(const struct slot_notices *n, const struct notice_input *in,
		 const struct notice_decision *d, uint64_t sequence, struct memory_notice *ret)
{
	*ret = (struct memory_notice){
		.slot_name = n->slot->policy.name,
		.node = n->slot->policy.node,
		.sequence = sequence,
		.why = d->why,
		.target_bytes = in->target_bytes,
		.before_bytes = d->before_bytes,
		.usage_bytes = in->usage_bytes,
		.max_bytes = in->max_bytes,
		.deadline_ns = deadline_ns(n, in->now_ns),
	};
}

static void tell(struct slot_notices *n, const struct notice_input *in,
		 const struct notice_decision *d)
{
	struct manager *manager = n->slot->manager;
	const char *name = n->slot->policy.name;
	char target[FORMAT_BYTES_MAX], usage[FORMAT_BYTES_MAX];
	struct watcher *watcher;

	fill(n, in, d, n->last.sequence + 1, &n->last);
	n->told_usec = notices_realtime_usec();
	n->n_asked = n->n_tasks;
	n->n_answers = 0;
	n->freed_bytes = 0;
	/* Shares move all the time; only what is urgent is worth a line of the log. */
	if (d->why == NOTICE_MAX || d->why == NOTICE_PRESSURE)
		events_add(manager->events, LOG_LEVEL_INFO, "memory-notice", MESSAGE_NOTICE, name,
			   "%u tasks of slot %s are asked to come down to %s, usage is %s%s",
			   n->n_tasks, name,
			   format_bytes(MIN(in->target_bytes, in->max_bytes), target),
			   format_bytes(in->usage_bytes, usage),
			   d->why == NOTICE_MAX ? ": max was lowered" : ": memory is short");
	LIST_FOREACH(&n->watchers, watcher, in_slot)
		manager->hooks.notice(&n->last, watcher->subscriber, manager->hooks.userdata);
}

static void look(struct slot_notices *n, enum notice_why why);

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	look(userdata, NOTICE_SHARE);
	return 0;
}

static void arm(struct slot_notices *n, uint64_t wake_ns)
{
	if (!n->timer) {
		if (sd_event_add_time(n->slot->manager->event, &n->timer, CLOCK_MONOTONIC,
				      wake_ns / NS_PER_USEC, TIMER_ACCURACY_USEC, on_timer, n) < 0)
			log_warning("slot %s: a notice has to wait for the next change",
				    n->slot->policy.name);
		return;
	}
	(void)sd_event_source_set_time(n->timer, wake_ns / NS_PER_USEC);
	(void)sd_event_source_set_enabled(n->timer, SD_EVENT_ONESHOT);
}

static void look(struct slot_notices *n, enum notice_why why)
{
	struct notice_decision d;
	struct notice_input in;

	if (n->n_watchers == 0 || notices_read(n, why, &in) != CGDIR_OK)
		return;
	d = notice_step(&n->notice, &in);
	if (d.verb == NOTICE_SEND)
		tell(n, &in, &d);
	else if (d.verb == NOTICE_LATER)
		arm(n, d.wake_ns);
}

void slot_tell(struct slot *slot, uint64_t target_bytes, enum notice_why why)
{
	struct slot_notices *n = slot->notices;

	n->target_bytes = MIN(target_bytes, slot->policy.max_bytes);
	if (n->n_watchers > 0)
		look(n, why);
	if (hook_is_set(slot))
		hook_consider(n, why);
}

/* ---- the grace before a smaller memory.max */

/* When its tasks have been told and had their time; 0: there is nobody to wait for. */
static uint64_t grace_until_ns(const struct slot_notices *n, uint64_t now_ns)
{
	uint64_t told_ns = now_ns;

	if (n->n_tasks == 0 && !hook_is_set(n->slot))
		return 0;
	if (n->n_tasks > 0 && n->notice.has_sent)
		told_ns = MAX(now_ns, n->notice.sent_ns + INTERVAL_NS);
	return told_ns + n->slot->manager->config->notice_grace_ns;
}

void slot_set_max(struct slot *slot, uint64_t max_bytes, uint64_t now_ns)
{
	struct slot_notices *n = slot->notices;
	const struct shrink *shrink = &slot->limit.shrink;
	bool is_smaller = max_bytes < shrink->target_bytes;

	if (!is_smaller)
		n->hold_until_ns = 0;
	else if (!shrink->is_pending)
		n->hold_until_ns = grace_until_ns(n, now_ns);
	/* One grace for a change under way, or a change each second would put it off for ever. */
	limit_set(&slot->limit, max_bytes, n->hold_until_ns, now_ns);
}

static void end_grace(struct slot_notices *n)
{
	/* a notice before the one with this deadline may be what was answered */
	if (n->slot->has_limit && !hook_is_set(n->slot) && n->n_answers >= n->n_tasks &&
	    n->last.deadline_ns == n->hold_until_ns)
		limit_end_hold(&n->slot->limit, mono_now_ns());
}

/* ---- requests */

enum fault_kind manager_watch(struct manager *manager, const char *name, pid_t pid, bool is_task,
			      void *subscriber, struct fault *fault)
{
	struct slot *slot = manager_find_slot(manager, name);
	struct notice_input in;
	struct watcher *watcher;

	if (!slot)
		return fault_set(fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
	if (!slot->has_limit)
		return fault_set(fault, FAULT_FAILED,
				 "memory limits are not enforced on this host: there is nothing "
				 "to tell of slot %s",
				 name);
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	*watcher = (struct watcher){ .subscriber = subscriber, .pid = pid, .is_task = is_task };
	/* Its first answer has the numbers of now; those who came before know theirs. */
	if (slot->notices->n_watchers == 0 &&
	    notices_read(slot->notices, NOTICE_START, &in) == CGDIR_OK)
		notice_known(&slot->notices->notice, &in);
	list_append(&slot->notices->watchers, &watcher->in_slot);
	slot->notices->n_watchers++;
	slot->notices->n_tasks += is_task;
	return FAULT_NONE;
}

enum fault_kind manager_view_notice(struct manager *manager, const char *name,
				    struct memory_notice *ret, struct fault *fault)
{
	const struct notice_decision start = { .why = NOTICE_START };
	struct slot *slot = manager_find_slot(manager, name);
	struct notice_input in;

	if (!slot)
		return fault_set(fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
	if (notices_read(slot->notices, NOTICE_START, &in) != CGDIR_OK)
		in.usage_bytes = 0;
	fill(slot->notices, &in, &start, slot->notices->last.sequence, ret);
	return FAULT_NONE;
}

void manager_unwatch(struct manager *manager, const void *subscriber)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot_notices *n = manager->slots[i]->notices;
		struct watcher *watcher;

		LIST_FOREACH(&n->watchers, watcher, in_slot) {
			if (watcher->subscriber != subscriber)
				continue;
			watcher_free(n, watcher);
			end_grace(n);
		}
	}
}

/* Counts the answer; a second one of the same process for the same notice adds to the first. */
static bool count_answer(struct slot_notices *n, pid_t pid, uint64_t sequence, bool *ret_is_first)
{
	struct watcher *watcher;
	bool is_watching = false;

	*ret_is_first = false;
	LIST_FOREACH(&n->watchers, watcher, in_slot) {
		if (watcher->pid != pid || !watcher->is_task)
			continue;
		is_watching = true;
		if (watcher->answered >= sequence)
			continue;
		watcher->answered = sequence;
		n->n_answers += sequence == n->last.sequence;
		*ret_is_first = true;
	}
	return is_watching;
}

enum fault_kind manager_report_freed(struct manager *manager, const char *name, pid_t pid,
				     uint64_t bytes, uint64_t sequence, struct fault *fault)
{
	struct slot *slot = manager_find_slot(manager, name);
	char freed[FORMAT_BYTES_MAX], target[FORMAT_BYTES_MAX];
	struct slot_notices *n;
	bool is_first;

	if (!slot)
		return fault_set(fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
	n = slot->notices;
	sequence = MIN(sequence, n->last.sequence);
	if (!count_answer(n, pid, sequence, &is_first))
		return fault_set(fault, FAULT_NOT_IN_SLOT,
				 "process %d does not watch slot %s: call WatchSlot first",
				 (int)pid, name);
	if (n->told_usec == 0)
		return FAULT_NONE;
	if (__builtin_add_overflow(n->freed_bytes, bytes, &n->freed_bytes))
		n->freed_bytes = UINT64_MAX;
	if (is_first && bytes > 0)
		events_add(manager->events, LOG_LEVEL_INFO, "memory-freed", MESSAGE_FREED, name,
			   "process %d of slot %s says that it freed %s, asked for %s", (int)pid,
			   name, format_bytes(bytes, freed),
			   format_bytes(n->last.target_bytes, target));
	end_grace(n);
	return FAULT_NONE;
}

void notices_view(const struct slot *slot, struct slot_view *view)
{
	const struct slot_notices *n = slot->notices;

	view->n_watchers = n->n_watchers;
	view->notice = (struct notice_view){
		.told_usec = n->told_usec,
		.last = n->last,
		.n_asked = n->n_asked,
		.n_answers = n->n_answers,
		.freed_bytes = n->freed_bytes,
	};
	view->hook = (struct hook_view){
		.is_running = n->hook.run != NULL,
		.n_runs = n->hook.n_runs,
		.n_failures = n->hook.n_failures,
		.ended_usec = n->hook.ended_usec,
	};
	(void)snprintf(view->hook.result, sizeof(view->hook.result), "%s", n->hook.result);
}
