/* SPDX-License-Identifier: Apache-2.0 */

#include "lines.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lines_init(struct lines *lines, size_t capacity)
{
	char *kept = malloc(capacity);

	if (!kept)
		return -ENOMEM;
	*lines = (struct lines){ .kept = kept, .capacity = capacity };
	return 0;
}

void lines_deinit(struct lines *lines)
{
	free(lines->kept);
	*lines = (struct lines){};
}

size_t lines_cut(const struct lines *lines, const char *data, size_t len,
		 struct iovec ret_parts[static 2])
{
	const char *newline = memrchr(data, '\n', len);
	size_t n_cut = newline ? (size_t)(newline - data) + 1 : 0;
	size_t n_rest = len - n_cut + (newline ? 0 : lines->n_kept);

	if (n_rest > lines->capacity)
		n_cut = len;
	ret_parts[0] =
		(struct iovec){ .iov_base = lines->kept, .iov_len = n_cut > 0 ? lines->n_kept : 0 };
	ret_parts[1] = (struct iovec){ .iov_base = (char *)data, .iov_len = n_cut };
	return n_cut;
}

void lines_keep(struct lines *lines, const char *data, size_t len, size_t n_cut)
{
	if (n_cut > 0)
		lines->n_kept = 0;
	assert(lines->n_kept + len - n_cut <= lines->capacity);
	if (len > n_cut)
		memcpy(lines->kept + lines->n_kept, data + n_cut, len - n_cut);
	lines->n_kept += len - n_cut;
}
