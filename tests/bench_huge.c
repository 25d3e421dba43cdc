/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The number of pages is written below /sys, where it is that of pages of 2 MiB whatever the default
 * size is. What is put back is the difference: somebody else may have changed it meanwhile. Pages
 * that are in use then become surplus, and the kernel takes them when they are freed. All of it is
 * system calls, so a signal handler may do it.
 *
 * Nothing may come between a change and the note of it, so signals wait for that long. The kernel
 * compacts memory to find a page, so pages are asked for a few at a time, and ^C is heard soon.
 */

#include "bench_huge.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/attr.h"

#define FOLDER "/sys/kernel/mm/hugepages/hugepages-2048kB"
#define PAGE_BYTES (2ULL << 20)
#define STEP 64 /* pages: 30 ms to find and clear them in memory that is not in pieces */

static const char *folder = FOLDER;
static uint64_t n_added;
static pid_t owner; /* a child must not give back what is its parent's */

/* Return: the descriptor, or -errno. */
static int open_file(const char *name, int flags)
{
	int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (folder_fd < 0)
		return -errno;
	fd = openat(folder_fd, name, flags | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(folder_fd);
	return fd;
}

/* UINT64_MAX: it cannot be read. */
static uint64_t read_number(const char *name)
{
	char text[32] = "";
	int fd = open_file(name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t number = 0;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return UINT64_MAX;
	for (const char *p = text; *p >= '0' && *p <= '9'; p++)
		number = 10 * number + (uint64_t)(*p - '0');
	return number;
}

static int write_total(uint64_t number)
{
	char text[32], *p = text + sizeof(text);
	int fd = open_file("nr_hugepages", O_WRONLY | O_TRUNC), r = 0;

	if (fd < 0)
		return fd;
	do
		*--p = (char)('0' + number % 10);
	while (number /= 10);
	if (write(fd, p, (size_t)(text + sizeof(text) - p)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* ---- changes, which no signal interrupts */

static void begin_change(sigset_t *ret_before)
{
	sigset_t all;

	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, ret_before);
}

static void end_change(const sigset_t *before)
{
	(void)sigprocmask(SIG_SETMASK, before, NULL);
}

void huge_give_back(void)
{
	uint64_t total;
	sigset_t before;

	if (n_added == 0 || getpid() != owner)
		return;
	begin_change(&before);
	total = read_number("nr_hugepages");
	if (total != UINT64_MAX)
		(void)write_total(total - MIN(total, n_added));
	n_added = 0;
	end_change(&before);
}

/* Return: how many the kernel found, up to @n, or -errno. */
static int64_t add(uint64_t n)
{
	uint64_t total, got;
	sigset_t before;
	int r;

	begin_change(&before);
	total = read_number("nr_hugepages");
	if (total == UINT64_MAX) {
		end_change(&before);
		return -EIO;
	}
	r = write_total(total + n);
	got = read_number("nr_hugepages");
	got = got == UINT64_MAX || got < total ? 0 : MIN(got - total, n);
	n_added += got;
	end_change(&before);
	return r < 0 ? r : (int64_t)got;
}

/* The first process of a namespace cannot end itself by the signal. */
static void on_signal(int number)
{
	huge_give_back();
	_exit(128 + number);
}

/* Everything that ends a process and can be heard of. */
static void watch_end(void)
{
	static const int numbers[] = { SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGPIPE,
				       SIGABRT, SIGSEGV, SIGBUS, SIGFPE,  SIGILL };
	struct sigaction action = { .sa_handler = on_signal }, before;
	static bool is_watched;

	if (is_watched)
		return;
	is_watched = true;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
			continue; /* as by nohup */
		(void)sigaction(numbers[i], &action, NULL);
	}
	(void)atexit(huge_give_back);
}

/* ---- what callers see */

void huge_set_folder(const char *the_folder)
{
	folder = the_folder;
}

uint64_t huge_count_free(void)
{
	uint64_t n = read_number("free_hugepages");

	return n == UINT64_MAX ? 0 : n;
}

/* Without what is promised to mappings that have not touched it. */
static uint64_t count_usable(void)
{
	uint64_t n_free = huge_count_free(), n_promised = read_number("resv_hugepages");

	return n_promised == UINT64_MAX ? n_free : n_free - MIN(n_free, n_promised);
}

static void touch(uint64_t n_pages)
{
	int fd = strcmp(folder, FOLDER) == 0
			 ? memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB)
			 : -1;

	if (fd < 0)
		return;
	(void)!fallocate(fd, 0, 0, (off_t)(n_pages * PAGE_BYTES));
	close(fd);
}

static const char *why(int64_t error)
{
	if (error == -EACCES || error == -EROFS || error == -EPERM)
		return "only root may reserve them, where /sys can be written to";
	if (error < 0)
		return strerror((int)-error);
	return "memory is short or in pieces; a machine that was just started has them";
}

bool huge_reserve(const char *name, uint64_t n_pages)
{
	uint64_t total = read_number("nr_hugepages"), n_usable = count_usable();
	uint64_t n_missing = n_pages - MIN(n_pages, n_usable);
	int64_t r = 1;

	if (total == UINT64_MAX) {
		fprintf(stderr, "%s: no pages of 2 MiB: this kernel has no %s\n", name, folder);
		return false;
	}
	if (n_missing > 0) {
		fprintf(stderr, "%s: %s/nr_hugepages is %llu, and %llu for this run\n", name,
			folder, (unsigned long long)total, (unsigned long long)(total + n_missing));
		watch_end();
		owner = getpid();
	}
	for (; n_missing > 0 && r > 0; n_missing -= (uint64_t)MAX(r, 0))
		r = add(MIN(n_missing, (uint64_t)STEP));
	n_usable = count_usable();
	if (n_usable >= n_pages) {
		touch(n_pages);
		return true;
	}
	fprintf(stderr, "%s: no %llu free pages of 2 MiB, %llu at most: %s\n", name,
		(unsigned long long)n_pages, (unsigned long long)n_usable, why(r));
	huge_give_back();
	return false;
}
