/* SPDX-License-Identifier: Apache-2.0 */

/* A directory of regular files stands in for DAMON's, and the test for the kernel behind it. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/damon.h"
#include "suite.h"

#define SCHEME "kdamonds/0/contexts/0/schemes/0/"
#define ATTRS "kdamonds/0/contexts/0/monitoring_attrs/"
#define MARK "8386110886374632704" /* "taskmem\0" */

static char root[64];
static int root_fd;
static const pid_t pids[2] = { 101, 102 };

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Makes the file and the directories on the way. */
static void put(const char *text, const char *format, ...) PRINTF_LIKE(2, 3);
static void put(const char *text, const char *format, ...)
{
	char path[256];
	va_list args;
	int fd;

	va_start(args, format);
	(void)vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdirat(root_fd, path, 0755);
		*slash = '/';
	}
	fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void expect(const char *path, const char *text)
{
	char buf[128];

	ck_assert_int_ge(file_read_small(root_fd, path, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, text);
}

static void put_region(int number, const char *start, const char *end, const char *n)
{
	put(start, SCHEME "tried_regions/%d/start", number);
	put(end, SCHEME "tried_regions/%d/end", number);
	put(n, SCHEME "tried_regions/%d/nr_accesses", number);
}

static void setup(void)
{
	static const char *const files[] = {
		"kdamonds/0/contexts/nr_contexts",
		"kdamonds/0/contexts/0/operations",
		"kdamonds/0/contexts/0/targets/nr_targets",
		"kdamonds/0/contexts/0/targets/0/pid_target",
		"kdamonds/0/contexts/0/targets/1/pid_target",
		"kdamonds/0/contexts/0/monitoring_attrs/intervals/sample_us",
		"kdamonds/0/contexts/0/monitoring_attrs/intervals/aggr_us",
		"kdamonds/0/contexts/0/monitoring_attrs/intervals/update_us",
		"kdamonds/0/contexts/0/monitoring_attrs/nr_regions/min",
		"kdamonds/0/contexts/0/monitoring_attrs/nr_regions/max",
		"kdamonds/0/contexts/0/schemes/nr_schemes",
		SCHEME "action",
		SCHEME "access_pattern/sz/max",
		SCHEME "access_pattern/nr_accesses/max",
		SCHEME "access_pattern/age/max",
	};

	strcpy(root, "/tmp/test_damon.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(root_fd, 0);
	put("0\n", "kdamonds/nr_kdamonds");
	put("off\n", "kdamonds/0/state");
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put("0\n", "%s", files[i]);
	put_region(0, "0", "67108864", "20");
	put_region(1, "67108864", "134217728", "0");
}

static void teardown(void)
{
	close(root_fd);
	(void)nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct damon *begin(void)
{
	struct damon *damon = NULL;

	ck_assert_int_eq(damon_new(root, pids, 2, 5000, &damon), DAMON_OK);
	return damon;
}

/* Steps to the next action that is not just "again". */
static struct damon_action next(struct damon *damon, int result)
{
	struct damon_action action = damon_step(damon, result);

	for (int i = 0; action.verb == DAMON_STEP; i++) {
		ck_assert_int_lt(i, 100);
		action = damon_step(damon, 0);
	}
	return action;
}

static void expect_write(struct damon_action action, const char *text)
{
	ck_assert_int_eq(action.verb, DAMON_WRITE);
	ck_assert_str_eq(action.text, text);
}

static int result_of(struct damon *damon)
{
	const struct damon_region *regions;
	size_t n;

	return damon_result(damon, &regions, &n);
}

START_TEST(a_measurement_sets_up_reads_and_takes_down)
{
	struct damon *damon = begin();
	const struct damon_region *regions;
	struct damon_action action;
	size_t n;

	expect_write(damon_step(damon, 0), "on");
	ck_assert_int_ge(damon_command_fd(damon), 0);
	expect("kdamonds/nr_kdamonds", "1");
	expect("kdamonds/0/contexts/0/operations", "vaddr");
	expect("kdamonds/0/contexts/0/targets/nr_targets", "2");
	expect("kdamonds/0/contexts/0/targets/1/pid_target", "102");
	expect(SCHEME "action", "stat");
	expect(SCHEME "access_pattern/sz/max", MARK);
	/* five intervals of two samples, half of the regions for each process */
	expect(ATTRS "intervals/sample_us", "500000");
	expect(ATTRS "intervals/aggr_us", "1000000");
	expect(ATTRS "nr_regions/min", "100");
	expect(ATTRS "nr_regions/max", "1000");
	ck_assert_uint_eq(damon_sample_ms(damon), 500);
	put("on\n", "kdamonds/0/state");
	action = damon_step(damon, 2);
	ck_assert_int_eq(action.verb, DAMON_WAIT);
	ck_assert_uint_eq(action.wait_ms, 4500); /* into the fifth */
	expect_write(damon_step(damon, 0), "update_schemes_tried_regions");
	expect_write(next(damon, 28), "off");
	put("off\n", "kdamonds/0/state");
	ck_assert_int_eq(damon_step(damon, 3).verb, DAMON_DONE);
	expect("kdamonds/nr_kdamonds", "0");
	ck_assert_int_eq(damon_result(damon, &regions, &n), DAMON_OK);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(regions[0].end - regions[0].start, 64 << 20);
	ck_assert_uint_eq(regions[0].n_accesses, 20);
	ck_assert_uint_eq(regions[1].n_accesses, 0);
	damon_free(damon);
}
END_TEST

START_TEST(many_regions_are_read_in_several_turns_and_bounded)
{
	struct damon *damon;
	const struct damon_region *regions;
	int n_turns = 0;
	size_t n;

	for (int i = 0; i < DAMON_REGIONS_MAX + 20; i++) {
		char start[32], end[32];

		(void)snprintf(start, sizeof(start), "%d", i * 4096);
		(void)snprintf(end, sizeof(end), "%d", i * 4096 + 4096);
		put_region(i, start, end, "1");
	}
	damon = begin();
	(void)damon_step(damon, 0);
	put("on\n", "kdamonds/0/state");
	(void)damon_step(damon, 2);
	(void)damon_step(damon, 0);
	while (damon_step(damon, 28).verb == DAMON_STEP)
		n_turns++;
	ck_assert_int_ge(n_turns, 10);
	put("off\n", "kdamonds/0/state");
	ck_assert_int_eq(damon_step(damon, 3).verb, DAMON_DONE);
	ck_assert_int_eq(damon_result(damon, &regions, &n), DAMON_OK);
	ck_assert_uint_eq(n, DAMON_REGIONS_MAX);
	damon_free(damon);
}
END_TEST

START_TEST(what_somebody_else_has_set_up_is_left_alone)
{
	struct damon *damon;

	put("1\n", "kdamonds/nr_kdamonds");
	put("on\n", "kdamonds/0/state");
	damon_clean(root);
	expect("kdamonds/0/state", "on");
	damon = begin();
	ck_assert_int_eq(damon_step(damon, 0).verb, DAMON_DONE);
	ck_assert_int_eq(result_of(damon), DAMON_BUSY);
	expect("kdamonds/nr_kdamonds", "1");
	expect("kdamonds/0/state", "on");
	damon_free(damon);
}
END_TEST

START_TEST(what_a_killed_daemon_left_is_ended_first)
{
	struct damon *damon;

	put("1\n", "kdamonds/nr_kdamonds");
	put("on\n", "kdamonds/0/state");
	put(MARK "\n", SCHEME "access_pattern/sz/max");
	damon = begin();
	expect_write(damon_step(damon, 0), "off");
	put("off\n", "kdamonds/0/state");
	expect_write(next(damon, 3), "on");
	damon_free(damon);
	put("on\n", "kdamonds/0/state");
	damon_clean(root);
	expect("kdamonds/0/state", "off");
	expect("kdamonds/nr_kdamonds", "0");
}
END_TEST

START_TEST(processes_that_end_are_said_and_cleaned_up)
{
	struct damon *damon = begin();

	(void)damon_step(damon, 0);
	ck_assert_int_eq(next(damon, -EINVAL).verb, DAMON_DONE); /* before it began */
	ck_assert_int_eq(result_of(damon), DAMON_GONE);
	expect("kdamonds/nr_kdamonds", "0");
	damon_free(damon);
	damon = begin();
	(void)damon_step(damon, 0);
	ck_assert_int_eq(damon_step(damon, 2).verb, DAMON_WAIT); /* state stays off */
	ck_assert_int_eq(next(damon, 0).verb, DAMON_DONE);
	ck_assert_int_eq(result_of(damon), DAMON_GONE);
	damon_free(damon);
}
END_TEST

START_TEST(damaged_regions_are_refused_and_cleaned_up)
{
	static const char *const bad[][3] = {
		{ "10", "9", "1" },
		{ "x", "9", "1" },
		{ "1", "", "1" },
		{ "1", "9", "-1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct damon *damon = begin();

		put_region(1, bad[i][0], bad[i][1], bad[i][2]);
		(void)damon_step(damon, 0);
		put("on\n", "kdamonds/0/state");
		(void)damon_step(damon, 2);
		(void)damon_step(damon, 0);
		expect_write(next(damon, 28), "off");
		put("off\n", "kdamonds/0/state");
		ck_assert_int_eq(damon_step(damon, 3).verb, DAMON_DONE);
		ck_assert_int_eq(result_of(damon), -EBADMSG);
		expect("kdamonds/nr_kdamonds", "0");
		damon_free(damon);
	}
}
END_TEST

START_TEST(a_kernel_without_it_is_told)
{
	struct damon *damon = NULL;

	ck_assert_int_eq(damon_check("/nonexistent"), DAMON_ABSENT);
	ck_assert_int_eq(damon_new("/nonexistent", pids, 2, 5000, &damon), DAMON_ABSENT);
	ck_assert_ptr_null(damon);
	ck_assert_int_eq(damon_check(root), DAMON_OK);
	ck_assert_int_eq(damon_new(root, pids, 0, 5000, &damon), -EINVAL);
	ck_assert_int_eq(unlinkat(root_fd, "kdamonds/0/contexts/0/operations", 0), 0);
	damon = begin();
	ck_assert_int_eq(next(damon, 0).verb, DAMON_DONE);
	ck_assert_int_eq(result_of(damon), DAMON_ABSENT);
	damon_free(damon);
	damon_clean("/nonexistent");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("damon");
	TCase *tc = tcase_create("damon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_measurement_sets_up_reads_and_takes_down);
	tcase_add_test(tc, many_regions_are_read_in_several_turns_and_bounded);
	tcase_add_test(tc, what_somebody_else_has_set_up_is_left_alone);
	tcase_add_test(tc, what_a_killed_daemon_left_is_ended_first);
	tcase_add_test(tc, processes_that_end_are_said_and_cleaned_up);
	tcase_add_test(tc, damaged_regions_are_refused_and_cleaned_up);
	tcase_add_test(tc, a_kernel_without_it_is_told);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
