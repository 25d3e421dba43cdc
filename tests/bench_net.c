/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: what it costs to receive over TCP, beside the loops people write themselves.
 *
 * peers: iperf3
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
 *
 * iperf3 is what people measure a network with. It brings its own sender, so its rate is that of the
 * two together (bench_net_iperf3.c); its system calls are not counted.
 *
 * A pool that is resized (bench_net_resize.c) has for a peer the same one that is not. Its pages are to
 * be back within a second, without a wrong byte, in each turn: there the numbers are the worst ones.
 *
 * A task that needs its time for each buffer shows by its growth, once sockets are full, whether
 * its memory has an end.
 *
 * Idle connections are counted in bytes (bench_net_idle.c), and the bars of buffers held and of
 * user memory are for ours itself: epoll+recv keeps nothing at all for a connection.
 */

#include "bench_net.h"

#include <errno.h>
#include <getopt.h>
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
#include "bench_huge.h"
#include "bench_net_report.h"

#define REPS_DEFAULT 9
#define FILES 12000
#define GIB (1024.0 * 1024 * 1024)

/* Receives from the plan's connections until meter_is_done(). 0 or -errno. */
static int (*const receivers[PEERS])(const struct bench_plan *, struct bench_shared *) = {
	[TASKMEM] = receive_by_taskmem,   [TASKMEM_EPOLL] = receive_by_taskmem_epoll,
	[RECV] = receive_by_recv,         [READV] = receive_by_readv,
	[ONE_SHOT] = receive_by_one_shot, [DIRECT] = receive_by_direct,
	[FIXED] = receive_by_taskmem,
};

/* With what else is not 0. */
#define CASE(n, t, k, connections, message, credit, ...) \
	{ .name = (n),                                   \
	  .text = (t),                                   \
	  .kind = (k),                                   \
	  .n_connections = (connections),                \
	  .message_bytes = (message),                    \
	  .credit_buffers = (credit)__VA_OPT__(, ) __VA_ARGS__ }

static const struct bench_case cases[] = {
	CASE("stream-1", "1 connection", BENCH_STREAM, 1, 256 << 10, 10),
	CASE("stream-16", "16 connections", BENCH_STREAM, 16, 256 << 10, 10),
	CASE("stream-256", "256 connections", BENCH_STREAM, 256, 256 << 10, 10),
	CASE("stream-4096", "4096 connections", BENCH_STREAM, 4096, 256 << 10, 4),
	CASE("small-64", "64 B on 256 connections", BENCH_STREAM, 256, 64, 10),
	CASE("small-1024", "1 KiB on 256 connections", BENCH_STREAM, 256, 1024, 10),
	CASE("ping", "round trip of 64 B", BENCH_PING, 1, 64, 10),
	CASE("ping-spin", "the same, never sleeping", BENCH_PING, 1, 64, 10,
	     .awake = BENCH_RECEIVER),
	CASE("ping-latency", "the same, ours watched for 1 ms, others sleep", BENCH_PING, 1, 64, 10,
	     .latency_us = 1000),
	CASE("ping-awake", "the same, from a client that never sleeps", BENCH_PING, 1, 64, 10,
	     .latency_us = 1000, .awake = BENCH_SENDER),
	CASE("hold-4096", "4096 connections, 1 ms of work for each buffer", BENCH_STREAM, 4096,
	     256 << 10, 2, .hold_us = 1000),
	CASE("idle", "10 000 idle connections, of each", BENCH_IDLE, 10000, 64, 10),
	CASE("resize", "16 connections, the pool grows and shrinks by 1 GiB", BENCH_RESIZE, 16,
	     64 << 10, 0, .is_huge = true),
	CASE("resize-4k", "the same with pages of 4 KiB", BENCH_RESIZE, 16, 64 << 10, 0),
};

static struct bench_figures figures[ARRAY_LEN(cases)];
static struct bench_shared *shared;
static unsigned run_ms = 500, resize_mib = 1024;

static void usage(FILE *to)
{
	fputs("usage: tests/run bench net [--tsv] [--svg FILE] [--reps N] [--ms N] [--only PEER]\n"
	      "                           [--mib N] [CASE…]\n"
	      "\n"
	      "  --tsv        a line per figure: name, ours, peer, ratio, unit, low, high, bar, ok\n"
	      "  --svg FILE   draws the medians and quartiles as well\n"
	      "  --reps N     turns of each receiver, 1 to 101 (default 9)\n"
	      "  --ms N       length of a turn, 10 to 10000 (default 500)\n"
	      "  --only PEER  beside ours; may be given again\n"
	      "  --mib N      by how much \"resize\" changes the pool, 16 to 65536 (default 1024); for\n"
	      "               its turns of twice --ms so many huge pages and a fifth more are\n"
	      "               reserved, and put back\n"
	      "\nIt ends with 1 when something fails, with 2 when it is called in a wrong way, and with\n"
	      "77 when a case is missing because there are not enough huge pages.\n"
	      "\ncases:\n",
	      to);
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		fprintf(to, "  %-14s%s\n", cases[c].name, cases[c].text);
	fputs("\npeers:\n", to);
	for (size_t p = 0; p < PEERS; p++)
		fprintf(to, "  %s\n", bench_peer_names[p]);
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

static bool run_pair(enum bench_peer peer, const struct bench_plan *plan)
{
	pid_t pids[2];
	bool is_good = true;
	int status, r;

	memset(shared, 0, sizeof(*shared));
	if (peer == IPERF3) {
		r = iperf3_run(plan, &shared->result);
		if (r < 0)
			fprintf(stderr, "bench_net: iperf3: %s\n", strerror(-r));
		return r >= 0;
	}
	pids[0] = start(receivers[peer], plan);
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

static void note_resize(const struct bench_result *r, double at[FIGURES][BENCH_REPS_MAX], int rep)
{
	at[GROW][rep] = (double)r->grow_bytes / GIB / ((double)r->grow_ns / 1e9);
	at[SHRINK][rep] = (double)r->shrink_bytes / GIB / ((double)r->shrink_ns / 1e9);
	at[FULL][rep] = (double)r->full_ns / 1e6;
	at[BACK][rep] = (double)r->back_ns / 1e6;
	at[LOST][rep] = (double)r->lost_bytes;
}

static void note(const struct bench_case *c, double at[FIGURES][BENCH_REPS_MAX], int rep,
		 bool counts_syscalls)
{
	struct bench_result *r = &shared->result;
	double gib = (double)r->bytes / GIB, n = (double)r->bytes / c->message_bytes;
	bool is_small = bench_case_is_small(c);

	if (counts_syscalls) {
		if (r->syscalls > 0)
			at[CALLS][rep] = (double)r->syscalls / gib;
		return;
	}
	if (c->kind == BENCH_IDLE) {
		at[HELD][rep] = r->n_held;
		at[KERNEL][rep] = (double)r->kernel_bytes / c->n_connections;
		at[USER][rep] = (double)r->user_bytes / c->n_connections;
		return;
	}
	if (c->kind == BENCH_RESIZE) {
		note_resize(r, at, rep);
		return;
	}
	if (c->hold_us > 0) {
		at[MEMORY][rep] = (double)r->memory / (1 << 20);
		at[GROWTH][rep] = (double)r->growth / (1 << 20) / ((double)r->wall_ns / 1e9);
		return;
	}
	if (c->kind == BENCH_PING) {
		qsort(r->ping_ns, r->n_pings, sizeof(*r->ping_ns), compare_pings);
		at[P50][rep] = r->ping_ns[r->n_pings / 2] / 1e3;
		at[P99][rep] = r->ping_ns[(uint64_t)r->n_pings * 99 / 100] / 1e3;
		return;
	}
	at[CPU][rep] = is_small ? (double)r->cpu_ns / 1e3 / n : (double)r->cpu_ns / 1e9 / gib;
	at[RATE][rep] =
		is_small ? n / ((double)r->wall_ns / 1e3) : gib / ((double)r->wall_ns / 1e9);
	if (r->fill > 0)
		at[FILL][rep] = r->fill;
}

/* Those who read into the same few buffers again and again keep nothing for a task, and what they
 * read with makes no difference to who is idle. */
static bool takes_part(size_t c, size_t p)
{
	if (cases[c].kind == BENCH_RESIZE)
		return p == TASKMEM || p == FIXED;
	if (p == FIXED)
		return false;
	if (p == TASKMEM || p == TASKMEM_EPOLL || p == RECV)
		return true;
	if (p == IPERF3)
		return cases[c].kind == BENCH_STREAM && cases[c].n_connections <= 16;
	if (cases[c].kind == BENCH_IDLE)
		return p == ONE_SHOT;
	return cases[c].hold_us == 0;
}

static int count_runs(const struct bench_plan *plan, size_t p)
{
	return plan->kind != BENCH_STREAM || plan->hold_ns || p == IPERF3 ? 1 : 2;
}

static bool take_turn(size_t c, int rep, const bool wanted[])
{
	struct bench_plan plan = {
		.kind = cases[c].kind,
		.n_connections = cases[c].n_connections,
		.message_bytes = cases[c].message_bytes,
		.credit_buffers = cases[c].credit_buffers,
		.awake = cases[c].awake,
		.hold_ns = cases[c].hold_us * 1000ULL,
		.latency_us = cases[c].latency_us,
		.resize_chunks = resize_mib / 2,
		.is_huge = cases[c].is_huge,
		/* each connection has had a window or two */
		.warm_ns = run_ms * 1000000ULL / 4 + cases[c].n_connections * 200000ULL,
		.run_ns = run_ms * 1000000ULL,
	};

	for (size_t i = 0; i < PEERS; i++) {
		/* each one is first, last and after each other one as often */
		size_t p = (rep % 2 ? PEERS - 1 - i + (size_t)rep : i + (size_t)rep) % PEERS;

		if (!wanted[p] || !takes_part(c, p) || figures[c].is_missing[p])
			continue;
		for (int counts = 0; counts < count_runs(&plan, p); counts++) {
			plan.counts_syscalls = counts;
			plan.is_fixed = p == FIXED;
			plan.run_ns = run_ms * 1000000ULL / (counts ? 4 : 1);
			if (plan.kind == BENCH_RESIZE)
				plan.run_ns *= 2; /* a second, in which it has to be done */
			if (!run_pair((enum bench_peer)p, &plan))
				return false;
			note(&cases[c], figures[c].at[p], rep, counts);
		}
	}
	return true;
}

/* ---- arguments */

static bool find_receiver(const char *name, bool wanted[])
{
	for (size_t p = 0; p < PEERS; p++)
		if (strcmp(bench_peer_names[p], name) == 0)
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

/* A descriptor for each connection of the largest case in each process. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max = MAX(limit.rlim_max, (rlim_t)FILES);
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max; /* not allowed: what there is */
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* False: the case cannot be measured here, which is said. */
static bool prepare(size_t c, const bool wanted[], bool has_iperf3)
{
	figures[c].is_missing[IPERF3] = wanted[IPERF3] && takes_part(c, IPERF3) && !has_iperf3;
	figures[c].is_missing[FIXED] =
		cases[c].is_huge && !huge_reserve("bench_net", resize_count_chunks(resize_mib / 2));
	return !figures[c].is_missing[FIXED];
}

static bool run_case(size_t c, int n_reps, const bool wanted[], bool has_iperf3)
{
	bool is_good = true;

	if (prepare(c, wanted, has_iperf3))
		for (int rep = 0; rep < n_reps && is_good; rep++)
			is_good = take_turn(c, rep, wanted);
	huge_give_back();
	return is_good;
}

static bool run_chosen(const bool chosen[], int n_reps, const bool wanted[], bool is_tsv)
{
	bool has_iperf3 = iperf3_find();

	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		if (!chosen[c])
			continue;
		if (!run_case(c, n_reps, wanted, has_iperf3))
			return false;
		report_case(&cases[c], &figures[c], n_reps, is_tsv);
	}
	return true;
}

static bool is_complete(void)
{
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		if (figures[c].is_missing[FIXED])
			return false;
	return true;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "tsv", no_argument, NULL, 't' },        { "svg", required_argument, NULL, 's' },
		{ "reps", required_argument, NULL, 'r' }, { "ms", required_argument, NULL, 'm' },
		{ "only", required_argument, NULL, 'o' }, { "mib", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },       {}
	};
	bool is_tsv = false, has_only = false, wanted[PEERS] = {}, chosen[ARRAY_LEN(cases)];
	const char *svg = NULL;
	int n_reps = REPS_DEFAULT, c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			is_tsv = true;
			break;
		case 's':
			svg = optarg;
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
		case 'b':
			resize_mib = (unsigned)atoi(optarg);
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (n_reps < 1 || n_reps > BENCH_REPS_MAX || run_ms < 10 || run_ms > 10000 ||
	    resize_mib < 16 || resize_mib > 65536) {
		fputs("bench_net: use --reps 1 to 101, --ms 10 to 10000, --mib 16 to 65536\n",
		      stderr);
		return 2;
	}
	wanted[TASKMEM] = wanted[FIXED] = true; /* the latter is all that a resized pool has */
	for (size_t p = 0; p < PEERS && !has_only; p++)
		wanted[p] = true;
	if (!find_cases(argv + optind, argc - optind, chosen))
		return 2;
	raise_limit();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	report_begin(figures, ARRAY_LEN(cases));
	if (!is_tsv)
		report_head();
	if (!run_chosen(chosen, n_reps, wanted, is_tsv))
		return 1;
	r = svg ? report_draw(svg, cases, figures, ARRAY_LEN(cases), n_reps) : 0;
	if (r < 0)
		fprintf(stderr, "bench_net: %s: %s\n", svg, strerror(-r));
	if (r < 0)
		return 1;
	return is_complete() ? 0 : HUGE_STATUS_MISSING;
}
