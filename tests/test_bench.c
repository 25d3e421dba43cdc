/* SPDX-License-Identifier: Apache-2.0 */

/* The parts of the benchmark of control laws that only calculate; its bars are in
 * test_bench_bars.c. */

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "bench_policy.h"
#include "bench_report.h"
#include "bench_search.h"
#include "bench_yardstick.h"
#include "suite.h"

#define NEAR(a, b) ck_assert_double_eq_tol(a, b, 1e-9)

/* ---- statistics */

START_TEST(a_median_is_the_middle_or_the_mean_of_two)
{
	double odd[] = { 9, 1, 5 }, even[] = { 8, 2, 4, 6 };

	NEAR(bench_median(odd, 3), 5);
	NEAR(bench_median(even, 4), 5);
	ck_assert(isnan(bench_median(odd, 0)));
}
END_TEST

START_TEST(an_interval_encloses_its_median_and_lies_within_the_values)
{
	double values[] = { 10, 11, 12, 13, 14, 15, 90 };
	struct bench_interval i = bench_interval(values, 7), again = bench_interval(values, 7);

	NEAR(i.median, 13);
	ck_assert(i.low >= 10 && i.low < 13);
	ck_assert(i.high > 13 && i.high <= 90);
	NEAR(i.low, again.low);
	NEAR(values[6], 90); /* the caller's values are not sorted */
}
END_TEST

START_TEST(an_interval_of_two_runs_is_from_one_to_the_other)
{
	double values[] = { 7, 3 };
	struct bench_interval i = bench_interval(values, 2);

	NEAR(i.low, 3);
	NEAR(i.median, 5);
	NEAR(i.high, 7);
}
END_TEST

/* ---- loads */

START_TEST(the_yardstick_adds_up_what_a_file_of_counters_says)
{
	static const char text[] = "nr_free 12\nnr_low 0\nlast 30\n";
	CLEANUP(fd_closep) int fd = memfd_create("counters", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(bench_yardstick_read(fd), 0); /* there is nothing */
	ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
	ck_assert_uint_eq(bench_yardstick_read(fd), 42);
	ck_assert_uint_eq(bench_yardstick_read(fd), 42);
	ck_assert_uint_gt(bench_yardstick_ns(), 0);
}
END_TEST

START_TEST(every_load_has_names_of_its_own_and_useful_tasks)
{
	const struct bench_load *load;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		uint32_t n_useful = 0;

		ck_assert_ptr_eq(bench_load_find(load->name), load);
		ck_assert_uint_ge(load->score_s, 12);
		ck_assert_uint_le(load->n_tasks, BENCH_TASKS_MAX);
		for (size_t t = 0; t < load->n_tasks; t++) {
			n_useful += bench_task_is_useful(&load->tasks[t]);
			for (size_t other = 0; other < t; other++)
				ck_assert_str_ne(load->tasks[t].name, load->tasks[other].name);
		}
		ck_assert_uint_gt(n_useful, 0);
		for (size_t other = 0; other < i; other++)
			ck_assert_uint_ne(bench_load_hash(load),
					  bench_load_hash(bench_load_at(other)));
	}
}
END_TEST

START_TEST(sizes_and_weights_follow_the_clock)
{
	const struct bench_load *swap = bench_load_find("L1"), *share = bench_load_find("share");
	double first_s = swap->tasks[0].first_s, second_s = first_s + swap->tasks[0].phase_s;

	ck_assert_uint_eq(bench_task_size(&swap->tasks[0], 0), 750);
	ck_assert_uint_eq(bench_task_size(&swap->tasks[0], first_s - 0.1), 750);
	ck_assert_uint_eq(bench_task_size(&swap->tasks[0], first_s), 200);
	ck_assert_uint_eq(bench_task_size(&swap->tasks[1], first_s), 750);
	ck_assert_uint_eq(bench_task_size(&swap->tasks[0], second_s - 0.1), 200);
	ck_assert_uint_eq(bench_task_size(&swap->tasks[0], second_s), 750);
	ck_assert_uint_eq(bench_task_weight(share, 0, 11.5), 100);
	ck_assert_uint_eq(bench_task_weight(share, 0, 12), 400);
	ck_assert_uint_eq(bench_task_weight(share, 1, 12), 100);
}
END_TEST

START_TEST(tasks_that_are_the_same_alone_are_measured_once)
{
	const struct bench_load *swap = bench_load_find("L1");
	struct bench_task steady = { .size = 750 }, other = { .size = 740, .cold_size = 100 };
	struct bench_task large = { .size = 910 }, read = { .size = 740, .medium = BENCH_FILE };
	struct bench_task more_read = { .size = 741, .medium = BENCH_FILE };
	struct bench_task loop = { .size = 740, .medium = BENCH_FILE, .pattern = BENCH_CYCLE };

	ck_assert_uint_eq(bench_task_hash(&swap->tasks[0]), bench_task_hash(&swap->tasks[1]));
	ck_assert_uint_eq(bench_task_hash(&swap->tasks[0]), bench_task_hash(&steady));
	ck_assert_uint_eq(bench_task_hash(&swap->tasks[0]), bench_task_hash(&other));
	ck_assert_uint_ne(bench_task_hash(&swap->tasks[0]), bench_task_hash(&large));
	ck_assert_uint_ne(bench_task_hash(&swap->tasks[0]), bench_task_hash(&read));
	ck_assert_uint_eq(bench_task_hash(&more_read), bench_task_hash(&read));
	ck_assert_uint_ne(bench_task_hash(&loop), bench_task_hash(&read));
}
END_TEST

START_TEST(only_what_is_new_in_a_load_is_new_in_its_number)
{
	struct bench_load load = *bench_load_find("L2");
	uint32_t hash = bench_load_hash(&load);

	/* results of before guarantees and counters were known are still those of this load */
	ck_assert_uint_eq(hash, 0x015a25d0); /* another one for each REVISION */
	load.tasks[0].min = 100;
	ck_assert_uint_ne(bench_load_hash(&load), hash);
	load.tasks[0].min = 0;
	load.tasks[0].is_counted = true;
	ck_assert_uint_ne(bench_load_hash(&load), hash);
	load.tasks[0].is_counted = false;
	load.tasks[0].prepare = "true";
	ck_assert_uint_ne(bench_load_hash(&load), hash);
}
END_TEST

START_TEST(duty_is_the_part_of_the_time_in_which_a_task_works)
{
	struct bench_task always = {}, half = { .on_s = 5, .off_s = 5 };

	NEAR(bench_task_duty(&always, 3, 9), 1);
	NEAR(bench_task_duty(&half, 0, 20), 0.5);
	NEAR(bench_task_duty(&half, 4, 6), 0.5);
	NEAR(bench_task_duty(&half, 6, 9), 0);
	NEAR(bench_task_duty(&half, 8, 14), 4.0 / 6);
}
END_TEST

START_TEST(static_splits_give_away_no_more_than_there_is)
{
	const struct bench_load *load;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		const uint16_t *split = bench_policy_split(load->name);
		unsigned sum = 0;

		ck_assert_int_eq(split != NULL, load->n_tasks <= BENCH_SPLIT_TASKS_MAX);
		for (size_t t = 0; split && t < load->n_tasks; t++) {
			ck_assert_uint_ge(split[t], 20);
			sum += split[t];
		}
		ck_assert_uint_le(sum, 1000);
	}
}
END_TEST

/* ---- results */

#define TICKS 41

/* Ten seconds at half of the possible work, ten at all of it; memory 100 and 50 MiB, and in the
 * beginning and for a while after it 10 less. */
static struct bench_series make_series(const struct bench_load *load)
{
	struct bench_series s = { .load = load, .tick_ns = 500000000, .n_ticks = TICKS };

	s.points = calloc(s.n_ticks * load->n_tasks, sizeof(*s.points));
	s.tick_at_ns = calloc(s.n_ticks, sizeof(*s.tick_at_ns));
	for (size_t t = 0; t < s.n_ticks; t++) {
		s.tick_at_ns[t] = t * s.tick_ns;
		for (size_t i = 0; i < load->n_tasks; i++)
			s.points[t * load->n_tasks + i] = (struct bench_point){
				.work_us = t <= 20 ? t * 150000 : 3000000 + (t - 20) * 300000,
				.sample = { .current_bytes = (uint64_t)((i == 0 ? 100 : 50) -
									(t < 30 ? 10 : 0))
							     << 20,
					    .refault_pages = 10 * t },
				.share_bytes = 80 << 20,
			};
	}
	return s;
}

static void free_series(struct bench_series *s)
{
	free(s->points);
	free(s->tick_at_ns);
}

START_TEST(a_result_has_the_scored_part_only)
{
	struct bench_load load = { .name = "x", .warm_s = 10, .score_s = 10, .n_tasks = 2 };
	double solo[] = { 0.6, 1 };
	struct bench_series s;
	struct bench_result r = {};

	load.tasks[1].pattern = BENCH_SCAN;
	s = make_series(&load);
	bench_result_make(&s, solo, &r);
	NEAR(r.mean, 1);
	NEAR(r.least, 1);
	NEAR(r.speed_of[1], -1);
	ck_assert_uint_eq(r.refaults, 200);
	ck_assert_uint_eq(r.refaults_of[1], 200);
	NEAR(r.mib_of[0], 100);
	NEAR(r.share_error, (20.0 / 80 + 30.0 / 80) / 2);
	NEAR(r.settle_s, -1);
	free_series(&s);
}
END_TEST

START_TEST(a_flip_settles_when_the_task_runs_as_it_does_in_the_end)
{
	struct bench_load load = { .name = "x", .warm_s = 8, .score_s = 12, .n_tasks = 1 };
	double solo[] = { 0.6 };
	struct bench_series s;
	struct bench_result r = {};

	load.tasks[0] = (struct bench_task){ .size = 200, .other_size = 700, .phase_s = 8 };
	s = make_series(&load);
	bench_result_make(&s, solo, &r);
	ck_assert_uint_eq(r.n_flips, 1);
	ck_assert_uint_eq(r.n_missed, 0);
	NEAR(r.settle_s, 2); /* flip at 8 s, full speed from 10 s on */
	solo[0] = 0.9;       /* alone it would be faster by half: it never got what it needs */
	r = (struct bench_result){};
	bench_result_make(&s, solo, &r);
	ck_assert_uint_eq(r.n_missed, 1);
	NEAR(r.settle_s, 8);
	free_series(&s);
}
END_TEST

START_TEST(the_first_phase_may_be_longer)
{
	struct bench_task task = { .size = 200, .other_size = 700, .phase_s = 8, .first_s = 11 };

	ck_assert_uint_eq(bench_task_size(&task, 10.9), 200);
	ck_assert_uint_eq(bench_task_size(&task, 11), 700);
	ck_assert_uint_eq(bench_task_size(&task, 18.9), 700);
	ck_assert_uint_eq(bench_task_size(&task, 19), 200);
	task.first_s = 0;
	ck_assert_uint_eq(bench_task_size(&task, 7.9), 200);
	ck_assert_uint_eq(bench_task_size(&task, 8), 700);
	ck_assert_uint_eq(bench_task_size(&task, 16), 200);
}
END_TEST

START_TEST(a_guarantee_counts_from_when_the_task_had_it)
{
	struct bench_load load = { .name = "x", .warm_s = 4, .score_s = 16, .n_tasks = 1 };
	double solo[] = { 0.6 };
	struct bench_series s;
	struct bench_result r = {};

	load.tasks[0].min = 625; /* of 160 MiB: 100, which it has from tick 30 on */
	s = make_series(&load);
	bench_result_make(&s, solo, &r);
	NEAR(r.short_mib, 0);
	s.points[35].sample.current_bytes = 97 << 20;
	bench_result_make(&s, solo, &r);
	ck_assert_double_eq_tol(r.short_mib, 3, 0.1);
	free_series(&s);
}
END_TEST

START_TEST(a_change_of_weights_settles_when_memory_is_where_it_belongs)
{
	struct bench_load load = { .name = "x", .warm_s = 4, .score_s = 16, .n_tasks = 2 };
	double solo[] = { 0.6, 0.6 };
	struct bench_series s;
	struct bench_result r = {};

	load.change_s = 10;
	s = make_series(&load);
	for (size_t t = 0; t < TICKS; t++) {
		s.points[t * 2].share_bytes = (t < 20 ? 75 : 100) << 20;
		s.points[t * 2 + 1].share_bytes = (t < 20 ? 75 : 50) << 20;
		s.points[t * 2].sample.current_bytes = (t < 26 ? 75 : 98) << 20;
		s.points[t * 2 + 1].sample.current_bytes = 50 << 20;
	}
	bench_result_make(&s, solo, &r);
	NEAR(r.settle_s, 3);
	ck_assert_uint_eq(r.n_missed, 0);
	s.points[(TICKS - 1) * 2].sample.current_bytes = 75 << 20;
	bench_result_make(&s, solo, &r);
	ck_assert_uint_eq(r.n_missed, 1);
	free_series(&s);
}
END_TEST

static struct bench_result some_result(void)
{
	return (struct bench_result){
		.load = "L2",
		.policy = "ours",
		.rep = 3,
		.hash = 0xfedcba98,
		.version = 0x12345678,
		.n_tasks = 3,
		.speed_of = { 0.5, 0.25, -1 },
		.mib_of = { 72, 40.5, 16 },
		.refaults_of = { 123456789, 0, 7 },
		.refaults = 123456789,
		.mean = 0.375,
		.least = 0.25,
		.share_error = 0.125,
		.settle_s = -1,
		.n_flips = 2,
		.n_missed = 1,
		.loop_permille = 3.5,
		.longest_write_ms = 0.25,
		.n_writes = 12,
		.n_kills = 1,
		.spin_us = 10.25,
		.short_mib = 1.5,
		.slower = 5.25,
	};
}

static void print_line(const struct bench_result *r, char *buf, size_t size)
{
	FILE *f = fmemopen(buf, size, "w");

	bench_result_print(f, r);
	fclose(f);
}

START_TEST(a_result_is_read_back_as_it_was_written)
{
	struct bench_result r = some_result(), back;
	char line[1024];

	print_line(&r, line, sizeof(line));
	ck_assert_int_eq(bench_result_parse(line, &back), 0);
	ck_assert_str_eq(back.load, r.load);
	ck_assert_str_eq(back.policy, r.policy);
	ck_assert_uint_eq(back.rep, r.rep);
	ck_assert_uint_eq(back.hash, r.hash);
	ck_assert_uint_eq(back.version, r.version);
	ck_assert_uint_eq(back.refaults, r.refaults);
	ck_assert_uint_eq(back.n_flips, 2);
	ck_assert_uint_eq(back.n_missed, 1);
	ck_assert_uint_eq(back.n_writes, 12);
	ck_assert_uint_eq(back.n_kills, 1);
	NEAR(back.mean, r.mean);
	NEAR(back.share_error, r.share_error);
	NEAR(back.settle_s, -1);
	NEAR(back.spin_us, 10.25);
	NEAR(back.short_mib, 1.5);
	NEAR(back.slower, 5.25);
	for (size_t i = 0; i < 3; i++) {
		NEAR(back.mib_of[i], r.mib_of[i]);
		NEAR(back.speed_of[i], r.speed_of[i]);
		ck_assert_uint_eq(back.refaults_of[i], r.refaults_of[i]);
	}
}
END_TEST

START_TEST(a_line_that_was_cut_off_is_no_result)
{
	struct bench_result r = some_result(), back;
	char line[1024], cut[1024];
	size_t len;

	print_line(&r, line, sizeof(line));
	len = strrchr(line, ',') - line;
	for (size_t n = 0; n < len; n++) {
		memcpy(cut, line, n);
		cut[n] = '\0';
		ck_assert_msg(bench_result_parse(cut, &back) == -EBADMSG, "%zu: %s", n, cut);
	}
}
END_TEST

START_TEST(a_line_of_before_has_a_law_no_guarantees_and_no_speed)
{
	struct bench_result r = some_result(), back;
	char line[1024], *at;

	print_line(&r, line, sizeof(line));
	at = strstr(line, " version=");
	memmove(at + 5, at + 9, strlen(at + 9) + 1);
	memcpy(at, " law=", 5);
	at = strstr(line, " short=1.50 slower=5.250");
	memmove(at, at + 24, strlen(at + 24) + 1);
	ck_assert_int_eq(bench_result_parse(line, &back), 0);
	ck_assert_uint_eq(back.version, r.version);
	NEAR(back.short_mib, 0);
	NEAR(back.slower, 0);
	print_line(&back, line, sizeof(line)); /* nor has one of a host whose speed is unknown */
	ck_assert_ptr_null(strstr(line, "slower"));
}
END_TEST

START_TEST(only_runs_of_today_s_load_and_policy_count)
{
	const struct bench_load *load = bench_load_find("L2");
	const struct bench_policy *ours = bench_policy_find("ours"),
				  *none = bench_policy_find("none");
	struct bench_store store = {};
	struct bench_result r = some_result();

	r.hash = bench_load_hash(load);
	r.version = ours->version;
	ck_assert_uint_ne(ours->version, bench_policy_find("senpai")->version);
	ck_assert_uint_ne(ours->version, bench_policy_find("oomd")->version);
	ck_assert_uint_ne(bench_policy_find("senpai")->version, bench_policy_find("oomd")->version);
	ck_assert_uint_eq(none->version, 0); /* there is nothing that could change */
	ck_assert_int_eq(bench_store_add(&store, &r), 0);
	ck_assert_ptr_nonnull(bench_store_find(&store, load, ours, 3));
	ck_assert_ptr_null(bench_store_find(&store, load, ours, 1));
	ck_assert_ptr_null(bench_store_find(&store, load, none, 3));
	ck_assert_uint_eq(bench_summarize(&store, load, ours).n, 1);
	store.runs[0].version++;
	ck_assert_ptr_null(bench_store_find(&store, load, ours, 3));
	ck_assert_uint_eq(bench_summarize(&store, load, ours).n, 0);
	store.runs[0].version--;
	store.runs[0].hash++;
	ck_assert_ptr_null(bench_store_find(&store, load, ours, 3));
	bench_store_free(&store);
}
END_TEST

static struct bench_try some_try(void)
{
	return (struct bench_try){
		.load = "L2",
		.hash = bench_load_hash(bench_load_find("L2")),
		.n_tasks = 3,
		.split = { 500, 300, 180 },
		.refaults = 12345,
		.score = 0.75,
	};
}

START_TEST(a_try_is_read_back_as_it_was_written)
{
	struct bench_try t = some_try(), back;
	char line[256];
	FILE *f = fmemopen(line, sizeof(line), "w");

	bench_try_print(f, &t);
	fclose(f);
	ck_assert_int_eq(bench_try_parse(line, &back), 0);
	ck_assert_str_eq(back.load, "L2");
	ck_assert_uint_eq(back.hash, t.hash);
	ck_assert_uint_eq(back.refaults, 12345);
	NEAR(back.score, 0.75);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(back.split[i], t.split[i]);
	*strrchr(line, ',') = '\0';
	ck_assert_int_eq(bench_try_parse(line, &back), -EBADMSG);
}
END_TEST

START_TEST(a_static_run_counts_while_no_better_split_is_known)
{
	const struct bench_load *load = bench_load_find("L2");
	const struct bench_policy *fixed = bench_policy_find("static");
	struct bench_store store = {};
	struct bench_result r = some_result();
	struct bench_try t = some_try();

	ck_assert_ptr_eq(bench_store_split(&store, load), bench_policy_split("L2"));
	ck_assert_int_eq(bench_store_add_try(&store, &t), 0);
	ck_assert_uint_eq(bench_store_split(&store, load)[0], 500);
	(void)snprintf(r.policy, sizeof(r.policy), "static");
	r.hash = bench_load_hash(load);
	r.version = bench_store_version(&store, load, fixed);
	ck_assert_int_eq(bench_store_add(&store, &r), 0);
	ck_assert_ptr_nonnull(bench_store_find(&store, load, fixed, 3));
	t.split[0]--, t.score = 0.7; /* worse */
	ck_assert_int_eq(bench_store_add_try(&store, &t), 0);
	ck_assert_ptr_nonnull(bench_store_find(&store, load, fixed, 3));
	t.hash++, t.score = 0.9; /* of a load that was another then */
	ck_assert_int_eq(bench_store_add_try(&store, &t), 0);
	ck_assert_ptr_nonnull(bench_store_find(&store, load, fixed, 3));
	t.hash--; /* better */
	ck_assert_int_eq(bench_store_add_try(&store, &t), 0);
	ck_assert_uint_eq(bench_store_split(&store, load)[0], 499);
	ck_assert_ptr_null(bench_store_find(&store, load, fixed, 3));
	bench_store_free(&store);
}
END_TEST

START_TEST(a_run_on_a_busy_machine_does_not_count)
{
	const struct bench_load *load = bench_load_find("L2");
	const struct bench_policy *ours = bench_policy_find("ours");
	struct bench_store store = {};
	struct bench_result r = some_result();

	r.hash = bench_load_hash(load);
	r.version = ours->version;
	r.spin_us = 31;
	ck_assert_int_eq(bench_store_add(&store, &r), 0);
	ck_assert_ptr_nonnull(bench_store_find(&store, load, ours, 3));
	r.rep = 4;
	r.spin_us = 12;
	ck_assert_int_eq(bench_store_add(&store, &r), 0);
	ck_assert_ptr_null(bench_store_find(&store, load, ours, 3));
	ck_assert_ptr_nonnull(bench_store_find(&store, load, ours, 4));
	ck_assert_uint_eq(bench_store_count_disturbed(&store), 1);
	ck_assert_uint_eq(bench_summarize(&store, load, ours).n, 1);
	bench_store_free(&store);
}
END_TEST

/* ---- the search for static splits */

START_TEST(a_search_tries_splits_of_the_whole_and_keeps_the_best)
{
	const struct bench_load *load = bench_load_find("L2");
	struct bench_search s;
	double best = -1;

	bench_search_init(&s, load, 60, NULL);
	for (int i = 0; i < 60; i++) {
		unsigned sum = 0;
		double score;

		bench_search_next(&s);
		for (size_t t = 0; t < load->n_tasks; t++) {
			ck_assert_uint_ge(s.tried[t], BENCH_SPLIT_LEAST);
			sum += s.tried[t];
		}
		ck_assert_uint_eq(sum, BENCH_SPLIT_TOTAL);
		if (i == 0)
			ck_assert_uint_gt(s.tried[0], s.tried[1]);
		/* the useful tasks want 500 and 300 */
		score = fmin(s.tried[0] / 500.0, 1) + fmin(s.tried[1] / 300.0, 1);
		best = fmax(best, score);
		bench_search_note(&s, score);
		NEAR(s.best_score, best);
	}
	ck_assert_double_gt(best, 1.98);
}
END_TEST

START_TEST(a_search_goes_on_where_it_was)
{
	static const uint16_t known[] = { 600, 300, 80 };
	const struct bench_load *load = bench_load_find("L2");
	struct bench_search whole, rest;

	bench_search_init(&whole, load, 30, known);
	for (int i = 0; i < 30; i++) {
		double score = 1.0 / (i + 3) + (i == 17);

		/* one that was begun anew, with what was found until then */
		bench_search_init(&rest, load, 30, known);
		rest.n_tried = whole.n_tried;
		rest.best_score = whole.best_score;
		memcpy(rest.best, whole.best, sizeof(rest.best));
		bench_search_next(&whole);
		bench_search_next(&rest);
		for (size_t t = 0; t < load->n_tasks; t++)
			ck_assert_uint_eq(rest.tried[t], whole.tried[t]);
		if (i == 0)
			ck_assert_uint_eq(whole.tried[0], 600);
		bench_search_recall(&rest, whole.tried, score);
		bench_search_note(&whole, score);
		ck_assert_uint_eq(rest.n_tried, whole.n_tried);
		NEAR(rest.best_score, whole.best_score);
	}
	NEAR(whole.best_score, 1.0 / 20 + 1);
}
END_TEST

/* ---- the published laws */

START_TEST(senpai_tightens_by_one_percent_after_six_quiet_seconds)
{
	struct bench_senpai s = { .grace_ticks = 6, .is_started = true };

	for (int i = 0; i < 6; i++)
		NEAR(bench_senpai_step(&s, &bench_senpai_published, 0), 0);
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 0), -0.01);
	for (int i = 0; i < 5; i++)
		NEAR(bench_senpai_step(&s, &bench_senpai_published, 0), 0);
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 0), -0.01);
}
END_TEST

START_TEST(senpai_tightens_less_the_nearer_it_is_to_its_target)
{
	struct bench_senpai s = { .is_started = true };

	/* 5 of 10 ms: (2 / 10)^2 of the largest step */
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 5000), -0.01 * 0.04);
}
END_TEST

START_TEST(senpai_backs_off_at_once_by_the_square_up_to_doubling)
{
	struct bench_senpai s = { .grace_ticks = 6, .is_started = true };

	/* 100 of 10 ms: (10 / 20)^2 */
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 100000), 0.25);
	/* and five quiet seconds follow */
	for (int i = 0; i < 5; i++)
		NEAR(bench_senpai_step(&s, &bench_senpai_published, 100000), 0);
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 100000), -0.01);
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 1000000), 1);
}
END_TEST

START_TEST(senpai_adds_up_stall_until_it_acts)
{
	struct bench_senpai s = { .grace_ticks = 6, .is_started = true };

	NEAR(bench_senpai_step(&s, &bench_senpai_published, 6000), 0);
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 10000), 0);
	/* 20 ms in three seconds: (2 / 20)^2 */
	NEAR(bench_senpai_step(&s, &bench_senpai_published, 20000), 0.01);
	NEAR(s.integral_us, 0);
}
END_TEST

START_TEST(senpai_keeps_to_whole_pages_within_its_bounds)
{
	ck_assert_uint_eq(bench_senpai_limit(10000, 50 * 4096), 8192);
	ck_assert_uint_eq(bench_senpai_limit(0, 50 * 4096), 4096);
	ck_assert_uint_eq(bench_senpai_limit(1e15, 50 * 4096), 50 * 4096);
}
END_TEST

START_TEST(oomd_reclaims_one_percent_of_what_is_above_its_least)
{
	ck_assert_uint_eq(bench_oomd_bytes(1100, 100), 10);
	ck_assert_uint_eq(bench_oomd_bytes(100, 100), 0);
	ck_assert_uint_eq(bench_oomd_bytes(50, 100), 0);
}
END_TEST

START_TEST(a_part_of_the_law_is_switched_off_from_outside)
{
	struct control_slot slot = {
		.share_bytes = 1000,
		.low_bytes = 1500,
		.track = { .floor_bytes = 500,
			   .is_proving = true,
			   .is_polluter = true,
			   .retest_ns = 7 },
	};

	ck_assert_uint_eq(bench_control_low(&slot, 0), 1500);
	ck_assert_uint_eq(bench_control_low(&slot, BENCH_NO_LENDING), 1000);
	ck_assert_uint_eq(slot.track.floor_bytes, 500);
	ck_assert_uint_eq(bench_control_low(&slot, BENCH_NO_FLOOR), 1500);
	ck_assert_uint_eq(slot.track.floor_bytes, 0);
	ck_assert(!slot.track.is_proving);
	ck_assert_uint_eq(slot.track.retest_ns, 7);
	bench_control_low(&slot, BENCH_NO_RETEST);
	ck_assert_uint_eq(slot.track.retest_ns, UINT64_MAX);
	slot.track.is_polluter = false;
	slot.track.retest_ns = 7;
	slot.min_bytes = 1200; /* a guarantee is no loan */
	ck_assert_uint_eq(bench_control_low(&slot, BENCH_NO_RETEST | BENCH_NO_LENDING), 1200);
	ck_assert_uint_eq(slot.track.retest_ns, 7);
}
END_TEST

START_TEST(oomd_waits_for_calm_and_for_swap)
{
	NEAR(bench_oomd_pressure("some avg10=0.05 avg60=1.25 avg300=0.00 total=12\nfull avg10=7"),
	     1.25);
	NEAR(bench_oomd_pressure("some avg10=2.50 avg60=0.00 avg300=0.00 total=12\n"), 2.5);
	ck_assert_double_gt(bench_oomd_pressure(""), 1);
	ck_assert(bench_oomd_is_swap_left("MemFree: 1 kB\nSwapTotal: 1000 kB\nSwapFree: 201 kB\n"));
	ck_assert(
		!bench_oomd_is_swap_left("MemFree: 1 kB\nSwapTotal: 1000 kB\nSwapFree: 200 kB\n"));
	ck_assert(!bench_oomd_is_swap_left("SwapTotal: 0 kB\nSwapFree: 0 kB\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench");
	TCase *stat = tcase_create("statistics"), *load = tcase_create("loads"),
	      *result = tcase_create("results"), *law = tcase_create("laws"),
	      *search = tcase_create("search");

	tcase_add_test(stat, a_median_is_the_middle_or_the_mean_of_two);
	tcase_add_test(stat, an_interval_encloses_its_median_and_lies_within_the_values);
	tcase_add_test(stat, an_interval_of_two_runs_is_from_one_to_the_other);
	tcase_add_test(stat, the_yardstick_adds_up_what_a_file_of_counters_says);
	tcase_add_test(load, every_load_has_names_of_its_own_and_useful_tasks);
	tcase_add_test(load, sizes_and_weights_follow_the_clock);
	tcase_add_test(load, tasks_that_are_the_same_alone_are_measured_once);
	tcase_add_test(load, only_what_is_new_in_a_load_is_new_in_its_number);
	tcase_add_test(load, duty_is_the_part_of_the_time_in_which_a_task_works);
	tcase_add_test(load, static_splits_give_away_no_more_than_there_is);
	tcase_add_test(result, a_result_has_the_scored_part_only);
	tcase_add_test(result, a_flip_settles_when_the_task_runs_as_it_does_in_the_end);
	tcase_add_test(result, the_first_phase_may_be_longer);
	tcase_add_test(result, a_guarantee_counts_from_when_the_task_had_it);
	tcase_add_test(result, a_change_of_weights_settles_when_memory_is_where_it_belongs);
	tcase_add_test(result, a_result_is_read_back_as_it_was_written);
	tcase_add_test(result, a_line_that_was_cut_off_is_no_result);
	tcase_add_test(result, a_line_of_before_has_a_law_no_guarantees_and_no_speed);
	tcase_add_test(result, only_runs_of_today_s_load_and_policy_count);
	tcase_add_test(result, a_try_is_read_back_as_it_was_written);
	tcase_add_test(result, a_static_run_counts_while_no_better_split_is_known);
	tcase_add_test(result, a_run_on_a_busy_machine_does_not_count);
	tcase_add_test(search, a_search_tries_splits_of_the_whole_and_keeps_the_best);
	tcase_add_test(search, a_search_goes_on_where_it_was);
	tcase_add_test(law, a_part_of_the_law_is_switched_off_from_outside);
	tcase_add_test(law, oomd_waits_for_calm_and_for_swap);
	tcase_add_test(law, senpai_tightens_by_one_percent_after_six_quiet_seconds);
	tcase_add_test(law, senpai_tightens_less_the_nearer_it_is_to_its_target);
	tcase_add_test(law, senpai_backs_off_at_once_by_the_square_up_to_doubling);
	tcase_add_test(law, senpai_adds_up_stall_until_it_acts);
	tcase_add_test(law, senpai_keeps_to_whole_pages_within_its_bounds);
	tcase_add_test(law, oomd_reclaims_one_percent_of_what_is_above_its_least);
	suite_add_tcase(suite, stat);
	suite_add_tcase(suite, load);
	suite_add_tcase(suite, result);
	suite_add_tcase(suite, law);
	suite_add_tcase(suite, search);
	return suite_run(suite);
}
