/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/admit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)

static struct refusal why;

static struct node_info node_of(int number, uint64_t budget, uint64_t reserve, uint64_t hugepages)
{
	return (struct node_info){ .node = number,
				   .total_bytes = 2 * budget,
				   .budget_bytes = budget,
				   .reserve_bytes = reserve,
				   .hugepages_wanted = hugepages,
				   .hugepages = hugepages };
}

static struct slot_policy slot_of(const char *name, int node, uint64_t min)
{
	struct slot_policy p = { .node = node,
				 .weight = WEIGHT_DEFAULT,
				 .tier = TIER_DEFAULT,
				 .min_bytes = min,
				 .max_bytes = BYTES_UNLIMITED };

	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

START_TEST(names_are_cgroup_directories)
{
	static const char *const good[] = { "a", "0", "ingest", "a.b_c-d", "9-", "a..b" };
	static const char *const bad[] = { "",  ".",   "..",  ".a",  "-a",       "_a",
					   "A", "a/b", "a b", "a\n", "\xc3\xa4", "a*" };
	char name[SLOT_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ck_assert_msg(admit_name_is_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!admit_name_is_valid(bad[i]), "%s", bad[i]);
	memset(name, 'x', sizeof(name));
	name[SLOT_NAME_MAX] = 0;
	ck_assert(admit_name_is_valid(name));
	name[SLOT_NAME_MAX] = 'x'; /* not terminated: nothing past the field is read */
	ck_assert(!admit_name_is_valid(name));
}
END_TEST

START_TEST(values_wrong_by_themselves_are_named)
{
	static const struct {
		struct slot_policy p;
		const char *field, *message;
	} rows[] = {
		{ { .name = "A", .weight = 1 },
		  "name",
		  "a slot's name has 1 to 63 of the characters a-z 0-9 . _ - and begins with a "
		  "letter or digit" },
		{ { .name = "a", .node = -2, .weight = 1 },
		  "node",
		  "node=-2: nodes are 0 to 63, or any" },
		{ { .name = "a", .node = 64, .weight = 1 },
		  "node",
		  "node=64: nodes are 0 to 63, or any" },
		{ { .name = "a", .weight = 0 }, "weight", "weight=0: weights are 1 to 10000" },
		{ { .name = "a", .weight = 10001 },
		  "weight",
		  "weight=10001: weights are 1 to 10000" },
		{ { .name = "a", .weight = 1, .tier = 4 },
		  "tier",
		  "tier=4: tiers are 0, served first, to 3" },
		{ { .name = "a", .weight = 1, .min_bytes = 512 * M, .max_bytes = 256 * M },
		  "min",
		  "min=512M is above max=256M: raise max or lower min" },
		{ { .name = "a",
		    .weight = 1,
		    .min_bytes = BYTES_UNLIMITED,
		    .max_bytes = BYTES_UNLIMITED },
		  "min",
		  "min=max: a guarantee cannot be unlimited nor above 2097152T" },
		{ { .name = "a", .weight = 1, .max_bytes = BYTES_UNLIMITED - 1 },
		  "max",
		  "max=18446744073709551614: use max=max for no cap" },
		{ { .name = "a", .weight = 1, .pool_min_bytes = 3 * M, .pool_max_bytes = 4 * M },
		  "pool",
		  "pool=3M is not a multiple of 2M, the size of a huge page" },
		{ { .name = "a", .weight = 1, .pool_max_bytes = BYTES_UNLIMITED },
		  "pool-max",
		  "pool-max=max is not a multiple of 2M, the size of a huge page" },
		{ { .name = "a", .weight = 1, .pool_min_bytes = 8 * M, .pool_max_bytes = 4 * M },
		  "pool",
		  "pool=8M is above pool-max=4M: raise pool-max or lower pool" },
	};
	struct slot_policy good = slot_of("a", NODE_ANY, 0);
	struct node_info node = node_of(0, 784 * M, 0, 0);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(admit_check_policy(&rows[i].p, &why), ADMIT_BAD_VALUE);
		ck_assert_str_eq(why.field, rows[i].field);
		ck_assert_str_eq(why.message, rows[i].message);
		ck_assert_int_eq(admit(&node, 1, NULL, 0, &rows[i].p, &why), ADMIT_BAD_VALUE);
	}
	ck_assert_int_eq(admit_check_policy(&good, &why), ADMIT_OK);
}
END_TEST

START_TEST(a_sum_of_guarantees_beyond_the_node_is_refused_with_the_numbers)
{
	struct node_info node = node_of(0, 800 * M, 16 * M, 0);
	struct slot_policy slots[] = { slot_of("a", 0, 388 * M) };
	struct slot_policy b = slot_of("b", 0, 512 * M);

	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "min=512M on node 0: guarantees would sum to 900M of 784M; "
				      "396M is still free");
	ck_assert_str_eq(why.field, "min");
	ck_assert_int_eq(why.node, 0);
	ck_assert_uint_eq(why.needed, 900 * M);
	ck_assert_uint_eq(why.available, 784 * M);

	b.min_bytes = 396 * M; /* what it said is right */
	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_OK);
	b.min_bytes++;
	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_REFUSED);
}
END_TEST

START_TEST(what_is_said_to_be_free_can_be_had)
{
	struct node_info node = node_of(0, 100 * M + 700000, 0, 0);
	struct slot_policy slots[] = { slot_of("a", 0, 50 * M) };
	struct slot_policy b = slot_of("b", 0, 51 * M);

	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "min=51M on node 0: guarantees would sum to 101M of 100M; "
				      "50M is still free");
	b.min_bytes = 50 * M;
	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_OK);
}
END_TEST

START_TEST(a_change_replaces_the_slot_of_its_name)
{
	struct node_info node = node_of(0, 100 * M, 0, 0);
	struct slot_policy slots[] = { slot_of("a", 0, 60 * M), slot_of("b", 0, 40 * M) };
	struct slot_policy a = slot_of("a", 0, 60 * M);

	ck_assert_int_eq(admit(&node, 1, slots, 2, &a, &why), ADMIT_OK);
	a.min_bytes = 61 * M;
	ck_assert_int_eq(admit(&node, 1, slots, 2, &a, &why), ADMIT_REFUSED);
}
END_TEST

START_TEST(lowering_is_admitted_where_too_much_is_promised_already)
{
	struct node_info node = node_of(0, 100 * M, 0, 4);
	struct slot_policy slots[] = { slot_of("a", 0, 90 * M), slot_of("b", 0, 80 * M) };
	struct slot_policy a = slot_of("a", 0, 70 * M), c = slot_of("c", 0, 0);

	ck_assert_int_eq(admit(&node, 1, slots, 2, &a, &why), ADMIT_OK);
	ck_assert_int_eq(admit(&node, 1, slots, 2, &c, &why), ADMIT_OK);
	c.min_bytes = 1;
	ck_assert_int_eq(admit(&node, 1, slots, 2, &c, &why), ADMIT_REFUSED);
}
END_TEST

START_TEST(pools_are_guaranteed_by_huge_pages_of_the_node)
{
	struct node_info node = node_of(1, 100 * M, 0, 8);
	struct slot_policy slots[] = { slot_of("a", 1, 0) }, b = slot_of("b", 1, 0);

	slots[0].pool_min_bytes = slots[0].pool_max_bytes = 10 * M;
	b.pool_min_bytes = b.pool_max_bytes = 8 * M;
	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "pool=8M on node 1: guarantees would sum to 18M of 16M of "
				      "huge pages; 6M is still free");
	ck_assert_str_eq(why.field, "pool");
	ck_assert_uint_eq(why.needed, 18 * M);
	ck_assert_uint_eq(why.available, 16 * M);
	b.pool_min_bytes = 6 * M; /* pool-max beyond what there is does no harm */
	b.pool_max_bytes = 600 * M;
	ck_assert_int_eq(admit(&node, 1, slots, 1, &b, &why), ADMIT_OK);
}
END_TEST

START_TEST(a_slot_on_any_node_must_fit_on_each)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 40 * M, 0, 0),
				     node_of(2, 0, 0, 0) /* no memory: no part falls here */ };
	struct slot_policy any = slot_of("any", NODE_ANY, 80 * M);

	ck_assert_int_eq(admit(nodes, 3, NULL, 0, &any, &why), ADMIT_OK);
	any.min_bytes += 4 * M;
	ck_assert_int_eq(admit(nodes, 3, NULL, 0, &any, &why), ADMIT_REFUSED);
	ck_assert_int_eq(why.node, 1);
	ck_assert_str_eq(why.message, "min=84M on node 1 (its part of a slot on any node): "
				      "guarantees would sum to 42M of 40M; 40M is still free");
}
END_TEST

START_TEST(unknown_nodes_are_refused_with_the_known_ones)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 100 * M, 0, 0) };
	struct slot_policy p = slot_of("a", 2, 0);

	ck_assert_int_eq(admit(nodes, 2, NULL, 0, &p, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.field, "node");
	ck_assert_str_eq(why.message, "node=2: this machine has 2 nodes, 0 to 1");
	ck_assert_int_eq(admit(nodes, 1, NULL, 0, &p, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "node=2: this machine has node 0 only");
	p.node = NODE_ANY;
	ck_assert_int_eq(admit(nodes, 0, NULL, 0, &p, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "no node of this machine has a budget");
}
END_TEST

START_TEST(the_number_of_slots_is_bounded_but_all_may_be_changed)
{
	struct slot_policy *slots = calloc(SLOTS_MAX, sizeof(*slots));
	struct node_info node = node_of(0, 100 * M, 0, 0);
	struct slot_policy p = slot_of("one-more", 0, 0);
	char name[16];

	for (int i = 0; i < SLOTS_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		slots[i] = slot_of(name, 0, 0);
	}
	ck_assert_int_eq(admit(&node, 1, slots, SLOTS_MAX - 1, &p, &why), ADMIT_OK);
	ck_assert_int_eq(admit(&node, 1, slots, SLOTS_MAX, &p, &why), ADMIT_REFUSED);
	ck_assert_str_eq(why.message, "there are 10000 slots already, the most there can be");
	p = slot_of("s77", 0, 50 * M);
	ck_assert_int_eq(admit(&node, 1, slots, SLOTS_MAX, &p, &why), ADMIT_OK);
	free(slots);
}
END_TEST

START_TEST(sums_that_pass_64_bits_are_still_sums)
{
	struct node_info node = node_of(0, ADMIT_BYTES_MAX, 0, 0);
	struct slot_policy slots[16], p = slot_of("p", 0, ADMIT_BYTES_MAX);

	for (int i = 0; i < 16; i++) {
		char name[8];

		snprintf(name, sizeof(name), "s%d", i);
		slots[i] = slot_of(name, 0, ADMIT_BYTES_MAX);
	}
	ck_assert_int_eq(admit(&node, 1, slots, 16, &p, &why), ADMIT_REFUSED);
	ck_assert_int_eq(admit(&node, 1, slots, 0, &p, &why), ADMIT_OK);
}
END_TEST

START_TEST(the_node_with_most_unpromised_memory_is_chosen)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 4), node_of(1, 100 * M, 0, 4),
				     node_of(2, 300 * M, 0, 0) };
	struct slot_policy slots[] = { slot_of("a", 0, 10 * M), slot_of("b", 2, 250 * M) };
	struct slot_policy p = slot_of("p", NODE_ANY, 20 * M);
	int node = 77;

	ck_assert_int_eq(admit_choose_node(nodes, 3, slots, 2, &p, &node, &why), ADMIT_OK);
	ck_assert_int_eq(node, 1);
	/* equal: the lower number */
	ck_assert_int_eq(admit_choose_node(nodes, 2, NULL, 0, &p, &node, &why), ADMIT_OK);
	ck_assert_int_eq(node, 0);
	/* huge pages decide before free memory */
	slots[1].min_bytes = 0;
	ck_assert_int_eq(admit_choose_node(nodes, 3, slots, 2, &p, &node, &why), ADMIT_OK);
	ck_assert_int_eq(node, 2);
	p.pool_min_bytes = p.pool_max_bytes = 8 * M;
	ck_assert_int_eq(admit_choose_node(nodes, 3, slots, 2, &p, &node, &why), ADMIT_OK);
	ck_assert_int_eq(node, 1);
}
END_TEST

START_TEST(when_no_node_fits_the_refusal_speaks_of_the_roomiest)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 200 * M, 0, 0) };
	struct slot_policy p = slot_of("p", 0, 201 * M);
	int node = 77;

	ck_assert_int_eq(admit_choose_node(nodes, 2, NULL, 0, &p, &node, &why), ADMIT_REFUSED);
	ck_assert_int_eq(why.node, 1);
	ck_assert_str_eq(why.message, "min=201M on node 1: guarantees would sum to 201M of 200M; "
				      "200M is still free");
	p.weight = 0;
	ck_assert_int_eq(admit_choose_node(nodes, 2, NULL, 0, &p, &node, &why), ADMIT_BAD_VALUE);
	ck_assert_str_eq(why.field, "weight");
	ck_assert_int_eq(admit_choose_node(nodes, 0, NULL, 0, &p, &node, &why), ADMIT_BAD_VALUE);
	p.weight = 1;
	ck_assert_int_eq(admit_choose_node(nodes, 0, NULL, 0, &p, &node, &why), ADMIT_REFUSED);
	ck_assert_int_eq(node, 77);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admit");
	TCase *tc = tcase_create("admit");

	tcase_add_test(tc, names_are_cgroup_directories);
	tcase_add_test(tc, values_wrong_by_themselves_are_named);
	tcase_add_test(tc, a_sum_of_guarantees_beyond_the_node_is_refused_with_the_numbers);
	tcase_add_test(tc, what_is_said_to_be_free_can_be_had);
	tcase_add_test(tc, a_change_replaces_the_slot_of_its_name);
	tcase_add_test(tc, lowering_is_admitted_where_too_much_is_promised_already);
	tcase_add_test(tc, pools_are_guaranteed_by_huge_pages_of_the_node);
	tcase_add_test(tc, a_slot_on_any_node_must_fit_on_each);
	tcase_add_test(tc, unknown_nodes_are_refused_with_the_known_ones);
	tcase_add_test(tc, the_number_of_slots_is_bounded_but_all_may_be_changed);
	tcase_add_test(tc, sums_that_pass_64_bits_are_still_sums);
	tcase_add_test(tc, the_node_with_most_unpromised_memory_is_chosen);
	tcase_add_test(tc, when_no_node_fits_the_refusal_speaks_of_the_roomiest);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
