/* SPDX-License-Identifier: Apache-2.0 */

/* Lines out of pieces, and the writer that puts them into a pipe. */

#undef NDEBUG

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <zlib.h>

#include "feed.h"
#include "lines.h"
#include "suite.h"

/* Passes one piece through the splitter, behind what is in @out. */
static void pass_piece(struct lines *lines, const char *data, size_t len, char *out)
{
	struct iovec parts[2];
	size_t n_cut = lines_cut(lines, data, len, parts);

	strncat(out, parts[0].iov_base, parts[0].iov_len);
	strncat(out, parts[1].iov_base, parts[1].iov_len);
	lines_keep(lines, data, len, n_cut);
}

START_TEST(only_whole_lines_are_passed_on)
{
	struct lines lines;
	char out[64] = "";

	ck_assert_int_eq(lines_init(&lines, 16), 0);
	pass_piece(&lines, "one\ntw", 6, out);
	ck_assert_str_eq(out, "one\n");
	pass_piece(&lines, "o", 1, out);
	ck_assert_str_eq(out, "one\n");
	ck_assert_uint_eq(lines.n_kept, 3);
	pass_piece(&lines, "\n", 1, out);
	ck_assert_str_eq(out, "one\ntwo\n");
	pass_piece(&lines, "a\n\nb\n", 5, out);
	ck_assert_str_eq(out, "one\ntwo\na\n\nb\n");
	ck_assert_uint_eq(lines.n_kept, 0);
	lines_deinit(&lines);
}
END_TEST

START_TEST(a_line_is_kept_up_to_the_bound_and_then_passed_as_it_is)
{
	struct lines lines;
	char out[64] = "";

	ck_assert_int_eq(lines_init(&lines, 8), 0);
	pass_piece(&lines, "12345678", 8, out);
	ck_assert_str_eq(out, "");
	pass_piece(&lines, "9", 1, out);
	ck_assert_str_eq(out, "123456789");
	ck_assert_uint_eq(lines.n_kept, 0);
	pass_piece(&lines, "\nshort\nabc", 10, out);
	ck_assert_str_eq(out, "123456789\nshort\n");
	ck_assert_uint_eq(lines.n_kept, 3);
	pass_piece(&lines, "d\n123456789", 11, out); /* a rest above the bound */
	ck_assert_str_eq(out, "123456789\nshort\nabcd\n123456789");
	lines_deinit(&lines);
}
END_TEST

START_TEST(wherever_a_text_is_cut_its_lines_are_the_same)
{
	static const char text[] = "a\n\nbcdefg\nhij\nk";
	size_t len = strlen(text);

	for (size_t cut = 0; cut <= len; cut++) {
		struct lines lines;
		char out[64] = "";

		ck_assert_int_eq(lines_init(&lines, 16), 0);
		pass_piece(&lines, text, cut, out);
		pass_piece(&lines, text + cut, len - cut, out);
		ck_assert_str_eq(out, "a\n\nbcdefg\nhij\n");
		ck_assert_uint_eq(lines.n_kept, 1);
		lines_deinit(&lines);
	}
}
END_TEST

/* ------------------------------------------------------------------ feed */

static atomic_uint n_released, n_broken;
static struct tm_buffer some_buffer;

static void on_release(struct tm_buffer *buffer)
{
	ck_assert_ptr_eq(buffer, &some_buffer);
	atomic_fetch_add(&n_released, 1);
}

static void on_broken(void *userdata)
{
	ck_assert_ptr_eq(userdata, &n_broken);
	atomic_fetch_add(&n_broken, 1);
}

static const struct feed_callbacks callbacks = { on_release, on_broken, &n_broken };

static struct feed *make_feed(int *ret_read_fd)
{
	struct feed *feed;
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(feed_new(fds[1], 16, &callbacks, &feed), 0);
	*ret_read_fd = fds[0];
	return feed;
}

static void push(struct feed *feed, struct feed_stream *stream, const char *text)
{
	ck_assert_int_eq(feed_push(feed, stream, &some_buffer, text, strlen(text)), 0);
}

static void expect_pipe(int fd, const char *expected)
{
	char text[256] = "";

	ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, expected);
}

START_TEST(streams_are_not_mixed_inside_a_line)
{
	struct feed_stream *a, *b;
	struct feed_totals totals;
	struct feed *feed;
	int fd;

	feed = make_feed(&fd);
	a = feed_open(feed, "a");
	b = feed_open(feed, "b");
	push(feed, a, "first li");
	push(feed, b, "second line\nthi");
	push(feed, a, "ne\n");
	push(feed, b, "rd\n");
	feed_close(feed, a, 0);
	feed_close(feed, b, 0);
	feed_finish(feed);
	expect_pipe(fd, "second line\nfirst line\nthird\n");
	totals = feed_get_totals(feed);
	ck_assert_uint_eq(totals.bytes, 29);
	ck_assert_uint_eq(totals.buffers, 4);
	ck_assert_uint_eq(totals.streams, 2);
	ck_assert_uint_eq(totals.newlines_added, 0);
	ck_assert_uint_eq(totals.crc32,
			  crc32(0, (const Bytef *)"second line\nfirst line\nthird\n", 29));
	ck_assert_uint_eq(n_released, 4);
	ck_assert_uint_eq(n_broken, 0);
	feed_free(feed);
	close(fd);
}
END_TEST

START_TEST(a_last_line_without_newline_gets_one_only_when_others_follow)
{
	struct feed_stream *a, *b;
	struct feed *feed;
	int fd;

	feed = make_feed(&fd);
	a = feed_open(feed, "a");
	b = feed_open(feed, "b");
	push(feed, a, "end");
	feed_close(feed, a, -ECONNRESET);
	push(feed, b, "more\nend");
	feed_close(feed, b, 0);
	feed_finish(feed);
	expect_pipe(fd, "end\nmore\nend");
	ck_assert_uint_eq(feed_get_totals(feed).newlines_added, 1);
	ck_assert_uint_eq(feed_get_totals(feed).bytes, 11);
	feed_free(feed);
	close(fd);
}
END_TEST

START_TEST(each_stream_is_described_with_its_own_checksum)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *array = NULL;
	struct feed_stream *a, *b;
	struct feed *feed;
	char *text, expected[256];
	int fd;

	feed = make_feed(&fd);
	a = feed_open(feed, "a");
	b = feed_open(feed, "b");
	push(feed, a, "one\n");
	push(feed, b, "two\n");
	push(feed, a, "three");
	feed_close(feed, b, 0);
	feed_close(feed, a, -ECONNRESET);
	feed_finish(feed);
	ck_assert_int_eq(feed_describe_streams(feed, &array), 0);
	ck_assert_int_ge(sd_json_variant_format(array, 0, &text), 0);
	snprintf(expected, sizeof(expected),
		 "[{\"peer\":\"b\",\"bytes\":4,\"buffers\":1,\"crc32\":\"%08lx\",\"error\":\"\"},"
		 "{\"peer\":\"a\",\"bytes\":9,\"buffers\":2,\"crc32\":\"%08lx\",\"error\":\"%s\"}]",
		 crc32(0, (const Bytef *)"two\n", 4), crc32(0, (const Bytef *)"one\nthree", 9),
		 strerror(ECONNRESET));
	ck_assert_str_eq(text, expected);
	free(text);
	feed_free(feed);
	close(fd);
}
END_TEST

START_TEST(without_a_reader_buffers_are_released_and_the_owner_is_told_once)
{
	struct feed_stream *a;
	struct feed *feed;
	int fd;

	feed = make_feed(&fd);
	close(fd);
	a = feed_open(feed, "a");
	for (int i = 0; i < 100; i++)
		push(feed, a, "line\n");
	feed_close(feed, a, 0);
	feed_finish(feed);
	ck_assert_uint_eq(n_released, 100);
	ck_assert_uint_eq(n_broken, 1);
	ck_assert_uint_eq(feed_get_totals(feed).bytes, 0);
	feed_free(feed);
}
END_TEST

START_TEST(an_abort_ends_a_writer_that_waits_for_a_reader)
{
	static char big[1 << 20];
	struct feed_stream *a;
	struct feed *feed;
	int fd, n_filled = 0;

	memset(big, '\n', sizeof(big) - 1);
	feed = make_feed(&fd);
	a = feed_open(feed, "a");
	push(feed, a, big); /* far more than the pipe holds, and nobody reads */
	feed_close(feed, a, 0);
	while (n_filled < fcntl(fd, F_GETPIPE_SZ))
		ck_assert_int_eq(ioctl(fd, FIONREAD, &n_filled), 0);
	feed_abort(feed);
	feed_finish(feed); /* would hang */
	ck_assert_uint_eq(n_released, 1);
	feed_free(feed);
	close(fd);
}
END_TEST

static void *read_all(void *userdata)
{
	int fd = *(int *)userdata;
	uintptr_t total = 0;
	char block[4096];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		total += (uintptr_t)n;
	return (void *)total;
}

START_TEST(more_than_a_pipe_holds_arrives_whole)
{
	static char big[1 << 20];
	struct feed_stream *a;
	struct feed *feed;
	pthread_t reader;
	void *total;
	int fd;

	for (size_t i = 0; i < sizeof(big) - 1; i++)
		big[i] = i % 61 == 60 ? '\n' : 'x';
	feed = make_feed(&fd);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &fd), 0);
	a = feed_open(feed, "a");
	push(feed, a, big);
	feed_close(feed, a, 0);
	feed_finish(feed);
	ck_assert_int_eq(pthread_join(reader, &total), 0);
	ck_assert_uint_eq((uintptr_t)total, sizeof(big) - 1);
	ck_assert_uint_eq(feed_get_totals(feed).crc32,
			  crc32(0, (const Bytef *)big, sizeof(big) - 1));
	feed_free(feed);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("feed");
	TCase *lines = tcase_create("lines"), *feed = tcase_create("feed");

	tcase_add_test(lines, only_whole_lines_are_passed_on);
	tcase_add_test(lines, a_line_is_kept_up_to_the_bound_and_then_passed_as_it_is);
	tcase_add_test(lines, wherever_a_text_is_cut_its_lines_are_the_same);
	tcase_add_test(feed, streams_are_not_mixed_inside_a_line);
	tcase_add_test(feed, a_last_line_without_newline_gets_one_only_when_others_follow);
	tcase_add_test(feed, each_stream_is_described_with_its_own_checksum);
	tcase_add_test(feed, without_a_reader_buffers_are_released_and_the_owner_is_told_once);
	tcase_add_test(feed, an_abort_ends_a_writer_that_waits_for_a_reader);
	tcase_add_test(feed, more_than_a_pipe_holds_arrives_whole);
	suite_add_tcase(suite, lines);
	suite_add_tcase(suite, feed);
	return suite_run(suite);
}
