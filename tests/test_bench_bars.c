/* SPDX-License-Identifier: Apache-2.0 */

/* How the benchmark of control laws judges its runs, and which it needs for that. */

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "bench_report.h"
#include "suite.h"

/* ---- bars and the picture */

/* A run of @policy with these figures. */
static void add_run(struct bench_store *store, const char *load, const char *policy,
		    uint64_t refaults, double mean)
{
	const struct bench_load *l = bench_load_find(load);
	struct bench_result r = {
		.version = bench_store_version(store, l, bench_policy_find(policy)),
		.n_tasks = l->n_tasks,
	};

	(void)snprintf(r.load, sizeof(r.load), "%s", load);
	(void)snprintf(r.policy, sizeof(r.policy), "%s", policy);
	r.hash = bench_load_hash(l);
	r.refaults = refaults;
	r.mean = mean;
	ck_assert_int_eq(bench_store_add(store, &r), 0);
}

/* The same, with the repetition and what the bar is about. */
static struct bench_result *add_rep(struct bench_store *store, const char *load, const char *policy,
				    uint32_t rep, double mean)
{
	add_run(store, load, policy, 0, mean);
	store->runs[store->n_runs - 1].rep = rep;
	return &store->runs[store->n_runs - 1];
}

static const struct bench_bar *find_bar(const struct bench_bar *bars, size_t n, const char *load,
					const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(bars[i].load, load) == 0 && strstr(bars[i].text, text))
			return &bars[i];
	ck_abort_msg("no bar %s of %s", text, load);
}

static struct bench_bar judged(const struct bench_store *store, const char *load, const char *text)
{
	struct bench_bar bars[BENCH_BARS_MAX];
	size_t n = bench_bars_judge(store, bars);

	ck_assert_uint_le(n, BENCH_BARS_MAX);
	return *find_bar(bars, n, load, text);
}

START_TEST(a_bar_is_open_until_both_sides_were_run)
{
	struct bench_store store = {};
	struct bench_bar bars[BENCH_BARS_MAX];
	size_t n;

	add_run(&store, "L2", "ours", 0, 0.9);
	n = bench_bars_judge(&store, bars);
	ck_assert_uint_lt(n, BENCH_BARS_MAX);
	ck_assert_int_eq(find_bar(bars, n, "L2", "0.05 of low")->verdict, BENCH_OPEN);
	ck_assert_int_eq(find_bar(bars, n, "all", "nobody is killed")->verdict, BENCH_PASS);
	bench_store_free(&store);
}
END_TEST

START_TEST(bars_compare_refaults_and_throughput)
{
	struct bench_store store = {};
	struct bench_bar bars[BENCH_BARS_MAX];
	size_t n;

	add_run(&store, "L2", "ours", 2000, 0.8);
	add_run(&store, "L2", "none", 80000, 0.1);
	add_run(&store, "L2", "low", 50000, 0.7);
	add_run(&store, "L2", "senpai", 80000, 0.1);
	add_run(&store, "L2", "senpai6", 80000, 0.9);
	n = bench_bars_judge(&store, bars);
	ck_assert_int_eq(find_bar(bars, n, "L2", "0.05 of low")->verdict, BENCH_PASS);
	ck_assert_int_eq(find_bar(bars, n, "L2", "0.02 of none")->verdict, BENCH_FAIL);
	ck_assert_int_eq(find_bar(bars, n, "L2", "1.25 of low")->verdict, BENCH_FAIL);
	ck_assert_int_eq(find_bar(bars, n, "L2", "4.00 of none")->verdict, BENCH_PASS);
	/* it is the better senpai that counts */
	ck_assert_int_eq(find_bar(bars, n, "L2", "4.00 of senpai")->verdict, BENCH_FAIL);
	ck_assert_int_eq(find_bar(bars, n, "L2", "0.97 of none, 0.95")->verdict, BENCH_FAIL);
	/* one load is not all */
	ck_assert_int_eq(find_bar(bars, n, "all", "ratios to none")->verdict, BENCH_OPEN);
	bench_store_free(&store);
}
END_TEST

START_TEST(of_two_senpais_the_one_with_fewer_refaults_or_more_speed_counts)
{
	struct bench_store store = {};

	add_run(&store, "L1", "ours", 1000, 0.8);
	add_run(&store, "L1", "senpai6", 2000, 0.9);
	/* reached so far, but the other one may be the better */
	ck_assert_int_eq(judged(&store, "L1", "1.00 of senpai6").verdict, BENCH_OPEN);
	ck_assert_ptr_nonnull(
		strstr(judged(&store, "L1", "1.00 of senpai6").value, "not run: senpai"));
	/* behind one of them is behind the better one */
	ck_assert_int_eq(judged(&store, "L1", "0.97 of none, 0.95").verdict, BENCH_FAIL);
	add_run(&store, "L1", "senpai", 500, 0.2);
	ck_assert_int_eq(judged(&store, "L1", "1.00 of senpai").verdict, BENCH_FAIL);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L1", "1.00 of senpai").value, "of 500"));
	/* where one is known to be the better one it is enough, and the other counts if it was run */
	add_run(&store, "L4", "ours", 1000, 0.8);
	add_run(&store, "L4", "senpai6", 2000, 0.8);
	ck_assert_int_eq(judged(&store, "L4", "0.97 of senpai6").verdict, BENCH_PASS);
	add_run(&store, "L4", "senpai", 2000, 0.9);
	ck_assert_int_eq(judged(&store, "L4", "0.97 of senpai").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(what_is_asked_of_all_loads_is_open_until_the_last_was_run)
{
	struct bench_store store = {};
	const struct bench_load *load;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		struct bench_bar bars[BENCH_BARS_MAX];
		size_t n = bench_bars_judge(&store, bars);

		ck_assert_int_eq(find_bar(bars, n, "all", "ratios to none")->verdict, BENCH_OPEN);
		ck_assert_int_eq(find_bar(bars, n, "all", "better senpai")->verdict, BENCH_OPEN);
		ck_assert_int_eq(find_bar(bars, n, load->name, "0.97 of none")->verdict,
				 BENCH_OPEN);
		add_run(&store, load->name, "ours", 0, 0.9);
		add_run(&store, load->name, "none", 0, 0.8);
		add_run(&store, load->name, "senpai", 0, 0.85);
		add_run(&store, load->name, "senpai6", 0, 0.5);
	}
	ck_assert_int_eq(judged(&store, "L5", "0.97 of none, 0.95").verdict, BENCH_PASS);
	ck_assert_int_eq(judged(&store, "all", "ratios to none").verdict, BENCH_PASS);
	ck_assert_int_eq(judged(&store, "all", "better senpai").verdict, BENCH_FAIL);
	ck_assert_ptr_nonnull(strstr(judged(&store, "all", "better senpai").value, "(1 run)"));
	ck_assert_int_eq(judged(&store, "all", "static").verdict, BENCH_OPEN);
	for (size_t i = 0; (load = bench_load_at(i)); i++)
		if (load->n_tasks <= 8)
			add_run(&store, load->name, "static", 0, 0.95);
	ck_assert_int_eq(judged(&store, "all", "static").verdict, BENCH_PASS);
	bench_store_free(&store);
}
END_TEST

START_TEST(a_phase_change_that_is_missed_fails_at_once_and_none_passes_after_twenty)
{
	struct bench_store store = {};

	add_rep(&store, "L1", "ours", 1, 0.9)->n_flips = 18;
	ck_assert_int_eq(judged(&store, "L1", "missed in 20").verdict, BENCH_OPEN);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L1", "missed in 20").value, "0 of 18"));
	add_rep(&store, "L1", "ours", 2, 0.9)->n_flips = 2;
	ck_assert_int_eq(judged(&store, "L1", "missed in 20").verdict, BENCH_PASS);
	store.runs[1].n_missed = 1;
	ck_assert_int_eq(judged(&store, "L1", "missed in 20").verdict, BENCH_FAIL);
	store.n_runs--;
	store.runs[0].n_missed = 1;
	ck_assert_int_eq(judged(&store, "L1", "missed in 20").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(the_task_furthest_from_its_share_decides)
{
	struct bench_store store = {};
	struct bench_result *r = add_rep(&store, "L3", "ours", 1, 0.5);

	r->mib_of[0] = 39.2;
	r->mib_of[1] = 37.8; /* 2.7 % less than a quarter of the three */
	r->mib_of[2] = 78.4;
	ck_assert_int_eq(judged(&store, "L3", "weighted share").verdict, BENCH_PASS);
	store.runs[0].mib_of[1] = 37.3; /* 3.7 %, and less in the mean of all three */
	ck_assert_int_eq(judged(&store, "L3", "weighted share").verdict, BENCH_FAIL);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L3", "weighted share").value, "(1 run)"));
	bench_store_free(&store);
}
END_TEST

START_TEST(a_loop_that_can_not_fit_is_not_asked_itself)
{
	struct bench_store store = {};
	struct bench_result *r = add_rep(&store, "L8n", "none", 1, 0.5);

	r->speed_of[0] = 0.8;
	r->speed_of[1] = 0.9;
	r->speed_of[2] = 0.7;
	r->refaults_of[0] = r->refaults_of[1] = 300;
	r->refaults_of[2] = 90000;
	r = add_rep(&store, "L8n", "ours", 1, 0.5);
	r->speed_of[0] = 0.79;
	r->speed_of[1] = 0.9;
	r->speed_of[2] = 0.1;
	r->refaults_of[1] = 650;
	r->refaults_of[2] = 200000;
	ck_assert_int_eq(judged(&store, "L8n", "each task beside").verdict, BENCH_PASS);
	ck_assert_int_eq(judged(&store, "L8n", "refaults beside").verdict, BENCH_PASS);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L8n", "refaults beside").value, "are free"));
	store.runs[1].speed_of[1] = 0.87; /* a faster one does not make up for it */
	store.runs[1].speed_of[0] = 0.9;
	store.runs[1].refaults_of[0] = 100;
	ck_assert_int_eq(judged(&store, "L8n", "each task beside").verdict, BENCH_FAIL);
	ck_assert_int_eq(judged(&store, "L8n", "refaults beside").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(a_loop_that_fits_once_memory_is_free_has_to_get_it)
{
	struct bench_store store = {};

	add_rep(&store, "L8c", "ours", 1, 0.5)->mib_of[2] = 78;
	ck_assert_int_eq(judged(&store, "L8c", "what is cold").verdict, BENCH_PASS);
	store.runs[0].mib_of[2] = 77; /* of 80 */
	ck_assert_int_eq(judged(&store, "L8c", "what is cold").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(five_pairs_have_an_interval_of_their_ratios_and_fewer_are_said_to_be_few)
{
	struct bench_store store = {};

	for (uint32_t rep = 1; rep <= 5; rep++) {
		/* the machine drifts from pair to pair, the ratio is the same */
		add_rep(&store, "L5", "ours", rep, 0.10 * rep);
		if (rep < 5)
			add_rep(&store, "L5", "none", rep, 0.08 * rep);
	}
	ck_assert_ptr_nonnull(strstr(judged(&store, "L5", "of none").value, "(4 runs)"));
	add_rep(&store, "L5", "none", 5, 0.4);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L5", "of none").value,
				     "ratio 1.250 [1.250, 1.250] of 5 pairs"));
	bench_store_free(&store);
}
END_TEST

START_TEST(refaults_that_are_free_are_said_to_decide)
{
	struct bench_store store = {};

	add_run(&store, "L6", "ours", 300, 0.5);
	add_run(&store, "L6", "none", 1000, 0.5);
	ck_assert_int_eq(judged(&store, "L6", "0.25 of none").verdict, BENCH_PASS);
	ck_assert_ptr_nonnull(strstr(judged(&store, "L6", "0.25 of none").value, "are free"));
	store.runs[0].refaults = 250;
	ck_assert_ptr_null(strstr(judged(&store, "L6", "0.25 of none").value, "are free"));
	store.runs[0].refaults = 351;
	ck_assert_int_eq(judged(&store, "L6", "0.25 of none").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(a_guarantee_is_violated_by_one_run)
{
	struct bench_store store = {};

	add_run(&store, "L2", "ours", 0, 0.9);
	ck_assert_int_eq(judged(&store, "all", "guarantee").verdict, BENCH_OPEN);
	add_rep(&store, "min", "ours", 1, 0.9);
	add_rep(&store, "min", "none", 1, 0.9)->short_mib = 20; /* has none */
	ck_assert_int_eq(judged(&store, "all", "guarantee").verdict, BENCH_PASS);
	add_rep(&store, "min", "ours", 2, 0.9)->short_mib = 1;
	ck_assert_int_eq(judged(&store, "all", "guarantee").verdict, BENCH_FAIL);
	bench_store_free(&store);
}
END_TEST

START_TEST(processor_time_is_judged_at_the_speed_of_the_host_if_that_is_known)
{
	struct bench_store store = {};

	ck_assert_int_eq(judged(&store, "idle50", "of a processor").verdict, BENCH_OPEN);
	add_rep(&store, "idle50", "ours", 1, 0.5)->loop_permille = 18.2;
	ck_assert_int_eq(judged(&store, "idle50", "of a processor").verdict, BENCH_FAIL);
	ck_assert_str_eq(judged(&store, "idle50", "of a processor").value,
			 "1.82 % emulated (1 run)");
	store.runs[0].slower = 5;
	ck_assert_int_eq(judged(&store, "idle50", "of a processor").verdict, BENCH_PASS);
	ck_assert_str_eq(judged(&store, "idle50", "of a processor").value,
			 "1.82 % emulated, 0.36 % at the host's speed (1 run)");
	store.runs[0].slower = 1.5;
	ck_assert_int_eq(judged(&store, "idle50", "of a processor").verdict, BENCH_FAIL);
	/* what is known of some decides, and how few these are is said */
	store.runs[0].slower = 2;
	for (uint32_t rep = 2; rep <= 5; rep++)
		add_rep(&store, "idle50", "ours", rep, 0.5)->loop_permille = 30;
	ck_assert_int_eq(judged(&store, "idle50", "of a processor").verdict, BENCH_PASS);
	ck_assert_str_eq(judged(&store, "idle50", "of a processor").value,
			 "3.00 % emulated, 0.91 % at the host's speed (1 run)");
	bench_store_free(&store);
}
END_TEST

START_TEST(bars_that_are_open_are_listed)
{
	struct bench_store store = {};
	char text[32768] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	bench_bars_print(f, &store);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "open all    mean of the ratios to none"));
	ck_assert_ptr_nonnull(strstr(text, "not run: ours, low"));
	ck_assert_ptr_nonnull(strstr(text, "\n0 reached, 0 not, "));
}
END_TEST

/* ---- what is run when nothing is asked for */

START_TEST(a_quick_list_names_policies_and_repetitions)
{
	ck_assert_uint_eq(bench_list_reps("none,ours*10", "ours"), 10);
	ck_assert_uint_eq(bench_list_reps("none,ours*10", "none"), 1);
	ck_assert_uint_eq(bench_list_reps("senpai6,ours", "senpai"), 0);
	ck_assert_uint_eq(bench_list_reps("ours-tax*2", "ours"), 0);
	ck_assert_uint_eq(bench_list_reps("ours*x", "ours"), 0);
	ck_assert_uint_eq(bench_list_reps("ours*1000", "ours"), BENCH_QUICK_REPS_MAX);
	ck_assert_uint_eq(bench_list_reps(NULL, "ours"), 0);
}
END_TEST

START_TEST(what_decides_the_bars_takes_less_than_half_an_hour)
{
	struct bench_cost cost = bench_quick_cost(840), one = bench_quick_cost(8400);

	ck_assert_uint_gt(cost.n_runs, 30);
	ck_assert_uint_lt(cost.seconds, 30 * 60);
	ck_assert_uint_gt(cost.n_boots, 2);
	ck_assert_uint_eq(one.n_boots, 1);
	ck_assert_uint_eq(cost.seconds - 12 * cost.n_boots, one.seconds - 12);
}
END_TEST

START_TEST(the_picture_has_a_row_for_each_load_that_was_run)
{
	struct bench_store store = {};
	char text[65536] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	add_run(&store, "L2", "ours", 0, 0.9);
	add_run(&store, "L4", "none", 5000, 0.8);
	bench_report_svg(f, &store);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "L2: two stable"));
	ck_assert_ptr_nonnull(strstr(text, "L4: cold"));
	ck_assert_ptr_null(strstr(text, "L5: "));
	ck_assert_ptr_nonnull(strstr(text, "</svg>\n"));
	bench_store_free(&store);
}
END_TEST

#define FIELDS 20

/* A line into its fields; it must have exactly those. */
static void cut_row(char *line, char *fields[static FIELDS])
{
	size_t n = 0;

	for (char *field; (field = strsep(&line, "\t")); n++) {
		ck_assert_uint_lt(n, FIELDS);
		fields[n] = field;
	}
	ck_assert_uint_eq(n, FIELDS);
}

static const char *field_of(char *const titles[static FIELDS], char *const fields[static FIELDS],
			    const char *title)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (strcmp(titles[i], title) == 0)
			return fields[i];
	ck_abort_msg("no field %s", title);
}

START_TEST(a_row_of_the_tsv_has_the_medians_under_their_titles)
{
	static const struct {
		const char *title, *text;
	} expected[] = {
		{ "lru", "multi-gen" },
		{ "load", "L1" },
		{ "policy", "ours" },
		{ "n", "3" },
		{ "refaults", "300" },
		{ "refaults_low", "200" },
		{ "refaults_high", "700" },
		{ "mean", "0.8000" },
		{ "mean_low", "0.7000" },
		{ "mean_high", "0.9500" },
		{ "min", "0.6000" },
		{ "share_error", "0.0200" },
		{ "settle_s", "6.50" },
		{ "flips", "9" },
		{ "missed", "3" },
		{ "writes", "12" },
		{ "longest_write_ms", "4.50" },
		{ "loop_permille", "2.25" },
		{ "kills", "6" },
		{ "mib", "90.5/69.5" },
	};
	static const uint64_t refaults[] = { 700, 200, 300 };
	static const double means[] = { 0.7, 0.8, 0.95 }, longest[] = { 1, 4.5, 2 };
	char text[4096] = "", *rest = text, *titles[FIELDS], *fields[FIELDS];
	struct bench_store store = {};
	FILE *f = fmemopen(text, sizeof(text), "w");

	for (uint32_t i = 0; i < ARRAY_LEN(refaults); i++) {
		struct bench_result *r = add_rep(&store, "L1", "ours", i, means[i]);

		r->refaults = refaults[i];
		r->least = 0.6;
		r->share_error = 0.02;
		r->settle_s = 6.5;
		r->n_flips = 3;
		r->n_missed = 1;
		r->n_writes = 12;
		r->longest_write_ms = longest[i];
		r->loop_permille = 2.25;
		r->n_kills = 2;
		r->mib_of[0] = 90.5;
		r->mib_of[1] = 69.5;
	}
	add_run(&store, "L4", "none", 5000, 0.8);
	bench_report_tsv(f, &store);
	fclose(f);
	cut_row(strsep(&rest, "\n"), titles);
	cut_row(strsep(&rest, "\n"), fields);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		ck_assert_str_eq(field_of(titles, fields, expected[i].title), expected[i].text);
	/* a row for each pair of load and policy that was run, and no other */
	cut_row(strsep(&rest, "\n"), fields);
	ck_assert_str_eq(field_of(titles, fields, "load"), "L4");
	ck_assert_str_eq(field_of(titles, fields, "policy"), "none");
	ck_assert_str_eq(field_of(titles, fields, "refaults"), "5000");
	ck_assert_str_eq(rest, "");
	bench_store_free(&store);
}
END_TEST

START_TEST(the_tsv_says_which_lists_the_kernel_had_and_is_titles_alone_without_runs)
{
	struct bench_store store = { .is_legacy = true };
	char text[4096] = "", *titles[FIELDS], *rest = text;
	FILE *f = fmemopen(text, sizeof(text), "w");

	bench_report_tsv(f, &store);
	ck_assert_int_eq(fflush(f), 0);
	cut_row(strsep(&rest, "\n"), titles);
	ck_assert_str_eq(titles[0], "lru");
	ck_assert_str_eq(rest, "");
	rewind(f);
	add_run(&store, "L2", "ours", 0, 0.9);
	bench_report_tsv(f, &store);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "\nlegacy\tL2\tours\t1\t0\t"));
	bench_store_free(&store);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_bars");
	TCase *bars = tcase_create("bars"), *quick = tcase_create("quick");

	tcase_add_test(bars, a_bar_is_open_until_both_sides_were_run);
	tcase_add_test(bars, bars_compare_refaults_and_throughput);
	tcase_add_test(bars, of_two_senpais_the_one_with_fewer_refaults_or_more_speed_counts);
	tcase_add_test(bars, what_is_asked_of_all_loads_is_open_until_the_last_was_run);
	tcase_add_test(bars,
		       a_phase_change_that_is_missed_fails_at_once_and_none_passes_after_twenty);
	tcase_add_test(bars, the_task_furthest_from_its_share_decides);
	tcase_add_test(bars, a_loop_that_can_not_fit_is_not_asked_itself);
	tcase_add_test(bars, a_loop_that_fits_once_memory_is_free_has_to_get_it);
	tcase_add_test(bars,
		       five_pairs_have_an_interval_of_their_ratios_and_fewer_are_said_to_be_few);
	tcase_add_test(bars, refaults_that_are_free_are_said_to_decide);
	tcase_add_test(bars, a_guarantee_is_violated_by_one_run);
	tcase_add_test(bars, processor_time_is_judged_at_the_speed_of_the_host_if_that_is_known);
	tcase_add_test(bars, bars_that_are_open_are_listed);
	tcase_add_test(quick, a_quick_list_names_policies_and_repetitions);
	tcase_add_test(quick, what_decides_the_bars_takes_less_than_half_an_hour);
	tcase_add_test(bars, the_picture_has_a_row_for_each_load_that_was_run);
	tcase_add_test(bars, a_row_of_the_tsv_has_the_medians_under_their_titles);
	tcase_add_test(bars,
		       the_tsv_says_which_lists_the_kernel_had_and_is_titles_alone_without_runs);
	suite_add_tcase(suite, bars);
	suite_add_tcase(suite, quick);
	return suite_run(suite);
}
