/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Received buffers into a pipe: a queue and one writer thread. The engine's thread pushes, the
 * writer writes whole lines and releases each buffer once its bytes are in the pipe, so that a
 * slow reader holds the buffers, the buffers hold the credit, and the sender waits.
 */

#include <stdint.h>
#include <systemd/sd-json.h>

#include "base/attr.h"
#include "taskmem.h"

struct feed;
struct feed_stream; /* one connection; lives until feed_free() */

struct feed_callbacks {
	void (*release)(struct tm_buffer *buffer); /* any thread */
	void (*broken)(void *userdata);            /* writer thread: nobody reads the pipe */
	void *userdata;
};

struct feed_totals {
	uint64_t bytes; /* in the pipe, without newlines_added */
	uint64_t buffers;
	uint64_t streams;
	uint64_t newlines_added; /* after a last line without one, when another stream followed */
	uint64_t first_ns, last_ns; /* first push, last write; monotonic, 0: never */
	uint32_t crc32;             /* of the bytes in the order they were written */
};

/**
 * feed_new() - start the writer thread
 * @pipe_fd:    write end, owned by the feed on success
 * @line_bytes: most bytes of an unfinished line that are kept back per stream
 *
 * SIGPIPE must be ignored. Return: 0 or -errno.
 */
MUST_USE int feed_new(int pipe_fd, size_t line_bytes, const struct feed_callbacks *callbacks,
		      struct feed **ret_feed);
/* After feed_finish(), or on a feed without streams. */
void feed_free(struct feed *feed);

/* A new stream called @name; NULL: out of memory. */
struct feed_stream *feed_open(struct feed *feed, const char *name);
/* Hands over @length bytes at @data within @buffer. On failure (-ENOMEM) it is released. */
MUST_USE int feed_push(struct feed *feed, struct feed_stream *stream, struct tm_buffer *buffer,
		       const char *data, size_t length);
/* The stream has ended; @error: 0 or negative errno. */
void feed_close(struct feed *feed, struct feed_stream *stream, int error);

/* From now on bytes are dropped and buffers released at once; any thread, also a second time. */
void feed_abort(struct feed *feed);
/* Writes all that was pushed, closes the pipe, ends the thread. Call it once. */
void feed_finish(struct feed *feed);

/* After feed_finish(). */
struct feed_totals feed_get_totals(const struct feed *feed);
/* [{"peer", "bytes", "buffers", "crc32", "error"}] of the first streams. Return: 0 or -errno. */
MUST_USE int feed_describe_streams(const struct feed *feed, sd_json_variant **ret_array);
