/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: streams that can be checked byte by byte.
 *
 * Each 8 bytes are a number that follows from the connection and from their place in its stream,
 * so what is lost, doubled, of another connection or of an empty page is seen, and numbers are
 * made and compared as fast as memory is read.
 */

#include "bench_net.h"

#include <string.h>

#include "base/attr.h"

#define WORD sizeof(uint64_t)
#define WHICH_SHIFT 44

static uint64_t word_at(uint32_t which, uint64_t index)
{
	return ((uint64_t)which << WHICH_SHIFT) + index;
}

uint32_t pattern_find_which(const void *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof(word));
	return (uint32_t)(word >> WHICH_SHIFT);
}

/* Up to the end of a number. Returns how many bytes. */
static size_t fill_some(uint8_t *data, size_t n, uint32_t which, uint64_t at)
{
	uint64_t word = word_at(which, at / WORD);

	n = MIN(n, (size_t)(WORD - at % WORD));
	memcpy(data, (uint8_t *)&word + at % WORD, n);
	return n;
}

void pattern_fill(void *data, size_t n, uint32_t which, uint64_t at)
{
	uint8_t *p = data, *end = p + n;
	uint64_t word;

	if (at % WORD)
		p += fill_some(p, n, which, at);
	word = word_at(which, (at + WORD - 1) / WORD);
	for (; p + WORD <= end; p += WORD, word++)
		memcpy(p, &word, WORD);
	if (p < end)
		(void)fill_some(p, (size_t)(end - p), which, at + (size_t)(p - (uint8_t *)data));
}

static size_t count_bytes(const uint8_t *data, size_t n, uint32_t which, uint64_t at)
{
	uint8_t right[4 * WORD];
	size_t n_wrong = 0, some;

	for (; n > 0; data += some, at += some, n -= some) {
		some = MIN(n, sizeof(right));
		pattern_fill(right, some, which, at);
		for (size_t i = 0; i < some; i++)
			n_wrong += data[i] != right[i];
	}
	return n_wrong;
}

size_t pattern_count_wrong(const void *data, size_t n, uint32_t which, uint64_t at)
{
	const uint8_t *p = data;
	size_t head = MIN((size_t)(-at % WORD), n), body = (n - head) / WORD * WORD;
	uint64_t right = word_at(which, (at + head) / WORD), word, differs = 0;

	for (size_t i = head; i < head + body; i += WORD, right++) {
		memcpy(&word, p + i, WORD);
		differs |= word ^ right;
	}
	if (differs)
		return count_bytes(p, n, which, at);
	return count_bytes(p, head, which, at) +
	       count_bytes(p + head + body, n - head - body, which, at + head + body);
}
