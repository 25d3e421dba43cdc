/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where cgroup v2 is mounted, which controllers it has, and switching them on. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum controller { CTL_MEMORY, CTL_CPUSET, CTL_CPU, CTL_IO, CTL_PIDS, CTL_HUGETLB, CONTROLLERS };
#define CTL_BIT(c) (1U << (c))

const char *controller_name(enum controller c); /* "memory" */

struct hierarchy {
	char mount[PATH_MAX];           /* "/sys/fs/cgroup"; "" when there is none */
	char root[PATH_MAX];            /* the cgroup that is mounted there, mostly "/" */
	char v1[CONTROLLERS][PATH_MAX]; /* mount of a controller that is on cgroup v1, or "" */
	bool has_hugetlb_accounting;    /* mount option memory_hugetlb_accounting */
};

/**
 * hierarchy_read() - look the mounts up in /proc/self/mountinfo
 * @below: absolute path: the cgroup2 mount that holds it; NULL: the first one
 *
 * Return: 0 (see @mount for whether there is one) or -errno.
 */
MUST_USE int hierarchy_read(const char *below, struct hierarchy *ret);
/* The same from a mountinfo text (changed by this). */
void hierarchy_parse(char *mountinfo, const char *below, struct hierarchy *ret);

/* Reads cgroup.controllers or cgroup.subtree_control of a directory as CTL_BITs. */
MUST_USE int controllers_read(int dir_fd, const char *file, unsigned *ret_bits);
/* Switches those of @bits on for the children of @dir_fd that are not yet. -EBUSY: there are
 * processes in the directory itself. */
MUST_USE int controllers_enable(int dir_fd, unsigned bits);
/* One sentence: why the host has not got @c on cgroup v2, and the way to get it. */
void controller_explain(const struct hierarchy *h, enum controller c, char *buf, size_t size);
