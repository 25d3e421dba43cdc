/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Directories are made, filled and removed through libcgroup. It switches controllers on in
 * the chain above a new cgroup; everything it could find missing there was switched on when
 * the tree and the group were opened, so that this is a no-op and never an error.
 *
 * cgroup_create_cgroup() removes the directory when a value is refused, also one that it did
 * not make, so it is called for new names only. memory.oom.group is the last value of the
 * memory controller and memory the last controller: a slot that has it set is complete, one
 * that has not and is empty was left by a crash and gets its values again.
 */

#include "kern/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hierarchy.h"
#include "kern/libcg.h"
#include "kern/pidfd.h"
#include "kern/topology.h"
#include "kern/tree_private.h"

#define VALUES_MAX 8

const char *tree_path(const struct tree *tree)
{
	return tree->path;
}

const struct tree_controllers *tree_get_controllers(const struct tree *tree)
{
	return &tree->controllers;
}

bool tree_has_systemd(const struct tree *tree)
{
	return tree->scope != NULL;
}

int tree_attach_event(struct tree *tree, sd_event *event)
{
	return tree->scope ? scope_attach_event(tree->scope, event) : 0;
}

int tree_protect(struct tree *tree, uint64_t bytes)
{
	char text[32];

	if (tree->scope)
		return scope_set_memory_min(tree->scope, bytes);
	(void)snprintf(text, sizeof(text), "%" PRIu64, bytes); /* 20 digits fit */
	return file_write_small(tree->dir_fd, "memory.min", text);
}

struct values {
	struct libcg_value v[VALUES_MAX];
	size_t n;
};

PRINTF_LIKE(4, 5)
static int add_value(struct values *vs, const char *controller, const char *file,
		     const char *format, ...)
{
	struct libcg_value *v = &vs->v[vs->n];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(v->text, sizeof(v->text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(v->text))
		return -E2BIG;
	v->controller = controller;
	v->file = file;
	vs->n++;
	return 0;
}

static int add_bytes(struct values *vs, const char *file, uint64_t bytes)
{
	if (bytes == BYTES_UNLIMITED)
		return add_value(vs, "memory", file, "max");
	return add_value(vs, "memory", file, "%" PRIu64, bytes);
}

static int add_cpuset(const struct tree *tree, int node, struct values *vs)
{
	char cpus[sizeof(vs->v[0].text)];
	int r;

	if (!tree->controllers.cpuset || node == NODE_ANY)
		return 0;
	r = add_value(vs, "cpuset", "cpuset.mems", "%d", node);
	if (r < 0)
		return r;
	/* A list too long for a value, or a node without CPUs: the slot may run anywhere. */
	r = topology_cpus(node, cpus, sizeof(cpus));
	if (r < 0 || !cpus[0])
		return 0;
	return add_value(vs, "cpuset", "cpuset.cpus", "%s", cpus);
}

static int slot_values(const struct tree *tree, const struct slot_policy *policy, struct values *vs)
{
	int r = 0;

	if (tree->controllers.hugetlb) {
		r = add_value(vs, "hugetlb", "hugetlb.2MB.max", "0");
		if (r == 0)
			r = add_value(vs, "hugetlb", "hugetlb.2MB.rsvd.max", "0");
	}
	if (r == 0)
		r = add_cpuset(tree, policy->node, vs);
	if (r < 0 || !tree->controllers.memory)
		return r;
	r = add_bytes(vs, "memory.min", policy->min_bytes);
	if (r == 0)
		r = add_bytes(vs, "memory.max", policy->max_bytes);
	if (r == 0)
		r = add_value(vs, "memory", "memory.oom.group", "1");
	return r;
}

static void group_path(const struct tree *tree, int node, char *buf, size_t size)
{
	char group[PLACE_GROUP_MAX];

	(void)snprintf(buf, size, "%s%s%s", tree->libcg, tree->libcg[0] ? "/" : "",
		       place_format_group(node, group)); /* the callers' buffers fit */
}

static void slot_path(const struct tree *tree, int node, const char *name, char *buf, size_t size)
{
	char group[PATH_MAX + PLACE_GROUP_MAX];

	group_path(tree, node, group, sizeof(group));
	(void)snprintf(buf, size, "%s/%s", group, name); /* the callers' buffers fit */
}

/* "node0/ingest", relative to the tree's directory. */
static void slot_place(int node, const char *name, char place[static PLACE_MAX])
{
	char group[PLACE_GROUP_MAX];

	(void)snprintf(place, PLACE_MAX, "%s/%s", place_format_group(node, group), name);
}

int tree_list_nodes(struct tree *tree, int node, char ret_text[static TREE_NODES_MAX])
{
	ssize_t n;

	if (node != NODE_ANY) {
		(void)snprintf(ret_text, TREE_NODES_MAX, "%d", node);
		return 0;
	}
	n = file_read_small(tree->dir_fd, "cpuset.mems.effective", ret_text, TREE_NODES_MAX);
	return n < 0 ? (int)n : 0;
}

int tree_bind_slot(struct tree *tree, int node, struct cgdir *cg)
{
	struct values vs = {};
	int r;

	if (!tree->controllers.cpuset)
		return 0;
	r = add_cpuset(tree, node, &vs);
	if (r == 0 && node == NODE_ANY) /* empty: what the group has */
		r = add_value(&vs, "cpuset", "cpuset.mems", "\n");
	if (r == 0 && node == NODE_ANY)
		r = add_value(&vs, "cpuset", "cpuset.cpus", "\n");
	for (size_t i = 0; i < vs.n && r == 0; i++)
		r = cgdir_write_text(cg,
				     strcmp(vs.v[i].file, "cpuset.mems") == 0 ? CG_CPUSET_MEMS
									      : CG_CPUSET_CPUS,
				     vs.v[i].text);
	return r > 0 ? -EIO : r;
}

/* An earlier version bound the group to its node: then no slot in it could be moved. */
static int unbind_group(struct tree *tree, struct cgdir *cg)
{
	char bound[TREE_NODES_MAX], all[TREE_NODES_MAX];
	int r = cgdir_read_text(cg, CG_CPUSET_MEMS, bound, sizeof(bound));

	if (r != CGDIR_OK || bound[strspn(bound, " \n")] == '\0')
		return 0;
	r = tree_list_nodes(tree, NODE_ANY, all);
	if (r == 0)
		r = cgdir_write_text(cg, CG_CPUSET_MEMS, all);
	return r > 0 ? -EIO : r;
}

int tree_open_group(struct tree *tree, int node, struct cgdir **ret_cg)
{
	CLEANUP(cgdir_closep) struct cgdir *cg = NULL;
	char path[PATH_MAX + PLACE_MAX], group[PLACE_GROUP_MAX];
	int r = cgdir_open(tree->dir_fd, place_format_group(node, group), &cg);

	if (r == CGDIR_GONE) {
		group_path(tree, node, path, sizeof(path));
		r = libcg_create(path, NULL, 0);
		if (r == 0)
			r = cgdir_open(tree->dir_fd, group, &cg);
	}
	if (r == CGDIR_GONE)
		return -ENOENT;
	if (r < 0)
		return r;
	r = tree->controllers.cpuset ? unbind_group(tree, cg) : 0;
	if (r < 0)
		return r;
	r = controllers_enable(cgdir_dir_fd(cg), tree->controller_bits);
	if (r < 0)
		return r;
	*ret_cg = TAKE(cg);
	return 0;
}

/* An empty slot without memory.oom.group: see the top. */
static bool is_half_made(const struct tree *tree, struct cgdir *cg)
{
	bool is_populated;
	char text[8];

	return tree->controllers.memory &&
	       file_read_small(cgdir_dir_fd(cg), "memory.oom.group", text, sizeof(text)) == 1 &&
	       text[0] == '0' && cgdir_is_populated(cg, &is_populated) == CGDIR_OK && !is_populated;
}

int tree_create_slot(struct tree *tree, const struct slot_policy *policy, struct cgdir **ret_cg)
{
	CLEANUP(cgdir_closep) struct cgdir *group = NULL;
	CLEANUP(cgdir_closep) struct cgdir *cg = NULL;
	char path[PATH_MAX + PLACE_MAX];
	struct values vs = {};
	bool is_new;
	int r;

	if (!place_is_slot_name(policy->name))
		return -EINVAL;
	r = tree_open_group(tree, policy->node, &group);
	if (r < 0)
		return r;
	r = cgdir_open(cgdir_dir_fd(group), policy->name, &cg);
	if (r < 0)
		return r;
	is_new = r == CGDIR_GONE;
	if (!is_new && !is_half_made(tree, cg)) {
		*ret_cg = TAKE(cg);
		return 1;
	}

	r = slot_values(tree, policy, &vs);
	if (r < 0)
		return r;
	slot_path(tree, policy->node, policy->name, path, sizeof(path));
	r = is_new ? libcg_create(path, vs.v, vs.n) : libcg_modify(path, vs.v, vs.n);
	if (r < 0)
		return r;
	if (is_new) {
		r = cgdir_open(cgdir_dir_fd(group), policy->name, &cg);
		if (r != CGDIR_OK)
			return r < 0 ? r : -ENOENT;
	}
	*ret_cg = TAKE(cg);
	return 0;
}

static bool slot_exists(const struct tree *tree, int node, const char *name)
{
	char place[PLACE_MAX];

	slot_place(node, name, place);
	return faccessat(tree->dir_fd, place, F_OK, 0) == 0;
}

int tree_remove_slot(struct tree *tree, int node, const char *name)
{
	char path[PATH_MAX + PLACE_MAX];
	int r;

	if (!place_is_slot_name(name))
		return -EINVAL;
	if (!slot_exists(tree, node, name))
		return CGDIR_OK;
	slot_path(tree, node, name, path, sizeof(path));
	r = libcg_delete(path);
	if (!slot_exists(tree, node, name))
		return CGDIR_OK;
	return r == 0 || r == -EBUSY ? CGDIR_BUSY : r;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int open_iterator(int at_fd, const char *path, DIR **ret_dir)
{
	int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	*ret_dir = fdopendir(fd);
	if (!*ret_dir) {
		int r = -errno;

		close(fd);
		return r;
	}
	return 0;
}

static int foreach_slot_of(int tree_fd, const char *group, int node, tree_slot_fn fn,
			   void *userdata)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	int r = open_iterator(tree_fd, group, &dir);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (;;) {
		struct cgdir *cg = NULL;
		struct dirent *e;

		errno = 0;
		e = readdir(dir);
		if (!e)
			return -errno;
		if (e->d_type != DT_DIR || !place_is_slot_name(e->d_name))
			continue;
		r = cgdir_open(dirfd(dir), e->d_name, &cg);
		if (r == CGDIR_GONE)
			continue;
		if (r == 0)
			r = fn(node, e->d_name, cg, userdata);
		if (r != 0)
			return r;
	}
}

int tree_foreach_slot(struct tree *tree, tree_slot_fn fn, void *userdata)
{
	return tree_foreach_slot_below(tree->dir_fd, fn, userdata);
}

int tree_foreach_slot_below(int tree_fd, tree_slot_fn fn, void *userdata)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	int r = open_iterator(tree_fd, ".", &dir);

	if (r < 0)
		return r;
	for (;;) {
		struct dirent *e;
		int node;

		errno = 0;
		e = readdir(dir);
		if (!e)
			return -errno;
		if (e->d_type != DT_DIR || place_parse_group(e->d_name, &node) < 0)
			continue;
		r = foreach_slot_of(tree_fd, e->d_name, node, fn, userdata);
		if (r != 0)
			return r;
	}
}

int tree_attach(struct tree *tree, int node, const char *name, pid_t pid, int pidfd)
{
	char path[PATH_MAX + PLACE_MAX];
	int r;

	if (!place_is_slot_name(name))
		return -EINVAL;
	if (!slot_exists(tree, node, name))
		return -ENOENT;
	r = pidfd_check_alive(pidfd);
	if (r < 0)
		return r;
	slot_path(tree, node, name, path, sizeof(path));
	r = libcg_attach(path, pid);
	return r < 0 ? r : pidfd_check_alive(pidfd);
}
