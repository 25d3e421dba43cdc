/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kernel keeps uid, groups, pid and a pidfd of who called connect(2) (SO_PEERPIDFD: Linux
 * 6.5). The cgroup is not among them and is read through the pid. Pids are reused, but not
 * before the process has ended, which its pidfd shows: so what was read is its own if the
 * pidfd says afterwards that it lives.
 */

#include "kern/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "kern/pidfd.h"
#include "kern/place.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5, glibc 2.39 */
#endif

/* Cgroup paths are limited by PATH_MAX; v1 hierarchies add a line each. */
#define CGROUP_TEXT_MAX 65536
/* setgroups(2) takes no more. */
#define GROUPS_MAX 65536

static int is_group_member(int socket_fd, gid_t group, bool *ret)
{
	CLEANUP(freep) gid_t *groups = NULL;
	socklen_t size = 64 * sizeof(*groups);

	for (;;) {
		free(groups);
		groups = malloc(size);
		if (!groups)
			return -ENOMEM;
		if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
			break;
		/* too small: @size is what it needs now */
		if (errno != ERANGE || size > GROUPS_MAX * sizeof(*groups))
			return -errno;
	}
	*ret = false;
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		*ret |= groups[i] == group;
	return 0;
}

static int get_pidfd(int socket_fd)
{
	socklen_t size = sizeof(int);
	int pidfd;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	/* which of them it is when the process is reaped differs between kernels */
	return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
}

/* Sets @slot_* from the "0::" line, if that is a slot of ours. */
static void find_slot(char *text, const char *tree_path, struct peer *peer)
{
	size_t len = strlen(tree_path);
	char *line;

	while ((line = strsep(&text, "\n"))) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line += 3;
		if (strncmp(line, tree_path, len) == 0 && line[len] == '/' &&
		    place_parse(line + len + 1, &peer->slot_node, peer->slot_name) == 0)
			peer->is_in_slot = true;
		return;
	}
}

static int read_cgroup(pid_t pid, char **ret_text)
{
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	r = file_read_all(AT_FDCWD, path, CGROUP_TEXT_MAX, ret_text, NULL);
	return r == -ENOENT ? -ESRCH : r;
}

int peer_read(int socket_fd, gid_t admin_group, const char *tree_path, struct peer *ret_peer,
	      int *ret_pidfd)
{
	CLEANUP(fd_closep) int pidfd = -1;
	CLEANUP(freep) char *text = NULL;
	struct peer peer = {};
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int r;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.pid <= 0) /* of another pid namespace */
		return -ESRCH;
	peer.uid = cred.uid;
	peer.pid = cred.pid;
	peer.is_admin = cred.uid == 0;
	if (!peer.is_admin && admin_group != (gid_t)-1) {
		r = is_group_member(socket_fd, admin_group, &peer.is_admin);
		if (r < 0)
			return r;
		peer.is_admin |= cred.gid == admin_group;
	}
	pidfd = get_pidfd(socket_fd);
	if (pidfd < 0)
		return pidfd;
	r = read_cgroup(peer.pid, &text);
	if (r < 0)
		return r;
	r = pidfd_check_alive(pidfd);
	if (r < 0)
		return r;
	find_slot(text, tree_path, &peer);
	*ret_peer = peer;
	if (ret_pidfd)
		*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}
