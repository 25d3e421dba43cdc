/* SPDX-License-Identifier: Apache-2.0 */

#include "turns.h"

#include <check.h>
#include <unistd.h>

#include "base/mono.h"
#include "suite.h"

#define CODE 7

static sd_event *event;
static struct turns turns;

static void setup(void)
{
	turns = (struct turns){};
	ck_assert_int_ge(sd_event_new(&event), 0);
}

static void teardown(void)
{
	event = sd_event_unref(event);
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	return sd_event_exit(event, CODE);
}

/* Runs @handler once, then waits for @wait_ms and ends. */
static void run(sd_event_handler_t handler, uint64_t wait_ms)
{
	sd_event_source *once = NULL, *end = NULL;

	ck_assert_int_ge(sd_event_add_defer(event, &once, handler, NULL), 0);
	ck_assert_int_ge(sd_event_add_time_relative(event, &end, CLOCK_MONOTONIC, wait_ms * 1000, 1,
						    on_end, NULL),
			 0);
	ck_assert_int_eq(turns_loop(event, &turns), CODE);
	sd_event_source_unref(once);
	sd_event_source_unref(end);
}

static int do_nothing(sd_event_source *source, void *userdata)
{
	(void)source;
	(void)userdata;
	return 0;
}

static int do_sleep(sd_event_source *source, void *userdata)
{
	(void)source;
	(void)userdata;
	usleep(30000);
	return 0;
}

static int do_work(sd_event_source *source, void *userdata)
{
	struct timespec cpu = {};
	uint64_t begin_ns;

	(void)source;
	(void)userdata;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	begin_ns = (uint64_t)cpu.tv_sec * NS_PER_SEC + (uint64_t)cpu.tv_nsec;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	while ((uint64_t)cpu.tv_sec * NS_PER_SEC + (uint64_t)cpu.tv_nsec - begin_ns <
	       110 * NS_PER_MSEC);
	return 0;
}

START_TEST(waiting_for_events_is_no_turn)
{
	run(do_nothing, 150);
	ck_assert_uint_ge(turns.n, 2);
	ck_assert_uint_eq(turns.n_over_100ms, 0);
	ck_assert_uint_lt(turns.longest_ns, 100 * NS_PER_MSEC);
}
END_TEST

START_TEST(a_handler_that_sleeps_is_counted_with_its_sleep)
{
	run(do_sleep, 1);
	ck_assert_uint_eq(turns.n_over_10ms, 1);
	ck_assert_uint_ge(turns.longest_ns, 30 * NS_PER_MSEC);
	ck_assert_uint_ge(turns.longest_elapsed_ns, turns.longest_ns);
}
END_TEST

START_TEST(a_handler_that_works_is_counted_with_its_processor_time)
{
	run(do_work, 1);
	ck_assert_uint_eq(turns.n_over_100ms, 1);
	ck_assert_uint_eq(turns.n_over_10ms, 1);
	ck_assert_uint_ge(turns.longest_ns, 110 * NS_PER_MSEC);
}
END_TEST

/* ---- timers */

#define PERIOD_USEC 50000

static uint64_t n_ticks;

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)userdata;
	n_ticks++;
	return sd_event_source_set_time(source, mono_next_usec(usec, PERIOD_USEC));
}

START_TEST(what_a_timer_has_missed_is_not_made_up_for)
{
	sd_event_source *tick = NULL, *end = NULL;
	uint64_t now_usec = mono_now_ns() / 1000;

	/* as after a SIGSTOP of two hundred periods */
	n_ticks = 0;
	ck_assert_int_ge(sd_event_add_time(event, &tick, CLOCK_MONOTONIC,
					   now_usec - 200 * PERIOD_USEC, 1, on_tick, NULL),
			 0);
	ck_assert_int_ge(sd_event_source_set_enabled(tick, SD_EVENT_ON), 0);
	ck_assert_int_ge(sd_event_add_time(event, &end, CLOCK_MONOTONIC, now_usec + PERIOD_USEC, 1,
					   on_end, NULL),
			 0);
	ck_assert_int_eq(turns_loop(event, &turns), CODE);
	ck_assert_uint_ge(n_ticks, 1);
	ck_assert_uint_le(n_ticks, 3);
	sd_event_source_unref(tick);
	sd_event_source_unref(end);
}
END_TEST

START_TEST(a_late_timer_keeps_its_times)
{
	uint64_t now_usec = mono_now_ns() / 1000, due_usec = now_usec - PERIOD_USEC / 2;

	ck_assert_uint_eq(mono_next_usec(due_usec, 1000 * PERIOD_USEC),
			  due_usec + 1000 * PERIOD_USEC);
	due_usec = now_usec - 10 * PERIOD_USEC;
	ck_assert_uint_ge(mono_next_usec(due_usec, PERIOD_USEC), now_usec + PERIOD_USEC);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("turns");
	TCase *cases = tcase_create("loop");

	tcase_add_checked_fixture(cases, setup, teardown);
	tcase_add_test(cases, waiting_for_events_is_no_turn);
	tcase_add_test(cases, a_handler_that_sleeps_is_counted_with_its_sleep);
	tcase_add_test(cases, a_handler_that_works_is_counted_with_its_processor_time);
	tcase_add_test(cases, what_a_timer_has_missed_is_not_made_up_for);
	tcase_add_test(cases, a_late_timer_keeps_its_times);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
