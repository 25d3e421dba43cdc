/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* "run" with addresses: sockets, through the slot's pool, into a program and out of it. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"

struct stream_options {
	const char *slot;
	const char *listen, *connect; /* at most one of them, and none only with output */
	const char *output;           /* NULL: the program has tmctl's standard output */
	const char *socket;           /* of the daemon */
	bool is_once;                 /* end with the first connection */
	uint64_t buffer_bytes;
	uint64_t max_buffers; /* 0: all that the slot's share allows */
	uint32_t latency_us;  /* connections are watched for so long before sleeping; 0: not */
	FILE *report;         /* JSON; may be NULL */
	char *const *argv;
};

/* Returns the exit status of tmctl; this process runs in the slot already. */
MUST_USE int stream_run(const struct stream_options *options);

/* The status for a program that could not be executed, after a sentence. */
MUST_USE int stream_exec_failed(const char *program, int error);
