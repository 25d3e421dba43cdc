/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opening comes down to one end state, whatever was there before: the directory exists, no
 * process is in it but in "hold" and in slots, and the controllers are on for what is below.
 * Each step looks first and only does what is missing, so a start after a kill -9 at any
 * point goes on where the one before was interrupted:
 *
 *   holder started, no scope      the holder ends with the old service; a new scope is made
 *   scope made, holder in it      the holder is moved to "hold"
 *   holder dead, tasks alive      a new holder joins "hold", else the empty slots would go
 *                                 with the last task
 *
 * systemd never switches hugetlb on (257 does not know it) and never off. The slice's cgroup,
 * and the bit with it, goes when the slice is empty, hence the order: first the scope with
 * its holder, then "+hugetlb" from the root down.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "kern/hierarchy.h"
#include "kern/libcg.h"
#include "kern/tree_private.h"

#define SCOPE_PATH SCOPE_SLICE "/" SCOPE_UNIT
#define PROCS_MAX (1U << 20)
/* Processes may be forked in the directory while we move them; each round leaves fewer. */
#define MOVE_ROUNDS 10

/* Fills in the sentence and passes @r on. */
PRINTF_LIKE(3, 4)
static int fail(char error[static TREE_ERROR_MAX], int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, TREE_ERROR_MAX, format, args); /* cut is fine */
	va_end(args);
	return r;
}

static bool is_populated(int mount_fd, const char *path)
{
	CLEANUP(cgdir_closep) struct cgdir *cg = NULL;
	bool yes = false;

	return cgdir_open(mount_fd, path, &cg) == CGDIR_OK &&
	       cgdir_is_populated(cg, &yes) == CGDIR_OK && yes;
}

static int open_dir(int at_fd, const char *path)
{
	int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Best effort: what is not on afterwards is found missing by choose_controllers(). */
static void enable_hugetlb_above(int mount_fd, const char *path)
{
	CLEANUP(fd_closep) int fd = open_dir(mount_fd, ".");
	char copy[PATH_MAX], *rest = copy, *part;

	(void)snprintf(copy, sizeof(copy), "%s", path); /* was a PATH_MAX array */
	while (fd >= 0 && (part = strsep(&rest, "/"))) {
		int next;

		(void)!controllers_enable(fd, CTL_BIT(CTL_HUGETLB));
		next = open_dir(fd, part);
		fd_closep(&fd);
		fd = next;
	}
}

/* Moves every process of the directory itself to its child @child. */
static int move_processes(const struct tree *tree, const char *child)
{
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/%s", tree->libcg, child); /* fits */
	for (int round = 0; round < MOVE_ROUNDS; round++) {
		CLEANUP(freep) char *text = NULL;
		char *rest, *line;
		int r = file_read_all(tree->dir_fd, "cgroup.procs", PROCS_MAX, &text, NULL);

		if (r < 0)
			return r;
		if (!text[0])
			return 0;
		rest = text;
		while ((line = strsep(&rest, "\n"))) {
			uint64_t pid;

			if (parse_u64(line, INT32_MAX, &pid) < 0)
				continue;
			r = libcg_attach(path, (pid_t)pid);
			if (r < 0 && r != -ESRCH) /* gone is fine */
				return r;
		}
	}
	return -EBUSY;
}

static int make_hold(const struct tree *tree)
{
	char path[PATH_MAX + 16];

	if (faccessat(tree->dir_fd, "hold", F_OK, 0) == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/hold", tree->libcg); /* fits */
	return libcg_create(path, NULL, 0);
}

/* After this "hold" has a live process in it. */
static int keep_held(struct tree *tree)
{
	char path[PATH_MAX + 16];
	pid_t pid;
	int r;

	if (is_populated(tree->dir_fd, "hold"))
		return 0;
	if (tree->holder > 0)
		holder_kill(tree->holder); /* it is dead: this only reaps it */
	tree->holder = 0;
	r = holder_start(&pid);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/hold", tree->libcg); /* fits */
	r = libcg_attach(path, pid);
	if (r < 0)
		holder_kill(pid);
	else
		tree->holder = pid;
	return r;
}

int tree_check(struct tree *tree)
{
	if (faccessat(tree->dir_fd, "cgroup.procs", F_OK, 0) < 0)
		return errno == ENOENT || errno == ENODEV ? CGDIR_GONE : -errno;
	if (!tree->scope || is_populated(tree->dir_fd, "hold"))
		return CGDIR_OK;
	return scope_is_ending() ? CGDIR_GONE : keep_held(tree);
}

static int make_scope(struct tree *tree, int mount_fd, char error[static TREE_ERROR_MAX])
{
	pid_t pid;
	int r = holder_start(&pid);

	if (r < 0)
		return fail(error, r, "cannot start the process that holds " SCOPE_UNIT ": %s",
			    strerror(-r));
	r = scope_create(pid);
	/* libcgroup waits a second at most; on a slow machine systemd answers later */
	if (r < 0 && is_populated(mount_fd, SCOPE_PATH))
		r = 0;
	if (r == 0) {
		tree->holder = pid;
		return 0;
	}
	holder_kill(pid);
	return fail(error, r,
		    "systemd did not make " SCOPE_UNIT " (%s): is the system bus running "
		    "(systemctl status dbus)? Or set cgroup_root= to a delegated directory",
		    libcg_message());
}

static int open_scope(struct tree *tree, const struct hierarchy *h, int mount_fd,
		      char error[static TREE_ERROR_MAX])
{
	bool is_root = strcmp(h->root, "/") == 0;
	int r;

	if (sd_booted() <= 0)
		return fail(
			error, -EOPNOTSUPP,
			"systemd is not running here: set cgroup_root= to a delegated cgroup v2 "
			"directory");
	/* The holder ends at once when the scope is stopped; only then is it worth to ask. */
	if (is_populated(mount_fd, SCOPE_PATH) && !is_populated(mount_fd, SCOPE_PATH "/hold"))
		scope_wait_ended();
	if (!is_populated(mount_fd, SCOPE_PATH)) {
		r = make_scope(tree, mount_fd, error);
		if (r < 0)
			return r;
	}
	tree->dir_fd = open_dir(mount_fd, SCOPE_PATH);
	if (tree->dir_fd < 0)
		return fail(error, tree->dir_fd,
			    SCOPE_UNIT " is not at %s/" SCOPE_PATH
				       ": set cgroup_root= to a delegated cgroup v2 directory",
			    h->mount);
	(void)snprintf(tree->libcg, sizeof(tree->libcg), "%s", SCOPE_PATH);
	(void)snprintf(tree->path, sizeof(tree->path), "%.4000s/%s", is_root ? "" : h->root,
		       SCOPE_PATH);

	r = make_hold(tree);
	if (r == 0)
		r = move_processes(tree, "hold");
	if (r == 0)
		r = keep_held(tree);
	if (r < 0)
		return fail(error, r, "cannot set up %.300s/hold: %s. %s", tree->path, strerror(-r),
			    libcg_message());
	enable_hugetlb_above(mount_fd, SCOPE_PATH);
	return scope_new(&tree->scope);
}

/* The real root of the hierarchy may hold processes and controllers at once. */
static bool is_hierarchy_root(int dir_fd)
{
	return faccessat(dir_fd, "cgroup.type", F_OK, 0) < 0;
}

static int check_unoccupied(const struct tree *tree, const char *root,
			    char error[static TREE_ERROR_MAX])
{
	CLEANUP(freep) char *text = NULL;
	char *rest, *line;
	uint64_t pid = 0;
	int r;

	if (is_hierarchy_root(tree->dir_fd))
		return 0;
	r = file_read_all(tree->dir_fd, "cgroup.procs", PROCS_MAX, &text, NULL);
	if (r < 0)
		return fail(error, r, "cgroup_root=%.200s: cannot read cgroup.procs: %s", root,
			    strerror(-r));
	if (!text[0])
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		if (parse_u64(line, INT32_MAX, &pid) == 0 && (pid_t)pid == getpid())
			return fail(
				error, -EBUSY,
				"cgroup_root=%.160s: taskmemd itself runs in that directory; start "
				"it in one of its own: mkdir %.160s/daemon && echo $$ > "
				"%.160s/daemon/cgroup.procs",
				root, root, root);
	}
	return fail(error, -EBUSY,
		    "cgroup_root=%.160s: processes run in that directory itself (%.40s); move them "
		    "to one below it",
		    root, text);
}

static int open_delegated(struct tree *tree, const struct hierarchy *h, int mount_fd,
			  const char *root, char error[static TREE_ERROR_MAX])
{
	const char *below = root + strlen(h->mount);
	struct statfs fs;

	tree->dir_fd = open_dir(AT_FDCWD, root);
	if (tree->dir_fd < 0)
		return fail(error, tree->dir_fd, "cgroup_root=%.200s: %s", root,
			    strerror(-tree->dir_fd));
	if (fstatfs(tree->dir_fd, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return fail(error, -EOPNOTSUPP, "cgroup_root=%.200s is not on a cgroup v2 mount",
			    root);
	if (faccessat(tree->dir_fd, "cgroup.procs", W_OK, AT_EACCESS) < 0 ||
	    faccessat(tree->dir_fd, "cgroup.subtree_control", W_OK, AT_EACCESS) < 0)
		return fail(
			error, -EACCES,
			"cgroup_root=%.200s is not writable: it has to be delegated to the user "
			"of taskmemd (%s)",
			root, strerror(errno));
	while (*below == '/')
		below++;
	(void)snprintf(tree->libcg, sizeof(tree->libcg), "%s", below);
	(void)snprintf(tree->path, sizeof(tree->path), "%.2000s%s%.2000s",
		       strcmp(h->root, "/") == 0 ? "" : h->root, *below ? "/" : "", below);
	if (*below)
		enable_hugetlb_above(mount_fd, below);
	return check_unoccupied(tree, root, error);
}

/* Switches on what the directory has and what is used, checks what cannot be done without. */
static int choose_controllers(struct tree *tree, const struct hierarchy *h, unsigned needed,
			      char error[static TREE_ERROR_MAX])
{
	unsigned at_hand;
	int r = controllers_read(tree->dir_fd, "cgroup.controllers", &at_hand);

	if (r < 0)
		return fail(error, r, "cannot read the controllers of %s: %s", tree->path,
			    strerror(-r));
	for (size_t c = 0; c < CONTROLLERS; c++) {
		char why[TREE_ERROR_MAX];

		if (!(needed & ~at_hand & CTL_BIT(c)))
			continue;
		if (h->v1[c][0]) {
			controller_explain(h, c, why, sizeof(why));
			return fail(error, -EOPNOTSUPP, "%s", why);
		}
		return fail(error, -EOPNOTSUPP,
			    "the %s controller is not enabled for %s: write +%s to "
			    "cgroup.subtree_control of each directory above it",
			    controller_name(c), tree->path, controller_name(c));
	}
	r = controllers_enable(tree->dir_fd, at_hand);
	if (r < 0)
		return fail(error, r, "cannot enable the controllers in %s%s: %s", h->mount,
			    tree->path, strerror(-r));
	tree->controller_bits = at_hand;
	tree->controllers = (struct tree_controllers){
		.memory = at_hand & CTL_BIT(CTL_MEMORY),
		.cpuset = at_hand & CTL_BIT(CTL_CPUSET),
		.cpu = at_hand & CTL_BIT(CTL_CPU),
		.io = at_hand & CTL_BIT(CTL_IO),
		.pids = at_hand & CTL_BIT(CTL_PIDS),
		.hugetlb = at_hand & CTL_BIT(CTL_HUGETLB),
	};
	return 0;
}

/* What the machine as a whole lacks: said before anything is made. */
static int check_host(const struct hierarchy *h, int mount_fd, unsigned needed,
		      char error[static TREE_ERROR_MAX])
{
	static const enum controller order[] = { CTL_HUGETLB, CTL_MEMORY, CTL_CPUSET };
	unsigned at_hand;
	int r = controllers_read(mount_fd, "cgroup.controllers", &at_hand);

	if (r < 0)
		return fail(error, r, "cannot read %s/cgroup.controllers: %s", h->mount,
			    strerror(-r));
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		char why[TREE_ERROR_MAX - 64];

		if (!(needed & ~at_hand & CTL_BIT(order[i])))
			continue;
		controller_explain(h, order[i], why, sizeof(why));
		return fail(error, -EOPNOTSUPP, "%s; or set %s", why,
			    order[i] == CTL_HUGETLB ? "pages=huge-or-transparent"
						    : "enforce=pools-only");
	}
	return 0;
}

static unsigned needed_controllers(const struct tree_options *options)
{
	return (options->without_hugetlb ? 0 : CTL_BIT(CTL_HUGETLB)) |
	       (options->pools_only ? 0 : CTL_BIT(CTL_MEMORY) | CTL_BIT(CTL_CPUSET));
}

int tree_open(const struct tree_options *options, struct tree **ret_tree,
	      char error[static TREE_ERROR_MAX])
{
	bool is_delegated = options->cgroup_root && options->cgroup_root[0];
	CLEANUP(freep) char *root = NULL;
	CLEANUP(freep) struct hierarchy *h = malloc(sizeof(*h));
	CLEANUP(fd_closep) int mount_fd = -1;
	struct tree *tree;
	int r;

	if (!h)
		return fail(error, -ENOMEM, "out of memory");
	if (is_delegated) {
		root = options->cgroup_root[0] == '/' ? realpath(options->cgroup_root, NULL) : NULL;
		if (!root)
			return fail(error, -EINVAL,
				    "cgroup_root=%.200s has to be an absolute path of a directory",
				    options->cgroup_root);
	}
	r = hierarchy_read(root, h);
	if (r < 0)
		return fail(error, r, "cannot read /proc/self/mountinfo: %s", strerror(-r));
	if (!h->mount[0] && root)
		return fail(error, -EOPNOTSUPP, "cgroup_root=%.200s is not on a cgroup v2 mount",
			    root);
	if (!h->mount[0])
		return fail(error, -EOPNOTSUPP,
			    "cgroup v2 is not mounted: boot with cgroup_no_v1=all and without "
			    "systemd.unified_cgroup_hierarchy=0, or mount -t cgroup2 none "
			    "/sys/fs/cgroup");
	r = libcg_init();
	if (r < 0)
		return fail(error, r, "libcgroup does not start: %s", libcg_message());
	/* hybrid will do as long as what we need is on v2, which is checked one by one */
	if (libcg_get_mode() != LIBCG_UNIFIED && libcg_get_mode() != LIBCG_HYBRID)
		return fail(error, -EOPNOTSUPP,
			    "libcgroup finds no cgroup v2: boot with cgroup_no_v1=all and without "
			    "systemd.unified_cgroup_hierarchy=0");
	mount_fd = open_dir(AT_FDCWD, h->mount);
	if (mount_fd < 0)
		return fail(error, mount_fd, "%.200s: %s", h->mount, strerror(-mount_fd));
	if (!is_delegated) {
		r = check_host(h, mount_fd, needed_controllers(options), error);
		if (r < 0)
			return r;
	}

	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return fail(error, -ENOMEM, "out of memory");
	tree->dir_fd = -1;
	r = is_delegated ? open_delegated(tree, h, mount_fd, root, error)
			 : open_scope(tree, h, mount_fd, error);
	if (r == 0)
		r = choose_controllers(tree, h, needed_controllers(options), error);
	if (r < 0) {
		tree_close(tree);
		return r;
	}
	*ret_tree = tree;
	return 0;
}

void tree_close(struct tree *tree)
{
	if (!tree)
		return;
	scope_free(tree->scope);
	fd_closep(&tree->dir_fd);
	free(tree);
}
