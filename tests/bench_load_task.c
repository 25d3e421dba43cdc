/* SPDX-License-Identifier: Apache-2.0 */

/*
 * To each access of a page belongs a fixed amount of processor work, so that a page that is there
 * costs a tenth of one that has to be fetched: the ratio that a state access of a stream task has
 * to a read from compressed memory. All tasks do it, scans too. A round is first its accesses,
 * then their work, and what is reported is the processor time that the work took, not how much of
 * it was done: how fast the machine happens to be then cancels out, for it is the same in the
 * rest of the task's time.
 *
 * Pages are given a few words of their own, for the kernel's compressed swap stores a page of one
 * repeated word for nothing. Which page comes next depends on the seed alone.
 */

#include "bench_load_task.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mono.h"

/* Of one access: about 10 µs under emulation. */
#define SPIN 12000
#define QUANTILES 4096
/* Accesses of a round: a millisecond or less between two looks at the clock. */
#define ROUND 64
#define DEVICE_ALIGN (UINT64_C(1) << 20)
#define PREFILL_WORDS 1
/* A command's own, where it counts operations. */
#define COUNT_FD 3

/* One stretch of pages, anonymous or of the device, and where the accesses go. */
struct area {
	enum bench_medium medium;
	unsigned char *memory; /* NULL for BENCH_FILE */
	int fd;
	uint64_t offset;
	uint64_t n_pages;
	uint64_t at;     /* next page of a scan */
	uint64_t stride; /* spreads what is hot over the area; coprime to n_pages */
};

struct worker {
	const struct bench_task *task;
	const struct bench_place *place;
	struct bench_meter *meter;
	uint64_t random;
	float *quantiles; /* NULL: uniform */
	struct area main, file;
};

static uint64_t draw(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

[[noreturn]] static void die(const struct worker *w, const char *what)
{
	perror(what);
	fprintf(stderr, "bench_control: task %s can not work\n", w->task->name);
	_exit(1);
}

static uint64_t pages_of(uint32_t permille, uint64_t budget_bytes)
{
	return MAX(budget_bytes / 1000 * permille / BENCH_PAGE, (uint64_t)1);
}

uint64_t bench_task_device_bytes(const struct bench_task *task, uint64_t budget_bytes)
{
	uint64_t bytes = pages_of(task->file_size, budget_bytes) * BENCH_PAGE;

	if (task->medium != BENCH_ANON)
		bytes += pages_of(task->size, budget_bytes) * BENCH_PAGE;
	return (bytes + 2 * DEVICE_ALIGN) / DEVICE_ALIGN * DEVICE_ALIGN;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void open_area(struct worker *w, struct area *a, enum bench_medium medium, uint64_t n_pages,
		      uint64_t offset)
{
	size_t len = n_pages * BENCH_PAGE;
	int flags = medium == BENCH_ANON ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	*a = (struct area){
		.medium = medium,
		.fd = w->place->device_fd,
		.offset = offset,
		.n_pages = n_pages,
		.stride = n_pages * 618 / 1000 | 1,
	};
	while (common_divisor(a->stride, n_pages) != 1)
		a->stride += 2;
	if (medium == BENCH_FILE)
		return;
	a->memory =
		mmap(NULL, len, PROT_READ | (medium == BENCH_ANON ? PROT_WRITE : 0), flags,
		     medium == BENCH_ANON ? -1 : a->fd, medium == BENCH_ANON ? 0 : (off_t)offset);
	if (a->memory == MAP_FAILED)
		die(w, "mmap");
	if (medium == BENCH_MAP_RANDOM && madvise(a->memory, len, MADV_RANDOM) < 0)
		die(w, "madvise");
}

static void fill_page(struct worker *w, struct area *a, uint64_t page)
{
	uint64_t *words = (uint64_t *)(void *)(a->memory + page * BENCH_PAGE);

	for (size_t i = 0; i < PREFILL_WORDS; i++)
		words[i * BENCH_PAGE / sizeof(*words) / PREFILL_WORDS] = draw(w);
}

static void fill(struct worker *w, struct area *a)
{
	for (uint64_t page = 0; page < a->n_pages; page++)
		fill_page(w, a, page);
}

static void access_page(struct worker *w, struct area *a, uint64_t page)
{
	static unsigned char buf[BENCH_PAGE];

	switch (a->medium) {
	case BENCH_ANON:
		(*(volatile uint64_t *)(void *)(a->memory + page * BENCH_PAGE))++;
		break;
	case BENCH_MAP:
	case BENCH_MAP_RANDOM:
		(void)*(volatile unsigned char *)(a->memory + page * BENCH_PAGE);
		break;
	case BENCH_FILE:
		if (pread(a->fd, buf, sizeof(buf), (off_t)(a->offset + page * BENCH_PAGE)) !=
		    (ssize_t)sizeof(buf))
			die(w, "pread");
		break;
	}
}

/* A page among the first @n of the area. */
static uint64_t pick(struct worker *w, const struct area *a, uint64_t n)
{
	uint64_t r = draw(w) >> 16;
	uint64_t i = r & (QUANTILES - 1), rank;
	float part;

	if (!w->quantiles)
		return (r >> 12) % n;
	part = (float)(r >> 12 & 0xffff) / 65536.0f;
	part = w->quantiles[i] + part * (w->quantiles[i + 1] - w->quantiles[i]);
	rank = MIN((uint64_t)((float)n * part), n - 1);
	return n == a->n_pages ? rank * a->stride % n : rank;
}

/* Access i of n has weight i^-s: the inverse of its distribution, x = n * u^(1/(1-s)). */
static void make_quantiles(struct worker *w)
{
	double power = 1 / (1 - MIN(w->task->skew, 95u) / 100.0);

	if (!w->task->skew)
		return;
	w->quantiles = malloc((QUANTILES + 1) * sizeof(*w->quantiles));
	if (!w->quantiles)
		die(w, "malloc");
	for (size_t i = 0; i <= QUANTILES; i++)
		w->quantiles[i] = (float)pow((double)i / QUANTILES, power);
}

static double seconds(const struct worker *w)
{
	return ((double)mono_now_ns() - (double)w->place->start_ns) / 1e9;
}

static void sleep_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL); /* a signal ends the task anyway */
}

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* The work that belongs to a round of accesses. */
static void work(struct worker *w)
{
	uint64_t start = cpu_now_ns();

	for (unsigned i = 0; i < ROUND * SPIN; i++)
		__asm__ volatile("" ::: "memory");
	atomic_fetch_add_explicit(&w->meter->work_ns, cpu_now_ns() - start, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->meter->accesses, ROUND, memory_order_relaxed);
}

static bool is_asleep(const struct bench_task *t, double now_s)
{
	return t->off_s && fmod(now_s, t->on_s + t->off_s) >= t->on_s;
}

[[noreturn]] static void run_hot(struct worker *w)
{
	const struct bench_task *t = w->task;
	uint64_t n;

	if (t->medium == BENCH_ANON)
		fill(w, &w->main);
	for (;;) {
		double now_s = seconds(w);

		if (is_asleep(t, now_s)) {
			sleep_ms(20);
			continue;
		}
		n = MIN(pages_of(bench_task_size(t, now_s), w->place->budget_bytes),
			w->main.n_pages);
		for (unsigned i = 0; i < ROUND; i++) {
			if (t->file_share && draw(w) % 1000 < t->file_share)
				access_page(w, &w->file, pick(w, &w->file, w->file.n_pages));
			else
				access_page(w, &w->main, pick(w, &w->main, n));
		}
		work(w);
	}
}

[[noreturn]] static void run_scan(struct worker *w)
{
	struct area *a = &w->main;
	bool is_first = true;

	for (;;) {
		for (unsigned i = 0; i < ROUND; i++) {
			if (a->medium == BENCH_ANON && is_first)
				fill_page(w, a, a->at);
			else
				access_page(w, a, a->at);
			if (++a->at < a->n_pages)
				continue;
			a->at = 0;
			is_first = false;
		}
		work(w);
	}
}

[[noreturn]] static void run_leak(struct worker *w)
{
	struct area *a = &w->main;

	for (;;) {
		double wanted = seconds(w) * w->task->rate_mib * 1048576 / BENCH_PAGE;

		for (; a->at < a->n_pages && (double)a->at < wanted; a->at++)
			fill_page(w, a, a->at);
		sleep_ms(20);
	}
}

/* Fills the socket that the receiver reads from. */
[[noreturn]] static void run_sender(struct worker *w, int fd)
{
	static const unsigned char block[ROUND * BENCH_PAGE] = { 1 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (write(fd, block, sizeof(block)) > 0)
		;
	die(w, "write");
}

static void want(const struct worker *w, int r)
{
	errno = -r;
	if (r < 0)
		die(w, "io_uring");
}

/* One block into the pool, registered as the ring's only buffer. */
static void receive(struct worker *w, struct io_uring *ring, int fd)
{
	struct area *a = &w->main;
	size_t done = 0, len = MIN(a->n_pages, (uint64_t)ROUND) * BENCH_PAGE;

	if (a->at + ROUND > a->n_pages)
		a->at = 0;
	while (done < len) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
		struct io_uring_cqe *cqe;

		io_uring_prep_read_fixed(sqe, fd, a->memory + a->at * BENCH_PAGE + done,
					 (unsigned)(len - done), 0, 0);
		want(w, io_uring_submit_and_wait(ring, 1));
		want(w, io_uring_wait_cqe(ring, &cqe));
		want(w, cqe->res > 0 ? 0 : cqe->res < 0 ? cqe->res : -EPIPE);
		done += (size_t)cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	a->at += ROUND;
}

[[noreturn]] static void run_receive(struct worker *w)
{
	struct iovec pool = { .iov_base = w->main.memory, .iov_len = w->main.n_pages * BENCH_PAGE };
	struct io_uring ring;
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		die(w, "socketpair");
	pid = fork();
	if (pid < 0)
		die(w, "fork");
	if (pid == 0)
		run_sender(w, sockets[1]);
	want(w, io_uring_queue_init(4, &ring, 0));
	want(w, io_uring_register_buffers(&ring, &pool, 1));
	for (;;) {
		receive(w, &ring, sockets[0]);
		work(w);
	}
}

[[noreturn]] static void run_command(struct worker *w)
{
	char script[1024];

	if (snprintf(script, sizeof(script), "while %s; do :; done >/dev/null", w->task->command) >=
	    (int)sizeof(script))
		die(w, "command");
	if (w->task->is_counted && dup2(w->place->count_fd, COUNT_FD) < 0)
		die(w, "dup2");
	(void)execl("/bin/sh", "sh", "-c", script, (char *)NULL);
	die(w, "/bin/sh");
}

void bench_task_main(const struct bench_task *task, const struct bench_place *place,
		     struct bench_meter *meter)
{
	struct worker w = { .task = task, .place = place, .meter = meter };
	uint64_t n_pages = pages_of(MAX(task->size, task->other_size), place->budget_bytes);
	struct area cold;

	w.random = (place->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	if (task->pattern == BENCH_COMMAND)
		run_command(&w);
	/* a hot reader says that it reads at random, as databases do; a loop reads ahead */
	if (task->medium == BENCH_FILE && task->pattern == BENCH_HOT)
		(void)posix_fadvise(place->device_fd, 0, 0, POSIX_FADV_RANDOM);
	open_area(&w, &w.main, task->medium, n_pages, place->device_offset);
	open_area(&w, &w.file, BENCH_FILE, pages_of(task->file_size, place->budget_bytes),
		  place->device_offset + (task->medium == BENCH_ANON ? 0 : n_pages * BENCH_PAGE));
	make_quantiles(&w);
	while (seconds(&w) < 0)
		sleep_ms(1);
	if (task->cold_size) {
		open_area(&w, &cold, BENCH_ANON, pages_of(task->cold_size, place->budget_bytes), 0);
		fill(&w, &cold);
	}
	switch (task->pattern) {
	case BENCH_HOT:
		run_hot(&w);
	case BENCH_SCAN:
	case BENCH_CYCLE:
		run_scan(&w);
	case BENCH_LEAK:
		run_leak(&w);
	case BENCH_RECEIVE:
		run_receive(&w);
	case BENCH_IDLE:
		fill(&w, &w.main);
		for (;;)
			sleep_ms(1000);
	case BENCH_COMMAND:
		break; /* above */
	}
	abort();
}
