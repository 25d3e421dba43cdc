/* SPDX-License-Identifier: Apache-2.0 */

/* The control law step by step: what each counter does to a class, and each class to protection. */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control_fixture.h"
#include "suite.h"

START_TEST(first_sample_is_new_and_protected_at_the_share)
{
	a.sample.refault_pages = 1000000; /* before we came: counts for nothing */
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_NEW);
	ck_assert_uint_eq(a.low_bytes, SHARE);
	ck_assert(a.is_changed);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_QUIET);
	ck_assert_uint_eq(a.low_bytes, SHARE);
	ck_assert(!a.is_changed);
}
END_TEST

START_TEST(counters_decide_the_class)
{
	static const struct {
		uint64_t refault, steal, restore, refill, stall_us;
		int64_t growth;
		enum control_class class;
	} cases[] = {
		/* 128000 pages: a need begins above 640 a tick */
		{ .refault = 640, .class = CONTROL_QUIET },
		{ .refault = 641, .class = CONTROL_EVIDENCE },
		/* … and above a fifth of what was stolen */
		{ .refault = 1000, .steal = 5000, .class = CONTROL_QUIET },
		{ .refault = 1001, .steal = 5000, .class = CONTROL_EVIDENCE },
		/* stall is a need if something is fetched meanwhile, 64 pages a tick */
		{ .refault = 65, .stall_us = 24999, .class = CONTROL_QUIET },
		{ .refault = 64, .stall_us = 25000, .class = CONTROL_QUIET },
		{ .refault = 65, .stall_us = 25000, .class = CONTROL_EVIDENCE },
		{ .stall_us = 25000, .growth = 1, .class = CONTROL_EVIDENCE },
		/* a quarter turned over without reuse is doubtful, with it not */
		{ .refault = 32000, .steal = 32000, .class = CONTROL_EVIDENCE },
		{ .refault = 32001, .steal = 32001, .class = CONTROL_SUSPECT },
		{ .refault = 40000, .steal = 40000, .restore = 199, .class = CONTROL_SUSPECT },
		{ .refault = 40000, .steal = 40000, .restore = 200, .class = CONTROL_EVIDENCE },
		{ .refault = 40000, .steal = 40000, .refill = 3999, .class = CONTROL_SUSPECT },
		{ .refault = 40000, .steal = 40000, .refill = 4000, .class = CONTROL_EVIDENCE },
		/* all of it: a scan, whether it shows refaults (a first pass has none) or not */
		{ .refault = 128001, .steal = 128001, .class = CONTROL_POLLUTER },
		{ .steal = 128001, .class = CONTROL_POLLUTER },
		{ .steal = 128001, .restore = 641, .class = CONTROL_QUIET },
		{ .steal = 128001, .refill = 12801, .class = CONTROL_QUIET },
		/* what it lost by shrinking was not replaced */
		{ .steal = 128000, .growth = -100, .class = CONTROL_QUIET },
	};

	settle();
	a.sample.refault_pages += cases[_i].refault;
	a.sample.steal_pages += cases[_i].steal;
	a.sample.restore_pages += cases[_i].restore;
	a.sample.refill_pages += cases[_i].refill;
	a.sample.stall_us += cases[_i].stall_us;
	a.sample.current_bytes += (uint64_t)(cases[_i].growth * (int64_t)M);
	plan();
	ck_assert_str_eq(control_class_name(a.track.class), control_class_name(cases[_i].class));
}
END_TEST
#define CLASS_CASES 19

START_TEST(stall_above_the_share_is_no_need_unless_it_grows)
{
	settle();
	a.sample.current_bytes = SHARE + M;
	plan();
	a.sample.stall_us += 400000;
	a.sample.refault_pages += 65;
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_QUIET);
}
END_TEST

START_TEST(what_has_no_processor_time_is_idle_after_eight_ticks)
{
	settle();
	for (int i = 0; i < 7; i++) {
		a.sample.cpu_us -= 100000; /* plan() adds it again */
		plan();
		ck_assert_int_eq(a.track.class, CONTROL_QUIET);
	}
	a.sample.cpu_us -= 100000;
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_IDLE);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_QUIET);
}
END_TEST

START_TEST(counters_that_went_back_count_for_nothing)
{
	settle();
	a.sample.refault_pages = a.sample.steal_pages = 100000;
	a.sample.restore_pages = 50000;
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
	memset(&a.sample, 0, sizeof(a.sample)); /* the slot was made anew */
	plan();
	ck_assert_uint_eq(a.track.refault_pages, 0);
	ck_assert_uint_eq(a.track.steal_pages, 0);
	ck_assert_int_eq(a.track.class, CONTROL_QUIET);
}
END_TEST

START_TEST(slot_that_was_not_read_keeps_its_class)
{
	struct control_slot *slots[] = { &a, &b };

	settle();
	count_need(&a);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
	for (int i = 0; i < 100; i++) {
		now_ns += CONTROL_TICK_NS;
		a.is_fresh = b.is_fresh = false;
		a.sample.refault_pages += 100000;
		ck_assert_int_eq(control_plan(&group, slots, 2, now_ns), 0);
		ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
	}
	/* a hundred ticks in one sample are a rate, not a burst */
	plan();
	ck_assert_uint_le(a.track.refault_pages, 100000);
}
END_TEST

START_TEST(idle_slot_is_read_now_and_then_and_when_it_runs)
{
	const uint64_t s = 2 * CONTROL_TICK_NS, at = 100 * s;
	struct control_track track = { .class = CONTROL_IDLE, .sampled_ns = at };

	track.last.cpu_us = 7000;
	ck_assert(!control_is_due(&track, at + CONTROL_TICK_NS, 7000));
	ck_assert(!control_is_due(&track, at + 4 * s - 1, 7500));
	ck_assert(control_is_due(&track, at + 4 * s, 7000));
	ck_assert(control_is_due(&track, at + CONTROL_TICK_NS, 7501));
	/* its counter began anew */
	ck_assert(!control_is_due(&track, at + CONTROL_TICK_NS, 0));
	for (enum control_class class = 0; class < CONTROL_CLASSES; class ++) {
		track.class = class;
		ck_assert(control_is_due(&track, at + CONTROL_TICK_NS, 7000) ==
			  (class != CONTROL_IDLE));
	}
}
END_TEST

START_TEST(guarantee_of_a_scan_holds)
{
	b.min_bytes = 100 * M;
	make_polluter(&b);
	for (int i = 0; i < 20; i++) {
		count_scan(&b, 400);
		plan();
		ck_assert_uint_ge(b.low_bytes, 100 * M);
	}
	ck_assert_uint_eq(b.low_bytes, 100 * M);
}
END_TEST

START_TEST(scan_loses_its_protection_by_halves)
{
	uint64_t before;

	make_polluter(&b);
	for (int i = 0; i < 3; i++) {
		before = b.low_bytes;
		count_scan(&b, 400);
		plan();
		ck_assert_uint_eq(b.low_bytes / M, before / 2 / M);
	}
	for (int i = 0; i < 5; i++) {
		count_scan(&b, 400);
		plan();
	}
	ck_assert_uint_le(b.low_bytes, LEAST + STEP);
}
END_TEST

/* Where a higher tier has everything, a scan has no share, and what it reads in a tick is all that
 * nobody can take from it: for that much nobody else is to be spared the tax. */
/* What a loop lacks may still be on its way to it while it grows. */
START_TEST(who_grows_by_an_eighth_in_a_turnover_is_not_suspect_yet)
{
	uint64_t grown = _i == 0 ? 50 * M : 58 * M; /* of 450M an eighth is 56, of 458 57 */

	a.sample.current_bytes = 400 * M;
	settle();
	a.sample.current_bytes += grown;
	count_scan(&a, 300);
	plan();
	ck_assert_int_eq(a.track.class, _i == 0 ? CONTROL_SUSPECT : CONTROL_EVIDENCE);
	/* it is judged by all of a turnover all the same */
	count_scan(&a, 800);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_POLLUTER);
}
END_TEST

START_TEST(scan_that_holds_what_it_reads_keeps_nobody_from_being_taxed)
{
	make_polluter(&b);
	a.share_bytes = B;
	b.share_bytes = 0;
	b.low_bytes = b.track.low_bytes = 0;
	b.sample.current_bytes = 10 * M;
	for (int i = 0; i < 12; i++) { /* as long as the average takes to get there */
		count_scan(&b, _i ? 1000 : 100);
		plan();
	}
	ck_assert_int_eq(b.track.class, CONTROL_POLLUTER);
	ck_assert_uint_eq(a.low_bytes, _i ? B : SHARE * 102 / 100 + B / 100);
}
END_TEST

START_TEST(scan_is_judged_anew_when_its_share_grows_by_half)
{
	make_polluter(&b);
	control_reshare(&b, SHARE + SHARE / 2 - _i * M);
	plan();
	ck_assert_int_eq(b.track.class, _i ? CONTROL_POLLUTER : CONTROL_QUIET);
	ck_assert(!control_is_retested(&b));
	if (_i)
		ck_assert_uint_lt(b.low_bytes, SHARE / 4);
	else
		ck_assert_uint_eq(b.low_bytes, SHARE + SHARE / 2);
}
END_TEST

/* What is nobody's is the scan's: two that are owed less than a step each are given it together. */
START_TEST(hungry_are_promised_what_a_scan_loses_to_the_last_step)
{
	struct control_slot c = a, *slots[] = { &a, &b, &c };

	c.name = "c";
	a.share_bytes = b.share_bytes = a.sample.current_bytes = b.sample.current_bytes = 308 * M;
	c.share_bytes = c.sample.current_bytes = 384 * M; /* by halves to 12 MiB, then to 6 */
	for (int i = 0; i < 20; i++) {
		now_ns += CONTROL_TICK_NS;
		for (size_t k = 0; k < 3; k++) {
			slots[k]->is_fresh = true;
			slots[k]->sample.cpu_us += 100000;
		}
		count_need(&a);
		count_need(&b);
		count_scan(&c, i == 0 ? 0 : 400);
		ck_assert_int_eq(control_plan(&group, slots, 3, now_ns), 0);
	}
	ck_assert_int_eq(c.track.class, CONTROL_POLLUTER);
	ck_assert_uint_le(c.low_bytes, LEAST / 4 + STEP);
	ck_assert_uint_ge(a.low_bytes + b.low_bytes + c.low_bytes, B - STEP);
}
END_TEST

START_TEST(quiet_slot_is_protected_at_its_usage_while_a_scan_holds_memory)
{
	make_polluter(&b);
	a.sample.current_bytes = 600 * M;
	count_scan(&b, 400);
	plan();
	ck_assert_uint_eq(a.low_bytes / M, 622); /* 2 % and 1 % of the group */
}
END_TEST

START_TEST(scan_is_pardoned_for_reuse_or_without_pressure)
{
	make_polluter(&b);
	if (_i == 0) { /* 1 % of a turnover restored */
		b.sample.steal_pages += 130000;
		b.sample.restore_pages += 1310;
		plan();
	} else if (_i == 1) { /* 10 % refilled */
		b.sample.steal_pages += 130000;
		b.sample.refill_pages += 13100;
		plan();
	} else {
		for (int i = 0; i < 6; i++) {
			ck_assert_int_eq(b.track.class, CONTROL_POLLUTER);
			plan();
		}
	}
	ck_assert(!b.track.is_polluter);
}
END_TEST

/* With the numbers of a scan of page cache and the legacy LRU of 6.12. */
START_TEST(scan_that_loses_its_own_code_is_not_pardoned)
{
	make_polluter(&b);
	b.sample.current_bytes = 2300 * UINT64_C(1024);
	for (int i = 0; i < 55; i++) { /* before it is tested again */
		uint64_t code_pages = i < 25 ? 0 : 175;

		b.sample.steal_pages += 7600;
		b.sample.refault_pages += code_pages;
		b.sample.restore_pages += code_pages;
		plan();
		ck_assert_msg(b.track.is_polluter, "pardoned in tick %d", i);
	}
}
END_TEST

/* Ticks until the label of a scan is taken off, and it is one again. */
static uint64_t ticks_labelled(void)
{
	uint64_t n = 0;

	for (; b.track.is_polluter; n++) {
		count_scan(&b, 300);
		plan();
	}
	for (int i = 0; !b.track.is_polluter; i++) {
		ck_assert_int_lt(i, 5); /* for a turnover, no longer */
		count_scan(&b, 300);
		plan();
	}
	return n;
}

START_TEST(retests_of_a_scan_get_rarer)
{
	static const uint64_t ticks[] = { 60, 120, 240, 480, 960, 960 };

	make_polluter(&b);
	for (size_t i = 0; i < ARRAY_LEN(ticks); i++)
		ck_assert_uint_eq(ticks_labelled(), ticks[i]);
}
END_TEST

START_TEST(retest_of_a_scan_takes_nothing_from_others)
{
	make_polluter(&b);
	a.sample.current_bytes = 700 * M;
	b.sample.current_bytes = 300 * M;
	while (b.track.is_polluter) {
		count_scan(&b, 300);
		plan();
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_ge(a.low_bytes, 700 * M);
		ck_assert_uint_le(b.low_bytes, 120 * M);
		ck_assert_uint_eq(group.n_evidence, 0);
		count_scan(&b, 300);
		plan();
	}
}
END_TEST

START_TEST(small_changes_are_not_written)
{
	settle();
	group.fairness_permille = 992; /* b may be taxed by 4 MiB, a little less than a step */
	for (int i = 0; i < 10; i++) {
		count_need(&a);
		plan();
		ck_assert(!b.is_changed);
		ck_assert_uint_eq(b.low_bytes, SHARE);
	}
	group.fairness_permille = 990;
	count_need(&a);
	plan();
	ck_assert(b.is_changed);
	ck_assert_uint_eq(b.low_bytes, SHARE - STEP);
}
END_TEST

START_TEST(mode_off_is_protected_at_its_share_whatever_it_does)
{
	b.mode = SLOT_OFF;
	settle();
	for (int i = 0; i < 10; i++) {
		count_scan(&b, 400);
		count_need(&a);
		plan();
		ck_assert_uint_eq(b.low_bytes, SHARE);
		ck_assert_uint_le(a.low_bytes, SHARE);
	}
	ck_assert_int_eq(b.track.class, CONTROL_POLLUTER); /* it is told, not acted upon */
}
END_TEST

START_TEST(mode_save_gives_back_slowly_and_never_while_it_stalls)
{
	uint64_t given = 0, n = 0;

	b.mode = SLOT_SAVE;
	settle();
	for (int i = 0; i < 120; i++) {
		plan();
		given += b.reclaim_bytes;
		n += b.reclaim_bytes > 0;
		ck_assert_uint_eq(a.reclaim_bytes, 0);
	}
	ck_assert_uint_eq(n, 10); /* every six seconds */
	ck_assert_uint_le(given, SHARE / 2000 * 10);
	ck_assert_uint_gt(given, SHARE / 2000 * 9);
	/* a moment between two times begins the six seconds anew, however short it was */
	for (int i = 0; i < 120; i++) {
		b.sample.stall_us += i % 11 == 0;
		plan();
		ck_assert_uint_eq(b.reclaim_bytes, 0);
	}
	for (int i = 0; i < 11; i++) { /* since i = 110 there was none, which is nine ticks ago */
		plan();
		ck_assert_uint_eq(b.reclaim_bytes > 0, i == 2);
	}
}
END_TEST

START_TEST(mode_save_stops_at_the_guarantee)
{
	b.mode = SLOT_SAVE;
	b.min_bytes = SHARE;
	settle();
	for (int i = 0; i < 30; i++) {
		plan();
		ck_assert_uint_eq(b.reclaim_bytes, 0);
	}
}
END_TEST

START_TEST(freed_memory_goes_by_tier_and_then_by_weight)
{
	struct control_slot c = a, d = a, *slots[] = { &d, &a, &c, &b };

	a.share_bytes = b.share_bytes = c.share_bytes = d.share_bytes = 250 * M;
	a.sample.current_bytes = b.sample.current_bytes = 250 * M;
	c.sample = d.sample = a.sample;
	c.name = "c";
	d.name = "d";
	d.min_bytes = 50 * M;
	a.weight = 300;
	for (int tier = 1; tier >= 0; tier--) {
		c.tier = (uint32_t)tier;
		a.tier = b.tier = d.tier = 1;
		a.track = b.track = c.track = d.track = (struct control_track){ 0 };
		for (int i = 0; i < 40; i++) {
			now_ns += CONTROL_TICK_NS;
			for (size_t k = 0; k < 4; k++) {
				slots[k]->is_fresh = true;
				slots[k]->sample.cpu_us += 100000;
				if (i > 0 && slots[k] != &b)
					count_need(slots[k]);
			}
			take(&b, &a);
			ck_assert_int_eq(control_plan(&group, slots, 4, now_ns), 0);
		}
		ck_assert_uint_le(b.low_bytes, LEAST + STEP);
		ck_assert_uint_ge(d.low_bytes, d.min_bytes);
		if (tier == 1) { /* 3:1:1 */
			ck_assert_double_eq_tol((double)a.low_bytes, 3.0 * (double)c.low_bytes,
						3.0 * (double)STEP);
			ck_assert_uint_ge(a.low_bytes + c.low_bytes + d.low_bytes,
					  B - LEAST - 3 * STEP);
		} else { /* all that is not guaranteed or needed to run */
			ck_assert_uint_ge(c.low_bytes, B - 50 * M - LEAST - 3 * STEP);
		}
	}
}
END_TEST

static void both_ask(uint64_t a_bytes, uint64_t b_bytes)
{
	a.sample.current_bytes = a_bytes;
	b.sample.current_bytes = b_bytes;
	count_need(&a);
	count_need(&b);
	plan();
}

/* 1024M are used, of which 24M are promised to nobody. */
START_TEST(who_has_less_of_the_reserve_is_promised_half_of_his_part_while_all_ask)
{
	settle();
	both_ask(506 * M, 518 * M);
	ck_assert_uint_eq(group.reserve_bytes, 12 * M);
	ck_assert_uint_eq(b.low_bytes, SHARE);
	ck_assert_uint_le(SHARE + 6 * M - a.low_bytes, 2 * CONTROL_PAGE);
	b.max_bytes = SHARE + STEP + M / 2;
	both_ask(518 * M, 505 * M);
	ck_assert_uint_eq(a.low_bytes, SHARE);
	ck_assert_uint_eq(b.low_bytes, b.max_bytes);
	count_need(&a); /* and only one */
	plan();
	ck_assert_int_eq(b.track.class, CONTROL_QUIET);
	ck_assert_uint_eq(group.reserve_bytes, 0);
	ck_assert_uint_le(a.low_bytes + b.low_bytes, B);
	group.bytes = 2 * SHARE / 3; /* far more used than is divided: a 64th at most */
	both_ask(506 * M, 518 * M);
	ck_assert_uint_eq(group.reserve_bytes, group.bytes / 32 / 2);
	group.bytes = 0;
	both_ask(506 * M, 518 * M);
	ck_assert_uint_eq(group.reserve_bytes, 0);
	ck_assert_uint_eq(a.low_bytes + b.low_bytes, 0);
}
END_TEST

START_TEST(usage_at_the_own_cap_asks_nobody)
{
	a.max_bytes = SHARE;
	settle();
	count_need(&a);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
	ck_assert_uint_eq(group.n_evidence, 0);
	ck_assert_uint_eq(b.low_bytes, SHARE);
}
END_TEST

START_TEST(nothing_is_lent_when_nobody_asks)
{
	settle();
	for (int i = 0; i < 12; i++)
		tax();
	a.sample.current_bytes = 900 * M;
	b.sample.current_bytes = 100 * M;
	plan();
	count_need(&a);
	plan();
	ck_assert_uint_gt(a.low_bytes, 900 * M);
	/* what it was lent it only turns over: doubtful, and nobody else asks */
	a.sample.steal_pages += 100000;
	a.sample.refault_pages += 100000;
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_SUSPECT);
	ck_assert_uint_eq(a.low_bytes, SHARE);
}
END_TEST

START_TEST(values_out_of_bounds_are_refused)
{
	struct control_slot *slots[] = { &a };

	group.fairness_permille = 1001;
	ck_assert_int_eq(control_plan(&group, slots, 1, now_ns), -EINVAL);
	group.fairness_permille = 1000;
	a.tier = TIERS;
	ck_assert_int_eq(control_plan(&group, slots, 1, now_ns), -EINVAL);
	a.tier = 0;
	ck_assert_int_eq(control_plan(&group, slots, SLOTS_MAX + 1, now_ns), -EINVAL);
	ck_assert_int_eq(control_plan(&group, slots, 0, now_ns), 0);
}
END_TEST

START_TEST(class_names_are_words)
{
	ck_assert_str_eq(control_class_name(CONTROL_EVIDENCE), "evidence");
	ck_assert_str_eq(control_class_name(CONTROL_IDLE), "idle");
	ck_assert_str_eq(control_class_name((enum control_class)99), "unknown");
}
END_TEST

static Suite *control_suite(void)
{
	Suite *suite = suite_create("control");
	TCase *tcase = tcase_create("core");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, first_sample_is_new_and_protected_at_the_share);
	tcase_add_loop_test(tcase, counters_decide_the_class, 0, CLASS_CASES);
	tcase_add_test(tcase, stall_above_the_share_is_no_need_unless_it_grows);
	tcase_add_test(tcase, what_has_no_processor_time_is_idle_after_eight_ticks);
	tcase_add_test(tcase, counters_that_went_back_count_for_nothing);
	tcase_add_test(tcase, slot_that_was_not_read_keeps_its_class);
	tcase_add_test(tcase, idle_slot_is_read_now_and_then_and_when_it_runs);
	tcase_add_test(tcase, guarantee_of_a_scan_holds);
	tcase_add_test(tcase, scan_loses_its_protection_by_halves);
	tcase_add_loop_test(tcase, who_grows_by_an_eighth_in_a_turnover_is_not_suspect_yet, 0, 2);
	tcase_add_loop_test(tcase, scan_that_holds_what_it_reads_keeps_nobody_from_being_taxed, 0,
			    2);
	tcase_add_loop_test(tcase, scan_is_judged_anew_when_its_share_grows_by_half, 0, 2);
	tcase_add_test(tcase, hungry_are_promised_what_a_scan_loses_to_the_last_step);
	tcase_add_test(tcase, quiet_slot_is_protected_at_its_usage_while_a_scan_holds_memory);
	tcase_add_loop_test(tcase, scan_is_pardoned_for_reuse_or_without_pressure, 0, 3);
	tcase_add_test(tcase, scan_that_loses_its_own_code_is_not_pardoned);
	tcase_add_test(tcase, retests_of_a_scan_get_rarer);
	tcase_add_test(tcase, retest_of_a_scan_takes_nothing_from_others);
	tcase_add_test(tcase, small_changes_are_not_written);
	tcase_add_test(tcase, mode_off_is_protected_at_its_share_whatever_it_does);
	tcase_add_test(tcase, mode_save_gives_back_slowly_and_never_while_it_stalls);
	tcase_add_test(tcase, mode_save_stops_at_the_guarantee);
	tcase_add_test(tcase, freed_memory_goes_by_tier_and_then_by_weight);
	tcase_add_test(tcase,
		       who_has_less_of_the_reserve_is_promised_half_of_his_part_while_all_ask);
	tcase_add_test(tcase, usage_at_the_own_cap_asks_nobody);
	tcase_add_test(tcase, nothing_is_lent_when_nobody_asks);
	tcase_add_test(tcase, values_out_of_bounds_are_refused);
	tcase_add_test(tcase, class_names_are_words);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_suite());
}
