/* SPDX-License-Identifier: Apache-2.0 */

/* What people are told of ages and regions, and how sure it is. */

#include <check.h>
#include <string.h>

#include "kern/damon.h"
#include "kern/lru_gen.h"
#include "manager_heat_report.h"
#include "suite.h"

#define MIB (UINT64_C(1) << 20)

static struct heat_report report;

static void setup(void)
{
	report = (struct heat_report){ .window_ms = 5000 };
}

/* One node with generations @first, @first + 1, …; MiB of anonymous memory in each. */
static struct lru_gen_ages ages_of(uint64_t first, const uint64_t *anon_mib, size_t n)
{
	struct lru_gen_ages ages = { .id = 1, .n_nodes = 1, .nodes[0] = { .node = 1, .n = n } };

	for (size_t i = 0; i < n; i++)
		ages.nodes[0].generations[i] = (struct lru_gen_generation){
			.seq = first + i,
			.age_ms = (n - 1 - i) * 5000 + 10,
			.anon_bytes = anon_mib[i] * MIB,
		};
	return ages;
}

START_TEST(what_is_younger_than_the_base_was_touched)
{
	const uint64_t mib[] = { 0, 128, 127, 1 }, base[NODES_MAX] = { [1] = 4 };
	struct lru_gen_ages ages = ages_of(2, mib, 4);

	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes, 128 * MIB);
	ck_assert_uint_eq(report.anon_bytes, 128 * MIB);
	ck_assert_uint_eq(report.seen_bytes, 256 * MIB);
	ck_assert_uint_eq(report.window_ms, 5000);
	ck_assert_uint_eq(report.within_ms, 5000);
	ck_assert_uint_eq(report.knee_bytes, 128 * MIB);
	ck_assert_int_eq(report.confidence, HEAT_HIGH);
	ck_assert_str_eq(report.note, "");
	ck_assert_uint_eq(report.n_points, HEAT_POINTS_MAX);
	ck_assert_uint_eq(report.points[0].bytes, 0);
	ck_assert_uint_eq(report.points[HEAT_POINTS_MAX - 1].next_uhz, 0);
	for (size_t i = 1; i < report.n_points; i++)
		ck_assert_uint_le(report.points[i].next_uhz, report.points[i - 1].next_uhz);
}
END_TEST

START_TEST(generations_that_the_kernel_merged_shorten_the_window)
{
	const uint64_t mib[] = { 200, 30, 20, 1 }, base[NODES_MAX] = { [1] = 4 };
	struct lru_gen_ages ages = ages_of(4, mib, 4); /* 4 to 7: of 4, nobody knows its age */

	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes, 51 * MIB);
	ck_assert_uint_eq(report.window_ms, 5000); /* generation 5 is older than that */
	ck_assert_int_eq(report.confidence, HEAT_MEDIUM);
	ck_assert_ptr_nonnull(strstr(report.note, "less time was watched"));
	setup();
	report.window_ms = 60000;
	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.window_ms, 10010);
	ck_assert_uint_eq(report.within_ms, 10010);
}
END_TEST

START_TEST(the_oldest_generation_is_cold_whatever_its_age)
{
	const uint64_t mib[] = { 100, 10, 50, 0 }, base[NODES_MAX] = { [1] = 4 };
	struct lru_gen_ages ages = ages_of(2, mib, 4);

	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.seen_bytes, 160 * MIB);
	/* from 60 MiB on there are touches of nothing */
	for (size_t i = 0; i < report.n_points; i++)
		ck_assert_int_eq(report.points[i].next_uhz > 0, report.points[i].bytes < 60 * MIB);
}
END_TEST

START_TEST(a_sudden_rest_is_doubted)
{
	const uint64_t mib[] = { 64, 64, 1, 0 }, base[NODES_MAX] = { [1] = 4 };
	struct lru_gen_ages ages = ages_of(2, mib, 4);

	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes, 1 * MIB);
	ck_assert_int_eq(report.confidence, HEAT_LOW);
	ck_assert_ptr_nonnull(strstr(report.note, "shortly before it was 65M"));
}
END_TEST

START_TEST(memory_that_comes_back_makes_it_a_lower_bound)
{
	const uint64_t mib[] = { 10, 90 }, base[NODES_MAX] = { [1] = 1 };
	struct lru_gen_ages ages = ages_of(0, mib, 2);

	report.refault_bytes = 50 * MIB;
	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_int_eq(report.confidence, HEAT_MEDIUM);
	ck_assert_ptr_nonnull(strstr(report.note, "50M came back"));
}
END_TEST

START_TEST(page_cache_that_is_not_mapped_is_doubted)
{
	const uint64_t mib[] = { 0, 64 }, base[NODES_MAX] = { [1] = 1 };
	struct lru_gen_ages ages = ages_of(0, mib, 2);

	ages.nodes[0].generations[0].file_bytes = 100 * MIB;
	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes, 64 * MIB);
	ck_assert_int_eq(report.confidence, HEAT_MEDIUM);
	ck_assert_ptr_nonnull(strstr(report.note, "100M of page cache"));
}
END_TEST

START_TEST(a_slot_without_memory_has_no_working_set)
{
	const uint64_t base[NODES_MAX] = {};
	struct lru_gen_ages ages = {};

	ck_assert_int_eq(heat_report_ages(&ages, base, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes + report.seen_bytes + report.knee_bytes, 0);
	ck_assert_uint_eq(report.n_points, 1);
	ck_assert_int_eq(heat_report_regions(NULL, 0, 500, 0, &report), 0);
	ck_assert_uint_eq(report.working_set_bytes + report.seen_bytes + report.knee_bytes, 0);
}
END_TEST

START_TEST(regions_without_touches_are_holes_and_the_rest_is_cold)
{
	const struct damon_region regions[] = {
		{ 0, 64 * MIB, 2 },
		{ 64 * MIB, 1064 * MIB, 0 }, /* mostly not mapped */
		{ 1064 * MIB, 1068 * MIB, 1 },
		{ 0, UINT64_MAX, 1 }, /* no process has so much */
	};

	ck_assert_int_eq(heat_report_regions(regions, ARRAY_LEN(regions), 500, 128 * MIB, &report),
			 0);
	ck_assert_int_eq(report.source, HEAT_DAMON);
	ck_assert_uint_eq(report.working_set_bytes, 66 * MIB); /* half of the 4 */
	ck_assert_uint_eq(report.within_ms, 500);
	ck_assert_uint_eq(report.window_ms, 5000);
	ck_assert_uint_eq(report.seen_bytes, 128 * MIB);
	ck_assert_uint_eq(report.knee_bytes, 64 * MIB);
	ck_assert_uint_eq(report.points[0].next_uhz, 512 * UINT64_C(2000000));
	ck_assert_int_eq(report.confidence, HEAT_MEDIUM);
	ck_assert_str_eq(report.note, "sampled: give or take 4M");
}
END_TEST

START_TEST(large_regions_that_are_hot_in_part_are_no_measurement)
{
	const struct damon_region regions[] = {
		{ 0, 1024 * MIB, 1 },
		{ 1024 * MIB, 2048 * MIB, 2 },
	};

	ck_assert_int_eq(heat_report_regions(regions, ARRAY_LEN(regions), 500, 1200 * MIB, &report),
			 0);
	ck_assert_uint_eq(report.working_set_bytes, 1536 * MIB);
	ck_assert_int_eq(report.confidence, HEAT_LOW);
	ck_assert_str_eq(report.note, "sampled: give or take 1G");
	setup();
	ck_assert_int_eq(heat_report_regions(&regions[1], 1, 500, 1200 * MIB, &report), 0);
	ck_assert_int_eq(report.confidence, HEAT_MEDIUM);
	ck_assert_str_eq(report.note, "sampled");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heat_report");
	TCase *tc = tcase_create("heat_report");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, what_is_younger_than_the_base_was_touched);
	tcase_add_test(tc, generations_that_the_kernel_merged_shorten_the_window);
	tcase_add_test(tc, the_oldest_generation_is_cold_whatever_its_age);
	tcase_add_test(tc, a_sudden_rest_is_doubted);
	tcase_add_test(tc, memory_that_comes_back_makes_it_a_lower_bound);
	tcase_add_test(tc, page_cache_that_is_not_mapped_is_doubted);
	tcase_add_test(tc, a_slot_without_memory_has_no_working_set);
	tcase_add_test(tc, regions_without_touches_are_holes_and_the_rest_is_cold);
	tcase_add_test(tc, large_regions_that_are_hot_in_part_are_no_measurement);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
