/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The sending side of a channel: a bounded queue of buffers that belong to the engine. send.c
 * keeps it, a back end moves its head into the socket. All of it belongs to the engine's thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "engine.h"

/* So many buffers in one system call; more gains nothing, and they are released together. */
#define SEND_BATCH 16

struct send_item {
	struct tm_buffer *buffer;
	uint32_t offset, length;
	bool has_more;
};

/* Buffers that the kernel reads without having copied them, until it says that it is done. */
struct pin {
	struct list node; /* sender->pins */
	struct tm_channel *channel;
	uint32_t n_buffers;
	struct tm_buffer *buffers[SEND_BATCH + 1]; /* one more: that of sender->cut_pin */
};

enum zero_copy_state {
	ZERO_COPY_UNTRIED, /* until the kernel has reported about one */
	ZERO_COPY_ON,
	ZERO_COPY_OFF,
};

struct sender {
	struct tm_channel *channel;
	struct list node;    /* engine->sending */
	struct list waiting; /* engine->waiting */
	uint64_t asked_ns;   /* since then, or earlier, the peer owes an answer; 0: it does not */
	struct send_item *items; /* a ring of engine->send_buffers */
	uint32_t first, n_items; /* what the kernel has not taken */
	uint32_t n_pinned;       /* buffers in pins, which count as queued */
	bool was_full;           /* the task was told -EAGAIN */
	bool should_end;         /* FIN after the queue */
	bool has_ended;
	bool is_lingering;
	bool is_given_up; /* the peer is gone: a reset is the end */
	bool is_busy;     /* back end: the kernel works on the head, or is waited for */
	int error;        /* sending has failed */
	uint64_t bytes, buffers, refused_total, zero_copy_total;

	/* of the io_uring back end */
	enum zero_copy_state zero_copy;
	struct list pins;
	struct pin *cut_pin; /* has sent a part of the first item, too */
	struct msghdr message;
	struct iovec parts[SEND_BATCH]; /* are read when the request is submitted */
};

/* The channel's socket is there: sets its options, and looks at what was queued before. */
void send_open(struct tm_channel *channel);
/* Lets the back end go on with what is queued so far. */
void send_flush(struct tm_engine *engine);
/* Is nothing to be sent any more, so that the end of receiving is the end of the channel? */
bool send_is_over(const struct tm_channel *channel);
/* Does the end of receiving mean that the connection is gone? */
bool send_is_cut(const struct tm_channel *channel);
/* Releases all that waits, before the close handler is called. The channel itself stays until
 * nothing of it is pinned, as a descriptor in engine->lingering. */
void send_finish(struct tm_channel *channel);
/* The peer is gone: the channel ends with -ETIMEDOUT, and what the kernel has for it with a reset. */
void send_give_up(struct tm_channel *channel);
/* Fills in what concerns sending. */
void send_get_stats(const struct sender *sender, struct tm_channel_stats *stats);
/* Frees what has no buffers any more. NULL is fine. */
void send_free(struct sender *sender);

/* ---- for back ends */
/* The head of the queue as parts of one send. Returns their number, 1 .. SEND_BATCH. */
uint32_t send_collect(const struct sender *sender, struct iovec parts[static SEND_BATCH],
		      size_t *ret_bytes, bool *ret_has_more);
/* The kernel has taken @bytes off the head; @pin, if not NULL, gets the buffers, else they are
 * released. */
void send_advance(struct sender *sender, size_t bytes, struct pin *pin);
/* After send_advance() or send_unpin(): goes on with the queue, ends the stream, or calls the writable handler. */
void send_go_on(struct tm_channel *channel);
/* Sending failed with @error: the rest of the queue is released. Receiving may go on. */
void send_fail(struct tm_channel *channel, int error);
/* NULL: no memory. */
struct pin *send_pin(struct tm_channel *channel);
/* The kernel is done with it, or it was for nothing. Releases its buffers; may free the channel. */
void send_unpin(struct pin *pin);
/* Resets all connections with pins, so that the kernel has no use for their bytes any more. */
void send_reset_pinned(struct tm_engine *engine);
/* Nothing is in the kernel any more, whatever it has said. */
void send_unpin_all(struct tm_engine *engine);
