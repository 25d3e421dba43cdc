/* SPDX-License-Identifier: Apache-2.0 */

/* Directories of regular files stand in for the tree: who froze what is in extended attributes. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/freeze.h"
#include "kern/tree_private.h"
#include "suite.h"

static char root[64];
static struct tree tree;
static struct cgdir *cg;
static bool has_attributes;
static char told[64]; /* names of slots that were thawed */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void put(const char *file, const char *text)
{
	int fd = openat(tree.dir_fd, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void expect(const char *file, const char *text)
{
	char buf[32];

	ck_assert_int_ge(file_read_small(tree.dir_fd, file, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, text);
}

static void setup(void)
{
	strcpy(root, "/tmp/test_freeze.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	tree.dir_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(tree.dir_fd, 0);
	ck_assert_int_eq(mkdirat(tree.dir_fd, "run", 0755), 0);
	ck_assert_int_eq(mkdirat(tree.dir_fd, "node0", 0755), 0);
	ck_assert_int_eq(mkdirat(tree.dir_fd, "node0/a", 0755), 0);
	put("node0/a/cgroup.procs", "");
	put("node0/a/cgroup.freeze", "0");
	ck_assert_int_eq(cgdir_open(tree.dir_fd, "node0/a", &cg), CGDIR_OK);
	has_attributes = fsetxattr(cgdir_dir_fd(cg), "user.test", "", 0, 0) == 0;
	if (!has_attributes)
		fprintf(stderr, "no user attributes on /tmp: not tested\n");
	unsetenv("RUNTIME_DIRECTORY");
	told[0] = '\0';
}

static void teardown(void)
{
	cgdir_close(cg);
	close(tree.dir_fd);
	(void)nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_thawed(const char *name, int r, void *userdata)
{
	ck_assert_ptr_eq(userdata, told);
	ck_assert_int_eq(r, CGDIR_OK);
	strcat(told, name);
}

/* As the daemon does while it runs, and the unit when it has ended. */
static void remember(void)
{
	char path[128];

	/* systemd may have more than one */
	(void)snprintf(path, sizeof(path), "%s/run:/nowhere", root);
	ck_assert_int_eq(setenv("RUNTIME_DIRECTORY", path, 1), 0);
	ck_assert_int_eq(freeze_remember(&tree), 0);
}

START_TEST(what_we_froze_is_ours_until_it_is_thawed)
{
	if (!has_attributes)
		return;
	ck_assert(!freeze_is_ours(cg));
	ck_assert_int_eq(freeze_begin(cg, false), CGDIR_OK);
	expect("node0/a/cgroup.freeze", "1");
	ck_assert(freeze_is_ours(cg));
	ck_assert_int_eq(freeze_begin(cg, true), CGDIR_OK);
	ck_assert_int_eq(freeze_end(cg), CGDIR_OK);
	expect("node0/a/cgroup.freeze", "0");
	put("node0/a/cgroup.freeze", "1");
	ck_assert(!freeze_is_ours(cg));
}
END_TEST

START_TEST(what_somebody_else_froze_is_not)
{
	remember();
	put("node0/a/cgroup.freeze", "1");
	ck_assert_int_eq(freeze_begin(cg, false), CGDIR_BUSY);
	ck_assert(!freeze_is_ours(cg));
	ck_assert_int_eq(freeze_end_left(on_thawed, told), 0);
	ck_assert_str_eq(told, "");
	expect("node0/a/cgroup.freeze", "1");
}
END_TEST

START_TEST(what_somebody_else_froze_is_frozen_where_it_moves_to)
{
	struct cgdir *to = NULL;

	ck_assert_int_eq(mkdirat(tree.dir_fd, "node1", 0755), 0);
	ck_assert_int_eq(mkdirat(tree.dir_fd, "node1/a", 0755), 0);
	put("node1/a/cgroup.procs", "");
	put("node1/a/cgroup.freeze", "0");
	ck_assert_int_eq(cgdir_open(tree.dir_fd, "node1/a", &to), CGDIR_OK);
	ck_assert_int_eq(freeze_follow(cg, to), CGDIR_OK);
	expect("node1/a/cgroup.freeze", "0");
	if (has_attributes) {
		ck_assert_int_eq(freeze_begin(cg, false), CGDIR_OK);
		ck_assert_int_eq(freeze_follow(cg, to), CGDIR_OK);
		expect("node1/a/cgroup.freeze", "0");
		ck_assert_int_eq(freeze_end(cg), CGDIR_OK);
	}
	put("node0/a/cgroup.freeze", "1");
	ck_assert_int_eq(freeze_follow(cg, to), CGDIR_OK);
	expect("node1/a/cgroup.freeze", "1");
	cgdir_close(to);
}
END_TEST

START_TEST(a_note_of_a_freeze_that_never_came_makes_no_later_one_ours)
{
	if (!has_attributes)
		return;
	remember();
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(fsetxattr(cgdir_dir_fd(cg), "user.taskmem.frozen", "pause", 5, 0),
				 0);
		if (i == 0)
			ck_assert(!freeze_is_ours(cg));
		else
			ck_assert_int_eq(freeze_end_left(on_thawed, told), 0);
		put("node0/a/cgroup.freeze", "1");
		ck_assert(!freeze_is_ours(cg));
		put("node0/a/cgroup.freeze", "0");
	}
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(what_a_daemon_that_ended_had_frozen_is_thawed)
{
	if (!has_attributes)
		return;
	put("node0/a/hugetlb.2MB.max", "8388608");
	put("node0/a/hugetlb.2MB.rsvd.max", "8388608");
	put("node0/a/hugetlb.2MB.current", "4194304");
	remember();
	ck_assert_int_eq(freeze_begin(cg, /* takes_pages= */ _i == 1), CGDIR_OK);
	ck_assert_int_eq(freeze_end_left(on_thawed, told), 0);
	ck_assert_str_eq(told, "a");
	expect("node0/a/cgroup.freeze", "0");
	/* a page that was taken must find no room for another; nothing else is in its way */
	expect("node0/a/hugetlb.2MB.max", _i == 1 ? "4194304" : "8388608");
	expect("node0/a/hugetlb.2MB.rsvd.max", _i == 1 ? "4194304" : "8388608");
	/* once */
	ck_assert_int_eq(freeze_end_left(on_thawed, told), 0);
	ck_assert_str_eq(told, "a");
}
END_TEST

START_TEST(where_the_slots_are_is_remembered_in_the_runtime_directory)
{
	char path[PATH_MAX];
	ssize_t n;

	ck_assert_int_eq(freeze_remember(&tree), 0);
	ck_assert_int_eq(freeze_end_left(on_thawed, told), -ENXIO);
	remember();
	remember(); /* the next daemon */
	n = readlinkat(tree.dir_fd, "run/slots", path, sizeof(path) - 1);
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	ck_assert_str_eq(path, root);
	ck_assert_int_eq(unlinkat(tree.dir_fd, "run/slots", 0), 0);
	ck_assert_int_eq(freeze_end_left(on_thawed, told), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("freeze");
	TCase *tc = tcase_create("freeze");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_we_froze_is_ours_until_it_is_thawed);
	tcase_add_test(tc, what_somebody_else_froze_is_not);
	tcase_add_test(tc, what_somebody_else_froze_is_frozen_where_it_moves_to);
	tcase_add_test(tc, a_note_of_a_freeze_that_never_came_makes_no_later_one_ours);
	tcase_add_loop_test(tc, what_a_daemon_that_ended_had_frozen_is_thawed, 0, 2);
	tcase_add_test(tc, where_the_slots_are_is_remembered_in_the_runtime_directory);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
