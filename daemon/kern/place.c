/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A slot is a directory among the kernel's own files (memory.max, cgroup.procs, …), all of
 * which are "<controller>.<something>". Such names are refused, so that no slot can stand in
 * for a file of a kernel to come.
 */

#include "kern/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *place_format_group(int node, char buf[static PLACE_GROUP_MAX])
{
	if (node == NODE_ANY)
		(void)snprintf(buf, PLACE_GROUP_MAX, "any"); /* fits */
	else
		(void)snprintf(buf, PLACE_GROUP_MAX, "node%d", node);
	return buf;
}

int place_parse_group(const char *text, int *ret_node)
{
	char again[PLACE_GROUP_MAX];
	uint64_t node;

	if (strcmp(text, "any") == 0) {
		*ret_node = NODE_ANY;
		return 0;
	}
	if (strncmp(text, "node", 4) != 0 || parse_u64(text + 4, NODES_MAX - 1, &node) < 0)
		return -EINVAL;
	/* one name a node: "node01" is not ours */
	if (strcmp(place_format_group((int)node, again), text) != 0)
		return -EINVAL;
	*ret_node = (int)node;
	return 0;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool place_is_slot_name(const char *text)
{
	static const char *const kernel_prefixes[] = {
		"cgroup.", "memory.", "cpu.",  "cpuset.",  "io.",  "pids.",
		"rdma.",   "misc.",   "dmem.", "hugetlb.", "irq.", "perf_event.",
	};
	size_t len = strlen(text);

	if (len == 0 || len > SLOT_NAME_MAX || !is_alnum(text[0]))
		return false;
	for (size_t i = 1; i < len; i++) {
		if (!is_alnum(text[i]) && !strchr("._-", text[i]))
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(kernel_prefixes); i++) {
		if (strncmp(text, kernel_prefixes[i], strlen(kernel_prefixes[i])) == 0)
			return false;
	}
	return true;
}

int place_parse(const char *text, int *ret_node, char ret_name[static SLOT_NAME_MAX + 1])
{
	const char *slash = strchr(text, '/');
	char group[PLACE_GROUP_MAX];
	int node;

	if (!slash || (size_t)(slash - text) >= sizeof(group))
		return -EINVAL;
	memcpy(group, text, (size_t)(slash - text));
	group[slash - text] = '\0';
	if (place_parse_group(group, &node) < 0 || !place_is_slot_name(slash + 1))
		return -EINVAL;
	*ret_node = node;
	strcpy(ret_name, slash + 1); /* is_slot_name() checked the length */
	return 0;
}
