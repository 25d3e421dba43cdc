/* SPDX-License-Identifier: Apache-2.0 */

/* What working sets are measured with: the multi-gen LRU's file in debugfs, and DAMON. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/damon.h"
#include "kern/host_private.h"
#include "kern/lru_gen.h"

#define AGES "page ages"
#define ONLY_REFAULTS "only refaults and stall are known of working sets"

/* "none [integrity] confidentiality": which one is chosen, if it is not "none". */
static bool is_locked_down(void)
{
	char text[64];

	return file_read_small(AT_FDCWD, "/sys/kernel/security/lockdown", text, sizeof(text)) > 0 &&
	       !strstr(text, "[none]");
}

static void check_denied(struct host_list *list)
{
	host_add(list, AGES, HOST_DEGRADED, "%s may not be written", LRU_GEN_PATH);
	if (is_locked_down())
		host_remedy(list,
			    "kernel lockdown (Secure Boot) closes debugfs; DAMON works without "
			    "it: tmctl show NAME --source damon");
	else
		host_remedy(list,
			    "ReadWritePaths=-" LRU_GEN_PATH " in taskmemd.service, and systemctl "
			    "restart taskmemd once debugfs is mounted");
}

static void check_ages(struct host_list *list)
{
	CLEANUP(fd_closep) int fd = -1;
	int r = lru_gen_check_enabled();

	if (r != LRU_GEN_OK) {
		/* the multi-gen LRU has a line of its own, with the remedy */
		host_add(list, AGES, HOST_DEGRADED, "%s%s",
			 r == LRU_GEN_OFF ? "the multi-gen LRU or its page-table walk is off: "
					  : "no multi-gen LRU: ",
			 ONLY_REFAULTS);
		if (r == LRU_GEN_OFF)
			host_remedy(list, "echo y > /sys/kernel/mm/lru_gen/enabled");
		return;
	}
	r = lru_gen_open(LRU_GEN_PATH, &fd);
	if (r == LRU_GEN_OK) {
		host_add(list, AGES, HOST_OK, "working sets are measured with %s", LRU_GEN_PATH);
	} else if (r == LRU_GEN_DENIED) {
		check_denied(list);
	} else if (r == LRU_GEN_ABSENT) {
		host_add(list, AGES, HOST_DEGRADED, "debugfs is not mounted: %s", ONLY_REFAULTS);
		host_remedy(list, "systemctl unmask sys-kernel-debug.mount; systemctl start "
				  "sys-kernel-debug.mount; systemctl restart taskmemd");
	} else {
		host_add(list, AGES, HOST_DEGRADED, "%s: %s", LRU_GEN_PATH, strerror(-r));
	}
}

static void check_damon(struct host_list *list)
{
	int r = damon_check(DAMON_PATH);

	if (r == DAMON_OK) {
		host_add(list, "DAMON", HOST_OK, "on request: tmctl show NAME --source damon");
	} else if (r == DAMON_DENIED) {
		host_add(list, "DAMON", HOST_DEGRADED, "its files may not be written");
		host_remedy(list, "ReadWritePaths=-/sys/kernel/mm/damon in taskmemd.service");
	} else if (r == DAMON_ABSENT) {
		host_add(list, "DAMON", HOST_OK,
			 "not in this kernel (wanted only on request: "
			 "CONFIG_DAMON_VADDR, CONFIG_DAMON_SYSFS)");
	} else {
		host_add(list, "DAMON", HOST_DEGRADED, "%s", strerror(r < 0 ? -r : EBUSY));
	}
}

void host_check_heat(struct host_list *list)
{
	check_ages(list);
	check_damon(list);
}
