/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From what was seen in a run to its figures, and these as lines of a file. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "bench_load.h"
#include "model.h"

/* Splits of loads with more tasks are not looked for. */
#define BENCH_SPLIT_TASKS_MAX 8

/* One task at one tick. */
struct bench_point {
	uint64_t work_us; /* so far */
	struct memory_sample sample;
	uint64_t share_bytes; /* entitlement then */
};

/* A whole run: point[tick * n_tasks + task]; tick 0 is the beginning. */
struct bench_series {
	const struct bench_load *load;
	uint64_t tick_ns;
	size_t n_ticks;
	struct bench_point *points;
	uint64_t *tick_at_ns; /* since the beginning, as it was */
	double spin_us;       /* how long the work of an access took, in the mean of all tasks */
	double loop_permille; /* processor time of sampling and policy, of wall time */
	uint32_t n_writes;    /* in the scored part */
	uint64_t longest_write_us;
	uint32_t n_kills; /* by the kernel, for want of memory */
};

struct bench_result {
	char load[16], policy[16];
	uint32_t rep, hash;
	uint32_t version; /* bench_store_version() of the policy then */
	uint32_t n_tasks;
	/* of each task; refaults in the scored part, memory in its last third */
	double speed_of[BENCH_TASKS_MAX]; /* normalised by solo; < 0: not useful */
	double mib_of[BENCH_TASKS_MAX];
	uint64_t refaults_of[BENCH_TASKS_MAX];
	/* of the useful tasks */
	uint64_t refaults;
	double mean, least;
	double share_error; /* mean of |memory - share| / share over all tasks */
	double settle_s;    /* mean over phase changes, or after a change of weights; < 0: none */
	uint32_t n_flips, n_missed;
	double loop_permille, longest_write_ms, spin_us;
	uint32_t n_writes, n_kills;
	double short_mib; /* the most that a task was below its guarantee, once it had had it */
	double slower;    /* bench_yardstick_ns() before it by that of the host; 0: unknown */
};

/**
 * bench_result_make() - figures of a run
 * @solo: of each task: what bench_series_rate() says when it is alone; 0: not known, then its
 *        normalised speed is NaN and so is the mean
 */
void bench_result_make(const struct bench_series *s, const double *solo, struct bench_result *ret);

/* Useful work of a task between two ticks: part of the time, of one processor. */
double bench_series_rate(const struct bench_series *s, size_t task, size_t from, size_t to);
/* The ticks where the scored part begins and ends. */
size_t bench_series_begin(const struct bench_series *s);

/* One line of text, and back: 0 or -EBADMSG. */
void bench_result_print(FILE *f, const struct bench_result *r);
MUST_USE int bench_result_parse(const char *line, struct bench_result *ret);

/* A static split that was tried: in a line of its own, "try load=…". */
struct bench_try {
	char load[16];
	uint32_t hash, n_tasks;
	uint16_t split[BENCH_SPLIT_TASKS_MAX]; /* permille of B */
	uint64_t refaults;
	double score; /* mean throughput */
};
void bench_try_print(FILE *f, const struct bench_try *t);
MUST_USE int bench_try_parse(const char *line, struct bench_try *ret);

/* ---- bench_stat.c: numbers of several runs */

/* Sorts @values. NaN for n = 0. */
double bench_median(double *values, size_t n);

/* Median and the interval that it lies in with 95 % of the samples drawn anew from @values, the
 * same at each call. With n < 3 the interval is from the least to the largest. */
struct bench_interval {
	double median, low, high;
};
struct bench_interval bench_interval(const double *values, size_t n);
