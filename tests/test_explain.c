/* SPDX-License-Identifier: Apache-2.0 */

/* What `tmctl explain` says: every number where it belongs, and sentences with the numbers. */

#include "policy/explain.h"

#include <check.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define MS UINT64_C(1000000)
#define NOW (UINT64_C(1000000) * MS)
#define MIB_PAGES 256

static struct slot_policy policy;
static struct control_group group;
static struct control_slot control;
static struct explain_input in;

static void setup(void)
{
	policy = (struct slot_policy){
		.name = "a",
		.weight = 100,
		.tier = 1,
		.min_bytes = 32 * M,
		.max_bytes = 400 * M,
	};
	group = (struct control_group){ .bytes = 392 * M };
	control = (struct control_slot){
		.name = "a",
		.weight = 100,
		.share_bytes = 98 * M,
		.max_bytes = 400 * M,
		.low_bytes = 98 * M,
		.sample.current_bytes = 90 * M,
		.track = { .class = CONTROL_QUIET, .since_ns = NOW - 5000 * MS, .sampled_ns = NOW },
	};
	in = (struct explain_input){
		.policy = &policy,
		.tier = { .bytes = 392 * M,
			  .divided_bytes = 392 * M,
			  .divided_weight = 400,
			  .n_slots = 2 },
		.share_bytes = 98 * M,
		.guaranteed_bytes = 32 * M,
		.budget_bytes = 400 * M,
		.reserve_bytes = 8 * M,
		.usage_bytes = 90 * M,
		.low_bytes = 98 * M,
		.kernel_max_bytes = 400 * M,
		.brake_bytes = BYTES_UNLIMITED,
		.shrink_note = "",
		.is_enforced = true,
		.group = &group,
		.control = &control,
	};
}

static struct control_term terms[EXPLAIN_TERMS];
static size_t n_terms;

static void gather(void)
{
	n_terms = explain_terms(&in, NOW, terms);
	ck_assert_uint_le(n_terms, EXPLAIN_TERMS);
}

static const struct control_term *find(const char *name)
{
	for (size_t i = 0; i < n_terms; i++)
		if (strcmp(terms[i].name, name) == 0)
			return &terms[i];
	return NULL;
}

struct expected {
	const char *name;
	uint64_t value;
};

static void check_terms(const struct expected *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct control_term *term = find(all[i].name);

		ck_assert_msg(term, "no term %s", all[i].name);
		ck_assert_msg(term->value == all[i].value, "%s is %llu, not %llu", term->name,
			      (unsigned long long)term->value, (unsigned long long)all[i].value);
	}
}

static const char *reason(void)
{
	static char buf[EXPLAIN_REASON_MAX];

	return explain_reason(&in, buf);
}

static void says(const char *words)
{
	ck_assert_msg(strstr(reason(), words), "no \"%s\" in: %s", words, reason());
}

/* ---------------------------------------------------------------- numbers */

START_TEST(every_number_of_the_plan_is_where_it_belongs)
{
	static const struct expected all[] = {
		{ "weight", 7 },
		{ "tier", 2 },
		{ "minBytes", 1 * M },
		{ "requestedBytes", 2 * M },
		{ "guaranteedBytes", 3 * M },
		{ "maxBytes", 4 * M },
		{ "nodeBudgetBytes", 5 * M },
		{ "nodeReserveBytes", 6 * M },
		{ "tierBytes", 7 * M },
		{ "tierSlots", 8 },
		{ "dividedBytes", 9 * M },
		{ "dividedWeight", 10 },
		{ "shareBytes", 11 * M },
		{ "usageBytes", 12 * M },
		{ "swapBytes", 13 * M },
		{ "lowBytes", 14 * M },
		{ "unreclaimableBytes", 15 * M },
		{ "kernelMaxBytes", 16 * M },
		{ "shrinking", 1 },
		{ "brakeBytes", 17 * M },
		{ "needBytes", 18 * M },
		{ "grantBytes", 19 * M },
		{ "bookedBytes", 20 * M },
		{ "leakBytesPerSecond", 21 * M },
		{ "unprotected", 1 },
		{ "frozen", 1 },
	};

	policy.weight = 7;
	policy.tier = 2;
	policy.min_bytes = 1 * M;
	policy.max_bytes = 4 * M;
	policy.need_bytes = 18 * M;
	policy.grant_bytes = 19 * M;
	in = (struct explain_input){
		.policy = &policy,
		.tier = { .bytes = 7 * M,
			  .n_slots = 8,
			  .divided_bytes = 9 * M,
			  .divided_weight = 10 },
		.requested_bytes = 2 * M,
		.guaranteed_bytes = 3 * M,
		.budget_bytes = 5 * M,
		.reserve_bytes = 6 * M,
		.share_bytes = 11 * M,
		.usage_bytes = 12 * M,
		.swap_bytes = 13 * M,
		.low_bytes = 14 * M,
		.unreclaimable_bytes = 15 * M,
		.kernel_max_bytes = 16 * M,
		.is_shrinking = true,
		.shrink_note = "",
		.brake_bytes = 17 * M,
		.booked_bytes = 20 * M,
		.leak_bytes_per_s = 21 * M,
		.is_unprotected = true,
		.is_frozen = true,
	};
	gather();
	check_terms(all, ARRAY_LEN(all));
	ck_assert_uint_eq(n_terms, ARRAY_LEN(all)); /* the law is not at work */
}
END_TEST

START_TEST(every_number_of_the_law_is_where_it_belongs)
{
	static const struct expected all[] = {
		{ "fairnessPermille", 650 },
		{ "groupBytes", 392 * M },
		{ "groupUsedBytes", 17 * M },
		{ "groupNeedy", 18 },
		{ "groupScans", 19 },
		{ "groupHolding", 20 },
		{ "groupFreedBytes", 20 * M },
		{ "groupReserveBytes", 22 * M },
		{ "seenBytes", 90 * M },
		{ "demandBytes", 1 * M },
		{ "lawBytes", 2 * M },
		/* 65 % of its share of 98M, which is more than its guarantee */
		{ "leastBytes", 98 * M / 1000 * 650 + 98 * M % 1000 * 650 / 1000 },
		{ "classMsec", 3000 },
		{ "refaultNowBytesPerSecond", 2 * M },
		{ "refaultBytesPerSecond", 6 * M },
		{ "restoreBytesPerSecond", 8 * M },
		{ "stealNowBytesPerSecond", 4 * M },
		{ "stealBytesPerSecond", 10 * M },
		{ "flowBytesPerSecond", 14 * M },
		{ "refillBytesPerSecond", 12 * M },
		{ "growthBytes", 6 * M },
		{ "idleMsec", 3500 },
		{ "calmMsec", 4000 },
		{ "stallPermille", 9 },
		{ "turnoverBytes", 10 * M },
		{ "turnoverFromBytes", 21 * M },
		{ "turnoverRestoreBytes", 11 * M },
		{ "turnoverRefillBytes", 12 * M },
		{ "retestMsec", 13000 },
		{ "retestIntervalMsec", 60000 },
		{ "taxBytes", 14 * M },
		{ "taxKeptMsec", 28000 },
		{ "taxedFromBytes", 15 * M },
		{ "taxedBytes", 8 * M },
		{ "proving", 1 },
		{ "proofBytes", 9 * M },
		{ "floorBytes", 16 * M },
		{ "floorHeldMsec", 17000 },
		{ "floorHoldMsec", 20000 },
		{ "reclaimBytes", 64 * 1024 },
		{ "saveWaitMsec", 5000 },
		{ "stallWaitMsec", 2000 },
	};
	size_t n_plan;

	in.control = NULL;
	gather();
	n_plan = n_terms;
	in.control = &control;
	in.others = (struct explain_group){ .used_bytes = 17 * M, .n_holding = 20 };
	control.mode = SLOT_SAVE;
	control.demand_bytes = 1 * M;
	control.low_bytes = 2 * M;
	control.reclaim_bytes = 64 * 1024;
	control.track = (struct control_track){
		.class = CONTROL_QUIET,
		.since_ns = NOW - 3000 * MS,
		.refault_pages = 1 * MIB_PAGES, /* a tick is half a second */
		.steal_pages = 2 * MIB_PAGES,
		.mean_refault = 3 * MIB_PAGES,
		.mean_restore = 4 * MIB_PAGES,
		.mean_steal = 5 * MIB_PAGES,
		.mean_flow = 7 * MIB_PAGES,
		.refill_pages = 6 * MIB_PAGES,
		.grown_pages = 6 * MIB_PAGES,
		.idle_ticks = 7,
		.calm_ticks = 8,
		.stall_permille = 9,
		.turnover_pages = 10 * MIB_PAGES,
		.window_restore = 11 * MIB_PAGES,
		.window_refill = 12 * MIB_PAGES,
		.window_bytes = 21 * M,
		.is_polluter = true,
		.retest_ns = NOW + 13000 * MS,
		.retest_interval_ns = 60000 * MS,
		.tax_bytes = 14 * M,
		.taxed_ns = NOW - 2000 * MS,
		.tax_from_bytes = 15 * M,
		.taxed_pages = 8 * MIB_PAGES,
		.proof_bytes = 9 * M,
		.floor_bytes = 16 * M,
		.floor_until_ns = NOW + 17000 * MS,
		.floor_hold_ticks = 40,
		.is_proving = true,
		.saved_ns = NOW - 1000 * MS,
		.stalled_ns = NOW - 4000 * MS,
	};
	group = (struct control_group){ .bytes = 392 * M,
					.fairness_permille = 650,
					.n_evidence = 18,
					.n_polluter = 19,
					.freed_bytes = 20 * M,
					.reserve_bytes = 22 * M };
	gather();
	check_terms(all, ARRAY_LEN(all));
	ck_assert_uint_eq(n_terms, n_plan + ARRAY_LEN(all));
}
END_TEST

START_TEST(no_cap_is_no_number)
{
	policy.max_bytes = in.kernel_max_bytes = BYTES_UNLIMITED;
	gather();
	ck_assert(!find("maxBytes") && !find("kernelMaxBytes") && !find("brakeBytes"));
}
END_TEST

START_TEST(each_term_has_a_name_of_its_own_and_says_what_it_is)
{
	gather();
	for (size_t i = 0; i < n_terms; i++) {
		ck_assert_ptr_eq(find(terms[i].name), &terms[i]);
		ck_assert_uint_gt(strlen(terms[i].text), 5);
		ck_assert_uint_lt(strlen(terms[i].text), 48); /* fits beside the number */
	}
}
END_TEST

/* ---------------------------------------------------------------- the share */

START_TEST(only_slots_between_guarantee_and_max_are_divided_by_weight)
{
	struct explain_tier tier = {};

	explain_count(&tier, &policy, 98 * M, 32 * M);
	explain_count(&tier, &policy, 32 * M, 32 * M);
	explain_count(&tier, &policy, 400 * M, 32 * M);
	policy.weight = 300;
	explain_count(&tier, &policy, 294 * M, 32 * M);
	ck_assert_uint_eq(tier.n_slots, 4);
	ck_assert_uint_eq(tier.bytes, (98 + 32 + 400 + 294) * M);
	ck_assert_uint_eq(tier.divided_bytes, (98 + 294) * M);
	ck_assert_uint_eq(tier.divided_weight, 400);
	/* so that the sentence is a sum that anybody can do: 98M = 100 of 400 of 392M */
	ck_assert_uint_eq(tier.divided_bytes * 100 / tier.divided_weight, 98 * M);
}
END_TEST

START_TEST(how_a_share_came_about_is_said)
{
	says("Its share of 98M is weight 100 of the 400 that divide 392M in tier 1");
	says("its node has 392M for slots and keeps 8M as reserve");
	in.share_bytes = 400 * M;
	says("Its share of 400M is its max");
	in.share_bytes = 32 * M;
	says("Its share of 32M is its guarantee");
	in.share_bytes = in.guaranteed_bytes = 0;
	says("Its share is 0: higher tiers and guarantees take all");
	policy.node = NODE_ANY;
	says("all nodes have 392M for slots and keep 8M as reserve");
}
END_TEST

/* ---------------------------------------------------------------- the class and the protection */

START_TEST(each_class_is_put_in_words_with_its_numbers)
{
	struct control_track *track = &control.track;

	says("it uses 90M of its share of 98M and shows no need of more; protected at its share");
	track->class = CONTROL_NEW;
	says("nothing is known of it yet");
	track->class = CONTROL_IDLE;
	says("it does nothing");
	track->class = CONTROL_EVIDENCE;
	track->refault_pages = 3 * MIB_PAGES;
	track->stall_permille = 123;
	says("it needs memory: 6M/s of its own pages came back, it waited 12.3 % of the time");
	track->turnover_pages = 50 * MIB_PAGES;
	track->class = CONTROL_SUSPECT;
	says("of 50M turned over since it was last judged it used nothing again (a scan?)");
	track->class = CONTROL_POLLUTER;
	track->retest_ns = NOW + 30000 * MS;
	says("used nothing of it again: a scan; next test in 30 s or when it stops");
	for (int class = 0; class < CONTROL_CLASSES; class ++)
		ck_assert_uint_gt(strlen(control_class_name(class)), 2);
}
END_TEST

START_TEST(why_it_is_protected_so_is_said)
{
	control.low_bytes = 120 * M;
	control.track.class = CONTROL_EVIDENCE;
	says("protected at 120M, above its share of 98M: others do not use all of theirs");
	group.reserve_bytes = 1 * M;
	says("above its share of 98M: all ask, and it had less of the reserve");
	group.reserve_bytes = 0;
	control.track.class = CONTROL_QUIET;
	says("above its share of 98M: a scan is pushed out");
	group.n_evidence = 1;
	control.track.taxed_ns = control.track.sampled_ns;
	says("above its share of 98M: others do not use all of theirs");
	group.n_evidence = 0;
	control.low_bytes = 60 * M;
	says("lends what it does not need: protected at 60M of its share of 98M");
	control.track.floor_bytes = 60 * M;
	group.n_evidence = 2;
	says("lends to 2 in need and is protected at 60M, not less: it needed that before");
	control.track.class = CONTROL_POLLUTER;
	says("protected at 60M until it is seen to use its memory again");
	control.mode = SLOT_OFF;
	says("mode off: protected at its share of 98M");
	ck_assert(!strstr(reason(), "dry run") && !strstr(reason(), "quiet slots lend"));
	control.mode = SLOT_SHARE;
	in.is_dry = true;
	in.others = (struct explain_group){ .used_bytes = 300 * M, .n_holding = 1 };
	says("This is a dry run: it stays protected at its share. ");
	says("Of what is divided, 300M are used; from 379.8M on, and while no scan has what others may "
	     "take (now 1), quiet slots lend to those in need (now 2)");
}
END_TEST

START_TEST(without_the_law_the_plan_is_explained_all_the_same)
{
	in.control = NULL;
	says("the controller is off (control= in taskmemd.conf); protected at its share of 98M");
	says("Its share of 98M is weight 100 of the 400");
	in.is_enforced = false;
	says("limits are not enforced on this host");
}
END_TEST

/* ---------------------------------------------------------------- what holds it up */

START_TEST(need_requests_shrinks_and_emergencies_are_told)
{
	ck_assert(!strstr(reason(), "need of 2") && !strstr(reason(), "cap is going"));
	policy.need_bytes = 200 * M;
	policy.grant_bytes = 150 * M;
	says("Of a need of 200M 150M are granted");
	policy.is_need_predicted = true;
	says("Of a need of 200M, predicted from what the name needed before, 150M are granted");
	in.requested_bytes = 64 * M;
	says("Its tasks have asked for 64M more of guarantee");
	in.is_shrinking = true;
	in.unreclaimable_bytes = 5 * M;
	policy.max_bytes = 80 * M;
	in.share_bytes = 70 * M;
	in.shrink_note = "no swap is free";
	says("Its cap is going from 400M to 80M, no lower than the 5M that cannot be taken: "
	     "no swap is free");
	in.leak_bytes_per_s = 4 * M;
	says("It grows by 4M a second and uses nothing of that again: a leak");
	in.is_unprotected = true;
	says("Memory runs out: it is not protected for now");
	in.is_frozen = true;
	says("Memory runs out: it is frozen for a moment");
}
END_TEST

START_TEST(the_longest_text_is_cut_not_overrun)
{
	static char note[4000];

	memset(note, 'x', sizeof(note) - 1);
	in.is_shrinking = true;
	in.shrink_note = note;
	in.leak_bytes_per_s = 4 * M;
	ck_assert_uint_eq(strlen(reason()), EXPLAIN_REASON_MAX - 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("explain");
	TCase *numbers = tcase_create("numbers"), *words = tcase_create("words");

	tcase_add_checked_fixture(numbers, setup, NULL);
	tcase_add_test(numbers, every_number_of_the_plan_is_where_it_belongs);
	tcase_add_test(numbers, every_number_of_the_law_is_where_it_belongs);
	tcase_add_test(numbers, no_cap_is_no_number);
	tcase_add_test(numbers, each_term_has_a_name_of_its_own_and_says_what_it_is);
	tcase_add_test(numbers, only_slots_between_guarantee_and_max_are_divided_by_weight);
	tcase_add_checked_fixture(words, setup, NULL);
	tcase_add_test(words, how_a_share_came_about_is_said);
	tcase_add_test(words, each_class_is_put_in_words_with_its_numbers);
	tcase_add_test(words, why_it_is_protected_so_is_said);
	tcase_add_test(words, without_the_law_the_plan_is_explained_all_the_same);
	tcase_add_test(words, need_requests_shrinks_and_emergencies_are_told);
	tcase_add_test(words, the_longest_text_is_cut_not_overrun);
	suite_add_tcase(suite, numbers);
	suite_add_tcase(suite, words);
	return suite_run(suite);
}
