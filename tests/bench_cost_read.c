/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The yardstick of bench_cost: microseconds of processor time (bench_yardstick.h).
 *
 * "bench_cost_read for-ever" is a task that does the same ten times a second.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench_yardstick.h"

static void work_for_ever(void)
{
	int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && bench_yardstick_read(fd) > 0)
		usleep(100000);
}

int main(int argc, char *argv[])
{
	uint64_t ns;

	if (argc > 1 && strcmp(argv[1], "for-ever") == 0)
		work_for_ever();
	ns = bench_yardstick_ns();
	if (ns == 0) {
		perror("bench_cost_read: /proc/vmstat");
		return 1;
	}
	printf("%.3f\n", (double)ns / 1000);
	return 0;
}
