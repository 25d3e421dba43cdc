/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/booking.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "policy/entitle.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)

static const struct booking_rules rules = { .overcommit_percent = { 100, 120, 120, 120 } };
static struct refusal why;
static struct slot_policy got;

static struct node_info node_of(int number, uint64_t budget, uint64_t reserve)
{
	return (struct node_info){ .node = number,
				   .total_bytes = 2 * budget,
				   .budget_bytes = budget,
				   .reserve_bytes = reserve,
				   .hugepages = 16 };
}

static struct slot_policy slot_of(const char *name, int node, uint32_t tier, uint64_t min,
				  uint64_t grant)
{
	struct slot_policy p = { .node = node,
				 .weight = WEIGHT_DEFAULT,
				 .tier = tier,
				 .min_bytes = min,
				 .max_bytes = BYTES_UNLIMITED,
				 .need_bytes = grant,
				 .grant_bytes = grant };

	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

static struct booking_request request_of(const char *name, int node, uint32_t tier, uint64_t need,
					 uint64_t min_grant)
{
	struct slot_policy p = slot_of(name, node, tier, 0, need);

	return (struct booking_request){ .policy = p, .min_grant_bytes = min_grant };
}

START_TEST(a_slot_books_its_grant_between_min_and_max)
{
	struct slot_policy p = slot_of("a", 0, 1, 0, 0);

	ck_assert_uint_eq(booking_of(&p), 0);
	p.min_bytes = 10 * M;
	ck_assert_uint_eq(booking_of(&p), 10 * M);
	p.need_bytes = p.grant_bytes = 100 * M;
	ck_assert_uint_eq(booking_of(&p), 100 * M);
	p.max_bytes = 50 * M;
	ck_assert_uint_eq(booking_of(&p), 50 * M);
}
END_TEST

START_TEST(needs_fit_up_to_the_overcommit_of_the_tier)
{
	struct node_info node = node_of(0, 1020 * M, 20 * M);
	struct slot_policy slots[] = { slot_of("a", 0, 1, 0, 500 * M),
				       slot_of("b", 0, 1, 300 * M, 0) };
	struct booking_request request = request_of("c", 0, 1, 400 * M, 400 * M);

	ck_assert_int_eq(booking_admit(&node, 1, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 400 * M); /* 500 + 300 + 400 = 1.2 * 1000 */
	request = request_of("c", 0, 1, 400 * M + 1, 400 * M + 1);
	ck_assert_int_eq(booking_admit(&node, 1, slots, 2, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "need");
	ck_assert_uint_eq(why.needed, 1200 * M + 1);
	ck_assert_uint_eq(why.available, 1200 * M);
	ck_assert_ptr_nonnull(
		strstr(why.message, "(overcommit 1.20 for tier 1); 400M is still free"));
	/* tier 0 has no overcommit, but lower tiers count by their guarantees only */
	request = request_of("c", 0, 0, 700 * M, 700 * M);
	ck_assert_int_eq(booking_admit(&node, 1, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
	request = request_of("c", 0, 0, 701 * M, 701 * M);
	ck_assert_int_eq(booking_admit(&node, 1, slots, 2, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_uint_eq(why.available, 1000 * M);
}
END_TEST

START_TEST(less_is_granted_down_to_what_is_enough)
{
	struct node_info node = node_of(0, 1000 * M, 0);
	struct slot_policy slots[] = { slot_of("a", 0, 1, 0, 1000 * M + 512 * 1024) };
	struct booking_request request = request_of("c", 0, 1, 400 * M, 199 * M);

	ck_assert_int_eq(booking_admit(&node, 1, slots, 1, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 199 * M); /* 199.5 are free */
	ck_assert_uint_eq(got.need_bytes, 400 * M);
	request.min_grant_bytes = 200 * M;
	ck_assert_int_eq(booking_admit(&node, 1, slots, 1, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_ptr_nonnull(strstr(why.message, "(min-grant=200M)"));
	request.min_grant_bytes = 0; /* a guess: nothing is fine, too */
	slots[0].grant_bytes = slots[0].need_bytes = 5 * G;
	ck_assert_int_eq(booking_admit(&node, 1, slots, 1, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 0);
}
END_TEST

/* What a name used to need may be more than its tier may book: it waits for what can be had. */
START_TEST(a_guess_beyond_the_machine_is_content_with_all_of_it)
{
	struct node_info nodes[] = { node_of(0, 1000 * M, 0), node_of(1, 500 * M + 4096, 0) };
	struct slot_policy slots[] = { slot_of("a", 0, 0, 0, 300 * M) };
	struct booking_request request = request_of("c", 0, 0, 1150 * M, 1150 * M);

	request.policy.is_need_predicted = true;
	request.min_grant_bytes = booking_attainable(nodes, 2, &rules, &request);
	ck_assert_uint_eq(request.min_grant_bytes, 1000 * M);
	/* not beside another one; on an empty machine, so it is worth waiting for */
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 1, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_int_eq(booking_admit(nodes, 2, NULL, 0, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 1000 * M);
	/* what fits is attainable whole, whoever has waited for the node */
	request.closed_nodes = 3;
	request.policy.need_bytes = 700 * M;
	ck_assert_uint_eq(booking_attainable(nodes, 2, &rules, &request), 700 * M);
	request.policy.node = 1;
	ck_assert_uint_eq(booking_attainable(nodes, 2, &rules, &request), 500 * M);
	request.choose_node = true;
	ck_assert_uint_eq(booking_attainable(nodes, 2, &rules, &request), 700 * M);
	request.policy.min_bytes = 1001 * M;
	ck_assert_uint_eq(booking_attainable(nodes, 2, &rules, &request), 0);
}
END_TEST

START_TEST(a_guarantee_is_not_refused_for_what_others_may_need)
{
	struct node_info node = node_of(0, 1000 * M, 0);
	struct slot_policy slots[] = { slot_of("a", 0, 1, 0, 1200 * M) };
	struct booking_request request = { .policy = slot_of("c", 0, 1, 900 * M, 0) };

	ck_assert_int_eq(booking_admit(&node, 1, slots, 1, &rules, &request, &got, &why), ADMIT_OK);
	request.policy.min_bytes = 1001 * M; /* but for guarantees it is, whatever the overcommit */
	ck_assert_int_eq(booking_admit(&node, 1, slots, 1, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "min");
}
END_TEST

START_TEST(the_node_that_grants_most_is_chosen)
{
	struct node_info nodes[] = { node_of(0, 1000 * M, 0), node_of(1, 1000 * M, 0) };
	struct slot_policy slots[] = { slot_of("a", 0, 1, 0, 900 * M),
				       slot_of("b", 1, 1, 0, 600 * M) };
	struct booking_request request = request_of("c", 0, 1, 700 * M, 100 * M);

	request.choose_node = true;
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_int_eq(got.node, 1);
	ck_assert_uint_eq(got.grant_bytes, 600 * M);
	request.closed_nodes = 2; /* somebody waits for node 1 */
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_int_eq(got.node, 0);
	ck_assert_uint_eq(got.grant_bytes, 300 * M);
	request.closed_nodes = 3;
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 2, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "queue");
	request.policy.is_need_predicted = true; /* a guess is let in, with nothing booked */
	request.min_grant_bytes = 0;
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 0);
	request.policy.is_need_predicted = false;
	request.policy.need_bytes = 0; /* what takes nothing passes */
	request.min_grant_bytes = 0;
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 2, &rules, &request, &got, &why), ADMIT_OK);
}
END_TEST

START_TEST(a_slot_without_a_node_books_a_part_of_each)
{
	struct node_info nodes[] = { node_of(0, 1000 * M, 0), node_of(1, 1000 * M, 0) };
	struct slot_policy slots[] = { slot_of("a", 0, 1, 0, 900 * M) };
	struct booking_request request = request_of("c", NODE_ANY, 1, 600 * M, 600 * M);

	ck_assert_int_eq(booking_admit(nodes, 2, slots, 1, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(booking_total(nodes, 2, 0, &got, 1), 300 * M);
	request = request_of("c", NODE_ANY, 1, 602 * M, 602 * M);
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 1, &rules, &request, &got, &why),
			 ADMIT_REFUSED);
	ck_assert_int_eq(why.node, 0);
	request.min_grant_bytes = 500 * M;
	ck_assert_int_eq(booking_admit(nodes, 2, slots, 1, &rules, &request, &got, &why), ADMIT_OK);
	ck_assert_uint_eq(got.grant_bytes, 600 * M);
}
END_TEST

/* ---------------------------------------------------------------- random machines */

#define RUNS 10000
#define SLOTS 12

static struct node_info node;
static struct slot_policy slots[SLOTS];
static size_t n_slots;

static void random_machine(uint64_t seed)
{
	random_state = seed;
	node = node_of(0, (500 + random_below(1500)) * M, random_below(50) * M);
	n_slots = 0;
	for (int i = 0; i < SLOTS; i++) {
		char name[8];
		struct booking_request request;

		snprintf(name, sizeof(name), "s%d", i);
		request = request_of(name, 0, (uint32_t)random_below(TIERS),
				     random_below(4) ? random_below(700) * M : 0, 0);
		request.policy.weight = 1 + (uint32_t)random_below(300);
		request.policy.min_bytes = random_below(3) ? 0 : random_below(300) * M;
		if (random_below(3) == 0)
			request.policy.max_bytes = request.policy.min_bytes + random_below(500) * M;
		request.min_grant_bytes = random_below(2) ? request.policy.need_bytes : 0;
		if (booking_admit(&node, 1, slots, n_slots, &rules, &request, &slots[n_slots],
				  &why) == ADMIT_OK)
			n_slots++;
	}
}

/* Shares of all slots as they are now. */
static void divide(struct entitle_slot plans[SLOTS])
{
	struct entitle_node outcome;
	struct entitle_any any;

	for (size_t i = 0; i < n_slots; i++)
		plans[i] = (struct entitle_slot){ .policy = &slots[i] };
	REQUIRE(entitle(&node, 1, plans, n_slots, &outcome, &any) == ENTITLE_OK);
}

START_TEST(what_is_granted_is_within_the_rule_and_no_less_than_it_allows)
{
	uint64_t n_full = 0, n_less = 0;

	for (uint64_t seed = 0; seed < RUNS; seed++) {
		random_machine(seed * 6271);
		for (size_t i = 0; i < n_slots; i++) { /* as it was when the i-th came */
			uint64_t limit = (node.budget_bytes - node.reserve_bytes) *
					 rules.overcommit_percent[slots[i].tier] / 100;
			uint64_t sum = 0;

			if (slots[i].need_bytes == 0)
				continue;
			for (size_t k = 0; k < i; k++)
				sum += slots[k].tier <= slots[i].tier ? booking_of(&slots[k])
								      : slots[k].min_bytes;
			n_full += slots[i].grant_bytes == slots[i].need_bytes;
			if (slots[i].grant_bytes > 0 &&
			    booking_of(&slots[i]) == slots[i].grant_bytes)
				REQUIRE(sum + booking_of(&slots[i]) <= limit);
			if (slots[i].grant_bytes == slots[i].need_bytes)
				continue;
			n_less++;
			REQUIRE(sum + slots[i].grant_bytes + BOOKING_GRAIN_BYTES > limit);
		}
	}
	ck_assert_uint_gt(n_full, RUNS);
	ck_assert_uint_gt(n_less, RUNS / 4);
}
END_TEST

/*
 * A slot's guarantee is raised by a request that was admitted. Everybody keeps his guarantee, and
 * what is taken comes from the lowest tiers first: whoever loses share, no slot of a tier below
 * his has more than its guarantee.
 */
START_TEST(a_request_takes_lent_memory_of_lower_tiers_first)
{
	uint64_t n_raised = 0, n_lost = 0;

	for (uint64_t seed = 0; seed < RUNS; seed++) {
		struct entitle_slot before[SLOTS], after[SLOTS];
		struct slot_policy raised;
		size_t who;

		random_machine(seed * 104729);
		if (n_slots < 2)
			continue;
		divide(before);
		who = random_below(n_slots);
		raised = slots[who];
		raised.min_bytes += (1 + random_below(400)) * M;
		if (raised.min_bytes > raised.max_bytes ||
		    admit(&node, 1, slots, n_slots, &raised, &why) != ADMIT_OK)
			continue;
		slots[who] = raised;
		divide(after);
		n_raised++;
		REQUIRE(after[who].guaranteed_bytes == raised.min_bytes);
		for (size_t i = 0; i < n_slots; i++) {
			REQUIRE(after[i].share_bytes >= slots[i].min_bytes);
			if (i == who || after[i].share_bytes >= before[i].share_bytes)
				continue;
			n_lost++;
			for (size_t k = 0; k < n_slots; k++)
				if (slots[k].tier > slots[i].tier)
					REQUIRE(after[k].share_bytes == slots[k].min_bytes);
		}
	}
	ck_assert_uint_gt(n_raised, RUNS / 4);
	ck_assert_uint_gt(n_lost, RUNS / 4);
}
END_TEST

/* 1000M of a node; tier 1 may book 1200M of it, of which others have 800M. */
static struct slot_policy changed;

static int change_of(struct slot_policy old)
{
	const struct node_info there = node_of(0, 1020 * M, 20 * M);
	const struct slot_policy with[] = { slot_of("a", 0, 1, 0, 500 * M),
					    slot_of("b", 0, 1, 300 * M, 0),
					    slot_of("c", 0, 2, 0, 900 * M), old };

	return booking_change(&there, 1, with, 4, &rules, &changed, &why);
}

START_TEST(a_max_that_cut_off_a_need_is_raised_where_there_is_room)
{
	struct slot_policy old = slot_of("d", 0, 1, 0, 600 * M);

	old.max_bytes = 300 * M;
	changed = old;
	changed.max_bytes = 400 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	changed.max_bytes = 401 * M;
	ck_assert_int_eq(change_of(old), ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "max");
	ck_assert_int_eq(why.node, 0);
	ck_assert_uint_eq(why.needed, 1201 * M);
	ck_assert_uint_eq(why.available, 1200 * M);
	ck_assert_ptr_nonnull(strstr(why.message, "max=401M on node 0: booked needs would sum to"));
	ck_assert_ptr_nonnull(
		strstr(why.message, "(overcommit 1.20 for tier 1); 400M is still free"));
	changed.max_bytes = BYTES_UNLIMITED;
	ck_assert_int_eq(change_of(old), ADMIT_REFUSED);
	/* nor does it matter to who has no need, or is guaranteed all that it books */
	changed = old = slot_of("d", 0, 1, 10 * M, 0);
	old.max_bytes = 20 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	changed = old = slot_of("d", 0, 1, 0, 600 * M);
	old.max_bytes = 300 * M;
	changed.min_bytes = 600 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
}
END_TEST

START_TEST(a_higher_tier_is_for_who_fits_there)
{
	struct slot_policy old = slot_of("d", 0, 1, 0, 700 * M);

	/* tier 0 has no overcommit, and lower ones count by their guarantees there: 300M */
	changed = old;
	changed.tier = 0;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	old.need_bytes = old.grant_bytes = 701 * M;
	changed = old;
	changed.tier = 0;
	ck_assert_int_eq(change_of(old), ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "tier");
	ck_assert_uint_eq(why.needed, 1001 * M);
	ck_assert_uint_eq(why.available, 1000 * M);
	ck_assert_ptr_nonnull(strstr(why.message, "tier=0 on node 0: "));
	/* it may come with a smaller max */
	changed.max_bytes = 700 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	/* from below into one that is full */
	old = changed = slot_of("d", 0, 3, 0, 401 * M);
	changed.tier = 1;
	ck_assert_int_eq(change_of(old), ADMIT_REFUSED);
	ck_assert_uint_eq(why.needed, 1201 * M);
}
END_TEST

START_TEST(what_raises_no_sum_is_admitted_where_it_is_too_high)
{
	struct slot_policy old = slot_of("d", 0, 1, 0, 600 * M);

	changed = old;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	changed.max_bytes = 500 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	for (uint32_t tier = 2; tier < TIERS; tier++) {
		changed.tier = tier;
		ck_assert_int_eq(change_of(old), ADMIT_OK);
	}
	changed.weight = 0;
	ck_assert_int_eq(change_of(old), ADMIT_BAD_VALUE);
}
END_TEST

START_TEST(of_a_guess_less_is_granted_when_it_does_not_fit_any_more)
{
	struct slot_policy old = slot_of("d", 0, 3, 0, 450 * M);

	old.is_need_predicted = true;
	changed = old;
	changed.tier = 1;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	ck_assert_uint_eq(changed.grant_bytes, 400 * M);
	ck_assert_uint_eq(changed.need_bytes, 450 * M);
	/* never less than what was counted of it before */
	old = slot_of("d", 0, 1, 0, 700 * M);
	old.is_need_predicted = true;
	changed = old;
	old.max_bytes = 600 * M;
	ck_assert_int_eq(change_of(old), ADMIT_OK);
	ck_assert_uint_eq(changed.grant_bytes, 600 * M);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("booking");
	TCase *tcase = tcase_create("rules"), *runs = tcase_create("runs");

	tcase_add_test(tcase, a_slot_books_its_grant_between_min_and_max);
	tcase_add_test(tcase, needs_fit_up_to_the_overcommit_of_the_tier);
	tcase_add_test(tcase, less_is_granted_down_to_what_is_enough);
	tcase_add_test(tcase, a_guess_beyond_the_machine_is_content_with_all_of_it);
	tcase_add_test(tcase, a_guarantee_is_not_refused_for_what_others_may_need);
	tcase_add_test(tcase, the_node_that_grants_most_is_chosen);
	tcase_add_test(tcase, a_slot_without_a_node_books_a_part_of_each);
	tcase_add_test(tcase, a_max_that_cut_off_a_need_is_raised_where_there_is_room);
	tcase_add_test(tcase, a_higher_tier_is_for_who_fits_there);
	tcase_add_test(tcase, what_raises_no_sum_is_admitted_where_it_is_too_high);
	tcase_add_test(tcase, of_a_guess_less_is_granted_when_it_does_not_fit_any_more);
	tcase_add_test(runs, what_is_granted_is_within_the_rule_and_no_less_than_it_allows);
	tcase_add_test(runs, a_request_takes_lent_memory_of_lower_tiers_first);
	tcase_set_timeout(runs, 100);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, runs);
	return suite_run(suite);
}
