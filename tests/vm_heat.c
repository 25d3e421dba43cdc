/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A task whose working set is known: it touches cold memory once and hot memory for ever, one
 * access a page, in order. For the system tests of the working-set estimate.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mono.h"
#include "base/parse.h"

#define PAGE 4096

static const char help[] =
	"Usage: vm_heat [--hot SIZE] [--cold SIZE] [--file PATH] [--huge] [--pause MSEC]\n"
	"Touch cold memory once, then hot memory for ever.\n"
	"\n"
	"  --file PATH   hot memory is a mapping of this file, made if it is missing\n"
	"  --huge        let the kernel use transparent huge pages\n"
	"  --pause MSEC  rest between two passes over the hot memory\n"
	"\n"
	"Prints \"ready\" after the first pass and \"passes N\" about once a second.\n";

struct settings {
	uint64_t hot_bytes, cold_bytes;
	const char *file;
	bool is_huge;
	uint64_t pause_ms;
};

[[noreturn]] static void die(const char *what)
{
	fprintf(stderr, "vm_heat: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void fill(int fd, uint64_t bytes)
{
	static char block[1 << 20];
	uint64_t done = 0;

	memset(block, 'h', sizeof(block));
	while (done < bytes) {
		ssize_t n = pwrite(fd, block, sizeof(block), (off_t)done);

		if (n <= 0)
			die("write");
		done += (uint64_t)n;
	}
	if (fsync(fd) < 0)
		die("fsync");
}

/* Only read: a mapping of a file stays clean, as that of a table or a library does. */
static const volatile char *map_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *memory;

	if (fd < 0)
		die(path);
	if (lseek(fd, 0, SEEK_END) < (off_t)bytes)
		fill(fd, bytes);
	memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	close(fd);
	return memory;
}

static volatile char *map_anonymous(uint64_t bytes, bool is_huge)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	if (madvise(memory, bytes, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0 && is_huge)
		die("madvise");
	for (uint64_t at = 0; at < bytes; at += PAGE)
		((volatile char *)memory)[at] = 1;
	return memory;
}

static void pass(const volatile char *memory, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += PAGE)
		(void)memory[at];
}

[[noreturn]] static void run(const struct settings *s)
{
	const volatile char *hot = NULL;
	uint64_t n_passes = 0, told_ns = 0;

	if (s->cold_bytes)
		(void)map_anonymous(s->cold_bytes, s->is_huge);
	if (s->hot_bytes)
		hot = s->file ? map_file(s->file, s->hot_bytes)
			      : map_anonymous(s->hot_bytes, s->is_huge);
	for (;;) {
		pass(hot, s->hot_bytes);
		if (n_passes++ == 0)
			puts("ready");
		if (s->pause_ms || !s->hot_bytes)
			usleep((useconds_t)(s->pause_ms ? s->pause_ms : 1000) * 1000);
		if (mono_now_ns() - told_ns < NS_PER_SEC)
			continue;
		told_ns = mono_now_ns();
		printf("passes %" PRIu64 "\n", n_passes);
		fflush(stdout);
	}
}

static void set_bytes(const char *text, uint64_t *ret)
{
	if (parse_bytes(text, ret) == 0)
		return;
	fprintf(stderr, "vm_heat: %s: use a size such as 64M\n", text);
	exit(2);
}

int main(int argc, char *argv[])
{
	static const struct option table[] = {
		{ "hot", required_argument, NULL, 'o' },
		{ "cold", required_argument, NULL, 'c' },
		{ "file", required_argument, NULL, 'f' },
		{ "huge", no_argument, NULL, 'u' },
		{ "pause", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct settings s = {};
	int code;

	/* a test that is killed leaves nothing behind */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		if (code == 'o')
			set_bytes(optarg, &s.hot_bytes);
		else if (code == 'c')
			set_bytes(optarg, &s.cold_bytes);
		else if (code == 'f')
			s.file = optarg;
		else if (code == 'u')
			s.is_huge = true;
		else if (code == 'p' && parse_u64(optarg, 60000, &s.pause_ms) == 0)
			continue;
		else
			return fputs(help, code == 'h' ? stdout : stderr) < 0 || code != 'h';
	}
	run(&s);
}
