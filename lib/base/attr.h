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
#define TAKE_FD(fd)             \
	({                      \
		int taken_ = (fd); \
		(fd) = -1;      \
		taken_;         \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define MIN(a, b)                          \
	({                                 \
		typeof(a) a_ = (a);        \
		typeof(b) b_ = (b);        \
		a_ < b_ ? a_ : b_;         \
	})
#define MAX(a, b)                          \
	({                                 \
		typeof(a) a_ = (a);        \
		typeof(b) b_ = (b);        \
		a_ > b_ ? a_ : b_;         \
	})
