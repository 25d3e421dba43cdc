/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/revoke.h"

#include <check.h>

#include "base/attr.h"
#include "suite.h"

#define SECOND UINT64_C(1000000000)
#define NOW (100 * SECOND)
#define ROWS_MAX 8

/* A slot with one holder, as it is at NOW. */
struct row {
	const char *name;
	enum slot_revoke revoke;
	uint32_t tier;
	int node;
	uint32_t n_granted, n_guaranteed, n_owed;
	uint64_t since_s, deadline_s; /* 0: none */
	/* what is expected */
	enum revoke_verb verb;
	uint32_t n_chunks;
	uint64_t then_deadline_s;
};

static struct revoke_mark marks[ROWS_MAX];
static struct revoke_slot slots[ROWS_MAX];
static struct revoke_holder holders[ROWS_MAX];

static uint64_t step(const struct row *rows, size_t n, const struct revoke_node *nodes,
		     size_t n_nodes)
{
	struct revoke_input in = { .now_ns = NOW,
				   .nodes = nodes,
				   .n_nodes = n_nodes,
				   .slots = slots,
				   .n_slots = n,
				   .holders = holders,
				   .n_holders = n };

	for (size_t i = 0; i < n; i++) {
		marks[i] = (struct revoke_mark){ .since_ns = rows[i].since_s * SECOND,
						 .deadline_ns = rows[i].deadline_s * SECOND };
		slots[i] = (struct revoke_slot){ .name = rows[i].name,
						 .tier = rows[i].tier,
						 .revoke = rows[i].revoke,
						 .grace_ns = 5 * SECOND,
						 .node = rows[i].node,
						 .n_granted = rows[i].n_granted,
						 .n_guaranteed = rows[i].n_guaranteed };
		/* in the opposite order: the outcome must not depend on it */
		holders[n - 1 - i] = (struct revoke_holder){
			.slot = i, .id = 1, .n_owed = rows[i].n_owed, .mark = &marks[i]
		};
	}
	return revoke_step(&in);
}

static void check(const struct row *rows, size_t n, const struct revoke_node *nodes, size_t n_nodes)
{
	(void)step(rows, n, nodes, n_nodes);
	for (size_t k = 0; k < n; k++) {
		size_t i = holders[k].slot;

		ck_assert_msg(holders[k].verb == rows[i].verb, "%s: verb %d, not %d", rows[i].name,
			      holders[k].verb, rows[i].verb);
		ck_assert_msg(holders[k].n_chunks == rows[i].n_chunks, "%s: %u chunks, not %u",
			      rows[i].name, holders[k].n_chunks, rows[i].n_chunks);
		ck_assert_msg(marks[i].deadline_ns == rows[i].then_deadline_s * SECOND,
			      "%s: deadline %llu", rows[i].name,
			      (unsigned long long)marks[i].deadline_ns);
	}
}

START_TEST(who_owes_nothing_has_no_deadline)
{
	const struct row rows[] = {
		{ "a", SLOT_REVOKE_FORCE, 1, 0, 8, 8, 0, 90, 95, REVOKE_NOTHING, 0, 0 },
		{ "b", SLOT_REVOKE_KILL, 1, 0, 8, 8, 0, 0, 0, REVOKE_NOTHING, 0, 0 },
	};

	check(rows, 2, NULL, 0);
	ck_assert_uint_eq(marks[0].since_ns, 0);
}
END_TEST

START_TEST(a_deadline_begins_when_pages_become_owed)
{
	const struct row rows[] = {
		{ "force", SLOT_REVOKE_FORCE, 1, 0, 8, 0, 3, 0, 0, REVOKE_WAIT, 3, 105 },
		{ "kill", SLOT_REVOKE_KILL, 1, 0, 8, 0, 3, 98, 103, REVOKE_WAIT, 3, 103 },
	};

	check(rows, 2, NULL, 0);
	ck_assert_uint_eq(marks[0].since_ns, NOW);
	ck_assert_uint_eq(step(rows, 2, NULL, 0), 103 * SECOND);
}
END_TEST

START_TEST(after_the_deadline_a_slot_gets_what_it_said)
{
	const struct row rows[] = {
		{ "force", SLOT_REVOKE_FORCE, 1, 0, 8, 0, 3, 95, 100, REVOKE_FORCE, 3, 100 },
		{ "kill", SLOT_REVOKE_KILL, 1, 0, 8, 0, 2, 95, 100, REVOKE_KILL, 2, 100 },
		{ "wait", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 2, 5, 0, REVOKE_WAIT, 0, 0 },
	};

	check(rows, 3, NULL, 0);
}
END_TEST

START_TEST(a_killed_process_is_not_killed_again)
{
	const struct row row = { "a", SLOT_REVOKE_KILL, 1, 0, 8, 0, 2, 90, 95, 0, 0, 0 };
	struct revoke_input in = {
		.now_ns = NOW, .slots = slots, .n_slots = 1, .holders = holders, .n_holders = 1
	};

	(void)step(&row, 1, NULL, 0);
	ck_assert_int_eq(holders[0].verb, REVOKE_KILL);
	marks[0].is_killed = true;
	ck_assert_uint_eq(revoke_step(&in), 0);
	ck_assert_int_eq(holders[0].verb, REVOKE_WAIT);
}
END_TEST

START_TEST(a_slot_set_from_wait_to_force_has_its_full_time)
{
	const struct row rows[] = {
		{ "a", SLOT_REVOKE_FORCE, 1, 0, 8, 0, 3, 1, 0, REVOKE_WAIT, 3, 105 },
	};

	check(rows, 1, NULL, 0);
}
END_TEST

START_TEST(a_guarantee_does_not_wait_for_ever_for_a_slot_that_says_wait)
{
	const struct revoke_node node = { .node = 0, .n_short = 2 };
	const struct row rows[] = {
		{ "a", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 3, 1, 0, REVOKE_WAIT, 2, 105 },
		{ "b", SLOT_REVOKE_WAIT, 1, 1, 8, 0, 3, 1, 0, REVOKE_WAIT, 0, 0 },
	};
	const struct row late[] = {
		{ "a", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 3, 1, 99, REVOKE_FORCE, 2, 99 },
	};

	check(rows, 2, &node, 1);
	ck_assert(holders[0].is_for_guarantee || holders[1].is_for_guarantee);
	check(late, 1, &node, 1);
}
END_TEST

START_TEST(a_deadline_ends_with_the_guarantees_need)
{
	const struct row rows[] = {
		{ "a", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 3, 1, 99, REVOKE_WAIT, 0, 0 },
	};

	check(rows, 1, NULL, 0);
}
END_TEST

START_TEST(excess_goes_by_policy_then_tier_then_age_then_name)
{
	const struct revoke_node node = { .node = 0, .n_short = 9 };
	const struct row rows[] = {
		/* comes by itself: 2 of the 9 */
		{ "force", SLOT_REVOKE_FORCE, 0, 0, 8, 0, 2, 98, 103, REVOKE_WAIT, 2, 103 },
		{ "tier3", SLOT_REVOKE_WAIT, 3, 0, 8, 0, 2, 99, 0, REVOKE_WAIT, 2, 105 },
		{ "old", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 2, 1, 0, REVOKE_WAIT, 2, 105 },
		{ "name-a", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 2, 2, 0, REVOKE_WAIT, 2, 105 },
		{ "name-b", SLOT_REVOKE_WAIT, 1, 0, 8, 0, 2, 2, 0, REVOKE_WAIT, 1, 105 },
		{ "tier0", SLOT_REVOKE_WAIT, 0, 0, 8, 0, 2, 1, 0, REVOKE_WAIT, 0, 0 },
	};

	check(rows, ARRAY_LEN(rows), &node, 1);
}
END_TEST

START_TEST(nothing_is_taken_that_its_own_slot_would_be_short_of)
{
	const struct revoke_node node = { .node = 0, .n_short = 9 };
	const struct row rows[] = {
		/* owes 4 to another task of its slot: of no use to anybody else */
		{ "a", SLOT_REVOKE_WAIT, 1, 0, 8, 8, 4, 1, 0, REVOKE_WAIT, 0, 0 },
		{ "b", SLOT_REVOKE_WAIT, 1, 0, 8, 7, 4, 1, 0, REVOKE_WAIT, 1, 105 },
	};

	check(rows, 2, &node, 1);
}
END_TEST

START_TEST(a_slot_without_a_node_helps_every_node_once)
{
	const struct revoke_node nodes[] = { { 0, 2 }, { 1, 2 } };
	const struct row rows[] = {
		{ "any", SLOT_REVOKE_WAIT, 1, NODE_ANY, 8, 0, 3, 1, 0, REVOKE_WAIT, 3, 105 },
	};

	check(rows, 1, nodes, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("revoke");
	TCase *c = tcase_create("revoke");

	tcase_add_test(c, who_owes_nothing_has_no_deadline);
	tcase_add_test(c, a_deadline_begins_when_pages_become_owed);
	tcase_add_test(c, after_the_deadline_a_slot_gets_what_it_said);
	tcase_add_test(c, a_killed_process_is_not_killed_again);
	tcase_add_test(c, a_slot_set_from_wait_to_force_has_its_full_time);
	tcase_add_test(c, a_guarantee_does_not_wait_for_ever_for_a_slot_that_says_wait);
	tcase_add_test(c, a_deadline_ends_with_the_guarantees_need);
	tcase_add_test(c, excess_goes_by_policy_then_tier_then_age_then_name);
	tcase_add_test(c, nothing_is_taken_that_its_own_slot_would_be_short_of);
	tcase_add_test(c, a_slot_without_a_node_helps_every_node_once);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
