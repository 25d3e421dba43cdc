/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lend.h"

#include <check.h>

#include "base/attr.h"
#include "suite.h"

struct part {
	uint64_t n_held, n_guaranteed;
};

static struct lend_node node_of(uint64_t n_pages, uint64_t n_free, const struct part *parts,
				size_t n)
{
	struct lend_node node = { .n_pages = n_pages, .n_free = n_free };

	for (size_t i = 0; i < n; i++)
		lend_add(&node, parts[i].n_held, parts[i].n_guaranteed);
	return node;
}

START_TEST(what_is_guaranteed_to_others_is_not_lent)
{
	const struct part others[] = { { 0, 16 }, { 20, 8 } };
	struct lend_node node = node_of(64, 44, others, ARRAY_LEN(others));

	ck_assert_uint_eq(lend_room(&node, 0, 0), 28);
	ck_assert_uint_eq(lend_room(&node, 0, 32), 32);
	ck_assert_uint_eq(lend_room(&node, 32, 32), 0);
}
END_TEST

START_TEST(pages_that_a_stranger_took_are_not_lent_a_second_time)
{
	const struct part others[] = { { 0, 16 } };
	struct lend_node node = node_of(64, 20, others, ARRAY_LEN(others));

	/* by the books 48 could be lent; 4 are left beside what is guaranteed */
	ck_assert_uint_eq(lend_room(&node, 0, 0), 4);
	node.n_free = 3;
	ck_assert_uint_eq(lend_room(&node, 0, 0), 0);
	/* nobody waits for pages that are guaranteed to himself */
	ck_assert_uint_eq(lend_room(&node, 0, 8), 3);
	ck_assert_uint_eq(lend_room(&node, 6, 8), 2);
}
END_TEST

START_TEST(pages_that_are_being_filled_are_not_lent_a_second_time)
{
	/* 30 held in the books, of which 10 are not put in yet */
	const struct part others[] = { { 30, 0 } };
	struct lend_node node = node_of(64, 44, others, ARRAY_LEN(others));

	ck_assert_uint_eq(lend_room(&node, 0, 0), 34);
}
END_TEST

START_TEST(a_guarantee_is_short_by_what_others_hold_of_it)
{
	const struct part slots[] = { { 0, 32 }, { 40, 0 } };
	struct lend_node node = node_of(64, 24, slots, ARRAY_LEN(slots));

	ck_assert_uint_eq(lend_short(&node), 8);
	node.n_free = 32;
	ck_assert_uint_eq(lend_short(&node), 0);
}
END_TEST

/*
 * Flink's BufferPoolFactoryTest: of 1024, the first is guaranteed 511 and holds 513 when the second
 * comes, guaranteed 513. The first one gets no more, the second one 511 and the rest as the first one
 * gives it back. There that is all; here what is lacking is counted, so that it can be taken.
 */
START_TEST(flinks_two_pools_that_are_guaranteed_all_there_is)
{
	struct part first = { 513, 511 }, second = { 0, 513 };
	struct lend_node others = node_of(1024, 511, &first, 1), all;

	ck_assert_uint_eq(lend_room(&others, 0, 513), 511);
	second.n_held = 511;
	for (uint64_t lent = 2; lent > 0; lent--) {
		all = node_of(1024, 0, &first, 1);
		ck_assert_uint_eq(lend_room(&all, second.n_held, 513), 0);
		lend_add(&all, second.n_held, 513);
		ck_assert_uint_eq(lend_short(&all), lent);
		/* the first one gives one back, which is not for itself */
		first.n_held--;
		others = node_of(1024, 1, &second, 1);
		ck_assert_uint_eq(lend_room(&others, first.n_held, 511), 0);
		others = node_of(1024, 1, &first, 1);
		ck_assert_uint_eq(lend_room(&others, second.n_held, 513), 1);
		second.n_held++;
	}
	all = node_of(1024, 0, &first, 1);
	lend_add(&all, second.n_held, 513);
	ck_assert_uint_eq(second.n_held, 513);
	ck_assert_uint_eq(lend_short(&all), 0);
}
END_TEST

/* FLINK-12852, FLINK-31386: what was handed out beyond the guarantees left too little for these. */
START_TEST(what_is_lent_never_eats_a_guarantee)
{
	for (int round = 0; round < 20000; round++) {
		struct part parts[4];
		struct lend_node node = {};
		uint64_t promised = 0, held = 0, room;

		random_state = (uint64_t)round;
		node.n_pages = random_below(100);
		for (int i = 0; i < 4; i++) {
			parts[i].n_guaranteed = random_below(node.n_pages - promised + 1);
			promised += parts[i].n_guaranteed;
		}
		/* as a history of grants leaves it: each gets no more than its room */
		node.n_free = node.n_pages;
		for (int i = 0; i < 4; i++) {
			struct lend_node others = { .n_pages = node.n_pages,
						    .n_free = node.n_pages - held };

			for (int k = 0; k < 4; k++)
				if (k != i)
					lend_add(&others, k < i ? parts[k].n_held : 0,
						 parts[k].n_guaranteed);
			room = lend_room(&others, 0, parts[i].n_guaranteed);
			REQUIRE(room >= parts[i].n_guaranteed);
			parts[i].n_held = random_below(room + 1);
			held += parts[i].n_held;
			REQUIRE(held <= node.n_pages);
		}
		node.n_free = node.n_pages - held;
		for (int i = 0; i < 4; i++)
			lend_add(&node, parts[i].n_held, parts[i].n_guaranteed);
		REQUIRE(lend_short(&node) == 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lend");
	TCase *c = tcase_create("lend");

	tcase_add_test(c, what_is_guaranteed_to_others_is_not_lent);
	tcase_add_test(c, pages_that_a_stranger_took_are_not_lent_a_second_time);
	tcase_add_test(c, pages_that_are_being_filled_are_not_lent_a_second_time);
	tcase_add_test(c, a_guarantee_is_short_by_what_others_hold_of_it);
	tcase_add_test(c, flinks_two_pools_that_are_guaranteed_all_there_is);
	tcase_add_test(c, what_is_lent_never_eats_a_guarantee);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
