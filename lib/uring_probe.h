/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this kernel's rings can do and do right, tried once in a process. */

#include <stdbool.h>

struct uring_abilities {
	/* a multishot receive ends by itself after so many bytes, and its bundles are in order */
	bool has_limit;
	bool has_packed; /* receives follow each other in a buffer */
	bool has_gather; /* a wait may have a least time, unless the ring says that it has not */
	bool has_napi;   /* a wait may ask network devices, unless the kernel refuses */
	bool has_resize; /* the completion queue may grow, unless the kernel refuses */
	bool is_tiny;    /* rings of eight entries: for tests */
};

struct uring_abilities uring_probe(void);
