/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Weighted max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2: "water-filling"): the
 * division in which nobody's share per weight can grow without that of one who has no more per
 * weight shrinking. With floors and caps it is
 *
 *	share_i = clamp(lambda * w_i, min_i, max_i),   sum of share_i = total.
 *
 * f(lambda) = sum of the clamps is continuous, never falls, starts at sum(min) and ends at
 * sum(max), and is straight between the 2n points min_i / w_i, where a claim begins to grow, and
 * max_i / w_i, where it stops. Walking over the sorted points finds the piece that contains
 * `total`; there lambda = (total - fixed) / W, with W the weights that grow and `fixed` what the
 * others have. All of it is a comparison of fractions in 128 bits, so lambda is exact:
 * total < 2^62, w <= 2^32, W <= n * 2^32, a point's numerator < 2^64.
 *
 * Rounding is Hamilton's largest remainder: everyone has the floor of lambda * w_i, and the k
 * units left go to the k largest remainders, ties by name. k is a sum of fractions below 1, so
 * more than k claims have one; a claim with a fraction lies strictly between its integer min and
 * max, so one unit more stays within. Hence the sum is exact, bounds hold and each growing share
 * is within one unit of lambda * w_i. As in every exact rounding, a larger weight can lose that
 * one unit to another's remainder.
 *
 * Flink shares buffers by expected_i * T / W in 32 bits and repairs the rest in hash order: its
 * result depends on that order and is up to several buffers from fair.
 */

#include "base/maxmin.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

/* Where a claim begins or stops to grow: lambda = num / den. */
struct point {
	uint64_t num;
	uint64_t den; /* the claim's weight */
	bool is_end;
};

struct remainder {
	u128 rest; /* of lambda * w modulo 1, times lambda's denominator */
	struct claim *claim;
};

static int point_compare(const void *a, const void *b)
{
	const struct point *x = a, *y = b;
	u128 left = (u128)x->num * y->den, right = (u128)y->num * x->den;

	if (left != right)
		return left < right ? -1 : 1;
	return x->is_end - y->is_end; /* begin before end, for a claim with min == max */
}

/* Largest first. Names are distinct, so no two compare equal. */
static int remainder_compare(const void *a, const void *b)
{
	const struct remainder *x = a, *y = b;

	if (x->rest != y->rest)
		return x->rest > y->rest ? -1 : 1;
	return strcmp(x->claim->name, y->claim->name);
}

/* Finds lambda as *ret_num / *ret_den. sum(min) <= total < sum(max) holds, so n > 0. */
static int find_level(const struct claim *claims, size_t n, uint64_t total, u128 *ret_num,
		      u128 *ret_den)
{
	struct point *points = malloc(2 * n * sizeof(*points));
	u128 fixed = 0, weights = 0;
	size_t i;

	if (!points)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		points[2 * i] = (struct point){ claims[i].min, claims[i].weight, false };
		points[2 * i + 1] = (struct point){ claims[i].max, claims[i].weight, true };
		fixed += claims[i].min;
	}
	qsort(points, 2 * n, sizeof(*points), point_compare);

	for (i = 0;; i++) { /* ends: at the last point f is sum(max) > total */
		const struct point *p = &points[i];

		/* f here = fixed + weights * lambda >= total: lambda is at or before this point */
		if (weights * p->num >= (u128)(total - fixed) * p->den)
			break;
		if (p->is_end) {
			weights -= p->den;
			fixed += p->num;
		} else {
			weights += p->den;
			fixed -= p->num;
		}
	}
	if (weights == 0) { /* nobody grows here, and fixed == total */
		*ret_num = points[i].num;
		*ret_den = points[i].den;
	} else {
		*ret_num = total - fixed;
		*ret_den = weights;
	}
	free(points);
	return 0;
}

static int share_out(struct claim *claims, size_t n, uint64_t total, u128 num, u128 den)
{
	struct remainder *remainders = malloc(n * sizeof(*remainders));
	size_t n_growing = 0;
	u128 left = total;

	if (!remainders)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct claim *c = &claims[i];
		u128 exact = num * c->weight; /* times 1 / den */

		if (exact <= c->min * den) {
			c->share = c->min;
		} else if (exact >= c->max * den) {
			c->share = c->max;
		} else {
			c->share = (uint64_t)(exact / den);
			remainders[n_growing++] = (struct remainder){ exact % den, c };
		}
		left -= c->share;
	}
	qsort(remainders, n_growing, sizeof(*remainders), remainder_compare);
	for (size_t i = 0; i < n_growing && left > 0; i++, left--)
		remainders[i].claim->share++;
	free(remainders);
	return 0;
}

int maxmin_divide(struct claim *claims, size_t n, uint64_t total)
{
	u128 least = 0, most = 0, num, den;
	int r;

	if (total > MAXMIN_TOTAL_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (claims[i].weight == 0 || claims[i].weight > MAXMIN_WEIGHT_MAX ||
		    claims[i].min > claims[i].max)
			return -EINVAL;
		least += claims[i].min;
		most += claims[i].max;
	}
	if (least > total)
		return -ERANGE;
	if (most <= total) {
		for (size_t i = 0; i < n; i++)
			claims[i].share = claims[i].max;
		return 0;
	}
	r = find_level(claims, n, total, &num, &den);
	if (r < 0)
		return r;
	return share_out(claims, n, total, num, den);
}

int maxmin_divide_needs(struct claim *claims, const uint64_t *needs, size_t n, uint64_t total)
{
	struct claim *part = malloc((n ? n : 1) * sizeof(*part));
	u128 shared = 0;
	int r;

	if (!part)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		part[i] = claims[i];
		/* a min above max is refused below, not hidden */
		if (claims[i].min <= claims[i].max)
			part[i].max = MIN(claims[i].max, MAX(needs[i], claims[i].min));
	}
	r = maxmin_divide(part, n, total);
	for (size_t i = 0; r == 0 && i < n; i++)
		shared += part[i].share;
	if (r == 0 && shared < total) {
		for (size_t i = 0; i < n; i++) {
			part[i].min = part[i].share;
			part[i].max = claims[i].max;
		}
		r = maxmin_divide(part, n, total);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		claims[i].share = part[i].share;
	free(part);
	return r;
}
