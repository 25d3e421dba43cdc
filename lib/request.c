/* SPDX-License-Identifier: Apache-2.0 */

/*
 * More memory for a heavy step: io.taskmem.RequestMemory on a connection of its own. The call
 * lives as long as what was got, so a task that dies gives it back whatever state it was in.
 *
 * When the daemon is restarted the call is lost with it. The connection that carries the notices
 * is the first to know that a daemon is there again; then the request is made again, and waits for
 * as long as it takes, for the task counts on it.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/mono.h"
#include "info.h"
#include "slot.h"

#define ANSWER_NS (5 * NS_PER_SEC) /* the daemon's own time is up: it is not there any more */
#define RETRY_NS (100 * NS_PER_MSEC)
#define AGAIN_WAIT_US (UINT64_C(24) * 3600 * 1000 * 1000)

static uint64_t field_u64(sd_json_variant *v, const char *key)
{
	sd_json_variant *field = sd_json_variant_by_key(v, key);

	return field && sd_json_variant_is_unsigned(field) ? sd_json_variant_unsigned(field) : 0;
}

static void take_refusal(struct tm_slot *slot, sd_json_variant *parameters)
{
	sd_json_variant *message = sd_json_variant_by_key(parameters, "message");
	struct tm_request_result *result = &slot->request.result;

	result->needed_bytes = field_u64(parameters, "neededBytes");
	result->available_bytes = field_u64(parameters, "availableBytes");
	if (message && sd_json_variant_is_string(message))
		(void)snprintf(result->message, sizeof(result->message), "%s",
			       sd_json_variant_string(message));
}

static int on_reply(sd_varlink *link, sd_json_variant *parameters, const char *error_id,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct tm_slot *slot = userdata;

	(void)link;
	if (error_id) {
		take_refusal(slot, parameters);
		slot->request.error = link_error_to_errno(error_id);
	} else if (!(flags & SD_VARLINK_REPLY_CONTINUES)) {
		slot->request.error = -EBADMSG;
	} else if (field_u64(parameters, "heldBytes") > 0) {
		slot->request.is_held = true;
	}
	return 0;
}

static void drop_link(struct tm_slot *slot)
{
	slot->request.is_held = false;
	if (!slot->request.link)
		return;
	/* it may not be in there yet */
	(void)epoll_ctl(slot->epoll_fd, EPOLL_CTL_DEL, sd_varlink_get_fd(slot->request.link), NULL);
	slot->request.link = sd_varlink_close_unref(slot->request.link);
}

static int open_link(struct tm_slot *slot, uint64_t wait_us)
{
	int r;

	slot->request.error = 0;
	r = sd_varlink_connect_address(&slot->request.link, slot->address);
	if (r < 0)
		return r;
	(void)sd_varlink_set_userdata(slot->request.link, slot);
	r = sd_varlink_set_relative_timeout(slot->request.link, UINT64_MAX);
	if (r >= 0)
		r = sd_varlink_bind_reply(slot->request.link, on_reply);
	if (r >= 0)
		r = sd_varlink_observebo(slot->request.link, "io.taskmem.RequestMemory",
					 SD_JSON_BUILD_PAIR_UNSIGNED("bytes", slot->request.bytes),
					 SD_JSON_BUILD_PAIR_UNSIGNED("waitUsec", wait_us));
	if (r >= 0)
		r = sd_varlink_flush(slot->request.link);
	if (r < 0)
		drop_link(slot);
	return r < 0 ? r : 0;
}

/* From now on a dispatch hears when it is lost. */
static int watch_link(struct tm_slot *slot)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (epoll_ctl(slot->epoll_fd, EPOLL_CTL_ADD, sd_varlink_get_fd(slot->request.link),
		      &event) < 0)
		return -errno;
	slot_signal(slot); /* something may be in memory already */
	return 0;
}

static int wait_for_answer(struct tm_slot *slot, uint64_t end_ns)
{
	int r = 0;

	while (!slot->request.is_held && !slot->request.error) {
		uint64_t now_ns = mono_now_ns();

		r = sd_varlink_process(slot->request.link);
		if (r > 0)
			continue;
		if (r < 0)
			break;
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		r = sd_varlink_wait(slot->request.link, (end_ns - now_ns) / NS_PER_USEC + 1);
		if (r < 0 && r != -EINTR)
			break;
	}
	if (slot->request.is_held)
		return 0;
	return slot->request.error ? slot->request.error : r;
}

static bool is_away(int r)
{
	return r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT || r == -EPIPE ||
	       r == -ENOTCONN;
}

/* Over restarts of the daemon, while there is time. */
static int request_once_or_more(struct tm_slot *slot, uint64_t timeout_ns)
{
	const struct timespec pause = { .tv_nsec = RETRY_NS };
	uint64_t now_ns = mono_now_ns();
	uint64_t end_ns = timeout_ns < UINT64_MAX - ANSWER_NS - now_ns ? now_ns + timeout_ns
								       : UINT64_MAX - ANSWER_NS;

	for (;;) {
		int r;

		now_ns = mono_now_ns();
		r = open_link(slot, now_ns < end_ns ? (end_ns - now_ns) / NS_PER_USEC : 0);
		if (r == 0) {
			r = wait_for_answer(slot, end_ns + ANSWER_NS);
			if (r == 0)
				return 0;
			drop_link(slot);
		}
		if (!is_away(r) || mono_now_ns() >= end_ns)
			return r;
		(void)nanosleep(&pause, NULL); /* a signal only makes the pause shorter */
	}
}

TM_PUBLIC int tm_slot_request(struct tm_slot *slot, uint64_t bytes, uint64_t timeout_ns,
			      struct tm_request_result *ret_result)
{
	int r;

	if (bytes == 0 || (ret_result && ret_result->size < sizeof(size_t)))
		return -EINVAL;
	pthread_mutex_lock(&slot->request.lock);
	if (slot->request.bytes > 0) {
		pthread_mutex_unlock(&slot->request.lock);
		return -EBUSY;
	}
	slot->request.result = (struct tm_request_result){};
	slot->request.bytes = bytes;
	r = request_once_or_more(slot, timeout_ns);
	if (r == 0)
		r = watch_link(slot);
	if (r < 0) {
		drop_link(slot);
		slot->request.bytes = 0;
	}
	if (ret_result)
		(void)info_write(ret_result, ret_result->size, &slot->request.result,
				 sizeof(slot->request.result));
	pthread_mutex_unlock(&slot->request.lock);
	return r;
}

TM_PUBLIC void tm_slot_release_request(struct tm_slot *slot)
{
	pthread_mutex_lock(&slot->request.lock);
	drop_link(slot);
	slot->request.bytes = 0;
	pthread_mutex_unlock(&slot->request.lock);
}

void request_process(struct tm_slot *slot)
{
	int r;

	/* somebody asks or gives back just now, and looks at everything */
	if (pthread_mutex_trylock(&slot->request.lock) != 0)
		return;
	if (slot->request.bytes > 0 && slot->request.link) {
		do
			r = sd_varlink_process(slot->request.link);
		while (r > 0 && !slot->request.error);
		if (r < 0 || slot->request.error) {
			if (slot->request.error && !is_away(slot->request.error))
				slot->request.bytes = 0; /* a daemon said no: that is final */
			drop_link(slot);
		}
	}
	if (slot->request.bytes > 0 && !slot->request.link && slot->link_state == LINK_UP &&
	    open_link(slot, AGAIN_WAIT_US) == 0 && watch_link(slot) < 0)
		drop_link(slot);
	pthread_mutex_unlock(&slot->request.lock);
}

uint64_t request_held_bytes(struct tm_slot *slot)
{
	uint64_t bytes;

	/* one that waits for the daemon has nothing yet */
	if (pthread_mutex_trylock(&slot->request.lock) != 0)
		return 0;
	bytes = slot->request.is_held ? slot->request.bytes : 0;
	pthread_mutex_unlock(&slot->request.lock);
	return bytes;
}

void request_close(struct tm_slot *slot)
{
	drop_link(slot);
	slot->request.bytes = 0;
}
