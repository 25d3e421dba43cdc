/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Exact weighted max-min division of one amount. Pure. */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define MAXMIN_WEIGHT_MAX (UINT64_C(1) << 32)
#define MAXMIN_TOTAL_MAX (UINT64_C(1) << 62)

struct claim {
	const char *name; /* breaks ties between equal remainders; unique among the claims */
	uint64_t weight;  /* 1 .. MAXMIN_WEIGHT_MAX */
	uint64_t min;     /* min <= max */
	uint64_t max;     /* UINT64_MAX: no cap */
	uint64_t share;   /* result */
};

/**
 * maxmin_divide() - divide @total among @claims by weight, within each claim's min and max
 *
 * Sets share_i = clamp(lambda * weight_i, min_i, max_i) with the one lambda for which the shares
 * sum to min(@total, sum of max), rounded to integers: rounding moves a share by less than one
 * unit from lambda * weight. The order of @claims does not matter. O(n log n).
 *
 * Return: 0; -ERANGE when the mins alone exceed @total; -EINVAL for a weight, total or min > max
 *         out of bounds; -ENOMEM. Shares are written only on 0.
 */
MUST_USE int maxmin_divide(struct claim *claims, size_t n, uint64_t total);

/**
 * maxmin_divide_needs() - the same, where needs are known
 * @needs: what each claim can use; UINT64_MAX: all it gets
 *
 * First the total is divided with each need, but no less than min and no more than max, in place
 * of max: so one that needs less than its part by weight leaves the rest to the others. What is
 * left when all needs are met is divided on top of that, up to max.
 *
 * Return: as maxmin_divide().
 */
MUST_USE int maxmin_divide_needs(struct claim *claims, const uint64_t *needs, size_t n,
				 uint64_t total);
