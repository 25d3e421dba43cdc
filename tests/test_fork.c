/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Children that are forked while an engine works, and neither exit nor execute anything for long:
 * they have every descriptor of their parent, and must have nothing else of it.
 */

#include <check.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "send_fixture.h"

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

int main(void)
{
	const TTest *const tests[] = {
		a_child_that_touches_a_buffer_is_killed,
		forks_while_data_comes_lose_no_byte,
		forks_while_data_goes_lose_no_byte,
	};

	return run_suite("fork", tests, ARRAY_LEN(tests));
}
