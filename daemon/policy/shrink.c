/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the kernel does (6.12, mm/memcontrol.c), and what follows:
 *
 * - Writing memory.max below usage reclaims in the writer, and after 16 tries without progress
 *   kills in the cgroup until usage fits. So memory.max is lowered only when usage is below the
 *   new value by a margin, larger than what a slot can take between the read and the write.
 *   From 6.16 on, a descriptor that is O_NONBLOCK sets the limit only, which is what is used where
 *   it is known (older kernels ignore the flag): a slot that did grow past it is seen above its
 *   limit afterwards, and the old limit is put back before its tasks are short of memory.
 * - memory.reclaim never kills. It blocks (0.8 s for 64 MiB on a slow machine), so it is asked
 *   for at most 32 MiB, off the loop, and for less where that takes seconds (a busy slot on a
 *   busy machine: 5 s seen, in which the slot took back all of it). It answers -EAGAIN when
 *   short, whatever it got, so progress is read from memory.current.
 * - A busy slot takes back at once what was reclaimed, or has just used whatever the kernel looks
 *   at, so that memory.reclaim gives up. Then memory.high is set below usage: the writer reclaims
 *   down to it and what the slot charges above it is slowed. This brake is let down in steps as
 *   large as a reclaim chunk. Setting it only *at* usage would not do: below the brake the slot
 *   refills at full speed.
 * - The write of memory.high goes on reclaiming until it sees usage at or below the value, which a
 *   slot that hovers just above keeps from it (13 s seen on a busy machine). So the next brake does
 *   not wait for the end of a write that has done its work: the old one is cancelled. Nor does who
 *   has changed his mind: a higher limit is written beside it, and the write is made to end.
 * - memory.high above what can be reclaimed never kills but stops the slot for ever: the slot
 *   sleeps up to 2 s per 64 pages it charges. So the brake is only used while the memory to go is
 *   page cache, or anon with swap free for it, and the brake is 16 MiB above the floor; and it
 *   is released when that stops to hold, when 3 s bring no progress, when memory.max is written
 *   and when the change is replaced or given up. Each step looks at these first.
 *
 * A round is a run of chunks that get somewhere. Between rounds is a pause, 0.25 s doubling to
 * 4 s, and usage is looked at twice a second: a slot that shrinks by itself is taken at its word.
 */

#include "policy/shrink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define PAGE_BYTES UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define MS UINT64_C(1000000)

#define CHUNK_MAX_BYTES (32 * MIB)
#define CHUNK_LEAST_BYTES (8 * MIB)
#define CHUNK_SLOW_NS (1000 * MS)   /* a reclaim that takes longer is followed by a smaller */
#define CHUNK_QUICK_NS (250 * MS)   /* and one that takes less by a larger one */
#define PROGRESS_BYTES MIB          /* less is noise of other cgroup's batches */
#define BRAKE_ROOM_BYTES (16 * MIB) /* between the floor and memory.high */
#define NO_PROGRESS_NS (3000 * MS)
#define BACKOFF_MIN_NS (250 * MS)
#define BACKOFF_MAX_NS (4000 * MS)
#define FLIGHT_LOOK_NS (250 * MS) /* how often to look while a write is in flight */
#define PAUSE_LOOK_NS (500 * MS)  /* and during a pause */
#define MARGIN_LEAST (4 * MIB)

static const struct shrink_action nothing = { .verb = SHRINK_NOTHING };

uint64_t shrink_margin(uint64_t target_bytes)
{
	/* 2 % and at least 4 MiB, but never more than an eighth of a small target */
	uint64_t margin = MAX(target_bytes / 50, MARGIN_LEAST);

	return MIN(margin, target_bytes / 8);
}

/* Usage that allows memory.max to be lowered. */
static uint64_t goal_bytes(const struct shrink *s)
{
	return s->target_bytes - shrink_margin(s->target_bytes);
}

PRINTF_LIKE(2, 3) static void note(struct shrink *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(s->note, sizeof(s->note), format, args);
	va_end(args);
}

void shrink_init(struct shrink *s)
{
	*s = (struct shrink){ .target_bytes = BYTES_UNLIMITED, .brake_bytes = BYTES_UNLIMITED };
}

void shrink_set(struct shrink *s, uint64_t target_bytes, uint64_t usage_bytes, uint64_t now_ns)
{
	if (target_bytes != BYTES_UNLIMITED)
		target_bytes -= target_bytes % PAGE_BYTES; /* as the kernel will show it */
	s->target_bytes = target_bytes;
	s->is_pending = true;
	s->has_written = false;
	s->must_release = s->brake_bytes != BYTES_UNLIMITED;
	s->is_held = false;
	s->is_refilling = false;
	s->chunk_most_bytes = CHUNK_MAX_BYTES;
	s->best_bytes = s->mark_bytes = usage_bytes;
	s->mark_ns = s->resume_ns = s->rewrite_ns = now_ns;
	s->backoff_ns = BACKOFF_MIN_NS;
	s->least_max_bytes = 0;
	s->note[0] = 0;
	progress_start(&s->progress, usage_bytes, MIN(usage_bytes, goal_bytes(s)), now_ns);
}

void shrink_hold(struct shrink *s, uint64_t until_ns)
{
	s->is_held = true;
	s->resume_ns = s->mark_ns = until_ns;
	note(s, "its tasks were told and are given a moment to free it by themselves");
}

void shrink_cancel(struct shrink *s)
{
	s->is_pending = false;
	s->has_written = false;
	s->must_release = s->brake_bytes != BYTES_UNLIMITED;
	s->note[0] = 0;
}

void shrink_adopt_brake(struct shrink *s, uint64_t kernel_high_bytes)
{
	s->brake_bytes = kernel_high_bytes;
	s->must_release = kernel_high_bytes != BYTES_UNLIMITED;
}

/* What could go by reclaim: page cache, and anon as far as swap takes it. An estimate. */
static uint64_t reclaimable_bytes(const struct shrink_input *in)
{
	uint64_t anon = MIN(in->anon_bytes, in->swap_free_bytes);
	uint64_t above_floor =
		in->current_bytes > in->floor_bytes ? in->current_bytes - in->floor_bytes : 0;

	if (in->file_bytes >= above_floor || anon >= above_floor - in->file_bytes)
		return above_floor;
	return in->file_bytes + anon;
}

uint64_t shrink_stuck_bytes(const struct shrink_input *in)
{
	return in->current_bytes - reclaimable_bytes(in);
}

static bool brake_is_safe(const struct shrink *s, const struct shrink_input *in,
			  uint64_t brake_bytes)
{
	uint64_t goal = goal_bytes(s);
	uint64_t must_go = in->current_bytes > goal ? in->current_bytes - goal : 0;

	return in->floor_bytes < brake_bytes && brake_bytes - in->floor_bytes > BRAKE_ROOM_BYTES &&
	       must_go <= reclaimable_bytes(in);
}

/* The smallest max, in whole MiB, whose margin leaves room for what cannot go. */
static uint64_t least_max(uint64_t stuck_bytes)
{
	uint64_t max = stuck_bytes - stuck_bytes % MIB;

	while (max - shrink_margin(max) < stuck_bytes)
		max += MIB;
	return max;
}

/* Says why the round failed. */
static void explain(struct shrink *s, const struct shrink_input *in)
{
	uint64_t stuck = shrink_stuck_bytes(in);
	char amount[FORMAT_BYTES_MAX], least[FORMAT_BYTES_MAX], swap[FORMAT_BYTES_MAX];

	s->least_max_bytes = 0;
	if (stuck > goal_bytes(s)) {
		bool lacks_swap = in->anon_bytes > in->swap_free_bytes;

		s->least_max_bytes = least_max(stuck);
		(void)format_bytes(stuck, amount);
		(void)format_bytes_exact(s->least_max_bytes, least);
		if (lacks_swap && in->swap_free_bytes < MIB)
			note(s,
			     "%s cannot be reclaimed: no swap is free; stop the task, add swap "
			     "or set max >= %s",
			     amount, least);
		else if (lacks_swap)
			note(s,
			     "%s cannot be reclaimed: only %s of swap is free; stop the task, "
			     "add swap or set max >= %s",
			     amount, format_bytes(in->swap_free_bytes, swap), least);
		else
			note(s,
			     "%s cannot be reclaimed: it is locked, pinned or kernel memory; "
			     "stop the task or set max >= %s",
			     amount, least);
	} else if (s->is_refilling) {
		note(s,
		     "the slot takes back what is reclaimed, %s now; trying again, or set max "
		     "above that",
		     format_bytes(in->current_bytes, amount));
	} else {
		note(s, "the kernel reclaims nothing more of %s now; trying again",
		     format_bytes(in->current_bytes, amount));
	}
}

/* Ends a round: a pause, no brake, and a word why. */
static void pause_round(struct shrink *s, const struct shrink_input *in)
{
	explain(s, in);
	s->resume_ns = in->now_ns + s->backoff_ns;
	s->backoff_ns = MIN(s->backoff_ns * 2, BACKOFF_MAX_NS);
	s->mark_bytes = in->current_bytes;
	s->mark_ns = s->resume_ns;
	s->must_release = s->brake_bytes != BYTES_UNLIMITED;
}

/* How much lower usage counts as getting on. */
static uint64_t progress_step(const struct shrink *s)
{
	uint64_t step = MIN(PROGRESS_BYTES, shrink_margin(s->target_bytes));

	return MAX(step, 1u);
}

static void watch_progress(struct shrink *s, const struct shrink_input *in)
{
	uint64_t step = progress_step(s);

	(void)progress_sample(&s->progress, in->now_ns, in->current_bytes); /* reported later */
	if (s->mark_bytes >= step && in->current_bytes <= s->mark_bytes - step) {
		s->mark_bytes = in->current_bytes;
		s->mark_ns = MAX(in->now_ns, s->mark_ns);
	}
	/* A slot that goes down and up again makes no progress, however often it does. */
	if (s->best_bytes >= step && in->current_bytes <= s->best_bytes - step) {
		s->best_bytes = in->current_bytes;
		s->backoff_ns = BACKOFF_MIN_NS;
		s->note[0] = 0;
	}
}

/* Lets the brake down by one chunk; 0 when it must or need not be. */
static uint64_t next_brake(const struct shrink *s, const struct shrink_input *in)
{
	uint64_t goal = goal_bytes(s), from = MIN(s->brake_bytes, in->current_bytes), brake;

	/* first get down to where it is */
	if (s->brake_bytes != BYTES_UNLIMITED &&
	    in->current_bytes > s->brake_bytes + progress_step(s))
		return 0;
	brake = from > goal + CHUNK_MAX_BYTES ? from - CHUNK_MAX_BYTES : goal;
	brake -= brake % PAGE_BYTES;
	return brake < s->brake_bytes && brake_is_safe(s, in, brake) ? brake : 0;
}

/* Reclaim brings nothing: the brake, if it was not used yet and may be, or the end of the round. */
static void give_up(struct shrink *s, const struct shrink_input *in)
{
	if (s->is_refilling || s->brake_bytes != BYTES_UNLIMITED || next_brake(s, in) == 0) {
		pause_round(s, in);
		return;
	}
	s->is_refilling = true;
	s->mark_ns = in->now_ns;
}

static void write_ended(struct shrink *s, const struct shrink_input *in)
{
	uint64_t fell = s->chunk_from_bytes > in->current_bytes
				? s->chunk_from_bytes - in->current_bytes
				: 0;
	bool is_reclaim = s->flight == SHRINK_FLIGHT_RECLAIM;
	uint64_t took_ns = in->now_ns - s->chunk_ns;

	s->flight = SHRINK_FLIGHT_NONE;
	if (is_reclaim && took_ns > CHUNK_SLOW_NS)
		s->chunk_most_bytes = MAX(s->chunk_most_bytes / 2, CHUNK_LEAST_BYTES);
	else if (is_reclaim && took_ns < CHUNK_QUICK_NS)
		s->chunk_most_bytes = MIN(s->chunk_most_bytes * 2, CHUNK_MAX_BYTES);
	if (!s->is_pending || s->must_release)
		return;
	if (is_reclaim && in->last_write_result == 0 && fell < s->chunk_bytes / 2)
		s->is_refilling = true; /* all was reclaimed, but is not gone */
	else if (in->last_write_result == -EINTR || in->last_write_result == -ECANCELED)
		s->resume_ns = in->now_ns + BACKOFF_MIN_NS; /* cancelled: neither good nor bad */
	else if (in->last_write_result < 0 && fell < MIN(progress_step(s), s->chunk_bytes / 4))
		give_up(s, in);
}

static struct shrink_action wait_until(uint64_t wake_ns)
{
	return (struct shrink_action){ .verb = SHRINK_WAIT, .wake_ns = wake_ns };
}

/* What is in flight takes memory, or would set the brake, for nothing. */
static struct shrink_action wait_for_end(const struct shrink_input *in)
{
	struct shrink_action action = wait_until(in->now_ns + FLIGHT_LOOK_NS);

	action.must_end = true;
	return action;
}

static struct shrink_action begin(struct shrink *s, const struct shrink_input *in,
				  enum shrink_flight flight, uint64_t bytes)
{
	s->flight = flight;
	s->chunk_from_bytes = in->current_bytes;
	s->chunk_ns = in->now_ns;
	s->chunk_bytes = flight == SHRINK_FLIGHT_RECLAIM ? bytes
			 : in->current_bytes > bytes     ? in->current_bytes - bytes
							 : 0;
	if (flight == SHRINK_FLIGHT_BRAKE)
		s->brake_bytes = bytes;
	return (struct shrink_action){
		.verb = flight == SHRINK_FLIGHT_RECLAIM ? SHRINK_RECLAIM : SHRINK_SET_BRAKE,
		.bytes = bytes,
	};
}

/* May the write in flight be cancelled for a brake? A reclaim that gets nowhere; a brake with usage
 * where it is. */
static bool may_replace(const struct shrink *s, const struct shrink_input *in)
{
	if (s->flight == SHRINK_FLIGHT_RECLAIM)
		return s->is_refilling;
	return in->current_bytes <= s->brake_bytes + progress_step(s);
}

/* Usage is above the goal and nothing has to be released. */
static struct shrink_action squeeze(struct shrink *s, const struct shrink_input *in)
{
	uint64_t goal = goal_bytes(s), brake, chunk;

	if (s->flight != SHRINK_FLIGHT_NONE && !may_replace(s, in))
		return wait_until(in->now_ns + FLIGHT_LOOK_NS);
	if (in->now_ns < s->resume_ns)
		return wait_until(MIN(s->resume_ns, in->now_ns + PAUSE_LOOK_NS));

	if (s->is_held) {
		s->is_held = false;
		s->note[0] = 0;
	}
	brake = s->is_refilling ? next_brake(s, in) : 0;
	if (brake > 0)
		return begin(s, in, SHRINK_FLIGHT_BRAKE, brake);
	if (s->flight != SHRINK_FLIGHT_NONE)
		return wait_until(in->now_ns + FLIGHT_LOOK_NS);
	/* half a margin more than needed, so that a slot that stirs does not undo it */
	chunk = MIN(in->current_bytes - goal + shrink_margin(s->target_bytes) / 2,
		    s->chunk_most_bytes);
	return begin(s, in, SHRINK_FLIGHT_RECLAIM, MAX(chunk - chunk % PAGE_BYTES, PAGE_BYTES));
}

/* The brake has to go; not before a write that would set it after all has ended. */
static struct shrink_action release(struct shrink *s, const struct shrink_input *in)
{
	if (s->flight == SHRINK_FLIGHT_BRAKE)
		return wait_for_end(in);
	s->must_release = false;
	s->brake_bytes = BYTES_UNLIMITED;
	s->is_refilling = false;
	return (struct shrink_action){ .verb = SHRINK_CLEAR_BRAKE };
}

static struct shrink_action write_max(struct shrink *s, const struct shrink_input *in,
				      bool has_failed)
{
	char is[FORMAT_BYTES_MAX], should[FORMAT_BYTES_MAX];

	if (has_failed) {
		note(s, "memory.max reads %s after %s was written; trying again",
		     format_bytes_exact(in->kernel_max_bytes, is),
		     format_bytes_exact(s->target_bytes, should));
		s->rewrite_ns = in->now_ns + s->backoff_ns;
		s->backoff_ns = MIN(s->backoff_ns * 2, BACKOFF_MAX_NS);
	}
	if (in->now_ns < s->rewrite_ns)
		return wait_until(MIN(s->rewrite_ns, in->now_ns + PAUSE_LOOK_NS));
	s->has_written = true;
	s->undo_bytes = in->kernel_max_bytes;
	return (struct shrink_action){ .verb = SHRINK_WRITE_MAX, .bytes = s->target_bytes };
}

/* The slot grew past the new max between the read and the write. */
static struct shrink_action undo_max(struct shrink *s, const struct shrink_input *in)
{
	char amount[FORMAT_BYTES_MAX];

	note(s, "the slot grew to %s just when max was lowered; trying again",
	     format_bytes(in->current_bytes, amount));
	s->rewrite_ns = in->now_ns + s->backoff_ns;
	s->backoff_ns = MIN(s->backoff_ns * 2, BACKOFF_MAX_NS);
	return (struct shrink_action){ .verb = SHRINK_WRITE_MAX, .bytes = s->undo_bytes };
}

struct shrink_action shrink_step(struct shrink *s, const struct shrink_input *in)
{
	bool has_written = s->has_written;

	s->has_written = false;
	if (in->last_write_done && s->flight != SHRINK_FLIGHT_NONE)
		write_ended(s, in);

	if (s->is_pending && has_written && in->kernel_max_bytes == s->target_bytes &&
	    in->current_bytes > s->target_bytes && s->undo_bytes > s->target_bytes)
		return undo_max(s, in);
	if (s->is_pending && in->kernel_max_bytes == s->target_bytes) {
		s->is_pending = false;
		s->note[0] = 0;
		s->must_release = s->brake_bytes != BYTES_UNLIMITED;
	}
	/* more room waits for nobody */
	if (s->is_pending && s->target_bytes > in->kernel_max_bytes && !has_written &&
	    in->now_ns >= s->rewrite_ns)
		return write_max(s, in, /* has_failed= */ false);
	if (s->must_release)
		return release(s, in);
	if (!s->is_pending)
		return s->flight == SHRINK_FLIGHT_NONE ? nothing : wait_for_end(in);
	if (s->target_bytes > in->kernel_max_bytes)
		return write_max(s, in, has_written);

	watch_progress(s, in);
	if (in->current_bytes <= goal_bytes(s))
		return write_max(s, in, has_written);
	if (in->now_ns >= s->mark_ns + NO_PROGRESS_NS)
		give_up(s, in);
	if (s->brake_bytes != BYTES_UNLIMITED && !brake_is_safe(s, in, s->brake_bytes))
		s->must_release = true;
	return s->must_release ? release(s, in) : squeeze(s, in);
}
