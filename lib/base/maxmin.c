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
 * max_i / w_i, where it stops. Selection among the points, as in quickselect, finds the first where
 * f reaches `total` without sorting them; before it lambda = (total - fixed) / W, with W the weights
 * that grow and `fixed` what the others have. All of it is a comparison of fractions in 128 bits,
 * so lambda is exact: total < 2^62, w <= 2^32, W <= n * 2^32, a point's numerator < 2^64,
 * `fixed` < n * 2^64.
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

static int point_compare(const struct point *x, const struct point *y)
{
	u128 left = (u128)x->num * y->den, right = (u128)y->num * x->den;

	return (left > right) - (left < right);
}

/* Largest first. Names are distinct, so no two compare equal. */
static int remainder_compare(const void *a, const void *b)
{
	const struct remainder *x = a, *y = b;

	if (x->rest != y->rest)
		return x->rest > y->rest ? -1 : 1;
	return strcmp(x->claim->name, y->claim->name);
}

/* f between two points next to each other: fixed + weights * lambda */
struct piece {
	u128 fixed;
	u128 weights;
};

static void piece_pass(struct piece *piece, const struct point *p)
{
	if (p->is_end) {
		piece->weights -= p->den;
		piece->fixed += p->num;
	} else {
		piece->weights += p->den;
		piece->fixed -= p->num;
	}
}

static void point_swap(struct point *a, struct point *b)
{
	struct point old = *a;

	*a = *b;
	*b = old;
}

/* Orders points[0 .. n) as those before @pivot, *ret_less of them, those level with it, up to
 * *ret_level, and those behind. */
static void partition(struct point *points, size_t n, struct point pivot, size_t *ret_less,
		      size_t *ret_level)
{
	size_t less = 0, at = 0, behind = n;

	while (at < behind) {
		int order = point_compare(&points[at], &pivot);

		if (order < 0)
			point_swap(&points[less++], &points[at++]);
		else if (order > 0)
			point_swap(&points[at], &points[--behind]);
		else
			at++;
	}
	*ret_less = less;
	*ret_level = behind;
}

/* The first point where f reaches @total, and in @piece f before it. f(last) > total. */
static struct point select_point(struct point *points, size_t n, uint64_t total,
				 struct piece *piece)
{
	struct point first = {};
	uint32_t dice = 1;

	while (n > 0) {
		struct piece before = *piece;
		size_t less, level, i;
		struct point pivot;

		dice = dice * 1664525 + 1013904223; /* Numerical Recipes, 7.1: quick and dirty */
		pivot = points[((uint64_t)dice * n) >> 32];
		partition(points, n, pivot, &less, &level);
		for (i = 0; i < less; i++)
			piece_pass(&before, &points[i]);
		/* f here >= total; not as a difference, for `fixed` may be above total already */
		if (before.fixed * pivot.den + before.weights * pivot.num >=
		    (u128)total * pivot.den) {
			first = pivot;
			n = less;
			continue;
		}
		for (; i < level; i++)
			piece_pass(&before, &points[i]);
		*piece = before;
		points += level;
		n -= level;
	}
	return first;
}

/* Finds lambda as *ret_num / *ret_den. sum(min) <= total < sum(max) holds, so n > 0. */
static int find_level(const struct claim *claims, size_t n, uint64_t total, u128 *ret_num,
		      u128 *ret_den)
{
	struct point *points = malloc(2 * n * sizeof(*points)), first;
	struct piece piece = {};

	if (!points)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		points[2 * i] = (struct point){ claims[i].min, claims[i].weight, false };
		points[2 * i + 1] = (struct point){ claims[i].max, claims[i].weight, true };
		piece.fixed += claims[i].min;
	}
	first = select_point(points, 2 * n, total, &piece);
	if (piece.weights == 0) { /* nobody grows here, and fixed == total */
		*ret_num = first.num;
		*ret_den = first.den;
	} else {
		*ret_num = total - piece.fixed;
		*ret_den = piece.weights;
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
