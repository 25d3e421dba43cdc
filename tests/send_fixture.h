/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of sending share: handlers that send a pattern, and peers that read it. As in
 * engine_fixture.h, which this builds on, but with handlers of its own.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine_fixture.h"

/* What the handlers saw and have to do. */
struct seen {
	struct tm_channel *channel[4]; /* in the order of their opening; NULL once closed */
	uint32_t n_open, n_closed, n_ended, n_writable;
	int error; /* of the one closed last */
	uint32_t held_at_close;
	uint64_t n_received;
	char text[16]; /* received first */
	bool should_echo, should_shutdown_at_end;
	uint64_t position, total; /* of the pattern, and where it ends */
	uint32_t step;            /* bytes a send; 0: varies from 1 to 200 */
	bool is_quiet;            /* the writable handler only counts */
};

extern struct seen seen;
/* Two sets of handlers, the second without end and writable. */
extern const struct tm_handlers send_handlers, short_handlers;

/* Without a copy: on loopback in name only, but buffers are pinned until they are acknowledged. */
enum variant { COPIED, PINNED };

/* Slot, pool, an engine whose channels queue 8 buffers, and a listener. */
void make(int kind, enum variant variant, size_t buffer_bytes, uint32_t min_buffers,
	  uint32_t max_buffers);
/* Another engine in its place. */
void remake(const struct tm_engine_options *options, const struct tm_handlers *with);
void run_until(const uint32_t *count, uint32_t n);
/* Runs until no buffer is queued any more. */
void run_until_released(void);
/* A connection of seen.channel[n]. */
int open_peer(void);
struct tm_channel_stats channel_stats(const struct tm_channel *channel);

/* Sends the next piece of the pattern; the result of tm_channel_send(). */
int send_piece(struct tm_channel *channel);
/* As much as fits; ends the stream after seen.total. */
void send_more(struct tm_channel *channel);
/* Fills the queue and the sockets of a peer that does not read, until nothing moves any more. */
void stall(struct tm_channel *channel);

/* A thread that checks the pattern until the end of file. */
struct reader {
	pthread_t thread;
	int fd;
	uint64_t bytes;
	bool is_wrong;
};

void start_reader(struct reader *reader, int fd);
void check_reader(struct reader *reader, uint64_t bytes);
