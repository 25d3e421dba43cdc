/* SPDX-License-Identifier: Apache-2.0 */

/* The ages of a cgroup's pages out of a text of a real kernel, and out of no such text. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/lru_gen.h"
#include "suite.h"

#define PAGE UINT64_C(4096)

/* Linux 6.12.117, two nodes: a task with 128 MiB hot and 128 MiB cold, aged twice. */
static const char real_text[] = "memcg     1 /\n"
				" node     0\n"
				"          0     126528          0           0 \n"
				"          1     126528          0         309 \n"
				"          2     126528          0           0 \n"
				"          3     126528        488        4011 \n"
				" node     1\n"
				"          3     126528          0          14 \n"
				"memcg    11 /a128\n"
				" node     0\n"
				"          2      12504          0           0 \n"
				"          3      12504      25168           0 \n"
				"          4       5852          2           0 \n"
				"          5        376          0           0 \n"
				" node     1\n"
				"          2      12504          0           1 \n"
				"          3      12504       7617           0 \n"
				"          4       5700      32774           0 \n"
				"          5        192          0           0 \n"
				"memcg    12 /a128/below it\n"
				" node     0\n"
				"          0       6124          0           7 \n"
				"memcg    13 /last\n"
				" node     0\n"
				"          0       6124          3           0 \n";

static struct lru_gen_reader *reader_of(const char *path)
{
	struct lru_gen_reader *reader = NULL;

	REQUIRE(lru_gen_reader_new(NULL, path, &reader) == LRU_GEN_OK);
	return reader;
}

/* The whole text in pieces of @piece bytes, then its end. */
static int feed(struct lru_gen_reader *reader, const char *text, size_t piece)
{
	size_t len = strlen(text);

	for (size_t at = 0; at < len; at += piece) {
		int r = lru_gen_feed(reader, text + at, MIN(piece, len - at));

		if (r != LRU_GEN_MORE)
			return r;
	}
	return lru_gen_feed(reader, "", 0);
}

static int feed_all(const char *path, const char *text)
{
	struct lru_gen_reader *reader = reader_of(path);
	int r = feed(reader, text, 4096);

	lru_gen_reader_free(reader);
	return r;
}

START_TEST(a_cgroup_is_found_however_the_text_is_cut)
{
	for (size_t piece = 1; piece < sizeof(real_text); piece++) {
		struct lru_gen_reader *reader = reader_of("/a128");
		const struct lru_gen_ages *ages = lru_gen_reader_ages(reader);
		char command[LRU_GEN_COMMAND_MAX];
		uint64_t anon, file;

		ck_assert_int_eq(feed(reader, real_text, piece), LRU_GEN_OK);
		ck_assert_uint_eq(ages->id, 11);
		ck_assert_uint_eq(ages->n_nodes, 2);
		ck_assert_int_eq(ages->nodes[0].node, 0);
		ck_assert_int_eq(ages->nodes[1].node, 1);
		ck_assert_uint_eq(ages->nodes[1].n, 4);
		ck_assert_uint_eq(ages->nodes[1].generations[2].seq, 4);
		ck_assert_uint_eq(ages->nodes[1].generations[2].age_ms, 5700);
		lru_gen_sum(&ages->nodes[1], 4, &anon, &file);
		ck_assert_uint_eq(anon, 32774 * PAGE);
		ck_assert_uint_eq(file, 0);
		lru_gen_sum(&ages->nodes[1], 0, &anon, &file);
		ck_assert_uint_eq(anon, (32774 + 7617) * PAGE);
		ck_assert_uint_eq(file, PAGE);
		ck_assert_str_eq(lru_gen_command(ages->id, &ages->nodes[1], command),
				 "+ 11 1 5 1 1\n");
		lru_gen_reader_free(reader);
	}
}
END_TEST

START_TEST(the_last_cgroup_and_paths_with_blanks_are_found)
{
	ck_assert_int_eq(feed_all("/last", real_text), LRU_GEN_OK);
	ck_assert_int_eq(feed_all("/a128/below it", real_text), LRU_GEN_OK);
	ck_assert_int_eq(feed_all("/", real_text), LRU_GEN_OK);
}
END_TEST

START_TEST(a_cgroup_that_is_not_listed_is_gone)
{
	ck_assert_int_eq(feed_all("/a12", real_text), LRU_GEN_GONE);
	ck_assert_int_eq(feed_all("/a1288", real_text), LRU_GEN_GONE);
	ck_assert_int_eq(feed_all("a128", real_text), LRU_GEN_GONE);
	ck_assert_int_eq(feed_all("/a128", ""), LRU_GEN_GONE);
}
END_TEST

START_TEST(text_of_another_shape_is_refused)
{
	static const char *const texts[] = {
		"memcg  1 /a\n 0 1 2 3\n",                    /* no node */
		"memcg  1 /a\n node 0\n 0 1 2\n",             /* a column is missing */
		"memcg  1 /a\n node 0\n 0 1 2 -3\n",          /* a sign */
		"memcg  1 /a\n node 0\n 0 1 x 3\n",           /* no number */
		"memcg  1 /a\n node 0\n 5 1 2 3\n 5 1 2 3\n", /* the same generation twice */
		"memcg  1 /a\n node 0\n 5 1 2 3\n 4 1 2 3\n", /* backwards */
		"memcg  1 /a\n node 64\n",
		"memcg  1 /a\n node 0\n node 0\n",
		"memcg  1 /a\n node\n",
		"memcg  1 /a\n what\n",
		"memcg\n",
		"memcg x /a\n",
		"memcg 99999999999 /a\n",
		"memcg  1 /a\n node 0\n 0 1 2 18446744073709551615\n", /* bytes overflow */
		"memcg  1 /a\n node 0\n 0 1 2 3",                      /* cut off */
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		ck_assert_msg(feed_all("/a", texts[i]) == -EBADMSG, "%s", texts[i]);
	/* in another cgroup's lines it is none of our business */
	ck_assert_int_eq(feed_all("/b", "memcg 1 /a\n what\nmemcg 2 /b\n node 0\n 0 1 2 3\n"),
			 LRU_GEN_OK);
}
END_TEST

START_TEST(too_many_of_anything_is_refused)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs("memcg 1 /a\n node 0\n", out);
	for (int i = 0; i <= LRU_GEN_MAX; i++)
		fprintf(out, " %d 1 2 3\n", i);
	fclose(out);
	ck_assert_int_eq(feed_all("/a", text), -EBADMSG);
	free(text);
	text = malloc(20001);
	memset(text, '/', 20000);
	text[20000] = '\0';
	memcpy(text, "memcg 1 /", 9);
	text[12000] = '\n';
	ck_assert_int_eq(feed_all("/a", text), -EBADMSG); /* no last newline */
	text[19999] = '\n';
	ck_assert_int_eq(feed_all("/a", text), LRU_GEN_GONE); /* long lines are passed over */
	free(text);
}
END_TEST

START_TEST(random_damage_never_breaks_the_parser)
{
	for (uint64_t seed = 0; seed < 20000; seed++) {
		char text[sizeof(real_text)];
		struct lru_gen_reader *reader = reader_of("/a128");
		int r;

		random_state = seed;
		memcpy(text, real_text, sizeof(text));
		for (uint64_t n = 1 + random_below(8); n > 0; n--) {
			size_t at = random_below(sizeof(text) - 1);

			text[at] = random_below(2) ? " \n0x/9"[random_below(6)]
						   : (char)(1 + random_below(255));
		}
		r = feed(reader, text, 1 + random_below(400));
		REQUIRE(r == LRU_GEN_OK || r == LRU_GEN_GONE || r == -EBADMSG);
		REQUIRE(lru_gen_reader_ages(reader)->n_nodes <= NODES_MAX);
		lru_gen_reader_free(reader);
	}
}
END_TEST

START_TEST(a_file_is_read_piece_by_piece)
{
	char path[] = "/tmp/test_lru_gen.XXXXXX";
	struct lru_gen_reader *reader = NULL;
	int fd = mkstemp(path), n_steps = 0, r;
	char filler[64];

	ck_assert_int_ge(fd, 0);
	for (int i = 0; i < 1000; i++) {
		int len = snprintf(filler, sizeof(filler),
				   "memcg %5d /x%d\n node     0\n 1 2 3 4 \n", 100 + i, i);

		ck_assert_int_eq(fd_write_all(fd, filler, (size_t)len), 0);
	}
	ck_assert_int_eq(fd_write_all(fd, real_text, strlen(real_text)), 0);
	ck_assert_int_eq(lru_gen_reader_new(path, "/a128", &reader), LRU_GEN_OK);
	while ((r = lru_gen_step(reader)) == LRU_GEN_MORE)
		n_steps++;
	ck_assert_int_eq(r, LRU_GEN_OK);
	ck_assert_int_ge(n_steps, 9);
	ck_assert_uint_eq(lru_gen_reader_ages(reader)->nodes[1].generations[2].anon_bytes,
			  32774 * PAGE);
	lru_gen_reader_free(reader);
	close(fd);
	unlink(path);
	ck_assert_int_eq(lru_gen_reader_new(path, "/a128", &reader), LRU_GEN_ABSENT);
	ck_assert_int_eq(lru_gen_open(path, &fd), LRU_GEN_ABSENT);
}
END_TEST

START_TEST(both_the_lists_and_the_walk_must_be_on)
{
	ck_assert_int_eq(lru_gen_parse_enabled("0x0007"), LRU_GEN_OK);
	ck_assert_int_eq(lru_gen_parse_enabled("0x0003"), LRU_GEN_OK);
	ck_assert_int_eq(lru_gen_parse_enabled("0x0005"), LRU_GEN_OFF);
	ck_assert_int_eq(lru_gen_parse_enabled("0x0000"), LRU_GEN_OFF);
	ck_assert_int_eq(lru_gen_parse_enabled("0x"), -EBADMSG);
	ck_assert_int_eq(lru_gen_parse_enabled("7"), -EBADMSG);
	ck_assert_int_eq(lru_gen_parse_enabled("0x00g7"), -EBADMSG);
	ck_assert_int_eq(lru_gen_parse_enabled("0xffffffffffffffffffff"), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lru_gen");
	TCase *tc = tcase_create("lru_gen");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_cgroup_is_found_however_the_text_is_cut);
	tcase_add_test(tc, the_last_cgroup_and_paths_with_blanks_are_found);
	tcase_add_test(tc, a_cgroup_that_is_not_listed_is_gone);
	tcase_add_test(tc, text_of_another_shape_is_refused);
	tcase_add_test(tc, too_many_of_anything_is_refused);
	tcase_add_test(tc, random_damage_never_breaks_the_parser);
	tcase_add_test(tc, a_file_is_read_piece_by_piece);
	tcase_add_test(tc, both_the_lists_and_the_walk_must_be_on);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
