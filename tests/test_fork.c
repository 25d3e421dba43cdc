/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Children that are forked while an engine works, and neither exit nor execute anything for long:
 * they have every descriptor of their parent, and must have nothing else of it.
 */

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"
#include "send_fixture.h"

#define WAIT_MS 20000
#define CHILDREN 4

struct child {
	pid_t pid;
	int end_fd; /* a byte for it to read, then it exits */
};

/* It has all descriptors but those of the @n_peers, which are a process of their own elsewhere. */
static void start_child(struct child *child, const int *peers, uint32_t n_peers)
{
	int fds[2];
	char byte;

	ck_assert_int_eq(pipe(fds), 0);
	child->pid = fork();
	ck_assert_int_ge(child->pid, 0);
	if (child->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* one that has closed already may have left its number to the pipe */
		for (uint32_t i = 0; i < n_peers; i++)
			if (peers[i] != fds[0])
				close(peers[i]);
		_exit(read(fds[0], &byte, 1) == 1 ? 7 : 1);
	}
	close(fds[0]);
	child->end_fd = fds[1];
}

static void end_child(struct child *child)
{
	int status;

	/* it was there all the time */
	ck_assert_int_eq(waitpid(child->pid, &status, WNOHANG), 0);
	ck_assert_int_eq(write(child->end_fd, "", 1), 1);
	ck_assert_int_eq(waitpid(child->pid, &status, 0), child->pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	close(child->end_fd);
}

/* ---- memory */

static bool is_killed_by_touching(volatile const uint8_t *byte)
{
	const struct rlimit no_core = {};
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(SIGSEGV, SIG_DFL); /* the sanitizers have a handler */
		_exit(*byte ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

START_TEST(a_child_that_touches_a_buffer_is_killed)
{
	struct tm_buffer *acquired;
	int fd;

	set_up(_i, 32768, 64);
	hold_all = true;
	listen_tcp();
	fd = connect_tcp();
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	close(fd);
	run_until_closed(1);
	ck_assert_uint_eq(streams[0].n_held, 1);
	ck_assert_ptr_nonnull(acquired = tm_pool_acquire(pool));
	ck_assert(is_killed_by_touching(streams[0].held[0]->data));
	ck_assert(is_killed_by_touching(acquired->data));
	/* one of the kernel's, or idle */
	ck_assert(is_killed_by_touching((uint8_t *)acquired->data + 2 * acquired->capacity));
	/* and this is how it is seen */
	ck_assert(!is_killed_by_touching((const uint8_t *)&streams));
	tm_buffer_release(acquired);
	release_held(&streams[0]);
	tear_down();
}
END_TEST

/* ---- traffic */

START_TEST(forks_while_data_comes_lose_no_byte)
{
	struct child children[CHILDREN];
	struct peer peers[4] = {};
	uint64_t n_bytes = 0;
	uint32_t n = 0;
	int fds[4];

	set_up(_i, 4096, 64);
	listen_tcp();
	for (uint8_t i = 0; i < 4; i++) {
		peers[i].fd = fds[i] = connect_tcp();
		peers[i].listen_fd = -1;
		start_peer(&peers[i], i, 8 * MIB);
	}
	while (n_closed < 4) {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		n_bytes = 0;
		for (uint32_t i = 0; i < n_streams; i++)
			n_bytes += streams[i].bytes;
		if (n < CHILDREN && n_bytes >= (n + 1) * 4 * MIB)
			start_child(&children[n++], fds, 4);
	}
	ck_assert_uint_eq(n, CHILDREN);
	check_streams(4, 8 * MIB);
	join_peers(peers, 4);
	for (uint32_t i = 0; i < CHILDREN; i++)
		end_child(&children[i]);
	tear_down();
}
END_TEST

static void fork_while_sending(int kind, enum variant variant)
{
	struct child children[CHILDREN];
	struct reader reader;
	uint32_t n = 0;
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	start_reader(&reader, fd);
	seen.step = 32768;
	seen.total = 16 * MIB;
	send_more(seen.channel[0]);
	while (seen.n_closed == 0) {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		if (n < CHILDREN && seen.position >= (n + 1) * 2 * MIB)
			start_child(&children[n++], &fd, 1);
	}
	ck_assert_uint_eq(n, CHILDREN);
	ck_assert_int_eq(seen.error, 0);
	check_reader(&reader, 16 * MIB);
	for (uint32_t i = 0; i < CHILDREN; i++)
		end_child(&children[i]);
	tear_down();
}

START_TEST(forks_while_data_goes_lose_no_byte)
{
	fork_while_sending(_i, COPIED);
	fork_while_sending(_i, PINNED);
}
END_TEST

/* ---- connections */

/* What the peer reads next: 0, or -errno. */
static int read_end(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	char byte;
	ssize_t n;

	ck_assert_int_eq(poll(&poller, 1, WAIT_MS), 1);
	n = recv(fd, &byte, 1, MSG_DONTWAIT);
	ck_assert_int_le(n, 0);
	return n < 0 ? -errno : 0;
}

static void name_socket(char name[static 64], char address[static 80])
{
	(void)snprintf(name, 64, "taskmem-test-fork-%d", (int)getpid());
	(void)snprintf(address, 80, "unix:@%s", name);
}

/* One channel by TCP and one by a unix socket. */
static void open_two(int kind, int fds[2])
{
	char name[64], address[80];

	set_up(kind, 4096, 64);
	name_socket(name, address);
	listen_tcp();
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	fds[0] = connect_tcp();
	run_until_open(1);
	fds[1] = bind_unix(name, false);
	run_until_open(2);
}

START_TEST(a_closed_channel_ends_for_its_peer)
{
	struct child child;
	int fds[2];

	open_two(_i, fds);
	start_child(&child, fds, 2);
	tm_channel_close(streams[0].channel);
	tm_channel_close(streams[1].channel);
	run_until_closed(2);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(read_end(fds[i]), 0);
		/* and one that goes on sending hears of it */
		while (send(fds[i], "x", 1, MSG_NOSIGNAL) == 1)
			usleep(1000);
		ck_assert(errno == EPIPE || errno == ECONNRESET);
		close(fds[i]);
	}
	end_child(&child);
	tear_down();
}
END_TEST

START_TEST(a_freed_engine_ends_its_connections)
{
	struct child child;
	int fds[2];

	open_two(_i, fds);
	start_child(&child, fds, 2);
	tm_engine_free(engine);
	engine = NULL;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(read_end(fds[i]), 0);
		close(fds[i]);
	}
	end_child(&child);
	tear_down();
}
END_TEST

static void close_with_data_unread(int kind, bool has_child)
{
	struct child child;
	int fd;

	set_up(kind, 4096, 64);
	n_streams = n_opened = n_closed = 0;
	memset(streams, 0, sizeof(streams));
	hold_all = true;
	listen_tcp();
	fd = connect_tcp();
	run_until_open(1);
	/* more than it may have */
	for (uint32_t i = 0; i < 2; i++)
		ck_assert_int_gt(send(fd, pattern_at(0, 0), PATTERN_PIECE, MSG_NOSIGNAL), 0);
	run_until_quiet();
	ck_assert_uint_le(streams[0].n_held, 12);
	if (has_child)
		start_child(&child, &fd, 1);
	tm_channel_close(streams[0].channel);
	run_until_closed(1);
	ck_assert_int_eq(read_end(fd), -ECONNRESET);
	close(fd);
	if (has_child)
		end_child(&child);
	release_held(&streams[0]);
	tear_down();
}

START_TEST(a_channel_closed_with_data_unread_is_reset_with_a_child_as_without)
{
	close_with_data_unread(_i, false);
	close_with_data_unread(_i, true);
}
END_TEST

START_TEST(listeners_of_a_freed_engine_listen_no_more)
{
	char name[64], address[80];
	int before, waiting[2];
	struct child child;

	set_up(_i, 4096, 64);
	name_socket(name, address);
	listen_tcp();
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	/* nobody accepts these */
	waiting[0] = connect_tcp();
	waiting[1] = bind_unix(name, false);
	start_child(&child, waiting, 2);
	tm_engine_free(engine);
	for (int i = 0; i < 2; i++) {
		(void)read_end(waiting[i]);
		close(waiting[i]);
	}
	/* the port is free again */
	make_engine(_i, 0, 0, 0);
	before = port;
	(void)snprintf(address, sizeof(address), "tcp:127.0.0.1:%d", before);
	ck_assert_int_eq(tm_engine_listen(engine, address), before);
	waiting[0] = connect_tcp();
	run_until_open(1);
	close(waiting[0]);
	run_until_closed(1);
	end_child(&child);
	tear_down();
}
END_TEST

/* ---- what is under way */

static void close_while_sending(int kind, enum variant variant)
{
	struct reader reader;
	struct child child;
	uint64_t sent_bytes;
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	sent_bytes = channel_stats(seen.channel[0]).sent_bytes;
	ck_assert_uint_gt(sent_bytes, 0);
	start_child(&child, &fd, 1);
	tm_channel_close(seen.channel[0]);
	run_until(&seen.n_closed, 1);
	/* what the kernel has arrives, in order, and then the end */
	start_reader(&reader, fd);
	run_until_released();
	ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
	ck_assert(!reader.is_wrong);
	ck_assert_uint_ge(reader.bytes, sent_bytes);
	end_child(&child);
	tear_down();
}

START_TEST(what_the_kernel_has_taken_of_a_closed_channel_arrives)
{
	close_while_sending(_i, COPIED);
	close_while_sending(_i, PINNED);
}
END_TEST

static void *stall_in_thread(void *userdata)
{
	*(int *)userdata = open_peer();
	stall(seen.channel[0]);
	return NULL;
}

START_TEST(bytes_of_others_are_never_sent_for_what_was_released)
{
	struct tm_buffer *buffers[64];
	struct reader reader;
	struct child child;
	pthread_t thread;
	int fd = -1;

	make(_i, PINNED, 32768, 64, 64);
	ck_assert_int_eq(pthread_create(&thread, NULL, stall_in_thread, &fd), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	start_child(&child, &fd, 1);
	/* nobody is left to wait for acknowledgements, so all buffers are back, and used anew */
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, buffers, 64), 64);
	for (int i = 0; i < 64; i++)
		memset(buffers[i]->data, 0xff, buffers[i]->capacity);
	start_reader(&reader, fd);
	ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
	ck_assert(!reader.is_wrong);
	tm_buffer_release_bulk(buffers, 64);
	end_child(&child);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_child_that_touches_a_buffer_is_killed,
		forks_while_data_comes_lose_no_byte,
		forks_while_data_goes_lose_no_byte,
		a_closed_channel_ends_for_its_peer,
		a_freed_engine_ends_its_connections,
		a_channel_closed_with_data_unread_is_reset_with_a_child_as_without,
		listeners_of_a_freed_engine_listen_no_more,
		what_the_kernel_has_taken_of_a_closed_channel_arrives,
		bytes_of_others_are_never_sent_for_what_was_released,
	};

	return run_suite("fork", tests, ARRAY_LEN(tests));
}
