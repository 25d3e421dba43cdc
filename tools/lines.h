/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whole lines out of a stream that arrives in pieces, so that several streams can go into one
 * pipe without mixing inside a line. What follows the last newline of a piece is kept back
 * until its line is complete. A line longer than the bound is passed on as it comes.
 */

#include <stddef.h>
#include <sys/uio.h>

#include "base/attr.h"

struct lines {
	char *kept; /* the beginning of a line, n_kept bytes */
	size_t n_kept, capacity;
};

/* @capacity: most bytes kept back, > 0. Return: 0 or -ENOMEM. */
MUST_USE int lines_init(struct lines *lines, size_t capacity);
void lines_deinit(struct lines *lines);

/**
 * lines_cut() - what of a new piece may be passed on now
 * @ret_parts: first what was kept, then the beginning of @data; unused ones have length 0
 *
 * Pass the parts on, then call lines_keep() with the same piece.
 *
 * Return: how many bytes of @data are in the parts.
 */
size_t lines_cut(const struct lines *lines, const char *data, size_t len,
		 struct iovec ret_parts[static 2]);

/* Keeps what lines_cut() left of the piece: @data from @n_cut on. */
void lines_keep(struct lines *lines, const char *data, size_t len, size_t n_cut);
