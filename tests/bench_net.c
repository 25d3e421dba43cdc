/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: what it costs to receive over TCP, beside the loops people write themselves.
 *
 * Each run is two processes on two processors over loopback: a sender, the same for all, and a
 * receiver. The receivers take turns, many short ones, in another order each time, and the ratio
 * is taken within a turn: on a machine with other work the numbers wander, the ratios much less.
 * Numbers are medians; low and high are the quartiles of the ratio. Nothing fails because of a
 * number: bars are for people.
 *
 * epoll+recv takes and frees a buffer by malloc for each read, which is what costs it most where
 * glibc gives the memory back each time; epoll+readv is the strong one, and about as cheap per
 * byte as io_uring can be: both copy from the socket into the same kind of buffer.
 */

#include "bench_net.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"

#define REPS_DEFAULT 9
#define REPS_MAX 101
#define RECEIVERS 5
#define GIB (1024.0 * 1024 * 1024)

enum peer { TASKMEM, TASKMEM_EPOLL, RECV, READV, ONE_SHOT };

static const struct bench_receiver receivers[RECEIVERS] = {
	[TASKMEM] = { "taskmem", receive_by_taskmem },
	[TASKMEM_EPOLL] = { "taskmem-epoll", receive_by_taskmem_epoll },
	[RECV] = { "epoll+recv", receive_by_recv },
	[READV] = { "epoll+readv", receive_by_readv },
	[ONE_SHOT] = { "io_uring", receive_by_one_shot },
};

/* cpu: s/GiB of the receiver, or us per message; rate: GiB/s; calls: system calls per GiB; memory:
 * most that the receiver had at a time, and what is in all TCP sockets at the end. */
enum figure { CPU, RATE, CALLS, FILL, P50, P99, MEMORY, FIGURES };

static const struct bench_case {
	const char *name, *text;
	enum bench_kind kind;
	uint32_t n_connections, message_bytes, credit_buffers;
	bool spins;
	uint32_t hold_us;
} cases[] = {
	{ "stream-1", "1 connection", BENCH_STREAM, 1, 256 << 10, 10, false, 0 },
	{ "stream-16", "16 connections", BENCH_STREAM, 16, 256 << 10, 10, false, 0 },
	{ "stream-256", "256 connections", BENCH_STREAM, 256, 256 << 10, 10, false, 0 },
	{ "stream-4096", "4096 connections", BENCH_STREAM, 4096, 256 << 10, 4, false, 0 },
	{ "small-64", "64 B on 256 connections", BENCH_STREAM, 256, 64, 10, false, 0 },
	{ "small-1024", "1 KiB on 256 connections", BENCH_STREAM, 256, 1024, 10, false, 0 },
	{ "ping", "round trip of 64 B", BENCH_PING, 1, 64, 10, false, 0 },
	{ "ping-spin", "the same, never sleeping", BENCH_PING, 1, 64, 10, true, 0 },
	{ "hold-4096", "4096 connections, 1 ms of work for each buffer", BENCH_STREAM, 4096,
	  256 << 10, 2, false, 1000 },
};

static double figures[ARRAY_LEN(cases)][RECEIVERS][FIGURES][REPS_MAX];
static struct bench_shared *shared;
static unsigned run_ms = 500;

static void usage(FILE *to)
{
	fputs("usage: tests/run bench net [--tsv] [--reps N] [--ms N] [--only PEER] [CASE…]\n"
	      "\n"
	      "  --tsv        a line per figure: name, ours, peer, ratio, unit, low, high, bar, ok\n"
	      "  --reps N     turns of each receiver, 1 to 101 (default 9)\n"
	      "  --ms N       length of a turn, 10 to 10000 (default 500)\n"
	      "  --only PEER  beside ours; may be given again\n"
	      "\ncases:\n",
	      to);
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		fprintf(to, "  %-12s%s\n", cases[c].name, cases[c].text);
	fputs("\npeers:\n", to);
	for (size_t p = 0; p < RECEIVERS; p++)
		fprintf(to, "  %s\n", receivers[p].name);
}

/* ---- one run */

static pid_t start(int (*run)(const struct bench_plan *, struct bench_shared *),
		   const struct bench_plan *plan)
{
	pid_t pid = fork();
	int r;

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = run(plan, shared);
	if (r < 0) {
		fprintf(stderr, "bench_net: %s\n", strerror(-r));
		if (atomic_load(&shared->port) == 0)
			atomic_store(&shared->port, r);
		atomic_store(&shared->is_over, true);
	}
	_exit(r < 0);
}

static bool run_pair(const struct bench_receiver *receiver, const struct bench_plan *plan)
{
	pid_t pids[2];
	bool is_good = true;
	int status;

	memset(shared, 0, sizeof(*shared));
	pids[0] = start(receiver->run, plan);
	pids[1] = start(sender_run, plan);
	for (int i = 0; i < 2; i++)
		if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0)
			is_good = false;
	return is_good;
}

static int compare_pings(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void note(size_t c, size_t p, int rep, bool counts_syscalls)
{
	struct bench_result *r = &shared->result;
	double gib = (double)r->bytes / GIB, n = (double)r->bytes / cases[c].message_bytes;
	bool is_small = cases[c].message_bytes < BENCH_BUFFER_BYTES;

	if (counts_syscalls) {
		figures[c][p][CALLS][rep] = (double)r->syscalls / gib;
		return;
	}
	if (cases[c].hold_us > 0) {
		figures[c][p][MEMORY][rep] = (double)r->memory / (1 << 20);
		return;
	}
	if (cases[c].kind == BENCH_PING) {
		qsort(r->ping_ns, r->n_pings, sizeof(*r->ping_ns), compare_pings);
		figures[c][p][P50][rep] = r->ping_ns[r->n_pings / 2] / 1e3;
		figures[c][p][P99][rep] = r->ping_ns[(uint64_t)r->n_pings * 99 / 100] / 1e3;
		return;
	}
	figures[c][p][CPU][rep] =
		is_small ? (double)r->cpu_ns / 1e3 / n : (double)r->cpu_ns / 1e9 / gib;
	figures[c][p][RATE][rep] =
		is_small ? n / ((double)r->wall_ns / 1e3) : gib / ((double)r->wall_ns / 1e9);
	figures[c][p][FILL][rep] = r->fill;
}

/* Those who read into the same few buffers again and again keep nothing for a task. */
static bool takes_part(size_t c, size_t p)
{
	return cases[c].hold_us == 0 || p == TASKMEM || p == TASKMEM_EPOLL || p == RECV;
}

static bool take_turn(size_t c, int rep, const bool wanted[])
{
	struct bench_plan plan = {
		.kind = cases[c].kind,
		.n_connections = cases[c].n_connections,
		.message_bytes = cases[c].message_bytes,
		.credit_buffers = cases[c].credit_buffers,
		.spins = cases[c].spins,
		.hold_ns = cases[c].hold_us * 1000ULL,
		/* each connection has had a window or two */
		.warm_ns = run_ms * 1000000ULL / 4 + cases[c].n_connections * 200000ULL,
		.run_ns = run_ms * 1000000ULL,
	};

	for (size_t i = 0; i < RECEIVERS; i++) {
		/* each one is first, last and after each other one as often */
		size_t p =
			(rep % 2 ? RECEIVERS - 1 - i + (size_t)rep : i + (size_t)rep) % RECEIVERS;

		if (!wanted[p] || !takes_part(c, p))
			continue;
		for (int counts = 0; counts < (plan.kind == BENCH_PING || plan.hold_ns ? 1 : 2);
		     counts++) {
			plan.counts_syscalls = counts;
			plan.run_ns = run_ms * 1000000ULL / (counts ? 4 : 1);
			if (!run_pair(&receivers[p], &plan))
				return false;
			note(c, p, rep, counts);
		}
	}
	return true;
}

/* ---- tables */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* @at: 0.5 for the median. Sorts a copy. */
static double quantile(const double *values, int n, double at)
{
	static double sorted[REPS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return sorted[(int)(at * (n - 1) + 0.5)];
}

/* The bar for the ratio of ours to this peer; 0: there is none. Ours is better below it, for a
 * rate above it. */
static double bar_of(size_t c, size_t p, enum figure f)
{
	bool is_small = cases[c].message_bytes < BENCH_BUFFER_BYTES;

	switch (f) {
	case CPU:
		if (is_small)
			return p == TASKMEM_EPOLL ? 0 : 0.7;
		return p == RECV ? 0.4 : p == READV || p == ONE_SHOT ? 1.0 : 0;
	case RATE:
		return p == TASKMEM_EPOLL || is_small ? 0 : 1.0;
	case CALLS:
		return p == RECV && cases[c].n_connections <= 16 ? 0.05 : 0;
	case P50:
	case P99:
		return p == RECV ? 1.0 : 0;
	case FILL:
	case MEMORY:
	case FIGURES:
		break;
	}
	return 0;
}

static const char *unit_of(size_t c, enum figure f)
{
	bool is_small = cases[c].message_bytes < BENCH_BUFFER_BYTES;
	const char *const units[FIGURES] = {
		[CPU] = is_small ? "us/message" : "s/GiB",
		[RATE] = is_small ? "message/us" : "GiB/s",
		[CALLS] = "calls/GiB",
		[FILL] = "filled",
		[P50] = "us",
		[P99] = "us",
		[MEMORY] = "MiB",
	};

	return units[f];
}

static const char *const figure_names[FIGURES] = {
	[CPU] = "cpu", [RATE] = "rate", [CALLS] = "calls",   [FILL] = "fill",
	[P50] = "p50", [P99] = "p99",   [MEMORY] = "memory",
};

static void print_row(size_t c, size_t p, enum figure f, int n_reps, bool is_tsv)
{
	static double ratios[REPS_MAX];
	double ours = quantile(figures[c][TASKMEM][f], n_reps, 0.5);
	double peer = quantile(figures[c][p][f], n_reps, 0.5), ratio, bar = bar_of(c, p, f);
	const char *ok;

	for (int i = 0; i < n_reps; i++)
		ratios[i] = figures[c][TASKMEM][f][i] / MAX(figures[c][p][f][i], 1e-9);
	ratio = quantile(ratios, n_reps, 0.5);
	ok = bar == 0 ? "-" : (f == RATE ? ratio >= bar : ratio <= bar) ? "yes" : "no";
	printf(is_tsv ? "net.%s.%s.%s\t%.4f\t%.4f\t%.4f\t%s\t%.4f\t%.4f\t"
		      : "%-12s %-6s %-14s %10.4g %10.4g %7.3f %-10s %7.3f %7.3f ",
	       cases[c].name, is_tsv ? receivers[p].name : figure_names[f],
	       is_tsv ? figure_names[f] : receivers[p].name, ours, peer, ratio, unit_of(c, f),
	       quantile(ratios, n_reps, 0.25), quantile(ratios, n_reps, 0.75));
	if (bar > 0)
		printf(is_tsv ? "%.2f\t%s\n" : "%6.2f %s\n", bar, ok);
	else
		printf(is_tsv ? "-\t%s\n" : "%6s %s\n", is_tsv ? ok : "-", ok);
}

static void print_case(size_t c, int n_reps, bool is_tsv, const bool wanted[])
{
	for (int f = 0; f < FIGURES; f++)
		for (size_t p = 1; p < RECEIVERS; p++)
			if (wanted[p] && takes_part(c, p) && figures[c][TASKMEM][f][0] > 0)
				print_row(c, p, (enum figure)f, n_reps, is_tsv);
	fflush(stdout);
}

static void print_head(void)
{
	printf("%-12s %-6s %-14s %10s %10s %7s %-10s %7s %7s %6s %s\n", "case", "", "peer", "ours",
	       "peer", "ratio", "unit", "low", "high", "bar", "ok");
}

/* ---- arguments */

static bool find_receiver(const char *name, bool wanted[])
{
	for (size_t p = 0; p < RECEIVERS; p++)
		if (strcmp(receivers[p].name, name) == 0)
			return wanted[p] = true;
	fprintf(stderr, "bench_net: there is no peer \"%s\"; --help lists them\n", name);
	return false;
}

static bool find_cases(char *names[], int n_names, bool wanted[])
{
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		wanted[c] = n_names == 0;
	for (int i = 0; i < n_names; i++) {
		size_t c = 0;

		while (c < ARRAY_LEN(cases) && strcmp(cases[c].name, names[i]) != 0)
			c++;
		if (c == ARRAY_LEN(cases)) {
			fprintf(stderr, "bench_net: there is no case \"%s\"; --help lists them\n",
				names[i]);
			return false;
		}
		wanted[c] = true;
	}
	return true;
}

/* Two descriptors for each connection of the largest case. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "tsv", no_argument, NULL, 't' },      { "reps", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 'm' }, { "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },     {}
	};
	bool is_tsv = false, has_only = false, wanted[RECEIVERS] = {}, chosen[ARRAY_LEN(cases)];
	int n_reps = REPS_DEFAULT, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			is_tsv = true;
			break;
		case 'r':
			n_reps = atoi(optarg);
			break;
		case 'm':
			run_ms = (unsigned)atoi(optarg);
			break;
		case 'o':
			has_only = true;
			if (!find_receiver(optarg, wanted))
				return 2;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (n_reps < 1 || n_reps > REPS_MAX || run_ms < 10 || run_ms > 10000) {
		fputs("bench_net: use --reps 1 to 101, --ms 10 to 10000\n", stderr);
		return 2;
	}
	wanted[TASKMEM] = true;
	for (size_t p = 0; p < RECEIVERS && !has_only; p++)
		wanted[p] = true;
	if (!find_cases(argv + optind, argc - optind, chosen))
		return 2;
	raise_limit();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	if (!is_tsv)
		print_head();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!chosen[i])
			continue;
		for (int rep = 0; rep < n_reps; rep++)
			if (!take_turn(i, rep, wanted))
				return 1;
		print_case(i, n_reps, is_tsv, wanted);
	}
	return 0;
}
