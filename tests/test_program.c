/* SPDX-License-Identifier: Apache-2.0 */

/* The program of "tmctl run": how it is started, what it hears of signals, how it ended. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "program.h"
#include "suite.h"
#include "tmctl.h"

static struct program program;
static atomic_uint n_stops, n_exits;
/* the test's ends: what the program reads, and what it writes */
static int to_fd = -1, from_fd = -1;

static void on_stop(void *userdata)
{
	ck_assert_ptr_eq(userdata, &program);
	atomic_fetch_add(&n_stops, 1);
}

static void on_exited(void *userdata)
{
	ck_assert_ptr_eq(userdata, &program);
	atomic_fetch_add(&n_exits, 1);
}

/* A shell's script; @is_fed: through a pipe to_fd, and its signals go to the stream first. */
static void start(const char *script, bool is_fed)
{
	const struct program_callbacks callbacks = { is_fed ? on_stop : NULL, on_exited, &program };
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	int in[2] = { -1, -1 }, out[2];

	if (is_fed)
		ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	program_init(&program, &callbacks);
	ck_assert_int_eq(program_start(&program, argv, in[0], out[1]), 0);
	if (is_fed)
		close(in[0]);
	close(out[1]);
	to_fd = in[1];
	from_fd = out[0];
}

static void expect_line(const char *expected)
{
	char line[64] = "";

	for (size_t n = 0; n < sizeof(line) - 1; n++)
		if (read(from_fd, line + n, 1) != 1 || line[n] == '\n')
			break;
	line[strcspn(line, "\n")] = '\0';
	ck_assert_str_eq(line, expected);
}

static void wait_for(const atomic_uint *counter, unsigned value)
{
	while (atomic_load(counter) < value)
		usleep(1000);
	ck_assert_uint_eq(atomic_load(counter), value);
}

static void expect_status(int status)
{
	ck_assert_int_eq(program_wait(&program), status);
	ck_assert_uint_eq(n_exits, 1);
	close(from_fd);
}

START_TEST(the_status_is_the_program_s)
{
	start("exit 7", /* is_fed= */ true);
	close(to_fd);
	expect_status(7);
}
END_TEST

START_TEST(a_signal_is_128_and_its_number)
{
	start("kill -KILL $$", /* is_fed= */ true);
	close(to_fd);
	expect_status(TMCTL_RUN_SIGNALLED + SIGKILL);
}
END_TEST

START_TEST(what_cannot_be_executed_says_why)
{
	const struct program_callbacks callbacks = { NULL, on_exited, &program };
	char *missing[] = { (char *)"/nonexistent/program", NULL };
	char *folder[] = { (char *)"/", NULL };

	program_init(&program, &callbacks);
	ck_assert_int_eq(program_start(&program, missing, -1, -1), -ENOENT);
	ck_assert_int_eq(program_start(&program, folder, -1, -1), -EACCES);
	ck_assert_uint_eq(n_exits, 0);
}
END_TEST

/* ^C is for the foreground process group: it must not reach what is to end with its input. */
START_TEST(a_program_that_is_fed_is_apart_from_the_terminal_s_group)
{
	start("echo ready; cat; exit 3", /* is_fed= */ true);
	expect_line("ready");
	ck_assert_int_eq(getpgid(program.pid), program.pid);
	ck_assert_int_ne(getpgrp(), program.pid);
	close(to_fd);
	expect_status(3);
}
END_TEST

START_TEST(a_program_without_an_input_stays_in_the_foreground)
{
	start("echo ready; exec sleep 1000", /* is_fed= */ false);
	expect_line("ready");
	ck_assert_int_eq(getpgid(program.pid), getpgrp());
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	expect_status(TMCTL_RUN_SIGNALLED + SIGTERM);
	ck_assert_uint_eq(n_stops, 0);
}
END_TEST

START_TEST(the_first_signal_ends_the_stream_and_not_the_program)
{
	start("echo ready; cat", /* is_fed= */ true);
	expect_line("ready");
	ck_assert_int_eq(kill(getpid(), SIGINT), 0);
	wait_for(&n_stops, 1);
	/* it still passes on what comes */
	ck_assert_int_eq(write(to_fd, "late\n", 5), 5);
	expect_line("late");
	ck_assert_uint_eq(n_exits, 0);
	close(to_fd);
	expect_status(0);
}
END_TEST

/* What it has started has its standard output, too, until it is gone. */
START_TEST(the_second_signal_is_for_all_that_the_program_has_started)
{
	char byte;

	start("echo ready; sleep 1000; exit 5", /* is_fed= */ true);
	expect_line("ready");
	ck_assert_int_eq(kill(getpid(), SIGINT), 0);
	wait_for(&n_stops, 1);
	ck_assert_uint_eq(n_exits, 0);
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	ck_assert_int_eq(read(from_fd, &byte, 1), 0);
	expect_status(TMCTL_RUN_SIGNALLED + SIGTERM);
	ck_assert_uint_eq(n_stops, 1);
	close(to_fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_status_is_the_program_s,
		a_signal_is_128_and_its_number,
		what_cannot_be_executed_says_why,
		a_program_that_is_fed_is_apart_from_the_terminal_s_group,
		a_program_without_an_input_stays_in_the_foreground,
		the_first_signal_ends_the_stream_and_not_the_program,
		the_second_signal_is_for_all_that_the_program_has_started,
	};
	Suite *suite = suite_create("program");
	TCase *tc = tcase_create("program");

	tcase_set_timeout(tc, 30);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
