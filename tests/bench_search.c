/* SPDX-License-Identifier: Apache-2.0 */

#include "bench_search.h"

#include <math.h>
#include <string.h>

static uint64_t draw(struct bench_search *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random >> 11;
}

/* Shares of what is left above the least of each, by @claims. */
static void divide(struct bench_search *s, const double *claims)
{
	uint32_t n = s->load->n_tasks, given = 0;
	double sum = 0, free = BENCH_SPLIT_TOTAL - (double)n * BENCH_SPLIT_LEAST;

	for (size_t i = 0; i < n; i++)
		sum += claims[i];
	for (size_t i = 0; i < n; i++) {
		double part = sum > 0 ? free * claims[i] / sum : 0;

		s->tried[i] = (uint16_t)(BENCH_SPLIT_LEAST + MAX(part, 0.0));
		given += s->tried[i];
	}
	s->tried[0] += (uint16_t)(BENCH_SPLIT_TOTAL - given); /* what rounding left */
}

static double suggested(const struct bench_task *task)
{
	if (task->pattern == BENCH_COMMAND)
		return 300;
	if (!bench_task_is_useful(task))
		return 20;
	return MAX(task->size, task->other_size) + task->file_size;
}

void bench_search_init(struct bench_search *s, const struct bench_load *load, uint32_t n_tries,
		       const uint16_t *known)
{
	*s = (struct bench_search){
		.load = load,
		.n_random = n_tries / 3,
		.known = known,
		.best_score = -INFINITY,
	};
}

void bench_search_next(struct bench_search *s)
{
	uint32_t n = s->load->n_tasks;
	double claims[BENCH_TASKS_MAX];

	s->random = (bench_load_hash(s->load) + UINT64_C(0x9e3779b97f4a7c15) * s->n_tried) | 1;
	for (int i = 0; i < 4; i++)
		(void)draw(s);
	if (s->known && s->n_tried == 0) {
		memcpy(s->tried, s->known, n * sizeof(*s->tried));
		return;
	}
	if (s->n_tried > s->n_random && n > 1) {
		size_t from = draw(s) % n, to = (from + 1 + draw(s) % (n - 1)) % n;
		uint16_t step = (uint16_t)(20 + draw(s) % 100);

		memcpy(s->tried, s->best, sizeof(s->tried));
		step = MIN(step, (uint16_t)(s->tried[from] - BENCH_SPLIT_LEAST));
		s->tried[from] -= step;
		s->tried[to] += step;
		return;
	}
	for (size_t i = 0; i < n; i++)
		claims[i] = s->n_tried == (s->known ? 1 : 0)
				    ? suggested(&s->load->tasks[i])
				    : -log(((double)(draw(s) % 1000000) + 1) / 1000001);
	divide(s, claims);
}

void bench_search_note(struct bench_search *s, double score)
{
	s->n_tried++;
	if (!(score > s->best_score))
		return;
	s->best_score = score;
	memcpy(s->best, s->tried, sizeof(s->best));
}

void bench_search_recall(struct bench_search *s, const uint16_t *split, double score)
{
	memcpy(s->tried, split, s->load->n_tasks * sizeof(*split));
	bench_search_note(s, score);
}
