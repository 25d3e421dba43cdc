/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sentences that are put together piece by piece, for people. */

#include <stddef.h>

#include "base/attr.h"

/* What does not fit is cut off. */
struct text {
	char *buf;
	size_t size, len; /* of the buffer, and without the NUL of what is in it */
};

void text_add(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
