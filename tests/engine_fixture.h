/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of the receive engine share: handlers that check, and peers that send.
 *
 * Peers are threads with blocking sockets. A stream is a header of one byte, its number, and
 * then a pattern that depends on number and position, so that a lost, doubled or misplaced
 * byte is seen.
 */

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fake_daemon.h"
#include "taskmem.h"

#define MIB ((size_t)1 << 20)
#define STREAMS_MAX 256
#define HOLD_MAX 64

/* How one stream went, as the handlers saw it. */
struct stream {
	struct tm_channel *channel;
	uint64_t bytes;
	bool is_open, is_closed, has_id, is_wrong, should_hold, should_close;
	int error;
	uint8_t id;
	struct tm_buffer *held[HOLD_MAX];
	uint32_t n_held;
};

struct peer {
	pthread_t thread;
	int fd; /* connected, or to be made to port */
	int listen_fd;
	uint8_t id;
	uint64_t bytes;
	atomic_ulong sent;
	bool half_close;
};

/* What _i of a loop test stands for: io_uring as well as this kernel has it, as older ones have it,
 * with nothing but one-shot receives, and epoll. */
extern const enum tm_engine_kind kinds[4];
extern const struct tm_handlers handlers; /* count and check; userdata: &streams */

extern struct fake_daemon *fake;
extern struct tm_slot *slot;
extern struct tm_pool *pool;
extern struct tm_engine *engine;
extern struct stream streams[STREAMS_MAX]; /* in the order of their opening */
extern uint32_t n_streams, n_opened, n_closed;
extern int port; /* of listen_tcp(), for connect_tcp() */

/* What the handlers do: keep the buffers of stream 0 or of all, close stream 0, refuse. */
extern bool hold_first, hold_all, close_first, refuse_all;
extern uint32_t n_holders; /* keep the buffers of streams with a smaller number, too */

/* What the data handler kept; from now on it releases. */
void release_held(struct stream *s);
/* A fake daemon and a slot with @share chunks. */
void set_up_slot(uint32_t share);
/* Over pool, with handlers; 0 for the defaults. */
void make_engine(int kind, uint32_t posted, uint32_t credit, uint32_t max_channels);
/* Likewise, with all else as in @template. */
void make_engine_of(int kind, const struct tm_engine_options *template);
/* Likewise, one more, with handlers of its own. */
struct tm_engine *new_engine(int kind, const struct tm_engine_options *template,
			     const struct tm_handlers *with, void *userdata);
/* Slot, pool of exactly @n_buffers, engine. */
void set_up(int kind, size_t buffer_bytes, uint32_t n_buffers);
/* On a free port. */
void listen_tcp(void);
/* Of the pool. */
struct tm_pool_stats stats(void);
/* Frees all, and checks that everything came back. */
void tear_down(void);
/* Runs the engine until so many channels were closed or opened in all. */
void run_until_closed(uint32_t n);
void run_until_open(uint32_t n);
/* Runs until nothing has happened for a while. */
void run_until_quiet(void);
/* All @n ended well, with @bytes each. */
void check_streams(uint32_t n, uint64_t bytes);
/* A blocking socket to port. */
int connect_tcp(void);
/* A thread that sends pattern number @id over peer->fd (-1: to port), then closes. */
void start_peer(struct peer *p, uint8_t id, uint64_t bytes);
void start_tcp_peers(struct peer *peers, uint32_t n, uint64_t bytes);
/* Until each has sent 64 KiB. To a connection that nobody reads yet they are more than its credit, so
 * that each receive fills its buffer; with less it may come to a buffer more than the credit. */
void wait_for_backlog(const struct peer *peers, uint32_t n);
void join_peers(struct peer *peers, uint32_t n);
/* A socket connected to, or listening on, an abstract name. */
int bind_unix(const char *name, bool should_listen);
/* The data handler, for other sets of handlers. */
void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset, uint32_t length,
	     void *userdata);

/* The next bytes of a stream: are they those that were sent? */
void check_bytes(struct stream *s, const uint8_t *data, uint32_t length);

/* Runs the loop tests, each once per engine kind. Returns what main() should. */
int run_suite(const char *name, const TTest *const tests[], size_t n_tests);
/* The same for tests that only send and wait long: how a kernel receives makes no difference to them. */
int run_send_suite(const char *name, const TTest *const tests[], size_t n_tests);
