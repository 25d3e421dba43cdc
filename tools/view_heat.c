/* SPDX-License-Identifier: Apache-2.0 */

/* The working set of a slot, and its heat curve as lines of #. */

#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "field.h"
#include "print.h"
#include "view.h"

#define BAR_MAX 40
#define UNKNOWN UINT64_MAX

static void line(FILE *out, const char *name, const char *value, const char *meaning)
{
	fprintf(out, "  %-21s %-9s %s\n", name, value, meaning);
}

static void bytes_line(FILE *out, sd_json_variant *heat, const char *field, const char *name,
		       const char *meaning)
{
	char text[FORMAT_BYTES_MAX];

	if (field_u64(heat, field, UNKNOWN) != UNKNOWN)
		line(out, name, format_bytes(field_u64(heat, field, 0), text), meaning);
}

/* A rate with three digits: "0.017/s", "1.70/s", "8192/s". */
static const char *format_rate(uint64_t milli_hz, char buf[static FORMAT_BYTES_MAX])
{
	double hz = (double)milli_hz / 1000;

	snprintf(buf, FORMAT_BYTES_MAX, "%.*f/s", hz >= 99.95 || hz == 0 ? 0 : hz >= 1 ? 1 : 3, hz);
	return buf;
}

static void chart(FILE *out, sd_json_variant *points)
{
	uint64_t most = 0;
	sd_json_variant *point;

	FIELD_FOREACH(points, point) {
		uint64_t next = field_u64(point, "nextMilliHz", 0);

		most = next > most ? next : most;
	}
	if (most == 0)
		return;
	fputs("  with its hottest   the next 2M save, in faults a second, at least\n", out);
	FIELD_FOREACH(points, point) {
		uint64_t next = field_u64(point, "nextMilliHz", 0);
		int length = (int)((double)next / (double)most * BAR_MAX + 0.5);
		char bytes[FORMAT_BYTES_MAX], rate[FORMAT_BYTES_MAX];

		/* what is there is seen */
		length = length == 0 && next > 0 ? 1 : length;
		fprintf(out, "  %16s %10s%s%.*s\n",
			format_bytes(field_u64(point, "bytes", 0), bytes), format_rate(next, rate),
			length ? " " : "", length, "########################################");
	}
}

static void head_line(FILE *out, sd_json_variant *heat, const char *source, bool is_none)
{
	char age[FORMAT_DURATION_MAX], window[FORMAT_DURATION_MAX];

	fprintf(out, "\nworking set (%s, %s ago, watched %s%s%s)\n",
		is_none ? "only refaults and stall" : source,
		format_duration(field_u64(heat, "ageUsec", 0), age),
		format_duration(field_u64(heat, "windowUsec", 0), window),
		is_none ? "" : ", confidence ",
		is_none ? "" : field_text(heat, "confidence", "low"));
}

/* Sampled pages are watched for a part of the time each. */
static void working_set_line(FILE *out, sd_json_variant *heat)
{
	uint64_t window = field_u64(heat, "windowUsec", 0);
	uint64_t within = field_u64(heat, "withinUsec", window);
	char text[FORMAT_DURATION_MAX], meaning[FORMAT_DURATION_MAX + 16] = "touched in that time";

	if (within < window)
		(void)snprintf(meaning, sizeof(meaning), "touched within %s",
			       format_duration(within, text));
	bytes_line(out, heat, "workingSetBytes", "working set", meaning);
}

void view_heat(sd_json_variant *slot, FILE *out)
{
	sd_json_variant *heat = sd_json_variant_by_key(slot, "heat");
	char anon[FORMAT_BYTES_MAX], file[FORMAT_BYTES_MAX], text[64];
	const char *source, *note;
	bool is_none;

	if (!heat || !sd_json_variant_is_object(heat)) {
		fprintf(out, "\nworking set\n  not measured yet; now: tmctl show %s --heat\n",
			field_text(slot, "name", "NAME"));
		return;
	}
	source = field_text(heat, "source", "none");
	is_none = strcmp(source, "none") == 0;
	head_line(out, heat, source, is_none);
	working_set_line(out, heat);
	if (field_u64(heat, "anonBytes", UNKNOWN) != UNKNOWN)
		fprintf(out, "  %-21s anonymous %s, files %s\n", "of it",
			format_bytes(field_u64(heat, "anonBytes", 0), anon),
			format_bytes(field_u64(heat, "fileBytes", 0), file));
	bytes_line(out, heat, "seenBytes", "of", "all its memory that is looked at");
	bytes_line(out, heat, "kneeBytes", "knee", "more than this is worth less than the average");
	if (!is_none)
		line(out, "score", format_rate(field_u64(heat, "scoreMilliHz", 0), text),
		     "touches of a page, summed over buckets of 2M");
	bytes_line(out, heat, "refaultBytes", "refaulted", "came back from swap or disk meanwhile");
	line(out, "stalled", format_duration(field_u64(heat, "stallUsec", 0), text),
	     "waited for memory meanwhile");
	line(out, "cost", format_duration(field_u64(heat, "costUsec", 0), text),
	     "of the kernel's time");
	note = field_text(heat, "note", NULL);
	if (note)
		fprintf(out, "  note: %s\n", note);
	chart(out, field_array(heat, "points"));
}
