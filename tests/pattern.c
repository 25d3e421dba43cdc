/* SPDX-License-Identifier: Apache-2.0 */

#include "pattern.h"

#include <pthread.h>
#include <string.h>

/* A prime: pieces of a usual size, put one for another, never look alike. */
#define PERIOD 65521
#define STEP 257 /* from one stream's beginning to the next one's */

static uint8_t table[PERIOD + PATTERN_PIECE];

static void fill(void)
{
	uint32_t random = 1;

	for (size_t i = 0; i < sizeof(table); i++) {
		random = random * 1664525 + 1013904223; /* Knuth's and Lewis's generator */
		table[i] = i < PERIOD ? (uint8_t)(random >> 24) : table[i - PERIOD];
	}
}

const uint8_t *pattern_at(uint8_t id, uint64_t position)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, fill);
	return &table[(position + (uint64_t)id * STEP) % PERIOD];
}

bool pattern_is(const void *data, size_t length, uint8_t id, uint64_t position)
{
	for (size_t done = 0; done < length; done += PATTERN_PIECE) {
		size_t n = length - done < PATTERN_PIECE ? length - done : PATTERN_PIECE;

		if (memcmp((const uint8_t *)data + done, pattern_at(id, position + done), n) != 0)
			return false;
	}
	return true;
}
