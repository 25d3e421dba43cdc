/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/**
 * nearest_word() - what somebody probably meant
 * @word:  as typed
 * @words: NULL-terminated
 *
 * Return: the element of @words that is at most two typing errors away or begins with @word
 *         (the nearest, the first of equals), or NULL.
 */
const char *nearest_word(const char *word, const char *const words[]);
