/* SPDX-License-Identifier: Apache-2.0 */

/* Memory: the multi-gen LRU, swap, nodes and their huge pages. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/fd.h"
#include "kern/host_private.h"
#include "kern/hugetlb.h"
#include "kern/topology.h"

static void check_lru_gen(struct host_list *list)
{
	char text[16];
	ssize_t n = file_read_small(AT_FDCWD, "/sys/kernel/mm/lru_gen/enabled", text, sizeof(text));

	if (n < 0) {
		host_add(list, "multi-gen LRU", HOST_DEGRADED, "not in this kernel");
		host_remedy(list, "shares settle slower; take a kernel with CONFIG_LRU_GEN");
	} else if (strcmp(text, "0x0000") == 0) {
		host_add(list, "multi-gen LRU", HOST_DEGRADED, "switched off");
		host_remedy(list, "echo y > /sys/kernel/mm/lru_gen/enabled");
	} else {
		host_add(list, "multi-gen LRU", HOST_OK, "on (%s)", text);
	}
}

static void check_swap(struct host_list *list)
{
	char total[FORMAT_BYTES_MAX], free_text[FORMAT_BYTES_MAX];
	uint64_t free_bytes = 0;
	struct sysinfo info;

	if (sysinfo(&info) < 0 || topology_swap_free(&free_bytes) < 0) {
		host_add(list, "swap", HOST_DEGRADED, "cannot be read");
		return;
	}
	if (info.totalswap == 0) {
		host_add(list, "swap", HOST_DEGRADED,
			 "none: what programs have allocated cannot be taken back");
		host_remedy(list, "set up zram (modprobe zram; zramctl; mkswap; swapon) or a swap "
				  "device");
		return;
	}
	host_add(list, "swap", HOST_OK, "%s, %s free",
		 format_bytes((uint64_t)info.totalswap * info.mem_unit, total),
		 format_bytes(free_bytes, free_text));
}

static void check_thp(struct host_list *list)
{
	char text[64], *end, *mode;

	if (file_read_small(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled", text,
			    sizeof(text)) < 0) {
		host_add(list, "transparent huge pages", HOST_OK, "not in this kernel");
		return;
	}
	mode = strchr(text, '['); /* "always [madvise] never" */
	end = mode ? strchr(mode, ']') : NULL;
	if (end)
		*end = '\0';
	host_add(list, "transparent huge pages", HOST_OK, "%s", end ? mode + 1 : text);
}

/* Only where there are some: what is missing is no fault, pools are of 2 MiB pages then. */
static void check_gigantic(struct host_list *list, int node)
{
	static char names[NODES_MAX][32];
	struct hugetlb_counts counts;

	if (hugetlb_read(node, PAGES_GIGANTIC, &counts) < 0 || counts.total == 0)
		return;
	(void)snprintf(names[node], sizeof(names[node]), "1G huge pages on node %d", node);
	host_add(list, names[node], HOST_OK, "%" PRIu64 " of 1 GiB, %" PRIu64 " free", counts.total,
		 counts.free);
}

static void check_hugepages(struct host_list *list, int node)
{
	static char names[NODES_MAX][32];
	struct hugetlb_counts counts;
	int r = hugetlb_read(node, PAGES_HUGE, &counts);

	(void)snprintf(names[node], sizeof(names[node]), "huge pages on node %d", node);
	if (r < 0) {
		host_add(list, names[node], HOST_MISSING, "%s", strerror(-r));
		host_remedy(list, "take a kernel with CONFIG_HUGETLBFS and 2 MiB pages");
		return;
	}
	if (counts.total == 0) {
		host_add(list, names[node], HOST_DEGRADED,
			 "none: there are no pools, or of transparent pages");
		host_remedy(list,
			    "hugepages=64 in section [node %d] of taskmemd.conf, or boot with "
			    "hugepagesz=2M hugepages=%d:64",
			    node, node);
		return;
	}
	host_add(list, names[node], HOST_OK, "%" PRIu64 " of 2 MiB, %" PRIu64 " free", counts.total,
		 counts.free);
}

void host_check_memory(struct host_list *list)
{
	struct node_info nodes[NODES_MAX];
	size_t n = 0, len = 0;
	char sizes[160] = "";
	int r = topology_read(nodes, &n);

	check_lru_gen(list);
	check_swap(list);
	check_thp(list);
	if (r < 0) {
		host_add(list, "NUMA nodes", HOST_MISSING, "%s", strerror(-r));
		return;
	}
	for (size_t i = 0; i < n && len < sizeof(sizes); i++) {
		char text[FORMAT_BYTES_MAX];

		len += (size_t)snprintf(sizes + len, sizeof(sizes) - len, "%snode %d: %s",
					i ? ", " : "", nodes[i].node,
					format_bytes(nodes[i].total_bytes, text));
	}
	host_add(list, "NUMA nodes", HOST_OK, "%zu (%s)", n, sizes);
	for (size_t i = 0; i < n; i++) {
		check_hugepages(list, nodes[i].node);
		check_gigantic(list, nodes[i].node);
	}
}
