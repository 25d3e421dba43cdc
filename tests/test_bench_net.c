/* SPDX-License-Identifier: Apache-2.0 */

/* bench_net runs, with turns so short that its numbers mean nothing. */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"

#define LINES_MAX 256
#define LINE_MAX_BYTES 256

static char lines[LINES_MAX][LINE_MAX_BYTES];
static size_t n_lines;

/* Returns the exit status. */
static int run(const char *arguments)
{
	char command[1024];
	FILE *f;
	int status;

	(void)snprintf(command, sizeof(command), "'%s' --reps 1 --ms 10 %s", BENCH_NET, arguments);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	for (n_lines = 0; n_lines < LINES_MAX && fgets(lines[n_lines], LINE_MAX_BYTES, f);)
		n_lines++;
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Ours and the peer's number on the line that begins with @name; false: there is none. */
static bool find(const char *name, double ret[static 2])
{
	size_t length = strlen(name);

	for (size_t i = 0; i < n_lines; i++)
		if (strncmp(lines[i], name, length) == 0 && lines[i][length] == '\t')
			return sscanf(lines[i] + length, "%lf %lf", &ret[0], &ret[1]) == 2;
	return false;
}

START_TEST(every_receiver_gets_its_bytes)
{
	const char *const names[] = {
		"net.stream-1.taskmem-epoll.rate",
		"net.stream-1.epoll+recv.rate",
		"net.stream-1.epoll+readv.rate",
		"net.stream-1.io_uring.rate",
	};
	double rates[2];

	ck_assert_int_eq(run("--tsv stream-1"), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ck_assert_msg(find(names[i], rates), "no %s", names[i]);
		ck_assert_double_gt(rates[0], 0);
		ck_assert_double_gt(rates[1], 0);
	}
}
END_TEST

/* The row says so, whatever the machine has installed. */
START_TEST(a_missing_iperf3_is_named)
{
	bool is_named = false;

	ck_assert_int_eq(setenv("BENCH_PEERS", "/nowhere", 1), 0);
	ck_assert_int_eq(run("--only iperf3 stream-1"), 0);
	for (size_t i = 0; i < n_lines; i++)
		is_named = is_named || strstr(lines[i], "iperf3         is missing");
	ck_assert(is_named);
}
END_TEST

START_TEST(idle_connections_hold_nothing)
{
	double held[2], kernel[2], user[2];

	ck_assert_int_eq(run("--tsv --only epoll+recv idle"), 0);
	ck_assert(find("net.idle.epoll+recv.held", held));
	ck_assert_double_eq(held[0], 0);
	/* of the whole machine, so what else runs is in it */
	ck_assert(find("net.idle.epoll+recv.kernel", kernel));
	ck_assert(find("net.idle.epoll+recv.user", user));
	ck_assert_double_gt(user[0], 64);
	ck_assert_double_lt(user[0], 4096);
}
END_TEST

START_TEST(the_picture_has_a_bar_for_each_receiver)
{
	const char *const names[] = { ">taskmem<", ">taskmem-epoll<", ">epoll+recv<",
				      ">epoll+readv<", ">io_uring<" };
	char path[] = "/tmp/taskmem-bench-XXXXXX", arguments[64], text[65536];
	int fd = mkstemp(path);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	(void)snprintf(arguments, sizeof(arguments), "--svg %s ping", path);
	ck_assert_int_eq(run(arguments), 0);
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	close(fd);
	unlink(path);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		ck_assert_msg(strstr(text, names[i]), "no %s", names[i]);
	ck_assert_str_eq(text + n - strlen("</svg>\n"), "</svg>\n");
	ck_assert_int_eq(run("--svg /nowhere/x.svg ping"), 1);
}
END_TEST

START_TEST(an_unknown_case_is_refused)
{
	ck_assert_int_eq(run("stream-0"), 2);
	ck_assert_int_eq(run("--only nobody stream-1"), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_net");
	TCase *tc = tcase_create("bench_net");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, every_receiver_gets_its_bytes);
	tcase_add_test(tc, a_missing_iperf3_is_named);
	tcase_add_test(tc, idle_connections_hold_nothing);
	tcase_add_test(tc, the_picture_has_a_bar_for_each_receiver);
	tcase_add_test(tc, an_unknown_case_is_refused);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed > 0;
}
