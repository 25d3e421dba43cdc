/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How many bytes may be in flight so that they take a given time to consume: the law of Flink's
 * buffer debloating (FLIP-183, BufferDebloater and BufferSizeEMA). Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#define DEBLOAT_PERIOD_MS 200 /* between two observations */
#define DEBLOAT_SAMPLES 20    /* of the exponential mean: its factor is 2 / (20 + 1) */
#define DEBLOAT_THRESHOLD 4   /* a change of less than one in so many is not worth to be told */
#define DEBLOAT_BYTES_MAX (UINT64_C(1) << 56)

struct debloat {
	uint64_t min_bytes, max_bytes;
	uint64_t mean_bytes; /* of a buffer, as the law has it now */
	uint64_t told_bytes; /* what is in force */
};

/* Begins with the most. 1 <= @min_bytes <= @max_bytes <= DEBLOAT_BYTES_MAX. */
void debloat_init(struct debloat *debloat, uint64_t min_bytes, uint64_t max_bytes);

/**
 * debloat_observe() - one period more
 * @bytes_per_s: that were consumed
 * @target_us:   what all that is in flight should take
 * @n_buffers:   it is in so many buffers; 0 counts as 1
 *
 * A buffer should be bytes_per_s * target / n_buffers; but at most twice the mean, so that it grows
 * no faster than it shrinks, and within min and max. The mean follows.
 *
 * Return: true if told_bytes has changed: the mean came to a bound, or away from it by a quarter.
 */
bool debloat_observe(struct debloat *debloat, uint64_t bytes_per_s, uint64_t target_us,
		     uint32_t n_buffers);
