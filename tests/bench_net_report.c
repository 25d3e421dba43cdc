/* SPDX-License-Identifier: Apache-2.0 */

#include "bench_net_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"

const char *const bench_peer_names[PEERS] = {
	[TASKMEM] = "taskmem",   [TASKMEM_EPOLL] = "taskmem-epoll",
	[RECV] = "epoll+recv",   [READV] = "epoll+readv",
	[ONE_SHOT] = "io_uring", [DIRECT] = "uring-direct",
	[IPERF3] = "iperf3",     [FIXED] = "fixed-pool",
};

static const char *const figure_names[FIGURES] = {
	[CPU] = "cpu",       [RATE] = "rate", [CALLS] = "calls",   [FILL] = "fill",
	[P50] = "p50",       [P99] = "p99",   [MEMORY] = "memory", [HELD] = "held",
	[KERNEL] = "kernel", [USER] = "user", [GROW] = "grow",     [SHRINK] = "shrink",
	[FULL] = "full",     [BACK] = "back", [LOST] = "lost",     [GROWTH] = "growth",
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double report_quantile(const double *values, int n, double at)
{
	static double sorted[BENCH_REPS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return sorted[(int)(at * (n - 1) + 0.5)];
}

/* The bar for the ratio of ours to this peer, or for ours itself (is_absolute()); NAN: there is
 * none. Ours is better below it, for a rate above it. */
static double bar_of(const struct bench_case *c, enum bench_peer p, enum bench_figure f)
{
	switch (f) {
	case CPU:
		if (bench_case_is_small(c))
			return p == TASKMEM_EPOLL ? NAN : 0.7;
		return p == RECV ? 0.4 : p == READV || p == ONE_SHOT || p == DIRECT ? 1.0 : NAN;
	case RATE:
		return p == TASKMEM_EPOLL || bench_case_is_small(c) ? NAN : 1.0;
	case CALLS:
		return p == RECV && c->n_connections <= 16 ? 0.05 : NAN;
	case P50:
	case P99:
		return p == RECV ? (c->latency_us ? 0.5 : 1.0) : NAN;
	case HELD:
		return p == RECV ? 0 : NAN;
	case KERNEL:
		return p == RECV ? 1.25 : NAN;
	case USER:
		return p == RECV ? 512 : NAN;
	case GROWTH:
		return p == RECV ? 0.05 : NAN;
	case GROW:
	case SHRINK:
		return c->is_huge ? 0.9 : NAN; /* no slot has others */
	case BACK:
		return c->is_huge ? 1000 : NAN;
	case LOST:
		return 0;
	case FILL:
	case FULL:
	case MEMORY:
	case FIGURES:
		break;
	}
	return NAN;
}

/* That peer has nothing of it. */
static bool is_absolute(enum bench_figure f)
{
	return f == HELD || f == USER || f == BACK || f == LOST;
}

bool report_is_more_better(enum bench_figure f)
{
	return f == RATE || f == FILL || f == GROW || f == SHRINK;
}

/* One turn in which it is not kept is one too many. */
static bool is_promise(enum bench_figure f)
{
	return f == BACK || f == LOST;
}

static bool is_reached(enum bench_figure f, double ours, double ratio, double bar)
{
	if (is_absolute(f))
		return ours <= bar;
	return report_is_more_better(f) ? ratio >= bar : ratio <= bar;
}

const char *report_unit_of(const struct bench_case *c, enum bench_figure f)
{
	bool is_small = bench_case_is_small(c);
	const char *const units[FIGURES] = {
		[CPU] = is_small ? "us/message" : "s/GiB",
		[RATE] = is_small ? "message/us" : "GiB/s",
		[CALLS] = "calls/GiB",
		[FILL] = "filled",
		[P50] = "us",
		[P99] = "us",
		[MEMORY] = "MiB",
		[GROWTH] = "MiB/s",
		[HELD] = "buffers",
		[KERNEL] = "bytes",
		[USER] = "bytes",
		[GROW] = "GiB/s",
		[SHRINK] = "GiB/s",
		[FULL] = "ms",
		[BACK] = "ms",
		[LOST] = "bytes",
	};

	return units[f];
}

const char *report_name_of(enum bench_figure f)
{
	return figure_names[f];
}

void report_begin(struct bench_figures figures[], size_t n)
{
	for (size_t c = 0; c < n; c++)
		for (size_t p = 0; p < PEERS; p++)
			for (size_t f = 0; f < FIGURES; f++)
				for (size_t i = 0; i < BENCH_REPS_MAX; i++)
					figures[c].at[p][f][i] = NAN;
}

static void print_row(const struct bench_case *c, const struct bench_figures *figures,
		      enum bench_peer p, enum bench_figure f, int n_reps, bool is_tsv)
{
	static double ratios[BENCH_REPS_MAX];
	double at = is_promise(f) ? 1 : 0.5, bar = bar_of(c, p, f), ratio;
	double ours = report_quantile(figures->at[TASKMEM][f], n_reps, at);
	double peer = report_quantile(figures->at[p][f], n_reps, at);
	const char *ok;

	for (int i = 0; i < n_reps; i++)
		ratios[i] = figures->at[TASKMEM][f][i] / MAX(figures->at[p][f][i], 1e-9);
	ratio = report_quantile(ratios, n_reps, 0.5);
	ok = isnan(bar) ? "-" : is_reached(f, ours, ratio, bar) ? "yes" : "no";
	printf(is_tsv ? "net.%s.%s.%s\t%.4f\t%.4f\t%.4f\t%s\t%.4f\t%.4f\t"
		      : "%-13s %-6s %-14s %10.4g %10.4g %7.3f %-10s %7.3f %7.3f ",
	       c->name, is_tsv ? bench_peer_names[p] : figure_names[f],
	       is_tsv ? figure_names[f] : bench_peer_names[p], ours, peer, ratio,
	       report_unit_of(c, f), report_quantile(ratios, n_reps, 0.25),
	       report_quantile(ratios, n_reps, 0.75));
	if (!isnan(bar))
		printf(is_tsv ? "%.2f\t%s\n" : "%6.2f %s\n", bar, ok);
	else
		printf(is_tsv ? "-\t%s\n" : "%6s %s\n", is_tsv ? ok : "-", ok);
}

static void print_missing(const struct bench_case *c, enum bench_peer p, bool is_tsv)
{
	const char *figure = figure_names[p == FIXED ? GROW : RATE];

	if (is_tsv)
		printf("net.%s.%s.%s\t-\t-\t-\t-\t-\t-\t-\tmissing\n", c->name, bench_peer_names[p],
		       figure);
	else
		printf("%-13s %-6s %-14s is missing: %s\n", c->name, figure, bench_peer_names[p],
		       p == FIXED ? "there are not enough pages of 2 MiB"
				  : "its Debian package could not be fetched");
}

void report_case(const struct bench_case *c, const struct bench_figures *figures, int n_reps,
		 bool is_tsv)
{
	for (int f = 0; f < FIGURES; f++)
		for (int p = 1; p < PEERS; p++)
			/* nothing to nothing is no ratio */
			if (!(f == GROWTH && p == TASKMEM_EPOLL) &&
			    !isnan(figures->at[TASKMEM][f][0]) && !isnan(figures->at[p][f][0]))
				print_row(c, figures, (enum bench_peer)p, (enum bench_figure)f,
					  n_reps, is_tsv);
	for (int p = 1; p < PEERS; p++)
		if (figures->is_missing[p])
			print_missing(c, (enum bench_peer)p, is_tsv);
	fflush(stdout);
}

void report_head(void)
{
	printf("%-13s %-6s %-14s %10s %10s %7s %-10s %7s %7s %6s %s\n", "case", "", "peer", "ours",
	       "peer", "ratio", "unit", "low", "high", "bar", "ok");
}
