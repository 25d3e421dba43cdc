/* SPDX-License-Identifier: Apache-2.0 */

#include "nearest.h"

#include <string.h>

#include "base/attr.h"

/* Words longer than this are no typing errors of ours. */
#define WORD_MAX_BYTES 32
#define ERRORS_MAX 2

/* Levenshtein distance with one row; both words are at most WORD_MAX_BYTES long. */
static size_t typing_errors(const char *a, const char *b)
{
	size_t row[WORD_MAX_BYTES + 1], len_b = strlen(b);

	for (size_t j = 0; j <= len_b; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len_b; j++) {
			size_t substituted = diagonal + (a[i] != b[j]);
			size_t shifted = MIN(row[j], row[j + 1]) + 1;

			diagonal = row[j + 1];
			row[j + 1] = MIN(substituted, shifted);
		}
	}
	return row[len_b];
}

const char *nearest_word(const char *word, const char *const words[])
{
	const char *best = NULL;
	size_t best_errors = ERRORS_MAX + 1, len = strlen(word);

	if (len == 0 || len > WORD_MAX_BYTES)
		return NULL;
	for (; *words; words++) {
		size_t errors;

		if (strlen(*words) > WORD_MAX_BYTES)
			continue;
		errors = strncmp(*words, word, len) == 0 ? 1 : typing_errors(word, *words);
		/* "ab" is not a misspelt "rm": half of a short word must be right */
		if (errors < best_errors && errors * 2 <= strlen(*words)) {
			best = *words;
			best_errors = errors;
		}
	}
	return best;
}
