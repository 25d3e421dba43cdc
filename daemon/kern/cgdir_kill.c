/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/cgdir.h"
#include "kern/pidfd.h"

/*
 * A signal to a process of another user needs CAP_KILL, even of root; writing cgroup.kill needs
 * the file. A cgroup below one with processes may be made and used as long as no controller is
 * enabled for it, and charges stay where they are (6.12).
 */

#define GROUP "killed"

static int condition(int error)
{
	switch (error) {
	case ESRCH:
	case ENODEV:
		return CGDIR_GONE;
	case ENOENT:
		return CGDIR_ABSENT;
	default:
		return -error;
	}
}

int cgdir_kill_process(struct cgdir *cg, pid_t pid, int pidfd)
{
	CLEANUP(fd_closep) int dir_fd = -1;
	char text[16];
	int r;

	if (mkdirat(cgdir_dir_fd(cg), GROUP, 0755) < 0 && errno != EEXIST)
		return errno == ENOENT ? CGDIR_GONE : condition(errno);
	dir_fd = openat(cgdir_dir_fd(cg), GROUP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return condition(errno);
	/* as long as it lives its pid is its own */
	r = pidfd_check_alive(pidfd);
	if (r < 0)
		return condition(-r);
	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	r = file_write_small(dir_fd, "cgroup.procs", text);
	if (r == 0)
		r = file_write_small(dir_fd, "cgroup.kill", "1");
	return r < 0 ? condition(-r) : CGDIR_OK;
}

void cgdir_forget_killed(struct cgdir *cg)
{
	/* it may never have been there, or not be empty yet */
	(void)unlinkat(cgdir_dir_fd(cg), GROUP, AT_REMOVEDIR);
}
