/* SPDX-License-Identifier: Apache-2.0 */

#include <math.h>
#include <stdlib.h>

#include "bench_result.h"

#define DRAWS 2000
#define SAMPLE_MAX 256

static int compare(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

double bench_median(double *values, size_t n)
{
	if (n == 0)
		return NAN;
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

struct bench_interval bench_interval(const double *values, size_t n)
{
	struct bench_interval result = { NAN, NAN, NAN };
	double sample[SAMPLE_MAX], medians[DRAWS];
	uint64_t random = 88172645463325252U;

	n = MIN(n, (size_t)SAMPLE_MAX);
	if (n == 0)
		return result;
	for (size_t i = 0; i < n; i++)
		sample[i] = values[i];
	result.median = bench_median(sample, n);
	if (n < 3) {
		result.low = sample[0];
		result.high = sample[n - 1];
		return result;
	}
	for (size_t d = 0; d < DRAWS; d++) {
		for (size_t i = 0; i < n; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			sample[i] = values[(random >> 11) % n];
		}
		medians[d] = bench_median(sample, n);
	}
	qsort(medians, DRAWS, sizeof(*medians), compare);
	result.low = medians[DRAWS / 40];
	result.high = medians[DRAWS - 1 - DRAWS / 40];
	return result;
}
