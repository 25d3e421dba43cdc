/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.h"

#include <errno.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "kern/topology.h"

/* More steps than any sequence of writes at one moment needs: a bound against a loop of ours. */
#define STEPS_MAX 16

static void limit_run(struct limit *limit);

static void on_written(int result, void *userdata)
{
	struct limit *limit = userdata;

	limit->op = NULL;
	limit->has_ended = true;
	limit->ended_result = result < 0 ? result : 0;
	limit_run(limit);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	limit_run(userdata);
	return 0;
}

/* What the slot could still put into swap: what the host has, and what memory.swap.max leaves. */
static int read_swap_free(struct cgdir *cg, uint64_t *ret_bytes)
{
	uint64_t host, max, used;
	int r = topology_swap_free(&host);

	if (r < 0)
		return r;
	/* without a swap controller there is no limit but the host's */
	if (cgdir_read_u64(cg, CG_MEMORY_SWAP_MAX, &max) == CGDIR_OK && max != BYTES_UNLIMITED &&
	    cgdir_read_u64(cg, CG_MEMORY_SWAP_CURRENT, &used) == CGDIR_OK)
		host = MIN(host, max > used ? max - used : 0);
	*ret_bytes = host;
	return 0;
}

static int read_input(struct cgdir *cg, struct shrink_input *in)
{
	struct cgdir_stat stat;
	int r;

	*in = (struct shrink_input){ .now_ns = mono_now_ns() };
	r = cgdir_read_stat(cg, &stat);
	if (r != CGDIR_OK)
		return r;
	r = cgdir_read_u64(cg, CG_MEMORY_MAX, &in->kernel_max_bytes);
	if (r != CGDIR_OK)
		return r;
	r = read_swap_free(cg, &in->swap_free_bytes);
	if (r < 0)
		return r;
	in->floor_bytes = cgdir_floor_bytes(&stat);
	in->anon_bytes = stat.anon + stat.shmem;
	in->file_bytes = stat.file - MIN(stat.file, stat.shmem);
	/* Last, so that a limit written on it is as fresh as can be. */
	return cgdir_read_u64(cg, CG_MEMORY_CURRENT, &in->current_bytes);
}

int limit_read_stuck(struct cgdir *cg, uint64_t *ret_bytes)
{
	struct shrink_input in;
	int r = read_input(cg, &in);

	if (r == CGDIR_OK)
		*ret_bytes = shrink_stuck_bytes(&in);
	return r;
}

/* Begins a write that reclaims inside the kernel. What cannot be begun has ended. */
static void limit_start_write(struct limit *limit, enum cgdir_file file, uint64_t bytes)
{
	/* its own: the kernel locks an open file while it is written to, and memory.high is read then */
	CLEANUP(fd_closep) int fd = -1;
	char text[32];
	int r = cgdir_open_file(limit->cg, file, &fd);

	if (limit->op) /* a brake may take the place of the write before */
		writer_cancel(limit->writer, limit->op);
	limit->op = NULL;
	(void)snprintf(text, sizeof(text), "%llu",
		       (unsigned long long)cgdir_kernel_value(limit->cg, file, bytes));
	if (r == CGDIR_OK)
		r = writer_submit(limit->writer, fd, text, on_written, limit, &limit->op);
	if (r == 0)
		return;
	limit->has_ended = true;
	limit->ended_result = r < 0 ? r : -ENOENT;
}

static void limit_arm(struct limit *limit, uint64_t wake_ns)
{
	(void)sd_event_source_set_time(limit->timer, wake_ns / NS_PER_USEC);
	(void)sd_event_source_set_enabled(limit->timer, SD_EVENT_ONESHOT);
}

static int limit_act(struct limit *limit, const struct shrink_action *action)
{
	switch (action->verb) {
	case SHRINK_NOTHING:
	case SHRINK_WAIT:
		return 0;
	case SHRINK_WRITE_MAX:
		return cgdir_write_limit(limit->cg, CG_MEMORY_MAX, action->bytes);
	case SHRINK_SET_BRAKE:
		limit_start_write(limit, CG_MEMORY_HIGH, action->bytes);
		return 0;
	case SHRINK_CLEAR_BRAKE:
		return cgdir_write_u64(limit->cg, CG_MEMORY_HIGH, BYTES_UNLIMITED);
	case SHRINK_RECLAIM:
		limit_start_write(limit, CG_MEMORY_RECLAIM, action->bytes);
		return 0;
	}
	return -EINVAL;
}

static void limit_run(struct limit *limit)
{
	(void)sd_event_source_set_enabled(limit->timer, SD_EVENT_OFF);
	for (int i = 0; i < STEPS_MAX; i++) {
		struct shrink_action action;
		struct shrink_input in;
		int r;

		r = read_input(limit->cg, &in);
		in.last_write_done = limit->has_ended;
		in.last_write_result = limit->ended_result;
		if (r == CGDIR_GONE || r == CGDIR_ABSENT)
			return; /* the slot was removed, or there is no memory controller */
		if (r == 0) {
			limit->has_ended = false;
			action = shrink_step(&limit->shrink, &in);
			r = limit_act(limit, &action);
		}
		if (r != 0) {
			log_debug("limit: %d, trying again", r);
			limit_arm(limit, mono_now_ns() + NS_PER_SEC);
			return;
		}
		if (action.verb == SHRINK_WAIT)
			limit_arm(limit, action.wake_ns);
		if (action.must_end && limit->op)
			writer_end_early(limit->writer, limit->op);
		if (action.verb == SHRINK_WAIT || action.verb == SHRINK_NOTHING)
			break;
	}
	if (limit->shrink.is_pending || !limit->is_delayed)
		return;
	limit->is_delayed = false;
	if (limit->reached)
		limit->reached(limit, limit->userdata);
}

void limit_adopt(struct limit *limit)
{
	uint64_t max_bytes;

	if (!limit->shrink.is_pending &&
	    cgdir_read_u64(limit->cg, CG_MEMORY_MAX, &max_bytes) == CGDIR_OK)
		limit->shrink.target_bytes = max_bytes;
}

int limit_init(struct limit *limit, sd_event *event, struct writer *writer, struct cgdir *cg)
{
	uint64_t max_bytes, high_bytes;
	int r;

	*limit = (struct limit){ .event = event, .writer = writer, .cg = cg };
	shrink_init(&limit->shrink);
	r = sd_event_add_time(event, &limit->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, limit);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(limit->timer, SD_EVENT_OFF);
	/* What an earlier daemon left may be neither the target of now nor "max". */
	if (cgdir_read_u64(cg, CG_MEMORY_MAX, &max_bytes) == CGDIR_OK)
		limit->shrink.target_bytes = max_bytes;
	if (cgdir_read_u64(cg, CG_MEMORY_HIGH, &high_bytes) == CGDIR_OK &&
	    high_bytes != BYTES_UNLIMITED) {
		shrink_adopt_brake(&limit->shrink, high_bytes);
		limit_run(limit);
	}
	return 0;
}

void limit_deinit(struct limit *limit)
{
	if (limit->op)
		writer_cancel(limit->writer, limit->op);
	/* Nobody is here to take the brake off when usage has sunk. */
	if (limit->cg && limit->shrink.brake_bytes != BYTES_UNLIMITED)
		(void)!cgdir_write_u64(limit->cg, CG_MEMORY_HIGH, BYTES_UNLIMITED);
	limit->timer = sd_event_source_disable_unref(limit->timer);
	limit->op = NULL;
}

void limit_set(struct limit *limit, uint64_t target_bytes, uint64_t hold_until_ns, uint64_t now_ns)
{
	uint64_t usage_bytes = 0;

	if (limit->shrink.target_bytes == target_bytes && limit->shrink.is_pending)
		return;
	/* Only the progress starts from it: unreadable, the target must not be lost for that. */
	if (cgdir_read_u64(limit->cg, CG_MEMORY_CURRENT, &usage_bytes) != CGDIR_OK)
		log_debug("limit: memory.current cannot be read now");
	limit->is_delayed = false;
	shrink_set(&limit->shrink, target_bytes, usage_bytes, now_ns);
	if (hold_until_ns > now_ns)
		shrink_hold(&limit->shrink, hold_until_ns);
	limit_run(limit);
	if (!limit->shrink.is_pending)
		return;
	limit->is_delayed = true;
	if (limit->delayed)
		limit->delayed(limit, limit->userdata);
}

void limit_follow(struct limit *limit, uint64_t now_ns)
{
	if (limit->shrink.is_pending)
		limit_run(limit);
	else
		limit_set(limit, limit->shrink.target_bytes, /* hold_until_ns= */ 0, now_ns);
}

void limit_end_hold(struct limit *limit, uint64_t now_ns)
{
	if (!limit->shrink.is_pending || !limit->shrink.is_held)
		return;
	shrink_hold(&limit->shrink, now_ns);
	limit_run(limit);
}

bool limit_verify(struct limit *limit, uint64_t now_ns, enum cgdir_file *ret_file,
		  uint64_t *ret_seen)
{
	struct shrink *s = &limit->shrink;

	if (s->is_pending || limit->op)
		return false;
	*ret_file = CG_MEMORY_MAX;
	if (cgdir_read_u64(limit->cg, CG_MEMORY_MAX, ret_seen) == CGDIR_OK &&
	    *ret_seen != s->target_bytes) {
		limit_follow(limit, now_ns);
		return true;
	}
	*ret_file = CG_MEMORY_HIGH;
	if (s->brake_bytes != BYTES_UNLIMITED ||
	    cgdir_read_u64(limit->cg, CG_MEMORY_HIGH, ret_seen) != CGDIR_OK ||
	    *ret_seen == BYTES_UNLIMITED)
		return false;
	shrink_adopt_brake(s, *ret_seen);
	limit_run(limit);
	return true;
}
