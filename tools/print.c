/* SPDX-License-Identifier: Apache-2.0 */

#include "print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/parse.h"

#define GAP 2 /* spaces between columns */
#define COLUMNS_MAX 32
#define WIDTH_MAX 10000

struct table {
	const struct column *columns;
	size_t n_columns;
	char **cells; /* row by row */
	size_t n_cells, n_allocated;
	bool is_failed;
};

struct table *table_new(const struct column *columns, size_t n_columns)
{
	struct table *table;

	if (n_columns == 0 || n_columns > COLUMNS_MAX)
		return NULL;
	table = calloc(1, sizeof(*table));
	if (!table)
		return NULL;
	table->columns = columns;
	table->n_columns = n_columns;
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void table_freep(struct table **table)
{
	table_free(*table);
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;
	int r;

	if (table->n_cells == table->n_allocated) {
		size_t n = table->n_allocated ? 2 * table->n_allocated : 4 * table->n_columns;
		char **cells = reallocarray(table->cells, n, sizeof(*cells));

		if (!cells) {
			table->is_failed = true;
			return;
		}
		table->cells = cells;
		table->n_allocated = n;
	}
	va_start(arguments, format);
	r = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (r < 0) {
		table->is_failed = true;
		return;
	}
	table->cells[table->n_cells++] = text;
}

void table_bytes(struct table *table, uint64_t bytes)
{
	char text[FORMAT_BYTES_MAX];

	table_cell(table, "%s", format_bytes(bytes, text));
}

static void measure(const struct table *table, bool has_header, size_t widths[COLUMNS_MAX])
{
	for (size_t c = 0; c < table->n_columns; c++)
		widths[c] = has_header ? strlen(table->columns[c].title) : 0;
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t *width = &widths[i % table->n_columns];

		*width = MAX(*width, strlen(table->cells[i]));
	}
}

/* Marks the columns that fit @width, dropping one after the other. */
static void choose(const struct table *table, const size_t widths[COLUMNS_MAX], unsigned width,
		   bool is_shown[COLUMNS_MAX])
{
	for (size_t c = 0; c < table->n_columns; c++)
		is_shown[c] = true;
	while (width > 0) {
		size_t total = 0, victim = table->n_columns;

		for (size_t c = 0; c < table->n_columns; c++) {
			uint8_t drop = table->columns[c].drop;

			if (!is_shown[c])
				continue;
			total += widths[c] + (total ? GAP : 0);
			if (drop > 0 &&
			    (victim == table->n_columns || drop > table->columns[victim].drop))
				victim = c;
		}
		if (total <= width || victim == table->n_columns)
			return;
		is_shown[victim] = false;
	}
}

static void print_row(const struct table *table, FILE *out, const size_t widths[COLUMNS_MAX],
		      const bool is_shown[COLUMNS_MAX], char *const row[])
{
	size_t spaces = 0; /* written only before text: no line ends in spaces */

	for (size_t c = 0; c < table->n_columns; c++) {
		const char *text = row ? row[c] : table->columns[c].title;
		size_t len = strlen(text), padding = widths[c] - len;

		if (!is_shown[c])
			continue;
		if (table->columns[c].is_number)
			spaces += padding;
		if (len > 0) {
			fprintf(out, "%*s%s", (int)spaces, "", text);
			spaces = 0;
		}
		spaces += (table->columns[c].is_number ? 0 : padding) + GAP;
	}
	fputc('\n', out);
}

int table_print(const struct table *table, FILE *out, unsigned width, bool has_header)
{
	size_t widths[COLUMNS_MAX];
	bool is_shown[COLUMNS_MAX];

	if (table->is_failed)
		return -ENOMEM;
	measure(table, has_header, widths);
	choose(table, widths, width, is_shown);
	if (has_header)
		print_row(table, out, widths, is_shown, NULL);
	for (size_t i = 0; i + table->n_columns <= table->n_cells; i += table->n_columns)
		print_row(table, out, widths, is_shown, &table->cells[i]);
	return ferror(out) ? -EIO : 0;
}

unsigned print_width(int fd)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	uint64_t width;

	if (!isatty(fd))
		return 0;
	if (columns && parse_u64(columns, WIDTH_MAX, &width) == 0 && width > 0)
		return (unsigned)width;
	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return 0;
	return size.ws_col;
}

void print_json(sd_json_variant *object)
{
	(void)sd_json_variant_dump(object, SD_JSON_FORMAT_PRETTY_AUTO, stdout, NULL);
}

void print_json_line(sd_json_variant *object)
{
	(void)sd_json_variant_dump(object, SD_JSON_FORMAT_NEWLINE | SD_JSON_FORMAT_FLUSH, stdout,
				   NULL);
}

const char *format_duration(uint64_t usec, char buf[static FORMAT_DURATION_MAX])
{
	uint64_t seconds = usec / 1000000;

	if (usec < 1000000)
		snprintf(buf, FORMAT_DURATION_MAX, "%" PRIu64 "ms", usec / 1000);
	else if (seconds < 60)
		snprintf(buf, FORMAT_DURATION_MAX, "%" PRIu64 "s", seconds);
	else if (seconds < 3600)
		snprintf(buf, FORMAT_DURATION_MAX, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60,
			 seconds % 60);
	else if (seconds < 86400)
		snprintf(buf, FORMAT_DURATION_MAX, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600,
			 seconds / 60 % 60);
	else
		snprintf(buf, FORMAT_DURATION_MAX, "%" PRIu64 "d%02" PRIu64 "h", seconds / 86400,
			 seconds / 3600 % 24);
	return buf;
}
