/* SPDX-License-Identifier: Apache-2.0 */

/* Looks of the controller between two ticks. */

#include <check.h>
#include <string.h>

#include "control_fixture.h"
#include "suite.h"

#define MS UINT64_C(1000000)
#define DELAY (25 * MS)
#define REST (4000 * MS)

START_TEST(memory_that_runs_out_in_calm_is_looked_at_once_in_a_while)
{
	settle();
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + CONTROL_TICK_NS),
			  now_ns + DELAY);
	now_ns += DELAY;
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + CONTROL_TICK_NS), 0);
	ck_assert_uint_eq(control_early_ns(&group, now_ns + REST - 1, UINT64_MAX), 0);
	now_ns += REST;
	ck_assert_uint_eq(control_early_ns(&group, now_ns, UINT64_MAX), now_ns + DELAY);
}
END_TEST

/* Counters of less time than that say little, and the next look would have no more. */
START_TEST(two_looks_are_never_nearer_than_the_delay)
{
	settle();
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + 2 * DELAY - 1), 0);
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + 2 * DELAY), now_ns + DELAY);
}
END_TEST

START_TEST(where_somebody_asks_or_scans_the_next_tick_is_soon_enough)
{
	settle();
	count_need(&a);
	plan();
	ck_assert_uint_eq(group.n_evidence, 1);
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + CONTROL_TICK_NS), 0);
	setup();
	make_polluter(&a);
	ck_assert_uint_eq(group.n_evidence, 0);
	ck_assert_uint_eq(control_early_ns(&group, now_ns, now_ns + CONTROL_TICK_NS), 0);
}
END_TEST

/* What a whole tick would count in it counts a twentieth of until then. */
START_TEST(who_lent_and_wakes_has_his_share_at_the_early_look)
{
	settle();
	while (b.low_bytes > SHARE / 2)
		tax();
	for (int i = 0; i < 20; i++) /* less than what was lent is kept for */
		plan();
	ck_assert_uint_eq(group.n_evidence, 0);
	ck_assert_uint_lt(b.low_bytes, SHARE / 2);
	ck_assert_uint_gt(control_early_ns(&group, now_ns, now_ns + CONTROL_TICK_NS), 0);
	b.sample.refault_pages += b.sample.current_bytes / CONTROL_PAGE / 1000;
	look(DELAY);
	ck_assert_int_eq(b.track.class, CONTROL_EVIDENCE);
	ck_assert_uint_eq(b.low_bytes, SHARE);
	look(CONTROL_TICK_NS - DELAY);
	ck_assert_int_eq(b.track.class, CONTROL_QUIET);
}
END_TEST

static Suite *control_early_suite(void)
{
	Suite *suite = suite_create("control_early");
	TCase *tcase = tcase_create("core");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, memory_that_runs_out_in_calm_is_looked_at_once_in_a_while);
	tcase_add_test(tcase, two_looks_are_never_nearer_than_the_delay);
	tcase_add_test(tcase, where_somebody_asks_or_scans_the_next_tick_is_soon_enough);
	tcase_add_test(tcase, who_lent_and_wakes_has_his_share_at_the_early_look);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_early_suite());
}
