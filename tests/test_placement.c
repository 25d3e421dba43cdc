/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/placement.h"

#include <check.h>

#include "base/attr.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)

/* .is_admitted, budget 800M each unless the case says otherwise */
struct choice {
	const char *what;
	struct placement_wish wish;
	struct placement_node nodes[3];
	size_t n;
	int chosen; /* node; -2: nowhere */
};

#define NODE(number, used, chunks)        \
	{                                 \
		.node = (number),         \
		.is_admitted = true,      \
		.budget_bytes = 800 * M,  \
		.used_bytes = (used) * M, \
		.free_chunks = (chunks),  \
	}
#define CLOSED(number) { .node = (number), .budget_bytes = 800 * M, .free_chunks = 999 }
#define NOWHERE (-2)

static void check(const struct choice *choices, size_t n,
		  size_t (*choose)(const struct placement_node *, size_t,
				   const struct placement_wish *))
{
	for (size_t i = 0; i < n; i++) {
		const struct choice *c = &choices[i];
		size_t k = choose(c->nodes, c->n, &c->wish);
		int got = k == PLACEMENT_NOWHERE ? NOWHERE : c->nodes[k].node;

		ck_assert_msg(got == c->chosen, "%s: node %d, not %d", c->what, got, c->chosen);
	}
}

START_TEST(a_new_slot_goes_where_most_is_free)
{
	static const struct choice choices[] = {
		{ "one node", { NODE_ANY, 0, 0 }, { NODE(0, 700, 0) }, 1, 0 },
		{ "all the same: the lowest number",
		  { NODE_ANY, 0, 0 },
		  { NODE(3, 100, 0), NODE(1, 100, 0), NODE(2, 100, 0) },
		  3,
		  1 },
		{ "the emptier one",
		  { NODE_ANY, 0, 0 },
		  { NODE(0, 101, 0), NODE(1, 100, 0) },
		  2,
		  1 },
		{ "used above the budget is nothing free",
		  { NODE_ANY, 0, 0 },
		  { NODE(0, 900, 0), NODE(1, 799, 0) },
		  2,
		  1 },
		{ "huge pages before memory",
		  { NODE_ANY, 100 * M, 16 },
		  { NODE(0, 0, 15), NODE(1, 700, 16) },
		  2,
		  1 },
		{ "more huge pages than wished are worth nothing",
		  { NODE_ANY, 100 * M, 16 },
		  { NODE(0, 100, 16), NODE(1, 200, 512) },
		  2,
		  0 },
		{ "memory that fits before free memory of a smaller wish",
		  { NODE_ANY, 300 * M, 8 },
		  { NODE(0, 600, 8), NODE(1, 500, 8) },
		  2,
		  1 },
		{ "no node may take it", { NODE_ANY, 0, 0 }, { CLOSED(0), CLOSED(1) }, 2, NOWHERE },
		{ "no node at all", { NODE_ANY, 0, 0 }, { CLOSED(0) }, 0, NOWHERE },
		{ "only the fuller one may",
		  { NODE_ANY, 0, 0 },
		  { CLOSED(0), NODE(1, 790, 0) },
		  2,
		  1 },
	};

	check(choices, ARRAY_LEN(choices), placement_choose);
}
END_TEST

START_TEST(a_slot_stays_unless_elsewhere_is_clearly_better)
{
	static const struct choice choices[] = {
		{ "an eighth of the budget more is not enough",
		  { 0, 0, 0 },
		  { NODE(0, 200, 0), NODE(1, 100, 0) },
		  2,
		  0 },
		{ "more than that is", { 0, 0, 0 }, { NODE(0, 201, 0), NODE(1, 100, 0) }, 2, 1 },
		{ "what it needs fits elsewhere only",
		  { 0, 700 * M, 0 },
		  { NODE(0, 101, 0), NODE(1, 100, 0) },
		  2,
		  1 },
		{ "what it needs fits here, too",
		  { 0, 699 * M, 0 },
		  { NODE(0, 101, 0), NODE(1, 100, 0) },
		  2,
		  0 },
		{ "huge pages are elsewhere",
		  { 1, 0, 4 },
		  { NODE(0, 700, 4), NODE(1, 0, 3) },
		  2,
		  0 },
		{ "it may not stay", { 0, 0, 0 }, { CLOSED(0), NODE(1, 800, 0) }, 2, 1 },
		{ "it is on a node that is gone",
		  { 7, 0, 0 },
		  { NODE(0, 1, 0), NODE(1, 0, 0) },
		  2,
		  1 },
		{ "the lower number is no reason to leave",
		  { 1, 0, 0 },
		  { NODE(0, 100, 0), NODE(1, 100, 0) },
		  2,
		  1 },
	};

	check(choices, ARRAY_LEN(choices), placement_choose);
}
END_TEST

START_TEST(the_larger_grant_of_a_need_comes_first)
{
	struct placement_node nodes[] = { NODE(0, 0, 64), NODE(1, 700, 0) };
	struct placement_wish wish = { 0, 200 * M, 32 };

	nodes[0].grant_bytes = 100 * M;
	nodes[1].grant_bytes = 200 * M;
	ck_assert_uint_eq(placement_choose(nodes, 2, &wish), 1);
}
END_TEST

START_TEST(relief_is_elsewhere_with_a_fifth_to_spare)
{
	static const struct choice choices[] = {
		{ "exactly 1.2 times",
		  { 0, 500 * M, 0 },
		  { NODE(0, 0, 0), NODE(1, 200, 0) },
		  2,
		  1 },
		{ "a little less",
		  { 0, 500 * M + 1, 0 },
		  { NODE(0, 0, 0), NODE(1, 200, 0) },
		  2,
		  NOWHERE },
		{ "it is not where it is", { 1, 1 * M, 0 }, { NODE(1, 0, 0) }, 1, NOWHERE },
		{ "not without its huge pages",
		  { 0, 1 * M, 8 },
		  { NODE(0, 700, 8), NODE(1, 0, 7) },
		  2,
		  NOWHERE },
		{ "not where it is not admitted",
		  { 0, 1 * M, 0 },
		  { NODE(0, 700, 0), CLOSED(1) },
		  2,
		  NOWHERE },
		{ "the freest of several",
		  { 0, 100 * M, 0 },
		  { NODE(2, 300, 0), NODE(0, 700, 0), NODE(1, 200, 0) },
		  3,
		  1 },
		{ "a size beyond reason",
		  { 0, UINT64_MAX, 0 },
		  { NODE(0, 0, 0), NODE(1, 0, 0) },
		  2,
		  NOWHERE },
	};

	check(choices, ARRAY_LEN(choices), placement_relief);
}
END_TEST

/* Whatever the numbers: the choice is admitted, and asked again from there it stays. */
START_TEST(a_choice_is_admitted_and_lasts)
{
	for (uint64_t seed = 0; seed < 20000; seed++) {
		struct placement_node nodes[4];
		struct placement_wish wish;
		size_t k;

		random_state = seed;
		for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
			nodes[i] = (struct placement_node){
				.node = (int)i,
				.is_admitted = random_below(4) > 0,
				.grant_bytes = random_below(3) * M,
				.budget_bytes = random_below(1000) * M,
				.used_bytes = random_below(1000) * M,
				.free_chunks = random_below(8),
			};
		wish = (struct placement_wish){ (int)random_below(5) - 1, random_below(500) * M,
						random_below(8) };
		k = placement_choose(nodes, ARRAY_LEN(nodes), &wish);
		if (k == PLACEMENT_NOWHERE) {
			for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
				REQUIRE(!nodes[i].is_admitted);
			continue;
		}
		REQUIRE(nodes[k].is_admitted);
		wish.node = nodes[k].node;
		REQUIRE(placement_choose(nodes, ARRAY_LEN(nodes), &wish) == k);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("placement");
	TCase *tc = tcase_create("placement");

	tcase_add_test(tc, a_new_slot_goes_where_most_is_free);
	tcase_add_test(tc, a_slot_stays_unless_elsewhere_is_clearly_better);
	tcase_add_test(tc, the_larger_grant_of_a_need_comes_first);
	tcase_add_test(tc, relief_is_elsewhere_with_a_fifth_to_spare);
	tcase_add_test(tc, a_choice_is_admitted_and_lasts);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
