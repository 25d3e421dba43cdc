/* SPDX-License-Identifier: Apache-2.0 */

/* When a slot's tasks are told of a new target, and how often. */

#include "policy/notice.h"

#include <check.h>
#include <stdlib.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define MS UINT64_C(1000000)
#define INTERVAL (1000 * MS)

static struct notice n;
static uint64_t now_ns;

static struct notice_input input(uint64_t target, uint64_t usage)
{
	return (struct notice_input){ .now_ns = now_ns,
				      .target_bytes = target,
				      .usage_bytes = usage,
				      .max_bytes = BYTES_UNLIMITED };
}

static struct notice_decision step(uint64_t target, uint64_t usage)
{
	struct notice_input in = input(target, usage);

	return notice_step(&n, &in);
}

static struct notice_decision step_max(uint64_t target, uint64_t usage, uint64_t max)
{
	struct notice_input in = input(target, usage);

	in.max_bytes = max;
	return notice_step(&n, &in);
}

/* It knows @target; long ago, so that the rate is no matter. */
static void knows(uint64_t target, uint64_t usage)
{
	struct notice_input in;

	notice_init(&n, INTERVAL);
	now_ns = 0;
	in = input(target, usage);
	notice_known(&n, &in);
	now_ns = 3600 * INTERVAL;
}

START_TEST(what_is_due_is_in_the_table)
{
	static const struct {
		uint64_t told, told_usage, target, usage;
		enum notice_verb verb;
	} rows[] = {
		/* growth: 4 MiB or 1 % and more */
		{ 100 * M, 90 * M, 100 * M, 90 * M, NOTICE_NOTHING },
		{ 100 * M, 90 * M, 104 * M, 90 * M, NOTICE_NOTHING },
		{ 100 * M, 90 * M, 104 * M + 1, 90 * M, NOTICE_SEND },
		{ 1000 * M, 90 * M, 1010 * M, 90 * M, NOTICE_NOTHING },
		{ 1000 * M, 90 * M, 1010 * M + 1, 90 * M, NOTICE_SEND },
		{ 0, 0, 4 * M + 1, 0, NOTICE_SEND },
		/* shrink: only what takes something */
		{ 100 * M, 200 * M, 95 * M, 200 * M, NOTICE_SEND },
		{ 100 * M, 200 * M, 96 * M, 200 * M, NOTICE_NOTHING },
		{ 100 * M, 50 * M, 60 * M, 50 * M, NOTICE_LATER },
		{ 100 * M, 50 * M, 60 * M, 60 * M, NOTICE_LATER },
		{ 100 * M, 50 * M, 60 * M, 60 * M + 1, NOTICE_SEND },
		{ 100 * M, 50 * M, 0, 1, NOTICE_SEND },
		/* crossing usage counts from a fourth of a step on */
		{ 100 * M, 99 * M, 98 * M, 99 * M + 1, NOTICE_SEND },
		{ 100 * M, 99 * M, 98 * M, 99 * M, NOTICE_NOTHING },
		{ 100 * M, 101 * M, 102 * M + 1, 101 * M, NOTICE_SEND },
		{ 100 * M, 101 * M, 102 * M, 101 * M, NOTICE_NOTHING },
		/* usage that moves beside a target that stays is the task's own affair */
		{ 100 * M, 90 * M, 100 * M, 190 * M, NOTICE_NOTHING },
		{ 100 * M, 190 * M, 100 * M, 90 * M, NOTICE_NOTHING },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct notice_decision d;

		knows(rows[i].told, rows[i].told_usage);
		d = step(rows[i].target, rows[i].usage);
		ck_assert_msg(d.verb == rows[i].verb, "row %zu: %d, not %d", i, (int)d.verb,
			      (int)rows[i].verb);
		if (d.verb != NOTICE_SEND)
			continue;
		ck_assert_int_eq(d.why, NOTICE_SHARE);
		ck_assert_uint_eq(d.before_bytes, rows[i].told);
		/* told once */
		now_ns += INTERVAL;
		ck_assert_int_eq(step(rows[i].target, rows[i].usage).verb, NOTICE_NOTHING);
	}
}
END_TEST

START_TEST(the_first_step_of_a_new_audience_is_a_start)
{
	struct notice_decision d;

	notice_init(&n, INTERVAL);
	now_ns = 5;
	d = step(100 * M, 0);
	ck_assert_int_eq(d.verb, NOTICE_SEND);
	ck_assert_int_eq(d.why, NOTICE_START);
	ck_assert_uint_eq(d.before_bytes, 0);
	ck_assert_int_eq(step(100 * M, 0).verb, NOTICE_NOTHING);
}
END_TEST

START_TEST(at_most_one_in_an_interval_and_the_last_change_is_never_lost)
{
	uint64_t target = 100 * M, last_sent_ns = 0, wake_ns = UINT64_MAX, told = 0;
	unsigned n_sent = 0;

	knows(target, 400 * M);
	/* 20 s of a change each 100 ms, every other one taken back */
	for (uint64_t i = 0; i < 200; i++) {
		struct notice_decision d;

		now_ns += 100 * MS;
		target = i % 2 ? 100 * M + i * M : 300 * M - i * M;
		d = step(target, 400 * M);
		wake_ns = d.verb == NOTICE_LATER ? d.wake_ns : UINT64_MAX;
		if (d.verb != NOTICE_SEND)
			continue;
		ck_assert_uint_ge(now_ns - last_sent_ns, INTERVAL);
		last_sent_ns = now_ns;
		told = target;
		n_sent++;
	}
	ck_assert_uint_ge(n_sent, 18);
	ck_assert_uint_le(n_sent, 20);
	ck_assert_uint_ne(told, target);
	ck_assert_uint_ne(wake_ns, UINT64_MAX);
	ck_assert_uint_le(wake_ns, last_sent_ns + INTERVAL);
	now_ns = wake_ns;
	ck_assert_int_eq(step(target, 400 * M).verb, NOTICE_SEND);
	ck_assert_int_eq(step(target, 400 * M).verb, NOTICE_NOTHING);
}
END_TEST

START_TEST(what_is_taken_back_in_time_is_not_told)
{
	knows(100 * M, 400 * M);
	ck_assert_int_eq(step(200 * M, 400 * M).verb, NOTICE_SEND);
	now_ns += 300 * MS;
	ck_assert_int_eq(step(100 * M, 400 * M).verb, NOTICE_LATER);
	ck_assert_int_eq(step(200 * M, 400 * M).verb, NOTICE_NOTHING);
}
END_TEST

START_TEST(a_smaller_target_is_told_when_usage_comes_to_be_above_it)
{
	struct notice_decision d;

	knows(200 * M, 50 * M);
	d = step(100 * M, 50 * M);
	ck_assert_int_eq(d.verb, NOTICE_LATER);
	ck_assert_uint_eq(d.wake_ns, now_ns + INTERVAL);
	now_ns = d.wake_ns;
	ck_assert_int_eq(step(100 * M, 99 * M).verb, NOTICE_LATER);
	now_ns += INTERVAL;
	d = step(100 * M, 120 * M);
	ck_assert_int_eq(d.verb, NOTICE_SEND);
	ck_assert_uint_eq(d.before_bytes, 200 * M);
	/* growth that takes it all back is no news */
	knows(200 * M, 50 * M);
	ck_assert_int_eq(step(100 * M, 50 * M).verb, NOTICE_LATER);
	ck_assert_int_eq(step(200 * M, 50 * M).verb, NOTICE_NOTHING);
}
END_TEST

START_TEST(a_max_that_goes_below_usage_is_told_whatever_the_target)
{
	struct notice_decision d;

	knows(100 * M, 300 * M);
	ck_assert_int_eq(step_max(100 * M, 300 * M, 300 * M).verb, NOTICE_NOTHING);
	d = step_max(100 * M, 300 * M, 300 * M - 1);
	ck_assert_int_eq(d.verb, NOTICE_SEND);
	ck_assert_int_eq(d.why, NOTICE_MAX);
	now_ns += INTERVAL;
	ck_assert_int_eq(step_max(100 * M, 300 * M, 300 * M - 1).verb, NOTICE_NOTHING);
	/* raised without a word, lowered again */
	ck_assert_int_eq(step_max(100 * M, 300 * M, 400 * M).verb, NOTICE_NOTHING);
	ck_assert_int_eq(step_max(100 * M, 300 * M, 250 * M).verb, NOTICE_SEND);
	/* within the interval: later, and still as max */
	now_ns += 10 * MS;
	ck_assert_int_eq(step_max(100 * M, 300 * M, 200 * M).verb, NOTICE_LATER);
	now_ns += INTERVAL;
	ck_assert_int_eq(step_max(100 * M, 300 * M, 200 * M).why, NOTICE_MAX);
}
END_TEST

START_TEST(pressure_is_told_to_who_has_something_to_give)
{
	struct notice_input in;
	struct notice_decision d;

	knows(100 * M, 110 * M);
	in = input(100 * M, 110 * M);
	in.why = NOTICE_PRESSURE;
	d = notice_step(&n, &in);
	ck_assert_int_eq(d.verb, NOTICE_SEND);
	ck_assert_int_eq(d.why, NOTICE_PRESSURE);
	/* again at once: not before the interval is over, and not forgotten */
	d = notice_step(&n, &in);
	ck_assert_int_eq(d.verb, NOTICE_LATER);
	now_ns = d.wake_ns;
	d = step(100 * M, 110 * M);
	ck_assert_int_eq(d.verb, NOTICE_SEND);
	ck_assert_int_eq(d.why, NOTICE_PRESSURE);
	now_ns += INTERVAL;
	in = input(100 * M, 90 * M);
	in.why = NOTICE_PRESSURE;
	ck_assert_int_eq(notice_step(&n, &in).verb, NOTICE_NOTHING);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("notice");
	TCase *tc = tcase_create("step");

	tcase_add_test(tc, what_is_due_is_in_the_table);
	tcase_add_test(tc, the_first_step_of_a_new_audience_is_a_start);
	tcase_add_test(tc, at_most_one_in_an_interval_and_the_last_change_is_never_lost);
	tcase_add_test(tc, what_is_taken_back_in_time_is_not_told);
	tcase_add_test(tc, a_smaller_target_is_told_when_usage_comes_to_be_above_it);
	tcase_add_test(tc, a_max_that_goes_below_usage_is_told_whatever_the_target);
	tcase_add_test(tc, pressure_is_told_to_who_has_something_to_give);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
