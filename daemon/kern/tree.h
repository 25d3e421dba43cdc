/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The part of the cgroup tree that taskmem owns:
 *
 *   taskmem.slice/taskmem-slots.scope/{hold, node0/<slot>, node1/<slot>, any/<slot>}
 *
 * made through libcgroup, adopted when it is already there.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "kern/cgdir.h"
#include "kern/place.h"

#define TREE_ERROR_MAX 512

struct tree;

struct tree_options {
	const char *cgroup_root; /* delegated cgroup v2 directory; NULL or "": a systemd scope */
	bool pools_only;         /* go on without memory and cpuset controllers */
	bool without_hugetlb;    /* ... and without that one */
};

/**
 * tree_open() - find or make the tree
 * @error: on failure a sentence: what is missing and the way to get it
 *
 * Checks that the host is on cgroup v2 with memory and cpuset (not needed with pools_only) and
 * hugetlb (not with without_hugetlb), enables hugetlb from the root down to the slice, creates the
 * delegated scope with a holder process (libcgroup, D-Bus) or adopts the existing one, and
 * enables the controllers for the inner groups. Idempotent. May block for a second.
 *
 * Return: 0 or -errno (-EOPNOTSUPP: the host lacks something, see @error).
 */
MUST_USE int tree_open(const struct tree_options *options, struct tree **ret_tree,
		       char error[static TREE_ERROR_MAX]);
/* Closes what was opened; cgroups, the holder and tasks stay as they are. NULL is fine. */
void tree_close(struct tree *tree);
/**
 * tree_check() - is the tree still there?
 *
 * Starts a new holder when the old one was killed. Return: CGDIR_OK, CGDIR_GONE (somebody
 * stopped the scope: close the tree and open it again, slots and tasks are lost) or -errno.
 */
MUST_USE int tree_check(struct tree *tree);
/* As in /proc/<pid>/cgroup, "/taskmem.slice/taskmem-slots.scope". Borrowed. */
const char *tree_path(const struct tree *tree);
/* False for a plain cgroup_root. */
bool tree_has_systemd(const struct tree *tree);
/* tree_protect()'s answers are then taken on the loop. Return: 0 or -errno. */
MUST_USE int tree_attach_event(struct tree *tree, sd_event *event);

struct tree_controllers {
	bool memory, cpuset, cpu, io, pids, hugetlb;
};
const struct tree_controllers *tree_get_controllers(const struct tree *tree);

/**
 * tree_open_group() - the inner group of a node (or NODE_ANY), created when missing
 *
 * A group allows every node and CPU; its slots bind themselves. So the pages of a slot can be
 * moved to another node before its processes are (tree_list_nodes()).
 * Return: 0 or -errno.
 */
MUST_USE int tree_open_group(struct tree *tree, int node, struct cgdir **ret_cg);

/**
 * tree_create_slot() - make the cgroup of a slot, or open it if it exists
 * @policy: name, node, min and max are set before any process can be in it;
 *          cpuset.mems/cpus = the node's, memory.max only for a new one
 *
 * A new slot has memory.oom.group = 1 (its processes live and die together) and no huge
 * pages (hugetlb.2MB.max and rsvd.max are 0) until they are granted. An empty one that was
 * left half made by a crash is finished as if it were new.
 *
 * Return: 0, 1 (it existed and was opened; limits untouched), or -errno (-EINVAL also for
 * a name that place_is_slot_name() refuses).
 */
MUST_USE int tree_create_slot(struct tree *tree, const struct slot_policy *policy,
			      struct cgdir **ret_cg);
#define TREE_NODES_MAX 200
/* What cpuset.mems of a slot on @node is, as text: "1", or "0-3" for NODE_ANY. 0 or -errno. */
MUST_USE int tree_list_nodes(struct tree *tree, int node, char ret_text[static TREE_NODES_MAX]);
/* Binds the cgroup of a slot to @node as a new one is, when it was bound to another. Nobody should
 * be in it: else this waits for their pages. Return: 0 or -errno. */
MUST_USE int tree_bind_slot(struct tree *tree, int node, struct cgdir *cg);
/* Removes an empty slot. CGDIR_BUSY when processes are in it; CGDIR_OK if it is gone; -errno.
 * Just after its last process ended it may be BUSY for some milliseconds more. */
MUST_USE int tree_remove_slot(struct tree *tree, int node, const char *name);

/* Calls @fn for each existing slot directory: name, node, opened cgroup (owned by @fn). Ends
 * with @fn's result when that is not 0. */
typedef int (*tree_slot_fn)(int node, const char *name, struct cgdir *cg, void *userdata);
MUST_USE int tree_foreach_slot(struct tree *tree, tree_slot_fn fn, void *userdata);
/* The same for the tree whose directory is @tree_fd. */
MUST_USE int tree_foreach_slot_below(int tree_fd, tree_slot_fn fn, void *userdata);

/**
 * tree_attach() - move a process into a slot (libcgroup)
 * @pidfd: of the process: checked to be still alive afterwards, so that a reused pid
 *         is noticed (-ESRCH)
 *
 * Return: 0 or -errno (-ENOENT: no such slot).
 */
MUST_USE int tree_attach(struct tree *tree, int node, const char *name, pid_t pid, int pidfd);

/**
 * tree_protect() - guarantee @bytes to the whole tree against the rest of the host
 *
 * Sets MemoryMin= of the scope and of taskmem.slice through D-Bus (SetUnitProperties,
 * runtime); for a plain cgroup_root writes memory.min. Asynchronous: does not wait for the
 * answer; a refusal is logged at debug and returned by the next call.
 */
MUST_USE int tree_protect(struct tree *tree, uint64_t bytes);
