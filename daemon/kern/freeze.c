/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cgroup.freeze does not say who wrote it, so it is noted beside it, in an extended attribute of the
 * directory: that goes with the cgroup, is there for whoever comes after a kill -9, and needs no
 * file that might not be writable. The note is written first and taken away last; one beside a
 * cgroup that is not frozen is of a daemon that was killed between the two, and means nothing.
 *
 * A daemon that was killed while it had a slot frozen may not come back: its configuration is refused,
 * or systemd waits half a minute for the next try. So the unit thaws when the daemon has ended,
 * however it did (ExecStopPost=), by a link in the runtime directory, which systemd keeps until
 * after that. It tells where the slots are without a configuration that has to be right.
 */

#include "kern/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/tree_private.h"

#define NOTE "user.taskmem.frozen"
#define NOTE_MAX 8
#define NOTE_PAGES "pages"
#define NOTE_PAUSE "pause"
#define LINK "slots"

static int to_cond(int error)
{
	return error == ENOENT || error == ENODEV ? CGDIR_GONE : -error;
}

/* Return: CGDIR_OK, CGDIR_ABSENT without a note, CGDIR_GONE or -errno. */
static int read_note(struct cgdir *cg, char text[static NOTE_MAX + 1])
{
	ssize_t n = fgetxattr(cgdir_dir_fd(cg), NOTE, text, NOTE_MAX);

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? CGDIR_ABSENT : to_cond(errno);
	text[n] = '\0';
	return CGDIR_OK;
}

static bool has_note(struct cgdir *cg)
{
	char text[NOTE_MAX + 1];

	return read_note(cg, text) == CGDIR_OK;
}

static int read_frozen(struct cgdir *cg, bool *ret)
{
	char text[8];
	int r = cgdir_read_text(cg, CG_CGROUP_FREEZE, text, sizeof(text));

	if (r == CGDIR_OK)
		*ret = text[0] == '1';
	return r;
}

int freeze_begin(struct cgdir *cg, bool takes_pages)
{
	const char *note = takes_pages ? NOTE_PAGES : NOTE_PAUSE;
	bool is_frozen = false;
	int r = read_frozen(cg, &is_frozen);

	if (r != CGDIR_OK)
		return r;
	if (is_frozen && !has_note(cg))
		return CGDIR_BUSY;
	if (fsetxattr(cgdir_dir_fd(cg), NOTE, note, strlen(note), 0) < 0)
		return to_cond(errno);
	return is_frozen ? CGDIR_OK : cgdir_write_u64(cg, CG_CGROUP_FREEZE, 1);
}

static void drop_note(struct cgdir *cg)
{
	(void)fremovexattr(cgdir_dir_fd(cg), NOTE); /* none is fine */
}

int freeze_end(struct cgdir *cg)
{
	int r = cgdir_write_u64(cg, CG_CGROUP_FREEZE, 0);

	if (r == CGDIR_OK)
		drop_note(cg);
	return r;
}

bool freeze_is_ours(struct cgdir *cg)
{
	bool is_frozen = false;

	if (!has_note(cg) || read_frozen(cg, &is_frozen) != CGDIR_OK)
		return false;
	if (!is_frozen)
		drop_note(cg);
	return is_frozen;
}

int freeze_follow(struct cgdir *from, struct cgdir *to)
{
	bool is_frozen = false;
	int r = read_frozen(from, &is_frozen);

	if (r != CGDIR_OK || !is_frozen || has_note(from))
		return r;
	return cgdir_write_u64(to, CG_CGROUP_FREEZE, 1);
}

/* ---- what a daemon that has ended left */

static const char *runtime_path(const char *name, char buf[static PATH_MAX])
{
	const char *directories = getenv("RUNTIME_DIRECTORY"); /* systemd lists them with colons */
	int n;

	if (!directories || directories[0] != '/')
		return NULL;
	n = snprintf(buf, PATH_MAX, "%.*s/%s", (int)strcspn(directories, ":"), directories, name);
	return n < PATH_MAX ? buf : NULL;
}

int freeze_remember(const struct tree *tree)
{
	char name[32], target[PATH_MAX], old[PATH_MAX], new[PATH_MAX];
	ssize_t n;

	if (!runtime_path(LINK, old) || !runtime_path("." LINK ".new", new))
		return 0;
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", tree->dir_fd);
	n = readlink(name, target, sizeof(target));
	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(target))
		return -ENAMETOOLONG;
	target[n] = '\0';
	if ((unlink(new) < 0 && errno != ENOENT) || symlink(target, new) < 0 ||
	    rename(new, old) < 0)
		return -errno;
	return 0;
}

/* A touch of a page that was taken finds no room for another then, and is SIGBUS as it should be.
 * What is still there is taken by the next daemon, which freezes the slot again for it. */
static void hold_pages(struct cgdir *cg)
{
	uint64_t bytes;

	if (cgdir_read_u64(cg, CG_HUGETLB_CURRENT, &bytes) == CGDIR_OK &&
	    cgdir_write_u64(cg, CG_HUGETLB_MAX, bytes) == CGDIR_OK)
		(void)!cgdir_write_u64(cg, CG_HUGETLB_RSVD_MAX, bytes); /* the other one counts */
}

struct left {
	freeze_left_fn told;
	void *userdata;
};

static int thaw_slot(int node, const char *name, struct cgdir *cg, void *userdata)
{
	CLEANUP(cgdir_closep) struct cgdir *owned = cg;
	const struct left *left = userdata;
	char note[NOTE_MAX + 1];

	(void)node;
	if (read_note(owned, note) != CGDIR_OK || !freeze_is_ours(owned))
		return 0;
	if (strcmp(note, NOTE_PAGES) == 0)
		hold_pages(owned);
	left->told(name, freeze_end(owned), left->userdata);
	return 0;
}

int freeze_end_left(freeze_left_fn told, void *userdata)
{
	struct left left = { .told = told, .userdata = userdata };
	CLEANUP(fd_closep) int fd = -1;
	char path[PATH_MAX];

	if (!runtime_path(LINK, path))
		return -ENXIO;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : tree_foreach_slot_below(fd, thaw_slot, &left);
}
