/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon as seen from a task: io.taskmem.Attach, Grow, Return, Drain and Detach.
 *
 * One connection carries the long Attach call; each further reply on it is a notice of a new
 * target. Another carries the short calls, because varlink answers in order and Attach never
 * ends. When the daemon goes away nothing is taken from the task: the mapping keeps the pages,
 * and Attach is sent again with resumeGrant until a daemon knows the grant.
 *
 * sd_varlink keeps received messages in memory, where no poll sees them, so every turn
 * processes until nothing is left.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "slot.h"

#define CALL_TIMEOUT_US (UINT64_C(5) * 1000 * 1000)
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
/* The first answer comes when all pages are cleared, 0.2 s for each GiB or so. */
#define FIRST_ATTACH_TIMEOUT_MS 30000
#define ATTACH_TIMEOUT_MS 5000

int link_error_to_errno(const char *id)
{
	static const struct {
		const char *id;
		int error;
	} table[] = {
		{ "io.taskmem.NoHugePages", ENOBUFS },
		{ "io.taskmem.NotInSlot", ENXIO },
		{ "io.taskmem.NoSuchSlot", ENOENT },
		{ "io.taskmem.NoSuchGrant", ESTALE },
		{ "io.taskmem.Refused", EDQUOT },
		{ "io.taskmem.BadValue", EINVAL },
		{ SD_VARLINK_ERROR_PERMISSION_DENIED, EACCES },
		{ SD_VARLINK_ERROR_INVALID_PARAMETER, EINVAL },
		{ SD_VARLINK_ERROR_METHOD_NOT_FOUND, EPROTONOSUPPORT },
		{ SD_VARLINK_ERROR_INTERFACE_NOT_FOUND, EPROTONOSUPPORT },
		{ SD_VARLINK_ERROR_DISCONNECTED, ECONNRESET },
		{ SD_VARLINK_ERROR_TIMEOUT, ETIMEDOUT },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcmp(id, table[i].id) == 0)
			return -table[i].error;
	return -EIO;
}

int link_get_number(sd_json_variant *v, const char *key, uint64_t max, uint64_t *ret)
{
	sd_json_variant *field = sd_json_variant_by_key(v, key);

	if (!field || !sd_json_variant_is_unsigned(field))
		return -EBADMSG;
	if (sd_json_variant_unsigned(field) > max)
		return -EBADMSG;
	*ret = sd_json_variant_unsigned(field);
	return 0;
}

/* As link_get_number(), but -1 when it is null or missing. */
static int get_optional(sd_json_variant *v, const char *key, int *ret)
{
	sd_json_variant *field = sd_json_variant_by_key(v, key);
	uint64_t number;
	int r;

	if (!field || sd_json_variant_is_null(field)) {
		*ret = -1;
		return 0;
	}
	r = link_get_number(v, key, INT32_MAX, &number);
	if (r < 0)
		return r;
	*ret = (int)number;
	return 0;
}

static int parse_reply(sd_json_variant *v, struct link_reply *ret)
{
	sd_json_variant *name = sd_json_variant_by_key(v, "slot");
	struct link_reply reply = { .chunks = sd_json_variant_by_key(v, "chunks"),
				    .revoked = sd_json_variant_by_key(v, "revokedChunks") };
	sd_json_variant *deadline = sd_json_variant_by_key(v, "deadlineUsec");
	uint64_t file_chunks, target;

	if (!name || !sd_json_variant_is_string(name) || !reply.chunks ||
	    !sd_json_variant_is_array(reply.chunks))
		return -EBADMSG;
	if (link_get_number(v, "grant", UINT64_MAX, &reply.grant) < 0 ||
	    link_get_number(v, "fileChunks", INT32_MAX, &file_chunks) < 0 ||
	    link_get_number(v, "targetChunks", INT32_MAX, &target) < 0 ||
	    get_optional(v, "node", &reply.node) < 0 ||
	    get_optional(v, "fdIndex", &reply.fd_index) < 0)
		return -EBADMSG;

	/* a daemon that takes nothing by force knows neither of these */
	if (deadline && !sd_json_variant_is_null(deadline)) {
		if (link_get_number(v, "deadlineUsec", UINT64_MAX / NS_PER_USEC,
				    &reply.deadline_ns) < 0)
			return -EBADMSG;
		reply.deadline_ns *= NS_PER_USEC;
	}
	if (sd_json_variant_by_key(v, "revocation") &&
	    link_get_number(v, "revocation", UINT64_MAX, &reply.revocation) < 0)
		return -EBADMSG;
	if (reply.revoked && sd_json_variant_is_null(reply.revoked))
		reply.revoked = NULL;
	if (reply.revoked && !sd_json_variant_is_array(reply.revoked))
		return -EBADMSG;
	reply.slot = sd_json_variant_string(name);
	reply.file_chunks = (uint32_t)file_chunks;
	reply.target = (uint32_t)target;
	*ret = reply;
	return 0;
}

static void set_target(struct tm_slot *slot, const struct link_reply *reply)
{
	uint32_t target = reply->target;

	if (slot->max_chunks && target > slot->max_chunks)
		target = slot->max_chunks;
	pthread_mutex_lock(&slot->lock);
	slot->is_untold |= reply->deadline_ns != 0 && reply->deadline_ns != slot->deadline_ns;
	slot->deadline_ns = reply->deadline_ns;
	slot->target = target;
	slot->n_targets++;
	slot->is_connected = true;
	slot->ask_after_ns = 0;
	pthread_mutex_unlock(&slot->lock);
}

static int take_grant(struct tm_slot *slot, sd_varlink *link, const struct link_reply *reply)
{
	CLEANUP(fd_closep) int fd = -1;
	int r;

	if (reply->fd_index < 0 || strlen(reply->slot) >= sizeof(slot->name))
		return -EBADMSG;
	fd = sd_varlink_take_fd(link, (size_t)reply->fd_index);
	if (fd < 0)
		return -EBADMSG;

	slot->grant = reply->grant;
	slot->file_chunks = reply->file_chunks;
	slot->node = reply->node;
	strcpy(slot->name, reply->slot);
	r = chunk_map(slot, fd);
	if (r < 0)
		return r;
	r = chunk_adopt(slot, reply->chunks);
	if (r < 0)
		return r;
	return (size_t)r == sd_json_variant_elements(reply->chunks) ? 0 : -ENOMEM;
}

static int on_message(struct tm_slot *slot, sd_varlink *link, sd_json_variant *parameters)
{
	struct link_reply reply;
	int r;

	r = parse_reply(parameters, &reply);
	if (r < 0)
		return r;
	if (slot->link_state == LINK_ATTACHING) {
		if (!slot->base) {
			r = take_grant(slot, link, &reply);
			if (r < 0)
				return r;
		} else if (reply.grant != slot->grant || reply.file_chunks != slot->file_chunks) {
			return -EBADMSG;
		} else {
			chunk_reconcile(slot, reply.chunks);
			/* a new daemon */
			atomic_store(&slot->has_untold_engine, atomic_load(&slot->engine_kinds));
			if (slot->report.file)
				atomic_store(&slot->report.is_untold, true);
			slot->is_drain_news = true; /* for another daemon */
		}
		slot->link_state = LINK_UP;
		slot->backoff_ms = BACKOFF_MIN_MS;
	} else if (reply.grant != slot->grant) {
		return -EBADMSG;
	}
	slot->revocation = reply.revocation;
	if (reply.revoked)
		chunk_note_revoked(slot, reply.revoked);
	slot->n_notices++;
	set_target(slot, &reply);
	return 0;
}

static int on_reply(sd_varlink *link, sd_json_variant *parameters, const char *error_id,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct tm_slot *slot = userdata;
	int r;

	if (error_id)
		r = link_error_to_errno(error_id);
	else
		r = on_message(slot, link, parameters);
	if (r == 0 && !(flags & SD_VARLINK_REPLY_CONTINUES))
		r = -ECONNRESET;
	if (r < 0 && !slot->link_error)
		slot->link_error = r;
	return 0;
}

int link_connect(struct tm_slot *slot, sd_varlink **ret)
{
	sd_varlink *link;
	int r;

	r = sd_varlink_connect_address(&link, slot->address);
	if (r < 0)
		return r;
	r = sd_varlink_set_relative_timeout(link, CALL_TIMEOUT_US);
	if (r < 0) {
		sd_varlink_close_unref(link);
		return r;
	}
	*ret = link;
	return 0;
}

static void drop_notices(struct tm_slot *slot)
{
	if (!slot->notices)
		return;
	(void)epoll_ctl(slot->epoll_fd, EPOLL_CTL_DEL, sd_varlink_get_fd(slot->notices), NULL);
	slot->notices = sd_varlink_close_unref(slot->notices);
	slot->link_state = LINK_DOWN;
}

static int watch_notices(struct tm_slot *slot, int operation)
{
	struct epoll_event event = {};
	int events = sd_varlink_get_events(slot->notices);

	if (events < 0)
		return events;
	event.events = (uint32_t)events; /* POLLIN and POLLOUT are EPOLLIN and EPOLLOUT */
	if (epoll_ctl(slot->epoll_fd, operation, sd_varlink_get_fd(slot->notices), &event) < 0)
		return -errno;
	return 0;
}

/* Names a request to attach until it has got its grant: when the answer was lost, the daemon
 * knows by the same number in this thread's next request what nobody ever heard of. */
static _Atomic uint64_t last_token;
static thread_local uint64_t attach_token;

static int send_attach(struct tm_slot *slot, uint32_t min_chunks)
{
	sd_varlink *link = slot->notices;
	bool is_new = !slot->base;
	int r;

	r = sd_varlink_set_allow_fd_passing_input(link, 1);
	if (r < 0)
		return r;
	r = sd_varlink_bind_reply(link, on_reply);
	if (r < 0)
		return r;
	(void)sd_varlink_set_userdata(link, slot);
	r = sd_varlink_observebo(
		link, "io.taskmem.Attach",
		SD_JSON_BUILD_PAIR_CONDITION(is_new, "minChunks",
					     SD_JSON_BUILD_UNSIGNED(min_chunks)),
		SD_JSON_BUILD_PAIR_CONDITION(is_new, "token", SD_JSON_BUILD_UNSIGNED(attach_token)),
		SD_JSON_BUILD_PAIR_CONDITION(slot->max_chunks > 0, "wantedChunks",
					     SD_JSON_BUILD_UNSIGNED(slot->max_chunks)),
		SD_JSON_BUILD_PAIR_CONDITION(!is_new, "resumeGrant",
					     SD_JSON_BUILD_UNSIGNED(slot->grant)));
	return r < 0 ? r : 0;
}

static int open_notices(struct tm_slot *slot, uint32_t min_chunks)
{
	int r;

	slot->link_error = 0;
	r = link_connect(slot, &slot->notices);
	if (r < 0)
		return r;
	slot->link_state = LINK_ATTACHING;
	r = send_attach(slot, min_chunks);
	if (r >= 0) /* a notice may come after years */
		r = sd_varlink_set_relative_timeout(slot->notices, UINT64_MAX);
	if (r >= 0)
		r = watch_notices(slot, EPOLL_CTL_ADD);
	if (r < 0)
		drop_notices(slot);
	return r < 0 ? r : 0;
}

int link_attach(struct tm_slot *slot, const char *address, uint32_t min_chunks)
{
	uint64_t deadline_ns = mono_now_ns() + FIRST_ATTACH_TIMEOUT_MS * NS_PER_MSEC, now_ns;
	int r;

	slot->address = strdup(address);
	if (!slot->address)
		return -ENOMEM;
	slot->backoff_ms = BACKOFF_MIN_MS;
	if (attach_token == 0)
		attach_token = atomic_fetch_add(&last_token, 1) + 1;
	r = open_notices(slot, min_chunks);
	if (r < 0)
		return r;
	while (slot->link_state == LINK_ATTACHING && !slot->link_error) {
		r = sd_varlink_process(slot->notices);
		if (r < 0)
			return slot->link_error ? slot->link_error : r;
		if (r > 0)
			continue;
		now_ns = mono_now_ns();
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		r = sd_varlink_wait(slot->notices, (deadline_ns - now_ns) / NS_PER_USEC);
		if (r < 0 && r != -EINTR)
			return r;
	}
	if (slot->link_error)
		return slot->link_error;
	attach_token = 0;
	slot->n_notices = 0;
	slot->told_target = slot->target;
	slot_signal(slot); /* later notices may be in memory already */
	return watch_notices(slot, EPOLL_CTL_MOD);
}

void link_set_timer(struct tm_slot *slot, uint32_t ms)
{
	struct itimerspec spec = { .it_value = { .tv_sec = ms / 1000,
						 .tv_nsec = (long)(ms % 1000) * 1000000 } };

	/* cannot fail: the descriptor and the values are ours */
	(void)timerfd_settime(slot->timer_fd, 0, &spec, NULL);
}

static void on_lost(struct tm_slot *slot)
{
	drop_notices(slot);
	atomic_store(&slot->calls_stale, true);
	pthread_mutex_lock(&slot->lock);
	slot->is_connected = false;
	pthread_mutex_unlock(&slot->lock);
	link_set_timer(slot, slot->backoff_ms);
	slot->backoff_ms = MIN(slot->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

/* @has_timer_fired ends a wait for the first reply as well as a pause between two attempts. */
static void link_turn(struct tm_slot *slot, bool has_timer_fired)
{
	int r;

	if (!slot->notices) {
		if (!has_timer_fired)
			return;
		if (open_notices(slot, 0) < 0) {
			on_lost(slot);
			return;
		}
		link_set_timer(slot, ATTACH_TIMEOUT_MS);
		has_timer_fired = false;
	}
	do
		r = sd_varlink_process(slot->notices);
	while (r > 0 && !slot->link_error);
	if (r < 0 || slot->link_error || (slot->link_state == LINK_ATTACHING && has_timer_fired))
		on_lost(slot);
	else if (watch_notices(slot, EPOLL_CTL_MOD) < 0)
		on_lost(slot);
}

void link_process(struct tm_slot *slot)
{
	uint64_t ticks;
	bool has_timer_fired;

	/* both are non-blocking; what they count does not matter */
	(void)!read(slot->event_fd, &ticks, sizeof(ticks));
	has_timer_fired = read(slot->timer_fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks);
	link_turn(slot, has_timer_fired);
}

void link_close(struct tm_slot *slot)
{
	drop_notices(slot);
	slot->calls = sd_varlink_close_unref(slot->calls);
}

/* A connection for calls to the daemon that is there now. */
static int open_calls(struct tm_slot *slot)
{
	int r;

	if (atomic_exchange(&slot->calls_stale, false))
		slot->calls = sd_varlink_close_unref(slot->calls);
	if (!slot->calls) {
		r = link_connect(slot, &slot->calls);
		if (r < 0)
			return r == -ENOMEM ? r : -ENOTCONN;
	}
	return 0;
}

int link_call(struct tm_slot *slot, const char *method, sd_json_variant *parameters,
	      sd_json_variant **ret_reply)
{
	const char *error_id = NULL;
	int r = open_calls(slot);

	if (r < 0)
		return r;
	r = sd_varlink_call(slot->calls, method, parameters, ret_reply, &error_id);
	if (r >= 0)
		return error_id ? link_error_to_errno(error_id) : 0;
	/* after a time-out the answer could still come and be taken for the next one */
	slot->calls = sd_varlink_close_unref(slot->calls);
	if (r == -ETIME || r == -ETIMEDOUT)
		return -ETIMEDOUT;
	return r == -ENOMEM ? r : -ENOTCONN;
}

void link_note_engine(struct tm_slot *slot, enum tm_engine_kind kind)
{
	unsigned bit = 1U << kind;

	if (atomic_fetch_or(&slot->engine_kinds, bit) & bit)
		return;
	atomic_store(&slot->has_untold_engine, true);
	link_tell_engines(slot);
}

/* What comes of it is nothing to the task: an older daemon has no such call, one that is away is
 * told when the grant is taken up again. */
void link_tell_engines(struct tm_slot *slot)
{
	sd_json_variant *parameters = NULL, *reply;
	unsigned kinds;

	if (!atomic_exchange(&slot->has_untold_engine, false))
		return;
	kinds = atomic_load(&slot->engine_kinds);
	if (sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
			   SD_JSON_BUILD_PAIR_BOOLEAN("uring", kinds & (1U << TM_ENGINE_URING)),
			   SD_JSON_BUILD_PAIR_BOOLEAN("epoll", kinds & (1U << TM_ENGINE_EPOLL))) >=
	    0) {
		pthread_mutex_lock(&slot->call_lock);
		(void)!link_call(slot, "io.taskmem.ReportEngine", parameters, &reply);
		pthread_mutex_unlock(&slot->call_lock);
	}
	sd_json_variant_unref(parameters);
}

int link_call_with_fd(struct tm_slot *slot, const char *method, sd_json_variant *parameters, int fd,
		      sd_json_variant **ret_reply)
{
	int r = open_calls(slot);

	if (r < 0)
		return r;
	r = sd_varlink_set_allow_fd_passing_output(slot->calls, 1);
	if (r >= 0)
		r = sd_varlink_push_dup_fd(slot->calls, fd);
	return r < 0 ? r : link_call(slot, method, parameters, ret_reply);
}
