/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the unit tests share: running a suite, and random cases that are the same every time. */

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

/* For millions of checks: Check notes each assertion that holds, which takes its time. */
#define REQUIRE(x)                    \
	do {                          \
		if (!(x))             \
			ck_assert(x); \
	} while (0)

/* Runs and frees @suite; the value for main() to return. */
static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int n_failed;

	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* splitmix64: set @random_state to the case's seed, then draw. */
[[maybe_unused]] static uint64_t random_state;

static inline uint64_t random_below(uint64_t bound)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % bound;
}
