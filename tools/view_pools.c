/* SPDX-License-Identifier: Apache-2.0 */

/* What is in the pools of a slot's tasks. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fd.h"
#include "base/parse.h"
#include "field.h"
#include "print.h"
#include "view.h"

static void number_cell(struct table *table, sd_json_variant *pool, const char *field)
{
	table_cell(table, "%" PRIu64, field_u64(pool, field, 0));
}

static void pool_row(struct table *table, uint64_t pid, sd_json_variant *pool)
{
	static const char *const fields[] = { "buffers", "held",       "idle",      "inMagazines",
					      "posted",  "waiters",    "highWater", "overdraft",
					      "lent",    "minBuffers", "maxBuffers" };

	table_cell(table, "%s", field_text(pool, "name", "?"));
	table_cell(table, "%" PRIu64, pid);
	table_bytes(table, field_u64(pool, "bufferBytes", 0));
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		number_cell(table, pool, fields[i]);
}

static void task_line(sd_json_variant *task, FILE *out)
{
	char page[FORMAT_BYTES_MAX];
	uint64_t unreported = field_u64(task, "unreportedPools", 0);

	fprintf(out, "pid %" PRIu64 ": %" PRIu64 " of %" PRIu64 " pages of %s",
		field_u64(task, "pid", 0), field_u64(task, "heldPages", 0),
		field_u64(task, "targetPages", 0),
		format_bytes(field_u64(task, "pageBytes", 0), page));
	if (strcmp(field_text(task, "pages", "huge"), "transparent") != 0)
		fputs(" huge", out);
	else
		fprintf(out, " %s (%" PRIu64 " of them huge)", field_text(task, "pages", "?"),
			field_u64(task, "hugePages", 0));
	if (field_u64(task, "needPages", UINT64_MAX) != UINT64_MAX)
		fprintf(out, ", needs %" PRIu64, field_u64(task, "needPages", 0));
	if (!field_array(task, "pools"))
		fputs(", reports no pools", out);
	else if (unreported > 0)
		fprintf(out, ", and %" PRIu64 " pools that it has no room to report", unreported);
	fputc('\n', out);
}

int view_pools(sd_json_variant *tasks, FILE *out, unsigned width, bool has_header)
{
	static const struct column columns[] = {
		{ "POOL", false, 0 }, { "PID", true, 0 },       { "SIZE", true, 0 },
		{ "BUFS", true, 0 },  { "HELD", true, 0 },      { "IDLE", true, 0 },
		{ "MAG", true, 4 },   { "POSTED", true, 3 },    { "WAIT", true, 0 },
		{ "HIGH", true, 2 },  { "OVERDRAFT", true, 5 }, { "LENT", true, 1 },
		{ "MIN", true, 0 },   { "MAX", true, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
	sd_json_variant *task, *pool;
	int r;

	if (!table)
		return -ENOMEM;
	FIELD_FOREACH(tasks, task)
		FIELD_FOREACH(field_array(task, "pools"), pool)
			pool_row(table, field_u64(task, "pid", 0), pool);
	r = table_print(table, out, width, has_header);
	if (r < 0)
		return r;
	fputs("\n", out);
	if (!tasks || sd_json_variant_elements(tasks) == 0)
		fputs("no task holds pages of the slot\n", out);
	FIELD_FOREACH(tasks, task)
		task_line(task, out);
	return 0;
}
