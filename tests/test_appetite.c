/* SPDX-License-Identifier: Apache-2.0 */

/* Needs of tasks by their load, and pages that follow: tables, and a model of several slots. */

#include "policy/appetite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "policy/entitle.h"
#include "suite.h"

static uint32_t after(struct appetite *a, uint32_t n, uint32_t used, bool is_hungry)
{
	struct appetite_sample sample = { .used_chunks = used, .is_hungry = is_hungry };

	for (uint32_t i = 0; i < n; i++)
		(void)appetite_observe(a, &sample);
	return a->need_chunks;
}

START_TEST(a_new_task_needs_all_and_then_what_it_uses_and_a_quarter)
{
	struct appetite a;

	appetite_init(&a);
	ck_assert_uint_eq(a.need_chunks, APPETITE_ALL);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN - 1, 40, false), APPETITE_ALL);
	ck_assert_uint_eq(after(&a, 1, 40, false), 50);
	appetite_init(&a);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN, 0, false), 1);
	appetite_init(&a);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN, UINT32_MAX, false), APPETITE_ALL - 1);
}
END_TEST

START_TEST(a_peak_within_the_window_counts)
{
	struct appetite a;

	appetite_init(&a);
	after(&a, 1, 100, false);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN - 1, 10, false), 125);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN, 10, false), 12);
	/* more use is more need at once */
	ck_assert_uint_eq(after(&a, 1, 60, false), 75);
}
END_TEST

START_TEST(a_little_less_changes_nothing)
{
	struct appetite a;

	appetite_init(&a);
	ck_assert_uint_eq(after(&a, APPETITE_CALM_MIN, 80, false), 100);
	ck_assert_uint_eq(after(&a, 1000, 72, false), 100); /* 90 would do */
	ck_assert_uint_eq(after(&a, APPETITE_WINDOW + APPETITE_CALM_MIN, 60, false), 75);
}
END_TEST

START_TEST(hunger_is_believed_at_once_and_calm_later_each_time)
{
	struct appetite a;
	uint32_t n, expected = APPETITE_CALM_MIN;

	appetite_init(&a);
	for (int i = 0; i < 8; i++) {
		for (n = 1; after(&a, 1, 4, false) == APPETITE_ALL; n++)
			;
		ck_assert_uint_eq(n, expected);
		expected = MIN(expected * 2, (uint32_t)APPETITE_CALM_MAX);
		ck_assert_uint_eq(after(&a, 1, 4, true), APPETITE_ALL);
	}
	/* and sooner again after a long time without hunger */
	after(&a, 20 * APPETITE_REST, 4, false);
	ck_assert_uint_eq(a.calm_needed, APPETITE_CALM_MIN);
}
END_TEST

/* ---- slots that share a node */

#define SLOTS 6

struct task {
	struct appetite appetite;
	uint32_t load; /* chunks it would use now */
};

static struct slot_policy policies[SLOTS];
static struct entitle_slot slots[SLOTS];
static struct task tasks[SLOTS];
static uint32_t n_slots, n_moves;
static uint64_t total;

static void divide(void)
{
	struct node_info node = { .total_bytes = 1 << 20, .hugepages = total };
	struct entitle_node on;
	struct entitle_any any;
	uint64_t before[SLOTS], sum = 0;

	for (uint32_t i = 0; i < n_slots; i++) {
		before[i] = slots[i].pool_share_chunks;
		slots[i].policy = &policies[i];
		slots[i].pool_need_chunks = tasks[i].appetite.need_chunks == APPETITE_ALL
						    ? 0
						    : tasks[i].appetite.need_chunks;
	}
	ck_assert_int_eq(entitle(&node, 1, slots, n_slots, &on, &any), ENTITLE_OK);
	for (uint32_t i = 0; i < n_slots; i++) {
		uint64_t share = slots[i].pool_share_chunks;

		n_moves += share != before[i];
		sum += share;
		ck_assert_uint_ge(share, policies[i].pool_min_bytes / CHUNK_BYTES);
		ck_assert_uint_le(share, policies[i].pool_max_bytes / CHUNK_BYTES);
	}
	ck_assert_uint_le(sum, total);
}

/* As the manager does: needs follow, but pages move only when somebody is short. */
static void step(void)
{
	bool is_short = false, is_new = false;

	for (uint32_t i = 0; i < n_slots; i++) {
		uint64_t share = slots[i].pool_share_chunks;
		struct appetite_sample sample = {
			.used_chunks = (uint32_t)MIN((uint64_t)tasks[i].load, share),
			.is_hungry = tasks[i].load > share &&
				     share < policies[i].pool_max_bytes / CHUNK_BYTES,
		};

		is_new |= appetite_observe(&tasks[i].appetite, &sample);
		is_short |= sample.is_hungry;
	}
	if (is_short && is_new)
		divide();
}

static void add(uint32_t min, uint32_t max, uint32_t weight, uint32_t tier)
{
	struct slot_policy *p = &policies[n_slots];

	*p = (struct slot_policy){ .node = 0,
				   .weight = weight,
				   .tier = tier,
				   .max_bytes = BYTES_UNLIMITED,
				   .pool_min_bytes = min * CHUNK_BYTES,
				   .pool_max_bytes = max * CHUNK_BYTES };
	(void)snprintf(p->name, sizeof(p->name), "s%u", n_slots);
	slots[n_slots] = (struct entitle_slot){};
	appetite_init(&tasks[n_slots].appetite);
	tasks[n_slots++].load = 0;
}

static void begin(uint64_t pages)
{
	n_slots = n_moves = 0;
	total = pages;
}

static void run(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		step();
}

START_TEST(idle_pages_go_to_who_waits_and_come_back_on_need)
{
	begin(100);
	add(10, 100, 100, 1);
	add(10, 100, 100, 1);
	divide();
	ck_assert_uint_eq(slots[0].pool_share_chunks, 50);
	tasks[0].load = 16;
	tasks[1].load = 90;
	run(APPETITE_CALM_MIN + 1);
	ck_assert_uint_eq(slots[0].pool_share_chunks, 20);
	ck_assert_uint_eq(slots[1].pool_share_chunks, 80);
	/* the other one wants its part again: by weight, at once */
	tasks[0].load = 100;
	run(1);
	ck_assert_uint_eq(slots[0].pool_share_chunks, 50);
	ck_assert_uint_eq(slots[1].pool_share_chunks, 50);
}
END_TEST

START_TEST(a_guarantee_is_kept_even_if_it_is_idle)
{
	begin(100);
	add(40, 100, 100, 1);
	add(0, 100, 1000, 0);
	divide();
	tasks[1].load = 100;
	run(100);
	ck_assert_uint_eq(slots[0].pool_share_chunks, 40);
	ck_assert_uint_eq(slots[1].pool_share_chunks, 60);
}
END_TEST

START_TEST(an_early_tier_lends_what_it_does_not_use)
{
	begin(100);
	add(0, 100, 100, 0);
	add(0, 100, 100, 1);
	divide();
	ck_assert_uint_eq(slots[1].pool_share_chunks, 0);
	tasks[0].load = 40;
	tasks[1].load = 30;
	run(APPETITE_CALM_MIN + 1);
	ck_assert_uint_eq(slots[0].pool_share_chunks, 50);
	ck_assert_uint_eq(slots[1].pool_share_chunks, 50);
	tasks[0].load = 100;
	run(1);
	ck_assert_uint_eq(slots[0].pool_share_chunks, 100);
}
END_TEST

START_TEST(without_anybody_short_nothing_moves)
{
	begin(100);
	add(0, 100, 100, 1);
	add(0, 100, 300, 1);
	divide();
	n_moves = 0;
	for (uint32_t i = 0; i < 10000; i++) {
		tasks[0].load = (uint32_t)random() % 26;
		tasks[1].load = (uint32_t)random() % 76;
		step();
	}
	ck_assert_uint_eq(n_moves, 0);
}
END_TEST

/* Whatever constant loads there are: shares come to rest, and nobody is short while another one
 * has far more than it uses. */
START_TEST(constant_loads_come_to_rest)
{
	srandom(7);
	for (int round = 0; round < 3000; round++) {
		uint32_t n = 2 + (uint32_t)random() % (SLOTS - 1);

		begin(20 + (uint64_t)random() % 200);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t min = (uint32_t)random() % (uint32_t)(total / n);

			add(min, min + 1 + (uint32_t)random() % 100, 1 + (uint32_t)random() % 400,
			    (uint32_t)random() % TIERS);
			tasks[i].load = (uint32_t)random() % 120;
		}
		divide();
		run(200);
		n_moves = 0;
		run(1000);
		ck_assert_msg(n_moves == 0, "round %d: %u moves at rest", round, n_moves);
		for (uint32_t i = 0; i < n; i++) {
			if (tasks[i].load <= slots[i].pool_share_chunks ||
			    slots[i].pool_share_chunks == policies[i].pool_max_bytes / CHUNK_BYTES)
				continue;
			for (uint32_t k = 0; k < n; k++)
				ck_assert_uint_le(slots[k].pool_share_chunks,
						  MAX(policies[k].pool_min_bytes / CHUNK_BYTES,
						      tasks[k].load + MAX(tasks[k].load / 2, 2U)));
		}
	}
}
END_TEST

/* Two that take turns: each gets what it needs, and pages are moved ever more seldom. */
START_TEST(loads_in_turn_do_not_make_shares_swing)
{
	uint32_t moves[4] = {};

	begin(100);
	add(0, 100, 100, 1);
	add(0, 100, 100, 1);
	divide();
	for (int quarter = 0; quarter < 4; quarter++) {
		n_moves = 0;
		for (int turn = 0; turn < 50; turn++) {
			tasks[0].load = turn % 2 ? 70 : 10;
			tasks[1].load = turn % 2 ? 10 : 70;
			run(24); /* 12 s */
		}
		moves[quarter] = n_moves;
	}
	ck_assert_uint_gt(moves[0], 0);
	ck_assert_uint_le(moves[0], 50);
	ck_assert_uint_eq(moves[3], 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("appetite");
	TCase *one = tcase_create("one task"), *several = tcase_create("slots");

	tcase_add_test(one, a_new_task_needs_all_and_then_what_it_uses_and_a_quarter);
	tcase_add_test(one, a_peak_within_the_window_counts);
	tcase_add_test(one, a_little_less_changes_nothing);
	tcase_add_test(one, hunger_is_believed_at_once_and_calm_later_each_time);
	suite_add_tcase(suite, one);
	tcase_set_timeout(several, 60);
	tcase_add_test(several, idle_pages_go_to_who_waits_and_come_back_on_need);
	tcase_add_test(several, a_guarantee_is_kept_even_if_it_is_idle);
	tcase_add_test(several, an_early_tier_lends_what_it_does_not_use);
	tcase_add_test(several, without_anybody_short_nothing_moves);
	tcase_add_test(several, constant_loads_come_to_rest);
	tcase_add_test(several, loads_in_turn_do_not_make_shares_swing);
	suite_add_tcase(suite, several);
	return suite_run(suite);
}
