/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A region of many buckets is not cut into that many entries: all its inner buckets have its
 * rate, so they are one entry, and only the two at its ends, which others may share, are computed.
 * The cost follows the number of regions, not the size of the address space they cover.
 *
 * Sums in a shared bucket are of bytes times rate: at most 2^21 * 2^29 for regions that do not
 * overlap; sums for hostile input that does are saturated.
 */

#include "policy/heat.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_UHZ UINT64_C(1000000)

/* Bytes of one rate in bucket @bucket, or, for @is_run, in whole buckets that nobody shares. */
struct piece {
	uint64_t bucket, bytes, rate_uhz;
	bool is_run;
};

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply_saturated(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

void heat_free(struct heat_curve *curve)
{
	free(curve);
}

void heat_freep(struct heat_curve **curve)
{
	heat_free(*curve);
}

/* ---- regions to steps */

/* At most three pieces: up to a multiple of the bucket, whole buckets, the rest. */
static size_t cut_region(const struct heat_region *region, struct piece pieces[static 3])
{
	uint64_t bytes = MIN(region->bytes, HEAT_BYTES_MAX), at = region->start;
	uint64_t rate = MIN(region->rate_uhz, HEAT_RATE_MAX);
	uint64_t head =
		MIN((HEAT_BUCKET_BYTES - at % HEAT_BUCKET_BYTES) % HEAT_BUCKET_BYTES, bytes);
	uint64_t run = (bytes - head) / HEAT_BUCKET_BYTES * HEAT_BUCKET_BYTES;
	uint64_t parts[3] = { head, run, bytes - head - run };
	size_t n = 0;

	for (size_t i = 0; i < 3; i++) {
		if (parts[i] > 0)
			pieces[n++] = (struct piece){ at / HEAT_BUCKET_BYTES, parts[i], rate,
						      .is_run = i == 1 };
		at += parts[i];
	}
	return n;
}

static int by_bucket(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;

	if (left->is_run != right->is_run)
		return left->is_run - right->is_run;
	return (left->bucket > right->bucket) - (left->bucket < right->bucket);
}

static int by_heat(const void *a, const void *b)
{
	const struct heat_step *left = a, *right = b;

	return (left->rate_uhz < right->rate_uhz) - (left->rate_uhz > right->rate_uhz);
}

/* Sorts, joins steps of one rate, drops empty ones. */
static void curve_finish(struct heat_curve *curve)
{
	size_t n = 0;

	qsort(curve->steps, curve->n_steps, sizeof(*curve->steps), by_heat);
	for (size_t i = 0; i < curve->n_steps; i++) {
		struct heat_step step = curve->steps[i];

		step.bytes = MIN(step.bytes, HEAT_BYTES_MAX - curve->bytes);
		if (step.bytes == 0)
			continue;
		curve->bytes += step.bytes;
		if (n > 0 && curve->steps[n - 1].rate_uhz == step.rate_uhz)
			curve->steps[n - 1].bytes += step.bytes;
		else
			curve->steps[n++] = step;
	}
	curve->n_steps = n;
}

static struct heat_curve *curve_new(size_t n_steps)
{
	struct heat_curve *curve = NULL;
	size_t size;

	if (!__builtin_mul_overflow(n_steps, sizeof(curve->steps[0]), &size) &&
	    !__builtin_add_overflow(size, sizeof(*curve), &size))
		curve = calloc(1, size);
	return curve;
}

/* The mean rate of what is in one bucket; pieces[*i] is the first of it. */
static struct heat_step bucket_step(const struct piece *pieces, size_t n, size_t *i)
{
	uint64_t bucket = pieces[*i].bucket, weighted = 0;
	struct heat_step step = {};

	while (*i < n && !pieces[*i].is_run && pieces[*i].bucket == bucket) {
		step.bytes = add_saturated(step.bytes, pieces[*i].bytes);
		weighted = add_saturated(weighted, pieces[*i].bytes * pieces[*i].rate_uhz);
		(*i)++;
	}
	step.rate_uhz = weighted / step.bytes;
	return step;
}

/*
 * A whole bucket is a run for one region and a sum of parts when regions were cut inside it. Both
 * ways have the same bytes and the same rate, as parts of one rate have that rate as their mean.
 */
int heat_from_regions(const struct heat_region *regions, size_t n, struct heat_curve **ret)
{
	struct piece *pieces = calloc(n + 1, 3 * sizeof(*pieces));
	struct heat_curve *curve = NULL;
	size_t n_pieces = 0, i = 0;

	if (!pieces)
		return -ENOMEM;
	for (size_t k = 0; k < n; k++)
		n_pieces += cut_region(&regions[k], &pieces[n_pieces]);
	curve = curve_new(n_pieces);
	if (!curve) {
		free(pieces);
		return -ENOMEM;
	}
	qsort(pieces, n_pieces, sizeof(*pieces), by_bucket);
	while (i < n_pieces) {
		struct heat_step *step = &curve->steps[curve->n_steps++];

		if (pieces[i].is_run) {
			*step = (struct heat_step){ pieces[i].bytes, pieces[i].rate_uhz };
			i++;
		} else {
			*step = bucket_step(pieces, n_pieces, &i);
		}
	}
	free(pieces);
	curve_finish(curve);
	*ret = curve;
	return 0;
}

int heat_from_generations(const struct heat_generation *generations, size_t n,
			  struct heat_curve **ret)
{
	struct heat_curve *curve = curve_new(n);

	if (!curve)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint64_t age_ms = MAX(generations[i].age_ms, UINT64_C(1000));

		curve->steps[i] = (struct heat_step){
			.bytes =
				add_saturated(generations[i].anon_bytes, generations[i].file_bytes),
			.rate_uhz = MIN(1000 * SECOND_UHZ / age_ms, HEAT_RATE_MAX),
		};
	}
	curve->n_steps = n;
	curve_finish(curve);
	*ret = curve;
	return 0;
}

/* ---- what the curve says */

/* Touches of @bytes at @rate_uhz, to the byte: the rate is of pages. */
static uint64_t step_heat(uint64_t bytes, uint64_t rate_uhz)
{
	uint64_t pages = bytes / HEAT_PAGE_BYTES, rest = bytes % HEAT_PAGE_BYTES;

	return add_saturated(multiply_saturated(pages, rate_uhz),
			     rest * rate_uhz / HEAT_PAGE_BYTES);
}

uint64_t heat_of_hottest(const struct heat_curve *curve, uint64_t bytes)
{
	uint64_t heat = 0;

	for (size_t i = 0; i < curve->n_steps && bytes > 0; i++) {
		uint64_t part = MIN(curve->steps[i].bytes, bytes);

		heat = add_saturated(heat, step_heat(part, curve->steps[i].rate_uhz));
		bytes -= part;
	}
	return heat;
}

uint64_t heat_value(const struct heat_curve *curve, uint64_t bytes, uint64_t more)
{
	return heat_of_hottest(curve, add_saturated(bytes, more)) - heat_of_hottest(curve, bytes);
}

uint64_t heat_score(const struct heat_curve *curve)
{
	return heat_of_hottest(curve, curve->bytes) / (HEAT_BUCKET_BYTES / HEAT_PAGE_BYTES);
}

uint64_t heat_working_set(const struct heat_curve *curve, uint64_t horizon_ms)
{
	uint64_t least_uhz = 1000 * SECOND_UHZ / MAX(horizon_ms, UINT64_C(1000)), bytes = 0;

	for (size_t i = 0; i < curve->n_steps; i++)
		if (curve->steps[i].rate_uhz > 0 && curve->steps[i].rate_uhz >= least_uhz)
			bytes += curve->steps[i].bytes;
	return bytes;
}

uint64_t heat_knee(const struct heat_curve *curve)
{
	uint64_t all = heat_of_hottest(curve, curve->bytes), at = 0, heat = 0, knee = 0;
	double best = 0;

	if (all == 0)
		return 0;
	for (size_t i = 0; i < curve->n_steps; i++) {
		double above;

		at += curve->steps[i].bytes;
		heat = add_saturated(heat,
				     step_heat(curve->steps[i].bytes, curve->steps[i].rate_uhz));
		above = (double)heat / (double)all - (double)at / (double)curve->bytes;
		if (above > best + 1e-9) {
			best = above;
			knee = at;
		}
	}
	return knee;
}

struct heat_estimate heat_estimate(const struct heat_sampled *regions, size_t n, uint32_t n_drawn)
{
	uint64_t touched = 0;
	double square = 0;

	n_drawn = MAX(n_drawn, UINT32_C(2));
	for (size_t i = 0; i < n; i++) {
		uint64_t bytes = MIN(regions[i].bytes, HEAT_BYTES_MAX);
		uint32_t n_touched = MIN(regions[i].n_touched, n_drawn);
		double part = (double)n_touched / n_drawn;

		touched = add_saturated(touched, multiply_saturated(bytes, n_touched));
		square += (double)bytes * (double)bytes * part * (1 - part) / (n_drawn - 1);
	}
	return (struct heat_estimate){
		.bytes = MIN(touched / n_drawn, HEAT_BYTES_MAX),
		.error_bytes = (uint64_t)MIN(sqrt(square), (double)HEAT_BYTES_MAX),
	};
}

uint64_t heat_next_interval_ms(uint64_t interval_ms, uint64_t cost_us)
{
	uint64_t least_ms = multiply_saturated(cost_us, HEAT_COST_SHARE) / 1000;

	return MAX(interval_ms, least_ms);
}
