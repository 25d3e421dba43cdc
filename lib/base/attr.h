/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compiler attributes and the few macros every file uses. */

#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* CLEANUP(fd_closep) int fd = -1;   runs fd_closep(&fd) at the end of the scope */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Moves a pointer out of its variable, which becomes NULL: return TAKE(p); */
#define TAKE(p)                         \
	({                              \
		typeof(p) taken_ = (p); \
		(p) = NULL;             \
		taken_;                 \
	})

/* Moves a file descriptor out of its variable, which becomes -1. */
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Each argument is evaluated once. The counter gives nested uses names of their own. */
#define MIN(a, b) MIN_NAMED(a, b, __COUNTER__)
#define MAX(a, b) MAX_NAMED(a, b, __COUNTER__)
#define MIN_NAMED(a, b, n) PICK(a, b, <, PASTE(left_, n), PASTE(right_, n))
#define MAX_NAMED(a, b, n) PICK(a, b, >, PASTE(left_, n), PASTE(right_, n))
#define PASTE(a, b) PASTE_NOW(a, b)
#define PASTE_NOW(a, b) a##b
#define PICK(a, b, order, left, right)           \
	({                                       \
		typeof(a) left = (a);            \
		typeof(b) right = (b);           \
		left order right ? left : right; \
	})
