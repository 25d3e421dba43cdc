/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/gigantic.h"

#include <check.h>
#include <stdio.h>

#include "policy/admit.h"
#include "policy/entitle.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)

static const struct node_info nodes[] = {
	{ .node = 0, .total_bytes = 8 * G, .budget_bytes = G, .hugepages = 64, .gigantic = 2 },
	{ .node = 1, .total_bytes = 8 * G, .budget_bytes = G, .hugepages = 1024, .gigantic = 0 },
};

static struct slot_policy pool_of(const char *name, int node, uint64_t min, uint64_t max)
{
	struct slot_policy p = { .node = node,
				 .weight = WEIGHT_DEFAULT,
				 .tier = TIER_DEFAULT,
				 .max_bytes = BYTES_UNLIMITED,
				 .pool_min_bytes = min,
				 .pool_max_bytes = max };

	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

static bool chooses(const struct slot_policy *slots, size_t n, struct slot_policy candidate)
{
	return gigantic_choose(nodes, ARRAY_LEN(nodes), slots, n, &candidate);
}

START_TEST(only_what_is_never_lent_and_whole_is_of_them)
{
	static const struct {
		int node;
		uint64_t min, max;
		bool suits;
	} rows[] = {
		{ 0, G, G, true },
		{ 1, 3 * G, 3 * G, true },
		{ 0, 0, 0, false },
		{ 0, 0, G, false },
		{ 0, G, 2 * G, false },
		{ 0, G + 2 * M, G + 2 * M, false },
		{ 0, 512 * M, 512 * M, false },
		{ NODE_ANY, G, G, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slot_policy p = pool_of("a", rows[i].node, rows[i].min, rows[i].max);

		ck_assert_msg(gigantic_suits(&p) == rows[i].suits, "row %zu", i);
	}
}
END_TEST

START_TEST(a_pool_has_them_where_enough_are_promised_to_nobody)
{
	struct slot_policy others[] = { pool_of("a", 0, G, G), pool_of("b", 0, G, G),
					pool_of("c", 1, G, G) };

	ck_assert(chooses(others, 0, pool_of("x", 0, 2 * G, 2 * G)));
	ck_assert(!chooses(others, 0, pool_of("x", 0, 3 * G, 3 * G)));
	ck_assert(!chooses(others, 0, pool_of("x", 1, G, G)));
	ck_assert(!chooses(others, 0, pool_of("x", 5, G, G)));
	/* pools of the same size that are of 2 MiB pages take none */
	ck_assert(chooses(others, 3, pool_of("x", 0, 2 * G, 2 * G)));
	others[0].is_gigantic = others[2].is_gigantic = true;
	ck_assert_uint_eq(gigantic_promised(others, 3, 0, NULL), 1);
	ck_assert_uint_eq(gigantic_promised(others, 3, 0, "a"), 0);
	ck_assert(!chooses(others, 3, pool_of("x", 0, 2 * G, 2 * G)));
	ck_assert(chooses(others, 3, pool_of("x", 0, G, G)));
	/* it is replaced, so what it was promised is free */
	ck_assert(chooses(others, 3, pool_of("a", 0, 2 * G, 2 * G)));
}
END_TEST

START_TEST(what_tasks_hold_stays_what_it_is)
{
	struct slot_policy p = pool_of("x", 0, G, G);

	p.keeps_pages = true;
	ck_assert(!chooses(NULL, 0, p));
	p.is_gigantic = true;
	p.pool_max_bytes = 2 * G;
	ck_assert(chooses(NULL, 0, p));
}
END_TEST

START_TEST(a_promise_of_them_and_one_of_others_do_not_compete)
{
	struct slot_policy big = pool_of("big", 0, 2 * G, 2 * G),
			   x = pool_of("x", 0, 128 * M, 128 * M);
	struct refusal why;

	ck_assert_int_eq(admit(nodes, 2, NULL, 0, &big, &why), ADMIT_OK);
	big.is_gigantic = true;
	ck_assert_int_eq(admit(nodes, 2, &big, 1, &x, &why), ADMIT_OK);
	x.pool_min_bytes = x.pool_max_bytes = 130 * M;
	ck_assert_int_eq(admit(nodes, 2, &big, 1, &x, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message,
			 "pool=130M on node 0: guarantees would sum to 130M of 128M of huge pages "
			 "beside the 1G ones; 128M is still free");
	/* there is no third one, nor as much in 2 MiB pages */
	x.pool_min_bytes = x.pool_max_bytes = G;
	ck_assert_int_eq(admit(nodes, 2, &big, 1, &x, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "pool");
	/* with those it is one like any other */
	x.node = 1;
	ck_assert_int_eq(admit(nodes, 2, &big, 1, &x, &why), ADMIT_OK);
	/* a change that keeps its pages may not take what is not there */
	big.keeps_pages = true;
	big.pool_min_bytes = big.pool_max_bytes = 3 * G;
	ck_assert_int_eq(admit(nodes, 2, NULL, 0, &big, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message,
			 "pool=3G on node 0: guarantees would sum to 3G of 2G of 1G huge "
			 "pages; 2G is still free");
}
END_TEST

START_TEST(its_share_is_its_promise_and_no_part_of_what_others_divide)
{
	struct slot_policy p[] = { pool_of("big", 0, 2 * G, 2 * G), pool_of("x", 0, 0, G),
				   pool_of("gone", 7, G, G) };
	struct entitle_slot s[] = { { .policy = &p[0] }, { .policy = &p[1] }, { .policy = &p[2] } };
	struct entitle_node on[2];
	struct entitle_any any;

	p[0].is_gigantic = p[2].is_gigantic = true;
	ck_assert_int_eq(entitle(nodes, 2, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].pool_share_chunks, 1024);
	ck_assert_uint_eq(s[0].pool_guaranteed_chunks, 1024);
	ck_assert_uint_eq(s[1].pool_share_chunks, 64);
	ck_assert_uint_eq(s[2].pool_share_chunks, 0);
	ck_assert_uint_eq(on[0].guaranteed_chunks, 0);
}
END_TEST

START_TEST(numbers_of_chunks_become_whole_pages)
{
	ck_assert_uint_eq(gigantic_up(0), 0);
	ck_assert_uint_eq(gigantic_up(1), 512);
	ck_assert_uint_eq(gigantic_up(512), 512);
	ck_assert_uint_eq(gigantic_up(513), 1024);
	ck_assert_uint_eq(gigantic_up(UINT32_MAX), UINT32_MAX - 511);
	ck_assert_uint_eq(gigantic_down(511), 0);
	ck_assert_uint_eq(gigantic_down(1025), 1024);
}
END_TEST

START_TEST(tasks_keep_what_they_hold_and_the_rest_goes_in_turn)
{
	static const struct {
		uint32_t share;
		struct gigantic_task tasks[2]; /* held, wanted, target */
	} rows[] = {
		{ 1024, { { 0, UINT32_MAX, 1024 }, { 0, UINT32_MAX, 0 } } },
		{ 1024, { { 0, 1, 512 }, { 0, UINT32_MAX, 512 } } },
		{ 1024, { { 512, 512, 512 }, { 0, 512, 512 } } },
		{ 1536, { { 512, 600, 1024 }, { 0, 1, 512 } } },
		{ 512, { { 1024, 1024, 1024 }, { 0, 512, 0 } } },
		{ 1000, { { 0, UINT32_MAX, 512 }, { 0, UINT32_MAX, 0 } } },
		{ 0, { { 0, 512, 0 }, { 0, 512, 0 } } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct gigantic_task tasks[2] = { rows[i].tasks[0], rows[i].tasks[1] };

		tasks[0].target = tasks[1].target = 77;
		gigantic_divide(tasks, 2, rows[i].share);
		for (size_t k = 0; k < 2; k++)
			ck_assert_msg(tasks[k].target == rows[i].tasks[k].target,
				      "row %zu, task %zu: %u", i, k, tasks[k].target);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gigantic");
	TCase *tc = tcase_create("gigantic");

	tcase_add_test(tc, only_what_is_never_lent_and_whole_is_of_them);
	tcase_add_test(tc, a_pool_has_them_where_enough_are_promised_to_nobody);
	tcase_add_test(tc, what_tasks_hold_stays_what_it_is);
	tcase_add_test(tc, a_promise_of_them_and_one_of_others_do_not_compete);
	tcase_add_test(tc, its_share_is_its_promise_and_no_part_of_what_others_divide);
	tcase_add_test(tc, numbers_of_chunks_become_whole_pages);
	tcase_add_test(tc, tasks_keep_what_they_hold_and_the_rest_goes_in_turn);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
