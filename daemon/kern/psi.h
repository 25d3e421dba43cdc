/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A descriptor that tells when the memory pressure of a cgroup is high. */

#include <stdint.h>

#include "base/attr.h"
#include "kern/cgdir.h"

enum psi_kind { PSI_SOME, PSI_FULL };

/**
 * psi_open_trigger() - a descriptor with EPOLLPRI when tasks stall
 * @stall_permille: 1 .. 1000, of the window
 * @window_us:      wanted, 500000 .. 10000000; without CAP_SYS_RESOURCE the kernel takes only
 *                  multiples of 2 s, and it becomes the next of these
 * @ret_fd:         the caller's; EPOLLERR when the cgroup is gone. At most one event a window.
 *
 * Return: CGDIR_OK, CGDIR_GONE, CGDIR_ABSENT (no PSI), -EINVAL or -errno.
 */
MUST_USE int psi_open_trigger(struct cgdir *cg, enum psi_kind kind, uint32_t stall_permille,
			      uint64_t window_us, int *ret_fd, uint64_t *ret_window_us);
