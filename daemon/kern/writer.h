/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Writes to kernel files that may block for seconds (memory.reclaim, lowering a limit), done
 * by io_uring workers, completed on the event loop.
 */

#include <systemd/sd-event.h>

#include "base/attr.h"

struct writer;
struct write_op;

/* @result: bytes written, or -errno (-EAGAIN: memory.reclaim did less than asked). */
typedef void (*writer_done_fn)(int result, void *userdata);

/* Where io_uring is refused, a thread does the same. Return: 0 or -errno. */
MUST_USE int writer_new(sd_event *event, struct writer **ret_writer);
/* The same with a thread at once. */
MUST_USE int writer_new_thread(sd_event *event, struct writer **ret_writer);
/* Waits for nothing: writes in flight end by themselves, their callbacks are not called.
 * May be called from a callback. NULL is fine. */
void writer_free(struct writer *writer);
/* "io_uring" or "thread". */
const char *writer_kind(const struct writer *writer);

/**
 * writer_submit() - write @text to @fd at offset 0, off the loop
 * @fd:   duplicated, so the caller may close it at any time
 * @text: copied, at most 255 bytes
 * @ret_op: for writer_cancel(); invalid once @done was called; may be NULL
 *
 * Writes to one kernel or regular file are done in the order of submission. @done is called
 * from the event loop, never from in here, and may submit, cancel and free.
 *
 * Return: 0 or -errno (then @done is not called; -E2BIG: the text is too long).
 */
MUST_USE int writer_submit(struct writer *writer, int fd, const char *text, writer_done_fn done,
			   void *userdata, struct write_op **ret_op);
/* @done will not be called any more. What waits in line is not begun, a write that has begun may
 * still take place, or end early. */
void writer_cancel(struct writer *writer, struct write_op *op);
/* Asks the kernel to leave off: @done is called as ever, soon, with -ECANCELED if nothing had begun.
 * May be called again. A write that has begun in a thread ends by itself. */
void writer_end_early(struct writer *writer, struct write_op *op);
