/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flink's arithmetic is of doubles, cut to an int: last += alpha * (instant - last). With alpha =
 * 2 / 21 that is (19 * last + 2 * instant) / 21 in integers, rounded down.
 */

#include "debloat.h"

#include "base/attr.h"

#define US_PER_S 1000000

void debloat_init(struct debloat *debloat, uint64_t min_bytes, uint64_t max_bytes)
{
	*debloat = (struct debloat){ .min_bytes = min_bytes,
				     .max_bytes = max_bytes,
				     .mean_bytes = max_bytes,
				     .told_bytes = max_bytes };
}

static bool is_worth_telling(const struct debloat *debloat)
{
	uint64_t mean = debloat->mean_bytes, told = debloat->told_bytes;

	if (mean == told)
		return false;
	if (mean <= debloat->min_bytes || mean >= debloat->max_bytes)
		return true;
	return (mean > told ? mean - told : told - mean) >= told / DEBLOAT_THRESHOLD;
}

bool debloat_observe(struct debloat *debloat, uint64_t bytes_per_s, uint64_t target_us,
		     uint32_t n_buffers)
{
	uint64_t desired, mean = debloat->mean_bytes;

	if (__builtin_mul_overflow(bytes_per_s, target_us, &desired))
		desired = UINT64_MAX;
	desired = MIN(desired / US_PER_S / MAX(n_buffers, 1U), 2 * mean);
	mean = ((DEBLOAT_SAMPLES - 1) * mean + 2 * desired) / (DEBLOAT_SAMPLES + 1);
	debloat->mean_bytes = MIN(MAX(mean, debloat->min_bytes), debloat->max_bytes);
	if (!is_worth_telling(debloat))
		return false;
	debloat->told_bytes = debloat->mean_bytes;
	return true;
}
