/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What bench_net's processes share. One run is a receiver and a sender, each a process of its
 * own on a processor of its own; the receiver measures itself between two moments in time.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_BUFFER_BYTES 32768
#define BENCH_POOL_BUFFERS 1024 /* 32 MiB */
#define BENCH_READV_BUFFERS 8
#define BENCH_PINGS_MAX 200000

enum bench_kind {
	BENCH_STREAM,
	BENCH_PING,
	BENCH_IDLE,   /* one message on each connection, and nothing more */
	BENCH_RESIZE, /* a stream that is checked, while the pool grows and shrinks */
};

/* Who waits for data without sleeping. */
enum bench_awake {
	BENCH_NOBODY,
	BENCH_RECEIVER,
	BENCH_SENDER, /* of pings, so for its answers */
};

struct bench_plan {
	enum bench_kind kind;
	uint32_t n_connections;
	uint32_t message_bytes;  /* of one send */
	uint32_t credit_buffers; /* of a connection; the receive window of all peers follows it */
	uint64_t warm_ns, run_ns;
	uint64_t hold_ns;     /* the task takes so long for each buffer, one by one; 0: no time */
	uint32_t latency_us;  /* tm_channel_set_latency() */
	bool counts_syscalls; /* slows everything down, so times are not to be used */
	enum bench_awake awake;
	/* BENCH_RESIZE: by how much, of what pages, and whether the pool does it or just the task */
	uint32_t resize_chunks;
	bool is_huge, is_fixed;
};

struct bench_result {
	uint64_t bytes, cpu_ns, wall_ns;
	uint64_t syscalls; /* 0: not counted */
	uint64_t events;   /* deliveries to the task, or reads that returned bytes */
	uint64_t memory;   /* most bytes of the process and of all TCP sockets; with hold_ns only */
	int64_t growth;    /* of that, while it was measured */
	double fill;       /* bytes per byte of buffer that was handed out; 0: not said */
	int64_t kernel_bytes, user_bytes; /* of all idle connections */
	/* BENCH_RESIZE: from the order on; of the bytes that were sent, and of those that were the
	 * wrong ones, lost_bytes is the sum */
	uint64_t grow_bytes, grow_ns, full_ns, shrink_bytes, shrink_ns, back_ns, lost_bytes;
	uint32_t n_held; /* buffers; those that are posted are for all connections together */
	uint32_t n_pings;
	uint32_t ping_ns[BENCH_PINGS_MAX];
};

/* Between the processes of a run, in shared memory. */
struct bench_shared {
	atomic_int port;       /* of the receiver; 0: not yet, < 0: it failed */
	atomic_int reply_port; /* of the sender, where pings are answered */
	atomic_uint n_accepted;
	atomic_bool is_over; /* the sender may end */
	atomic_ullong sent;  /* BENCH_RESIZE: bytes, and 1, when it has ended */
	struct bench_result result;
};

/* ---- bench_net_meter.c; one in each receiver process */
void meter_start(const struct bench_plan *plan, struct bench_shared *shared);
/* Called in each turn of the loop with what arrived so far; true: the run is over. */
bool meter_is_done(uint64_t bytes, uint64_t events, uint64_t buffers);
uint64_t meter_now_ns(void);
void meter_pin(int which);
/* The number of the first line that is like @format, which has one %llu; 0: none. */
uint64_t meter_read_number(const char *path, const char *format);
/* Bytes in the queues of all TCP sockets of the machine. */
uint64_t meter_count_sockets(void);

/* ---- bench_net_idle.c; in a receiver, BENCH_IDLE only */
/* Before it makes anything for its connections. */
void idle_begin(const struct bench_plan *plan);
/* True, and @result filled, once each of them was idle for a while. */
bool idle_is_done(const struct bench_plan *plan, struct bench_result *result, uint64_t bytes);

/* ---- bench_net_hold.c: the task's queue, in a receiver */
/* Returns false if the task is done with @buffer at once. */
bool hold_add(const struct bench_plan *plan, void *buffer);
/* What the task is done with by now, one at a time; NULL: nothing. */
void *hold_take(const struct bench_plan *plan);
uint64_t hold_count_memory(void);

/* ---- bench_net_pattern.c: what is sent where it is checked */
/* The bytes from @at on in the stream of connection @which, 1 .. 65535. */
void pattern_fill(void *data, size_t n, uint32_t which, uint64_t at);
/* How many of these @n bytes are other ones. */
size_t pattern_count_wrong(const void *data, size_t n, uint32_t which, uint64_t at);
/* The connection whose stream begins with these 8 bytes. */
uint32_t pattern_find_which(const void *data);

/* ---- bench_net_sender.c; in a process of their own, 0 or -errno */
int sender_run(const struct bench_plan *plan, struct bench_shared *shared);
/* Where a receiver answers a ping, byte by byte. Returns the socket. */
int sender_connect(int port);

/* ---- receivers: from @plan's connections until meter_is_done(), 0 or -errno */
int receive_by_recv(const struct bench_plan *plan, struct bench_shared *shared);
int receive_by_readv(const struct bench_plan *plan, struct bench_shared *shared);
int receive_by_one_shot(const struct bench_plan *plan, struct bench_shared *shared);
int receive_by_direct(const struct bench_plan *plan, struct bench_shared *shared);
int receive_by_taskmem(const struct bench_plan *plan, struct bench_shared *shared);
int receive_by_taskmem_epoll(const struct bench_plan *plan, struct bench_shared *shared);
/* ---- bench_net_resize.c: BENCH_RESIZE only */
int receive_resized(const struct bench_plan *plan, struct bench_shared *shared);
/* Pages of 2 MiB that it takes. */
uint32_t resize_count_chunks(uint32_t resize_chunks);

/* ---- bench_net_iperf3.c */
/* Is it among the peers' packages? */
bool iperf3_find(void);
/* Server and client, in processes of their own. Fills in bytes and times. 0 or -errno. */
int iperf3_run(const struct bench_plan *plan, struct bench_result *result);
