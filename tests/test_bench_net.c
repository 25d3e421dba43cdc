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
#include "bench_net.h"
#include "suite.h"

#define LINES_MAX 256
#define LINE_MAX_BYTES 256

static char lines[LINES_MAX][LINE_MAX_BYTES];
static size_t n_lines;

/* Returns the exit status. @before: what the command begins with. */
static int run_after(const char *before, const char *arguments)
{
	char command[1024];
	FILE *f;
	int status;

	(void)snprintf(command, sizeof(command), "%s '%s' --reps 1 --ms 10 %s", before, BENCH_NET,
		       arguments);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	for (n_lines = 0; n_lines < LINES_MAX && fgets(lines[n_lines], LINE_MAX_BYTES, f);)
		n_lines++;
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(const char *arguments)
{
	return run_after("", arguments);
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

START_TEST(a_pool_that_is_resized_loses_nothing)
{
	const char *const names[] = { "grow", "shrink", "full", "back" };
	char name[64];
	double values[2];

	ck_assert_int_eq(run("--tsv --mib 16 resize-4k"), 0);
	ck_assert(find("net.resize-4k.fixed-pool.lost", values));
	ck_assert_double_eq(values[0], 0);
	ck_assert_double_eq(values[1], 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(name, sizeof(name), "net.resize-4k.fixed-pool.%s", names[i]);
		/* in so short a time nothing may come while others have the processors */
		ck_assert_msg(find(name, values), "no %s", name);
		ck_assert_double_ge(values[0], 0);
	}
}
END_TEST

START_TEST(missing_pages_are_a_status_of_their_own)
{
	/* root could reserve them, and a test must not */
	const char *before = geteuid() == 0 ? "setpriv --reuid 65534 --clear-groups" : "";
	bool is_named = false;

	ck_assert_int_eq(run_after(before, "--tsv --mib 65536 resize"), 77);
	for (size_t i = 0; i < n_lines; i++)
		is_named = is_named || (strstr(lines[i], "net.resize.fixed-pool.grow\t") &&
					strstr(lines[i], "\tmissing"));
	ck_assert(is_named);
}
END_TEST

#define STREAM 4096

/* Whatever the places are that the stream is cut at. */
START_TEST(a_stream_is_right_in_pieces)
{
	uint8_t whole[STREAM], pieces[STREAM];

	pattern_fill(whole, STREAM, 7, 0);
	ck_assert_uint_eq(pattern_find_which(whole), 7);
	for (size_t step = 1; step < 40; step++) {
		for (size_t at = 0; at < STREAM; at += step)
			pattern_fill(pieces + at, MIN(step, STREAM - at), 7, at);
		ck_assert_mem_eq(pieces, whole, STREAM);
		for (size_t at = 0; at < STREAM; at += step)
			ck_assert_uint_eq(
				pattern_count_wrong(whole + at, MIN(step, STREAM - at), 7, at), 0);
	}
}
END_TEST

START_TEST(a_stream_shows_what_is_wrong_in_it)
{
	static const uint8_t empty[STREAM];
	uint8_t data[STREAM + 8];

	pattern_fill(data, STREAM + 8, 7, 0);
	/* lost, or twice: as much as a word, and not */
	ck_assert_uint_gt(pattern_count_wrong(data + 8, STREAM, 7, 0), 0);
	ck_assert_uint_gt(pattern_count_wrong(data + 1, STREAM, 7, 0), 0);
	ck_assert_uint_gt(pattern_count_wrong(data, STREAM, 7, 1 << 20), 0);
	/* of another connection, and of an empty page */
	ck_assert_uint_gt(pattern_count_wrong(data, STREAM, 8, 0), 0);
	ck_assert_uint_gt(pattern_count_wrong(empty, STREAM, 7, 0), 0);
	for (size_t i = 0; i < 64; i++) {
		data[i] ^= 0x10;
		ck_assert_uint_eq(pattern_count_wrong(data + 3, 58, 7, 3), i >= 3 && i < 61);
		data[i] ^= 0x10;
	}
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
	ck_assert_int_eq(run("--mib 1 resize-4k"), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_net");
	TCase *tc = tcase_create("bench_net");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, every_receiver_gets_its_bytes);
	tcase_add_test(tc, a_missing_iperf3_is_named);
	tcase_add_test(tc, idle_connections_hold_nothing);
	tcase_add_test(tc, a_pool_that_is_resized_loses_nothing);
	tcase_add_test(tc, missing_pages_are_a_status_of_their_own);
	tcase_add_test(tc, a_stream_is_right_in_pieces);
	tcase_add_test(tc, a_stream_shows_what_is_wrong_in_it);
	tcase_add_test(tc, the_picture_has_a_bar_for_each_receiver);
	tcase_add_test(tc, an_unknown_case_is_refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
