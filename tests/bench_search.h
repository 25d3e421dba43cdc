/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Looks for the static split of memory under which a load runs best. Pure: says what to try. */

#include <stdint.h>

#include "bench_load.h"

/* Of B, in permille, what the tasks get together, and the least of one. */
#define BENCH_SPLIT_TOTAL 980
#define BENCH_SPLIT_LEAST 40

struct bench_search {
	const struct bench_load *load;
	uint32_t n_random; /* so many are drawn before the best is improved step by step */
	uint32_t n_tried;
	const uint16_t *known; /* a split to try first, or NULL */
	uint64_t random;
	double best_score;
	uint16_t best[BENCH_TASKS_MAX], tried[BENCH_TASKS_MAX];
};

/* @known: a split that is good, borrowed, or NULL. */
void bench_search_init(struct bench_search *s, const struct bench_load *load, uint32_t n_tries,
		       const uint16_t *known);
/* What to try now: s->tried. First the one that is known, and what the tasks' sizes suggest. Depends
 * on how many were tried and which was best, so that a search can go on where it was. */
void bench_search_next(struct bench_search *s);
/* How good that was; larger is better. */
void bench_search_note(struct bench_search *s, double score);
/* The same of @split, which was tried before. */
void bench_search_recall(struct bench_search *s, const uint16_t *split, double score);
