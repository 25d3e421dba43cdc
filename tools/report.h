/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a stream went: the lines at the end, and the JSON of --report. */

#include <stdint.h>

#include "base/attr.h"
#include "feed.h"
#include "output.h"
#include "stream.h"

struct report {
	const struct stream_options *options;
	const char *engine_kind;
	const struct feed *feed;     /* NULL: no input */
	const struct output *output; /* NULL: none */
	uint32_t n_connections;
	int error;  /* of the input */
	int status; /* of it all */
};

/* A line on standard error for the input, one for the output. */
void report_print(const struct report *report);
/* To options->report. Return: 0 or -errno. */
MUST_USE int report_write(const struct report *report);
