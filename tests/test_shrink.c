/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Single decisions of the state machine; tests/test_shrink_model.c lets it drive a machine.
 */

#include "policy/shrink.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

/* ---------------------------------------------------------------- single decisions */

static struct shrink s;

static struct shrink_input input(uint64_t now_ms, uint64_t current, uint64_t kernel_max)
{
	return (struct shrink_input){ .now_ns = now_ms * MS,
				      .current_bytes = current,
				      .kernel_max_bytes = kernel_max,
				      .swap_free_bytes = 4096 * M,
				      .anon_bytes = current };
}

static struct shrink_action step(struct shrink_input in)
{
	return shrink_step(&s, &in);
}

static struct shrink_action step_done(struct shrink_input in, int result)
{
	in.last_write_done = true;
	in.last_write_result = result;
	return shrink_step(&s, &in);
}

START_TEST(the_margin_is_two_percent_but_small_targets_keep_most)
{
	ck_assert_uint_eq(shrink_margin(1000 * M), 20 * M);
	ck_assert_uint_eq(shrink_margin(100 * M), 4 * M);
	ck_assert_uint_eq(shrink_margin(8 * M), M);
	ck_assert_uint_eq(shrink_margin(0), 0);
}
END_TEST

START_TEST(nothing_happens_before_the_first_set)
{
	shrink_init(&s);
	ck_assert_int_eq(step(input(0, 100 * M, BYTES_UNLIMITED)).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(raising_is_written_at_once)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 500 * M, 100 * M, 0);
	a = step(input(0, 100 * M, 100 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 500 * M);
	ck_assert_int_eq(step(input(0, 100 * M, 500 * M)).verb, SHRINK_NOTHING);
	ck_assert(!s.is_pending);

	shrink_set(&s, BYTES_UNLIMITED, 100 * M, 0);
	a = step(input(0, 100 * M, 500 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, BYTES_UNLIMITED);
	ck_assert_int_eq(step(input(0, 100 * M, BYTES_UNLIMITED)).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(lowering_above_usage_is_written_at_once_but_only_by_a_margin)
{
	shrink_init(&s);
	shrink_set(&s, 200 * M + 1000, 196 * M, 0);
	ck_assert_uint_eq(s.target_bytes, 200 * M); /* whole pages, as the kernel shows it */
	ck_assert_int_eq(step(input(0, 196 * M, BYTES_UNLIMITED)).verb, SHRINK_WRITE_MAX);
	ck_assert_int_eq(step(input(0, 196 * M, 200 * M)).verb, SHRINK_NOTHING);

	shrink_set(&s, 150 * M, 146 * M + 1, 0);
	ck_assert_int_eq(step(input(0, 146 * M + 1, 200 * M)).verb, SHRINK_RECLAIM);
}
END_TEST

/* A kernel that only sets the limit (6.16 and later, O_NONBLOCK) leaves usage above it; an older one
 * has reclaimed, or killed, before the write returns. */
START_TEST(a_slot_that_outgrew_the_new_max_gets_the_old_one_back)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 200 * M, 190 * M, 0);
	a = step(input(0, 190 * M, 300 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 200 * M);
	a = step(input(0, 201 * M, 200 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 300 * M);
	ck_assert(s.is_pending);
	ck_assert_ptr_nonnull(strstr(s.note, "grew to 201M just when max was lowered"));
	/* and from there as ever: reclaim, then a write, not at once */
	ck_assert_int_eq(step(input(0, 201 * M, 300 * M)).verb, SHRINK_RECLAIM);
	a = step_done(input(100, 180 * M, 300 * M), 0);
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	a = step(input(300, 180 * M, 300 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 200 * M);
	ck_assert_int_eq(step(input(300, 181 * M, 200 * M)).verb, SHRINK_NOTHING);
	ck_assert(!s.is_pending);
}
END_TEST

START_TEST(a_kernel_that_made_room_in_the_write_is_done)
{
	shrink_init(&s);
	shrink_set(&s, 200 * M, 190 * M, 0);
	ck_assert_int_eq(step(input(0, 190 * M, 300 * M)).verb, SHRINK_WRITE_MAX);
	ck_assert_int_eq(step(input(0, 200 * M, 200 * M)).verb, SHRINK_NOTHING);
	ck_assert(!s.is_pending);
	/* nor is a limit that somebody else set above what is used now taken back */
	shrink_set(&s, 150 * M, 160 * M, 0);
	ck_assert_int_eq(step(input(0, 160 * M, 150 * M)).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(reclaim_goes_in_chunks_one_at_a_time)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	a = step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	ck_assert_uint_eq(a.bytes, 32 * M);
	a = step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert_uint_le(a.wake_ns, 500 * MS);
	a = step_done(input(400, 268 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	ck_assert_uint_eq(a.bytes, 32 * M);
	/* the last one asks for no more than is needed and half a margin */
	a = step_done(input(800, 98 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	ck_assert_uint_eq(a.bytes, 4 * M);
	a = step_done(input(900, 94 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 100 * M);
	ck_assert_int_eq(step(input(900, 94 * M, 100 * M)).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(usage_that_falls_by_itself_is_taken_at_once_even_in_a_pause)
{
	struct shrink_action a;
	struct shrink_input in;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	in = input(0, 300 * M, BYTES_UNLIMITED);
	in.swap_free_bytes = 0; /* else the brake would be tried */
	(void)step(in);
	in.now_ns = 10 * MS;
	a = step_done(in, -EAGAIN);
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert_uint_eq(a.wake_ns, 260 * MS);
	ck_assert_int_eq(step(input(20, 50 * M, BYTES_UNLIMITED)).verb, SHRINK_WRITE_MAX);
}
END_TEST

START_TEST(where_reclaim_gives_up_or_gets_nowhere_the_brake_is_tried_before_a_pause)
{
	struct shrink_action a;

	/* all of it was just used: the kernel finds nothing to take */
	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	a = step_done(input(10, 300 * M, BYTES_UNLIMITED), -EAGAIN);
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(a.bytes, 268 * M);
	/* and once only: a brake that brings nothing either ends the round */
	a = step(input(3009, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	(void)step(input(3010, 300 * M, BYTES_UNLIMITED));
	ck_assert(s.must_release);
	a = step_done(input(3020, 300 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_CLEAR_BRAKE);

	/* a reclaim that does not come back, in place of which it is set */
	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(step(input(2999, 300 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	a = step(input(3000, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(s.flight, SHRINK_FLIGHT_BRAKE);
}
END_TEST

START_TEST(the_next_brake_does_not_wait_for_a_write_that_has_done_its_work)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	a = step_done(input(10, 300 * M, BYTES_UNLIMITED), -EAGAIN);
	ck_assert_uint_eq(a.bytes, 268 * M);
	ck_assert_int_eq(step(input(300, 280 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	/* the slot hovers above it, so the kernel does not see it below */
	a = step(input(600, 268 * M + M / 2, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(a.bytes, 236 * M);
}
END_TEST

START_TEST(a_hold_leaves_the_tasks_time_before_the_first_reclaim)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	shrink_hold(&s, S);
	a = step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert_uint_le(a.wake_ns, 500 * MS);
	ck_assert_ptr_nonnull(strstr(s.note, "its tasks were told"));
	a = step(input(999, 200 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert_uint_eq(a.wake_ns, S);
	/* all of it was given up: no need to wait */
	a = step(input(999, 90 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);

	shrink_set(&s, 100 * M, 300 * M, 0);
	shrink_hold(&s, S);
	a = step(input(1000, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	ck_assert_str_eq(s.note, "");
	/* and a new change has none of it */
	shrink_hold(&s, 9 * S);
	s.flight = SHRINK_FLIGHT_NONE;
	shrink_set(&s, 80 * M, 300 * M, S);
	ck_assert_int_eq(step(input(1000, 300 * M, BYTES_UNLIMITED)).verb, SHRINK_RECLAIM);
}
END_TEST

START_TEST(pauses_double_to_four_seconds_while_nothing_can_be_reclaimed)
{
	static const uint64_t pauses_ms[] = { 250, 500, 1000, 2000, 4000, 4000 };
	struct shrink_input in = input(0, 420 * M, BYTES_UNLIMITED);

	in.swap_free_bytes = 0;
	shrink_init(&s);
	shrink_set(&s, 100 * M, 420 * M, 0);
	for (size_t i = 0; i < ARRAY_LEN(pauses_ms); i++) {
		uint64_t until = in.now_ns + pauses_ms[i] * MS;
		struct shrink_action a;

		in.last_write_done = false;
		ck_assert_int_eq(shrink_step(&s, &in).verb, SHRINK_RECLAIM);
		in.last_write_done = true;
		in.last_write_result = -EAGAIN;
		a = shrink_step(&s, &in);
		in.last_write_done = false;
		while (a.verb == SHRINK_WAIT && a.wake_ns < until) {
			ck_assert_uint_le(a.wake_ns, in.now_ns + 500 * MS);
			in.now_ns = a.wake_ns;
			a = shrink_step(&s, &in);
		}
		ck_assert_int_eq(a.verb, SHRINK_WAIT);
		ck_assert_uint_eq(a.wake_ns, until);
		in.now_ns = until;
	}
	ck_assert(s.is_pending);
	ck_assert_str_eq(s.note, "420M cannot be reclaimed: no swap is free; stop the task, add "
				 "swap or set max >= 429M");
	/* and what it advises would do */
	ck_assert_uint_le(420 * M, s.least_max_bytes - shrink_margin(s.least_max_bytes));
	ck_assert_uint_gt(420 * M, s.least_max_bytes - M - shrink_margin(s.least_max_bytes - M));
}
END_TEST

START_TEST(the_note_tells_swap_from_locked_memory)
{
	struct shrink_input in = input(0, 400 * M, BYTES_UNLIMITED);

	in.swap_free_bytes = 50 * M;
	shrink_init(&s);
	shrink_set(&s, 100 * M, 400 * M, 0);
	(void)shrink_step(&s, &in);
	in.last_write_done = true;
	in.last_write_result = -EAGAIN;
	(void)shrink_step(&s, &in);
	ck_assert_uint_eq(shrink_stuck_bytes(&in), 350 * M); /* as `tmctl explain` says it */
	ck_assert_str_eq(s.note, "350M cannot be reclaimed: only 50M of swap is free; stop the "
				 "task, add swap or set max >= 358M");

	in.swap_free_bytes = 4096 * M;
	in.anon_bytes = 100 * M;
	in.floor_bytes = 300 * M;
	shrink_set(&s, 100 * M, 400 * M, 0);
	in.last_write_done = false;
	(void)shrink_step(&s, &in);
	in.last_write_done = true;
	(void)shrink_step(&s, &in);
	ck_assert_uint_eq(shrink_stuck_bytes(&in), 300 * M);
	ck_assert_str_eq(s.note, "300M cannot be reclaimed: it is locked, pinned or kernel memory; "
				 "stop the task or set max >= 307M");
}
END_TEST

START_TEST(a_slot_that_refills_gets_a_brake_below_usage)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	a = step_done(input(400, 299 * M, BYTES_UNLIMITED), 0); /* all reclaimed, nothing gone */
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(a.bytes, 267 * M);
	ck_assert_int_eq(step(input(500, 280 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	/* the write of memory.high did not get there: first down to it, then lower */
	a = step_done(input(600, 275 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	a = step_done(input(900, 267 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(a.bytes, 235 * M);
	/* never below what the target needs */
	a = step_done(input(1200, 110 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_SET_BRAKE);
	ck_assert_uint_eq(a.bytes, 96 * M);
	a = step_done(input(1500, 98 * M, BYTES_UNLIMITED), 0);
	ck_assert_int_eq(a.verb, SHRINK_RECLAIM);
	/* done: the limit first, then the brake off */
	ck_assert_int_eq(step_done(input(1600, 95 * M, BYTES_UNLIMITED), 0).verb, SHRINK_WRITE_MAX);
	ck_assert_int_eq(step(input(1600, 95 * M, 100 * M)).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step(input(1600, 95 * M, 100 * M)).verb, SHRINK_NOTHING);
}
END_TEST

/* Brings s into a state with a brake at 267M of 299M used, no write in flight. */
static void with_brake(void)
{
	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(step_done(input(400, 299 * M, BYTES_UNLIMITED), 0).verb, SHRINK_SET_BRAKE);
	ck_assert_int_eq(step_done(input(500, 290 * M, BYTES_UNLIMITED), 0).verb, SHRINK_RECLAIM);
}

START_TEST(no_brake_without_swap_for_what_must_go_nor_near_the_floor)
{
	struct shrink_input in = input(400, 299 * M, BYTES_UNLIMITED);

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	in.swap_free_bytes = 202 * M; /* 203 must go */
	ck_assert_int_eq(step_done(in, 0).verb, SHRINK_RECLAIM);

	in.swap_free_bytes = 4096 * M;
	in.floor_bytes = 252 * M; /* less than 16M below a brake at 267M */
	ck_assert_int_eq(step_done(in, 0).verb, SHRINK_RECLAIM);

	in.swap_free_bytes = 0; /* but page cache needs no swap */
	in.floor_bytes = 60 * M;
	in.anon_bytes = 60 * M;
	in.file_bytes = 239 * M;
	ck_assert_int_eq(step_done(in, 0).verb, SHRINK_SET_BRAKE);
}
END_TEST

START_TEST(the_brake_goes_when_swap_runs_out)
{
	struct shrink_input in = input(600, 289 * M, BYTES_UNLIMITED);

	with_brake();
	in.swap_free_bytes = 0;
	ck_assert_int_eq(step(in).verb, SHRINK_CLEAR_BRAKE); /* while a reclaim is in flight */
	ck_assert_int_eq(step(in).verb, SHRINK_WAIT);
	ck_assert_uint_eq(s.brake_bytes, BYTES_UNLIMITED);
}
END_TEST

START_TEST(the_brake_goes_after_three_seconds_without_progress)
{
	with_brake(); /* progress at 500 ms */
	ck_assert_int_eq(step(input(3400, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	ck_assert_int_eq(step(input(3500, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step_done(input(3510, 290 * M, BYTES_UNLIMITED), 0).verb, SHRINK_WAIT);
	ck_assert(s.is_pending);
	ck_assert_str_ne(s.note, "");
	ck_assert_int_eq(step(input(3740, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	ck_assert_int_ne(step(input(3750, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
}
END_TEST

START_TEST(a_new_set_and_a_cancel_take_the_brake_off_first)
{
	with_brake();
	shrink_set(&s, 400 * M, 290 * M, S);
	ck_assert_int_eq(step(input(1000, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step(input(1000, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_WRITE_MAX);
	/* the reclaim in flight is still to be reported, then there is nothing left */
	ck_assert_int_eq(step(input(1000, 290 * M, 400 * M)).verb, SHRINK_WAIT);
	ck_assert_int_eq(step_done(input(1100, 280 * M, 400 * M), 0).verb, SHRINK_NOTHING);

	with_brake();
	shrink_cancel(&s);
	ck_assert_int_eq(step(input(1000, 290 * M, BYTES_UNLIMITED)).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step_done(input(1100, 280 * M, BYTES_UNLIMITED), 0).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(a_brake_that_is_just_being_written_is_cleared_after_that)
{
	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(step_done(input(400, 299 * M, BYTES_UNLIMITED), 0).verb, SHRINK_SET_BRAKE);
	shrink_cancel(&s);
	ck_assert_int_eq(step(input(450, 299 * M, BYTES_UNLIMITED)).verb, SHRINK_WAIT);
	ck_assert_int_eq(step_done(input(500, 270 * M, BYTES_UNLIMITED), 0).verb,
			 SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step(input(500, 270 * M, BYTES_UNLIMITED)).verb, SHRINK_NOTHING);
}
END_TEST

/* The write of a brake may take many seconds, and a slot that was given more must not wait for it. */
START_TEST(a_higher_limit_waits_for_no_write_and_ends_it)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 300 * M, 0);
	(void)step(input(0, 300 * M, 400 * M));
	ck_assert_int_eq(step_done(input(400, 299 * M, 400 * M), 0).verb, SHRINK_SET_BRAKE);
	shrink_set(&s, 500 * M, 290 * M, S);
	a = step(input(1000, 290 * M, 400 * M));
	ck_assert_int_eq(a.verb, SHRINK_WRITE_MAX);
	ck_assert_uint_eq(a.bytes, 500 * M);
	a = step(input(1000, 290 * M, 500 * M));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert(a.must_end && !s.is_pending);
	ck_assert_int_eq(step_done(input(1010, 290 * M, 500 * M), 0).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step(input(1010, 290 * M, 500 * M)).verb, SHRINK_NOTHING);

	/* nor is what a reclaim would still take wanted */
	shrink_set(&s, 100 * M, 290 * M, 2 * S);
	ck_assert_int_eq(step(input(2000, 290 * M, 500 * M)).verb, SHRINK_RECLAIM);
	a = step(input(2250, 285 * M, 500 * M));
	ck_assert(a.verb == SHRINK_WAIT && !a.must_end);
	shrink_set(&s, 500 * M, 285 * M, 3 * S);
	a = step(input(3000, 285 * M, 500 * M));
	ck_assert(a.verb == SHRINK_WAIT && a.must_end);
	ck_assert_int_eq(step_done(input(3010, 285 * M, 500 * M), -EINTR).verb, SHRINK_NOTHING);

	/* a limit that does not take keeps nobody under the brake */
	with_brake();
	shrink_set(&s, BYTES_UNLIMITED, 290 * M, S);
	ck_assert_int_eq(step(input(1000, 290 * M, 500 * M)).verb, SHRINK_WRITE_MAX);
	ck_assert_int_eq(step(input(1000, 290 * M, 500 * M)).verb, SHRINK_CLEAR_BRAKE);
}
END_TEST

START_TEST(a_brake_left_by_an_earlier_daemon_is_cleared)
{
	shrink_init(&s);
	shrink_adopt_brake(&s, 200 * M);
	ck_assert_int_eq(step(input(0, 100 * M, 300 * M)).verb, SHRINK_CLEAR_BRAKE);
	ck_assert_int_eq(step(input(0, 100 * M, 300 * M)).verb, SHRINK_NOTHING);
	shrink_adopt_brake(&s, BYTES_UNLIMITED);
	ck_assert_int_eq(step(input(0, 100 * M, 300 * M)).verb, SHRINK_NOTHING);
}
END_TEST

START_TEST(a_limit_that_does_not_take_is_written_again_after_a_pause)
{
	struct shrink_action a;

	shrink_init(&s);
	shrink_set(&s, 200 * M, 100 * M, 0);
	ck_assert_int_eq(step(input(0, 100 * M, BYTES_UNLIMITED)).verb, SHRINK_WRITE_MAX);
	a = step(input(0, 100 * M, BYTES_UNLIMITED));
	ck_assert_int_eq(a.verb, SHRINK_WAIT);
	ck_assert_uint_eq(a.wake_ns, 250 * MS);
	ck_assert_str_eq(s.note, "memory.max reads max after 200M was written; trying again");
	ck_assert_int_eq(step(input(250, 100 * M, BYTES_UNLIMITED)).verb, SHRINK_WRITE_MAX);
	ck_assert_int_eq(step(input(250, 100 * M, 200 * M)).verb, SHRINK_NOTHING);
	ck_assert_str_eq(s.note, "");
}
END_TEST

START_TEST(an_interrupted_reclaim_is_no_reason_to_back_off)
{
	static const int results[] = { -EINTR, -ECANCELED };
	struct shrink_action a;

	for (size_t i = 0; i < 2; i++) {
		shrink_init(&s);
		shrink_set(&s, 100 * M, 300 * M, 0);
		(void)step(input(0, 300 * M, BYTES_UNLIMITED));
		a = step_done(input(100, 300 * M, BYTES_UNLIMITED), results[i]);
		ck_assert_int_eq(a.verb, SHRINK_WAIT);
		ck_assert_uint_eq(a.wake_ns, 350 * MS);
		ck_assert_uint_eq(s.backoff_ns, 250 * MS);
		ck_assert_str_eq(s.note, "");
	}
}
END_TEST

START_TEST(progress_is_reported_towards_the_point_where_the_limit_is_written)
{
	struct progress_report r;

	shrink_init(&s);
	shrink_set(&s, 100 * M, 296 * M, 0);
	(void)step(input(0, 296 * M, BYTES_UNLIMITED));
	(void)step_done(input(1000, 276 * M, BYTES_UNLIMITED), 0);
	(void)step_done(input(2000, 256 * M, BYTES_UNLIMITED), 0);
	r = progress_report(&s.progress);
	ck_assert_uint_eq(r.to_bytes, 96 * M);
	ck_assert_uint_eq(r.permille, 200);
	ck_assert_uint_eq(r.eta_ns, 8 * S); /* 160 M at 20 M/s */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shrink");
	TCase *tc = tcase_create("shrink");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, the_margin_is_two_percent_but_small_targets_keep_most);
	tcase_add_test(tc, nothing_happens_before_the_first_set);
	tcase_add_test(tc, raising_is_written_at_once);
	tcase_add_test(tc, lowering_above_usage_is_written_at_once_but_only_by_a_margin);
	tcase_add_test(tc, a_slot_that_outgrew_the_new_max_gets_the_old_one_back);
	tcase_add_test(tc, a_kernel_that_made_room_in_the_write_is_done);
	tcase_add_test(tc, reclaim_goes_in_chunks_one_at_a_time);
	tcase_add_test(tc, usage_that_falls_by_itself_is_taken_at_once_even_in_a_pause);
	tcase_add_test(tc,
		       where_reclaim_gives_up_or_gets_nowhere_the_brake_is_tried_before_a_pause);
	tcase_add_test(tc, the_next_brake_does_not_wait_for_a_write_that_has_done_its_work);
	tcase_add_test(tc, a_hold_leaves_the_tasks_time_before_the_first_reclaim);
	tcase_add_test(tc, pauses_double_to_four_seconds_while_nothing_can_be_reclaimed);
	tcase_add_test(tc, the_note_tells_swap_from_locked_memory);
	tcase_add_test(tc, a_slot_that_refills_gets_a_brake_below_usage);
	tcase_add_test(tc, no_brake_without_swap_for_what_must_go_nor_near_the_floor);
	tcase_add_test(tc, the_brake_goes_when_swap_runs_out);
	tcase_add_test(tc, the_brake_goes_after_three_seconds_without_progress);
	tcase_add_test(tc, a_new_set_and_a_cancel_take_the_brake_off_first);
	tcase_add_test(tc, a_brake_that_is_just_being_written_is_cleared_after_that);
	tcase_add_test(tc, a_higher_limit_waits_for_no_write_and_ends_it);
	tcase_add_test(tc, a_brake_left_by_an_earlier_daemon_is_cleared);
	tcase_add_test(tc, a_limit_that_does_not_take_is_written_again_after_a_pause);
	tcase_add_test(tc, an_interrupted_reclaim_is_no_reason_to_back_off);
	tcase_add_test(tc, progress_is_reported_towards_the_point_where_the_limit_is_written);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
