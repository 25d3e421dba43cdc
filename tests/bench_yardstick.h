/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How fast a processor does what taskmemd does most: it reads the kernel's counters as text and
 * finds the numbers in it. The same on the host and in a virtual machine tells how much slower the
 * latter is.
 */

#include <stdint.h>

/* Processor time that it takes, in ns; the least of a few tries, for what others took away is not
 * the processor's. About half a second in an emulated machine. 0: /proc/vmstat can not be read. */
uint64_t bench_yardstick_ns(void);

/* Once, of @fd of such a file. Returns the sum of the numbers; 0: it can not be read. */
uint64_t bench_yardstick_read(int fd);
