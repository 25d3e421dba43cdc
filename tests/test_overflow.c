/* SPDX-License-Identifier: Apache-2.0 */

/* Completions that do not fit into the queue: rings of eight entries, and storms. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine_fixture.h"

/* A loop test runs with each; epoll has no such queue. */
#define WITH_ALL 0
static const char *const tiny[] = { "tiny limit packed gather resize", "tiny limit packed",
				    "tiny packed", "tiny" };

/* Since 6.13. */
static bool can_resize(int kind)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN };
	struct io_uring_params larger = { .flags = IORING_SETUP_CQSIZE,
					  .sq_entries = 8,
					  .cq_entries = 32 };
	struct io_uring ring;
	int r;

	if (kind != WITH_ALL || io_uring_queue_init_params(8, &ring, &params) < 0)
		return false;
	r = io_uring_resize_rings(&ring, &larger);
	io_uring_queue_exit(&ring);
	return r == 0;
}

static void set_up_tiny(int kind, uint32_t n_buffers)
{
	struct tm_engine_options options = {
		.size = sizeof(options),
		.kind = TM_ENGINE_URING,
		.credit_buffers = 4,
	};

	ck_assert_int_eq(setenv("TASKMEM_URING", tiny[kind], 1), 0);
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", 4096, n_buffers, n_buffers, &pool), 0);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &engine), 0);
	listen_tcp();
}

/* Of this process' only ring, as the kernel says; 0: there is none. */
static unsigned count_entries(void)
{
	char path[64], target[64], line[256];
	unsigned mask = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	ssize_t n;
	FILE *f;

	ck_assert_ptr_nonnull(dir);
	while (mask == 0 && (entry = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%.16s", entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (!strstr(target, "[io_uring]"))
			continue;
		(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%.16s", entry->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			(void)sscanf(line, "CqMask: %x", &mask);
		if (f)
			fclose(f);
	}
	closedir(dir);
	return mask ? mask + 1 : 0;
}

/* ---- storms */

START_TEST(streams_lose_nothing)
{
	struct peer *peers = calloc(64, sizeof(*peers));

	set_up_tiny(_i, 256);
	ck_assert_uint_eq(count_entries(), 8);
	start_tcp_peers(peers, 64, MIB);
	run_until_closed(64);
	check_streams(64, MIB);
	ck_assert_int_eq(count_entries() > 8, can_resize(_i));
	join_peers(peers, 64);
	free(peers);
	tear_down();
}
END_TEST

static uint64_t count_bytes(void)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n_streams; i++) {
		ck_assert_int_eq(tm_channel_get_stats(streams[i].channel, &cs), 0);
		bytes += cs.bytes;
	}
	return bytes;
}

/* All connections have messages of a few bytes ready at once, again and again, and each is then a
 * completion of its own or of a few. */
START_TEST(small_messages_lose_nothing)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };
	int fds[100], on = 1;
	char message[16] = {};

	set_up_tiny(_i, 256);
	for (int i = 0; i < 100; i++) {
		fds[i] = connect_tcp();
		(void)setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	run_until_open(100);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 100; i++)
			ck_assert_int_eq(send(fds[i], message, sizeof(message), MSG_NOSIGNAL),
					 sizeof(message));
		ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	}
	/* a lost one is never made up for, and the test's time is over some day */
	while (count_bytes() < 100 * 50 * sizeof(message))
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	for (uint32_t i = 0; i < 100; i++) {
		ck_assert_int_eq(tm_channel_get_stats(streams[i].channel, &cs), 0);
		ck_assert_uint_eq(cs.bytes, 50 * sizeof(message));
	}
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	run_until_closed(100);
	tear_down();
}
END_TEST

/* What comes from the kernel is not only data. */
START_TEST(connections_and_their_ends_are_not_lost)
{
	int fds[200];

	set_up_tiny(_i, 64);
	for (int round = 1; round <= 3; round++) {
		n_streams = 0; /* the records of those that are gone are used again */
		memset(streams, 0, sizeof(streams));
		for (int i = 0; i < 200; i++)
			fds[i] = connect_tcp();
		run_until_open((uint32_t)round * 200);
		for (int i = 0; i < 200; i++)
			close(fds[i]);
		run_until_closed((uint32_t)round * 200);
	}
	ck_assert_int_eq(count_entries() > 8, can_resize(_i));
	tear_down();
}
END_TEST

/* tm_engine_free() has all of their completions to wait for. */
START_TEST(an_engine_can_be_freed_in_a_storm)
{
	struct peer *peers = calloc(64, sizeof(*peers));

	set_up_tiny(_i, 256);
	start_tcp_peers(peers, 64, 4 * MIB);
	run_until_open(64);
	for (int i = 0; i < 20; i++)
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_eq(n_closed, n_opened);
	join_peers(peers, 64);
	free(peers);
	tear_down();
}
END_TEST

START_TEST(pages_can_be_given_back_in_a_storm)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct peer peers[32] = {};
	uint32_t n = 0;

	set_up_tiny(_i, 256);
	start_tcp_peers(peers, 32, 4 * MIB);
	while (n_closed < 32) {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		if (n++ % 16 == 0)
			fake_daemon_set_share(fake, n % 32 ? 4 : 1);
	}
	check_streams(32, 4 * MIB);
	join_peers(peers, 32);
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	tear_down();
}
END_TEST

/* ---- a kernel that cannot */

static void refuse(struct sock_filter *filter, unsigned short n)
{
	struct sock_fprog program = { .len = n, .filter = filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* As before 6.13. */
static void refuse_resize(uint32_t error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_register, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IORING_REGISTER_RESIZE_RINGS, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	refuse(filter, ARRAY_LEN(filter));
}

static void storm_without(uint32_t error)
{
	struct peer *peers = calloc(64, sizeof(*peers));

	set_up_tiny(WITH_ALL, 256);
	refuse_resize(error);
	start_tcp_peers(peers, 64, MIB);
	run_until_closed(64);
	check_streams(64, MIB);
	ck_assert_uint_eq(count_entries(), 8);
	join_peers(peers, 64);
	free(peers);
	tear_down();
}

START_TEST(a_kernel_that_cannot_resize_is_fine)
{
	storm_without(EINVAL);
}
END_TEST

START_TEST(no_memory_for_a_larger_queue_is_fine)
{
	storm_without(ENOMEM);
}
END_TEST

/* The kernel has switched to the new ring, and the process cannot map it. */
#define OFFSET_SQES 0x10000000
START_TEST(a_queue_that_cannot_be_mapped_ends_the_engine_alone)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OFFSET_SQES, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct peer *peers = calloc(64, sizeof(*peers));
	int r = 0;

	set_up_tiny(WITH_ALL, 256);
	refuse(filter, ARRAY_LEN(filter));
	for (int i = 0; i < 64; i++) {
		peers[i].fd = connect_tcp();
		peers[i].listen_fd = -1;
		start_peer(&peers[i], (uint8_t)i, MIB);
	}
	while (r >= 0 && n_closed < 64)
		r = tm_engine_run(engine, 1000);
	ck_assert_int_eq(r, -ENOMEM);
	ck_assert_int_lt(tm_engine_run(engine, 0), 0);
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_eq(n_closed, n_opened);
	join_peers(peers, 64);
	free(peers);
	tear_down();
}
END_TEST

int main(void)
{
	/* an emulated machine has time only for the way that its kernel would be used */
	const int n_kinds = getenv("ENGINE_BEST_ONLY") ? 1 : (int)ARRAY_LEN(tiny);
	const TTest *const storms[] = {
		streams_lose_nothing,
		small_messages_lose_nothing,
		connections_and_their_ends_are_not_lost,
		an_engine_can_be_freed_in_a_storm,
		pages_can_be_given_back_in_a_storm,
	};
	Suite *suite = suite_create("overflow");
	TCase *tc = tcase_create("overflow");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < ARRAY_LEN(storms); i++)
		tcase_add_loop_test(tc, storms[i], 0, n_kinds);
	tcase_add_test(tc, a_kernel_that_cannot_resize_is_fine);
	tcase_add_test(tc, no_memory_for_a_larger_queue_is_fine);
	if (can_resize(WITH_ALL))
		tcase_add_test(tc, a_queue_that_cannot_be_mapped_ends_the_engine_alone);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed > 0;
}
