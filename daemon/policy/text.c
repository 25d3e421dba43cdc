/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/text.h"

#include <stdarg.h>
#include <stdio.h>

void text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->buf + text->len, text->size - text->len, format, args);
	va_end(args);
	if (n > 0)
		text->len = MIN(text->len + (size_t)n, text->size - 1);
}
