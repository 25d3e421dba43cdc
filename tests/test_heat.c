/* SPDX-License-Identifier: Apache-2.0 */

/* The heat curve: what it says of memory that is known, and what must not change it. */

#include <check.h>
#include <math.h>
#include <string.h>

#include "policy/heat.h"
#include "suite.h"

#define MIB (UINT64_C(1) << 20)
#define N_MAX 64

static struct heat_curve *curve_of(const struct heat_region *regions, size_t n)
{
	struct heat_curve *curve = NULL;

	REQUIRE(heat_from_regions(regions, n, &curve) == 0);
	return curve;
}

static bool is_same(const struct heat_curve *a, const struct heat_curve *b)
{
	return a->n_steps == b->n_steps && a->bytes == b->bytes &&
	       memcmp(a->steps, b->steps, a->n_steps * sizeof(a->steps[0])) == 0;
}

/* Regions at rising addresses, aligned to nothing, with gaps. */
static size_t draw_regions(struct heat_region *regions)
{
	size_t n = 1 + random_below(N_MAX / 4);
	uint64_t at = random_below(1 << 30);

	for (size_t i = 0; i < n; i++) {
		uint64_t bytes = 1 + random_below(random_below(2) ? 64 * MIB : 3 * MIB);

		regions[i] =
			(struct heat_region){ at, bytes, random_below(4) * random_below(5000) };
		at += bytes + (random_below(3) ? 0 : random_below(5 * MIB));
	}
	return n;
}

START_TEST(hot_and_cold_memory_are_told_apart)
{
	const struct heat_region regions[] = {
		{ 0, 64 * MIB, 0 },
		{ 64 * MIB, 64 * MIB, 2000000 }, /* twice a second */
		{ 128 * MIB, 32 * MIB, 100000 }, /* every ten seconds */
	};
	struct heat_curve *curve = curve_of(regions, 3);

	ck_assert_uint_eq(curve->n_steps, 3);
	ck_assert_uint_eq(curve->bytes, 160 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 1000), 64 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 10000), 96 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 3600000), 96 * MIB);
	ck_assert_uint_eq(heat_knee(curve), 64 * MIB);
	/* 512 pages, twice a second */
	ck_assert_uint_eq(heat_value(curve, 0, 2 * MIB), 512 * 2000000);
	ck_assert_uint_eq(heat_value(curve, 62 * MIB, 2 * MIB), 512 * 2000000);
	ck_assert_uint_eq(heat_value(curve, 64 * MIB, 2 * MIB), 512 * 100000);
	ck_assert_uint_eq(heat_value(curve, 63 * MIB, 2 * MIB), 256 * 2100000);
	ck_assert_uint_eq(heat_value(curve, 96 * MIB, 2 * MIB), 0);
	ck_assert_uint_eq(heat_value(curve, UINT64_MAX, 2 * MIB), 0);
	/* 32 buckets of 2 Hz and 16 of 0.1 Hz */
	ck_assert_uint_eq(heat_score(curve), 32 * 2000000 + 16 * 100000);
	heat_free(curve);
}
END_TEST

START_TEST(the_naive_score_doubles_where_this_one_stays)
{
	const struct heat_region whole = { 0, 8 * MIB, 1000000 };
	struct heat_region halves[2] = { { 0, 4 * MIB, 1000000 }, { 4 * MIB, 4 * MIB, 1000000 } };
	struct heat_curve *a = curve_of(&whole, 1), *b = curve_of(halves, 2);

	ck_assert_uint_eq(heat_score(a), 4 * 1000000);
	ck_assert_uint_eq(heat_score(b), heat_score(a));
	heat_free(a);
	heat_free(b);
}
END_TEST

START_TEST(splitting_merging_and_order_change_nothing)
{
	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct heat_region regions[N_MAX], cut[N_MAX * 4];
		struct heat_curve *a, *b;
		size_t n, n_cut = 0;

		random_state = seed;
		n = draw_regions(regions);
		for (size_t i = 0; i < n; i++) {
			struct heat_region rest = regions[i];

			for (int k = 0; k < 3 && rest.bytes > 1; k++) {
				uint64_t head = 1 + random_below(rest.bytes - 1);

				cut[n_cut++] =
					(struct heat_region){ rest.start, head, rest.rate_uhz };
				rest.start += head;
				rest.bytes -= head;
			}
			cut[n_cut++] = rest;
		}
		for (size_t i = n_cut; i > 1; i--) {
			size_t k = random_below(i);
			struct heat_region swapped = cut[k];

			cut[k] = cut[i - 1];
			cut[i - 1] = swapped;
		}
		a = curve_of(regions, n);
		b = curve_of(cut, n_cut);
		ck_assert_msg(is_same(a, b), "seed %llu", (unsigned long long)seed);
		REQUIRE(heat_score(a) == heat_score(b) && heat_knee(a) == heat_knee(b));
		heat_free(a);
		heat_free(b);
	}
}
END_TEST

START_TEST(the_curve_is_concave_and_grows)
{
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct heat_region regions[N_MAX];
		struct heat_curve *curve;
		uint64_t total = 0, step, last = UINT64_MAX, sum = 0;
		size_t n;

		random_state = seed;
		n = draw_regions(regions);
		for (size_t i = 0; i < n; i++)
			total += regions[i].bytes;
		curve = curve_of(regions, n);
		REQUIRE(curve->bytes == total);
		step = (total / (1 + random_below(100)) + 1) & ~UINT64_C(4095);
		for (uint64_t at = 0; step > 0 && at < total; at += step) {
			uint64_t value = heat_value(curve, at, step);

			/* whole pages: rounding is below one unit a step of the curve */
			REQUIRE(last == UINT64_MAX || value <= last + curve->n_steps);
			REQUIRE(heat_of_hottest(curve, at) + value ==
				heat_of_hottest(curve, at + step));
			last = value;
			sum += value;
		}
		REQUIRE(step == 0 || sum == heat_of_hottest(curve, total));
		for (size_t i = 1; i < curve->n_steps; i++)
			REQUIRE(curve->steps[i].rate_uhz < curve->steps[i - 1].rate_uhz);
		heat_free(curve);
	}
}
END_TEST

START_TEST(scaling_rates_scales_heat_and_moves_no_knee)
{
	for (uint64_t seed = 0; seed < 500; seed++) {
		struct heat_region regions[N_MAX];
		struct heat_curve *a, *b;
		size_t n;

		random_state = seed;
		n = draw_regions(regions);
		for (size_t i = 0; i < n; i++) { /* whole buckets: no mean is rounded */
			regions[i].start = i * 64 * MIB;
			regions[i].bytes = (1 + random_below(32)) * HEAT_BUCKET_BYTES;
		}
		a = curve_of(regions, n);
		for (size_t i = 0; i < n; i++)
			regions[i].rate_uhz *= 7;
		b = curve_of(regions, n);
		REQUIRE(heat_score(b) == 7 * heat_score(a));
		REQUIRE(heat_knee(b) == heat_knee(a));
		REQUIRE(heat_value(b, 3 * MIB, 5 * MIB) == 7 * heat_value(a, 3 * MIB, 5 * MIB));
		for (size_t i = 0; i < n; i++)
			regions[i].start += 4096 * MIB;
		heat_free(a);
		a = curve_of(regions, n);
		REQUIRE(is_same(a, b)); /* where it lies does not matter */
		heat_free(a);
		heat_free(b);
	}
}
END_TEST

START_TEST(generations_become_rates_by_their_age)
{
	const struct heat_generation generations[] = {
		{ 60000, 100 * MIB, 28 * MIB },
		{ 30, 1 * MIB, 0 },
		{ 5000, 96 * MIB, 32 * MIB },
		{ 20000, 0, 0 },
	};
	struct heat_curve *curve = NULL;

	ck_assert_int_eq(heat_from_generations(generations, 4, &curve), 0);
	ck_assert_uint_eq(curve->n_steps, 3);
	ck_assert_uint_eq(curve->steps[0].rate_uhz, 1000000); /* 30 ms count as a second */
	ck_assert_uint_eq(curve->steps[1].rate_uhz, 200000);
	ck_assert_uint_eq(heat_working_set(curve, 1000), 1 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 5000), 129 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 59000), 129 * MIB);
	ck_assert_uint_eq(heat_working_set(curve, 60000), 257 * MIB);
	ck_assert_uint_eq(heat_knee(curve), 129 * MIB);
	heat_free(curve);
}
END_TEST

START_TEST(nothing_and_even_memory_have_no_knee)
{
	const struct heat_region even = { 12345, 100 * MIB, 77 }, cold = { 0, 100 * MIB, 0 };
	struct heat_curve *curve = curve_of(NULL, 0);

	ck_assert_uint_eq(curve->bytes + curve->n_steps, 0);
	ck_assert_uint_eq(heat_knee(curve) + heat_score(curve) + heat_value(curve, 0, MIB), 0);
	ck_assert_uint_eq(heat_working_set(curve, 1000), 0);
	heat_free(curve);
	curve = curve_of(&even, 1);
	ck_assert_uint_eq(curve->n_steps, 1);
	ck_assert_uint_eq(heat_knee(curve), 0);
	heat_free(curve);
	curve = curve_of(&cold, 1);
	ck_assert_uint_eq(heat_knee(curve), 0);
	ck_assert_uint_eq(heat_working_set(curve, 1000000), 0);
	heat_free(curve);
}
END_TEST

START_TEST(absurd_regions_are_cut_not_wrapped)
{
	struct heat_region regions[N_MAX];
	struct heat_curve *curve;

	for (size_t i = 0; i < N_MAX; i++)
		regions[i] = (struct heat_region){ UINT64_MAX - i, UINT64_MAX, UINT64_MAX };
	curve = curve_of(regions, N_MAX);
	ck_assert_uint_le(curve->bytes, HEAT_BYTES_MAX);
	ck_assert_uint_le(curve->steps[0].rate_uhz, HEAT_RATE_MAX);
	ck_assert_uint_ge(heat_of_hottest(curve, UINT64_MAX), heat_of_hottest(curve, MIB));
	heat_free(curve);
}
END_TEST

START_TEST(samples_are_counted_as_parts_of_their_regions)
{
	static const struct {
		struct heat_sampled regions[4];
		size_t n;
		uint32_t n_drawn;
		uint64_t bytes, error_bytes;
	} cases[] = {
		{ {}, 0, 4, 0, 0 },
		{ { { 64 * MIB, 4 }, { 64 * MIB, 0 } }, 2, 4, 64 * MIB, 0 },
		/* the same in parts, and in one region with something cold: in part hot, so in doubt */
		{ { { 16 * MIB, 4 }, { 48 * MIB, 4 }, { 64 * MIB, 0 } }, 3, 4, 64 * MIB, 0 },
		{ { { 128 * MIB, 1 } }, 1, 2, 64 * MIB, 64 * MIB },
		{ { { 96 * MIB, 1 }, { 32 * MIB, 1 } }, 2, 2, 64 * MIB, 53054215 }, /* 48, 16 */
		{ { { 30 * MIB, 2 }, { 40 * MIB, 1 }, { 30 * MIB, 1 } }, 3, 2, 65 * MIB, 25 * MIB },
		{ { { 128 * MIB, 5 } }, 1, 10, 64 * MIB, 22369621 }, /* 128 MiB / 6 */
		/* what cannot be */
		{ { { 8 * MIB, 9 } }, 1, 2, 8 * MIB, 0 },
		{ { { 8 * MIB, 1 } }, 1, 0, 4 * MIB, 4 * MIB },
		{ { { UINT64_MAX, 2 }, { UINT64_MAX, 2 } }, 2, 2, HEAT_BYTES_MAX, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct heat_estimate got =
			heat_estimate(cases[i].regions, cases[i].n, cases[i].n_drawn);

		ck_assert_msg(got.bytes == cases[i].bytes, "case %zu: %llu bytes", i,
			      (unsigned long long)got.bytes);
		ck_assert_msg(got.error_bytes == cases[i].error_bytes, "case %zu: error %llu", i,
			      (unsigned long long)got.error_bytes);
	}
}
END_TEST

#define SPACE_MIB 512
#define DRAWN 2

/* Hot memory of @hot_mib in three pieces somewhere in SPACE_MIB; true for each MiB of it. */
static void draw_hot(bool *is_hot, uint64_t hot_mib)
{
	const uint64_t parts[] = { hot_mib / 4, hot_mib / 4, hot_mib / 2 };
	uint64_t at = 0, rest = SPACE_MIB - hot_mib;

	memset(is_hot, 0, SPACE_MIB);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		uint64_t gap = random_below(rest + 1);

		memset(is_hot + at + gap, 1, parts[i]);
		at += gap + parts[i];
		rest -= gap;
	}
}

/* Cuts it anywhere into @n regions and draws pages of each. Return: the bytes of all regions that
 * had a hot page. */
static uint64_t draw_samples(const bool *is_hot, struct heat_sampled *sampled, size_t n)
{
	uint64_t at = 0, whole = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t rest = SPACE_MIB * MIB - at, mean = rest / (n - i);
		uint64_t bytes = i + 1 < n ? mean / 2 + random_below(mean) : rest;

		sampled[i] = (struct heat_sampled){ .bytes = bytes };
		for (int k = 0; k < DRAWN; k++)
			sampled[i].n_touched += is_hot[(at + random_below(bytes)) / MIB];
		whole += sampled[i].n_touched > 0 ? bytes : 0;
		at += bytes;
	}
	return whole;
}

/* Many estimates of @hot_mib in @n_regions: their mean is right, three of four are @off_mib off at
 * most, and whole regions would be @whole times what is right, or more. */
static void check_estimates(uint64_t hot_mib, size_t n_regions, double off_mib, double whole)
{
	double want = (double)(hot_mib * MIB), estimated = 0, counted = 0;
	int n_near = 0, n_within = 0;
	const int n = 10000;

	for (int i = 0; i < n; i++) {
		struct heat_sampled sampled[200];
		struct heat_estimate got;
		bool is_hot[SPACE_MIB];
		double off;

		draw_hot(is_hot, hot_mib);
		counted += (double)draw_samples(is_hot, sampled, n_regions) / n;
		got = heat_estimate(sampled, n_regions, DRAWN);
		estimated += (double)got.bytes / n;
		off = fabs((double)got.bytes - want);
		n_near += off <= off_mib * MIB;
		n_within += off <= 2 * (double)got.error_bytes + 2 * MIB;
	}
	ck_assert_msg(fabs(estimated - want) < 0.02 * want, "%g for %g", estimated, want);
	ck_assert_msg(n_near > n * 3 / 4, "%d near %g", n_near, want);
	ck_assert_msg(n_within > n * 7 / 10, "%d within the error of %g", n_within, want);
	ck_assert_msg(counted > want * whole, "whole regions: %g for %g", counted, want);
}

START_TEST(an_estimate_from_samples_is_right_on_average)
{
	random_state = 1;
	check_estimates(64, 12, 45, 1.4);
	check_estimates(128, 12, 45, 1.25);
	check_estimates(256, 12, 45, 1.13);
	check_estimates(64, 200, 3, 1.03);
	check_estimates(128, 200, 3, 1.015);
	check_estimates(256, 200, 3, 1.008);
}
END_TEST

START_TEST(measuring_that_is_dear_is_done_less_often)
{
	ck_assert_uint_eq(heat_next_interval_ms(60000, 0), 60000);
	ck_assert_uint_eq(heat_next_interval_ms(60000, 10000), 60000);
	ck_assert_uint_eq(heat_next_interval_ms(60000, 2000000), 400000);
	ck_assert_uint_ge(heat_next_interval_ms(1, UINT64_MAX), 1000000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heat");
	TCase *tc = tcase_create("heat");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, hot_and_cold_memory_are_told_apart);
	tcase_add_test(tc, the_naive_score_doubles_where_this_one_stays);
	tcase_add_test(tc, splitting_merging_and_order_change_nothing);
	tcase_add_test(tc, the_curve_is_concave_and_grows);
	tcase_add_test(tc, scaling_rates_scales_heat_and_moves_no_knee);
	tcase_add_test(tc, generations_become_rates_by_their_age);
	tcase_add_test(tc, nothing_and_even_memory_have_no_knee);
	tcase_add_test(tc, absurd_regions_are_cut_not_wrapped);
	tcase_add_test(tc, samples_are_counted_as_parts_of_their_regions);
	tcase_add_test(tc, an_estimate_from_samples_is_right_on_average);
	tcase_add_test(tc, measuring_that_is_dear_is_done_less_often);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
