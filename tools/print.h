/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tables and JSON on standard output. Plain ASCII, no colours. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-json.h>

#include "base/attr.h"

struct column {
	const char *title;
	bool is_number; /* right-aligned */
	uint8_t drop;   /* 0: always shown; else the largest goes first where room is short */
};

struct table;

/* @columns must outlive the table. Return: NULL when out of memory. */
struct table *table_new(const struct column *columns, size_t n_columns);
void table_free(struct table *table);
void table_freep(struct table **table);

/* Appends the next cell, row by row. Running out of memory is reported by table_print(). */
void table_cell(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);
/* A cell with a size as format_bytes() writes it. */
void table_bytes(struct table *table, uint64_t bytes);

/**
 * table_print() - write the rows in aligned columns, two spaces apart
 * @width:      characters per line; columns are dropped until it fits; 0: no limit
 * @has_header: titles first
 *
 * Columns that may not be dropped are never cut: a line may then be longer than @width.
 *
 * Return: 0, -ENOMEM or -EIO.
 */
MUST_USE int table_print(const struct table *table, FILE *out, unsigned width, bool has_header);

/* Columns of the terminal @fd, $COLUMNS before what the terminal says; 0: not a terminal. */
unsigned print_width(int fd);

/* One object on standard output: indented on a terminal, else one line. */
void print_json(sd_json_variant *object);
/* One object on one line, flushed: for a sequence of replies. */
void print_json_line(sd_json_variant *object);

#define FORMAT_DURATION_MAX 24
/* "350ms", "5s", "1m20s", "3h05m", "2d04h". Returns @buf. */
const char *format_duration(uint64_t usec, char buf[static FORMAT_DURATION_MAX]);
