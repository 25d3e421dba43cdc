/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/pages.h"

#include <check.h>

#include "base/attr.h"
#include "suite.h"

#define GIB (UINT64_C(1) << 30)

START_TEST(pages_are_huge_unless_that_fails_and_the_fallback_is_allowed)
{
	static const struct {
		const char *when;
		struct pages_input in;
		enum page_kind kind;
	} rows[] = {
		{ "not allowed, enough", { false, true, 8, 64, 64, 0 }, PAGES_HUGE },
		{ "not allowed, too few", { false, true, 8, 4, 4, 64 }, PAGES_HUGE },
		{ "not allowed, none", { false, true, 8, 0, 0, 64 }, PAGES_HUGE },
		{ "enough", { true, true, 8, 64, 64, 64 }, PAGES_HUGE },
		{ "just enough", { true, true, 8, 64, 8, 64 }, PAGES_HUGE },
		{ "one short", { true, true, 8, 64, 7, 64 }, PAGES_TRANSPARENT },
		{ "more would be lent in memory", { true, true, 8, 16, 16, 64 }, PAGES_HUGE },
		{ "none", { true, true, 8, 0, 0, 64 }, PAGES_TRANSPARENT },
		{ "no memory either", { true, true, 8, 64, 4, 3 }, PAGES_HUGE },
		{ "too little memory, too", { true, true, 8, 64, 4, 5 }, PAGES_TRANSPARENT },
		{ "nobody can be charged", { true, false, 8, 64, 64, 64 }, PAGES_TRANSPARENT },
		{ "nobody can be charged, no memory",
		  { true, false, 8, 64, 64, 0 },
		  PAGES_TRANSPARENT },
		{ "others of the slot have the huge ones",
		  { true, true, 8, 64, 0, 0 },
		  PAGES_HUGE },
		{ "others have the memory", { true, true, 8, 0, 0, 0 }, PAGES_TRANSPARENT },
		{ "so few could never do", { true, true, 8, 7, 0, 0 }, PAGES_TRANSPARENT },
		{ "nothing is needed, one is there", { true, true, 0, 64, 1, 64 }, PAGES_HUGE },
		{ "nothing is needed, none is there",
		  { true, true, 0, 64, 0, 64 },
		  PAGES_TRANSPARENT },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ck_assert_msg(pages_choose(&rows[i].in) == rows[i].kind, "%s: not %s", rows[i].when,
			      page_kind_names[rows[i].kind]);
}
END_TEST

START_TEST(a_node_deals_what_was_asked_for_only_where_memory_can_stand_in)
{
	ck_assert_uint_eq(pages_to_deal(false, 64, 10), 10);
	ck_assert_uint_eq(pages_to_deal(false, 10, 64), 64);
	ck_assert_uint_eq(pages_to_deal(true, 64, 10), 64);
	ck_assert_uint_eq(pages_to_deal(true, 64, 0), 64);
	ck_assert_uint_eq(pages_to_deal(true, 10, 64), 64);
}
END_TEST

START_TEST(memory_gives_what_is_there_and_dealt_and_not_its_last_part)
{
	/* a 64th of 1 GiB is 8 chunks */
	ck_assert_uint_eq(pages_in_memory(GIB / 2, GIB, 64, 0), 64);
	ck_assert_uint_eq(pages_in_memory(GIB / 2, GIB, 64, 60), 4);
	ck_assert_uint_eq(pages_in_memory(GIB / 2, GIB, 64, 64), 0);
	ck_assert_uint_eq(pages_in_memory(GIB / 2, GIB, 64, 70), 0);
	ck_assert_uint_eq(pages_in_memory(18 * CHUNK_BYTES, GIB, 64, 0), 10);
	ck_assert_uint_eq(pages_in_memory(18 * CHUNK_BYTES - 1, GIB, 64, 0), 9);
	ck_assert_uint_eq(pages_in_memory(8 * CHUNK_BYTES, GIB, 64, 0), 0);
	ck_assert_uint_eq(pages_in_memory(0, GIB, 64, 0), 0);
}
END_TEST

START_TEST(what_pages_are_is_one_word)
{
	ck_assert_str_eq(pages_describe(3, 0), "huge");
	ck_assert_str_eq(pages_describe(0, 3), "transparent");
	ck_assert_str_eq(pages_describe(1, 3), "mixed");
	ck_assert_ptr_null(pages_describe(0, 0));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pages");
	TCase *tc = tcase_create("pages");

	tcase_add_test(tc, pages_are_huge_unless_that_fails_and_the_fallback_is_allowed);
	tcase_add_test(tc, a_node_deals_what_was_asked_for_only_where_memory_can_stand_in);
	tcase_add_test(tc, memory_gives_what_is_there_and_dealt_and_not_its_last_part);
	tcase_add_test(tc, what_pages_are_is_one_word);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
