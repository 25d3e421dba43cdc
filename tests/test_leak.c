/* SPDX-License-Identifier: Apache-2.0 */

/* Shapes of growth, sampled as the daemon does: once a second, of counters up to 2 s old. */

#include "policy/leak.h"

#include <check.h>
#include <math.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)

static struct leak leak;
static uint64_t now_ns, reuse;

static void setup(void)
{
	leak = (struct leak){};
	now_ns = 1000 * S;
	reuse = 0;
}

static bool add(uint64_t bytes)
{
	now_ns += S;
	return leak_add(&leak, &(struct leak_sample){ now_ns, bytes, reuse, false });
}

static bool add_held_back(uint64_t bytes)
{
	now_ns += S;
	return leak_add(&leak, &(struct leak_sample){ now_ns, bytes, reuse, true });
}

START_TEST(a_leak_of_any_rate_is_found_after_half_a_minute_and_not_before)
{
	const uint64_t rate = (UINT64_C(1) << _i) * M, base = 50 * M;
	int found = 0;

	for (int i = 1; i <= 60 && !found; i++)
		if (add(base + (uint64_t)i * rate))
			found = i;
	ck_assert_int_ge(found, 30);
	ck_assert_int_le(found, 36);
	ck_assert_uint_ge(leak.rate, rate * 9 / 10);
	ck_assert_uint_le(leak.rate, rate * 11 / 10);
	ck_assert_int_ge(leak_growth(&leak), (int64_t)(rate * 9 / 10));
	ck_assert_int_le(leak_growth(&leak), (int64_t)(rate * 11 / 10));
}
END_TEST

START_TEST(stale_counters_do_not_hide_a_leak)
{
	int found = 0;

	for (int i = 1; i <= 60 && !found; i++) {
		int seen =
			i - (int)(random_state = (uint64_t)i, random_below(3)); /* 0 to 2 s old */

		if (add(100 * M + (uint64_t)(seen > 0 ? seen : 0) * 4 * M))
			found = i;
	}
	ck_assert_int_gt(found, 0);
	ck_assert_int_le(found, 45);
}
END_TEST

START_TEST(a_slow_drift_below_the_noise_is_no_leak)
{
	for (int i = 1; i <= 300; i++)
		ck_assert(!add(100 * M + (uint64_t)i * 30000));
}
END_TEST

START_TEST(a_burst_that_comes_to_rest_is_no_leak)
{
	for (int i = 1; i <= 20; i++)
		ck_assert(!add((uint64_t)i * 16 * M));
	for (int i = 1; i <= 120; i++)
		ck_assert(!add(320 * M));
	for (int i = 1; i <= 20; i++)
		ck_assert(!add(320 * M + (uint64_t)i * 16 * M));
	for (int i = 1; i <= 120; i++)
		ck_assert(!add(640 * M));
}
END_TEST

START_TEST(a_table_that_doubles_is_no_leak)
{
	/* keys arrive at a constant rate; a full table is copied into one twice its size */
	uint64_t size = 4 * M, filled = 0;

	for (int i = 1; i <= 300; i++) {
		filled += M;
		if (filled > size / 2)
			size *= 2;
		ck_assert(!add(size));
	}
}
END_TEST

START_TEST(growth_in_jumps_is_no_leak)
{
	uint64_t bytes = 64 * M;

	for (int i = 1; i <= 200; i++) {
		bytes += i % 12 == 0 ? 32 * M : 16384;
		ck_assert(!add(bytes));
	}
}
END_TEST

START_TEST(a_table_whose_keys_begin_to_repeat_is_no_leak)
{
	static const double half_lives[] = { 5, 10, 15 };
	const double tau = half_lives[_i] / 0.6931;

	for (int i = 1; i <= 200; i++)
		ck_assert(!add((uint64_t)(512.0 * (double)M * (1 - exp(-i / tau)))));
}
END_TEST

START_TEST(a_growing_table_whose_pages_come_back_is_no_leak)
{
	for (int i = 1; i <= 120; i++) {
		reuse += 500; /* 2 MiB/s of what was swapped out are used again */
		ck_assert(!add((uint64_t)i * 8 * M));
	}
}
END_TEST

START_TEST(a_leak_beside_a_working_set_that_is_disturbed_is_one)
{
	bool found = false;

	for (int i = 1; i <= 60; i++) {
		reuse += 60; /* 240 KiB/s against 8 MiB/s */
		found |= add((uint64_t)i * 8 * M);
	}
	ck_assert(found);
}
END_TEST

START_TEST(a_scan_is_no_leak)
{
	/* anonymous memory of twice what fits: filled once, then only exchanged with swap */
	for (int i = 1; i <= 25; i++)
		ck_assert(!add((uint64_t)i * 20 * M));
	for (int i = 1; i <= 200; i++) {
		reuse += 4000;
		ck_assert(!add(500 * M));
	}
}
END_TEST

START_TEST(a_collected_heap_is_no_leak)
{
	static const int periods[] = { 4, 10, 20, 29 };
	const int period = periods[_i];

	for (int i = 0; i < 600; i++)
		ck_assert(!add(64 * M + (uint64_t)(i % period) * 8 * M));
}
END_TEST

START_TEST(a_heap_of_long_cycles_is_taken_for_a_leak_in_its_first_at_most)
{
	int flagged = 0;

	for (int i = 0; i < 900; i++) {
		bool is = add(64 * M + (uint64_t)(i % 90) * 4 * M);

		if (i > 90)
			ck_assert(!is);
		flagged += is;
	}
	ck_assert_int_gt(flagged, 0); /* if this fails it got better: tell so in leak.c */
}
END_TEST

START_TEST(a_collected_heap_that_leaks_is_found_when_it_leaves_its_old_height)
{
	bool found = false;

	for (int i = 0; i < 100; i++)
		ck_assert(!add(64 * M + (uint64_t)(i % 20) * 8 * M));
	for (int i = 0; i < 120; i++)
		found |= add(64 * M + (uint64_t)i * 8 * M);
	ck_assert(found);
}
END_TEST

static void make_leak(void)
{
	for (int i = 1; i <= 40; i++)
		(void)add((uint64_t)i * 8 * M);
	ck_assert(leak.is_leaking);
}

START_TEST(it_ends_when_the_slot_stands_still)
{
	int i;

	make_leak();
	for (i = 0; i < 60 && add(320 * M); i++)
		;
	ck_assert_int_ge(i, 9);
	ck_assert_int_le(i, 16);
}
END_TEST

START_TEST(it_does_not_end_while_the_slot_is_held_back)
{
	make_leak();
	for (int i = 0; i < 300; i++)
		ck_assert(add_held_back(320 * M));
	ck_assert_uint_ge(leak.rate, 7 * M);
	for (int i = 1; i <= 60; i++)
		ck_assert(add(320 * M + (uint64_t)i * 8 * M));
}
END_TEST

START_TEST(it_ends_at_once_when_memory_is_given_back)
{
	make_leak();
	ck_assert(!add(200 * M));
	ck_assert(!leak.is_leaking);
}
END_TEST

START_TEST(what_has_let_go_is_known_after_the_fall_was_seen)
{
	ck_assert(!leak_has_let_go(&leak, 0)); /* of what was never seen nothing is gone */
	(void)add(100 * M);
	ck_assert(!leak_has_let_go(&leak, 13 * M));
	ck_assert(leak_has_let_go(&leak, 12 * M));
	(void)add(M); /* its process ends, and is still there */
	ck_assert(leak_has_let_go(&leak, M));
	(void)add(90 * M);
	ck_assert(!leak_has_let_go(&leak, 90 * M));
}
END_TEST

START_TEST(it_ends_when_what_was_taken_is_used)
{
	bool is = true;

	make_leak();
	for (int i = 41; i <= 56; i++) {
		reuse += 2000;
		is = add((uint64_t)i * 8 * M);
	}
	ck_assert(!is);
}
END_TEST

START_TEST(samples_of_the_same_time_and_counters_that_begin_anew_do_no_harm)
{
	const struct leak_sample same = { 5 * S, 10 * M, 100, false };

	ck_assert(!leak_add(&leak, &same));
	ck_assert(!leak_add(&leak, &same));
	ck_assert(!leak_add(&leak, &(struct leak_sample){ 4 * S, 900 * M, 0, false }));
	ck_assert_int_eq(leak_growth(&leak), 0);
	for (uint64_t i = 1; i <= 50; i++)
		(void)leak_add(&leak, &(struct leak_sample){ (5 + i) * S, 10 * M + i * 4 * M, i % 7,
							     false });
	ck_assert(leak.is_leaking);
}
END_TEST

START_TEST(samples_four_times_a_second_give_the_same_answer)
{
	int found = 0;

	for (int i = 1; i <= 160 && !found; i++) {
		now_ns += S / 4;
		if (leak_add(&leak, &(struct leak_sample){ now_ns, (uint64_t)i * 2 * M, 0, false }))
			found = i;
	}
	ck_assert_int_ge(found, 120);
	ck_assert_int_le(found, 144);
	ck_assert_int_ge(leak_growth(&leak), (int64_t)(7 * M));
	ck_assert_int_le(leak_growth(&leak), (int64_t)(9 * M));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("leak");
	TCase *c = tcase_create("leak");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_loop_test(c, a_leak_of_any_rate_is_found_after_half_a_minute_and_not_before, 0,
			    7);
	tcase_add_test(c, stale_counters_do_not_hide_a_leak);
	tcase_add_test(c, a_slow_drift_below_the_noise_is_no_leak);
	tcase_add_test(c, a_burst_that_comes_to_rest_is_no_leak);
	tcase_add_test(c, a_table_that_doubles_is_no_leak);
	tcase_add_test(c, growth_in_jumps_is_no_leak);
	tcase_add_loop_test(c, a_table_whose_keys_begin_to_repeat_is_no_leak, 0, 3);
	tcase_add_test(c, a_growing_table_whose_pages_come_back_is_no_leak);
	tcase_add_test(c, a_leak_beside_a_working_set_that_is_disturbed_is_one);
	tcase_add_test(c, a_scan_is_no_leak);
	tcase_add_loop_test(c, a_collected_heap_is_no_leak, 0, 4);
	tcase_add_test(c, a_heap_of_long_cycles_is_taken_for_a_leak_in_its_first_at_most);
	tcase_add_test(c, a_collected_heap_that_leaks_is_found_when_it_leaves_its_old_height);
	tcase_add_test(c, it_ends_when_the_slot_stands_still);
	tcase_add_test(c, it_does_not_end_while_the_slot_is_held_back);
	tcase_add_test(c, it_ends_at_once_when_memory_is_given_back);
	tcase_add_test(c, what_has_let_go_is_known_after_the_fall_was_seen);
	tcase_add_test(c, it_ends_when_what_was_taken_is_used);
	tcase_add_test(c, samples_of_the_same_time_and_counters_that_begin_anew_do_no_harm);
	tcase_add_test(c, samples_four_times_a_second_give_the_same_answer);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
