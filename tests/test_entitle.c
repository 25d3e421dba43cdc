/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/entitle.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/admit.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)
#define MACHINES 100000
#define NODES_HERE 4
#define SLOTS_HERE 8

static struct node_info node_of(int number, uint64_t budget, uint64_t reserve, uint64_t hugepages)
{
	return (struct node_info){ .node = number,
				   .total_bytes = 2 * budget,
				   .budget_bytes = budget,
				   .reserve_bytes = reserve,
				   .hugepages_wanted = hugepages,
				   .hugepages = hugepages };
}

static struct slot_policy slot_of(const char *name, int node, uint32_t weight, uint32_t tier,
				  uint64_t min, uint64_t max)
{
	struct slot_policy p = {
		.node = node, .weight = weight, .tier = tier, .min_bytes = min, .max_bytes = max
	};

	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

static struct entitle_node on[NODES_HERE];
static struct entitle_any any;

START_TEST(three_slots_share_a_node_by_weight)
{
	struct node_info node = node_of(0, 160 * M, 0, 0);
	struct slot_policy p[] = { slot_of("a", 0, 100, 1, 0, BYTES_UNLIMITED),
				   slot_of("b", 0, 100, 1, 0, BYTES_UNLIMITED),
				   slot_of("c", 0, 200, 1, 0, BYTES_UNLIMITED) };
	struct entitle_slot s[] = { { .policy = &p[0] }, { .policy = &p[1] }, { .policy = &p[2] } };

	ck_assert_int_eq(entitle(&node, 1, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 40 * M);
	ck_assert_uint_eq(s[1].share_bytes, 40 * M);
	ck_assert_uint_eq(s[2].share_bytes, 80 * M);
	ck_assert_uint_eq(on[0].group_max_bytes, 160 * M);
	ck_assert_uint_eq(any.group_max_bytes, 0);
	for (int i = 0; i < 3; i++)
		ck_assert(s[i].is_placed);
}
END_TEST

START_TEST(the_reserve_is_not_promised_but_inside_the_group)
{
	struct node_info node = node_of(0, 100 * M, 10 * M, 0);
	struct slot_policy p = slot_of("a", 0, 100, 1, 0, BYTES_UNLIMITED);
	struct entitle_slot s[] = { { .policy = &p } };

	ck_assert_int_eq(entitle(&node, 1, s, 1, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 90 * M);
	ck_assert_uint_eq(on[0].distributable_bytes, 90 * M);
	ck_assert_uint_eq(on[0].group_max_bytes, 100 * M);
}
END_TEST

START_TEST(an_early_tier_takes_everything_but_the_guarantees)
{
	struct node_info node = node_of(0, 100 * M, 0, 0);
	struct slot_policy p[] = { slot_of("first", 0, 1, 0, 10 * M, BYTES_UNLIMITED),
				   slot_of("later", 0, 10000, 1, 20 * M, BYTES_UNLIMITED),
				   slot_of("last", 0, 10000, 3, 0, BYTES_UNLIMITED) };
	struct entitle_slot s[] = { { .policy = &p[0] }, { .policy = &p[1] }, { .policy = &p[2] } };

	ck_assert_int_eq(entitle(&node, 1, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 80 * M);
	ck_assert_uint_eq(s[1].share_bytes, 20 * M);
	ck_assert_uint_eq(s[2].share_bytes, 0);

	/* a cap on the first leaves room for the next, not for the last */
	p[0].max_bytes = 30 * M;
	ck_assert_int_eq(entitle(&node, 1, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 30 * M);
	ck_assert_uint_eq(s[1].share_bytes, 70 * M);
	ck_assert_uint_eq(s[2].share_bytes, 0);

	/* within the first tier a min above the weighted share is kept */
	p[1].tier = 0;
	p[0].max_bytes = BYTES_UNLIMITED;
	p[0].min_bytes = 60 * M;
	ck_assert_int_eq(entitle(&node, 1, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 60 * M);
	ck_assert_uint_eq(s[1].share_bytes, 40 * M);
}
END_TEST

START_TEST(a_slot_without_a_node_claims_a_part_of_each)
{
	struct node_info nodes[] = { node_of(0, 102 * M, 2 * M, 10),
				     node_of(1, 204 * M, 4 * M, 20) };
	struct slot_policy p[] = { slot_of("own", 0, 100, 1, 0, BYTES_UNLIMITED),
				   slot_of("any", NODE_ANY, 200, 1, 0, BYTES_UNLIMITED) };
	struct entitle_slot s[] = { { .policy = &p[0] }, { .policy = &p[1] } };

	ck_assert_int_eq(entitle(nodes, 2, s, 2, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].share_bytes, 50 * M); /* 100 against 200 / 2 */
	ck_assert_uint_eq(s[1].share_bytes, 50 * M + 200 * M);
	ck_assert_uint_eq(on[0].any_bytes, 50 * M);
	ck_assert_uint_eq(on[0].any_reserve_bytes, 1 * M); /* half of the node is `any` */
	ck_assert_uint_eq(on[0].group_max_bytes, 51 * M);
	ck_assert_uint_eq(on[1].group_max_bytes, 0); /* nobody is there, all is `any` */
	ck_assert_uint_eq(any.group_max_bytes, 51 * M + 204 * M);
	ck_assert_uint_eq(any.shared_bytes, 250 * M);
}
END_TEST

START_TEST(parts_sum_to_the_whole_and_keep_min_below_max)
{
	random_state = 1;
	for (int i = 0; i < 100000; i++) {
		uint64_t small = random_below(1000), large = small + random_below(10), sum = 0;
		size_t n = 1 + random_below(NODES_MAX);
		char name[16];

		snprintf(name, sizeof(name), "s%d", i % 1000);
		for (size_t k = 0; k < n; k++) {
			uint64_t part = entitle_part(name, small, k, n);

			sum += part;
			REQUIRE(part <= entitle_part(name, large, k, n));
			REQUIRE(part == small / n || part == small / n + 1);
			REQUIRE(entitle_part(name, BYTES_UNLIMITED, k, n) == BYTES_UNLIMITED);
		}
		REQUIRE(sum == small);
	}
}
END_TEST

START_TEST(parts_fall_on_the_nodes_that_have_something)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 0, 0, 8),
				     node_of(2, 100 * M, 0, 8) };

	ck_assert_uint_eq(entitle_part_of_bytes(nodes, 3, 0, "a", 10), 5);
	ck_assert_uint_eq(entitle_part_of_bytes(nodes, 3, 1, "a", 10), 0);
	ck_assert_uint_eq(entitle_part_of_bytes(nodes, 3, 2, "a", 10), 5);
	ck_assert_uint_eq(entitle_part_of_chunks(nodes, 3, 0, "a", 6), 0);
	ck_assert_uint_eq(entitle_part_of_chunks(nodes, 3, 1, "a", 6), 3);
	ck_assert_uint_eq(entitle_part_of_chunks(nodes, 3, 2, "a", 6), 3);
	nodes[1].hugepages = nodes[2].hugepages = 0;
	for (size_t k = 0; k < 3; k++)
		ck_assert_uint_eq(entitle_part_of_chunks(nodes, 3, k, "a", 6), 2);
}
END_TEST

START_TEST(single_chunks_of_many_slots_spread_over_the_nodes)
{
	unsigned first = 0;
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "slot-%d", i);
		first += entitle_part(name, 1, 0, 2);
	}
	ck_assert_uint_gt(first, 400);
	ck_assert_uint_lt(first, 600);
}
END_TEST

START_TEST(pools_get_their_min_and_share_the_rest)
{
	struct node_info node = node_of(0, 100 * M, 0, 10);
	struct slot_policy p[] = { slot_of("a", 0, 100, 1, 0, BYTES_UNLIMITED),
				   slot_of("b", 0, 300, 1, 0, BYTES_UNLIMITED),
				   slot_of("none", 0, 300, 1, 0, BYTES_UNLIMITED) };
	uint64_t here[3][1] = { { 77 }, { 77 }, { 77 } };
	struct entitle_slot s[] = { { .policy = &p[0], .pool_node_chunks = here[0] },
				    { .policy = &p[1], .pool_node_chunks = here[1] },
				    { .policy = &p[2], .pool_node_chunks = here[2] } };

	p[0].pool_min_bytes = 4 * CHUNK_BYTES;
	p[0].pool_max_bytes = 8 * CHUNK_BYTES;
	p[1].pool_max_bytes = 100 * CHUNK_BYTES;
	ck_assert_int_eq(entitle(&node, 1, s, 3, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].pool_share_chunks, 4);
	ck_assert_uint_eq(s[0].pool_guaranteed_chunks, 4);
	ck_assert_uint_eq(s[1].pool_share_chunks, 6);
	ck_assert_uint_eq(s[2].pool_share_chunks, 0);
	ck_assert_uint_eq(here[0][0], 4);
	ck_assert_uint_eq(here[1][0], 6);
	ck_assert_uint_eq(here[2][0], 0);
	ck_assert_uint_eq(on[0].shared_chunks, 10);
	ck_assert_uint_eq(on[0].guaranteed_chunks, 4);
}
END_TEST

START_TEST(a_pool_on_any_node_uses_only_nodes_with_huge_pages)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 100 * M, 0, 8) };
	struct slot_policy p = slot_of("any", NODE_ANY, 100, 1, 0, BYTES_UNLIMITED);
	uint64_t where[2];
	struct entitle_slot s[] = { { .policy = &p, .pool_node_chunks = where } };

	p.pool_min_bytes = p.pool_max_bytes = 6 * CHUNK_BYTES;
	ck_assert_int_eq(entitle(nodes, 2, s, 1, on, &any), ENTITLE_OK);
	ck_assert_uint_eq(s[0].pool_share_chunks, 6);
	ck_assert_uint_eq(where[0], 0);
	ck_assert_uint_eq(where[1], 6);
	ck_assert_uint_eq(any.shared_chunks, 6);

	/* and says so when there are none at all */
	nodes[1].hugepages = 0;
	ck_assert_int_eq(entitle(nodes, 2, s, 1, on, &any), ENTITLE_OVERPROMISED);
	ck_assert_uint_eq(s[0].pool_share_chunks, 0);
	ck_assert_uint_eq(s[0].share_bytes, 200 * M);
}
END_TEST

START_TEST(guarantees_beyond_a_shrunken_node_are_cut_in_proportion)
{
	struct node_info nodes[] = { node_of(0, 100 * M, 0, 0), node_of(1, 100 * M, 0, 0) };
	struct slot_policy p[] = { slot_of("a", 0, 100, 0, 60 * M, 80 * M),
				   slot_of("b", 0, 100, 1, 140 * M, BYTES_UNLIMITED),
				   slot_of("c", 1, 100, 1, 50 * M, BYTES_UNLIMITED) };
	struct entitle_slot s[] = { { .policy = &p[0] }, { .policy = &p[1] }, { .policy = &p[2] } };

	ck_assert_int_eq(entitle(nodes, 2, s, 3, on, &any), ENTITLE_OVERPROMISED);
	ck_assert(on[0].is_overpromised);
	ck_assert(!on[1].is_overpromised);
	ck_assert_uint_eq(s[0].guaranteed_bytes, 30 * M);
	ck_assert_uint_eq(s[0].share_bytes, 30 * M);
	ck_assert_uint_eq(s[1].guaranteed_bytes, 70 * M);
	ck_assert_uint_eq(s[2].guaranteed_bytes, 50 * M);
	ck_assert_uint_eq(s[2].share_bytes, 100 * M);
}
END_TEST

START_TEST(a_slot_on_a_missing_node_gets_nothing_and_is_marked)
{
	struct node_info node = node_of(0, 100 * M, 0, 4);
	struct slot_policy p = slot_of("a", 3, 100, 1, 10 * M, BYTES_UNLIMITED);
	struct entitle_slot s[] = { { .policy = &p, .share_bytes = 7, .is_placed = true } };

	ck_assert_int_eq(entitle(&node, 1, s, 1, on, &any), ENTITLE_OK);
	ck_assert(!s[0].is_placed);
	ck_assert_uint_eq(s[0].share_bytes, 0);
	ck_assert_int_eq(entitle(NULL, 0, s, 1, on, &any), ENTITLE_OK);
	ck_assert(!s[0].is_placed);
}
END_TEST

START_TEST(unsound_input_is_refused)
{
	struct node_info nodes[] = { node_of(1, 100 * M, 0, 0), node_of(0, 100 * M, 0, 0) };
	struct slot_policy p = slot_of("a", 0, 100, 1, 0, BYTES_UNLIMITED);
	struct entitle_slot s[] = { { .policy = &p } };

	ck_assert_int_eq(entitle(nodes, 2, s, 1, on, &any), -EINVAL); /* not ascending */
	nodes[0] = node_of(0, 100 * M, 101 * M, 0);
	ck_assert_int_eq(entitle(nodes, 1, s, 1, on, &any), -EINVAL);
	nodes[0] = node_of(0, 100 * M, 0, 0);
	p.weight = 0;
	ck_assert_int_eq(entitle(nodes, 1, s, 1, on, &any), -EINVAL);
	p = slot_of("a", 0, 100, 1, 2, 1);
	ck_assert_int_eq(entitle(nodes, 1, s, 1, on, &any), -EINVAL);
	p = slot_of("a", 0, 100, TIERS, 0, 1);
	ck_assert_int_eq(entitle(nodes, 1, s, 1, on, &any), -EINVAL);
}
END_TEST

/* ---------------------------------------------------------------- random machines */

static size_t random_nodes(struct node_info *nodes)
{
	size_t n = 1 + random_below(NODES_HERE);
	uint64_t scale = random_below(2) ? 200 : 64 * M;

	for (size_t i = 0; i < n; i++) {
		uint64_t budget = random_below(5) ? random_below(scale) : 0;

		nodes[i] = node_of((int)(i * 2), budget, random_below(budget / 4 + 1),
				   random_below(3) ? random_below(20) : 0);
	}
	return n;
}

static struct slot_policy random_slot(const struct node_info *nodes, size_t n_nodes)
{
	uint64_t scale = nodes[random_below(n_nodes)].budget_bytes + 2;
	uint64_t a = random_below(scale), b = random_below(scale), c = random_below(10);
	char name[8] = { (char)('a' + random_below(SLOTS_HERE)) };
	struct slot_policy p;

	p = slot_of(name, random_below(3) ? (int)random_below(n_nodes) * 2 : NODE_ANY,
		    1 + (uint32_t)random_below(random_below(2) ? 5 : WEIGHT_MAX),
		    (uint32_t)random_below(TIERS), random_below(3) ? MIN(a, b) : 0,
		    random_below(2) ? MAX(a, b) : BYTES_UNLIMITED);
	p.pool_min_bytes = random_below(c + 1) * CHUNK_BYTES;
	p.pool_max_bytes = c * CHUNK_BYTES;
	return p;
}

static void put(struct slot_policy *slots, size_t *n, const struct slot_policy *p)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(slots[i].name, p->name) == 0) {
			slots[i] = *p;
			return;
		}
	slots[(*n)++] = *p;
}

/* Everything entitle() promises, from its results alone. */
static void check_division(const struct node_info *nodes, size_t n_nodes,
			   const struct entitle_slot *s, size_t n, bool keeps_promises)
{
	uint64_t own[NODES_HERE] = {}, groups = any.group_max_bytes, budgets = 0;
	uint64_t any_bytes = 0, any_chunks = 0, of_any = 0, chunks_of_any = 0;

	for (size_t i = 0; i < n; i++) {
		const struct slot_policy *p = s[i].policy;
		uint64_t here = 0;

		REQUIRE(s[i].share_bytes <= p->max_bytes);
		REQUIRE(s[i].share_bytes >= s[i].guaranteed_bytes);
		REQUIRE(s[i].pool_share_chunks * CHUNK_BYTES <= p->pool_max_bytes);
		REQUIRE(s[i].pool_share_chunks >= s[i].pool_guaranteed_chunks);
		if (keeps_promises) {
			REQUIRE(s[i].guaranteed_bytes == p->min_bytes);
			REQUIRE(s[i].pool_guaranteed_chunks * CHUNK_BYTES == p->pool_min_bytes);
		}
		for (size_t k = 0; k < n_nodes; k++) {
			here += s[i].pool_node_chunks[k];
			REQUIRE(p->node == NODE_ANY || p->node == nodes[k].node ||
				s[i].pool_node_chunks[k] == 0);
		}
		REQUIRE(here == s[i].pool_share_chunks);
		if (p->node == NODE_ANY) {
			of_any += s[i].share_bytes;
			chunks_of_any += s[i].pool_share_chunks;
		} else {
			own[p->node / 2] += s[i].share_bytes;
		}
	}
	for (size_t k = 0; k < n_nodes; k++) {
		uint64_t chunks = 0;

		REQUIRE(on[k].shared_bytes == own[k]);
		REQUIRE(own[k] + on[k].any_bytes <= on[k].distributable_bytes);
		REQUIRE(on[k].guaranteed_bytes <= on[k].distributable_bytes);
		REQUIRE(own[k] <= on[k].group_max_bytes);
		for (size_t i = 0; i < n; i++)
			chunks += s[i].pool_node_chunks[k];
		REQUIRE(chunks == on[k].shared_chunks + on[k].any_chunks);
		REQUIRE(chunks <= nodes[k].hugepages);
		any_bytes += on[k].any_bytes;
		any_chunks += on[k].any_chunks;
		groups += on[k].group_max_bytes;
		budgets += nodes[k].budget_bytes;
	}
	REQUIRE(groups == budgets);
	REQUIRE(any_bytes == of_any && any.shared_bytes == of_any);
	REQUIRE(any_chunks == chunks_of_any && any.shared_chunks == chunks_of_any);
	REQUIRE(any.group_max_bytes >= any.shared_bytes);
}

/* In one tier of one node: whoever may still grow is not poorer, per weight, than one who could
 * give; and nobody of a later tier has excess while an earlier one may still grow. */
static void check_tiers(const struct entitle_slot *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			const struct entitle_slot *a = &s[i], *b = &s[j];

			if (a->policy->node == NODE_ANY || a->policy->node != b->policy->node ||
			    a->share_bytes >= a->policy->max_bytes ||
			    b->share_bytes <= b->policy->min_bytes)
				continue;
			REQUIRE(a->policy->tier >= b->policy->tier);
			if (a->policy->tier == b->policy->tier)
				REQUIRE((a->share_bytes + 1) * b->policy->weight >
					(b->share_bytes - 1) * a->policy->weight);
		}
}

START_TEST(no_sequence_of_admitted_changes_promises_more_than_there_is)
{
	struct slot_policy slots[SLOTS_HERE];
	struct node_info nodes[NODES_HERE];
	unsigned admitted = 0, refused = 0;

	random_state = 2;
	for (int machine = 0; machine < MACHINES; machine++) {
		uint64_t where[SLOTS_HERE][NODES_HERE];
		struct entitle_slot s[SLOTS_HERE] = {};
		size_t n_nodes = random_nodes(nodes), n = 0, n_changes = 1 + random_below(12);

		for (size_t i = 0; i < n_changes; i++) {
			struct slot_policy p = random_slot(nodes, n_nodes);
			struct refusal why;
			int r;

			if (n > 0 && random_below(5) == 0) {
				slots[random_below(n)] = slots[n - 1];
				n--;
				continue;
			}
			r = admit(nodes, n_nodes, slots, n, &p, &why);
			if (r == ADMIT_OK) {
				put(slots, &n, &p);
				admitted++;
			} else {
				REQUIRE(r == ADMIT_REFUSED && why.needed > why.available);
				refused++;
			}
		}
		for (size_t i = 0; i < n; i++)
			s[i] = (struct entitle_slot){ .policy = &slots[i],
						      .pool_node_chunks = where[i] };
		REQUIRE(entitle(nodes, n_nodes, s, n, on, &any) == ENTITLE_OK);
		check_division(nodes, n_nodes, s, n, true);
		check_tiers(s, n);
	}
	ck_assert_uint_gt(admitted, MACHINES);
	ck_assert_uint_gt(refused, MACHINES / 10);
}
END_TEST

START_TEST(a_machine_that_lost_memory_still_divides_exactly_what_it_has)
{
	struct slot_policy slots[SLOTS_HERE];
	struct node_info nodes[NODES_HERE];
	unsigned overpromised = 0;

	random_state = 3;
	for (int machine = 0; machine < MACHINES / 4; machine++) {
		uint64_t where[SLOTS_HERE][NODES_HERE];
		struct entitle_slot s[SLOTS_HERE] = {};
		size_t n_nodes = random_nodes(nodes), n = 0;
		int r;

		for (int i = 0; i < SLOTS_HERE; i++) { /* nobody asks admit() */
			struct slot_policy p = random_slot(nodes, n_nodes);

			put(slots, &n, &p);
		}
		for (size_t i = 0; i < n; i++)
			s[i] = (struct entitle_slot){ .policy = &slots[i],
						      .pool_node_chunks = where[i] };
		r = entitle(nodes, n_nodes, s, n, on, &any);
		REQUIRE(r == ENTITLE_OK || r == ENTITLE_OVERPROMISED);
		overpromised += r == ENTITLE_OVERPROMISED;
		check_division(nodes, n_nodes, s, n, r == ENTITLE_OK);
	}
	ck_assert_uint_gt(overpromised, 1000);
}
END_TEST

START_TEST(the_order_of_the_slots_does_not_matter)
{
	struct slot_policy slots[SLOTS_HERE];
	struct node_info nodes[NODES_HERE];

	random_state = 4;
	for (int machine = 0; machine < MACHINES / 10; machine++) {
		struct entitle_slot s[SLOTS_HERE] = {}, t[SLOTS_HERE] = {};
		size_t n_nodes = random_nodes(nodes), n = 0;

		for (int i = 0; i < SLOTS_HERE; i++) {
			struct slot_policy p = random_slot(nodes, n_nodes);

			put(slots, &n, &p);
		}
		for (size_t i = 0; i < n; i++) {
			s[i].policy = &slots[i];
			t[n - 1 - i].policy = &slots[i];
		}
		REQUIRE(entitle(nodes, n_nodes, s, n, on, &any) >= 0);
		REQUIRE(entitle(nodes, n_nodes, t, n, on, &any) >= 0);
		for (size_t i = 0; i < n; i++) {
			REQUIRE(s[i].share_bytes == t[n - 1 - i].share_bytes);
			REQUIRE(s[i].pool_share_chunks == t[n - 1 - i].pool_share_chunks);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("entitle");
	TCase *tc = tcase_create("entitle");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, three_slots_share_a_node_by_weight);
	tcase_add_test(tc, the_reserve_is_not_promised_but_inside_the_group);
	tcase_add_test(tc, an_early_tier_takes_everything_but_the_guarantees);
	tcase_add_test(tc, a_slot_without_a_node_claims_a_part_of_each);
	tcase_add_test(tc, parts_sum_to_the_whole_and_keep_min_below_max);
	tcase_add_test(tc, parts_fall_on_the_nodes_that_have_something);
	tcase_add_test(tc, single_chunks_of_many_slots_spread_over_the_nodes);
	tcase_add_test(tc, pools_get_their_min_and_share_the_rest);
	tcase_add_test(tc, a_pool_on_any_node_uses_only_nodes_with_huge_pages);
	tcase_add_test(tc, guarantees_beyond_a_shrunken_node_are_cut_in_proportion);
	tcase_add_test(tc, a_slot_on_a_missing_node_gets_nothing_and_is_marked);
	tcase_add_test(tc, unsound_input_is_refused);
	tcase_add_test(tc, no_sequence_of_admitted_changes_promises_more_than_there_is);
	tcase_add_test(tc, a_machine_that_lost_memory_still_divides_exactly_what_it_has);
	tcase_add_test(tc, the_order_of_the_slots_does_not_matter);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
