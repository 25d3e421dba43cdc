/* SPDX-License-Identifier: Apache-2.0 */

/* The tax on quiet slots step by step: how it begins and grows, what ends it, and the floor that it
 * is found to have. */

#include <check.h>

#include "control_fixture.h"
#include "suite.h"

START_TEST(evidence_gets_what_the_tax_frees)
{
	/* half a per cent of the group, then twice as much each time, to 2 % of the group */
	static const uint64_t lows[] = { 495, 485, 465, 425, 345, 185, 20, 20 };

	settle();
	for (size_t i = 0; i < ARRAY_LEN(lows); i++) {
		tax();
		ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
		ck_assert_uint_eq(b.low_bytes / M, lows[i]);
		ck_assert_uint_le(a.low_bytes + b.low_bytes, B);
		ck_assert_uint_ge(a.low_bytes + b.low_bytes, B - 2 * CONTROL_PAGE);
	}
}
END_TEST

/* Exposed is no more than somebody wants, and as little as that if it is hot. */
START_TEST(tax_waits_until_what_is_exposed_is_taken)
{
	settle();
	for (int i = 0; i < 20; i++) {
		count_need(&a);
		plan();
		ck_assert_uint_eq(b.low_bytes, SHARE - STEP);
	}
	for (int i = 0; i < 20; i++) { /* slower than a quarter of it a tick */
		b.sample.current_bytes -= M;
		b.sample.steal_pages += MIB_PAGES;
		count_need(&a);
		plan();
		ck_assert_uint_le(b.sample.current_bytes, b.low_bytes + 2 * STEP);
	}
}
END_TEST

START_TEST(nobody_is_taxed_while_memory_is_free)
{
	settle();
	b.sample.current_bytes = 400 * M; /* a tenth of the group is free */
	count_need(&a);
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_EVIDENCE);
	ck_assert_uint_eq(group.n_evidence, 0);
	ck_assert_uint_eq(b.low_bytes, SHARE);
	ck_assert_uint_eq(a.low_bytes, SHARE);
}
END_TEST

START_TEST(evidence_of_a_taxed_slot_restores_its_share_at_once)
{
	settle();
	for (int i = 0; i < 6; i++)
		tax();
	ck_assert_uint_lt(b.low_bytes, 250 * M);
	count_wait(&b);
	tax();
	ck_assert_int_eq(b.track.class, CONTROL_EVIDENCE);
	ck_assert_uint_eq(b.low_bytes, SHARE);
	ck_assert_uint_eq(a.low_bytes, SHARE);
}
END_TEST

/* Ticks of the proof: how long its evidence goes on. */
#define PROOF_TICKS 4

/* @b is taxed from 500M to 345M, then shows evidence until it has regained so much, and is
 * quiet. */
static void tax_and_prove(uint64_t regained_bytes, int ticks)
{
	settle();
	for (int i = 0; i < 5; i++)
		tax();
	for (int i = 0; i < ticks; i++) {
		count_wait(&b);
		tax();
		ck_assert_int_eq(b.track.class, CONTROL_EVIDENCE);
		ck_assert_uint_eq(b.low_bytes, SHARE);
		b.sample.current_bytes += regained_bytes / (uint64_t)ticks;
		a.sample.current_bytes -= regained_bytes / (uint64_t)ticks;
	}
	tax();
	ck_assert_int_eq(b.track.class, CONTROL_QUIET);
}

/* Whoever is slow to fetch it proves it as well. */
START_TEST(what_comes_back_is_a_floor_however_long_it_takes)
{
	tax_and_prove(100 * M, _i == 0 ? PROOF_TICKS : 10 * PROOF_TICKS);
	ck_assert_uint_ge(b.low_bytes, b.sample.current_bytes);
	for (int i = 0; i < 18; i++) {
		tax();
		ck_assert_uint_ge(b.low_bytes, b.sample.current_bytes);
	}
}
END_TEST

/* Seen on a kernel: a phase that ended went on to fault, in exchange for pages of its own, and kept
 * for seconds what it did not use any more. */
START_TEST(tax_goes_on_at_once_if_little_or_nothing_is_regained)
{
	tax_and_prove(_i == 0 ? 0 : 40 * M, PROOF_TICKS);
	ck_assert_uint_eq(b.track.floor_bytes, 0);
	ck_assert_uint_eq(b.low_bytes, b.sample.current_bytes - 80 * M); /* as before */
	for (int i = 0; i < 2; i++)
		tax();
	ck_assert_uint_lt(b.low_bytes, 200 * M);
}
END_TEST

/* Ticks until a floor that holds is tried again, one step below; that is evidence, and regained. */
static uint64_t ticks_held(void)
{
	uint64_t n = 0, bytes = b.sample.current_bytes;

	for (; b.low_bytes >= b.sample.current_bytes; n++)
		tax();
	ck_assert_uint_eq(b.low_bytes, bytes - STEP);
	count_wait(&b);
	tax();
	ck_assert_int_eq(b.track.class, CONTROL_EVIDENCE);
	a.sample.current_bytes -= STEP;
	b.sample.current_bytes += STEP;
	tax();
	return n;
}

START_TEST(floor_that_is_proven_again_holds_longer)
{
	static const uint64_t ticks[] = { 20, 40, 80, 80, 80 };

	tax_and_prove(150 * M, PROOF_TICKS);
	for (size_t i = 0; i < ARRAY_LEN(ticks); i++)
		ck_assert_uint_eq(ticks_held(), ticks[i]);
}
END_TEST

START_TEST(floor_that_is_not_needed_any_more_is_forgotten)
{
	tax_and_prove(150 * M, PROOF_TICKS);
	ticks_held();
	for (int i = 0; i < 50; i++)
		tax();
	ck_assert_uint_eq(b.track.floor_bytes, 0);
	ck_assert_uint_eq(b.track.floor_hold_ticks, 0);
	ck_assert_uint_lt(b.low_bytes, 30 * M);
}
END_TEST

/* Seen on a kernel: a slot that grew in its next phase was held to have proven the floor of the
 * one before, and gave nothing up in the one after. */
START_TEST(floor_of_another_phase_is_forgotten)
{
	tax_and_prove(_i == 0 ? 100 * M : 300 * M, PROOF_TICKS);
	b.sample.current_bytes = 600 * M;
	a.sample.current_bytes = 400 * M;
	for (int i = 0; i < 2; i++) {
		count_need(&b);
		plan();
	}
	ck_assert_uint_eq(b.track.floor_bytes, 0);
	for (int i = 0; i < 8; i++)
		tax();
	ck_assert_uint_lt(b.low_bytes, 200 * M);
}
END_TEST

/* What is lent and not missed stays lent for a while; the tax itself is over sooner, so that its
 * next evidence gives it its share and proves nothing. */
START_TEST(shares_come_back_half_a_minute_after_the_last_evidence)
{
	settle();
	count_need(&a);
	plan();
	for (int i = 0; i < 59; i++) {
		plan();
		ck_assert_uint_eq(b.low_bytes, SHARE - STEP);
		ck_assert_uint_eq(a.low_bytes, SHARE);
		ck_assert_uint_eq(b.track.tax_bytes, i < 5 ? STEP : 0);
	}
	plan();
	ck_assert_uint_eq(b.low_bytes, SHARE);
}
END_TEST

START_TEST(who_lent_has_his_share_as_soon_as_he_needs_it)
{
	settle();
	for (int i = 0; i < 12; i++)
		tax();
	for (int i = 0; i < (_i < 2 ? 10 : 2); i++) /* the tax is over, or would go on */
		plan();
	ck_assert_uint_le(b.low_bytes, LEAST + STEP);
	if (_i % 2)
		count_wait(&b);
	else
		b.sample.current_bytes += b.sample.current_bytes; /* it begins to do something */
	plan();
	ck_assert_uint_eq(b.low_bytes, SHARE);
	plan();
	if (_i < 3) /* and then what it uses, but where the tax that evidence ended may go on */
		ck_assert_uint_eq(b.low_bytes, b.sample.current_bytes);
	else
		ck_assert_uint_eq(b.low_bytes, SHARE);
}
END_TEST

START_TEST(who_lent_is_promised_no_more_than_he_uses_until_nobody_has_asked_for_long)
{
	uint64_t low, until_ns;

	settle();
	for (int i = 0; i < 4; i++)
		tax();
	low = b.low_bytes;
	until_ns = now_ns + 60 * CONTROL_TICK_NS;
	for (b.sample.current_bytes = low; now_ns + CONTROL_TICK_NS < until_ns;) {
		plan();
		ck_assert_uint_eq(b.low_bytes, low);
		b.sample.current_bytes += M; /* slowly */
	}
	low = b.sample.current_bytes -= 10 * M;
	plan();
	ck_assert_uint_eq(b.low_bytes, SHARE);
}
END_TEST

START_TEST(fairness_bounds_the_tax)
{
	group.fairness_permille = 600;
	settle();
	for (int i = 0; i < 20; i++) {
		tax();
		ck_assert_uint_ge(b.low_bytes, 300 * M);
	}
	ck_assert_uint_eq(b.low_bytes / M, 300);
}
END_TEST

START_TEST(guarantee_is_never_taxed)
{
	b.min_bytes = 400 * M;
	settle();
	for (int i = 0; i < 20; i++)
		tax();
	ck_assert_uint_eq(b.low_bytes, 400 * M);
	ck_assert_uint_eq(a.low_bytes, 600 * M);
}
END_TEST

/* Who lent what it did not use begins to work: it has it back before it lacks anything. */
START_TEST(slot_that_fills_its_share_is_not_taxed)
{
	uint64_t before;

	settle();
	for (int i = 0; i < 12; i++)
		tax();
	before = b.sample.current_bytes / 8 * 8;
	b.sample.current_bytes = before;
	plan();
	b.sample.current_bytes += before / 7 + (_i ? 2 * CONTROL_PAGE : 0);
	count_need(&a);
	plan();
	ck_assert_int_eq(b.track.class, CONTROL_QUIET);
	ck_assert_uint_eq(control_is_filling(&b), _i);
	if (_i)
		ck_assert_uint_eq(b.low_bytes, SHARE);
	else
		ck_assert_uint_lt(b.low_bytes, SHARE / 2);
	b.sample.current_bytes = SHARE; /* that was all: now it is like others */
	plan();
	ck_assert(!control_is_filling(&b));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control_tax");
	TCase *tcase = tcase_create("core");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, evidence_gets_what_the_tax_frees);
	tcase_add_test(tcase, tax_waits_until_what_is_exposed_is_taken);
	tcase_add_test(tcase, nobody_is_taxed_while_memory_is_free);
	tcase_add_test(tcase, evidence_of_a_taxed_slot_restores_its_share_at_once);
	tcase_add_loop_test(tcase, what_comes_back_is_a_floor_however_long_it_takes, 0, 2);
	tcase_add_loop_test(tcase, tax_goes_on_at_once_if_little_or_nothing_is_regained, 0, 2);
	tcase_add_test(tcase, floor_that_is_proven_again_holds_longer);
	tcase_add_test(tcase, floor_that_is_not_needed_any_more_is_forgotten);
	tcase_add_loop_test(tcase, floor_of_another_phase_is_forgotten, 0, 2);
	tcase_add_test(tcase, shares_come_back_half_a_minute_after_the_last_evidence);
	tcase_add_loop_test(tcase, who_lent_has_his_share_as_soon_as_he_needs_it, 0, 4);
	tcase_add_test(tcase,
		       who_lent_is_promised_no_more_than_he_uses_until_nobody_has_asked_for_long);
	tcase_add_test(tcase, fairness_bounds_the_tax);
	tcase_add_test(tcase, guarantee_is_never_taxed);
	tcase_add_loop_test(tcase, slot_that_fills_its_share_is_not_taxed, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
