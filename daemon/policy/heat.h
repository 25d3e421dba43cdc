/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How hot which part of a slot's memory is, and what the next byte of memory would be worth.
 *
 * Every source is brought to one measure: the rate of a region, how often each of its pages is
 * touched, in touches per 1 000 000 seconds (micro-hertz). Sorted by rate, memory is a curve:
 *
 *	H(M)   the heat of the hottest M bytes: touches per second of all their pages. Grows with
 *	       M and is concave, for what is added is never hotter than what is there.
 *	value  of the next n bytes at M: H(M + n) - H(M). What a slot that has only its hottest M
 *	       bytes would fault, at least, for want of the next n.
 *
 * The score. The project's founding idea was to rank tasks by Σ(freq_i / size_i) over regions i:
 * the accesses of a region by its size, summed. As it stands, it depends on how regions are cut:
 * one region of size s with f accesses gives f/s, but cut in half (f/2 in each s/2) it gives
 * 2 · f/s. A monitor that splits and merges regions as it likes (DAMON does so all the time)
 * changes the score of a task that does the same as before. So each term is weighted by the
 * number of equal buckets of size β = 2 MiB which its region covers:
 *
 *	score = Σ (freq_i / size_i) · (size_i / β)
 *
 * freq_i / size_i is a density and does not change with a cut, and Σ size_i does not either. In
 * the unit used here, with densities in touches per page: the sum over buckets of their rates.
 * It is high for much hot memory; score · pages per bucket is H of all memory.
 *
 * Resampling. Regions are cut at multiples of β, and a bucket that several regions share has the
 * mean rate of its bytes. The result is exactly the same (integers) for any cut of a region into
 * parts of the same rate and for any order of the regions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

#define HEAT_BUCKET_BYTES CHUNK_BYTES
#define HEAT_PAGE_BYTES UINT64_C(4096)
/* Larger values are taken for these, so that no product overflows. */
#define HEAT_RATE_MAX UINT64_C(500000000) /* micro-hertz: 500 touches per second */
#define HEAT_BYTES_MAX (UINT64_C(1) << 46)

/* Memory at consecutive addresses, each page touched rate_uhz times per 1e6 s. Regions of one
 * call must not overlap; where they do, a bucket has the mean of both. */
struct heat_region {
	uint64_t start, bytes;
	uint64_t rate_uhz;
};

/* Memory touched within the last age_ms. */
#define HEAT_AGE_UNKNOWN UINT64_MAX /* nobody knows when it was last touched: rate 0 */
struct heat_generation {
	uint64_t age_ms;
	uint64_t anon_bytes, file_bytes;
};

/* A run of memory of one rate. */
struct heat_step {
	uint64_t bytes, rate_uhz;
};

/* Hottest step first, no two steps of one rate, none of 0 bytes. */
struct heat_curve {
	size_t n_steps;
	uint64_t bytes; /* of all steps, also those of rate 0 */
	struct heat_step steps[];
};

/* The curve of regions, resampled. @ret: for heat_free(). Return: 0 or -ENOMEM. */
MUST_USE int heat_from_regions(const struct heat_region *regions, size_t n,
			       struct heat_curve **ret);

/**
 * heat_from_generations() - the curve of an age histogram, any order
 *
 * What was touched within the last t seconds was touched at 1/t Hz at least; that is its rate.
 * Ages below one second count as one second: they tell when the generation was begun, and the
 * few pages in it have not been watched for longer.
 *
 * Return: 0 or -ENOMEM.
 */
MUST_USE int heat_from_generations(const struct heat_generation *generations, size_t n,
				   struct heat_curve **ret);
/* NULL is fine. */
void heat_free(struct heat_curve *curve);
void heat_freep(struct heat_curve **curve);

/* H(@bytes) in touches per 1e6 s; all memory for more than there is. */
uint64_t heat_of_hottest(const struct heat_curve *curve, uint64_t bytes);
/* H(@bytes + @more) - H(@bytes). */
uint64_t heat_value(const struct heat_curve *curve, uint64_t bytes, uint64_t more);
/* The score above, in micro-hertz. */
uint64_t heat_score(const struct heat_curve *curve);

/* The working set over a horizon: all memory that is touched at least once in @horizon_ms. */
uint64_t heat_working_set(const struct heat_curve *curve, uint64_t horizon_ms);

/**
 * heat_knee() - where more memory begins to be worth less than on average
 *
 * The M with the greatest H(M)/H(all) - M/all: the point of the curve farthest above the line
 * from its beginning to its end. The smallest, if there are several; 0 for an even curve, in
 * which no part of memory is worth more than another.
 */
uint64_t heat_knee(const struct heat_curve *curve);

/* ---- samples */

/* Memory at consecutive addresses. Of each region the same number of pages is drawn at random, and
 * each is watched for one sampling interval. */
struct heat_sampled {
	uint64_t bytes;
	uint32_t n_touched; /* of the pages drawn */
};

struct heat_estimate {
	uint64_t bytes;
	uint64_t error_bytes; /* its standard error */
};

/**
 * heat_estimate() - how much of sampled memory is touched within one sampling interval
 * @n_drawn: pages of each region, 2 or more
 *
 * Σ bytes · n_touched / n_drawn. A page drawn of a region of which the part f is touched is found
 * touched with probability f, so this is right on average whatever f is, and however regions were
 * cut. To count whole regions of which any page was found touched is not: of memory that is hot in
 * part, all is counted that was not cut finely enough.
 *
 * The error is that of a stratified sample: Σ (bytes)² · p (1 - p) / (n_drawn - 1) is the expected
 * square, with p = n_touched / n_drawn. Regions that are all hot or all cold add nothing to it.
 */
struct heat_estimate heat_estimate(const struct heat_sampled *regions, size_t n, uint32_t n_drawn);

/* ---- how often to measure */

/* What is spent on ageing and reading: at most one part in this many of one processor. */
#define HEAT_COST_SHARE 200

/**
 * heat_next_interval_ms() - when to measure a slot again
 * @interval_ms: as configured
 * @cost_us:     what the last measurement took of the kernel's time
 *
 * Never sooner than configured, and later when measuring is dear.
 */
uint64_t heat_next_interval_ms(uint64_t interval_ms, uint64_t cost_us);
