/* SPDX-License-Identifier: Apache-2.0 */

/* Flink's law of buffer debloating: its published numbers, and what it comes to. */

#include "debloat.h"

#include <check.h>

#include "base/attr.h"
#include "suite.h"

#define MIN_BYTES 256
#define MAX_BYTES 32768
#define SECOND 1000000

static struct debloat debloat;

static void set_up(void)
{
	debloat_init(&debloat, MIN_BYTES, MAX_BYTES);
}

/* The mean after each of the periods, with a throughput that wants @bytes of one buffer. */
static void check_means(uint64_t bytes, const uint32_t *means, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)debloat_observe(&debloat, bytes, SECOND, 1);
		ck_assert_uint_eq(debloat.mean_bytes, means[i]);
	}
}

START_TEST(shrinking_and_growing_are_as_in_flink)
{
	/* of BufferSizeEMA, which begins at 32768 */
	static const uint32_t down[] = { 29647, 26823, 24268, 21956, 19864 };
	static const uint32_t up[] = { 21755, 23826, 26095, 28580, 31301, 32768 };

	ck_assert_uint_eq(debloat.mean_bytes, 32768);
	check_means(0, down, ARRAY_LEN(down));
	/* however much is wanted */
	check_means(UINT64_MAX, up, ARRAY_LEN(up));
}
END_TEST

START_TEST(a_steady_throughput_comes_to_its_target)
{
	for (int i = 0; i < 200; i++)
		(void)debloat_observe(&debloat, 100000, SECOND, 10);
	/* 10000 each, rounded down for ever by less than ten */
	ck_assert_uint_ge(debloat.mean_bytes, 9990);
	ck_assert_uint_le(debloat.mean_bytes, 10000);
	for (int i = 0; i < 200; i++)
		(void)debloat_observe(&debloat, 100000, SECOND / 2, 10);
	ck_assert_uint_ge(debloat.mean_bytes, 4990);
	ck_assert_uint_le(debloat.mean_bytes, 5000);
}
END_TEST

START_TEST(it_stays_within_its_bounds)
{
	for (int i = 0; i < 100; i++)
		(void)debloat_observe(&debloat, 0, SECOND, 1);
	ck_assert_uint_eq(debloat.mean_bytes, MIN_BYTES);
	ck_assert_uint_eq(debloat.told_bytes, MIN_BYTES);
	for (int i = 0; i < 100; i++)
		(void)debloat_observe(&debloat, UINT64_MAX, UINT64_MAX, 0);
	ck_assert_uint_eq(debloat.mean_bytes, MAX_BYTES);
	ck_assert_uint_eq(debloat.told_bytes, MAX_BYTES);
}
END_TEST

START_TEST(no_buffers_count_as_one)
{
	struct debloat other = debloat;

	for (int i = 0; i < 10; i++) {
		(void)debloat_observe(&debloat, 20000, SECOND, 0);
		(void)debloat_observe(&other, 20000, SECOND, 1);
		ck_assert_uint_eq(debloat.mean_bytes, other.mean_bytes);
	}
}
END_TEST

START_TEST(a_change_is_told_when_it_is_a_quarter_or_ends_at_a_bound)
{
	/* 29647 and 26823 are less than a quarter below 32768, 24268 is more */
	ck_assert(!debloat_observe(&debloat, 0, SECOND, 1));
	ck_assert(!debloat_observe(&debloat, 0, SECOND, 1));
	ck_assert_uint_eq(debloat.told_bytes, 32768);
	ck_assert(debloat_observe(&debloat, 0, SECOND, 1));
	ck_assert_uint_eq(debloat.told_bytes, 24268);
	/* 26579, 29110: less than a quarter above; 31882: more; then the bound, however near */
	ck_assert(!debloat_observe(&debloat, UINT64_MAX, SECOND, 1));
	ck_assert(!debloat_observe(&debloat, UINT64_MAX, SECOND, 1));
	ck_assert(debloat_observe(&debloat, UINT64_MAX, SECOND, 1));
	ck_assert_uint_eq(debloat.told_bytes, 31882);
	ck_assert(debloat_observe(&debloat, UINT64_MAX, SECOND, 1));
	ck_assert_uint_eq(debloat.told_bytes, 32768);
	/* and nothing where it was */
	ck_assert(!debloat_observe(&debloat, UINT64_MAX, SECOND, 1));
}
END_TEST

START_TEST(any_input_keeps_it_in_bounds_and_moves_it_by_a_tenth_at_most)
{
	for (random_state = 1; random_state <= 100000; random_state++) {
		uint64_t seed = random_state;
		uint64_t min = 1 + random_below(5000);
		uint64_t max = min + random_below((DEBLOAT_BYTES_MAX - min) >> random_below(56));

		debloat_init(&debloat, min, max);
		for (int i = 0; i < 20; i++) {
			uint64_t before = debloat.mean_bytes, step;

			(void)debloat_observe(&debloat,
					      random_below(UINT64_MAX) >> random_below(64),
					      random_below(UINT64_MAX) >> random_below(64),
					      (uint32_t)random_below(100));
			REQUIRE(debloat.mean_bytes >= min && debloat.mean_bytes <= max);
			REQUIRE(debloat.told_bytes >= min && debloat.told_bytes <= max);
			step = debloat.mean_bytes > before ? debloat.mean_bytes - before
							   : before - debloat.mean_bytes;
			REQUIRE(step <= before * 2 / 21 + 1);
		}
		random_state = seed;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("debloat");
	TCase *tc = tcase_create("debloat");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, set_up, NULL);
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, shrinking_and_growing_are_as_in_flink);
	tcase_add_test(tc, a_steady_throughput_comes_to_its_target);
	tcase_add_test(tc, it_stays_within_its_bounds);
	tcase_add_test(tc, no_buffers_count_as_one);
	tcase_add_test(tc, a_change_is_told_when_it_is_a_quarter_or_ends_at_a_bound);
	tcase_add_test(tc, any_input_keeps_it_in_bounds_and_moves_it_by_a_tenth_at_most);
	return suite_run(suite);
}
