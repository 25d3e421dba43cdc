/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rights.h"

#include <check.h>
#include <stdlib.h>

#include "suite.h"

/* Owner of the slot is uid 1000, on node 1. */
static const struct slot_policy slot = { .name = "ingest", .owner = 1000, .node = 1 };

struct row {
	const char *who;
	struct peer peer;
	bool may[5]; /* administer, tune, run, attach, command */
};

static const struct row rows[] = {
	{ "root outside", { .uid = 0, .is_admin = true }, { true, true, true, false, true } },
	{ "root inside",
	  { .uid = 0, .is_admin = true, .is_in_slot = true, .slot_node = 1, .slot_name = "ingest" },
	  { true, true, true, true, true } },
	{ "administrator", { .uid = 5, .is_admin = true }, { true, true, true, false, false } },
	{ "owner outside", { .uid = 1000 }, { false, true, true, false, true } },
	{ "owner inside",
	  { .uid = 1000, .is_in_slot = true, .slot_node = 1, .slot_name = "ingest" },
	  { false, true, true, true, true } },
	{ "owner in another slot",
	  { .uid = 1000, .is_in_slot = true, .slot_node = 1, .slot_name = "join" },
	  { false, true, true, false, true } },
	{ "owner in a slot of that name on another node",
	  { .uid = 1000, .is_in_slot = true, .slot_node = 0, .slot_name = "ingest" },
	  { false, true, true, false, true } },
	{ "another user outside", { .uid = 1001 }, { false, false, false, false, false } },
	{ "another user inside",
	  { .uid = 1001, .is_in_slot = true, .slot_node = 1, .slot_name = "ingest" },
	  { false, false, false, false, false } },
};

START_TEST(each_may_do_what_the_table_says)
{
	const struct row *row = &rows[_i];
	static const enum right rights[] = { RIGHT_ADMINISTER, RIGHT_TUNE, RIGHT_RUN, RIGHT_ATTACH,
					     RIGHT_COMMAND };

	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		ck_assert_msg(rights_may(&row->peer, rights[i], &slot) == row->may[i],
			      "%s: right %zu should be %d", row->who, i, row->may[i]);
}
END_TEST

START_TEST(without_a_slot_only_administrators_have_rights)
{
	struct peer owner = { .uid = 1000 }, admin = { .uid = 5, .is_admin = true };

	ck_assert(!rights_may(&owner, RIGHT_ADMINISTER, NULL));
	ck_assert(!rights_may(&owner, RIGHT_RUN, NULL));
	ck_assert(rights_may(&admin, RIGHT_ADMINISTER, NULL));
	ck_assert(!rights_may(&admin, RIGHT_ATTACH, NULL));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rights");
	TCase *tc = tcase_create("table");

	tcase_add_loop_test(tc, each_may_do_what_the_table_says, 0, (int)ARRAY_LEN(rows));
	tcase_add_test(tc, without_a_slot_only_administrators_have_rights);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
