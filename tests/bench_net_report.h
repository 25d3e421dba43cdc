/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What bench_net found, as a table and as a picture. */

#include "bench_net.h"

#define BENCH_REPS_MAX 101

enum bench_peer { TASKMEM, TASKMEM_EPOLL, RECV, READV, ONE_SHOT, DIRECT, IPERF3, FIXED, PEERS };

extern const char *const bench_peer_names[PEERS];

/* cpu: s/GiB of the receiver, or us per message; rate: GiB/s; calls: system calls per GiB; memory:
 * most that the receiver had at a time, and what is in all TCP sockets at the end; growth: how fast
 * it became more while that was measured; kernel, user: of an idle connection; grow, shrink: GiB/s
 * while the pool does; full: ms until the task has filled all pages that the pool grew by; back: ms
 * until as many are back; lost: bytes that did not arrive, and those that were other ones. */
enum bench_figure {
	CPU,
	RATE,
	CALLS,
	FILL,
	P50,
	P99,
	MEMORY,
	GROWTH,
	HELD,
	KERNEL,
	USER,
	GROW,
	SHRINK,
	FULL,
	BACK,
	LOST,
	FIGURES,
};

struct bench_case {
	const char *name, *text;
	enum bench_kind kind;
	uint32_t n_connections, message_bytes, credit_buffers;
	enum bench_awake awake;
	uint32_t hold_us;
	uint32_t latency_us; /* of our channels; the others have no such thing */
	bool is_huge;        /* of pages that may have to be reserved */
};

/* Of one case; NAN: was not measured. */
struct bench_figures {
	double at[PEERS][FIGURES][BENCH_REPS_MAX];
	bool is_missing[PEERS]; /* it takes part, but what it needs is not there */
};

/* Messages are counted instead of bytes. */
static inline bool bench_case_is_small(const struct bench_case *c)
{
	return c->message_bytes < BENCH_BUFFER_BYTES;
}

/* Nothing was measured. */
void report_begin(struct bench_figures figures[], size_t n);
void report_head(void);
/* A line for each figure and peer, ours beside it, and one for each peer that is missing. */
void report_case(const struct bench_case *c, const struct bench_figures *figures, int n_reps,
		 bool is_tsv);
/* As it is called in the table. */
const char *report_name_of(enum bench_figure f);
const char *report_unit_of(const struct bench_case *c, enum bench_figure f);
bool report_is_more_better(enum bench_figure f);
/* @at: 0.5 for the median. */
double report_quantile(const double *values, int n, double at);

/* ---- bench_net_svg.c */
/* Draws what was measured of @n cases into a file. 0 or -errno. */
int report_draw(const char *path, const struct bench_case cases[],
		const struct bench_figures figures[], size_t n, int n_reps);
