/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A controller is either on cgroup v2 or bound to a v1 mount, never both; a mounted v1
 * hierarchy takes it away from v2 for the whole machine. So when one is missing in
 * cgroup.controllers, mountinfo tells whether another boot option would bring it.
 */

#include "kern/hierarchy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

#define MOUNTINFO_MAX (4U << 20)

static const char *const names[CONTROLLERS] = {
	[CTL_MEMORY] = "memory", [CTL_CPUSET] = "cpuset", [CTL_CPU] = "cpu",
	[CTL_IO] = "io",         [CTL_PIDS] = "pids",     [CTL_HUGETLB] = "hugetlb",
};

const char *controller_name(enum controller c)
{
	return names[c];
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool has_option(const char *options, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = options; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, name, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}

static bool is_below(const char *path, const char *mount)
{
	size_t len = strlen(mount);

	return strncmp(path, mount, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* "id parent dev root mount options optional… - type source superoptions" */
static void parse_line(char *line, const char *below, struct hierarchy *h)
{
	char *dash = strstr(line, " - "), *type, *super, *root, *mount;

	if (!dash)
		return;
	*dash = '\0';
	super = dash + 3;
	type = strsep(&super, " ");
	if (!super || strncmp(type, "cgroup", 6) != 0)
		return;
	(void)strsep(&super, " "); /* the source says nothing */
	for (int i = 0; i < 3; i++)
		(void)strsep(&line, " "); /* nor do id, parent and device */
	root = strsep(&line, " ");
	mount = strsep(&line, " ");
	if (!super || !root || !mount)
		return;
	unescape(root);
	unescape(mount);

	if (strcmp(type, "cgroup") == 0) {
		for (size_t c = 0; c < CONTROLLERS; c++) {
			/* the v1 name of io */
			const char *v1_name = c == CTL_IO ? "blkio" : names[c];

			if (has_option(super, v1_name))
				(void)snprintf(h->v1[c], sizeof(h->v1[c]), "%s", mount);
		}
		return;
	}
	if (strcmp(type, "cgroup2") != 0)
		return;
	if (below ? !is_below(below, mount) || strlen(mount) < strlen(h->mount)
		  : h->mount[0] != '\0')
		return;
	(void)snprintf(h->mount, sizeof(h->mount), "%s", mount);
	(void)snprintf(h->root, sizeof(h->root), "%s", root);
	h->has_hugetlb_accounting = has_option(super, "memory_hugetlb_accounting");
}

void hierarchy_parse(char *mountinfo, const char *below, struct hierarchy *ret)
{
	char *line;

	memset(ret, 0, sizeof(*ret));
	while ((line = strsep(&mountinfo, "\n")))
		parse_line(line, below, ret);
}

int hierarchy_read(const char *below, struct hierarchy *ret)
{
	CLEANUP(freep) char *text = NULL;
	int r = file_read_all(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL);

	if (r < 0)
		return r;
	hierarchy_parse(text, below, ret);
	return 0;
}

int controllers_read(int dir_fd, const char *file, unsigned *ret_bits)
{
	char buf[512], *rest = buf, *word;
	unsigned bits = 0;
	ssize_t n = file_read_small(dir_fd, file, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	while ((word = strsep(&rest, " "))) {
		for (size_t c = 0; c < CONTROLLERS; c++) {
			if (strcmp(word, names[c]) == 0)
				bits |= CTL_BIT(c);
		}
	}
	*ret_bits = bits;
	return 0;
}

int controllers_enable(int dir_fd, unsigned bits)
{
	char text[128];
	size_t len = 0;
	unsigned on;
	int r = controllers_read(dir_fd, "cgroup.subtree_control", &on);

	if (r < 0)
		return r;
	for (size_t c = 0; c < CONTROLLERS; c++) {
		if (bits & ~on & CTL_BIT(c))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "+%s ", names[c]);
	}
	return len == 0 ? 0 : file_write_small(dir_fd, "cgroup.subtree_control", text);
}

void controller_explain(const struct hierarchy *h, enum controller c, char *buf, size_t size)
{
	if (h->v1[c][0])
		(void)snprintf(buf, size,
			       "the %s controller is on cgroup v1 (%s): boot with cgroup_no_v1=all "
			       "and without systemd.unified_cgroup_hierarchy=0",
			       names[c], h->v1[c]);
	else
		(void)snprintf(buf, size,
			       "the %s controller is not in %s/cgroup.controllers: remove "
			       "cgroup_disable=%s from the kernel's command line, or take a kernel "
			       "built with CONFIG_%s",
			       names[c], h->mount, names[c],
			       c == CTL_MEMORY    ? "MEMCG"
			       : c == CTL_CPUSET  ? "CPUSETS"
			       : c == CTL_HUGETLB ? "CGROUP_HUGETLB"
			       : c == CTL_PIDS    ? "CGROUP_PIDS"
			       : c == CTL_CPU     ? "CGROUP_SCHED"
						  : "BLK_CGROUP");
}
