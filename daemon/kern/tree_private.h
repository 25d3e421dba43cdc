/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by tree.c and tree_open.c. */

#include <limits.h>

#include "kern/scope.h"
#include "kern/tree.h"

struct tree {
	int dir_fd; /* of the scope or of cgroup_root */
	char libcg
		[PATH_MAX]; /* its path as libcgroup wants it: below the mount, no slash in front */
	char path[PATH_MAX];      /* its path in /proc/<pid>/cgroup */
	unsigned controller_bits; /* enabled for the groups and slots */
	struct tree_controllers controllers;
	struct scope *scope; /* NULL for a plain cgroup_root */
	pid_t holder;        /* started by this process, our child; 0: none */
};
