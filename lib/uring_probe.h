/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this kernel's receives can do and do right, tried once in a process. */

#include <stdbool.h>

struct uring_abilities {
	/* a multishot receive ends by itself after so many bytes, and its bundles are in order */
	bool has_limit;
	bool has_packed; /* receives follow each other in a buffer */
};

struct uring_abilities uring_probe(void);
