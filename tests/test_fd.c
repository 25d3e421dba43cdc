/* SPDX-License-Identifier: Apache-2.0 */

#include "base/fd.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"

static char dir_path[64];
static int dir_fd;

static void setup(void)
{
	strcpy(dir_path, "/tmp/test-fd-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir_path));
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
}

static void each_entry(void (*visit)(const char *name, void *data), void *data)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			visit(entry->d_name, data);
	closedir(dir);
}

static void remove_entry(const char *name, void *data)
{
	(void)data;
	if (unlinkat(dir_fd, name, 0) < 0)
		(void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

static void count_entry(const char *name, void *data)
{
	(void)name;
	++*(int *)data;
}

static int count_entries(void)
{
	int n = 0;

	each_entry(count_entry, &n);
	return n;
}

static void teardown(void)
{
	each_entry(remove_entry, NULL);
	close(dir_fd);
	rmdir(dir_path);
}

static void put(const char *name, const char *data, size_t len)
{
	ck_assert_int_eq(file_replace(dir_fd, name, data, len, 0644), 0);
}

START_TEST(small_files_lose_their_newlines_and_gain_a_0)
{
	char buf[16];
	int fd;

	put("a", "12345\n\n", 7);
	ck_assert_int_eq(file_read_small(dir_fd, "a", buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "12345");
	put("empty", "", 0);
	ck_assert_int_eq(file_read_small(dir_fd, "empty", buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "");
	ck_assert_int_eq(file_read_small(dir_fd, "none", buf, sizeof(buf)), -ENOENT);

	/* a kept descriptor shows the present content each time */
	fd = openat(dir_fd, "a", O_RDWR);
	ck_assert_int_eq(fd_read_small(fd, buf, sizeof(buf)), 5);
	ck_assert_int_eq(pwrite(fd, "9", 1, 0), 1);
	ck_assert_int_eq(fd_read_small(fd, buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "92345");
	close(fd);
	ck_assert_int_eq(fd_read_small(fd, buf, sizeof(buf)), -EBADF);
}
END_TEST

START_TEST(a_file_that_does_not_fit_is_refused_not_cut)
{
	char buf[8];

	put("seven", "1234567", 7);
	put("eight", "12345678", 8);
	ck_assert_int_eq(file_read_small(dir_fd, "seven", buf, sizeof(buf)), 7);
	ck_assert_int_eq(file_read_small(dir_fd, "eight", buf, sizeof(buf)), -EFBIG);
}
END_TEST

START_TEST(proc_files_are_read_to_their_end)
{
	char buf[1 << 16];
	ssize_t n = file_read_small(AT_FDCWD, "/proc/self/status", buf, sizeof(buf));

	ck_assert_int_gt(n, 100);
	ck_assert_ptr_nonnull(strstr(buf, "ctxt_switches"));
	ck_assert_uint_eq(strlen(buf), (size_t)n);
}
END_TEST

START_TEST(a_small_write_needs_an_existing_file_and_leaves_nothing_of_the_old)
{
	char buf[16];

	ck_assert_int_eq(file_write_small(dir_fd, "none", "1"), -ENOENT);
	put("a", "longer than this", 16);
	ck_assert_int_eq(file_write_small(dir_fd, "a", "max"), 0);
	ck_assert_int_eq(file_read_small(dir_fd, "a", buf, sizeof(buf)), 3);
	ck_assert_str_eq(buf, "max");
	ck_assert_int_eq(file_write_small(AT_FDCWD, "/dev/full", "1"), -ENOSPC);
}
END_TEST

START_TEST(a_whole_file_is_read_up_to_its_limit)
{
	const size_t len = 100000;
	char *data = malloc(len), *text = NULL;
	size_t got = 0;

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i % 251);
	put("big", data, len);
	ck_assert_int_eq(file_read_all(dir_fd, "big", len, &text, &got), 0);
	ck_assert_uint_eq(got, len);
	ck_assert_mem_eq(text, data, len);
	ck_assert_int_eq(text[len], 0);
	freep(&text);
	text = NULL;
	ck_assert_int_eq(file_read_all(dir_fd, "big", len - 1, &text, NULL), -EFBIG);
	ck_assert_ptr_null(text);
	put("empty", "", 0);
	ck_assert_int_eq(file_read_all(dir_fd, "empty", 0, &text, NULL), 0);
	ck_assert_str_eq(text, "");
	free(text);
	free(data);
}
END_TEST

START_TEST(replacing_changes_content_and_mode_and_leaves_one_file)
{
	char buf[16];
	struct stat st;

	umask(077);
	ck_assert_int_eq(file_replace(dir_fd, "s", "one", 3, 0644), 0);
	ck_assert_int_eq(file_replace(dir_fd, "s", "two!", 4, 0640), 0);
	ck_assert_int_eq(file_read_small(dir_fd, "s", buf, sizeof(buf)), 4);
	ck_assert_str_eq(buf, "two!");
	ck_assert_int_eq(fstatat(dir_fd, "s", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(count_entries(), 1);
}
END_TEST

START_TEST(replacing_gets_over_what_a_crash_left)
{
	char buf[16];

	put(".s.new", "torn", 4);
	ck_assert_int_eq(file_replace(dir_fd, "s", "whole", 5, 0644), 0);
	ck_assert_int_eq(file_read_small(dir_fd, "s", buf, sizeof(buf)), 5);
	ck_assert_int_eq(count_entries(), 1);
}
END_TEST

START_TEST(replacing_does_not_follow_a_planted_link)
{
	char buf[16];

	put("victim", "safe", 4);
	ck_assert_int_eq(symlinkat("victim", dir_fd, ".s.new"), 0);
	ck_assert_int_eq(file_replace(dir_fd, "s", "data", 4, 0644), 0);
	ck_assert_int_eq(file_read_small(dir_fd, "victim", buf, sizeof(buf)), 4);
	ck_assert_str_eq(buf, "safe");
}
END_TEST

START_TEST(a_failed_replacement_leaves_everything_as_it_was)
{
	/* the target is a directory, so the rename fails after the temporary was written */
	ck_assert_int_eq(mkdirat(dir_fd, "d", 0755), 0);
	ck_assert_int_eq(file_replace(dir_fd, "d", "x", 1, 0644), -EISDIR);
	ck_assert_int_eq(count_entries(), 1);
	ck_assert_int_eq(file_replace(dir_fd, "a/b", "x", 1, 0644), -EINVAL);
	ck_assert_int_eq(file_replace(dir_fd, "", "x", 1, 0644), -EINVAL);
	ck_assert_int_eq(file_replace(-1, "a", "x", 1, 0644), -EBADF);
	ck_assert_int_eq(count_entries(), 1);
}
END_TEST

START_TEST(an_o_path_directory_is_enough)
{
	int fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY);

	ck_assert_int_eq(file_replace(fd, "a", "x", 1, 0644), 0);
	close(fd);
	ck_assert_int_eq(count_entries(), 1);
}
END_TEST

START_TEST(write_all_fills_a_pipe_in_pieces)
{
	const size_t len = 1 << 20;
	char *data = malloc(len), buf[4096];
	size_t total = 0;
	int fds[2];
	pid_t pid;

	memset(data, 'x', len);
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		_exit(fd_write_all(fds[1], data, len) == 0 ? 0 : 1);
	}
	close(fds[1]);
	for (ssize_t n; (n = read(fds[0], buf, sizeof(buf))) > 0;)
		total += (size_t)n;
	close(fds[0]);
	ck_assert_uint_eq(total, len);
	free(data);
}
END_TEST

START_TEST(closing_keeps_errno_and_marks_the_descriptor)
{
	int fd = open("/dev/null", O_RDONLY), was = fd;

	errno = E2BIG;
	fd_closep(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(errno, E2BIG);
	ck_assert_int_lt(fcntl(was, F_GETFD), 0);
	fd_closep(&fd); /* nothing to do */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fd");
	TCase *tc = tcase_create("fd");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, small_files_lose_their_newlines_and_gain_a_0);
	tcase_add_test(tc, a_file_that_does_not_fit_is_refused_not_cut);
	tcase_add_test(tc, proc_files_are_read_to_their_end);
	tcase_add_test(tc, a_small_write_needs_an_existing_file_and_leaves_nothing_of_the_old);
	tcase_add_test(tc, a_whole_file_is_read_up_to_its_limit);
	tcase_add_test(tc, replacing_changes_content_and_mode_and_leaves_one_file);
	tcase_add_test(tc, replacing_gets_over_what_a_crash_left);
	tcase_add_test(tc, replacing_does_not_follow_a_planted_link);
	tcase_add_test(tc, a_failed_replacement_leaves_everything_as_it_was);
	tcase_add_test(tc, an_o_path_directory_is_enough);
	tcase_add_test(tc, write_all_fills_a_pipe_in_pieces);
	tcase_add_test(tc, closing_keeps_errno_and_marks_the_descriptor);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
