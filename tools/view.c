/* SPDX-License-Identifier: Apache-2.0 */

#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/parse.h"
#include "field.h"
#include "print.h"

#define UNKNOWN UINT64_MAX

static const char *bytes_of(sd_json_variant *object, const char *field, uint64_t fallback,
			    char buf[static FORMAT_BYTES_MAX])
{
	return format_bytes(field_u64(object, field, fallback), buf);
}

/* "0", "1", or "any" where the field is null. */
static const char *node_of(sd_json_variant *object, char buf[static FORMAT_BYTES_MAX])
{
	uint64_t node = field_u64(object, "node", UNKNOWN);

	if (node == UNKNOWN)
		return "any";
	snprintf(buf, FORMAT_BYTES_MAX, "%" PRIu64, node);
	return buf;
}

const char *view_pending(sd_json_variant *pending, char buf[static VIEW_PENDING_MAX])
{
	char from[FORMAT_BYTES_MAX], to[FORMAT_BYTES_MAX], eta[FORMAT_DURATION_MAX];
	uint64_t usec = field_u64(pending, "etaUsec", UNKNOWN);

	snprintf(buf, VIEW_PENDING_MAX, "%s %s->%s%s%s", field_text(pending, "what", "?"),
		 bytes_of(pending, "fromBytes", 0, from), bytes_of(pending, "toBytes", 0, to),
		 usec == UNKNOWN ? "" : ", ", usec == UNKNOWN ? "" : format_duration(usec, eta));
	return buf;
}

void view_progress(sd_json_variant *pending, FILE *out)
{
	char from[FORMAT_BYTES_MAX], to[FORMAT_BYTES_MAX], now[FORMAT_BYTES_MAX];
	char eta[FORMAT_DURATION_MAX];
	uint64_t usec = field_u64(pending, "etaUsec", UNKNOWN);
	const char *note = field_text(pending, "note", NULL);

	fprintf(out, "%s %s->%s, now %s", field_text(pending, "what", "?"),
		bytes_of(pending, "fromBytes", 0, from), bytes_of(pending, "toBytes", 0, to),
		bytes_of(pending, "nowBytes", 0, now));
	if (usec != UNKNOWN)
		fprintf(out, ", about %s", format_duration(usec, eta));
	if (note)
		fprintf(out, " (%s)", note);
	fputc('\n', out);
}

/* "running", or with what is under way behind it. */
static void state_cell(struct table *table, sd_json_variant *slot)
{
	CLEANUP(freep) char *text = NULL;
	char one[VIEW_PENDING_MAX];
	sd_json_variant *pending;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out) {
		table_cell(table, "%s", field_text(slot, "state", "?"));
		return;
	}
	fputs(field_text(slot, "state", "?"), out);
	if (field_text(slot, "engine", NULL))
		fprintf(out, "; %s", field_text(slot, "engine", "?"));
	if (field_text(slot, "emergency", NULL))
		fprintf(out, "; EMERGENCY: %s", field_text(slot, "emergency", "?"));
	FIELD_FOREACH(field_array(slot, "pending"), pending)
		fprintf(out, "; %s", view_pending(pending, one));
	if (fclose(out) != 0)
		return; /* the table is a cell short and fails to print: out of memory */
	table_cell(table, "%s", text);
}

static bool is_gigantic(sd_json_variant *slot)
{
	return field_u64(slot, "poolPageBytes", 0) == UINT64_C(1) << 30;
}

/* What the pages of its pool are, unless 2M huge as usual. */
static const char *unusual_pages(sd_json_variant *slot)
{
	const char *pages = field_text(slot, "pages", "huge");

	if (is_gigantic(slot))
		return " 1G huge";
	if (strcmp(pages, "transparent") == 0)
		return " transparent";
	return strcmp(pages, "mixed") == 0 ? " mixed" : "";
}

/* What tasks hold of what they may hold: "16M/64M", "2G/2G 1G huge", "8M/8M transparent"; "-" for a
 * slot without a pool. */
static void pool_cell(struct table *table, sd_json_variant *slot)
{
	char granted[FORMAT_BYTES_MAX], share[FORMAT_BYTES_MAX];

	if (!field_u64(slot, "poolMaxBytes", 0) && !field_u64(slot, "poolGrantedBytes", 0))
		table_cell(table, "-");
	else
		table_cell(table, "%s/%s%s", bytes_of(slot, "poolGrantedBytes", 0, granted),
			   bytes_of(slot, "poolShareBytes", 0, share), unusual_pages(slot));
}

int view_slots(sd_json_variant *slots, FILE *out, unsigned width, bool has_header)
{
	static const struct column columns[] = {
		{ "NAME", false, 0 },  { "NODE", true, 6 },   { "TIER", true, 8 },
		{ "WEIGHT", true, 2 }, { "MIN", true, 3 },    { "SHARE", true, 0 },
		{ "USAGE", true, 0 },  { "MAX", true, 5 },    { "POOL", true, 4 },
		{ "PROCS", true, 7 },  { "STATE", false, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
	char node[FORMAT_BYTES_MAX];
	sd_json_variant *slot;

	if (!table)
		return -ENOMEM;
	FIELD_FOREACH(slots, slot) {
		table_cell(table, "%s", field_text(slot, "name", "?"));
		table_cell(table, "%s", node_of(slot, node));
		table_cell(table, "%" PRIu64, field_u64(slot, "tier", 0));
		table_cell(table, "%" PRIu64, field_u64(slot, "weight", 0));
		table_bytes(table, field_u64(slot, "minBytes", 0));
		table_bytes(table, field_u64(slot, "shareBytes", 0));
		table_bytes(table, field_u64(slot, "usageBytes", 0));
		table_bytes(table, field_u64(slot, "maxBytes", BYTES_UNLIMITED));
		pool_cell(table, slot);
		table_cell(table, "%" PRIu64, field_u64(slot, "processes", 0));
		state_cell(table, slot);
	}
	return table_print(table, out, width, has_header);
}

const char *view_pages_word(const char *pages)
{
	if (strcmp(pages, "gigantic") == 0)
		return "1G huge";
	return strcmp(pages, "huge") == 0 ? "2M huge" : pages;
}

/* Beside the table, whose numbers are of 2 MiB pages. */
static void gigantic_line(sd_json_variant *node, FILE *out)
{
	char text[FORMAT_BYTES_MAX];

	if (field_u64(node, "giganticPages", 0))
		fprintf(out,
			"node %s: %" PRIu64 " pages of 1G huge, %" PRIu64 " granted, %" PRIu64
			" promised, %" PRIu64 " free\n",
			node_of(node, text), field_u64(node, "giganticPages", 0),
			field_u64(node, "giganticPagesGranted", 0),
			field_u64(node, "giganticPagesPromised", 0),
			field_u64(node, "giganticPagesFree", 0));
}

int view_nodes(sd_json_variant *nodes, FILE *out, unsigned width, bool has_header)
{
	static const struct column columns[] = {
		{ "NODE", false, 0 },      { "BUDGET", true, 0 },  { "RESERVE", true, 2 },
		{ "GUARANTEED", true, 0 }, { "USAGE", true, 0 },   { "SLOTS", true, 1 },
		{ "HUGEPAGES", true, 0 },  { "GRANTED", true, 0 }, { "PROMISED", true, 0 },
		{ "FREE", true, 0 },       { "PAGES", false, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
	char text[FORMAT_BYTES_MAX];
	sd_json_variant *node;
	int r;

	if (!table)
		return -ENOMEM;
	FIELD_FOREACH(nodes, node) {
		table_cell(table, "%s", node_of(node, text));
		table_bytes(table, field_u64(node, "budgetBytes", 0));
		table_bytes(table, field_u64(node, "reserveBytes", 0));
		table_bytes(table, field_u64(node, "guaranteedBytes", 0));
		table_bytes(table, field_u64(node, "usageBytes", 0));
		table_cell(table, "%" PRIu64, field_u64(node, "slots", 0));
		table_cell(table, "%" PRIu64, field_u64(node, "hugePages", 0));
		table_cell(table, "%" PRIu64, field_u64(node, "hugePagesGranted", 0));
		table_cell(table, "%" PRIu64, field_u64(node, "hugePagesPromised", 0));
		table_cell(table, "%" PRIu64, field_u64(node, "hugePagesFree", 0));
		table_cell(table, "%s", view_pages_word(field_text(node, "pages", "-")));
	}
	r = table_print(table, out, width, has_header);
	FIELD_FOREACH(nodes, node) {
		const char *emergency = field_text(node, "emergency", NULL);

		gigantic_line(node, out);
		if (emergency)
			fprintf(out, "EMERGENCY on node %s: %s\n", node_of(node, text), emergency);
	}
	return r;
}

int view_queue(sd_json_variant *waiting, FILE *out, unsigned width, bool has_header)
{
	static const struct column columns[] = {
		{ "PLACE", true, 0 }, { "SLOT", false, 0 },   { "KIND", false, 3 },
		{ "NODE", true, 2 },  { "TIER", true, 4 },    { "BYTES", true, 0 },
		{ "WAITS", true, 0 }, { "PASSED", false, 1 }, { "REASON", false, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
	char text[FORMAT_BYTES_MAX], time[FORMAT_DURATION_MAX];
	sd_json_variant *one;

	if (!table)
		return -ENOMEM;
	FIELD_FOREACH(waiting, one) {
		table_cell(table, "%" PRIu64, field_u64(one, "position", 0));
		table_cell(table, "%s", field_text(one, "slot", "?"));
		table_cell(table, "%s", field_text(one, "kind", "?"));
		table_cell(table, "%s", node_of(one, text));
		table_cell(table, "%" PRIu64, field_u64(one, "tier", 0));
		table_bytes(table, field_u64(one, "bytes", 0));
		table_cell(table, "%s", format_duration(field_u64(one, "waitedUsec", 0), time));
		table_cell(table, "%" PRIu64 "%s", field_u64(one, "passed", 0),
			   field_bool(one, "due", false) ? ", due" : "");
		table_cell(table, "%s", field_text(one, "reason", ""));
	}
	return table_print(table, out, width, has_header);
}

static void line(FILE *out, const char *name, const char *value, const char *meaning)
{
	if (meaning)
		fprintf(out, "  %-21s %-9s %s\n", name, value, meaning);
	else
		fprintf(out, "  %-21s %s\n", name, value);
}

static void bytes_line(FILE *out, sd_json_variant *slot, const char *field, uint64_t fallback,
		       const char *name, const char *meaning)
{
	char text[FORMAT_BYTES_MAX];

	line(out, name, bytes_of(slot, field, fallback, text), meaning);
}

static void number_line(FILE *out, sd_json_variant *slot, const char *field, const char *meaning)
{
	char text[FORMAT_BYTES_MAX];

	snprintf(text, sizeof(text), "%" PRIu64, field_u64(slot, field, 0));
	line(out, field, text, meaning);
}

/* "node 0 64M, node 1 2M", or "-". */
static void places_line(FILE *out, sd_json_variant *slot, const char *field, const char *name)
{
	char node[FORMAT_BYTES_MAX], bytes[FORMAT_BYTES_MAX];
	sd_json_variant *place;
	bool has_any = false;

	fprintf(out, "  %-21s ", name);
	FIELD_FOREACH(field_array(slot, field), place) {
		if (!field_u64(place, "bytes", 0))
			continue;
		fprintf(out, "%snode %s %s", has_any ? ", " : "", node_of(place, node),
			bytes_of(place, "bytes", 0, bytes));
		has_any = true;
	}
	fputs(has_any ? "\n" : "-\n", out);
}

static void owner_line(FILE *out, sd_json_variant *slot)
{
	uint64_t uid = field_u64(slot, "owner", 0);
	struct passwd *user = getpwuid((uid_t)uid);
	char text[FORMAT_BYTES_MAX];

	snprintf(text, sizeof(text), "%" PRIu64, uid);
	line(out, "owner", user ? user->pw_name : text, NULL);
}

/* Not of an earlier daemon. */
static void revoke_line(sd_json_variant *slot, FILE *out)
{
	char after[FORMAT_DURATION_MAX], text[80];

	if (!field_text(slot, "revoke", NULL))
		return;
	snprintf(text, sizeof(text), "what is done %s after pages were asked back in vain",
		 format_duration(field_u64(slot, "revokeDeadlineUsec", 0), after));
	line(out, "revoke", field_text(slot, "revoke", "?"), text);
}

static void policy_section(sd_json_variant *slot, FILE *out)
{
	char node[FORMAT_BYTES_MAX];

	fputs("policy\n", out);
	line(out, "node", node_of(slot, node),
	     field_bool(slot, "nodeAuto", false)
		     ? "chosen again when a task starts in it while it is empty"
		     : NULL);
	owner_line(out, slot);
	number_line(out, slot, "weight", "claim on contended memory, relative to other slots");
	number_line(out, slot, "tier", "0 is served first");
	line(out, "mode", field_text(slot, "mode", "?"), "what the controller may do to it");
	bytes_line(out, slot, "minBytes", 0, "min", "guarantee");
	bytes_line(out, slot, "maxBytes", BYTES_UNLIMITED, "max", "cap; max: the node's budget");
	bytes_line(out, slot, "poolMinBytes", 0, "pool",
		   is_gigantic(slot) ? "guaranteed huge pages, of 1G" : "guaranteed huge pages");
	bytes_line(out, slot, "poolMaxBytes", 0, "pool-max", NULL);
	revoke_line(slot, out);
	if (!field_u64(slot, "needBytes", 0))
		return;
	bytes_line(out, slot, "needBytes", 0, "need",
		   field_bool(slot, "needPredicted", false)
			   ? "expected working set, from the history of the name"
			   : "expected working set");
	bytes_line(out, slot, "grantBytes", 0, "granted", "part of the need that is booked");
}

static void memory_section(sd_json_variant *slot, FILE *out)
{
	char text[FORMAT_BYTES_MAX], meaning[128];
	sd_json_variant *left;

	fputs("\nmemory (names with a dot are read from the kernel's files)\n", out);
	bytes_line(out, slot, "shareBytes", 0, "share", "what it gets when every slot is hungry");
	if (field_u64(slot, "requestedBytes", 0))
		bytes_line(out, slot, "requestedBytes", 0, "requested",
			   "guaranteed beyond min while its tasks ask for it");
	bytes_line(out, slot, "demandBytes", 0, "demand", "what it is shown to need");
	bytes_line(out, slot, "usageBytes", 0, "memory.current", "in use");
	if (field_u64(slot, "poolTransparentBytes", 0))
		bytes_line(out, slot, "poolTransparentBytes", 0, "its pool",
			   "transparent pages, on top of each number here in the kernel's files");
	bytes_line(out, slot, "swapBytes", 0, "memory.swap.current", NULL);
	bytes_line(out, slot, "kernelMinBytes", 0, "memory.min", "never reclaimed below");
	bytes_line(out, slot, "kernelLowBytes", 0, "memory.low",
		   "protected while others have more");
	bytes_line(out, slot, "kernelHighBytes", BYTES_UNLIMITED, "memory.high", NULL);
	bytes_line(out, slot, "kernelMaxBytes", BYTES_UNLIMITED, "memory.max", NULL);
	places_line(out, slot, "memoryNodes", "memory.numa_stat");
	FIELD_FOREACH(field_array(slot, "left"), left) {
		snprintf(meaning, sizeof(meaning),
			 "charged on node %s until it is freed; it was moved from there",
			 node_of(left, text));
		bytes_line(out, left, "bytes", 0, "left behind", meaning);
	}
	snprintf(text, sizeof(text), "%" PRIu64, field_u64(slot, "oomKills", 0));
	line(out, "memory.events", text, "oom kills");
	if (field_u64(slot, "leakBytesPerSec", 0))
		bytes_line(out, slot, "leakBytesPerSec", 0, "leaks",
			   "a second, for half a minute or more, and uses none of it again");
	if (field_text(slot, "advice", NULL))
		line(out, "advice", "it", field_text(slot, "advice", ""));
	if (field_text(slot, "emergency", NULL))
		line(out, "emergency", field_text(slot, "emergency", "?"), NULL);
}

static void engine_line(FILE *out, sd_json_variant *slot)
{
	const char *engine = field_text(slot, "engine", NULL);

	if (engine)
		line(out, "engine", engine,
		     strcmp(engine, "io_uring") == 0
			     ? "what its tasks receive by"
			     : "the fallback where io_uring is refused; see: tmctl doctor");
}

/* "process 217, pool join, owes 24M for 12s; taken by force in 3s" */
static void owed_line(sd_json_variant *slot, sd_json_variant *owed, FILE *out)
{
	char bytes[FORMAT_BYTES_MAX], how_long[FORMAT_DURATION_MAX], left[FORMAT_DURATION_MAX];
	const char *pool = field_text(owed, "pool", NULL);
	uint64_t left_usec = field_u64(owed, "leftUsec", UINT64_MAX);
	bool is_killed =
		field_bool(owed, "kill", strcmp(field_text(slot, "revoke", "wait"), "kill") == 0);

	fprintf(out, "    process %" PRIu64 "%s%s", field_u64(owed, "pid", 0),
		pool ? ", pool " : "", pool ? pool : "");
	if (field_u64(owed, "owedBytes", 0)) {
		fprintf(out, " owes %s for %s; ",
			format_bytes(field_u64(owed, "owedBytes", 0), bytes),
			format_duration(field_u64(owed, "owedUsec", 0), how_long));
		if (left_usec == UINT64_MAX)
			fputs("it is waited for", out);
		else
			fprintf(out, "%s in %s%s", is_killed ? "it is killed" : "taken by force",
				format_duration(left_usec, left),
				field_bool(owed, "forGuarantee", false)
					? ", for they are guaranteed to another slot"
					: "");
	}
	if (field_u64(owed, "revokedBytes", 0))
		fprintf(out, "%s %s were taken by force",
			field_u64(owed, "owedBytes", 0) ? ";" : ":",
			format_bytes(field_u64(owed, "revokedBytes", 0), bytes));
	fputc('\n', out);
}

/* "1G huge", "2M huge", "transparent, 24M of 32M are huge"; NULL: it has none. */
static const char *pages_meaning(sd_json_variant *slot, char *buf, size_t size)
{
	const char *pages = field_text(slot, "pages", NULL);
	char huge[FORMAT_BYTES_MAX], granted[FORMAT_BYTES_MAX];

	if (!pages || strcmp(pages, "huge") == 0 || strcmp(pages, "gigantic") == 0)
		return pages ? view_pages_word(pages) : NULL;
	snprintf(buf, size, "%s, %s of %s are huge", pages,
		 format_bytes(field_u64(slot, "poolHugeBytes", 0), huge),
		 format_bytes(field_u64(slot, "poolGrantedBytes", 0), granted));
	return buf;
}

static void pool_section(sd_json_variant *slot, FILE *out)
{
	sd_json_variant *owed;
	char text[FORMAT_BYTES_MAX], meaning[80];
	uint64_t page = field_u64(slot, "poolPageBytes", UINT64_C(2) << 20);
	uint64_t granted = field_u64(slot, "poolGrantedBytes", 0);

	fputs("\npool\n", out);
	bytes_line(out, slot, "poolShareBytes", 0, "share", "what its tasks may hold now");
	bytes_line(out, slot, "poolGrantedBytes", 0, "granted", "what they hold");
	bytes_line(out, slot, "poolOwedBytes", 0, "owed", "asked back, not yet returned");
	FIELD_FOREACH(field_array(slot, "owed"), owed)
		owed_line(slot, owed, out);
	snprintf(text, sizeof(text), "%" PRIu64, page ? granted / page : 0);
	line(out, "pages", text, pages_meaning(slot, meaning, sizeof(meaning)));
	bytes_line(out, slot, "poolPageBytes", 0, "page size", NULL);
	bytes_line(out, slot, "poolKernelBytes", 0,
		   is_gigantic(slot) ? "hugetlb.1GB.current" : "hugetlb.2MB.current", NULL);
	places_line(out, slot, "poolNodes",
		    is_gigantic(slot) ? "hugetlb.1GB.numa_stat" : "hugetlb.2MB.numa_stat");
	engine_line(out, slot);
}

/* "12:30:05" */
static const char *time_of(sd_json_variant *object, const char *field, char buf[static 16])
{
	time_t seconds = (time_t)(field_u64(object, field, 0) / 1000000);
	struct tm local;

	if (!localtime_r(&seconds, &local) || strftime(buf, 16, "%H:%M:%S", &local) == 0)
		strcpy(buf, "?");
	return buf;
}

static void notice_lines(sd_json_variant *notice, FILE *out)
{
	char before[FORMAT_BYTES_MAX], target[FORMAT_BYTES_MAX], usage[FORMAT_BYTES_MAX];
	char freed[FORMAT_BYTES_MAX], when[16];

	fprintf(out, "  %-21s %s: %s, %s->%s, usage %s\n", "last notice",
		time_of(notice, "realtimeUsec", when), field_text(notice, "why", "?"),
		bytes_of(notice, "beforeBytes", 0, before),
		bytes_of(notice, "targetBytes", 0, target),
		bytes_of(notice, "usageBytes", 0, usage));
	fprintf(out, "  %-21s %" PRIu64 " of %" PRIu64 " tasks, %s freed as they say\n", "answers",
		field_u64(notice, "answers", 0), field_u64(notice, "asked", 0),
		bytes_of(notice, "freedBytes", 0, freed));
}

static void hook_lines(sd_json_variant *hook, FILE *out)
{
	const char *failure = field_text(hook, "failure", NULL);
	char when[16];

	fprintf(out, "  %-21s %s\n", "on-resize", field_text(hook, "command", "?"));
	fprintf(out, "  %-21s %" PRIu64 ", %" PRIu64 " failed%s", "runs",
		field_u64(hook, "runs", 0), field_u64(hook, "failures", 0),
		field_bool(hook, "running", false) ? ", one is under way" : "");
	if (failure)
		fprintf(out, "; last %s: %s", time_of(hook, "endedUsec", when), failure);
	fputc('\n', out);
}

/* Nothing where nobody listens and nothing is run. */
static void notice_section(sd_json_variant *slot, FILE *out)
{
	sd_json_variant *notice = sd_json_variant_by_key(slot, "notice");
	sd_json_variant *hook = sd_json_variant_by_key(slot, "onResize");
	bool has_notice = notice && !sd_json_variant_is_null(notice);
	bool has_hook = hook && !sd_json_variant_is_null(hook);

	if (!has_notice && !has_hook && field_u64(slot, "watchers", 0) == 0)
		return;
	fputs("\nnotices\n", out);
	number_line(out, slot, "watchers", "clients that hear what memory should come to");
	if (has_notice)
		notice_lines(notice, out);
	if (has_hook)
		hook_lines(hook, out);
}

void view_slot(sd_json_variant *slot, FILE *out)
{
	sd_json_variant *pending_array = field_array(slot, "pending"), *pending;
	uint64_t processes = field_u64(slot, "processes", 0);

	fprintf(out, "%s: %s, %" PRIu64 " process%s\n\n", field_text(slot, "name", "?"),
		field_text(slot, "state", "?"), processes, processes == 1 ? "" : "es");
	policy_section(slot, out);
	memory_section(slot, out);
	view_heat(slot, out);
	pool_section(slot, out);
	notice_section(slot, out);
	fputs("\npending\n", out);
	if (!pending_array || sd_json_variant_elements(pending_array) == 0)
		fputs("  nothing\n", out);
	FIELD_FOREACH(pending_array, pending) {
		fputs("  ", out);
		view_progress(pending, out);
	}
}
