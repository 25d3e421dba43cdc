/* SPDX-License-Identifier: Apache-2.0 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hierarchy.h"
#include "suite.h"

static struct hierarchy h;

static void parse(const char *mountinfo, const char *below)
{
	char *copy = strdup(mountinfo);

	ck_assert_ptr_nonnull(copy);
	hierarchy_parse(copy, below, &h);
	free(copy);
}

START_TEST(a_unified_mount_is_found_among_others)
{
	parse("22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n"
	      "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 "
	      "rw,nsdelegate,memory_recursiveprot\n"
	      "40 24 0:33 / /tmp rw shared:9 - tmpfs tmpfs rw\n",
	      NULL);
	ck_assert_str_eq(h.mount, "/sys/fs/cgroup");
	ck_assert_str_eq(h.root, "/");
	ck_assert(!h.has_hugetlb_accounting);
	for (size_t c = 0; c < CONTROLLERS; c++)
		ck_assert_str_eq(h.v1[c], "");
}
END_TEST

START_TEST(controllers_on_v1_are_named_with_their_mounts)
{
	char why[512];

	parse("1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n"
	      "2 0 0:2 / /sys/fs/cgroup/memory rw - cgroup none rw,memory\n"
	      "3 0 0:3 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 master:2 - cgroup none "
	      "rw,cpu,cpuacct\n"
	      "4 0 0:4 / /sys/fs/cgroup/blkio rw - cgroup none rw,blkio\n"
	      "5 0 0:5 / /sys/fs/cgroup/cpuset rw - cgroup none rw,cpuset,noprefix\n",
	      NULL);
	ck_assert_str_eq(h.mount, "/sys/fs/cgroup/unified");
	ck_assert_str_eq(h.v1[CTL_MEMORY], "/sys/fs/cgroup/memory");
	ck_assert_str_eq(h.v1[CTL_CPU], "/sys/fs/cgroup/cpu,cpuacct");
	ck_assert_str_eq(h.v1[CTL_CPUSET], "/sys/fs/cgroup/cpuset");
	ck_assert_str_eq(h.v1[CTL_IO], "/sys/fs/cgroup/blkio");
	ck_assert_str_eq(h.v1[CTL_HUGETLB], "");
	controller_explain(&h, CTL_MEMORY, why, sizeof(why));
	ck_assert_ptr_nonnull(strstr(why, "the memory controller is on cgroup v1"));
	ck_assert_ptr_nonnull(strstr(why, "cgroup_no_v1=all"));
	controller_explain(&h, CTL_HUGETLB, why, sizeof(why));
	ck_assert_ptr_nonnull(strstr(why, "CONFIG_CGROUP_HUGETLB"));
}
END_TEST

START_TEST(the_mount_below_which_a_path_lies_is_taken)
{
	static const char mounts[] = "1 0 0:1 / /a rw - cgroup2 none rw\n"
				     "2 0 0:1 /box /a/b rw - cgroup2 none rw\n"
				     "3 0 0:1 / /a/bc rw - cgroup2 none rw\n";

	parse(mounts, "/a/b/slots");
	ck_assert_str_eq(h.mount, "/a/b");
	ck_assert_str_eq(h.root, "/box");
	parse(mounts, "/a/b");
	ck_assert_str_eq(h.mount, "/a/b");
	parse(mounts, "/a/x");
	ck_assert_str_eq(h.mount, "/a");
	parse(mounts, "/elsewhere");
	ck_assert_str_eq(h.mount, "");
	parse(mounts, NULL);
	ck_assert_str_eq(h.mount, "/a");
}
END_TEST

START_TEST(escapes_and_mount_options_are_understood)
{
	parse("1 0 0:1 / /my\\040cgroups\\134x rw - cgroup2 none "
	      "rw,memory_hugetlb_accounting,nsdelegate\n",
	      NULL);
	ck_assert_str_eq(h.mount, "/my cgroups\\x");
	ck_assert(h.has_hugetlb_accounting);
}
END_TEST

START_TEST(torn_lines_are_passed_over)
{
	parse("\n1\n1 0 0:1 /\n1 0 0:1 / /x rw -\n1 0 0:1 / /x rw - cgroup2\n"
	      "1 0 0:1 / /x rw - cgroup2 none\n - cgroup2 a b\n - cgroup",
	      NULL);
	ck_assert_str_eq(h.mount, "");
}
END_TEST

START_TEST(only_controllers_that_are_off_are_switched_on)
{
	char dir[] = "/tmp/test_hierarchy.XXXXXX", text[64];
	CLEANUP(fd_closep) int fd = -1;
	unsigned bits = 0;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(controllers_read(fd, "cgroup.controllers", &bits), -ENOENT);
	for (int i = 0; i < 2; i++) {
		int file = openat(fd, i ? "cgroup.subtree_control" : "cgroup.controllers",
				  O_WRONLY | O_CREAT, 0644);

		ck_assert_int_eq(
			i ? fd_write_all(file, "cpu memory\n", 11)
			  : fd_write_all(file, "cpuset cpu io memory hugetlb pids rdma\n", 39),
			0);
		close(file);
	}
	ck_assert_int_eq(controllers_read(fd, "cgroup.controllers", &bits), 0);
	ck_assert_uint_eq(bits, CTL_BIT(CONTROLLERS) - 1);
	ck_assert_int_eq(controllers_enable(fd, CTL_BIT(CTL_CPU) | CTL_BIT(CTL_MEMORY)), 0);
	ck_assert_int_gt(file_read_small(fd, "cgroup.subtree_control", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "cpu memory"); /* as it was: not written */
	ck_assert_int_eq(controllers_enable(fd, CTL_BIT(CTL_CPU) | CTL_BIT(CTL_HUGETLB)), 0);
	ck_assert_int_gt(file_read_small(fd, "cgroup.subtree_control", text, sizeof(text)), 0);
	ck_assert_ptr_eq(strstr(text, "+hugetlb "), text);
	ck_assert_ptr_null(strstr(text, "+cpu"));
	ck_assert_int_eq(unlinkat(fd, "cgroup.controllers", 0), 0);
	ck_assert_int_eq(unlinkat(fd, "cgroup.subtree_control", 0), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hierarchy");
	TCase *tc = tcase_create("hierarchy");

	tcase_add_test(tc, a_unified_mount_is_found_among_others);
	tcase_add_test(tc, controllers_on_v1_are_named_with_their_mounts);
	tcase_add_test(tc, the_mount_below_which_a_path_lies_is_taken);
	tcase_add_test(tc, escapes_and_mount_options_are_understood);
	tcase_add_test(tc, torn_lines_are_passed_over);
	tcase_add_test(tc, only_controllers_that_are_off_are_switched_on);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
