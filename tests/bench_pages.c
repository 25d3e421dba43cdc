/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_pages: what the size of its pages is worth to whoever uses a large pool.
 *
 * A pool of libtaskmem, over the tests' daemon, with pages of 2 MiB; beside it the same pool with
 * pages of 4 KiB, and anonymous memory with pages of 4 KiB, which is what malloc() gives for as much.
 * Each turn of each is a process of its own, in another order each time, and the ratio is taken
 * within a turn. Numbers are medians; low and high are the quartiles of the ratio. Nothing fails
 * because of a number, and there are no bars: the ratio is what is asked for.
 *
 * first: from nothing to the end of a write into each 4 KiB. A pool's pages are cleared by the
 * daemon and mapped when they are granted, so that no fault is left to the task; that is in it.
 * write: the part of this that is left when the task has the pool.
 * read: 8 bytes at a random place, which says where the next one is. reads: the places are known
 * beforehand, so that the processor can fetch several at a time.
 *
 * Where no pages of 2 MiB can be reserved nothing is measured. With --thp ours is anonymous memory with
 * transparent huge pages instead, "-thp" in the name of each figure, and how much of it really was huge
 * is said.
 */

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/fd.h"
#include "bench_huge.h"
#include "fake_daemon.h"
#include "taskmem.h"

#define REPS_DEFAULT 9
#define REPS_MAX 101
#define PAGE 4096
#define BUFFER_BYTES (1U << 20)
#define READS (1U << 22)

enum side { HUGE_POOL, SMALL_POOL, ANONYMOUS, SIDES };
enum figure { FIRST, WRITE, READ, READS_AT_ONCE, FIGURES };

static const char *const side_names[SIDES] = { "pool-2m", "pool-4k", "anonymous-4k" };

static const struct {
	const char *name, *text;
} figures[FIGURES] = {
	{ "first", "memory had and each 4 KiB written once" },
	{ "write", "of it, the writes alone" },
	{ "read", "8 bytes read anywhere, one after the other" },
	{ "reads", "8 bytes read anywhere, several at a time" },
};

/* Of one turn, in shared memory. */
struct result {
	double ns[FIGURES];
	uint64_t huge_bytes; /* as transparent pages */
};

static double times[FIGURES][SIDES][REPS_MAX];
static struct result *shared;
static unsigned mib = 1024;
static bool is_transparent; /* ours */

static void usage(FILE *to)
{
	fputs("usage: tests/run bench pages [--tsv] [--reps N] [--mib N] [--thp]\n"
	      "\n"
	      "  --tsv     a line per figure: name, ours, peer, ratio, unit, low, high, bar, ok\n"
	      "  --reps N  turns of each, 1 to 101 (default 9)\n"
	      "  --mib N   size of the memory, 16 to 65536 (default 1024); so many huge pages are\n"
	      "            reserved, and put back\n"
	      "  --thp     reserves none: ours is memory with transparent huge pages\n"
	      "\nIt ends with 1 when something fails, with 2 when it is called in a wrong way, and with\n"
	      "77 when there are not enough huge pages.\n"
	      "\nfigures:\n",
	      to);
	for (size_t f = 0; f < FIGURES; f++)
		fprintf(to, "  %-8s%s\n", figures[f].name, figures[f].text);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- the memory of one side, as blocks of BUFFER_BYTES */

static int open_pool(bool is_huge, uint8_t *blocks[])
{
	uint32_t n_chunks = mib / 2, n = mib;
	struct fake_daemon *daemon = fake_daemon_new(n_chunks, n_chunks);
	struct tm_attach_options options = {
		.size = sizeof(options),
		.socket = fake_daemon_get_socket(daemon),
		.min_chunks = n_chunks,
	};
	CLEANUP(freep) struct tm_buffer **buffers = calloc(n, sizeof(struct tm_buffer *));
	struct tm_slot *slot;
	struct tm_pool *pool;
	int r;

	if (!buffers)
		return -ENOMEM;
	if (is_huge)
		fake_daemon_use_huge_pages(daemon);
	r = tm_slot_attach(&options, &slot);
	if (r >= 0)
		r = tm_pool_open(slot, "pages", BUFFER_BYTES, n, n, &pool);
	if (r < 0)
		return r;
	if (tm_pool_acquire_bulk(pool, buffers, n) < n)
		return -ENOBUFS;
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = buffers[i]->data;
	return 0;
}

static int map_anonymous(bool is_huge, uint8_t *blocks[])
{
	size_t bytes = (size_t)mib << 20;
	uint8_t *base = mmap(NULL, bytes + TM_CHUNK_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	base += -(uintptr_t)base % TM_CHUNK_BYTES;
	/* fails where there are none at all */
	(void)madvise(base, bytes, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (uint32_t i = 0; i < mib; i++)
		blocks[i] = base + (size_t)i * BUFFER_BYTES;
	return 0;
}

static int get_memory(enum side side, uint8_t *blocks[])
{
	if (side == ANONYMOUS || (side == HUGE_POOL && is_transparent))
		return map_anonymous(/* is_huge= */ side == HUGE_POOL, blocks);
	return open_pool(/* is_huge= */ side == HUGE_POOL, blocks);
}

/* ---- the work */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Memory is zero but for the byte in each page, which is read with it and changes nothing. */
static const volatile uint64_t *place_of(uint8_t *const blocks[], uint64_t random)
{
	size_t at = (random >> 24) % (BUFFER_BYTES / 8) * 8;

	return (const volatile uint64_t *)(blocks[(random & 0xffffff) % mib] + at);
}

static void write_all(uint8_t *const blocks[])
{
	for (uint32_t i = 0; i < mib; i++)
		for (size_t at = 0; at < BUFFER_BYTES; at += PAGE)
			*(volatile uint8_t *)(blocks[i] + at) = 1;
}

static double read_one_by_one(uint8_t *const blocks[])
{
	uint64_t state = 88172645463325252U;
	double begin_ns = now_ns();

	for (uint32_t i = 0; i < READS; i++)
		/* 0 or 1, shifted out, but the processor has to wait for it */
		state = next_random(&state) + (*place_of(blocks, state) >> 1);
	return (now_ns() - begin_ns) / READS;
}

static double read_at_once(uint8_t *const blocks[])
{
	uint64_t state = 88172645463325252U;
	double begin_ns = now_ns();

	for (uint32_t i = 0; i < READS; i++)
		(void)*place_of(blocks, next_random(&state));
	return (now_ns() - begin_ns) / READS;
}

static uint64_t count_transparent(void)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/smaps_rollup", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

static int work(enum side side)
{
	uint8_t **blocks = calloc(mib, sizeof(*blocks));
	double begin_ns, had_ns, n_pages = (double)mib * (1 << 20) / PAGE;
	int r;

	if (!blocks)
		return -ENOMEM;
	begin_ns = now_ns();
	r = get_memory(side, blocks);
	if (r < 0)
		return r;
	had_ns = now_ns();
	write_all(blocks);
	shared->ns[WRITE] = (now_ns() - had_ns) / n_pages;
	shared->ns[FIRST] = (now_ns() - begin_ns) / n_pages;
	shared->huge_bytes = count_transparent();
	shared->ns[READ] = read_one_by_one(blocks);
	shared->ns[READS_AT_ONCE] = read_at_once(blocks);
	return 0; /* the process ends */
}

static bool run(enum side side)
{
	pid_t pid = fork();
	int status, r;

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		r = work(side);
		if (r < 0)
			fprintf(stderr, "bench_pages: %s: %s\n", side_names[side], strerror(-r));
		_exit(r < 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool take_turn(int rep)
{
	for (int i = 0; i < SIDES; i++) {
		/* each one is first, last and after each other one as often */
		int side = (rep % 2 ? SIDES - 1 - i + rep : i + rep) % SIDES;

		if (!run((enum side)side))
			return false;
		for (int f = 0; f < FIGURES; f++)
			times[f][side][rep] = shared->ns[f];
		if (side == HUGE_POOL && is_transparent)
			fprintf(stderr, "bench_pages: %llu of %u MiB were in transparent pages\n",
				(unsigned long long)(shared->huge_bytes >> 20), mib);
	}
	return true;
}

/* ---- the table */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* @at: 0.5 for the median. Sorts a copy. */
static double quantile(const double *values, int n, double at)
{
	double sorted[REPS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return sorted[(int)(at * (n - 1) + 0.5)];
}

static void print_row(size_t f, size_t side, int n_reps, bool is_tsv)
{
	double ratios[REPS_MAX], ours = quantile(times[f][HUGE_POOL], n_reps, 0.5);
	double peer = quantile(times[f][side], n_reps, 0.5), low, high, ratio;

	for (int i = 0; i < n_reps; i++)
		ratios[i] = times[f][HUGE_POOL][i] / times[f][side][i];
	ratio = quantile(ratios, n_reps, 0.5);
	low = quantile(ratios, n_reps, 0.25);
	high = quantile(ratios, n_reps, 0.75);
	if (is_tsv)
		printf("pages.%s%s.%s\t%.3f\t%.3f\t%.4f\tns\t%.4f\t%.4f\t-\t-\n", figures[f].name,
		       is_transparent ? "-thp" : "", side_names[side], ours, peer, ratio, low,
		       high);
	else
		printf("%-44s %-13s %9.2f %9.2f %7.3f %7.3f %7.3f\n",
		       side == SMALL_POOL ? figures[f].text : "", side_names[side], ours, peer,
		       ratio, low, high);
}

static void print_all(int n_reps, bool is_tsv)
{
	if (!is_tsv)
		printf("%-44s %-13s %9s %9s %7s %7s %7s\n", "ns for each page of 4 KiB, or read",
		       "peer", is_transparent ? "thp" : "pool-2m", "peer", "ratio", "low", "high");
	for (size_t f = 0; f < FIGURES; f++)
		for (size_t side = SMALL_POOL; side < SIDES; side++)
			print_row(f, side, n_reps, is_tsv);
}

/* One processor, so that no turn ends on another than it began. */
static void pin(void)
{
	cpu_set_t all, one;
	int last = 0;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all))
			last = cpu;
	CPU_ZERO(&one);
	CPU_SET(last, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "tsv", no_argument, NULL, 't' },       { "reps", required_argument, NULL, 'r' },
		{ "mib", required_argument, NULL, 'b' }, { "thp", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },      {}
	};
	bool is_tsv = false;
	int n_reps = REPS_DEFAULT, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			is_tsv = true;
			break;
		case 'r':
			n_reps = atoi(optarg);
			break;
		case 'b':
			mib = (unsigned)atoi(optarg);
			break;
		case 'p':
			is_transparent = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc || n_reps < 1 || n_reps > REPS_MAX || mib < 16 || mib > 65536) {
		fputs("bench_pages: use --reps 1 to 101, --mib 16 to 65536\n", stderr);
		return 2;
	}
	mib -= mib % 2;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	if (!is_transparent && !huge_reserve("bench_pages", mib / 2)) {
		fputs("bench_pages: nothing was measured; --thp does without them\n", stderr);
		return HUGE_STATUS_MISSING;
	}
	pin();
	for (int rep = 0; rep < n_reps; rep++)
		if (!take_turn(rep))
			return 1;
	huge_give_back();
	print_all(n_reps, is_tsv);
	return 0;
}
