/* SPDX-License-Identifier: Apache-2.0 */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kern/topology.h"
#include "suite.h"

START_TEST(node_lists_become_bits)
{
	static const struct {
		const char *text;
		uint64_t bits;
	} cases[] = {
		{ "", 0 },
		{ "0", 1 },
		{ "0-1", 3 },
		{ "1,3-5", 0x3a },
		{ "63", UINT64_C(1) << 63 },
		{ "0-63", UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t bits = 99;

		ck_assert_int_eq(topology_parse_nodes(cases[i].text, &bits), 0);
		ck_assert_uint_eq(bits, cases[i].bits);
	}
}
END_TEST

START_TEST(bad_node_lists_are_refused)
{
	static const char *const texts[] = { "a",   "1,", ",1",   "-1",  "1-",
					     "2-1", "64", "0-64", "1 2", "1-2-3" };
	char longer[600];
	uint64_t bits = 99;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		ck_assert_msg(topology_parse_nodes(texts[i], &bits) < 0, "%s", texts[i]);
	memset(longer, '1', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(topology_parse_nodes(longer, &bits), -ERANGE);
	ck_assert_uint_eq(bits, 99);
}
END_TEST

START_TEST(the_nodes_of_this_machine_have_its_memory)
{
	struct node_info nodes[NODES_MAX];
	uint64_t total = 0,
		 physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	char cpus[256];
	size_t n = 0;

	ck_assert_int_eq(topology_read(nodes, &n), 0);
	ck_assert_uint_ge(n, 1);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(topology_cpus(nodes[i].node, cpus, sizeof(cpus)), 0);
		ck_assert_uint_gt(nodes[i].total_bytes, 0);
		total += nodes[i].total_bytes;
	}
	ck_assert_uint_ge(total, physical / 100 * 95);
	ck_assert_uint_le(total, physical / 100 * 105);
	ck_assert_int_eq(topology_cpus(NODES_MAX - 1, cpus, sizeof(cpus)), -ENOENT);
	ck_assert_int_eq(topology_swap_free(&total), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("topology");
	TCase *tc = tcase_create("topology");

	tcase_add_test(tc, node_lists_become_bits);
	tcase_add_test(tc, bad_node_lists_are_refused);
	tcase_add_test(tc, the_nodes_of_this_machine_have_its_memory);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
