/* SPDX-License-Identifier: Apache-2.0 */

/* Cgroup v2: the mount, each controller, the files that depend on the kernel's version. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hierarchy.h"
#include "kern/host_private.h"

static void check_controller(struct host_list *list, const struct hierarchy *h, unsigned at_hand,
			     enum controller c)
{
	static const struct {
		const char *name, *use;
		bool is_needed;
	} controllers[CONTROLLERS] = {
		[CTL_MEMORY] = { "memory controller", "limits and guarantees", true },
		[CTL_CPUSET] = { "cpuset controller", "binding slots to nodes", true },
		[CTL_CPU] = { "cpu controller", "CPU use per slot", false },
		[CTL_IO] = { "io controller", "I/O use per slot", false },
		[CTL_PIDS] = { "pids controller", "numbers of processes", false },
		[CTL_HUGETLB] = { "hugetlb controller", "huge pages per slot", true },
	};
	char why[sizeof(list->checks[0].remedy)];

	if (at_hand & CTL_BIT(c)) {
		host_add(list, controllers[c].name, HOST_OK, "%s", controllers[c].use);
		return;
	}
	host_add(list, controllers[c].name, controllers[c].is_needed ? HOST_MISSING : HOST_DEGRADED,
		 "%s: not on cgroup v2", controllers[c].use);
	controller_explain(h, c, why, sizeof(why));
	host_remedy(list, "%s", why);
}

static void check_reclaim(struct host_list *list, int mount_fd)
{
	if (faccessat(mount_fd, "memory.reclaim", F_OK, 0) == 0) {
		host_add(list, "memory.reclaim", HOST_OK, "caps are lowered without OOM kills");
		return;
	}
	host_add(list, "memory.reclaim", HOST_DEGRADED,
		 "caps can only be lowered when a slot shrinks by itself");
	host_remedy(list, "Linux 5.19 and later have it, with the memory controller on cgroup v2");
}

static void check_pressure(struct host_list *list)
{
	CLEANUP(fd_closep) int fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t n = fd < 0 ? -errno : fd_read_small(fd, text, sizeof(text));

	if (n > 0) {
		host_add(list, "pressure stall information", HOST_OK,
			 "memory.pressure is measured");
		return;
	}
	host_add(list, "pressure stall information", HOST_DEGRADED,
		 "%s: need is seen by refaults only", strerror(n < 0 ? (int)-n : ENODATA));
	host_remedy(list, "boot with psi=1 and a kernel built with CONFIG_PSI");
}

void host_check_cgroup(struct host_list *list)
{
	CLEANUP(freep) struct hierarchy *h = malloc(sizeof(*h));
	CLEANUP(fd_closep) int mount_fd = -1;
	unsigned at_hand = 0;
	int r = h ? hierarchy_read(/* below= */ NULL, h) : -ENOMEM;

	if (r < 0) {
		host_add(list, "cgroup v2", HOST_MISSING, "/proc/self/mountinfo: %s", strerror(-r));
		return;
	}
	if (!h->mount[0]) {
		host_add(list, "cgroup v2", HOST_MISSING, "not mounted");
		host_remedy(list, "boot with cgroup_no_v1=all and without "
				  "systemd.unified_cgroup_hierarchy=0");
		return;
	}
	mount_fd = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = mount_fd < 0 ? -errno : controllers_read(mount_fd, "cgroup.controllers", &at_hand);
	if (r < 0) {
		host_add(list, "cgroup v2", HOST_MISSING, "%.120s: %s", h->mount, strerror(-r));
		return;
	}
	host_add(list, "cgroup v2", HOST_OK, "mounted at %.160s", h->mount);
	for (size_t c = 0; c < CONTROLLERS; c++)
		check_controller(list, h, at_hand, c);
	check_reclaim(list, mount_fd);
	check_pressure(list);
	/* By its version: to see the difference a slot has to grow in the very moment. */
	if (host_has_kernel(6, 16))
		host_add(list, "non-blocking limits", HOST_OK,
			 "used: a slot that outgrows a max just written gets the old one back");
	else
		host_add(list, "non-blocking limits", HOST_OK,
			 "Linux 6.16 has them; here a slot that outgrows a max just written is "
			 "reclaimed by the kernel, or loses a process if nothing can be");
	host_add(list, "huge pages in memory.current", HOST_OK, "%s",
		 h->has_hugetlb_accounting
			 ? "counted (memory_hugetlb_accounting): memory.max limits them, too"
			 : "not counted: memory.max and huge pages are apart");
}
