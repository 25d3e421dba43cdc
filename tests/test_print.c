/* SPDX-License-Identifier: Apache-2.0 */

/* Golden output: tables at several widths, replies of the daemon as text, error sentences. */

#undef NDEBUG

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "client.h"
#include "print.h"
#include "tmctl.h"
#include "view.h"
#include "suite.h"

static const char slot_json[] =
	"{\"name\":\"ingest\",\"node\":0,\"owner\":0,\"weight\":300,\"tier\":1,"
	"\"minBytes\":67108864,\"maxBytes\":null,\"poolMinBytes\":4194304,\"poolMaxBytes\":8388608,"
	"\"mode\":\"share\",\"revoke\":\"force\",\"revokeDeadlineUsec\":5000000,"
	"\"owed\":[{\"pid\":217,\"pool\":\"join\",\"owedBytes\":2097152,\"revokedBytes\":0,"
	"\"owedUsec\":12000000,\"leftUsec\":3000000,\"forGuarantee\":true}],"
	"\"shareBytes\":314572800,\"demandBytes\":209715200,\"usageBytes\":256901120,\"swapBytes\":0,"
	"\"kernelMinBytes\":67108864,\"kernelLowBytes\":314572800,\"kernelMaxBytes\":null,"
	"\"kernelHighBytes\":null,\"processes\":2,\"oomKills\":1,\"poolShareBytes\":8388608,"
	"\"poolGrantedBytes\":4194304,\"poolOwedBytes\":0,\"poolKernelBytes\":4194304,"
	"\"poolPageBytes\":2097152,\"pages\":\"mixed\",\"poolTransparentBytes\":2097152,"
	"\"poolHugeBytes\":2097152,\"poolNodes\":[{\"node\":0,\"bytes\":4194304}],"
	"\"memoryNodes\":[{\"node\":0,\"bytes\":250000000},{\"node\":1,\"bytes\":0}],"
	"\"state\":\"running\",\"pending\":[{\"what\":\"share\",\"fromBytes\":256901120,"
	"\"toBytes\":314572800,\"nowBytes\":272629760,\"etaUsec\":5000000,\"note\":\"waits\"}]}";

static const char other_json[] = "{\"name\":\"x\",\"weight\":100,\"state\":\"empty\"}";

static sd_json_variant *parse(const char *text)
{
	sd_json_variant *v = NULL;

	ck_assert_int_eq(sd_json_parse(text, 0, &v, NULL, NULL), 0);
	return v;
}

#define EXPECT_OUTPUT(expected, call)                                              \
	do {                                                                       \
		char *text_ = NULL;                                                \
		size_t size_;                                                      \
		FILE *out = open_memstream(&text_, &size_);                        \
		ck_assert_ptr_nonnull(out);                                        \
		call;                                                              \
		ck_assert_int_eq(fclose(out), 0);                                  \
		if (strcmp(text_, expected) != 0) /* check cuts long texts */      \
			fprintf(stderr, "got:\n%sexpected:\n%s", text_, expected); \
		ck_assert(strcmp(text_, expected) == 0);                           \
		free(text_);                                                       \
	} while (0)

static struct table *small_table(void)
{
	static const struct column columns[] = { { "NAME", false, 0 },
						 { "NODE", true, 1 },
						 { "USAGE", true, 0 },
						 { "STATE", false, 2 } };
	struct table *table = table_new(columns, ARRAY_LEN(columns));

	ck_assert_ptr_nonnull(table);
	table_cell(table, "a");
	table_cell(table, "%d", 0);
	table_bytes(table, UINT64_C(300) << 20);
	table_cell(table, "running");
	table_cell(table, "longer-name");
	table_cell(table, "any");
	table_bytes(table, 512);
	table_cell(table, "%s", "");
	return table;
}

START_TEST(numbers_are_right_aligned_and_no_line_ends_in_spaces)
{
	CLEANUP(table_freep) struct table *table = small_table();

	EXPECT_OUTPUT("NAME         NODE  USAGE  STATE\n"
		      "a               0   300M  running\n"
		      "longer-name   any    512\n",
		      ck_assert_int_eq(table_print(table, out, 0, true), 0));
}
END_TEST

START_TEST(columns_are_dropped_in_order_until_the_table_fits)
{
	CLEANUP(table_freep) struct table *table = small_table();

	/* 33 is its full width */
	EXPECT_OUTPUT("NAME         NODE  USAGE  STATE\n"
		      "a               0   300M  running\n"
		      "longer-name   any    512\n",
		      ck_assert_int_eq(table_print(table, out, 33, true), 0));
	EXPECT_OUTPUT("NAME         NODE  USAGE\n"
		      "a               0   300M\n"
		      "longer-name   any    512\n",
		      ck_assert_int_eq(table_print(table, out, 32, true), 0));
	EXPECT_OUTPUT("NAME         USAGE\n"
		      "a             300M\n"
		      "longer-name    512\n",
		      ck_assert_int_eq(table_print(table, out, 23, true), 0));
	EXPECT_OUTPUT("a            300M\n"
		      "longer-name   512\n",
		      ck_assert_int_eq(table_print(table, out, 5, false), 0));
}
END_TEST

START_TEST(a_table_without_rows_has_its_titles)
{
	static const struct column columns[] = { { "A", false, 0 }, { "B", true, 0 } };
	CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));

	EXPECT_OUTPUT("A  B\n", ck_assert_int_eq(table_print(table, out, 0, true), 0));
}
END_TEST

START_TEST(durations_have_two_units_at_most)
{
	static const struct {
		uint64_t usec;
		const char *text;
	} cases[] = {
		{ 0, "0ms" },
		{ 999999, "999ms" },
		{ 1000000, "1s" },
		{ 59999999, "59s" },
		{ 60000000, "1m00s" },
		{ 3599000000, "59m59s" },
		{ 3600000000, "1h00m" },
		{ UINT64_C(86400000000), "1d00h" },
		{ UINT64_C(183600000000), "2d03h" },
	};
	char text[FORMAT_DURATION_MAX];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_str_eq(format_duration(cases[i].usec, text), cases[i].text);
	ck_assert_uint_lt(strlen(format_duration(UINT64_MAX, text)), FORMAT_DURATION_MAX);
}
END_TEST

START_TEST(slots_show_what_is_pending_and_survive_missing_fields)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *a = parse(slot_json);
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *b = parse(other_json);
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *slots = NULL;

	ck_assert_int_ge(sd_json_variant_new_array(&slots, (sd_json_variant *[]){ a, b }, 2), 0);
	EXPECT_OUTPUT(
		"NAME    NODE  TIER  WEIGHT  MIN  SHARE  USAGE  MAX         POOL  PROCS  STATE\n"
		"ingest     0     1     300  64M   300M   245M  max  4M/8M mixed      2  "
		"running; share 245M->300M, 5s\n"
		"x        any     0     100    0      0      0  max            -      0  empty\n",
		ck_assert_int_eq(view_slots(slots, out, 0, true), 0));
	EXPECT_OUTPUT("NAME    NODE  WEIGHT  MIN  SHARE  USAGE  MAX         POOL  STATE\n"
		      "ingest     0     300  64M   300M   245M  max  4M/8M mixed  "
		      "running; share 245M->300M, 5s\n"
		      "x        any     100    0      0      0  max            -  empty\n",
		      ck_assert_int_eq(view_slots(slots, out, 90, true), 0));
}
END_TEST

START_TEST(a_slot_s_row_says_what_its_pages_are_unless_they_are_2m_huge)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slots = parse(
		"[{\"name\":\"a\",\"poolMaxBytes\":4194304,\"pages\":\"huge\",\"poolPageBytes\":2097152},"
		"{\"name\":\"b\",\"poolMaxBytes\":4194304,\"pages\":\"transparent\","
		"\"poolPageBytes\":2097152},"
		"{\"name\":\"c\",\"poolMaxBytes\":4194304,\"pages\":\"mixed\",\"poolPageBytes\":2097152},"
		"{\"name\":\"d\",\"poolMaxBytes\":1073741824,\"pages\":\"gigantic\","
		"\"poolPageBytes\":1073741824},"
		"{\"name\":\"e\",\"poolMaxBytes\":4194304,\"pages\":null},"
		"{\"name\":\"f\",\"pages\":\"transparent\"}]");

	EXPECT_OUTPUT(
		"NAME  NODE  TIER  WEIGHT  MIN  SHARE  USAGE  MAX             POOL  PROCS  STATE\n"
		"a      any     0       0    0      0      0  max              0/0      0  ?\n"
		"b      any     0       0    0      0      0  max  0/0 transparent      0  ?\n"
		"c      any     0       0    0      0      0  max        0/0 mixed      0  ?\n"
		"d      any     0       0    0      0      0  max      0/0 1G huge      0  ?\n"
		"e      any     0       0    0      0      0  max              0/0      0  ?\n"
		"f      any     0       0    0      0      0  max                -      0  ?\n",
		ck_assert_int_eq(view_slots(slots, out, 0, true), 0));
}
END_TEST

START_TEST(no_slots_are_a_header)
{
	EXPECT_OUTPUT("NAME  NODE  TIER  WEIGHT  MIN  SHARE  USAGE  MAX  POOL  PROCS  STATE\n",
		      ck_assert_int_eq(view_slots(NULL, out, 0, true), 0));
}
END_TEST

START_TEST(nodes_show_budgets_and_huge_pages)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *nodes =
		parse("[{\"node\":0,\"budgetBytes\":419430400,\"reserveBytes\":8388608,"
		      "\"guaranteedBytes\":67108864,\"usageBytes\":268435456,\"slots\":2,"
		      "\"hugePages\":64,"
		      "\"hugePagesFree\":40,\"hugePagesPromised\":10,\"hugePagesGranted\":24,"
		      "\"giganticPages\":4,\"giganticPagesGranted\":2,"
		      "\"giganticPagesPromised\":3,\"giganticPagesFree\":1,"
		      "\"pages\":\"huge\"},{\"node\":1,\"pages\":\"transparent\"},"
		      "{\"node\":null}]");

	EXPECT_OUTPUT(
		"NODE  BUDGET  RESERVE  GUARANTEED  USAGE  SLOTS  HUGEPAGES  GRANTED  PROMISED  "
		"FREE  PAGES\n"
		"0       400M       8M         64M   256M      2         64       24        10  "
		"  40  2M huge\n"
		"1          0        0           0      0      0          0        0         0  "
		"   0  transparent\n"
		"any        0        0           0      0      0          0        0         0  "
		"   0  -\n"
		"node 0: 4 pages of 1G huge, 2 granted, 3 promised, 1 free\n",
		ck_assert_int_eq(view_nodes(nodes, out, 0, true), 0));
}
END_TEST

START_TEST(an_emergency_is_shown_where_it_is)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *nodes = parse("[{\"node\":0},{\"node\":1,\"emergency\":\"memory runs "
				       "out, for 2.0s; 4M left\"}]");
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slot = parse("{\"name\":\"a\",\"emergency\":\"frozen\","
				      "\"leakBytesPerSec\":4194304}");
	CLEANUP(freep) char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_int_eq(view_nodes(nodes, out, 0, true), 0);
	view_slot(slot, out);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_ptr_nonnull(
		strstr(text, "\nEMERGENCY on node 1: memory runs out, for 2.0s; 4M left\n"));
	ck_assert_ptr_null(strstr(text, "node 0: "));
	ck_assert_ptr_nonnull(strstr(text, "\n  emergency             frozen\n"));
	ck_assert_ptr_nonnull(strstr(text, "\n  leaks                 4M        a second"));
}
END_TEST

START_TEST(a_slot_is_shown_in_sections)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *slot = parse(slot_json);

	EXPECT_OUTPUT(
		"ingest: running, 2 processes\n"
		"\n"
		"policy\n"
		"  node                  0\n"
		"  owner                 root\n"
		"  weight                300       claim on contended memory, relative to other "
		"slots\n"
		"  tier                  1         0 is served first\n"
		"  mode                  share     what the controller may do to it\n"
		"  min                   64M       guarantee\n"
		"  max                   max       cap; max: the node's budget\n"
		"  pool                  4M        guaranteed huge pages\n"
		"  pool-max              8M\n"
		"  revoke                force     what is done 5s after pages were asked back in vain\n"
		"\n"
		"memory (names with a dot are read from the kernel's files)\n"
		"  share                 300M      what it gets when every slot is hungry\n"
		"  demand                200M      what it is shown to need\n"
		"  memory.current        245M      in use\n"
		"  its pool              2M        transparent pages, on top of each number here in "
		"the kernel's files\n"
		"  memory.swap.current   0\n"
		"  memory.min            64M       never reclaimed below\n"
		"  memory.low            300M      protected while others have more\n"
		"  memory.high           max\n"
		"  memory.max            max\n"
		"  memory.numa_stat      node 0 238.4M\n"
		"  memory.events         1         oom kills\n"
		"\n"
		"working set\n"
		"  not measured yet; now: tmctl show ingest --heat\n"
		"\n"
		"pool\n"
		"  share                 8M        what its tasks may hold now\n"
		"  granted               4M        what they hold\n"
		"  owed                  0         asked back, not yet returned\n"
		"    process 217, pool join owes 2M for 12s; taken by force in 3s, for they are "
		"guaranteed to another slot\n"
		"  pages                 2         mixed, 2M of 4M are huge\n"
		"  page size             2M\n"
		"  hugetlb.2MB.current   4M\n"
		"  hugetlb.2MB.numa_stat node 0 4M\n"
		"\n"
		"pending\n"
		"  share 245M->300M, now 260M, about 5s (waits)\n",
		view_slot(slot, out));
}
END_TEST

START_TEST(what_a_slot_was_told_is_a_section)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slot = parse(
		"{\"name\":\"x\",\"watchers\":2,\"notice\":{\"notice\":5,\"why\":\"max\","
		"\"realtimeUsec\":45005000000,\"targetBytes\":209715200,\"beforeBytes\":314572800,"
		"\"usageBytes\":304087040,\"asked\":2,\"answers\":1,\"freedBytes\":67108864},"
		"\"onResize\":{\"command\":\"/bin/a 'b c'\",\"running\":true,\"runs\":7,"
		"\"failures\":1,\"endedUsec\":45005000000,\"failure\":\"it ended with status 3\"}}");
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	setenv("TZ", "UTC", 1);
	view_slot(slot, out);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_ptr_nonnull(strstr(
		text,
		"\nnotices\n"
		"  watchers              2         clients that hear what memory should come to\n"
		"  last notice           12:30:05: max, 300M->200M, usage 290M\n"
		"  answers               1 of 2 tasks, 64M freed as they say\n"
		"  on-resize             /bin/a 'b c'\n"
		"  runs                  7, 1 failed, one is under way; last 12:30:05: it ended with "
		"status 3\n\n"));
	free(text);
}
END_TEST

START_TEST(a_working_set_is_shown_with_its_curve)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slot = parse(
		"{\"name\":\"a\",\"heat\":{\"source\":\"lru_gen\",\"confidence\":\"medium\","
		"\"ageUsec\":12000000,\"windowUsec\":5000000,\"workingSetBytes\":134217728,"
		"\"anonBytes\":134217728,\"fileBytes\":0,\"seenBytes\":268435456,"
		"\"kneeBytes\":134217728,\"scoreMilliHz\":13666,\"refaultBytes\":4096,"
		"\"stallUsec\":20000,\"costUsec\":8000,\"note\":\"why\",\"points\":["
		"{\"bytes\":0,\"nextMilliHz\":102400},{\"bytes\":134217728,\"nextMilliHz\":8533},"
		"{\"bytes\":266338304,\"nextMilliHz\":5},{\"bytes\":268435456,\"nextMilliHz\":0}]}}");

	EXPECT_OUTPUT(
		"\n"
		"working set (lru_gen, 12s ago, watched 5s, confidence medium)\n"
		"  working set           128M      touched in that time\n"
		"  of it                 anonymous 128M, files 0\n"
		"  of                    256M      all its memory that is looked at\n"
		"  knee                  128M      more than this is worth less than the "
		"average\n"
		"  score                 13.7/s    touches of a page, summed over buckets of 2M\n"
		"  refaulted             4K        came back from swap or disk meanwhile\n"
		"  stalled               20ms      waited for memory meanwhile\n"
		"  cost                  8ms       of the kernel's time\n"
		"  note: why\n"
		"  with its hottest   the next 2M save, in faults a second, at least\n"
		"                 0      102/s ########################################\n"
		"              128M      8.5/s ###\n"
		"              254M    0.005/s #\n"
		"              256M        0/s\n",
		view_heat(slot, out));
}
END_TEST

START_TEST(a_sampled_working_set_says_within_which_time)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slot =
		parse("{\"name\":\"a\",\"heat\":{\"source\":\"damon\",\"confidence\":\"medium\","
		      "\"ageUsec\":0,\"windowUsec\":5000000,\"workingSetBytes\":67108864,"
		      "\"withinUsec\":500000,\"seenBytes\":134217728,\"kneeBytes\":67108864,"
		      "\"scoreMilliHz\":64000,\"refaultBytes\":0,\"stallUsec\":0,\"costUsec\":8000,"
		      "\"note\":\"sampled: give or take 4M\"}}");

	EXPECT_OUTPUT(
		"\n"
		"working set (damon, 0ms ago, watched 5s, confidence medium)\n"
		"  working set           64M       touched within 500ms\n"
		"  of                    128M      all its memory that is looked at\n"
		"  knee                  64M       more than this is worth less than the "
		"average\n"
		"  score                 64.0/s    touches of a page, summed over buckets of 2M\n"
		"  refaulted             0         came back from swap or disk meanwhile\n"
		"  stalled               0ms       waited for memory meanwhile\n"
		"  cost                  8ms       of the kernel's time\n"
		"  note: sampled: give or take 4M\n",
		view_heat(slot, out));
}
END_TEST

START_TEST(evidence_alone_is_not_shown_as_a_working_set)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *slot =
		parse("{\"name\":\"a\",\"heat\":{\"source\":\"none\",\"confidence\":\"low\","
		      "\"ageUsec\":0,\"windowUsec\":2000000,\"refaultBytes\":0,\"stallUsec\":0,"
		      "\"costUsec\":0,\"note\":\"why\"}}");

	EXPECT_OUTPUT("\n"
		      "working set (only refaults and stall, 0ms ago, watched 2s)\n"
		      "  refaulted             0         came back from swap or disk meanwhile\n"
		      "  stalled               0ms       waited for memory meanwhile\n"
		      "  cost                  0ms       of the kernel's time\n"
		      "  note: why\n",
		      view_heat(slot, out));
}
END_TEST

START_TEST(pools_are_a_row_each_and_tasks_a_line)
{
	CLEANUP(sd_json_variant_unrefp)
	sd_json_variant *tasks = parse(
		"[{\"pid\":217,\"heldPages\":16,\"targetPages\":12,\"pageBytes\":2097152,\"needPages\":9,"
		"\"pages\":\"transparent\",\"hugePages\":12,\"unreportedPools\":2,\"pools\":[{\"name\":\"join\",\"bufferBytes\":32768,"
		"\"buffers\":1024,\"held\":1000,\"idle\":14,\"inMagazines\":4,\"posted\":10,"
		"\"waiters\":1,\"highWater\":1024,\"overdraft\":3,\"lent\":512,"
		"\"minBuffers\":512,\"maxBuffers\":1021}]},{\"pid\":218,\"pools\":null}]");
	CLEANUP(freep) char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_int_eq(view_pools(tasks, out, 0, true), 0);
	ck_assert_int_eq(view_pools(NULL, out, 0, false), 0);
	fclose(out);
	ck_assert_str_eq(
		text,
		"POOL  PID  SIZE  BUFS  HELD  IDLE  MAG  POSTED  WAIT  HIGH  OVERDRAFT  LENT  MIN   MAX\n"
		"join  217   32K  1024  1000    14    4      10     1  1024          3   512  512  1021\n"
		"\n"
		"pid 217: 16 of 12 pages of 2M transparent (12 of them huge), needs 9, and 2 pools that it has no room to report\n"
		"pid 218: 0 of 0 pages of 0 huge, reports no pools\n"
		"\n"
		"no task holds pages of the slot\n");
}
END_TEST

static void expect_sentence(const char *id, const char *params, int status, const char *sentence)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *v = parse(params);
	char text[CLIENT_TEXT_MAX];

	ck_assert_int_eq(client_explain(id, v, text, sizeof(text)), status);
	ck_assert_str_eq(text, sentence);
}

START_TEST(each_error_is_a_sentence_and_an_exit_status)
{
	expect_sentence("io.taskmem.NoSuchSlot", "{\"name\":\"a\"}", TMCTL_NO_SLOT,
			"there is no slot \"a\"; \"tmctl list\" shows the slots");
	expect_sentence("io.taskmem.Refused",
			"{\"message\":\"node 0 has 90M left, 100M wanted\",\"neededBytes\":1}",
			TMCTL_REFUSED, "refused: node 0 has 90M left, 100M wanted");
	expect_sentence("io.taskmem.Refused",
			"{\"message\":\"\",\"neededBytes\":1048576,\"availableBytes\":0}",
			TMCTL_REFUSED, "refused: needed 1M, available 0");
	expect_sentence("io.taskmem.NoHugePages",
			"{\"message\":\"none left\",\"wantedChunks\":4,\"availableChunks\":1}",
			TMCTL_REFUSED, "refused: none left (4 huge pages wanted, 1 available)");
	expect_sentence("io.taskmem.BadValue", "{\"field\":\"poolMinBytes\",\"message\":\"odd\"}",
			TMCTL_USAGE, "pool: odd");
	expect_sentence("io.taskmem.SlotBusy", "{\"name\":\"a\",\"processes\":3}", TMCTL_FAILED,
			"slot \"a\" still has 3 processes; end them, or kill them with: "
			"tmctl rm --kill a");
	expect_sentence("io.taskmem.Failed", "{\"message\":\"disk full\"}", TMCTL_FAILED,
			"disk full");
	expect_sentence(
		"org.varlink.service.PermissionDenied", "{}", TMCTL_NOT_PERMITTED,
		"not permitted: this takes root, a member of group taskmem or, for some changes, "
		"the slot's owner");
	expect_sentence("io.systemd.Disconnected", "{}", TMCTL_NO_DAEMON,
			"the daemon went away; see: systemctl status taskmemd");
	expect_sentence(
		"org.varlink.service.MethodNotFound", "{}", TMCTL_FAILED,
		"the daemon answered org.varlink.service.MethodNotFound; is it of the same version "
		"as tmctl?");
}
END_TEST

START_TEST(a_daemon_that_is_down_and_a_locked_socket_differ)
{
	char text[CLIENT_TEXT_MAX];

	ck_assert_int_eq(client_explain_errno(-ENOENT, "/s", text, sizeof(text)), TMCTL_NO_DAEMON);
	ck_assert_str_eq(text,
			 "the daemon cannot be reached at /s: No such file or directory; see: "
			 "systemctl status taskmemd");
	ck_assert_int_eq(client_explain_errno(-ETIME, "/s", text, sizeof(text)), TMCTL_NO_DAEMON);
	ck_assert_int_eq(client_explain_errno(-EACCES, "/s", text, sizeof(text)),
			 TMCTL_NOT_PERMITTED);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("print");
	TCase *output = tcase_create("output");

	tcase_add_test(output, numbers_are_right_aligned_and_no_line_ends_in_spaces);
	tcase_add_test(output, columns_are_dropped_in_order_until_the_table_fits);
	tcase_add_test(output, a_table_without_rows_has_its_titles);
	tcase_add_test(output, durations_have_two_units_at_most);
	tcase_add_test(output, slots_show_what_is_pending_and_survive_missing_fields);
	tcase_add_test(output, a_slot_s_row_says_what_its_pages_are_unless_they_are_2m_huge);
	tcase_add_test(output, no_slots_are_a_header);
	tcase_add_test(output, nodes_show_budgets_and_huge_pages);
	tcase_add_test(output, an_emergency_is_shown_where_it_is);
	tcase_add_test(output, a_slot_is_shown_in_sections);
	tcase_add_test(output, what_a_slot_was_told_is_a_section);
	tcase_add_test(output, a_working_set_is_shown_with_its_curve);
	tcase_add_test(output, a_sampled_working_set_says_within_which_time);
	tcase_add_test(output, evidence_alone_is_not_shown_as_a_working_set);
	tcase_add_test(output, pools_are_a_row_each_and_tasks_a_line);
	tcase_add_test(output, each_error_is_a_sentence_and_an_exit_status);
	tcase_add_test(output, a_daemon_that_is_down_and_a_locked_socket_differ);
	suite_add_tcase(suite, output);
	return suite_run(suite);
}
