/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* As long as the process behind a pidfd is not reaped, its pid means no other. */

#include <errno.h>
#include <poll.h>

#include "base/attr.h"

/* Return: 0, or -ESRCH once it has ended, -errno. */
MUST_USE static inline int pidfd_check_alive(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int n = poll(&pfd, 1, 0);

	if (n < 0)
		return -errno;
	if (n > 0 && pfd.revents & POLLNVAL)
		return -EBADF;
	return n > 0 ? -ESRCH : 0;
}
