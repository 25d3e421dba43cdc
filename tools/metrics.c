/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OpenMetrics wants all samples of a family together, so there is one pass over the slots for each
 * family. Which families there are is in tables; a row is a name, a field of a reply and its
 * meaning.
 *
 * Series: every sample of a slot has the labels slot, node and tier and no more, so there are about
 * 50 for each slot, whatever its tasks do. What may be any text (a reason, a note) is no label.
 * Everything is made anew at each call: a slot that is removed is gone from the next text on, and
 * the counters of another one with its name begin at 0, which a reader takes for a restart.
 */

#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "field.h"

#define PREFIX "taskmem_"
#define UNKNOWN UINT64_MAX

enum scale {
	NUMBER = 0,
	SECONDS, /* the field has microseconds */
};

struct family {
	const char *name;  /* without the prefix; ends in the unit */
	const char *unit;  /* NULL: none */
	const char *in;    /* object inside of the object that has the field; NULL: none */
	const char *field; /* absent or null: there is no sample ... */
	const char *help;
	enum scale scale;
	bool is_counter;
	bool is_zero_if_null; /* ... or it is 0 */
};

#define BYTES(name_, field_, help_) \
	{ .name = name_ "_bytes", .unit = "bytes", .field = field_, .help = help_ }
#define COUNT(name_, field_, help_) { .name = name_, .field = field_, .help = help_ }
#define COUNTER(name_, field_, help_) \
	{ .name = name_, .field = field_, .help = help_, .is_counter = true }

static const struct family of_nodes[] = {
	BYTES("node_total", "totalBytes", "Memory of the node."),
	BYTES("node_budget", "budgetBytes", "What slots may have, huge pages not included."),
	BYTES("node_reserve", "reserveBytes", "Part of the budget that is never promised."),
	BYTES("node_guaranteed", "guaranteedBytes", "Sum of the guarantees of the slots."),
	BYTES("node_booked", "bookedBytes", "Sum of what the slots are expected to need."),
	BYTES("node_usage", "usageBytes", "What the slots of the node use together."),
	BYTES("node_limit", "groupMaxBytes", "What the kernel lets them use together."),
	COUNT("node_slots", "slots", "Slots of the node."),
	COUNT("node_hugepages", "hugePages", "Pages of 2 MiB."),
	COUNT("node_hugepages_free", "hugePagesFree", "Those that nobody holds."),
	COUNT("node_hugepages_promised", "hugePagesPromised", "Those that slots are guaranteed."),
	COUNT("node_hugepages_granted", "hugePagesGranted", "Those that tasks hold."),
	COUNT("node_hugepages_transparent", "transparentGranted",
	      "Part of those held that is transparent pages."),
	COUNT("node_gigantic", "giganticPages", "Pages of 1 GiB."),
	COUNT("node_gigantic_free", "giganticPagesFree", "Those that nobody holds."),
	COUNT("node_gigantic_promised", "giganticPagesPromised",
	      "Those that slots are guaranteed."),
	COUNT("node_gigantic_granted", "giganticPagesGranted", "Those that tasks hold."),
};

static const struct family of_slots[] = {
	COUNT("slot_weight", "weight", "Relative claim on contended memory."),
	BYTES("slot_min", "minBytes", "Guarantee."),
	BYTES("slot_max", "maxBytes", "Cap; absent when there is none but that of the node."),
	BYTES("slot_need", "needBytes", "Working set it is expected to have."),
	BYTES("slot_grant", "grantBytes", "Part of the need that is booked of the node."),
	BYTES("slot_requested", "requestedBytes", "Guarantee beyond min that its tasks asked for."),
	BYTES("slot_share", "shareBytes", "What it gets when every slot is hungry."),
	BYTES("slot_target", "lowBytes", "What is protected for it now (memory.low)."),
	BYTES("slot_demand", "demandBytes", "What it is shown to need."),
	BYTES("slot_usage", "usageBytes", "What it uses (memory.current)."),
	BYTES("slot_swap", "swapBytes", "What of it is in swap (memory.swap.current)."),
	{ .name = "slot_working_set_bytes",
	  .unit = "bytes",
	  .in = "heat",
	  .field = "workingSetBytes",
	  .help = "Memory that was touched while it was last watched." },
	{ .name = "slot_working_set_age_seconds",
	  .unit = "seconds",
	  .in = "heat",
	  .field = "ageUsec",
	  .help = "Time since it was last watched.",
	  .scale = SECONDS },
	{ .name = "slot_leak_bytes_per_second",
	  .unit = "bytes_per_second",
	  .field = "leakBytesPerSec",
	  .help = "Growth that it does not use again; 0 when no leak is seen.",
	  .is_zero_if_null = true },
	BYTES("slot_pool_min", "poolMinBytes", "Huge pages it is guaranteed."),
	BYTES("slot_pool_max", "poolMaxBytes", "Most huge pages it may borrow up to."),
	BYTES("slot_pool_share", "poolShareBytes", "Huge pages its tasks may hold now."),
	BYTES("slot_pool_held", "poolGrantedBytes", "Huge pages its tasks hold."),
	BYTES("slot_pool_transparent", "poolTransparentBytes",
	      "Part of them that is transparent pages."),
	BYTES("slot_pool_gigantic", "poolGiganticBytes", "Part of them that is in pages of 1 GiB."),
	BYTES("slot_pool_huge", "poolHugeBytes",
	      "Part of them that is in pages of 2 MiB or 1 GiB."),
	BYTES("slot_pool_owed", "poolOwedBytes", "Part of them that was asked back."),
	COUNT("slot_processes", "processes", "Processes that run in it."),
	COUNT("slot_watchers", "watchers", "Clients that hear what its memory should come to."),
	COUNTER("slot_oom_kills", "oomKills", "Processes in it that the kernel killed."),
	{ .name = "slot_hook_runs",
	  .in = "onResize",
	  .field = "runs",
	  .help = "How often its on-resize= command was run.",
	  .is_counter = true },
	{ .name = "slot_hook_failures",
	  .in = "onResize",
	  .field = "failures",
	  .help = "How often its on-resize= command failed.",
	  .is_counter = true },
};

/* Of the reply to ListCounters. */
static const struct family of_counters[] = {
	{ .name = "slot_refault_bytes",
	  .unit = "bytes",
	  .field = "refaultBytes",
	  .help = "Came back from swap or disk.",
	  .is_counter = true },
	{ .name = "slot_reclaimed_bytes",
	  .unit = "bytes",
	  .field = "reclaimedBytes",
	  .help = "Was taken from it by the kernel.",
	  .is_counter = true },
	{ .name = "slot_stall_seconds",
	  .unit = "seconds",
	  .field = "stallUsec",
	  .help = "Time in which some of its tasks waited for memory.",
	  .scale = SECONDS,
	  .is_counter = true },
	{ .name = "slot_stall_full_seconds",
	  .unit = "seconds",
	  .field = "stallFullUsec",
	  .help = "Time in which all of its tasks waited for memory.",
	  .scale = SECONDS,
	  .is_counter = true },
	{ .name = "slot_cpu_seconds",
	  .unit = "seconds",
	  .field = "cpuUsec",
	  .help = "Processor time of its tasks.",
	  .scale = SECONDS,
	  .is_counter = true },
	COUNTER("slot_freezes", "freezes", "How often an emergency froze it."),
	COUNTER("slot_kills", "kills", "How often an emergency killed its tasks."),
};

/* A slot's or a node's place in the tables. */
struct row {
	char *labels; /* with braces */
	sd_json_variant *object, *counters;
};

static void label(FILE *out, const char *separator, const char *name, const char *value)
{
	fprintf(out, "%s%s=\"", separator, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

static const char *number_of(sd_json_variant *object, const char *field, const char *otherwise,
			     char buf[static 24])
{
	uint64_t value = field_u64(object, field, UNKNOWN);

	if (value == UNKNOWN)
		return otherwise;
	snprintf(buf, 24, "%" PRIu64, value);
	return buf;
}

static void head(FILE *out, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(out, "# TYPE " PREFIX "%s %s\n", name, type);
	if (unit)
		fprintf(out, "# UNIT " PREFIX "%s %s\n", name, unit);
	fprintf(out, "# HELP " PREFIX "%s %s\n", name, help);
}

/* @object holds the field. Prints nothing if it has no value, else the head before the first. */
static void sample(FILE *out, const struct family *family, sd_json_variant *object,
		   const char *labels, bool *has_head)
{
	uint64_t value;

	if (family->in)
		object = sd_json_variant_by_key(object, family->in);
	value = field_u64(object, family->field, family->is_zero_if_null ? 0 : UNKNOWN);
	if (value == UNKNOWN)
		return;
	if (!*has_head)
		head(out, family->name, family->is_counter ? "counter" : "gauge", family->unit,
		     family->help);
	*has_head = true;
	fprintf(out, PREFIX "%s%s%s ", family->name, family->is_counter ? "_total" : "", labels);
	if (family->scale == SECONDS)
		fprintf(out, "%" PRIu64 ".%06" PRIu64 "\n", value / 1000000, value % 1000000);
	else
		fprintf(out, "%" PRIu64 "\n", value);
}

static void print_families(FILE *out, const struct family *families, size_t n_families,
			   const struct row *rows, size_t n, bool is_of_counters)
{
	for (size_t k = 0; k < n_families; k++) {
		bool has_head = false;

		for (size_t i = 0; i < n; i++)
			sample(out, &families[k],
			       is_of_counters ? rows[i].counters : rows[i].object, rows[i].labels,
			       &has_head);
	}
}

/* ---- what is one of several */

struct stateset {
	const char *name, *help;
	bool (*is_in)(sd_json_variant *slot, const char *state);
	const char *states[9]; /* NULL at the end */
};

static bool is_of_class(sd_json_variant *slot, const char *state)
{
	return strcmp(field_text(slot, "class", ""), state) == 0;
}

static bool is_in_emergency(sd_json_variant *slot, const char *state)
{
	return strcmp(field_text(slot, "emergency", ""), state) == 0;
}

static bool is_pending(sd_json_variant *slot, const char *state)
{
	sd_json_variant *pending;

	FIELD_FOREACH(field_array(slot, "pending"), pending)
		if (strcmp(field_text(pending, "what", ""), state) == 0)
			return true;
	return false;
}

static const struct stateset statesets[] = {
	{ "slot_class",
	  "How the controller sees it.",
	  is_of_class,
	  { "new", "quiet", "evidence", "suspect", "polluter", "idle", "uncontrolled" } },
	{ "slot_emergency",
	  "What an emergency does to it now.",
	  is_in_emergency,
	  { "frozen", "unprotected" } },
	{ "slot_pending",
	  "Changes of it that are under way.",
	  is_pending,
	  { "max", "share", "pool" } },
};

static void print_stateset(FILE *out, const struct stateset *set, const struct row *rows, size_t n)
{
	if (n > 0)
		head(out, set->name, "stateset", NULL, set->help);
	for (size_t i = 0; i < n; i++)
		for (const char *const *state = set->states; *state; state++)
			fprintf(out, PREFIX "%s%.*s," PREFIX "%s=\"%s\"} %d\n", set->name,
				(int)strlen(rows[i].labels) - 1, rows[i].labels, set->name, *state,
				set->is_in(rows[i].object, *state));
}

/* ---- the three parts */

static void print_daemon(FILE *out, const struct metrics *metrics)
{
	static const struct family uptime = { .name = "uptime_seconds",
					      .unit = "seconds",
					      .field = "uptimeUsec",
					      .help = "Time since the daemon started.",
					      .scale = SECONDS };
	static const struct family queue =
		COUNT("queue_length", "waiting", "Requests that wait for memory.");
	bool is_enforced = field_bool(metrics->info, "enforced", true), has_head = false;
	sd_json_variant *event;

	head(out, "build", "info", NULL, "The daemon.");
	fputs(PREFIX "build_info", out);
	label(out, "{", "version", field_text(metrics->info, "version", ""));
	fputs("} 1\n", out);
	sample(out, &uptime, metrics->info, "", &has_head);
	head(out, "enforce", "stateset", NULL, "Whether limits are enforced, or pools only.");
	fprintf(out, PREFIX "enforce{" PREFIX "enforce=\"limits\"} %d\n", is_enforced);
	fprintf(out, PREFIX "enforce{" PREFIX "enforce=\"pools-only\"} %d\n", !is_enforced);
	has_head = false;
	sample(out, &queue, metrics->slots, "", &has_head);
	head(out, "events", "counter", NULL,
	     "Events since the daemon started, of those that happened.");
	FIELD_FOREACH(field_array(metrics->counters, "events"), event) {
		fputs(PREFIX "events_total", out);
		label(out, "{", "event", field_text(event, "event", ""));
		fprintf(out, "} %" PRIu64 "\n", field_u64(event, "count", 0));
	}
}

static void print_nodes(FILE *out, const struct row *rows, size_t n)
{
	print_families(out, of_nodes, ARRAY_LEN(of_nodes), rows, n, /* is_of_counters= */ false);
	if (n > 0)
		head(out, "node_free_bytes", "gauge", "bytes",
		     "What is left below the limit of the node.");
	for (size_t i = 0; i < n; i++) {
		uint64_t max = field_u64(rows[i].object, "groupMaxBytes", UNKNOWN);
		uint64_t usage = field_u64(rows[i].object, "usageBytes", 0);

		if (max != UNKNOWN)
			fprintf(out, PREFIX "node_free_bytes%s %" PRIu64 "\n", rows[i].labels,
				max > usage ? max - usage : 0);
	}
	if (n > 0)
		head(out, "node_emergency", "gauge", NULL,
		     "1 while its memory is about to run out.");
	for (size_t i = 0; i < n; i++)
		fprintf(out, PREFIX "node_emergency%s %d\n", rows[i].labels,
			field_text(rows[i].object, "emergency", NULL) != NULL);
}

static void print_slots(FILE *out, const struct row *rows, size_t n)
{
	char owner[24];

	if (n > 0)
		head(out, "slot", "info", NULL, "What is set of it and is no number.");
	for (size_t i = 0; i < n; i++) {
		fprintf(out, PREFIX "slot_info%.*s", (int)strlen(rows[i].labels) - 1,
			rows[i].labels);
		label(out, ",", "mode", field_text(rows[i].object, "mode", ""));
		label(out, ",", "owner", number_of(rows[i].object, "owner", "", owner));
		fputs("} 1\n", out);
	}
	print_families(out, of_slots, ARRAY_LEN(of_slots), rows, n, /* is_of_counters= */ false);
	print_families(out, of_counters, ARRAY_LEN(of_counters), rows, n,
		       /* is_of_counters= */ true);
	for (size_t k = 0; k < ARRAY_LEN(statesets); k++)
		print_stateset(out, &statesets[k], rows, n);
}

/* ---- rows */

struct rows {
	struct row *rows;
	size_t n;
};

static void rows_deinit(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++)
		free(rows->rows[i].labels);
	free(rows->rows);
}

/* Both replies are in order of names: one walk finds what belongs together. */
static sd_json_variant *find_counters(sd_json_variant *all, const char *name, size_t *at)
{
	size_t n = all ? sd_json_variant_elements(all) : 0;

	for (; *at < n; (*at)++) {
		sd_json_variant *one = sd_json_variant_by_index(all, *at);
		int order = strcmp(field_text(one, "name", ""), name);

		if (order == 0)
			return one;
		if (order > 0)
			break;
	}
	return NULL;
}

/* @is_slots: else nodes. Return: 0 or -ENOMEM. */
static int rows_init(struct rows *rows, sd_json_variant *objects, sd_json_variant *counters,
		     bool is_slots)
{
	char node[24], tier[24];
	sd_json_variant *object;
	size_t at = 0, size;

	*rows = (struct rows){ .rows = calloc((objects ? sd_json_variant_elements(objects) : 0) + 1,
					      sizeof(*rows->rows)) };
	if (!rows->rows)
		return -ENOMEM;
	FIELD_FOREACH(objects, object) {
		struct row *row = &rows->rows[rows->n];
		const char *name = field_text(object, "name", "");
		FILE *out = open_memstream(&row->labels, &size);

		if (!out)
			return -ENOMEM;
		rows->n++;
		if (is_slots)
			label(out, "{", "slot", name);
		label(out, is_slots ? "," : "{", "node", number_of(object, "node", "any", node));
		if (is_slots)
			label(out, ",", "tier", number_of(object, "tier", "", tier));
		fputc('}', out);
		if (fclose(out) != 0)
			return -ENOMEM;
		row->object = object;
		row->counters = find_counters(counters, name, &at);
	}
	return 0;
}

int metrics_print(const struct metrics *metrics, FILE *out)
{
	CLEANUP(rows_deinit) struct rows nodes = {};
	CLEANUP(rows_deinit) struct rows slots = {};
	int r = rows_init(&nodes, field_array(metrics->slots, "nodes"), NULL,
			  /* is_slots= */ false);

	if (r == 0)
		r = rows_init(&slots, field_array(metrics->slots, "slots"),
			      field_array(metrics->counters, "slots"), /* is_slots= */ true);
	if (r < 0)
		return r;
	print_daemon(out, metrics);
	print_nodes(out, nodes.rows, nodes.n);
	print_slots(out, slots.rows, slots.n);
	fputs("# EOF\n", out);
	return 0;
}
