/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A task for the system tests that fills memory, hears what it should come to, and answers; and a
 * client that hangs up before it has read what it was given.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "taskmem.h"

#define DAEMON_SOCKET "/run/taskmem/io.taskmem"

static int usage(void)
{
	fputs("Usage: vm_watch hold SIZE give    fill SIZE; upon a notice free what is too much\n"
	      "       vm_watch hold SIZE keep    the same, but say that nothing can be freed\n"
	      "       vm_watch hold SIZE mute    the same, but answer nothing\n"
	      "       vm_watch cut               attach without a token, hang up, stay\n"
	      "One line of JSON for each notice, on standard output; ends with its input.\n",
	      stderr);
	return 2;
}

/* ------------------------------------------------------------------ hold */

struct hoard {
	char *base;
	uint64_t bytes; /* still there */
	const char *manner;
};

static const char *const whys[] = { "start", "share", "max", "pressure" };

/* Gives the end of the hoard back to the system. */
static uint64_t give(struct hoard *hoard, uint64_t bytes)
{
	bytes = MIN(bytes + 4095, hoard->bytes) & ~UINT64_C(4095);
	if (bytes > 0)
		(void)munmap(hoard->base + hoard->bytes - bytes, bytes);
	hoard->bytes -= bytes;
	return bytes;
}

static void on_memory(struct tm_slot *slot, const struct tm_memory_notice *notice, void *userdata)
{
	uint64_t now_ns = mono_now_ns(), goal = MIN(notice->target_bytes, notice->max_bytes);
	struct hoard *hoard = userdata;
	uint64_t freed = 0;
	int r = 0;

	goal -= MIN(goal, UINT64_C(16) << 20); /* room for the kernel's margin */
	if (notice->usage_bytes > goal && notice->why != TM_NOTICE_START &&
	    strcmp(hoard->manner, "give") == 0)
		freed = give(hoard, notice->usage_bytes - goal);
	if (notice->why != TM_NOTICE_START && strcmp(hoard->manner, "mute") != 0)
		r = tm_slot_report_freed(slot, freed);
	printf("{\"why\":\"%s\",\"target\":%" PRIu64 ",\"before\":%" PRIu64 ",\"usage\":%" PRIu64
	       ",\"max\":%" PRIu64 ",\"graceMs\":%" PRIu64 ",\"freed\":%" PRIu64
	       ",\"error\":\"%s\"}\n",
	       whys[notice->why], notice->target_bytes, notice->before_bytes, notice->usage_bytes,
	       notice->max_bytes,
	       notice->deadline_ns > now_ns ? (notice->deadline_ns - now_ns) / NS_PER_MSEC : 0,
	       freed, r < 0 ? strerrorname_np(-r) : "");
}

static int hold_main(const char *size, const char *manner)
{
	const struct tm_attach_options options = { .size = sizeof(options),
						   .flags = TM_ATTACH_NO_PAGES };
	struct hoard hoard = { .manner = manner };
	struct pollfd fds[2];
	struct tm_slot *slot;
	char byte;
	int r;

	if (parse_bytes(size, &hoard.bytes) < 0)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	hoard.base =
		mmap(NULL, hoard.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hoard.base == MAP_FAILED)
		return 1;
	memset(hoard.base, 'x', hoard.bytes);
	r = tm_slot_attach(&options, &slot);
	if (r >= 0)
		r = tm_slot_watch(slot, on_memory, &hoard);
	if (r < 0) {
		printf("{\"error\":\"%s\"}\n", strerrorname_np(-r));
		return 1;
	}
	fds[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = tm_slot_fd(slot), .events = POLLIN };
	while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
		if (fds[1].revents)
			tm_slot_dispatch(slot);
		if (fds[0].revents && read(STDIN_FILENO, &byte, 1) <= 0)
			break;
	}
	tm_slot_detach(slot);
	return 0;
}

/* ------------------------------------------------------------------ cut */

static int cut_main(void)
{
	static const char request[] =
		"{\"method\":\"io.taskmem.Attach\",\"more\":true,\"parameters\":{}}";
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = DAEMON_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fd_write_all(fd, request, sizeof(request)) < 0 || poll(&pfd, 1, 20000) != 1) {
		fprintf(stderr, "vm_watch: no answer: %s\n", strerror(errno));
		return 1;
	}
	close(fd); /* with the answer in it, unread */
	puts("cut");
	fflush(stdout);
	(void)getchar();
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold_main(argv[2], argv[3]);
	if (argc == 2 && strcmp(argv[1], "cut") == 0)
		return cut_main();
	return usage();
}
