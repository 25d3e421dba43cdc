/* SPDX-License-Identifier: Apache-2.0 */

/* What a channel may hold, by what it has released and when. */

#include "window.h"

#include <check.h>

#include "base/attr.h"
#include "base/mono.h"
#include "suite.h"

#define SIZE 1024
#define LEAST 2
#define MOST 32
#define SECOND_US 1000000
#define PERIOD_NS (DEBLOAT_PERIOD_MS * NS_PER_MSEC)

static struct window window;
static struct window_sample sample;

static void set_up(void)
{
	sample = (struct window_sample){ .now_ns = 5 * NS_PER_SEC };
	window_init(&window, SIZE, LEAST, MOST, sample.now_ns);
}

/* After @ns, all of which it held something or not, it has released @n. */
static bool observe(uint64_t ns, bool was_busy, uint64_t n, uint64_t target_us)
{
	sample.now_ns += ns;
	sample.n_released += n;
	sample.was_busy = was_busy;
	return window_observe(&window, &sample, target_us);
}

START_TEST(it_follows_the_law_and_tells_what_that_tells)
{
	/* Flink's vector: 32768, 29647, 26823, 24268, of which the last one is a quarter less */
	ck_assert_uint_eq(window_count(&window), 32);
	ck_assert(!observe(PERIOD_NS, true, 1, 0));
	ck_assert(!observe(PERIOD_NS, true, 1, 0));
	ck_assert_uint_eq(window_count(&window), 32);
	ck_assert(observe(PERIOD_NS, true, 1, 0));
	ck_assert_uint_eq(window.law.told_bytes, 24268);
	ck_assert_uint_eq(window_count(&window), 24); /* 23.7 */
}
END_TEST

START_TEST(a_slow_consumer_comes_to_the_least_and_a_fast_one_back_to_the_most)
{
	int n = 0;

	for (; window_count(&window) > LEAST; n++)
		(void)observe(PERIOD_NS, true, 1, SECOND_US / 10);
	/* by two of 21 at a time from 32 to 2 */
	ck_assert_int_eq(n, 31);
	for (n = 0; window_count(&window) < MOST; n++)
		(void)observe(PERIOD_NS, true, 100, SECOND_US);
	ck_assert_int_eq(n, 31);
}
END_TEST

START_TEST(a_steady_consumer_comes_to_what_it_releases_within_the_target)
{
	/* 20 in a second, target half a second, whatever the steps in which it is seen */
	static const struct {
		uint64_t ns, n;
	} steps[] = {
		{ 50 * NS_PER_MSEC, 1 }, { 200 * NS_PER_MSEC, 4 }, { 350 * NS_PER_MSEC, 7 },
		{ NS_PER_SEC, 20 },      { 7 * NS_PER_SEC, 140 },
	};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		for (uint64_t ns = 0; ns < 60 * NS_PER_SEC; ns += steps[i].ns)
			(void)observe(steps[i].ns, true, steps[i].n, SECOND_US / 2);
		/* what is in force may be a quarter away */
		ck_assert_uint_ge(window.law.mean_bytes, 10 * SIZE - SIZE / 10);
		ck_assert_uint_le(window.law.mean_bytes, 10 * SIZE);
		ck_assert_uint_ge(window_count(&window), 8);
		ck_assert_uint_le(window_count(&window), 14);
	}
}
END_TEST

START_TEST(less_than_one_buffer_in_a_period_is_no_surprise)
{
	/* one in a second, target ten seconds: seen each period, and released in each fifth */
	for (int i = 0; i < 500; i++)
		(void)observe(PERIOD_NS, true, i % 5 == 4, 10 * SECOND_US);
	ck_assert_uint_ge(window.law.mean_bytes, 10 * SIZE - SIZE / 10);
	ck_assert_uint_le(window.law.mean_bytes, 10 * SIZE);
}
END_TEST

START_TEST(a_period_without_a_release_counts_when_there_is_one)
{
	struct window other = window;
	struct window_sample s = sample;

	for (int i = 0; i < 4; i++) {
		ck_assert(!observe(PERIOD_NS, true, 0, SECOND_US));
		ck_assert_uint_eq(window.law.mean_bytes, MOST * SIZE);
	}
	ck_assert(observe(PERIOD_NS, true, 1, SECOND_US));
	/* as one that took as long */
	s.now_ns += 5 * PERIOD_NS;
	s.n_released = 1;
	s.was_busy = true;
	ck_assert(window_observe(&other, &s, SECOND_US));
	ck_assert_uint_eq(window.law.mean_bytes, other.law.mean_bytes);
	/* 29744, 27008, 24533, 22294: towards 1024 */
	ck_assert_uint_eq(window.law.mean_bytes, 20268);
}
END_TEST

START_TEST(idle_time_does_not_count)
{
	/* one buffer in a second, which it has for 10 ms: 100 would be consumed in a second */
	for (int i = 0; i < 100; i++) {
		(void)observe(990 * NS_PER_MSEC, false, 0, SECOND_US);
		(void)observe(10 * NS_PER_MSEC, true, 1, SECOND_US);
		ck_assert_uint_eq(window_count(&window), MOST);
	}
	/* and while it has nothing for an hour, and then is slow, that is not an hour's slowness */
	(void)observe(3600 * NS_PER_SEC, false, 0, SECOND_US);
	(void)observe(PERIOD_NS, true, 1, SECOND_US);
	ck_assert_uint_eq(window_count(&window), MOST);
	ck_assert_uint_gt(window.law.mean_bytes, MOST * SIZE * 19 / 21);
}
END_TEST

START_TEST(within_a_period_nothing_changes)
{
	for (int i = 0; i < 19; i++) {
		ck_assert(!observe(PERIOD_NS / 20, true, 1, 0));
		ck_assert_uint_eq(window.law.mean_bytes, MOST * SIZE);
	}
	(void)observe(PERIOD_NS / 20, true, 1, 0);
	ck_assert_uint_lt(window.law.mean_bytes, MOST * SIZE);
}
END_TEST

START_TEST(a_long_stall_comes_to_the_least)
{
	window_init(&window, 1 << 20, 1, 4096, sample.now_ns);
	ck_assert_uint_eq(window_count(&window), 4096);
	ck_assert(observe(86400 * NS_PER_SEC, true, 1, SECOND_US));
	ck_assert_uint_eq(window_count(&window), 1);
}
END_TEST

START_TEST(any_course_stays_within_the_bounds)
{
	for (random_state = 1; random_state <= 20000; random_state++) {
		uint64_t seed = random_state;
		uint32_t least = 1 + (uint32_t)random_below(8);
		uint32_t most =
			least + (uint32_t)(random_below(UINT32_MAX - 8) >> random_below(32));

		window_init(&window, 256U << random_below(13), least, most, sample.now_ns);
		sample.n_released = 0;
		for (int i = 0; i < 30; i++) {
			uint32_t before = window_count(&window);
			bool is_news =
				observe(random_below(UINT64_C(1) << 40) >> random_below(40),
					random_below(2), random_below(1 << 20) >> random_below(20),
					random_below(60000000) >> random_below(26));

			REQUIRE(window_count(&window) >= least && window_count(&window) <= most);
			REQUIRE(is_news || window_count(&window) == before);
		}
		random_state = seed;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("window");
	TCase *tc = tcase_create("window");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, set_up, NULL);
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, it_follows_the_law_and_tells_what_that_tells);
	tcase_add_test(tc, a_slow_consumer_comes_to_the_least_and_a_fast_one_back_to_the_most);
	tcase_add_test(tc, a_steady_consumer_comes_to_what_it_releases_within_the_target);
	tcase_add_test(tc, less_than_one_buffer_in_a_period_is_no_surprise);
	tcase_add_test(tc, a_period_without_a_release_counts_when_there_is_one);
	tcase_add_test(tc, idle_time_does_not_count);
	tcase_add_test(tc, within_a_period_nothing_changes);
	tcase_add_test(tc, a_long_stall_comes_to_the_least);
	tcase_add_test(tc, any_course_stays_within_the_bounds);
	return suite_run(suite);
}
