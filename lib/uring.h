/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of the io_uring back end. */

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "bufring.h"
#include "engine.h"
#include "gather.h"
#include "uring_probe.h"

struct pin;

enum uring_op {
	OP_CANCEL,
	OP_ACCEPT,
	OP_WRITABLE,
	OP_RECEIVE,
	OP_READABLE, /* has its exclusive buffers, and waits until there is something to ask for */
	OP_ERROR_POLL,
	OP_MAIL,
	OP_SLOT,
	OP_SEND,         /* names the channel */
	OP_SEND_NO_COPY, /* names the pin */
};

#define OP_MASK ((uintptr_t)15) /* lives in the low bits of the pointer in user_data */

struct uring {
	struct io_uring ring;
	struct bufring buffers[BUFRING_GROUPS];
	struct uring_abilities can;
	struct gather gather;
	uint32_t turn;                 /* counts the waits */
	uint32_t device_us;            /* for so long a wait asks network devices; 0: it does not */
	const struct tm_channel *last; /* that received; only to be compared */
	uint32_t n_alike;              /* receives of it, one after the other */
	uint32_t n_inflight;           /* requests whose last completion is to come */
	uint32_t n_overflows;          /* of the completion queue, in turns since */
	uint64_t overflow_since_ns;
	bool is_mail_armed, is_slot_armed;
	bool is_broken; /* it is not mapped any more */
};

/* ---- engine_uring.c */
/* A cleared request with user_data set, to be counted in n_ops by the caller; NULL: none is to be
 * had. The io_uring_prep_ functions of liburing 2.9 leave user_data alone. */
struct io_uring_sqe *uring_get_sqe(struct uring *u, enum uring_op op, void *object);
/* Handles the completions that are there now. */
void uring_reap(struct tm_engine *engine);

/* ---- uring_overflow.c */
/* After each reap: makes the completion queue larger if it was too small again and again.
 * -errno: the ring is of no more use. */
int uring_look_at_overflow(struct uring *u);

/* ---- uring_receive.c */
int uring_arm_receive(struct tm_engine *engine, struct tm_channel *channel);
/* Asks the kernel to end the channel's receive; what it has received by then still comes. */
int uring_stop_receive(struct tm_engine *engine, struct tm_channel *channel);
void uring_on_receive(struct tm_engine *engine, struct tm_channel *channel,
		      const struct io_uring_cqe *cqe);
void uring_on_readable(struct tm_channel *channel);
void uring_feed(struct tm_engine *engine);
void uring_withdraw(struct tm_engine *engine);

/* ---- uring_send.c */
int uring_send(struct tm_engine *engine, struct tm_channel *channel);
void uring_on_send(struct tm_channel *channel, const struct io_uring_cqe *cqe);
/* Also frees the pin, with its last completion. */
void uring_on_send_no_copy(struct pin *pin, const struct io_uring_cqe *cqe);
