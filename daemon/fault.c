/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

enum fault_kind fault_set(struct fault *fault, enum fault_kind kind, const char *format, ...)
{
	va_list args;

	fault->kind = kind;
	va_start(args, format);
	(void)vsnprintf(fault->message, sizeof(fault->message), format, args);
	va_end(args);
	return kind;
}
