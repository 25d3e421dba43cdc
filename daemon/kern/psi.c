/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A trigger is a line written to memory.pressure, one for each open file; poll then gives POLLPRI.
 * With CAP_SYS_RESOURCE at open the kernel runs a real-time thread for the cgroup that looks ten
 * times a window. Without it (6.5 and later) it uses the averaging that runs every 2 s anyway and
 * refuses other windows with EINVAL (seen on 6.12). The daemon has not got that capability, and
 * does not need it: a trigger wakes it, the numbers come from total=, which is exact at each read.
 *
 * A file that exists but cannot be opened with EOPNOTSUPP, or is not there, is a kernel with PSI
 * off.
 */

#include "kern/psi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

#define WINDOW_STEP_US UINT64_C(2000000)
#define WINDOW_LEAST_US UINT64_C(500000)
#define WINDOW_MOST_US UINT64_C(10000000)

static int to_cond(int r)
{
	return r == -EOPNOTSUPP ? CGDIR_ABSENT : r;
}

static int arm(int fd, enum psi_kind kind, uint32_t stall_permille, uint64_t window_us)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64,
			 kind == PSI_SOME ? "some" : "full", window_us / 1000 * stall_permille,
			 window_us);

	/* with its 0, as the kernel's documentation does */
	return write(fd, line, (size_t)n + 1) < 0 ? -errno : 0;
}

int psi_open_trigger(struct cgdir *cg, enum psi_kind kind, uint32_t stall_permille,
		     uint64_t window_us, int *ret_fd, uint64_t *ret_window_us)
{
	CLEANUP(fd_closep) int fd = -1;
	int r;

	if (stall_permille == 0 || stall_permille > 1000 || window_us < WINDOW_LEAST_US ||
	    window_us > WINDOW_MOST_US)
		return -EINVAL;
	r = to_cond(cgdir_open_file(cg, CG_MEMORY_PRESSURE, &fd));
	if (r != CGDIR_OK)
		return r;
	r = arm(fd, kind, stall_permille, window_us);
	if ((r == -EINVAL || r == -EPERM) && window_us % WINDOW_STEP_US != 0) {
		window_us += WINDOW_STEP_US - window_us % WINDOW_STEP_US;
		r = arm(fd, kind, stall_permille, window_us);
	}
	if (r < 0)
		return to_cond(r);
	*ret_fd = TAKE_FD(fd);
	*ret_window_us = window_us;
	return CGDIR_OK;
}
