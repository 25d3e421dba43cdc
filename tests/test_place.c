/* SPDX-License-Identifier: Apache-2.0 */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kern/place.h"
#include "suite.h"

START_TEST(groups_are_formatted_and_parsed_back)
{
	const int nodes[] = { NODE_ANY, 0, 7, NODES_MAX - 1 };
	char text[PLACE_GROUP_MAX];

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		int node = 99;

		ck_assert_int_eq(place_parse_group(place_format_group(nodes[i], text), &node), 0);
		ck_assert_int_eq(node, nodes[i]);
	}
	ck_assert_str_eq(place_format_group(3, text), "node3");
	ck_assert_str_eq(place_format_group(NODE_ANY, text), "any");
}
END_TEST

START_TEST(other_directories_are_no_groups)
{
	static const char *const texts[] = { "",       "hold",   "node",   "node-1",
					     "node01", "node64", "nodes0", "node1x",
					     "any ",   "Any",    "node 1", "node4294967296" };
	int node = 99;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		ck_assert_msg(place_parse_group(texts[i], &node) == -EINVAL, "%s", texts[i]);
	ck_assert_int_eq(node, 99);
}
END_TEST

START_TEST(slot_names_are_plain_and_no_file_of_the_kernel)
{
	static const char *const good[] = { "a", "0", "ingest", "a.b_c-d", "memory", "cpu-1" };
	static const char *const bad[] = {
		"",    ".",   "..",  ".a",       "-a",         "_a",           "A",
		"a/b", "a b", "a\n", "\xc3\xa4", "memory.max", "cgroup.procs", "hugetlb.2MB.max"
	};
	char name[SLOT_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ck_assert_msg(place_is_slot_name(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!place_is_slot_name(bad[i]), "%s", bad[i]);
	memset(name, 'a', sizeof(name));
	name[SLOT_NAME_MAX + 1] = '\0';
	ck_assert(!place_is_slot_name(name));
	name[SLOT_NAME_MAX] = '\0';
	ck_assert(place_is_slot_name(name));
}
END_TEST

START_TEST(a_place_has_exactly_two_parts)
{
	static const char *const bad[] = { "",
					   "node0",
					   "node0/",
					   "/a",
					   "node0/a/b",
					   "hold/a",
					   "node0//a",
					   "node0/../a",
					   "node0/a (deleted)",
					   "nodenodenodenodenode/a" };
	char name[SLOT_NAME_MAX + 1] = "unchanged";
	int node = 99;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(place_parse(bad[i], &node, name) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(node, 99);
	ck_assert_str_eq(name, "unchanged");
	ck_assert_int_eq(place_parse("node1/ingest", &node, name), 0);
	ck_assert_int_eq(node, 1);
	ck_assert_str_eq(name, "ingest");
	ck_assert_int_eq(place_parse("any/join", &node, name), 0);
	ck_assert_int_eq(node, NODE_ANY);
	ck_assert_str_eq(name, "join");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("place");
	TCase *tc = tcase_create("place");

	tcase_add_test(tc, groups_are_formatted_and_parsed_back);
	tcase_add_test(tc, other_directories_are_no_groups);
	tcase_add_test(tc, slot_names_are_plain_and_no_file_of_the_kernel);
	tcase_add_test(tc, a_place_has_exactly_two_parts);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
