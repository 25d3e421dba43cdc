/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A program's standard output to a peer, through a pool of its own: a thread reads the pipe into
 * buffers, another one runs the engine that sends them. When the peer does not read, the
 * buffers are used up, the pipe fills, and the program waits in its write(2).
 */

#include <stdint.h>

#include "base/attr.h"
#include "taskmem.h"

struct output;

struct output_totals {
	uint64_t bytes, buffers;    /* read from the program */
	uint64_t first_ns, last_ns; /* first read; the end of the connection; monotonic, 0: never */
	uint32_t crc32;
	int error; /* 0, or negative errno: the peer has not got everything */
};

/**
 * output_open() - connect to the peer
 * @slot:         whose pages are used: one of 2 MiB
 * @address:      as for tm_engine_connect(); must stay
 * @buffer_bytes: as for tm_pool_open()
 * @latency_us:   as for tm_channel_set_latency()
 * @ret_output:   owned by the caller, give back with output_free()
 *
 * Waits until the connection stands or has failed. Signals are not for the threads that it makes.
 *
 * Return: 0, or -errno: as tm_pool_open(), tm_engine_new() and tm_engine_connect(), or why the
 *         connection failed.
 */
MUST_USE int output_open(struct tm_slot *slot, const char *address, uint64_t buffer_bytes,
			 uint32_t latency_us, struct output **ret_output);

/* Sends what is read from @pipe_fd, which is the output's on success. Return: 0 or -errno. */
MUST_USE int output_start(struct output *output, int pipe_fd);

/* Waits until all writers have closed the pipe, and the peer has read all and closed; or until
 * the connection broke, when the pipe is closed and the program hears of it by SIGPIPE. */
void output_finish(struct output *output);

/* After output_finish(), or instead of it: the connection is closed then. NULL is fine. */
void output_free(struct output *output);

/* "io_uring" or "epoll". */
const char *output_get_engine(const struct output *output);
/* After output_finish(). */
struct output_totals output_get_totals(const struct output *output);
