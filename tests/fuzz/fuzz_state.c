/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as state.json. As they are nearly all fail at the checksum, so they are tried as the body
 * of a file with a right first line, too. What is taken is the same when it is written and read again.
 */

#include <stdio.h>
#include <zlib.h>

#include "fuzz.h"
#include "state.h"

static void decode(const char *text, size_t len)
{
	char error[STATE_ERROR_MAX] = "", *first = NULL, *second = NULL;
	struct state *state = NULL, *again = NULL;
	size_t first_len, second_len;
	int r = state_decode(text, len, &state, error);

	if (r == STATE_OK) {
		MUST(state_encode(state, &first, &first_len) == 0);
		MUST(state_decode(first, first_len, &again, error) == STATE_OK);
		MUST(state_encode(again, &second, &second_len) == 0);
		MUST(first_len == second_len && memcmp(first, second, first_len) == 0);
	} else {
		MUST(!state && (r < 0 || error[0]));
	}
	free(second);
	free(first);
	state_free(again);
	state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *whole = malloc(size + 128);
	uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, size);
	int n;

	MUST(whole);
	decode(text, size);
	n = snprintf(whole, 128, "taskmem-state 1 %08x %zu\n", crc, size);
	MUST(n > 0 && n < 128);
	memcpy(whole + n, text, size + 1);
	decode(whole, (size_t)n + size);
	free(whole);
	free(text);
	return 0;
}
