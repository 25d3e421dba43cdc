/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The command of on-resize=: an absolute path and arguments, no shell. Pure.
 *
 * Words are separated by blanks; '…' or "…" keeps blanks in a word. There is no other syntax: no
 * escapes, pipes, globs. ($NAME is left as it is; systemd replaces it by the environment of
 * the command when it runs it.)
 */

#include <stddef.h>

#include "base/attr.h"
#include "model.h"

#define COMMAND_WORDS_MAX 32
#define COMMAND_ERROR_MAX 160

/* Words of a command; words[] point into text and end with NULL. */
struct command {
	char text[ON_RESIZE_MAX + 1];
	char *words[COMMAND_WORDS_MAX + 1];
	size_t n_words;
};

/**
 * command_parse() - split @text, or say what is wrong with it
 * @text: of any length
 * @ret:  not to be copied: its pointers are into itself
 *
 * Return: 0, or -EINVAL with @error filled.
 */
MUST_USE int command_parse(const char *text, struct command *ret,
			   char error[static COMMAND_ERROR_MAX]);
