/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/advice.h"

#include <check.h>

#include "suite.h"

#define S UINT64_C(1000000000)

static struct advice a;
static uint64_t now_ns;
static unsigned n_told;

/* Looks once a second for so long. */
static void look(unsigned seconds, bool is_in_need, int relief)
{
	for (unsigned i = 0; i < seconds; i++) {
		now_ns += S;
		n_told += advice_step(&a, is_in_need, relief, now_ns) == ADVICE_TELL;
	}
}

static void begin(void)
{
	a = (struct advice){};
	now_ns = 1000 * S;
	n_told = 0;
}

START_TEST(half_a_minute_of_need_and_room_elsewhere_is_told_once)
{
	begin();
	look(30, true, 1); /* from the first to the last look are 29 s */
	ck_assert_uint_eq(n_told, 0);
	ck_assert(!a.is_advised && !advice_wants_relief(&a));
	look(1, true, 1);
	ck_assert_uint_eq(n_told, 1);
	ck_assert(a.is_advised);
	ck_assert_int_eq(a.node, 1);
	look(600, true, 1);
	ck_assert_uint_eq(n_told, 1);
	ck_assert(a.is_advised); /* still shown */
	look(400, true, 1);
	ck_assert_uint_eq(n_told, 2); /* a quarter of an hour later */
}
END_TEST

START_TEST(nothing_is_told_without_room_or_without_need)
{
	begin();
	look(300, true, NODE_ANY);
	ck_assert(advice_wants_relief(&a));
	look(300, false, 1);
	ck_assert_uint_eq(n_told, 0);
	ck_assert(!a.is_advised);
}
END_TEST

START_TEST(a_short_respite_does_not_end_it_and_a_longer_one_does)
{
	begin();
	for (int i = 0; i < 10; i++) {
		look(1, true, 1);
		look(4, false, 1);
	}
	ck_assert_uint_eq(n_told, 1);
	begin();
	for (int i = 0; i < 10; i++) {
		look(20, true, 1);
		look(5, false, 1);
	}
	ck_assert_uint_eq(n_told, 0);
}
END_TEST

START_TEST(the_advice_follows_the_room)
{
	begin();
	look(40, true, 1);
	look(1, true, 2);
	ck_assert_int_eq(a.node, 2);
	look(1, true, NODE_ANY);
	ck_assert(!a.is_advised);
	look(1, true, 0);
	ck_assert(a.is_advised);
	ck_assert_int_eq(a.node, 0);
	ck_assert_uint_eq(n_told, 1);
}
END_TEST

START_TEST(a_slot_that_was_moved_is_left_in_peace)
{
	begin();
	advice_note_moved(&a, now_ns);
	look(899, true, 1);
	ck_assert_uint_eq(n_told, 0);
	look(2, true, 1);
	ck_assert_uint_eq(n_told, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("advice");
	TCase *tc = tcase_create("advice");

	tcase_add_test(tc, half_a_minute_of_need_and_room_elsewhere_is_told_once);
	tcase_add_test(tc, nothing_is_told_without_room_or_without_need);
	tcase_add_test(tc, a_short_respite_does_not_end_it_and_a_longer_one_does);
	tcase_add_test(tc, the_advice_follows_the_room);
	tcase_add_test(tc, a_slot_that_was_moved_is_left_in_peace);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
