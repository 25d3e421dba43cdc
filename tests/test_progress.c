/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/progress.h"

#include <check.h>
#include <stdlib.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static struct progress p;

/* Moves at @bytes_per_s for @seconds in quarter seconds; returns the last phase. */
static enum progress_phase run(uint64_t *now, int64_t *usage, int64_t bytes_per_s, int seconds)
{
	enum progress_phase phase = PROGRESS_MOVING;

	for (int i = 0; i < seconds * 4; i++) {
		*now += 250 * MS;
		*usage += bytes_per_s / 4;
		phase = progress_sample(&p, *now, (uint64_t)*usage);
	}
	return phase;
}

START_TEST(a_steady_move_shows_its_part_and_the_time_left)
{
	uint64_t now = 100 * S;
	int64_t usage = 400 * M;
	struct progress_report r;

	progress_start(&p, 400 * M, 200 * M, now);
	r = progress_report(&p);
	ck_assert_int_eq(r.phase, PROGRESS_MOVING);
	ck_assert_uint_eq(r.permille, 0);
	ck_assert_uint_eq(r.eta_ns, PROGRESS_ETA_UNKNOWN);

	ck_assert_int_eq(run(&now, &usage, -10 * (int64_t)M, 5), PROGRESS_MOVING);
	r = progress_report(&p);
	ck_assert_uint_eq(r.now_bytes, 350 * M);
	ck_assert_uint_eq(r.permille, 250);
	ck_assert_uint_gt(r.eta_ns, 14 * S); /* 150 M at 10 M/s */
	ck_assert_uint_lt(r.eta_ns, 16 * S);

	ck_assert_int_eq(run(&now, &usage, -10 * (int64_t)M, 15), PROGRESS_REACHED);
	r = progress_report(&p);
	ck_assert_uint_eq(r.permille, 1000);
	ck_assert_uint_eq(r.eta_ns, 0);
	ck_assert_str_eq(progress_note(&p), "");
}
END_TEST

START_TEST(three_percent_is_near_enough_and_beyond_is_reached_too)
{
	progress_start(&p, 100 * M, 200 * M, 0);
	ck_assert_int_eq(progress_sample(&p, S, 193 * M), PROGRESS_MOVING);
	ck_assert_int_eq(progress_sample(&p, 2 * S, 195 * M), PROGRESS_REACHED);
	ck_assert_int_eq(progress_sample(&p, 3 * S, 250 * M), PROGRESS_REACHED);
	ck_assert_int_eq(progress_sample(&p, 4 * S, 150 * M), PROGRESS_MOVING);

	progress_start(&p, 200 * M, 100 * M, 0);
	ck_assert_int_eq(progress_sample(&p, S, 104 * M), PROGRESS_MOVING);
	ck_assert_int_eq(progress_sample(&p, 2 * S, 102 * M), PROGRESS_REACHED);
	ck_assert_int_eq(progress_sample(&p, 3 * S, 0), PROGRESS_REACHED);

	/* usage was there from the start */
	progress_start(&p, 100 * M, 100 * M, 0);
	ck_assert_int_eq(progress_report(&p).phase, PROGRESS_REACHED);
	ck_assert_uint_eq(progress_report(&p).permille, 1000);
}
END_TEST

START_TEST(a_slot_that_does_not_want_more_is_flat_after_five_seconds)
{
	uint64_t now = 0;
	int64_t usage = 100 * M;

	progress_start(&p, 100 * M, 300 * M, now);
	ck_assert_int_eq(run(&now, &usage, 0, 4), PROGRESS_MOVING);
	ck_assert_int_eq(run(&now, &usage, 0, 1), PROGRESS_FLAT);
	ck_assert_str_eq(progress_note(&p), "the slot does not want more now");
	ck_assert_uint_eq(progress_report(&p).eta_ns, PROGRESS_ETA_UNKNOWN);
	ck_assert_uint_eq(progress_report(&p).permille, 0);

	/* it wakes up: moving again */
	ck_assert_int_eq(run(&now, &usage, 20 * (int64_t)M, 2), PROGRESS_MOVING);
	ck_assert_uint_eq(progress_report(&p).permille, 200);
	ck_assert_uint_lt(progress_report(&p).eta_ns, 60 * S);
}
END_TEST

START_TEST(a_share_that_nobody_takes_away_is_flat_too)
{
	uint64_t now = 0;
	int64_t usage = 300 * M;

	progress_start(&p, 300 * M, 100 * M, now);
	ck_assert_int_eq(run(&now, &usage, 0, 6), PROGRESS_FLAT);
	ck_assert_str_eq(progress_note(&p), "no other slot wants the memory now");
}
END_TEST

START_TEST(the_wrong_direction_has_no_time_of_arrival)
{
	uint64_t now = 0;
	int64_t usage = 200 * M;

	progress_start(&p, 200 * M, 100 * M, now);
	ck_assert_int_eq(run(&now, &usage, 10 * (int64_t)M, 3), PROGRESS_MOVING);
	ck_assert_uint_eq(progress_report(&p).permille, 0);
	ck_assert_uint_eq(progress_report(&p).eta_ns, PROGRESS_ETA_UNKNOWN);
}
END_TEST

START_TEST(the_rate_forgets_an_old_speed_in_about_five_seconds)
{
	uint64_t now = 0, eta;
	int64_t usage = 1000 * M;

	progress_start(&p, 1000 * M, 0, now);
	run(&now, &usage, -40 * (int64_t)M, 10);
	run(&now, &usage, -10 * (int64_t)M, 10);
	eta = progress_report(&p).eta_ns;
	ck_assert_uint_gt(eta, 40 * S); /* 500 M at 10 M/s is 50 s */
	ck_assert_uint_lt(eta, 55 * S);
}
END_TEST

START_TEST(a_staircase_of_chunks_gives_a_steady_time_of_arrival)
{
	uint64_t now = 0, usage = 1000 * M;

	progress_start(&p, 1000 * M, 0, now);
	for (int i = 0; i < 80; i++) { /* 10 M at every second quarter: 20 M/s */
		now += 250 * MS;
		usage -= i % 2 ? 10 * M : 0;
		progress_sample(&p, now, usage);
		if (i >= 40) {
			uint64_t eta = progress_report(&p).eta_ns, right = usage / M * S / 20;

			ck_assert_uint_gt(eta, right * 3 / 4);
			ck_assert_uint_lt(eta, right * 5 / 4);
		}
	}
}
END_TEST

START_TEST(samples_at_one_instant_only_replace_each_other)
{
	progress_start(&p, 100 * M, 200 * M, S);
	ck_assert_int_eq(progress_sample(&p, S, 120 * M), PROGRESS_MOVING);
	ck_assert_uint_eq(progress_report(&p).now_bytes, 120 * M);
	ck_assert_uint_eq(progress_report(&p).eta_ns, PROGRESS_ETA_UNKNOWN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("progress");
	TCase *tc = tcase_create("progress");

	tcase_add_test(tc, a_steady_move_shows_its_part_and_the_time_left);
	tcase_add_test(tc, three_percent_is_near_enough_and_beyond_is_reached_too);
	tcase_add_test(tc, a_slot_that_does_not_want_more_is_flat_after_five_seconds);
	tcase_add_test(tc, a_share_that_nobody_takes_away_is_flat_too);
	tcase_add_test(tc, the_wrong_direction_has_no_time_of_arrival);
	tcase_add_test(tc, the_rate_forgets_an_old_speed_in_about_five_seconds);
	tcase_add_test(tc, a_staircase_of_chunks_gives_a_steady_time_of_arrival);
	tcase_add_test(tc, samples_at_one_instant_only_replace_each_other);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
