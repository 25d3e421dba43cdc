/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the slot's memory should come to, as the daemon tells it: io.taskmem.WatchSlot.
 *
 * A connection of its own, opened when somebody wants to know: each watching task gives the daemon
 * a reason to wait before it shrinks the slot. It sits in the same epoll descriptor as
 * everything else of the slot and is handled in the same dispatch, and a lost daemon is looked for
 * in the same way. Notices that pile up are one: the newest has all numbers.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "info.h"
#include "slot.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define ANSWER_TIMEOUT_MS 5000

static void set_timer(struct watch *watch, uint32_t ms)
{
	struct itimerspec spec = { .it_value = { .tv_sec = ms / 1000,
						 .tv_nsec = (long)(ms % 1000) * 1000000 } };

	/* cannot fail: the descriptor and the values are ours */
	(void)timerfd_settime(watch->timer_fd, 0, &spec, NULL);
}

/* ---- replies */

static enum tm_notice_why parse_why(const char *text)
{
	if (strcmp(text, "max") == 0)
		return TM_NOTICE_MAX;
	if (strcmp(text, "pressure") == 0)
		return TM_NOTICE_PRESSURE;
	/* also what a later daemon may call it */
	return strcmp(text, "start") == 0 ? TM_NOTICE_START : TM_NOTICE_SHARE;
}

/* As link_get_number(), @otherwise when it is null or missing. */
static int get_number_or(sd_json_variant *v, const char *key, uint64_t otherwise, uint64_t *ret)
{
	sd_json_variant *field = sd_json_variant_by_key(v, key);

	if (field && !sd_json_variant_is_null(field))
		return link_get_number(v, key, UINT64_MAX, ret);
	*ret = otherwise;
	return 0;
}

static int parse_notice(sd_json_variant *v, struct tm_memory_notice *ret, uint64_t *ret_sequence)
{
	const char *why = sd_json_variant_string(sd_json_variant_by_key(v, "why"));
	struct tm_memory_notice n = {};
	uint64_t deadline_usec;

	if (!why || link_get_number(v, "notice", UINT64_MAX, ret_sequence) < 0 ||
	    link_get_number(v, "targetBytes", UINT64_MAX, &n.target_bytes) < 0 ||
	    link_get_number(v, "beforeBytes", UINT64_MAX, &n.before_bytes) < 0 ||
	    link_get_number(v, "usageBytes", UINT64_MAX, &n.usage_bytes) < 0 ||
	    get_number_or(v, "maxBytes", UINT64_MAX, &n.max_bytes) < 0 ||
	    get_number_or(v, "deadlineUsec", 0, &deadline_usec) < 0 ||
	    deadline_usec > UINT64_MAX / NS_PER_USEC)
		return -EBADMSG;
	n.why = parse_why(why);
	n.deadline_ns = deadline_usec * NS_PER_USEC;
	*ret = n;
	return 0;
}

/* A slot without pages learns here where it is. */
static int take_place(struct tm_slot *slot, sd_json_variant *v)
{
	const char *name = sd_json_variant_string(sd_json_variant_by_key(v, "slot"));
	uint64_t node;

	if (!name || strlen(name) >= sizeof(slot->name) ||
	    get_number_or(v, "node", UINT64_MAX, &node) < 0)
		return -EBADMSG;
	if (!slot->name[0]) {
		strcpy(slot->name, name);
		slot->node = node <= INT32_MAX ? (int)node : TM_NODE_ANY;
	}
	return strcmp(slot->name, name) == 0 ? 0 : -EBADMSG;
}

static int on_notice(struct tm_slot *slot, sd_json_variant *parameters)
{
	struct watch *watch = &slot->watch;
	struct tm_memory_notice notice;
	uint64_t sequence;
	int r = parse_notice(parameters, &notice, &sequence);

	if (r >= 0)
		r = take_place(slot, parameters);
	if (r < 0)
		return r;
	if (watch->state == LINK_ATTACHING) {
		watch->state = LINK_UP;
		watch->backoff_ms = BACKOFF_MIN_MS;
		set_timer(watch, 0);
	}
	slot->n_notices++;
	pthread_mutex_lock(&slot->lock);
	watch->notice = notice;
	watch->sequence = sequence;
	watch->has_notice = watch->is_untold = true;
	if (slot->is_pageless)
		slot->is_connected = true;
	pthread_mutex_unlock(&slot->lock);
	return 0;
}

static int on_reply(sd_varlink *link, sd_json_variant *parameters, const char *error_id,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct tm_slot *slot = userdata;
	int r;

	(void)link;
	r = error_id ? link_error_to_errno(error_id) : on_notice(slot, parameters);
	if (r == 0 && !(flags & SD_VARLINK_REPLY_CONTINUES))
		r = -ECONNRESET;
	if (r < 0 && !slot->watch.error)
		slot->watch.error = r;
	return 0;
}

/* ---- the connection; dispatch_lock held */

static int poll_link(struct tm_slot *slot, int operation)
{
	struct epoll_event event = {};
	int events = sd_varlink_get_events(slot->watch.link);

	if (events < 0)
		return events;
	event.events = (uint32_t)events;
	if (epoll_ctl(slot->epoll_fd, operation, sd_varlink_get_fd(slot->watch.link), &event) < 0)
		return -errno;
	return 0;
}

static void drop(struct tm_slot *slot)
{
	struct watch *watch = &slot->watch;

	if (!watch->link)
		return;
	(void)epoll_ctl(slot->epoll_fd, EPOLL_CTL_DEL, sd_varlink_get_fd(watch->link), NULL);
	watch->link = sd_varlink_close_unref(watch->link);
	watch->state = LINK_DOWN;
}

static int open_link(struct tm_slot *slot)
{
	struct watch *watch = &slot->watch;
	int r;

	watch->error = 0;
	r = link_connect(slot, &watch->link);
	if (r < 0)
		return r;
	watch->state = LINK_ATTACHING;
	(void)sd_varlink_set_userdata(watch->link, slot);
	r = sd_varlink_bind_reply(watch->link, on_reply);
	if (r >= 0)
		r = sd_varlink_observe(watch->link, "io.taskmem.WatchSlot", NULL);
	if (r >= 0) /* a notice may come after years */
		r = sd_varlink_set_relative_timeout(watch->link, UINT64_MAX);
	if (r >= 0)
		r = poll_link(slot, EPOLL_CTL_ADD);
	if (r < 0)
		drop(slot);
	return r < 0 ? r : 0;
}

static void on_lost(struct tm_slot *slot)
{
	struct watch *watch = &slot->watch;

	drop(slot);
	if (slot->is_pageless) {
		atomic_store(&slot->calls_stale, true);
		pthread_mutex_lock(&slot->lock);
		slot->is_connected = false;
		pthread_mutex_unlock(&slot->lock);
	}
	set_timer(watch, watch->backoff_ms);
	watch->backoff_ms = MIN(watch->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

void watch_process(struct tm_slot *slot)
{
	struct watch *watch = &slot->watch;
	bool has_timer_fired;
	uint64_t ticks;
	int r;

	if (!watch->is_wanted)
		return;
	has_timer_fired = read(watch->timer_fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks);
	if (!watch->link) {
		if (!has_timer_fired)
			return;
		if (open_link(slot) < 0) {
			on_lost(slot);
			return;
		}
		set_timer(watch, ANSWER_TIMEOUT_MS);
		has_timer_fired = false;
	}
	do
		r = sd_varlink_process(watch->link);
	while (r > 0 && !watch->error);
	if (r < 0 || watch->error || (watch->state == LINK_ATTACHING && has_timer_fired) ||
	    poll_link(slot, EPOLL_CTL_MOD) < 0)
		on_lost(slot);
}

/* Waits for the first reply. */
static int wait_answer(struct tm_slot *slot)
{
	uint64_t deadline_ns = mono_now_ns() + ANSWER_TIMEOUT_MS * NS_PER_MSEC, now_ns;
	struct watch *watch = &slot->watch;
	int r;

	while (watch->state == LINK_ATTACHING && !watch->error) {
		r = sd_varlink_process(watch->link);
		if (r < 0)
			return watch->error ? watch->error : r;
		if (r > 0)
			continue;
		now_ns = mono_now_ns();
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		r = sd_varlink_wait(watch->link, (deadline_ns - now_ns) / NS_PER_USEC);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return watch->error;
}

/* Is the daemon only away, as in a restart, rather than unwilling? */
static bool is_away(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE ||
	       r == -ETIMEDOUT;
}

int watch_open(struct tm_slot *slot, bool must_answer)
{
	struct watch *watch = &slot->watch;
	struct epoll_event event = { .events = EPOLLIN };
	int r;

	if (watch->is_wanted)
		return 0;
	if (watch->timer_fd < 0) {
		watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (watch->timer_fd < 0)
			return -errno;
		if (epoll_ctl(slot->epoll_fd, EPOLL_CTL_ADD, watch->timer_fd, &event) < 0) {
			r = -errno;
			fd_closep(&watch->timer_fd);
			return r;
		}
	}
	watch->backoff_ms = BACKOFF_MIN_MS;
	r = open_link(slot);
	if (r >= 0)
		r = wait_answer(slot);
	if (r >= 0)
		r = poll_link(slot, EPOLL_CTL_MOD);
	watch->is_wanted = r >= 0 || (!must_answer && is_away(r));
	if (r < 0) {
		drop(slot);
		if (watch->is_wanted)
			on_lost(slot);
	}
	return watch->is_wanted ? 0 : r;
}

void watch_close(struct tm_slot *slot)
{
	drop(slot);
	slot->watch.is_wanted = false;
}

tm_memory_handler watch_take(struct tm_slot *slot, struct tm_memory_notice *ret_notice,
			     void **ret_userdata)
{
	struct watch *watch = &slot->watch;
	tm_memory_handler handler = NULL;

	pthread_mutex_lock(&slot->lock);
	if (watch->is_untold && watch->handler) {
		handler = watch->handler;
		*ret_userdata = watch->userdata;
		*ret_notice = watch->notice;
		ret_notice->size = sizeof(*ret_notice);
		watch->answering = watch->sequence;
		watch->is_untold = false;
	}
	pthread_mutex_unlock(&slot->lock);
	return handler;
}

/* ------------------------------------------------------------------ public */

TM_PUBLIC int tm_slot_watch(struct tm_slot *slot, tm_memory_handler handler, void *userdata)
{
	int r = 0;

	pthread_mutex_lock(&slot->lock);
	slot->watch.handler = handler;
	slot->watch.userdata = userdata;
	slot->watch.is_untold = slot->watch.has_notice;
	pthread_mutex_unlock(&slot->lock);

	pthread_mutex_lock(&slot->dispatch_lock);
	if (handler)
		r = watch_open(slot, /* must_answer= */ false);
	else if (!slot->is_pageless)
		watch_close(slot);
	pthread_mutex_unlock(&slot->dispatch_lock);
	if (r >= 0 && handler)
		slot_signal(slot); /* the first numbers are in memory already */
	return r;
}

TM_PUBLIC int tm_slot_get_memory(struct tm_slot *slot, struct tm_memory_notice *notice)
{
	struct tm_memory_notice now;
	bool has_notice;

	pthread_mutex_lock(&slot->lock);
	now = slot->watch.notice;
	has_notice = slot->watch.has_notice;
	pthread_mutex_unlock(&slot->lock);
	return has_notice ? info_write(notice, notice->size, &now, sizeof(now)) : -ENODATA;
}

TM_PUBLIC int tm_slot_report_freed(struct tm_slot *slot, uint64_t bytes)
{
	sd_json_variant *parameters = NULL, *reply;
	uint64_t answering;
	int r;

	pthread_mutex_lock(&slot->lock);
	answering = slot->watch.answering;
	pthread_mutex_unlock(&slot->lock);
	r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("freedBytes", bytes),
			   SD_JSON_BUILD_PAIR_UNSIGNED("notice", answering));
	if (r < 0)
		return -ENOMEM;
	pthread_mutex_lock(&slot->call_lock);
	r = link_call(slot, "io.taskmem.ReportFreed", parameters, &reply);
	pthread_mutex_unlock(&slot->call_lock);
	sd_json_variant_unref(parameters);
	return r;
}
