/* SPDX-License-Identifier: Apache-2.0 */

/* How long a thread lets data gather: steps, bounds, and who is not to wait. */

#include <check.h>

#include "base/attr.h"
#include "gather.h"
#include "suite.h"

#define WINDOW (10 * 32768)

/* A turn with @n receives of @length bytes, each of another channel. */
static uint32_t turn(struct gather *g, uint32_t n, uint32_t length)
{
	for (uint32_t i = 0; i < n; i++)
		gather_note(g, length, length, WINDOW);
	return gather_end_turn(g);
}

START_TEST(nothing_and_little_are_not_waited_for)
{
	struct gather g = {};

	ck_assert_uint_eq(gather_end_turn(&g), 0);
	ck_assert_uint_eq(turn(&g, 1, GATHER_BYTES - 1), 0);
	ck_assert_uint_eq(turn(&g, 256, 64), 0);
}
END_TEST

START_TEST(much_raises_it_step_by_step_to_the_most)
{
	struct gather g = {};

	for (uint32_t i = 1; i < 40; i++)
		ck_assert_uint_eq(turn(&g, 2, GATHER_BYTES / 2),
				  MIN(i * GATHER_STEP_US, (uint32_t)GATHER_MAX_US));
}
END_TEST

START_TEST(who_waits_for_the_thread_ends_it_soon)
{
	struct gather g = {};

	while (turn(&g, 20, 4096) < GATHER_MAX_US)
		;
	for (uint32_t wait_us = GATHER_MAX_US; wait_us > 0;) {
		wait_us /= 2;
		gather_hurry(&g);
		ck_assert_uint_eq(turn(&g, 20, 4096), wait_us);
	}
}
END_TEST

START_TEST(a_pause_ends_it_at_once)
{
	struct gather g = {};

	while (turn(&g, 20, 4096) < GATHER_MAX_US)
		;
	ck_assert_uint_eq(turn(&g, 1, 4096), 0);
	ck_assert_uint_eq(turn(&g, 20, 4096), GATHER_STEP_US);
}
END_TEST

START_TEST(a_channel_that_had_nearly_all_of_its_window_halves_it)
{
	struct gather g = {};

	while (turn(&g, 20, 4096) < GATHER_MAX_US)
		;
	gather_note(&g, GATHER_BYTES, WINDOW / 8 * 7 - 1, WINDOW);
	ck_assert_uint_eq(gather_end_turn(&g), GATHER_MAX_US);
	/* the others of that turn do not matter */
	gather_note(&g, GATHER_BYTES, WINDOW / 8 * 7, WINDOW);
	ck_assert_uint_eq(turn(&g, 20, 4096), GATHER_MAX_US / 2);
	for (int i = 0; i < 10; i++) {
		gather_note(&g, GATHER_BYTES, WINDOW, WINDOW);
		(void)gather_end_turn(&g);
	}
	ck_assert_uint_eq(g.wait_us, 0);
}
END_TEST

/* One sender: what comes in a turn is its rate times the wait and the work. */
START_TEST(a_single_stream_does_not_wait_for_its_window)
{
	for (uint64_t rate = 1000; rate <= 8000; rate *= 2) { /* bytes a microsecond */
		struct gather g = {};
		uint64_t sum = 0;

		for (int i = 0; i < 1000; i++) {
			uint64_t bytes = rate * (10 + g.wait_us);

			bytes = MIN(bytes, (uint64_t)WINDOW);
			gather_note(&g, (uint32_t)bytes, bytes, WINDOW);
			(void)gather_end_turn(&g);
			sum += i < 500 ? 0 : bytes;
		}
		ck_assert_uint_lt(sum / 500, WINDOW * 7 / 8);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gather");
	TCase *tc = tcase_create("gather");

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, nothing_and_little_are_not_waited_for);
	tcase_add_test(tc, much_raises_it_step_by_step_to_the_most);
	tcase_add_test(tc, who_waits_for_the_thread_ends_it_soon);
	tcase_add_test(tc, a_pause_ends_it_at_once);
	tcase_add_test(tc, a_channel_that_had_nearly_all_of_its_window_halves_it);
	tcase_add_test(tc, a_single_stream_does_not_wait_for_its_window);
	return suite_run(suite);
}
