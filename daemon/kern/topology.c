/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libnuma knows the nodes and their sizes. It reads sysfs when the program is loaded, so a
 * machine without NUMA (no /sys/devices/system/node, or only node0) is one node here that has
 * all of the machine's memory.
 */

#include "kern/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/fd.h"
#include "kern/hugetlb.h"

static uint64_t count_pages(int node, enum page_kind kind)
{
	struct hugetlb_counts counts;

	/* none is what a machine without them has */
	return hugetlb_read(node, kind, &counts) < 0 ? 0 : counts.total;
}

static int read_single(struct node_info nodes[static NODES_MAX], size_t *ret_n)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return -errno;
	nodes[0] = (struct node_info){
		.node = 0,
		.total_bytes = (uint64_t)info.totalram * info.mem_unit,
		.hugepages = count_pages(0, PAGES_HUGE),
		.gigantic = count_pages(0, PAGES_GIGANTIC),
	};
	*ret_n = 1;
	return 0;
}

int topology_read(struct node_info nodes[static NODES_MAX], size_t *ret_n)
{
	size_t n = 0;

	if (numa_available() < 0)
		return read_single(nodes, ret_n);
	for (int node = 0; node <= numa_max_node() && node < NODES_MAX; node++) {
		long long size;

		if (!numa_bitmask_isbitset(numa_nodes_ptr, (unsigned)node))
			continue;
		size = numa_node_size64(node, NULL);
		if (size <= 0) /* CPUs without memory */
			continue;
		nodes[n++] = (struct node_info){
			.node = node,
			.total_bytes = (uint64_t)size,
			.hugepages = count_pages(node, PAGES_HUGE),
			.gigantic = count_pages(node, PAGES_GIGANTIC),
		};
	}
	/* some kernels leave memory that was plugged in later out of the node's MemTotal */
	if (n == 0 || (n == 1 && nodes[0].node == 0))
		return read_single(nodes, ret_n);
	*ret_n = n;
	return 0;
}

int topology_cpus(int node, char *buf, size_t size)
{
	char path[80];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	n = file_read_small(AT_FDCWD, path, buf, size);
	if (n == -ENOENT && node == 0)
		n = file_read_small(AT_FDCWD, "/sys/devices/system/cpu/online", buf, size);
	return n < 0 ? (int)n : 0;
}

int topology_parse_nodes(const char *list, uint64_t *ret_bits)
{
	char copy[512], *rest = copy, *part;
	uint64_t bits = 0;

	if (strlen(list) >= sizeof(copy))
		return -ERANGE;
	strcpy(copy, list);
	if (!copy[0]) {
		*ret_bits = 0;
		return 0;
	}
	while ((part = strsep(&rest, ","))) {
		char *last_text = part, *first_text = strsep(&last_text, "-");
		uint64_t first, last;
		int r = parse_u64(first_text, NODES_MAX - 1, &first);

		if (r < 0)
			return r;
		last = first;
		if (last_text)
			r = parse_u64(last_text, NODES_MAX - 1, &last);
		if (r < 0)
			return r;
		if (last < first)
			return -EINVAL;
		for (uint64_t node = first; node <= last; node++)
			bits |= UINT64_C(1) << node;
	}
	*ret_bits = bits;
	return 0;
}

/* The value of "Node 0 KEY:   123 kB" or "KEY:   123 kB", in bytes; 0 if it is not there. */
static uint64_t meminfo_bytes(const char *text, const char *key)
{
	unsigned long long kib = 0;
	const char *at = strstr(text, key);

	if (at)
		(void)sscanf(at + strlen(key), ": %llu", &kib);
	return kib * 1024;
}

int topology_available(int node, uint64_t *ret_bytes)
{
	char path[64], text[4096];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	n = file_read_small(AT_FDCWD, path, text, sizeof(text));
	if (n == -ENOENT && node == 0)
		n = file_read_small(AT_FDCWD, "/proc/meminfo", text, sizeof(text));
	if (n < 0)
		return (int)n;
	*ret_bytes = meminfo_bytes(text, "MemFree") + meminfo_bytes(text, "Active(file)") +
		     meminfo_bytes(text, "Inactive(file)") + meminfo_bytes(text, "SReclaimable");
	return 0;
}

int topology_swap_free(uint64_t *ret_bytes)
{
	CLEANUP(freep) char *text = NULL;
	uint64_t kib = 0;
	char *rest, *line;
	int r = file_read_all(AT_FDCWD, "/proc/swaps", 1U << 16, &text, NULL);

	if (r == -ENOENT) { /* a kernel built without swap */
		*ret_bytes = 0;
		return 0;
	}
	if (r < 0)
		return r;
	rest = text;
	(void)strsep(&rest, "\n"); /* the headings */
	while ((line = strsep(&rest, "\n"))) {
		unsigned long long size, used;

		if (sscanf(line, "%*s %*s %llu %llu", &size, &used) == 2 && used <= size)
			kib += size - used;
	}
	*ret_bytes = kib * 1024;
	return 0;
}
