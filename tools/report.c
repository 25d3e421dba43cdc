/* SPDX-License-Identifier: Apache-2.0 */

#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-json.h>

#include "base/mono.h"

static double seconds_of(uint64_t first_ns, uint64_t last_ns)
{
	if (last_ns <= first_ns || first_ns == 0)
		return 0;
	return (double)(last_ns - first_ns) / (double)NS_PER_SEC;
}

static double rate_of(uint64_t bytes, double seconds)
{
	return seconds > 0 ? (double)bytes / seconds / (1 << 20) : 0;
}

static void print_input(const struct report *report)
{
	const struct feed_totals totals = feed_get_totals(report->feed);
	double seconds = seconds_of(totals.first_ns, totals.last_ns);

	fprintf(stderr,
		"tmctl: %" PRIu64 " bytes in %.2f s, %.1f MiB/s, %" PRIu64 " buffers, %" PRIu32
		" connection%s, crc32 %08x, engine %s\n",
		totals.bytes, seconds, rate_of(totals.bytes, seconds), totals.buffers,
		report->n_connections, report->n_connections == 1 ? "" : "s", totals.crc32,
		report->engine_kind);
}

static void print_output(const struct report *report)
{
	const struct output_totals totals = output_get_totals(report->output);
	double seconds = seconds_of(totals.first_ns, totals.last_ns);

	if (totals.error < 0)
		fprintf(stderr, "tmctl: output %s: %s\n", report->options->output,
			strerror(-totals.error));
	fprintf(stderr,
		"tmctl: output %" PRIu64 " bytes in %.2f s, %.1f MiB/s, %" PRIu64
		" buffers, crc32 %08x, engine %s\n",
		totals.bytes, seconds, rate_of(totals.bytes, seconds), totals.buffers, totals.crc32,
		output_get_engine(report->output));
}

void report_print(const struct report *report)
{
	if (report->feed)
		print_input(report);
	if (report->output)
		print_output(report);
}

static int describe_output(const struct report *report, sd_json_variant **ret)
{
	const struct output_totals totals = output_get_totals(report->output);
	double seconds = seconds_of(totals.first_ns, totals.last_ns);
	char sum[9];

	snprintf(sum, sizeof(sum), "%08x", totals.crc32);
	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("peer", report->options->output),
		SD_JSON_BUILD_PAIR_UNSIGNED("bytes", totals.bytes),
		SD_JSON_BUILD_PAIR_REAL("seconds", seconds),
		SD_JSON_BUILD_PAIR_REAL("mibPerSecond", rate_of(totals.bytes, seconds)),
		SD_JSON_BUILD_PAIR_UNSIGNED("buffers", totals.buffers),
		SD_JSON_BUILD_PAIR_STRING("crc32", sum),
		SD_JSON_BUILD_PAIR_STRING("error", totals.error ? strerror(-totals.error) : ""));
}

/* The members that concern the input; all 0 without one. */
static int describe_input(const struct report *report, sd_json_variant **ret)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *streams = NULL;
	struct feed_totals totals = {};
	double seconds;
	char sum[9];
	int r;

	if (report->feed) {
		totals = feed_get_totals(report->feed);
		r = feed_describe_streams(report->feed, &streams);
	} else {
		r = sd_json_variant_new_array(&streams, NULL, 0);
	}
	if (r < 0)
		return r;
	seconds = seconds_of(totals.first_ns, totals.last_ns);
	snprintf(sum, sizeof(sum), "%08x", totals.crc32);
	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("slot", report->options->slot),
		SD_JSON_BUILD_PAIR_STRING("engine", report->engine_kind),
		SD_JSON_BUILD_PAIR_UNSIGNED("bytes", totals.bytes),
		SD_JSON_BUILD_PAIR_REAL("seconds", seconds),
		SD_JSON_BUILD_PAIR_REAL("mibPerSecond", rate_of(totals.bytes, seconds)),
		SD_JSON_BUILD_PAIR_UNSIGNED("buffers", totals.buffers),
		SD_JSON_BUILD_PAIR_UNSIGNED("bufferBytes", report->options->buffer_bytes),
		SD_JSON_BUILD_PAIR_UNSIGNED("connections", report->n_connections),
		SD_JSON_BUILD_PAIR_UNSIGNED("newlinesAdded", totals.newlines_added),
		SD_JSON_BUILD_PAIR_STRING("crc32", sum),
		SD_JSON_BUILD_PAIR_STRING("error", report->error ? strerror(-report->error) : ""),
		SD_JSON_BUILD_PAIR_INTEGER("exitStatus", report->status),
		SD_JSON_BUILD_PAIR_VARIANT("streams", streams));
}

int report_write(const struct report *report)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *object = NULL, *output = NULL;
	FILE *file = report->options->report;
	int r = describe_input(report, &object);

	if (r >= 0 && report->output) {
		r = describe_output(report, &output);
		if (r >= 0)
			r = sd_json_variant_set_field(&object, "output", output);
	}
	if (r >= 0)
		r = sd_json_variant_dump(object, SD_JSON_FORMAT_NEWLINE, file, NULL);
	if (r >= 0 && fflush(file) != 0)
		r = -errno;
	return r < 0 ? r : 0;
}
