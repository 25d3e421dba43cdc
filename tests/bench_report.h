/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Results of many runs as a table. */

#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "bench_policy.h"
#include "bench_result.h"

/* All runs kept in a file, and what each task does alone. */
struct bench_store {
	struct bench_result *runs;
	size_t n_runs, n_allocated;
	struct bench_solo {
		uint32_t hash;
		double rate; /* bench_series_rate() */
	} *solos;
	size_t n_solos;
	struct bench_try *tries;
	size_t n_tries;
	bool is_legacy;       /* all of it with the LRU lists before the multi-gen ones */
	double least_spin_us; /* of all runs: the machine when nobody disturbs it */
};

/* Reads a results file; a missing one is empty, lines that are not understood (a run that was
 * ended while it wrote) are skipped. 0, -ENOMEM or -errno. */
MUST_USE int bench_store_read(struct bench_store *store, int dir_fd, const char *name);
MUST_USE int bench_store_add(struct bench_store *store, const struct bench_result *r);
MUST_USE int bench_store_add_solo(struct bench_store *store, uint32_t hash, double rate);
MUST_USE int bench_store_add_try(struct bench_store *store, const struct bench_try *t);
void bench_store_free(struct bench_store *store);

/* The best static split tried for today's definition of the load, or bench_policy_split(). */
const uint16_t *bench_store_split(const struct bench_store *store, const struct bench_load *load);
/* What a run of @policy on @load belongs to today: runs of another version do not count. */
uint32_t bench_store_version(const struct bench_store *store, const struct bench_load *load,
			     const struct bench_policy *policy);

/* A machine that took 2.5 times as long for the same work was busy with something else, and
 * refaults per second are not what they would have been: such runs do not count. */
bool bench_store_is_disturbed(const struct bench_store *store, const struct bench_result *r);
uint32_t bench_store_count_disturbed(const struct bench_store *store);

/* A finished run of today's definitions of the load and the policy. NULL: none. */
const struct bench_result *bench_store_find(const struct bench_store *store,
					    const struct bench_load *load,
					    const struct bench_policy *policy, uint32_t rep);
/* 0: not measured yet. */
double bench_store_solo(const struct bench_store *store, const struct bench_task *task);

/* Medians over all repetitions of one load and policy. */
struct bench_summary {
	size_t n;
	struct bench_interval refaults, mean, least, share_error, settle_s;
	/* medians, of each task */
	double mib_of[BENCH_TASKS_MAX], speed_of[BENCH_TASKS_MAX], refaults_of[BENCH_TASKS_MAX];
	uint32_t n_flips, n_missed, n_kills;              /* sums */
	double n_writes, longest_write_ms, loop_permille; /* median, largest, median */
	double short_mib;                                 /* largest */
	/* loop_permille at the speed of the host, median of the runs that this is known of */
	double host_loop_permille;
	size_t n_host;
};
/* n = 0: none. */
struct bench_summary bench_summarize(const struct bench_store *store, const struct bench_load *load,
				     const struct bench_policy *policy);

/* "72/40/48"; of many tasks the first eight. Returns @buf. */
#define BENCH_MIB_MAX 64
const char *bench_summary_mib(const struct bench_load *load, const struct bench_summary *s,
			      char buf[static BENCH_MIB_MAX]);

void bench_report_table(FILE *f, const struct bench_store *store);
/* The best splits that were tried, as lines of the table in bench_policy.c. */
void bench_report_splits(FILE *f, const struct bench_store *store);
void bench_report_tsv(FILE *f, const struct bench_store *store);

/* ---- bench_report_svg.c: throughput and refaults of all loads, as a picture */
void bench_report_svg(FILE *f, const struct bench_store *store);

/* ---- bench_bars.c: what the law has to reach, and whether it does */

enum bench_verdict { BENCH_OPEN, BENCH_PASS, BENCH_FAIL }; /* open: not all of it was run */

struct bench_bar {
	const char *load; /* "all" for those over all loads */
	char text[96];    /* "refaults <= 0.05 of low" */
	char value[192];  /* what was measured, or what was not */
	enum bench_verdict verdict;
};
#define BENCH_BARS_MAX 96

/* Returns how many of @bars are filled. */
size_t bench_bars_judge(const struct bench_store *store,
			struct bench_bar bars[static BENCH_BARS_MAX]);
void bench_bars_print(FILE *f, const struct bench_store *store);
