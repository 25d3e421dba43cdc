/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "suite.h"

static const char info_json[] =
	"{\"version\":\"1.2\\\"3\\\\\\n\",\"enforced\":true,\"cgroupPath\":\"/x\","
	"\"uptimeUsec\":3000001,\"nodes\":[]}";

static const char slots_json[] =
	"{\"waiting\":2,\"slots\":[{\"name\":\"ingest\",\"node\":0,\"owner\":1000,\"weight\":300,"
	"\"tier\":1,\"minBytes\":67108864,\"poolMinBytes\":4194304,\"poolMaxBytes\":8388608,"
	"\"mode\":\"share\",\"shareBytes\":314572800,\"lowBytes\":300000000,"
	"\"demandBytes\":209715200,\"class\":\"evidence\",\"usageBytes\":256901120,\"swapBytes\":0,"
	"\"maxBytes\":null,\"processes\":2,\"oomKills\":1,\"poolShareBytes\":8388608,"
	"\"poolGrantedBytes\":4194304,\"poolTransparentBytes\":2097152,"
	"\"poolGiganticBytes\":1073741824,\"poolHugeBytes\":3145728,\"poolOwedBytes\":0,\"leakBytesPerSec\":null,\"watchers\":0,"
	"\"onResize\":{\"command\":\"/x\",\"running\":false,\"runs\":7,\"failures\":1},"
	"\"heat\":{\"workingSetBytes\":1234,\"ageUsec\":1500000},"
	"\"pending\":[{\"what\":\"share\",\"fromBytes\":1,\"toBytes\":2,\"nowBytes\":1}]},"
	"{\"name\":\"x\\\"\\\\\\ny\",\"node\":null,\"tier\":0,\"weight\":100,\"maxBytes\":5,"
	"\"emergency\":\"frozen\",\"heat\":null,\"pending\":[]}],"
	"\"nodes\":[{\"node\":0,\"transparentGranted\":3,\"budgetBytes\":419430400,"
	"\"giganticPages\":2,\"giganticPagesFree\":1,"
	"\"usageBytes\":300,\"groupMaxBytes\":1000,"
	"\"slots\":1,\"emergency\":\"memory runs out\"},"
	"{\"node\":null,\"usageBytes\":7,\"groupMaxBytes\":null}]}";

static const char counters_json[] =
	"{\"slots\":[{\"name\":\"a-new-one\",\"refaultBytes\":99,\"kills\":9},"
	"{\"name\":\"ingest\",\"refaultBytes\":18446744073709551,\"reclaimedBytes\":0,"
	"\"stallUsec\":12345678,\"stallFullUsec\":9,\"cpuUsec\":60000000,\"freezes\":2,\"kills\":1}],"
	"\"events\":[{\"event\":\"slot-added\",\"count\":5}]}";

/* The text for these replies; the caller's. */
static char *text_of(const char *info, const char *slots, const char *counters)
{
	struct metrics metrics = {};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(sd_json_parse(info, 0, &metrics.info, NULL, NULL), 0);
	ck_assert_int_ge(sd_json_parse(slots, 0, &metrics.slots, NULL, NULL), 0);
	ck_assert_int_ge(sd_json_parse(counters, 0, &metrics.counters, NULL, NULL), 0);
	ck_assert_int_eq(metrics_print(&metrics, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	sd_json_variant_unref(metrics.info);
	sd_json_variant_unref(metrics.slots);
	sd_json_variant_unref(metrics.counters);
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (strncmp(at, line, len) == 0 && at[len] == '\n')
			return true;
	return false;
}

static const char *const lines[] = {
	/* what is escaped in labels */
	"taskmem_build_info{version=\"1.2\\\"3\\\\\\n\"} 1",
	"taskmem_slot_weight{slot=\"x\\\"\\\\\\ny\",node=\"any\",tier=\"0\"} 100",
	/* times are seconds, nothing is rounded */
	"# TYPE taskmem_uptime_seconds gauge",
	"# UNIT taskmem_uptime_seconds seconds",
	"taskmem_uptime_seconds 3.000001",
	"taskmem_slot_working_set_age_seconds{slot=\"ingest\",node=\"0\",tier=\"1\"} 1.500000",
	"taskmem_slot_stall_seconds_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 12.345678",
	"taskmem_slot_stall_full_seconds_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 0.000009",
	"taskmem_slot_cpu_seconds_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 60.000000",
	"taskmem_slot_refault_bytes_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 18446744073709551",
	/* the family has the unit, the sample of a counter _total */
	"# TYPE taskmem_slot_refault_bytes counter",
	"# UNIT taskmem_slot_refault_bytes bytes",
	"# HELP taskmem_slot_refault_bytes Came back from swap or disk.",
	"# TYPE taskmem_slot_weight gauge",
	/* policy, plan, kernel */
	"taskmem_slot_min_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 67108864",
	"taskmem_slot_max_bytes{slot=\"x\\\"\\\\\\ny\",node=\"any\",tier=\"0\"} 5",
	"taskmem_slot_target_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 300000000",
	"taskmem_slot_pool_held_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 4194304",
	"taskmem_slot_pool_transparent_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 2097152",
	"taskmem_slot_pool_huge_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 3145728",
	"taskmem_slot_pool_gigantic_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 1073741824",
	"taskmem_slot_working_set_bytes{slot=\"ingest\",node=\"0\",tier=\"1\"} 1234",
	"taskmem_slot_leak_bytes_per_second{slot=\"ingest\",node=\"0\",tier=\"1\"} 0",
	"taskmem_slot_oom_kills_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 1",
	"taskmem_slot_kills_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 1",
	"taskmem_slot_freezes_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 2",
	"taskmem_slot_hook_runs_total{slot=\"ingest\",node=\"0\",tier=\"1\"} 7",
	"taskmem_slot_info{slot=\"ingest\",node=\"0\",tier=\"1\",mode=\"share\",owner=\"1000\"} 1",
	/* what is one of several */
	"taskmem_slot_class{slot=\"ingest\",node=\"0\",tier=\"1\",taskmem_slot_class=\"evidence\"} 1",
	"taskmem_slot_class{slot=\"ingest\",node=\"0\",tier=\"1\",taskmem_slot_class=\"quiet\"} 0",
	"taskmem_slot_pending{slot=\"ingest\",node=\"0\",tier=\"1\",taskmem_slot_pending=\"share\"} 1",
	"taskmem_slot_pending{slot=\"ingest\",node=\"0\",tier=\"1\",taskmem_slot_pending=\"max\"} 0",
	"taskmem_slot_emergency{slot=\"x\\\"\\\\\\ny\",node=\"any\",tier=\"0\",taskmem_slot_emergency=\"frozen\"} 1",
	"taskmem_enforce{taskmem_enforce=\"limits\"} 1",
	"taskmem_enforce{taskmem_enforce=\"pools-only\"} 0",
	/* nodes and the daemon */
	"taskmem_node_budget_bytes{node=\"0\"} 419430400",
	"taskmem_node_free_bytes{node=\"0\"} 700",
	"taskmem_node_hugepages_transparent{node=\"0\"} 3",
	"taskmem_node_gigantic{node=\"0\"} 2",
	"taskmem_node_gigantic_free{node=\"0\"} 1",
	"taskmem_node_emergency{node=\"0\"} 1",
	"taskmem_node_emergency{node=\"any\"} 0",
	"taskmem_queue_length 2",
	"taskmem_events_total{event=\"slot-added\"} 5",
};

START_TEST(every_number_is_where_it_belongs)
{
	CLEANUP(freep) char *text = text_of(info_json, slots_json, counters_json);

	ck_assert_msg(has_line(text, lines[_i]), "%s is missing in\n%s", lines[_i], text);
}
END_TEST

START_TEST(what_is_not_known_is_left_out)
{
	CLEANUP(freep) char *text = text_of(info_json, slots_json, counters_json);

	ck_assert_ptr_null(strstr(text, "taskmem_slot_max_bytes{slot=\"ingest\""));
	ck_assert_ptr_null(strstr(text, "taskmem_slot_working_set_bytes{slot=\"x"));
	ck_assert_ptr_null(strstr(text, "taskmem_node_free_bytes{node=\"any\"}"));
	/* a family that nobody has a value of has no head either */
	ck_assert_ptr_null(strstr(text, "taskmem_slot_need_bytes"));
}
END_TEST

START_TEST(a_slot_of_one_reply_only_has_no_counters)
{
	CLEANUP(freep) char *text = text_of(info_json, slots_json, counters_json);

	ck_assert_ptr_null(strstr(text, "a-new-one"));
	ck_assert_ptr_null(strstr(text, "taskmem_slot_kills_total{slot=\"x"));
}
END_TEST

/* The name of the family a line is about. */
static void family_of(const char *line, char family[static 128])
{
	const char *name = line[0] == '#' ? strchr(line + 2, ' ') + 1 : line;
	size_t len = strcspn(name, "{ ");
	static const char *const suffixes[] = { "_total", "_info" };

	snprintf(family, 128, "%.*s", (int)len, name);
	for (size_t i = 0; line[0] != '#' && i < ARRAY_LEN(suffixes); i++) {
		size_t suffix = strlen(suffixes[i]);

		if (len > suffix && strcmp(family + len - suffix, suffixes[i]) == 0)
			family[len - suffix] = '\0';
	}
}

START_TEST(families_are_not_interleaved_and_the_end_is_marked)
{
	CLEANUP(freep) char *text = text_of(info_json, slots_json, counters_json);
	char last[128] = "", family[128], begin[160];

	ck_assert_str_eq(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
	for (char *line = text, *end; strcmp(line, "# EOF\n") != 0; line = end + 1) {
		end = strchr(line, '\n');
		family_of(line, family);
		if (strcmp(family, last) != 0) {
			snprintf(begin, sizeof(begin), "# TYPE %s ", family);
			ck_assert_msg(strncmp(line, begin, strlen(begin)) == 0, "%s", line);
			ck_assert_ptr_eq(strstr(text, begin), line);
			ck_assert_ptr_null(strstr(line + 1, begin)); /* nor once more */
		}
		strcpy(last, family);
	}
}
END_TEST

START_TEST(replies_without_anything_are_a_text)
{
	CLEANUP(freep) char *text = text_of("{\"enforced\":false}", "{}", "{}");

	ck_assert(has_line(text, "taskmem_enforce{taskmem_enforce=\"pools-only\"} 1"));
	ck_assert_ptr_null(strstr(text, "taskmem_slot"));
	ck_assert_str_eq(text + strlen(text) - strlen("# EOF\n"), "# EOF\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tc = tcase_create("metrics");

	tcase_add_loop_test(tc, every_number_is_where_it_belongs, 0, ARRAY_LEN(lines));
	tcase_add_test(tc, what_is_not_known_is_left_out);
	tcase_add_test(tc, a_slot_of_one_reply_only_has_no_counters);
	tcase_add_test(tc, families_are_not_interleaved_and_the_end_is_marked);
	tcase_add_test(tc, replies_without_anything_are_a_text);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
