/* SPDX-License-Identifier: Apache-2.0 */

#include "history_file.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/fd.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)
#define HALF HISTORY_HALF_LIFE_S
#define T0 UINT64_C(1800000000)

static char error[SAFEFILE_ERROR_MAX];

/* One whole window whose peak is @bytes, ending at @end_s. */
static void window(struct history *h, const char *name, uint64_t bytes, uint64_t end_s)
{
	ck_assert_int_eq(history_note(h, name, bytes, end_s - HISTORY_WINDOW_S), 0);
	ck_assert_int_eq(history_close(h, name, end_s), 0);
}

static const struct history_entry *only(const struct history *h)
{
	ck_assert_uint_eq(history_count(h), 1);
	return history_nth(h, 0);
}

/* ---------------------------------------------------------------- buckets */

START_TEST(buckets_are_five_percent_from_a_mib_to_64_tib)
{
	ck_assert_uint_eq(history_bucket_of(0), 0);
	ck_assert_uint_eq(history_bucket_of(M - 1), 0);
	ck_assert_uint_eq(history_bucket_of(M), 1);
	ck_assert_uint_eq(history_bucket_end(0), 1048576);
	ck_assert_uint_eq(history_bucket_end(1), 1101004);
	ck_assert_uint_eq(history_bucket_end(2), 1156054);
	ck_assert_uint_eq(history_bucket_of(100 * M), 95);
	ck_assert_uint_eq(history_bucket_end(95), 108038667);
	ck_assert_uint_eq(history_bucket_of(108038666), 95);
	ck_assert_uint_eq(history_bucket_of(108038667), 96);
	ck_assert_uint_eq(history_bucket_of(64 * 1024 * G - 1), HISTORY_BUCKETS - 1);
	ck_assert_uint_ge(history_bucket_end(HISTORY_BUCKETS - 1), 64 * 1024 * G);
	ck_assert_uint_eq(history_bucket_of(UINT64_MAX), HISTORY_BUCKETS - 1);
}
END_TEST

/* ---------------------------------------------------------------- windows and weights */

START_TEST(of_a_window_its_peak_counts_once)
{
	struct history *h = history_new(HALF);

	for (uint64_t s = 0; s <= HISTORY_WINDOW_S; s += 10)
		ck_assert_int_eq(history_note(h, "a", s == 100 ? 200 * M : 10 * M, T0 + s), 0);
	ck_assert_uint_eq(only(h)->n_buckets, 1);
	ck_assert_uint_eq(only(h)->buckets[0].index, history_bucket_of(200 * M));
	ck_assert_double_eq(only(h)->buckets[0].weight, 1);
	ck_assert(only(h)->is_open); /* the next one, begun by the last note */
	ck_assert_uint_eq(only(h)->window_bytes, 10 * M);
	history_free(h);
}
END_TEST

/* The page cache that it had before it was found out is not needed either. */
START_TEST(of_a_scan_the_page_cache_does_not_count)
{
	struct history_use use = { .bytes = 300 * M, .kept_bytes = 20 * M };
	struct history *h = history_new(HALF);

	ck_assert_int_eq(history_note_use(h, "a", &use, T0), 0);
	use = (struct history_use){ .bytes = 200 * M, .kept_bytes = 30 * M, .is_scan = true };
	ck_assert_int_eq(history_note_use(h, "a", &use, T0 + 100), 0);
	use = (struct history_use){ .bytes = 250 * M, .kept_bytes = 10 * M };
	ck_assert_int_eq(history_note_use(h, "a", &use, T0 + 200), 0);
	ck_assert_int_eq(history_note_use(h, "a", &use, T0 + HISTORY_WINDOW_S), 0);
	ck_assert_uint_eq(only(h)->n_buckets, 1);
	ck_assert_uint_eq(only(h)->buckets[0].index, history_bucket_of(30 * M));
	/* nor does a later window know of it */
	ck_assert_int_eq(history_close(h, "a", T0 + 2 * HISTORY_WINDOW_S), 0);
	ck_assert_uint_eq(only(h)->n_buckets, 2);
	ck_assert_uint_eq(only(h)->buckets[1].index, history_bucket_of(250 * M));
	history_free(h);
}
END_TEST

START_TEST(a_short_window_counts_by_its_time)
{
	struct history *h = history_new(HALF);

	ck_assert_int_eq(history_note(h, "a", 100 * M, T0), 0);
	ck_assert_int_eq(history_close(h, "a", T0 + 75), 0);
	ck_assert_double_eq(only(h)->buckets[0].weight, 0.25);
	ck_assert_int_eq(history_close(h, "a", T0 + 80), 0); /* none is open */
	ck_assert_int_eq(history_close(h, "b", T0 + 80), 0);
	ck_assert_double_eq(only(h)->buckets[0].weight, 0.25);
	ck_assert_int_eq(history_note(h, "a", 100 * M, T0 + 80), 0);
	ck_assert_int_eq(history_close_all(h, T0 + 80), 0);
	ck_assert_double_eq(only(h)->buckets[0].weight,
			    0.25 * exp2(-5.0 / (double)HALF) + 1.0 / 300);
	history_free(h);
}
END_TEST

START_TEST(weights_halve_with_each_half_life)
{
	struct history *h = history_new(HALF);

	window(h, "a", 100 * M, T0);
	window(h, "a", 200 * M, T0 + HALF);
	window(h, "a", 100 * M, T0 + 3 * HALF);
	ck_assert_uint_eq(only(h)->n_buckets, 2);
	ck_assert_double_eq(only(h)->buckets[0].weight, 1 + 0.125);
	ck_assert_double_eq(only(h)->buckets[1].weight, 0.25);
	ck_assert_double_eq(history_predict(h, "a", T0 + 3 * HALF).windows, 1.375);
	ck_assert_double_eq(history_predict(h, "a", T0 + 4 * HALF).windows, 0.6875);
	history_free(h);
}
END_TEST

START_TEST(a_clock_set_back_makes_nothing_younger)
{
	struct history *h = history_new(HALF);

	window(h, "a", 100 * M, T0);
	/* a host without a clock of its own, until it is told the time */
	ck_assert_int_eq(history_note(h, "a", 100 * M, 1000), 0);
	ck_assert_int_eq(history_close(h, "a", 1150), 0);
	ck_assert_double_eq(only(h)->buckets[0].weight, 1.5);
	ck_assert_uint_eq(only(h)->as_of_s, T0);
	ck_assert_double_eq(history_predict(h, "a", 0).windows, 1.5);
	ck_assert_int_eq(history_note(h, "a", M, T0), 0);
	ck_assert_int_eq(history_note(h, "a", M, T0 - HALF), 0); /* within an open window */
	ck_assert_int_eq(history_note(h, "a", M, T0 - HALF + 299), 0);
	ck_assert(only(h)->is_open);
	ck_assert_uint_eq(only(h)->n_buckets, 1);
	history_free(h);
}
END_TEST

START_TEST(a_clock_that_was_ahead_keeps_nothing_young_for_ever)
{
	struct history *h = history_new(HALF);
	uint64_t ahead = T0 + 1000 * HALF;

	window(h, "a", 100 * M, ahead);
	ck_assert_int_eq(history_note_oom(h, "a", 900 * M, ahead), 0);
	ck_assert(history_predict(h, "a", ahead).is_by_oom);
	ck_assert(!history_predict(h, "a", T0).is_by_oom);
	window(h, "a", 100 * M, T0);
	ck_assert_uint_eq(only(h)->as_of_s, T0);
	ck_assert_uint_eq(only(h)->seen_s, T0 - HISTORY_WINDOW_S);
	ck_assert_double_eq_tol(history_predict(h, "a", T0 + HALF).windows, 1, 1e-9);
	window(h, "a", 200 * M, T0 + 2 * HALF);
	ck_assert_double_eq_tol(only(h)->buckets[0].weight, 0.5, 1e-9);
	history_free(h);
}
END_TEST

START_TEST(what_weighs_nothing_any_more_is_dropped)
{
	struct history *h = history_new(HALF);

	window(h, "a", 100 * M, T0);
	window(h, "a", 200 * M, T0 + 19 * HALF);
	ck_assert_uint_eq(only(h)->n_buckets, 2);
	window(h, "a", 200 * M, T0 + 20 * HALF);
	ck_assert_uint_eq(only(h)->n_buckets, 1);
	/* age alone drops nothing: there is nothing newer to believe */
	ck_assert_uint_eq(history_predict(h, "a", T0 + 9000 * HALF).bytes, 235 * M);
	history_free(h);
}
END_TEST

/* ---------------------------------------------------------------- predictions */

START_TEST(prediction_is_p95_and_15_percent)
{
	struct history *h = history_new(HALF);
	struct history_prediction p;

	ck_assert_uint_eq(history_predict(h, "a", T0).bytes, 0);
	for (int i = 0; i < 95; i++)
		window(h, "a", 100 * M, T0);
	for (int i = 0; i < 5; i++)
		window(h, "a", 1 * G, T0);
	p = history_predict(h, "a", T0);
	ck_assert_uint_eq(p.p95_bytes, 108038667);
	ck_assert_uint_eq(p.bytes, 119 * M); /* 108038667 * 1.15 is 118.49 MiB */
	ck_assert_double_eq(p.windows, 100);
	ck_assert(!p.is_by_oom);
	window(h, "a", 1 * G, T0); /* now the large ones are more than 5 % */
	p = history_predict(h, "a", T0);
	ck_assert_uint_eq(p.p95_bytes, 1123739216);
	ck_assert_uint_eq(p.bytes, 1233 * M);
	ck_assert_uint_eq(history_predict(h, "b", T0).bytes, 0);
	history_free(h);
}
END_TEST

START_TEST(what_was_needed_lately_counts_more)
{
	struct history *h = history_new(HALF);

	for (int i = 0; i < 100; i++)
		window(h, "a", 1 * G, T0);
	for (int i = 0; i < 60; i++)
		window(h, "a", 100 * M, T0 + 5 * HALF); /* 60 to 100/32 */
	ck_assert_uint_eq(history_predict(h, "a", T0 + 5 * HALF).bytes, 119 * M);
	history_free(h);
}
END_TEST

START_TEST(a_kill_raises_the_prediction_for_a_half_life)
{
	struct history *h = history_new(HALF);
	struct history_prediction p;

	window(h, "a", 100 * M, T0);
	ck_assert_int_eq(history_note_oom(h, "a", 300 * M, T0), 0);
	p = history_predict(h, "a", T0 + HALF - 1);
	ck_assert_uint_eq(p.bytes, 400 * M); /* + 100 MiB is more than + 20 % */
	ck_assert(p.is_by_oom);
	ck_assert_int_eq(history_note_oom(h, "a", 1000 * M, T0 + 1), 0);
	ck_assert_uint_eq(history_predict(h, "a", T0 + 2).bytes, 1200 * M);
	ck_assert_int_eq(history_note_oom(h, "a", 100 * M, T0 + 2),
			 0); /* a smaller one only renews */
	ck_assert_uint_eq(history_predict(h, "a", T0 + 1 + HALF).bytes, 1200 * M);
	p = history_predict(h, "a", T0 + 2 + HALF);
	ck_assert_uint_eq(p.bytes, 119 * M);
	ck_assert(!p.is_by_oom);
	ck_assert_int_eq(history_note_oom(h, "b", 10 * M, T0), 0); /* never seen before */
	ck_assert_uint_eq(history_predict(h, "b", T0).bytes, 110 * M);
	history_free(h);
}
END_TEST

START_TEST(the_name_not_seen_for_longest_makes_room)
{
	struct history *h = history_new(HALF);
	char name[SLOT_NAME_MAX + 1];

	for (unsigned i = 0; i < HISTORY_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ck_assert_int_eq(history_note(h, name, M, T0 + (i == 777 ? 0 : 1 + i % 10)), 0);
	}
	ck_assert_uint_eq(history_count(h), HISTORY_NAMES_MAX);
	ck_assert_int_eq(history_note(h, "one-more", M, T0 + 99), 0);
	ck_assert_uint_eq(history_count(h), HISTORY_NAMES_MAX);
	for (size_t i = 0; i < history_count(h); i++)
		ck_assert_str_ne(history_nth(h, i)->name, "n777");
	history_free(h);
}
END_TEST

/* ---------------------------------------------------------------- the file */

static char directory[] = "/tmp/taskmem-history-XXXXXX";
static int dir_fd;

static void setup(void)
{
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void)
{
	DIR *dir = opendir(directory);

	for (struct dirent *e; (e = readdir(dir));)
		unlinkat(dir_fd, e->d_name, 0);
	closedir(dir);
	close(dir_fd);
	rmdir(directory);
}

static struct history *sample(void)
{
	struct history *h = history_new(HALF);

	window(h, "join", 100 * M, T0);
	window(h, "join", 3 * M, T0 + 12345);
	window(h, "join", 777 * M, T0 + 100000);
	window(h, "ingest", 1 * G, T0);
	ck_assert_int_eq(history_note_oom(h, "sink", 300 * M, T0), 0);
	return h;
}

static void check_same(const struct history *a, const struct history *b)
{
	ck_assert_uint_eq(history_count(a), history_count(b));
	for (size_t i = 0; i < history_count(a); i++) {
		const struct history_entry *x = history_nth(a, i), *y = history_nth(b, i);

		ck_assert_str_eq(x->name, y->name);
		ck_assert_uint_eq(x->seen_s, y->seen_s);
		ck_assert_uint_eq(x->as_of_s, y->as_of_s);
		ck_assert_uint_eq(x->oom_bytes, y->oom_bytes);
		ck_assert_uint_eq(x->oom_s, y->oom_s);
		ck_assert_uint_eq(x->n_buckets, y->n_buckets);
		for (size_t k = 0; k < x->n_buckets; k++) {
			ck_assert_uint_eq(x->buckets[k].index, y->buckets[k].index);
			ck_assert_mem_eq(&x->buckets[k].weight, &y->buckets[k].weight,
					 sizeof(double));
		}
	}
}

START_TEST(what_is_saved_comes_back_bit_by_bit)
{
	struct history *h = sample(), *copy = history_clone(h), *loaded = NULL;

	check_same(h, copy);
	ck_assert_int_eq(history_file_save(dir_fd, h), 0);
	ck_assert_int_eq(history_file_load(dir_fd, HALF, &loaded, error), SAFEFILE_OK);
	check_same(h, loaded);
	ck_assert_uint_eq(history_predict(loaded, "sink", T0).bytes, 400 * M);
	history_free(loaded);
	history_free(copy);
	history_free(h);
}
END_TEST

START_TEST(a_missing_file_is_an_empty_history)
{
	struct history *loaded = NULL;

	ck_assert_int_eq(history_file_load(dir_fd, HALF, &loaded, error), SAFEFILE_ABSENT);
	ck_assert_uint_eq(history_count(loaded), 0);
	history_free(loaded);
}
END_TEST

START_TEST(a_file_cut_anywhere_is_set_aside)
{
	CLEANUP(freep) char *text = NULL;
	struct history *h = sample(), *loaded;
	struct stat st;
	size_t len;

	ck_assert_int_eq(history_file_save(dir_fd, h), 0);
	ck_assert_int_eq(file_read_all(dir_fd, HISTORY_FILE, 1 << 20, &text, &len), 0);
	for (size_t cut = 0; cut < len; cut += 7) {
		loaded = NULL;
		ck_assert_int_eq(file_replace(dir_fd, HISTORY_FILE, text, cut, 0644), 0);
		ck_assert_int_eq(history_file_load(dir_fd, HALF, &loaded, error), SAFEFILE_TORN);
		ck_assert_uint_eq(history_count(loaded), 0);
		ck_assert_ptr_nonnull(strstr(error, "it is kept as history.json.bad-1"));
		ck_assert_int_lt(fstatat(dir_fd, HISTORY_FILE, &st, 0), 0);
		ck_assert_int_eq(unlinkat(dir_fd, "history.json.bad-1", 0), 0);
		history_free(loaded);
	}
	history_free(h);
}
END_TEST

static int load_body(const char *body, struct history **ret)
{
	unsigned long crc = crc32(crc32(0, NULL, 0), (const Bytef *)body, (uInt)strlen(body));
	char *text = NULL;
	int r = asprintf(&text, "taskmem-history 1 %08lx %zu\n%s", crc, strlen(body), body);

	ck_assert_int_gt(r, 0);
	ck_assert_int_eq(file_replace(dir_fd, HISTORY_FILE, text, (size_t)r, 0644), 0);
	free(text);
	return history_file_load(dir_fd, HALF, ret, error);
}

#define NAME(name, buckets)                                                 \
	"{\"name\":\"" name "\",\"seen\":5,\"asOf\":5,\"buckets\":" buckets \
	",\"oomBytes\":0,\"oomAt\":0}"

START_TEST(nonsense_with_a_right_checksum_is_set_aside)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"names\":{}}",
		"{\"names\":[7]}",
		"{\"names\":[{}]}",
		"{\"names\":[" NAME("A", "[]") "]}",
		"{\"names\":[" NAME("a", "[1]") "]}",
		"{\"names\":[" NAME("a", "[371,1]") "]}",
		"{\"names\":[" NAME("a", "[1,0]") "]}",
		"{\"names\":[" NAME("a", "[1,-2.5]") "]}",
		"{\"names\":[" NAME("a", "[2,1,1,1]") "]}",
		"{\"names\":[" NAME("a", "[1,1,1,1]") "]}",
		"{\"names\":[" NAME("a", "[\"1\",1]") "]}",
		"{\"names\":[" NAME("a", "7") "]}",
		"{\"names\":[" NAME("a", "[1,1]") "," NAME("a", "[1,1]") "]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct history *loaded = NULL;

		ck_assert_msg(load_body(bad[i], &loaded) == SAFEFILE_FOREIGN, "%s", bad[i]);
		ck_assert_uint_eq(history_count(loaded), 0);
		history_free(loaded);
	}
}
END_TEST

START_TEST(unknown_fields_are_kept_with_their_name)
{
	CLEANUP(freep) char *text = NULL;
	struct history *loaded = NULL;

	ck_assert_int_eq(load_body("{\"names\":[{\"name\":\"a\",\"seen\":5,\"asOf\":5,\"buckets\":"
				   "[7,0.5],\"oomBytes\":0,\"oomAt\":0,\"mood\":{\"x\":[1]}}]}",
				   &loaded),
			 SAFEFILE_OK);
	ck_assert_int_eq(history_file_save(dir_fd, loaded), 0);
	ck_assert_int_eq(file_read_all(dir_fd, HISTORY_FILE, 1 << 20, &text, NULL), 0);
	ck_assert_ptr_nonnull(strstr(text, "\"mood\":{\"x\":[1]}"));
	history_free(loaded);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("history");
	TCase *rules = tcase_create("rules"), *files = tcase_create("file");

	tcase_add_test(rules, buckets_are_five_percent_from_a_mib_to_64_tib);
	tcase_add_test(rules, of_a_window_its_peak_counts_once);
	tcase_add_test(rules, of_a_scan_the_page_cache_does_not_count);
	tcase_add_test(rules, a_short_window_counts_by_its_time);
	tcase_add_test(rules, weights_halve_with_each_half_life);
	tcase_add_test(rules, a_clock_set_back_makes_nothing_younger);
	tcase_add_test(rules, a_clock_that_was_ahead_keeps_nothing_young_for_ever);
	tcase_add_test(rules, what_weighs_nothing_any_more_is_dropped);
	tcase_add_test(rules, prediction_is_p95_and_15_percent);
	tcase_add_test(rules, what_was_needed_lately_counts_more);
	tcase_add_test(rules, a_kill_raises_the_prediction_for_a_half_life);
	tcase_add_test(rules, the_name_not_seen_for_longest_makes_room);
	tcase_set_timeout(rules, 30);
	suite_add_tcase(suite, rules);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_test(files, what_is_saved_comes_back_bit_by_bit);
	tcase_add_test(files, a_missing_file_is_an_empty_history);
	tcase_add_test(files, a_file_cut_anywhere_is_set_aside);
	tcase_add_test(files, nonsense_with_a_right_checksum_is_set_aside);
	tcase_add_test(files, unknown_fields_are_kept_with_their_name);
	suite_add_tcase(suite, files);
	return suite_run(suite);
}
