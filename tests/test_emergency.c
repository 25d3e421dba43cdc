/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Single decisions of the ladder; tests/test_emergency_model.c lets it meet machines.
 */

#include "policy/emergency.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)
#define SLOTS 4

static struct emergency e;
static struct emergency_input in;
static struct emergency_slot slots[SLOTS];
static struct emergency_mark marks[SLOTS];

/* Three slots of 120M share in 400M, 8M reserve, no swap: 20M are left. Slot 0 leaks 8M a second,
 * slot 1 works within its share, slot 2 is at its share. */
static void setup(void)
{
	e = (struct emergency){};
	for (int i = 0; i < SLOTS; i++) {
		static const char *const names[] = { "leaker", "worker", "third", "fourth" };

		marks[i] = (struct emergency_mark){};
		slots[i] = (struct emergency_slot){
			.name = names[i],
			.tier = 1,
			.weight = 100,
			.share_bytes = 120 * M,
			.is_running = true,
			.mark = &marks[i],
		};
	}
	slots[0].usage_bytes = 180 * M;
	slots[0].growth = 8 * (int64_t)M;
	slots[0].is_leaking = true;
	slots[0].leak_rate = 8 * M;
	slots[0].leak_age_ns = 45 * S;
	slots[1].usage_bytes = 100 * M;
	slots[2].usage_bytes = 100 * M;
	in = (struct emergency_input){
		.now_ns = 1000 * S,
		.usage_bytes = 380 * M,
		.max_bytes = 400 * M,
		.reserve_bytes = 8 * M,
		.available_bytes = 600 * M,
		.total_bytes = 1500 * M,
		.slots = slots,
		.n_slots = 3,
	};
}

static struct emergency_action step(uint64_t after_ms)
{
	struct emergency_action a;

	in.now_ns += after_ms * MS;
	a = emergency_step(&e, &in);
	in.has_oom = in.has_kernel_kill = in.has_reclaim_ended = false;
	if (a.verb == EMERGENCY_LEND_RESERVE)
		in.max_bytes += a.bytes;
	if (a.verb == EMERGENCY_RETURN_RESERVE)
		in.max_bytes -= a.bytes;
	return a;
}

/* Steps 4 times a second until something is to be done; EMERGENCY_NOTHING after @limit_ms. */
static struct emergency_action await(uint64_t limit_ms)
{
	for (uint64_t ms = 0; ms <= limit_ms; ms += 250) {
		struct emergency_action a = step(ms == 0 ? 0 : 250);

		if (a.verb != EMERGENCY_NOTHING)
			return a;
	}
	return (struct emergency_action){ .verb = EMERGENCY_NOTHING };
}

START_TEST(a_full_group_with_swap_or_page_cache_left_is_a_normal_day)
{
	in.usage_bytes = in.max_bytes;
	in.full_permille = 900; /* all are hungry, and stall */
	in.has_hit_max = true;
	slots[0].is_leaking = false;
	slots[0].growth = 0;
	in.swap_free_bytes = 200 * M;
	ck_assert_int_eq(await(60000).verb, EMERGENCY_NOTHING);
	in.swap_free_bytes = 0;
	slots[0].file_bytes = 100 * M;
	ck_assert_int_eq(await(60000).verb, EMERGENCY_NOTHING);
	ck_assert(!e.is_on);
}
END_TEST

START_TEST(a_group_that_is_full_but_at_rest_is_left_alone)
{
	slots[0].growth = 0;
	slots[0].is_leaking = false;
	in.usage_bytes = 399 * M;
	ck_assert_int_eq(await(60000).verb, EMERGENCY_NOTHING);
}
END_TEST

START_TEST(growth_far_from_the_limit_is_left_alone)
{
	in.usage_bytes = 250 * M;
	slots[0].growth = 60 * (int64_t)M;
	ck_assert_int_eq(await(60000).verb, EMERGENCY_NOTHING);
	ck_assert_int_eq(step(250).wake_ns, 0); /* 150M last 2.5 s, but that is more than a third */
	in.usage_bytes = 300 * M;
	slots[0].growth = 8 * (int64_t)M;
	ck_assert_uint_eq(step(250).wake_ns, in.now_ns + 250 * MS);
}
END_TEST

START_TEST(the_ladder_goes_one_step_at_a_time)
{
	struct emergency_action a = await(1500);
	uint64_t begin = in.now_ns;

	ck_assert_int_eq(a.verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(e.cause, EMERGENCY_RUNNING_OUT);
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_LEND_RESERVE);
	ck_assert_uint_eq(a.bytes, 8 * M);
	a = await(1000);
	ck_assert_int_eq(a.verb, EMERGENCY_UNPROTECT);
	ck_assert_uint_eq(a.slot, 0);
	/* nothing of it can be reclaimed: no swap */
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_FREEZE);
	ck_assert_uint_eq(a.slot, 0);
	ck_assert_uint_le(a.thaw_ns, in.now_ns + EMERGENCY_FREEZE_MAX_NS);
	in.usage_bytes = 396 * M;
	a = await(3000);
	ck_assert_int_eq(a.verb, EMERGENCY_THAW);
	ck_assert_uint_eq(a.slot, 0);
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_KILL);
	ck_assert_uint_eq(a.slot, 0);
	ck_assert_uint_ge(in.now_ns - begin, 1500 * MS);

	/* it is gone: calm for 10 s gives protection back, 10 more the reserve */
	slots[0].usage_bytes = 0;
	slots[0].growth = 0;
	slots[0].is_leaking = slots[0].is_running = false;
	in.usage_bytes = 200 * M;
	begin = in.now_ns;
	a = await(60000);
	ck_assert_int_eq(a.verb, EMERGENCY_PROTECT); /* no leak any more */
	a = await(60000);
	ck_assert_int_eq(a.verb, EMERGENCY_RETURN_RESERVE);
	ck_assert_uint_ge(in.now_ns - begin, 20 * S);
	ck_assert_int_eq(step(0).verb, EMERGENCY_END);
	ck_assert_int_eq(await(60000).verb, EMERGENCY_NOTHING);
	ck_assert(!e.is_on);
}
END_TEST

START_TEST(a_reserve_the_node_has_not_got_is_not_lent)
{
	in.available_bytes = 40 * M; /* 1 % of the node, 16M and twice the reserve are 47M */
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
	setup();
	in.reserve_bytes = 0;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
}
END_TEST

START_TEST(a_node_short_of_memory_takes_from_the_idle_and_kills_nobody)
{
	slots[0].growth = 0;
	in.usage_bytes = 380 * M;
	in.available_bytes = 20 * M;
	slots[2].is_idle = true;
	slots[0].is_leaking = false;
	in.swap_free_bytes = 100 * M;
	slots[2].reclaimable_bytes = 100 * M;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(e.cause, EMERGENCY_HOST);
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
	for (int i = 0; i < 200; i++) {
		struct emergency_action a = step(250);

		ck_assert_int_ne(a.verb, EMERGENCY_KILL);
		ck_assert_int_ne(a.verb, EMERGENCY_FREEZE);
	}
}
END_TEST

START_TEST(chunks_are_small_one_at_a_time_and_end_at_the_guarantee)
{
	struct emergency_action a;

	slots[2].is_idle = true;
	slots[2].guarantee_bytes = 60 * M;
	slots[2].reclaimable_bytes = slots[2].file_bytes = 100 * M;
	slots[0].is_leaking = false;
	slots[0].growth = 12 * (int64_t)M;
	in.usage_bytes = 399 * M;
	slots[2].file_bytes = 30 * M;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(step(0).verb, EMERGENCY_LEND_RESERVE);
	a = await(1000);
	ck_assert_int_eq(a.verb, EMERGENCY_UNPROTECT);
	ck_assert_uint_eq(a.slot, 2);
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_RECLAIM);
	ck_assert_uint_eq(a.slot, 2);
	ck_assert_uint_eq(a.bytes, 32 * M);
	slots[0].growth = 0; /* no need to go on to the next step in this test */
	ck_assert_int_eq(await(2000).verb, EMERGENCY_NOTHING);

	slots[0].growth = 12 * (int64_t)M;
	in.has_reclaim_ended = true;
	in.reclaimed_bytes = 32 * M;
	slots[2].usage_bytes = 68 * M;
	in.usage_bytes = 395 * M;
	a = step(250);
	ck_assert_int_eq(a.verb, EMERGENCY_RECLAIM);
	ck_assert_uint_eq(a.bytes, 8 * M);
	in.has_reclaim_ended = true; /* nothing came: not this one again for a while */
	in.reclaimed_bytes = 0;
	slots[0].growth = 5 * (int64_t)M;
	a = await(3000);
	ck_assert_int_ne(a.verb, EMERGENCY_RECLAIM);
}
END_TEST

START_TEST(lower_tiers_give_only_when_nobody_leaks)
{
	slots[2].tier = 2;
	slots[2].reclaimable_bytes = slots[2].file_bytes = 10 * M;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(step(0).verb, EMERGENCY_LEND_RESERVE);
	for (int i = 0; i < 8; i++) {
		struct emergency_action a = step(250);

		ck_assert(a.verb != EMERGENCY_UNPROTECT || a.slot == 0);
		ck_assert_int_ne(a.verb, EMERGENCY_RECLAIM);
	}
	setup();
	slots[0].is_leaking = false;
	slots[2].tier = 2;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(step(0).verb, EMERGENCY_LEND_RESERVE);
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
	ck_assert(marks[2].is_unprotected && !marks[0].is_unprotected && !marks[1].is_unprotected);
}
END_TEST

/* At the wall, nothing left, limit hit, all stall. */
static void at_the_wall(void)
{
	setup();
	in.reserve_bytes = 0;
	in.usage_bytes = 399 * M;
	in.has_hit_max = true;
	in.full_permille = 500;
	slots[0].growth = 0;
	for (int i = 0; i < SLOTS; i++)
		marks[i].is_unprotected = true;
}

/* Who is killed first within @ms; -1: nobody. Freezes are followed through. */
static int killed(uint64_t ms)
{
	for (; ms >= 250; ms -= 250) {
		struct emergency_action a = step(250);

		if (a.verb == EMERGENCY_KILL)
			return (int)a.slot;
	}
	return -1;
}

START_TEST(a_kill_takes_the_wall_for_five_seconds)
{
	at_the_wall();
	ck_assert_int_eq(killed(4750), -1);
	ck_assert_int_eq(killed(3000), 0);
	/* not without the limit being hit, nor without stalls */
	at_the_wall();
	in.has_hit_max = false;
	ck_assert_int_eq(killed(60000), -1);
	at_the_wall();
	in.full_permille = 150;
	ck_assert_int_eq(killed(60000), -1);
}
END_TEST

START_TEST(a_wall_with_a_gap_in_it_is_none)
{
	at_the_wall();
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(killed(4000), -1);
		in.full_permille = 0;
		ck_assert_int_eq(killed(500), -1);
		in.full_permille = 500;
	}
}
END_TEST

START_TEST(one_kill_in_fifteen_seconds)
{
	uint64_t first;

	at_the_wall();
	slots[1].is_leaking = true;
	slots[1].usage_bytes = 150 * M;
	ck_assert_int_eq(killed(10000), 0);
	first = in.now_ns;
	slots[0].is_running = false;
	ck_assert_int_eq(killed(14750), -1);
	ck_assert_int_eq(killed(3000), 1);
	ck_assert_uint_ge(in.now_ns - first, EMERGENCY_KILL_DELAY_NS);
}
END_TEST

START_TEST(a_kill_by_the_kernel_counts_as_one)
{
	at_the_wall();
	in.has_kernel_kill = in.has_oom = true;
	ck_assert_int_eq(step(250).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(e.cause, EMERGENCY_OOM);
	ck_assert_int_eq(killed(14500), -1);
	ck_assert_int_eq(killed(3000), 0);
}
END_TEST

START_TEST(nobody_above_its_share_nobody_killed)
{
	at_the_wall();
	slots[0].is_leaking = false;
	slots[0].usage_bytes = 121 * M; /* within the slack */
	ck_assert_int_eq(killed(60000), -1);
	slots[0].usage_bytes = 180 * M; /* what it has above its share is page cache */
	slots[0].reclaimable_bytes = 70 * M;
	ck_assert_int_eq(killed(60000), -1);
}
END_TEST

START_TEST(nobody_at_its_guarantee_is_killed_or_frozen_leaking_or_not)
{
	at_the_wall();
	slots[0].guarantee_bytes = slots[0].usage_bytes;
	slots[0].swap_bytes = 300 * M;
	for (int i = 0; i < 240; i++) {
		enum emergency_verb verb = step(250).verb;

		ck_assert(verb != EMERGENCY_KILL && verb != EMERGENCY_FREEZE);
	}
}
END_TEST

START_TEST(an_empty_slot_is_not_killed)
{
	at_the_wall();
	slots[0].is_running = false;
	ck_assert_int_eq(killed(60000), -1);
}
END_TEST

START_TEST(kills_go_by_tier_then_leak_then_overage_by_weight)
{
	in.n_slots = 4;
	at_the_wall();
	in.n_slots = 4;
	slots[0].is_leaking = false;
	slots[1].usage_bytes = 150 * M;
	slots[2].usage_bytes = 170 * M;
	slots[3].usage_bytes = 130 * M;
	ck_assert_int_eq(killed(10000), 0); /* 60M above */
	at_the_wall();
	slots[0].is_leaking = false;
	slots[0].weight = 300;
	slots[1].usage_bytes = 150 * M; /* 30M above at a third of the weight is more */
	ck_assert_int_eq(killed(10000), 1);
	at_the_wall();
	slots[1].usage_bytes = 390 * M;
	ck_assert_int_eq(killed(10000), 0); /* the leaker, though another is far higher */
	at_the_wall();
	slots[1].usage_bytes = 150 * M;
	slots[1].tier = 2;
	ck_assert_int_eq(killed(10000), 1); /* the lower tier, though the other leaks */
}
END_TEST

START_TEST(a_leaker_that_was_swapped_out_below_its_share_is_still_the_one)
{
	at_the_wall();
	slots[0].usage_bytes = 110 * M;
	slots[0].swap_bytes = 60 * M;
	slots[2].usage_bytes = 119 * M;
	ck_assert_int_eq(killed(10000), 0);
}
END_TEST

START_TEST(stalls_alone_kill_a_leaker_after_ten_seconds_and_nobody_else)
{
	at_the_wall();
	in.full_permille = 700;
	in.swap_free_bytes = 300 * M;
	ck_assert_int_eq(killed(9000), -1);
	ck_assert_int_eq(killed(4000), 0);
	at_the_wall();
	in.full_permille = 1000;
	in.swap_free_bytes = 300 * M;
	slots[0].is_leaking = false;
	ck_assert_int_eq(killed(120000), -1);
}
END_TEST

START_TEST(the_worst_leaker_of_the_lowest_tier_is_frozen)
{
	at_the_wall();
	slots[1].is_leaking = slots[2].is_leaking = true;
	slots[1].usage_bytes = slots[2].usage_bytes = 150 * M;
	slots[1].tier = slots[2].tier = 3;
	slots[1].leak_rate = 2 * M;
	slots[2].leak_rate = 3 * M;
	for (;;) {
		struct emergency_action a = await(5000);

		ck_assert_int_ne(a.verb, EMERGENCY_NOTHING);
		if (a.verb != EMERGENCY_FREEZE)
			continue;
		ck_assert_uint_eq(a.slot, 2);
		break;
	}
}
END_TEST

START_TEST(a_thaw_comes_whatever_else_happens)
{
	marks[1].is_frozen = true; /* as of an earlier step */
	marks[1].thaw_ns = in.now_ns + 700 * MS;
	in.usage_bytes = 10 * M;
	slots[0].growth = 0;
	ck_assert_uint_le(emergency_step(&e, &in).wake_ns, in.now_ns + 250 * MS);
	in.now_ns += 600 * MS;
	ck_assert_uint_eq(emergency_step(&e, &in).wake_ns, marks[1].thaw_ns);
	in.now_ns += 100 * MS;
	in.max_bytes = BYTES_UNLIMITED;
	ck_assert_int_eq(emergency_step(&e, &in).verb, EMERGENCY_THAW);
	ck_assert_int_eq(emergency_step(&e, &in).verb, EMERGENCY_NOTHING);
}
END_TEST

START_TEST(small_idle_slots_are_left_in_peace)
{
	slots[2].is_idle = true;
	slots[0].is_leaking = false;
	slots[2].usage_bytes = 2 * M - 1; /* 1/200 of 400M */
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(step(0).verb, EMERGENCY_LEND_RESERVE);
	for (int i = 0; i < 8; i++)
		ck_assert_int_ne(step(250).verb, EMERGENCY_UNPROTECT);
	slots[2].usage_bytes = 2 * M + 2 * M;
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
}
END_TEST

START_TEST(an_idle_slot_that_wakes_up_is_protected_again)
{
	slots[2].is_idle = true;
	slots[0].is_leaking = false;
	ck_assert_int_eq(await(1500).verb, EMERGENCY_BEGIN);
	ck_assert_int_eq(step(0).verb, EMERGENCY_LEND_RESERVE);
	ck_assert_int_eq(await(1000).verb, EMERGENCY_UNPROTECT);
	slots[2].is_idle = false;
	ck_assert_int_eq(await(1000).verb, EMERGENCY_PROTECT);
	ck_assert(!marks[2].is_unprotected);
}
END_TEST

START_TEST(words_say_why_this_one_what_was_tried_and_what_to_change)
{
	char buf[EMERGENCY_WORDS_MAX];
	struct emergency_action a = await(1500);

	emergency_words(&e, &in, &a, "node 0", false, buf);
	ck_assert_str_eq(buf, "emergency on node 0: memory runs out: 380M of 400M are in use, 20M "
			      "are left with swap and page cache for 2.5s");
	a = step(0);
	emergency_words(&e, &in, &a, "node 0", false, buf);
	ck_assert_ptr_nonnull(strstr(buf, "lent 8M of reserve to the slots of node 0: "));
	a = await(1000);
	emergency_words(&e, &in, &a, "node 0", false, buf);
	ck_assert_ptr_nonnull(strstr(buf, "slot leaker loses its protection for now: it has grown "
					  "8M a second for 45 s without using it again"));
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_FREEZE);
	emergency_words(&e, &in, &a, "node 0", false, buf);
	ck_assert_ptr_nonnull(strstr(buf, "protection taken from 1 slot; find the leak"));
	in.usage_bytes = 396 * M;
	ck_assert_int_eq(await(3000).verb, EMERGENCY_THAW);
	a = step(0);
	ck_assert_int_eq(a.verb, EMERGENCY_KILL);
	emergency_words(&e, &in, &a, "node 0", false, buf);
	ck_assert_str_eq(buf,
			 "slot leaker is killed: it has grown 8M a second for 45 s without using "
			 "it again, has 180M with swap, 60M above its share, no other slot is "
			 "above its share; on node 0 396M of 408M are in use, 12M are left with "
			 "swap and page cache for 1.5s; before: 8M of reserve lent, protection "
			 "taken from 1 slot, 1 freeze; find the leak, or give leaker a max so "
			 "that only it suffers");
	emergency_words(&e, &in, &a, "node 0", true, buf);
	ck_assert_ptr_nonnull(strstr(buf, "slot leaker would be killed"));
	emergency_summary(&e, in.now_ns, buf, sizeof(buf));
	ck_assert_ptr_nonnull(strstr(buf, "1 frozen and 1 killed so far"));
	e.is_on = false;
	ck_assert_str_eq(emergency_summary(&e, in.now_ns, buf, sizeof(buf)), "");
}
END_TEST

START_TEST(the_longest_words_fit)
{
	static char name[SLOT_NAME_MAX + 1];
	struct emergency_action a = { .verb = EMERGENCY_KILL };
	char buf[EMERGENCY_WORDS_MAX];

	memset(name, 'x', SLOT_NAME_MAX);
	slots[0].name = name;
	slots[1].usage_bytes = 500 * M;
	slots[0].usage_bytes = in.usage_bytes = in.max_bytes = 1000000 * 1023 * M - 1;
	slots[0].leak_rate = 1023 * M - 1;
	slots[0].leak_age_ns = UINT64_MAX;
	in.full_permille = 1000;
	e.left_bytes = e.lent_bytes = e.reclaimed_bytes = 1023 * 1023 * M - 1;
	e.left_ns = 3599 * S;
	e.n_unprotected = e.n_freezes = UINT32_MAX;
	emergency_words(&e, &in, &a, "the slots without a node", false, buf);
	ck_assert_ptr_nonnull(strstr(buf, "so that only it suffers"));
	slots[0].is_leaking = false;
	emergency_words(&e, &in, &a, "the slots without a node", true, buf);
	ck_assert_ptr_nonnull(strstr(buf, "run less on it"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emergency");
	TCase *c = tcase_create("emergency");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, a_full_group_with_swap_or_page_cache_left_is_a_normal_day);
	tcase_add_test(c, a_group_that_is_full_but_at_rest_is_left_alone);
	tcase_add_test(c, growth_far_from_the_limit_is_left_alone);
	tcase_add_test(c, the_ladder_goes_one_step_at_a_time);
	tcase_add_test(c, a_reserve_the_node_has_not_got_is_not_lent);
	tcase_add_test(c, a_node_short_of_memory_takes_from_the_idle_and_kills_nobody);
	tcase_add_test(c, chunks_are_small_one_at_a_time_and_end_at_the_guarantee);
	tcase_add_test(c, lower_tiers_give_only_when_nobody_leaks);
	tcase_add_test(c, a_kill_takes_the_wall_for_five_seconds);
	tcase_add_test(c, a_wall_with_a_gap_in_it_is_none);
	tcase_add_test(c, one_kill_in_fifteen_seconds);
	tcase_add_test(c, a_kill_by_the_kernel_counts_as_one);
	tcase_add_test(c, nobody_above_its_share_nobody_killed);
	tcase_add_test(c, nobody_at_its_guarantee_is_killed_or_frozen_leaking_or_not);
	tcase_add_test(c, an_empty_slot_is_not_killed);
	tcase_add_test(c, kills_go_by_tier_then_leak_then_overage_by_weight);
	tcase_add_test(c, a_leaker_that_was_swapped_out_below_its_share_is_still_the_one);
	tcase_add_test(c, stalls_alone_kill_a_leaker_after_ten_seconds_and_nobody_else);
	tcase_add_test(c, the_worst_leaker_of_the_lowest_tier_is_frozen);
	tcase_add_test(c, a_thaw_comes_whatever_else_happens);
	tcase_add_test(c, small_idle_slots_are_left_in_peace);
	tcase_add_test(c, an_idle_slot_that_wakes_up_is_protected_again);
	tcase_add_test(c, words_say_why_this_one_what_was_tried_and_what_to_change);
	tcase_add_test(c, the_longest_words_fit);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
