/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_heat_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kern/damon.h"
#include "kern/lru_gen.h"
#include "policy/heat.h"

/*
 * From what the kernel listed to what people are told: the working set, how sure it is, and the
 * curve at some sizes.
 */

/* The kernel keeps four generations. With a fourth begun after ours, what is older than ours was
 * merged into it. */
#define GENERATIONS_KEPT 4
/* Parts that make a difference to what is said. */
#define IDLE_PART 8
#define IDLE_MIN_BYTES (UINT64_C(8) << 20)
#define LARGE_PART 8             /* 1/8: page cache of which nothing is known */
#define REFAULT_PART 20          /* 1/20: it came back while being watched, so it does not fit */
#define SAMPLED_ERROR_PERCENT 15 /* of the estimate: more is no measurement */
/* With which address does not matter; it is not one of a process. */
#define COLD_START (UINT64_C(1) << 62)
#define KILOHERTZ UINT64_C(1000000000) /* in micro-hertz */

__attribute__((format(printf, 2, 3))) static void add_note(struct heat_report *report,
							   const char *format, ...)
{
	size_t len = strlen(report->note);
	va_list args;

	if (len > 0 && len + 2 < sizeof(report->note)) {
		memcpy(report->note + len, "; ", 3);
		len += 2;
	}
	va_start(args, format);
	(void)vsnprintf(report->note + len, sizeof(report->note) - len, format, args);
	va_end(args);
}

static void doubt(struct heat_report *report, enum heat_confidence at_most)
{
	report->confidence = MIN(report->confidence, at_most);
}

/* Equal steps, each at a multiple of 2 MiB. */
static void take_curve(struct heat_report *report, const struct heat_curve *curve)
{
	uint64_t last = UINT64_MAX;

	report->knee_bytes = heat_knee(curve);
	report->score_uhz = heat_score(curve);
	report->n_points = 0;
	for (uint64_t i = 0; i < HEAT_POINTS_MAX; i++) {
		uint64_t at = curve->bytes / (HEAT_POINTS_MAX - 1) * i;

		at -= at % HEAT_BUCKET_BYTES;
		if (at == last)
			continue;
		report->points[report->n_points++] = (struct heat_point){
			.bytes = at,
			.next_uhz = heat_value(curve, at, HEAT_BUCKET_BYTES),
		};
		last = at;
	}
}

/* What the evidence says of the estimate. */
static void weigh_refaults(struct heat_report *report)
{
	char text[FORMAT_BYTES_MAX];

	if (report->refault_bytes <= report->working_set_bytes / REFAULT_PART)
		return;
	doubt(report, HEAT_MEDIUM);
	add_note(
		report,
		"it does not fit: %s came back from swap or disk meanwhile, so it is larger than this",
		format_bytes(report->refault_bytes, text));
}

/* Next to nothing was touched, of much that was touched shortly before: it rests, or all its
 * translations stayed in the TLB, and then nobody notes a touch. That was seen under QEMU's
 * emulation, with a task alone on its processor: 148 KiB of 64 MiB in five seconds. */
static void weigh_idleness(struct heat_report *report)
{
	char text[FORMAT_BYTES_MAX];

	if (report->knee_bytes < IDLE_MIN_BYTES ||
	    report->working_set_bytes >= report->knee_bytes / IDLE_PART)
		return;
	doubt(report, HEAT_LOW);
	add_note(report,
		 "shortly before it was %s: it rests now, or its memory stays in the processor's "
		 "TLB, where touches are not noted; watch longer",
		 format_bytes(report->knee_bytes, text));
}

/* ---- generations */

struct sums {
	uint64_t anon, file, all_file;
	uint64_t window_ms; /* the shortest that had to be taken */
	bool is_merged;
};

/* The kernel aged on its own so often that what is older than the window is in with what is not. */
static bool is_merged(const struct lru_gen_node *node, uint64_t base_seq)
{
	return node->n > 1 &&
	       node->generations[node->n - 1].seq >= base_seq + GENERATIONS_KEPT - 1 &&
	       node->generations[0].seq >= base_seq;
}

static void sum_node(const struct lru_gen_node *node, uint64_t base_seq, struct sums *sums)
{
	uint64_t anon, file, all_file;

	if (is_merged(node, base_seq)) {
		sums->is_merged = true;
		sums->window_ms = MIN(sums->window_ms, node->generations[1].age_ms);
		base_seq = node->generations[1].seq;
	}
	lru_gen_sum(node, base_seq, &anon, &file);
	lru_gen_sum(node, 0, NULL, &all_file);
	sums->anon += anon;
	sums->file += file;
	sums->all_file += all_file;
}

/* Into the oldest generation the kernel merges all that is older than it, so the time it was begun
 * says nothing of what is in it, unless that was within the window. */
static uint64_t age_of(const struct lru_gen_node *node, size_t i, uint64_t base_seq)
{
	const struct lru_gen_generation *g = &node->generations[i];
	bool is_bounded = i > 0 || (g->seq >= base_seq && !is_merged(node, base_seq));

	return is_bounded ? g->age_ms : HEAT_AGE_UNKNOWN;
}

static int curve_of_ages(const struct lru_gen_ages *ages, const uint64_t base_seq[static NODES_MAX],
			 struct heat_curve **ret)
{
	struct heat_generation generations[NODES_MAX * LRU_GEN_MAX];
	size_t n = 0;

	for (size_t i = 0; i < ages->n_nodes; i++) {
		const struct lru_gen_node *node = &ages->nodes[i];

		for (size_t k = 0; k < node->n; k++) {
			const struct lru_gen_generation *g = &node->generations[k];
			uint64_t age_ms = age_of(node, k, base_seq[node->node]);

			if (g->anon_bytes > 0 || g->file_bytes > 0)
				generations[n++] = (struct heat_generation){ age_ms, g->anon_bytes,
									     g->file_bytes };
		}
	}
	return heat_from_generations(generations, n, ret);
}

int heat_report_ages(const struct lru_gen_ages *ages, const uint64_t base_seq[static NODES_MAX],
		     struct heat_report *report)
{
	CLEANUP(heat_freep) struct heat_curve *curve = NULL;
	struct sums sums = { .window_ms = report->window_ms };
	char text[FORMAT_BYTES_MAX];
	int r;

	r = curve_of_ages(ages, base_seq, &curve);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ages->n_nodes; i++)
		sum_node(&ages->nodes[i], base_seq[ages->nodes[i].node], &sums);
	report->source = HEAT_LRU_GEN;
	report->confidence = HEAT_HIGH;
	report->anon_bytes = sums.anon;
	report->file_bytes = sums.file;
	report->working_set_bytes = sums.anon + sums.file;
	report->seen_bytes = curve->bytes;
	report->window_ms = report->within_ms = sums.window_ms;
	take_curve(report, curve);
	weigh_refaults(report);
	weigh_idleness(report);
	if (sums.is_merged) {
		doubt(report, HEAT_MEDIUM);
		add_note(report,
			 "the kernel was reclaiming and aged it too, so less time was watched");
	}
	if (sums.all_file - sums.file > report->seen_bytes / LARGE_PART) {
		doubt(report, HEAT_MEDIUM);
		add_note(report, "use of %s of page cache is seen only where files are mapped",
			 format_bytes(sums.all_file - sums.file, text));
	}
	return 0;
}

/* ---- regions */

/* A page drawn stands for its region, so no more than medium. The error that the samples show is
 * small where regions are all hot or all cold; it is large in an address space of which much is
 * reserved and little used, where regions are large. */
static void weigh_sampling(struct heat_report *report, const struct heat_estimate *estimate)
{
	uint64_t error_bytes = 2 * estimate->error_bytes; /* 95 of 100 are within */
	char text[FORMAT_BYTES_MAX];

	doubt(report, HEAT_MEDIUM);
	if (error_bytes > estimate->bytes / 100 * SAMPLED_ERROR_PERCENT)
		doubt(report, HEAT_LOW);
	if (error_bytes > 0)
		add_note(report, "sampled: give or take %s", format_bytes(error_bytes, text));
	else
		add_note(report, "sampled");
}

int heat_report_regions(const struct damon_region *regions, size_t n, uint64_t sample_ms,
			uint64_t usage_bytes, struct heat_report *report)
{
	struct heat_region hot[DAMON_REGIONS_MAX + 1];
	struct heat_sampled sampled[DAMON_REGIONS_MAX];
	CLEANUP(heat_freep) struct heat_curve *curve = NULL;
	struct heat_estimate estimate;
	uint64_t hot_bytes = 0;
	size_t n_hot = 0;
	int r;

	for (size_t i = 0; i < n && n_hot < DAMON_REGIONS_MAX; i++) {
		uint64_t bytes = regions[i].end - regions[i].start, rate_uhz;
		uint32_t n_touched = MIN(regions[i].n_accesses, (uint32_t)DAMON_SAMPLES);

		if (n_touched == 0 || bytes > HEAT_BYTES_MAX)
			continue;
		sampled[n_hot] = (struct heat_sampled){ bytes, n_touched };
		rate_uhz = n_touched * KILOHERTZ / (DAMON_SAMPLES * sample_ms);
		hot[n_hot++] = (struct heat_region){ regions[i].start, bytes, rate_uhz };
		hot_bytes += bytes;
	}
	estimate = heat_estimate(sampled, n_hot, DAMON_SAMPLES);
	/* Regions without touches are mostly holes between mappings. */
	if (usage_bytes > hot_bytes)
		hot[n_hot++] = (struct heat_region){ COLD_START, usage_bytes - hot_bytes, 0 };
	r = heat_from_regions(hot, n_hot, &curve);
	if (r < 0)
		return r;
	report->source = HEAT_DAMON;
	report->confidence = HEAT_HIGH;
	report->working_set_bytes = estimate.bytes;
	report->within_ms = sample_ms;
	report->seen_bytes = curve->bytes;
	take_curve(report, curve);
	weigh_sampling(report, &estimate);
	weigh_refaults(report);
	return 0;
}
