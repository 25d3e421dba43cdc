/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For who times his own work on a machine on which others work, too. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#include "base/fd.h"

/* How long this thread has been ready to run while others ran; 0 where the kernel does not count it. */
static inline uint64_t preempted_ns(void)
{
	char text[64];
	unsigned long long ns;

	if (file_read_small(AT_FDCWD, "/proc/thread-self/schedstat", text, sizeof(text)) < 0 ||
	    sscanf(text, "%*u %llu", &ns) != 1)
		return 0;
	return ns;
}
