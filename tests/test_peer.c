/* SPDX-License-Identifier: Apache-2.0 */

/* Peers of real sockets. The tree's path is chosen so that the cgroup this test runs in
 * looks like a slot, or not. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/peer.h"
#include "suite.h"

#define NOWHERE "/no/such/tree"
#define TEST_GID 54321
#define TEST_UID 65432

static int listen_fd;
static struct sockaddr_un address;

static void setup(void)
{
	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	/* an abstract name, bound by the kernel: nothing to remove */
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listen_fd, 0);
	(void)snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "test_peer.%d",
		       getpid());
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listen_fd, 8), 0);
}

static void teardown(void)
{
	close(listen_fd);
}

static int connect_here(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(3);
	return fd;
}

/* A child that connects, as @uid with group @gid if these are not -1, and waits. */
static pid_t start_client(uid_t uid, gid_t gid)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	if (gid != (gid_t)-1 && setgroups(1, &gid) < 0)
		_exit(1);
	if (uid != (uid_t)-1 && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
		_exit(2);
	(void)connect_here();
	for (;;)
		pause();
}

static void stop_client(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_process_knows_itself_through_a_socket_pair)
{
	struct peer peer;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(peer_read(fds[0], (gid_t)-1, NOWHERE, &peer, NULL), 0);
	ck_assert_int_eq(peer.pid, getpid());
	ck_assert_uint_eq(peer.uid, getuid());
	ck_assert(peer.is_admin == (getuid() == 0));
	ck_assert(!peer.is_in_slot);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_child_is_identified_and_its_pidfd_is_given)
{
	pid_t pid = start_client((uid_t)-1, (gid_t)-1);
	CLEANUP(fd_closep) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	CLEANUP(fd_closep) int pidfd = -1;
	siginfo_t info = {};
	struct peer peer;

	ck_assert_int_eq(peer_read(fd, (gid_t)-1, NOWHERE, &peer, &pidfd), 0);
	ck_assert_int_eq(peer.pid, pid);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED), 0);
	ck_assert_int_eq(info.si_pid, pid);
}
END_TEST

START_TEST(a_process_that_is_gone_is_said_to_be_gone)
{
	pid_t pid = start_client((uid_t)-1, (gid_t)-1);
	CLEANUP(fd_closep) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int pidfd = -1;
	struct peer peer = { .pid = 7 };

	stop_client(pid);
	ck_assert_int_eq(peer_read(fd, (gid_t)-1, NOWHERE, &peer, &pidfd), -ESRCH);
	ck_assert_int_eq(peer.pid, 7);
	ck_assert_int_eq(pidfd, -1);
}
END_TEST

START_TEST(what_is_no_unix_socket_is_refused)
{
	CLEANUP(fd_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct peer peer;

	ck_assert_int_eq(peer_read(fd, (gid_t)-1, NOWHERE, &peer, NULL), -ENOTSOCK);
}
END_TEST

START_TEST(members_of_the_group_are_administrators_and_others_are_not)
{
	const struct {
		gid_t supplementary;
		gid_t admin_group;
		bool is_admin;
	} cases[] = {
		{ TEST_GID, TEST_GID, true },
		{ TEST_GID, TEST_GID + 1, false },
		{ TEST_GID, TEST_UID, true }, /* the primary group */
		{ TEST_GID, (gid_t)-1, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		pid_t pid = start_client(TEST_UID, cases[i].supplementary);
		CLEANUP(fd_closep) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		struct peer peer;

		ck_assert_int_eq(peer_read(fd, cases[i].admin_group, NOWHERE, &peer, NULL), 0);
		ck_assert_uint_eq(peer.uid, TEST_UID);
		ck_assert_msg(peer.is_admin == cases[i].is_admin, "case %zu", i);
		stop_client(pid);
	}
}
END_TEST

START_TEST(a_member_of_very_many_groups_is_found)
{
	enum { N = 1000 };
	gid_t groups[N];
	struct peer peer;
	pid_t pid;
	int fd;

	for (gid_t i = 0; i < N; i++)
		groups[i] = TEST_GID + i;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (setgroups(N, groups) < 0 || setresuid(TEST_UID, TEST_UID, TEST_UID) < 0)
			_exit(1);
		(void)connect_here();
		for (;;)
			pause();
	}
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(peer_read(fd, TEST_GID + N - 1, NOWHERE, &peer, NULL), 0);
	ck_assert(peer.is_admin);
	close(fd);
	stop_client(pid);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("peer");
	TCase *tc = tcase_create("peer");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_process_knows_itself_through_a_socket_pair);
	tcase_add_test(tc, a_child_is_identified_and_its_pidfd_is_given);
	tcase_add_test(tc, a_process_that_is_gone_is_said_to_be_gone);
	tcase_add_test(tc, what_is_no_unix_socket_is_refused);
	if (getuid() == 0) {
		tcase_add_test(tc, members_of_the_group_are_administrators_and_others_are_not);
		tcase_add_test(tc, a_member_of_very_many_groups_is_found);
	} else {
		fprintf(stderr, "not root: groups of others are not tested\n");
	}
	suite_add_tcase(s, tc);
	return suite_run(s);
}
