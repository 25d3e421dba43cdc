/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structures that may grow: the caller's first member is its idea of the size. Callers built
 * against an older header pass less, newer ones more; both get what the two sides know.
 */

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/attr.h"

/* Exported symbols need both this and a line in taskmem.map. */
#define TM_PUBLIC __attribute__((visibility("default")))

/* Options in: @from may be NULL (all defaults). Unknown trailing bytes must be 0. */
static inline int info_read(void *to, size_t to_size, const void *from, size_t from_size)
{
	const unsigned char *bytes = from;

	if (!from)
		return 0;
	if (from_size < sizeof(size_t))
		return -EINVAL;
	for (size_t i = to_size; i < from_size; i++)
		if (bytes[i] != 0)
			return -E2BIG;
	memcpy(to, from, MIN(to_size, from_size));
	return 0;
}

/* Information out: fills at most @to_size bytes and keeps the caller's size member. */
static inline int info_write(void *to, size_t to_size, const void *from, size_t from_size)
{
	if (to_size < sizeof(size_t))
		return -EINVAL;
	memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
	       MIN(to_size, from_size) - sizeof(size_t));
	return 0;
}
