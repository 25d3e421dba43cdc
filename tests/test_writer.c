/* SPDX-License-Identifier: Apache-2.0 */

/* Each case runs twice: with io_uring (or what writer_new() takes in its place) and with the
 * thread. Pipes that are full stand in for kernel files whose write blocks. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/writer.h"
#include "suite.h"

#define TIMEOUT_USEC (10U * 1000000U)

static sd_event *event;
static struct writer *writer;
static char path[64];
static int file_fd;

struct seen {
	int calls;
	int result;
};

static void open_writer(int use_thread)
{
	ck_assert_int_eq(
		use_thread ? writer_new_thread(event, &writer) : writer_new(event, &writer), 0);
}

static void setup(void)
{
	ck_assert_int_ge(sd_event_new(&event), 0);
	strcpy(path, "/tmp/test_writer.XXXXXX");
	file_fd = mkostemp(path, O_CLOEXEC);
	ck_assert_int_ge(file_fd, 0);
	writer = NULL;
}

static void teardown(void)
{
	writer_free(writer);
	sd_event_unref(event);
	close(file_fd);
	unlink(path);
}

static void on_done(int result, void *userdata)
{
	struct seen *seen = userdata;

	seen->calls++;
	seen->result = result;
}

static void run_until(const int *counter, int count)
{
	while (*counter < count)
		ck_assert_msg(sd_event_run(event, TIMEOUT_USEC) > 0, "nothing came in 10 s");
}

static void expect_text(const char *text)
{
	char buf[512];

	ck_assert_int_ge(fd_read_small(file_fd, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, text);
}

/* A pipe that takes no byte more; writing to it blocks. */
static void open_full_pipe(int fds[static 2])
{
	static const char zeros[4096];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], zeros, sizeof(zeros)) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(fcntl(fds[1], F_SETFL, 0), 0);
}

static void drain(int fd)
{
	char buf[4096];

	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

START_TEST(the_kind_is_named)
{
	open_writer(_i);
	if (_i)
		ck_assert_str_eq(writer_kind(writer), "thread");
	else
		ck_assert(strcmp(writer_kind(writer), "io_uring") == 0 ||
			  strcmp(writer_kind(writer), "thread") == 0);
}
END_TEST

START_TEST(a_text_is_written_at_the_beginning_and_reported_from_the_loop)
{
	struct seen seen = {};

	open_writer(_i);
	ck_assert_int_eq(writer_submit(writer, file_fd, "hello", on_done, &seen, NULL), 0);
	ck_assert_int_eq(seen.calls, 0);
	run_until(&seen.calls, 1);
	ck_assert_int_eq(seen.result, 5);
	expect_text("hello");
	ck_assert_int_eq(writer_submit(writer, file_fd, "J", on_done, &seen, NULL), 0);
	run_until(&seen.calls, 2);
	expect_text("Jello");
}
END_TEST

START_TEST(an_error_of_the_write_is_the_result)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct seen seen = {};

	open_writer(_i);
	ck_assert_int_eq(writer_submit(writer, fd, "x", on_done, &seen, NULL), 0);
	run_until(&seen.calls, 1);
	ck_assert_int_eq(seen.result, -EBADF);
}
END_TEST

START_TEST(bad_requests_are_refused_at_once)
{
	char text[300];
	struct seen seen = {};

	open_writer(_i);
	memset(text, 'a', sizeof(text));
	text[256] = '\0';
	ck_assert_int_eq(writer_submit(writer, file_fd, text, on_done, &seen, NULL), -E2BIG);
	ck_assert_int_eq(writer_submit(writer, -1, "x", on_done, &seen, NULL), -EBADF);
	text[255] = '\0';
	ck_assert_int_eq(writer_submit(writer, file_fd, text, on_done, &seen, NULL), 0);
	run_until(&seen.calls, 1);
	ck_assert_int_eq(seen.result, 255);
	expect_text(text);
}
END_TEST

START_TEST(the_descriptor_may_be_closed_after_submission)
{
	struct seen seen = {};
	char other[] = "/tmp/test_writer.XXXXXX";
	int fd, other_fd;

	open_writer(_i);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(writer_submit(writer, fd, "mine", on_done, &seen, NULL), 0);
	close(fd);
	other_fd = mkostemp(other, O_CLOEXEC); /* takes the number */
	ck_assert_int_eq(other_fd, fd);
	run_until(&seen.calls, 1);
	expect_text("mine");
	ck_assert_int_eq(lseek(other_fd, 0, SEEK_END), 0);
	close(other_fd);
	unlink(other);
}
END_TEST

START_TEST(many_writes_are_all_done_and_the_last_one_wins)
{
	enum { N = 500 };
	struct seen seen = {};
	char text[16];

	open_writer(_i);
	for (int round = 1; round <= 20; round++) {
		for (int i = 0; i < N; i++) {
			(void)snprintf(text, sizeof(text), "%04d", i);
			ck_assert_int_eq(writer_submit(writer, file_fd, text, on_done, &seen, NULL),
					 0);
		}
		run_until(&seen.calls, round * N);
		ck_assert_int_eq(seen.result, 4);
		expect_text("0499");
	}
}
END_TEST

START_TEST(a_write_that_blocks_does_not_block_the_loop)
{
	struct seen seen = {};
	int fds[2];

	open_writer(_i);
	open_full_pipe(fds);
	ck_assert_int_eq(writer_submit(writer, fds[1], "late", on_done, &seen, NULL), 0);
	while (sd_event_run(event, 50000) > 0)
		;
	ck_assert_int_eq(seen.calls, 0);
	drain(fds[0]);
	run_until(&seen.calls, 1);
	ck_assert_int_eq(seen.result, 4);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_cancelled_write_is_not_reported_and_the_others_are)
{
	enum { N = 100 };
	struct seen cancelled = {}, kept = {};
	struct write_op *ops[N];
	int fds[2];

	open_writer(_i);
	open_full_pipe(fds);
	for (int i = 0; i < N; i++) /* more than there are slots: some run, some wait */
		ck_assert_int_eq(writer_submit(writer, fds[1], "x", on_done,
					       i % 2 ? &kept : &cancelled, &ops[i]),
				 0);
	for (int i = 0; i < N; i += 2)
		writer_cancel(writer, ops[i]);
	drain(fds[0]);
	run_until(&kept.calls, N / 2);
	ck_assert_int_eq(cancelled.calls, 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_write_that_is_ended_early_is_reported_and_makes_room)
{
	struct seen first = {}, second = {};
	struct write_op *op;
	int fds[2];

	open_writer(0);
	if (strcmp(writer_kind(writer), "io_uring") != 0)
		return;
	open_full_pipe(fds);
	ck_assert_int_eq(writer_submit(writer, fds[1], "x", on_done, &first, &op), 0);
	ck_assert_int_eq(writer_submit(writer, fds[1], "y", on_done, &second, NULL), 0);
	writer_end_early(writer, op);
	writer_end_early(writer, op);
	run_until(&first.calls, 1);
	ck_assert_int_lt(first.result, 0);
	ck_assert_int_eq(second.calls, 0);
	drain(fds[0]);
	run_until(&second.calls, 1);
	ck_assert_int_eq(second.result, 1);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Empties the pipe; what is no zero is added to @text. */
static void collect(int fd, char *text, size_t size)
{
	size_t len = strlen(text);
	char buf[4096];
	ssize_t n;

	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] && len < size - 1)
				text[len++] = buf[i];
	text[len] = '\0';
}

START_TEST(what_waits_in_line_is_not_written_when_nobody_wants_it)
{
	struct seen first = {}, cancelled = {}, ended = {}, last = {};
	struct write_op *cancelled_op, *ended_op;
	char text[16] = "";
	int fds[2];

	open_writer(_i);
	open_full_pipe(fds);
	ck_assert_int_eq(writer_submit(writer, fds[1], "a", on_done, &first, NULL), 0);
	ck_assert_int_eq(writer_submit(writer, fds[1], "b", on_done, &cancelled, &cancelled_op), 0);
	ck_assert_int_eq(writer_submit(writer, fds[1], "c", on_done, &ended, &ended_op), 0);
	ck_assert_int_eq(writer_submit(writer, fds[1], "d", on_done, &last, NULL), 0);
	while (sd_event_run(event, 50000) > 0)
		; /* the first one has begun */
	writer_cancel(writer, cancelled_op);
	writer_end_early(writer, ended_op);
	ck_assert_int_eq(ended.calls, 0);
	run_until(&ended.calls, 1);
	ck_assert_int_eq(ended.result, -ECANCELED);
	ck_assert_int_eq(first.calls, 0);
	collect(fds[0], text, sizeof(text));
	run_until(&last.calls, 1);
	collect(fds[0], text, sizeof(text));
	ck_assert_int_eq(first.calls, 1);
	ck_assert_int_eq(cancelled.calls, 0);
	ck_assert_int_eq(ended.calls, 1);
	ck_assert_str_eq(text, "ad");
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(freeing_waits_for_nothing_and_reports_nothing)
{
	struct seen seen = {};
	int fds[2];

	open_writer(_i);
	open_full_pipe(fds);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(writer_submit(writer, fds[1], "x", on_done, &seen, NULL), 0);
	writer_free(writer);
	writer = NULL;
	while (sd_event_run(event, 20000) > 0)
		;
	ck_assert_int_eq(seen.calls, 0);
	drain(fds[0]); /* lets the thread, if there is one, end */
	close(fds[0]);
	close(fds[1]);
}
END_TEST

struct chain {
	int calls;
	int left;
};

static void submit_next(int result, void *userdata)
{
	struct chain *chain = userdata;

	ck_assert_int_eq(result, 1);
	chain->calls++;
	if (chain->left-- > 0)
		ck_assert_int_eq(writer_submit(writer, file_fd, "n", submit_next, chain, NULL), 0);
}

START_TEST(a_callback_may_submit)
{
	struct chain chain = { .left = 50 };

	open_writer(_i);
	ck_assert_int_eq(writer_submit(writer, file_fd, "n", submit_next, &chain, NULL), 0);
	run_until(&chain.calls, 51);
}
END_TEST

static void free_writer(int result, void *userdata)
{
	on_done(result, userdata);
	writer_free(writer);
	writer = NULL;
}

START_TEST(a_callback_may_free_the_writer)
{
	struct seen seen = {};

	open_writer(_i);
	for (int i = 0; i < 60; i++)
		ck_assert_int_eq(writer_submit(writer, file_fd, "n", free_writer, &seen, NULL), 0);
	run_until(&seen.calls, 1);
	while (sd_event_run(event, 20000) > 0)
		;
	ck_assert_int_eq(seen.calls, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("writer");
	TCase *tc = tcase_create("writer");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, the_kind_is_named, 0, 2);
	tcase_add_loop_test(tc, a_text_is_written_at_the_beginning_and_reported_from_the_loop, 0,
			    2);
	tcase_add_loop_test(tc, an_error_of_the_write_is_the_result, 0, 2);
	tcase_add_loop_test(tc, bad_requests_are_refused_at_once, 0, 2);
	tcase_add_loop_test(tc, the_descriptor_may_be_closed_after_submission, 0, 2);
	tcase_add_loop_test(tc, many_writes_are_all_done_and_the_last_one_wins, 0, 2);
	tcase_add_loop_test(tc, a_write_that_blocks_does_not_block_the_loop, 0, 2);
	tcase_add_loop_test(tc, a_cancelled_write_is_not_reported_and_the_others_are, 0, 2);
	tcase_add_test(tc, a_write_that_is_ended_early_is_reported_and_makes_room);
	tcase_add_loop_test(tc, what_waits_in_line_is_not_written_when_nobody_wants_it, 0, 2);
	tcase_add_loop_test(tc, freeing_waits_for_nothing_and_reports_nothing, 0, 2);
	tcase_add_loop_test(tc, a_callback_may_submit, 0, 2);
	tcase_add_loop_test(tc, a_callback_may_free_the_writer, 0, 2);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
