/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each bar compares medians. With five repetitions on both sides the value has the median and the
 * interval of the ratios of runs that had the same accesses, too; with fewer it says how few. A
 * ratio of refaults has a hundred of them for nothing: a run counts some when its tasks begin, and
 * none of nothing is no bar.
 *
 * Processor time is judged at the speed of the host where a run has said how much slower its machine
 * was; of runs that have not, as it was.
 *
 * A bar is open while a run it needs is missing, unless what is there has missed it already: who
 * is behind one of the two senpais is behind the better one.
 */

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "bench_report.h"

#define FREE_REFAULTS 100
#define REPS_ENOUGH 5
#define PAIRS_MAX 64
#define FLIPS_ENOUGH 20
#define SHARE_TOLERANCE 0.03
/* What a loop gets of what it needs; the rest may be in the kernel's read-ahead and batches. */
#define LOOP_PART 0.97
/* Charges are counted in batches of 64 pages and processor, and two of these may come and go. */
#define GUARANTEE_SLACK_MIB 0.5

struct judge {
	const struct bench_store *store;
	struct bench_bar *bars;
	size_t n;
	/* over all loads */
	struct whole {
		double sum; /* of ratios or their logarithms */
		uint32_t n;
		size_t least_runs; /* that one of them rests on */
	} none, senpai, best;
};

/* The runs of a bar's other side. */
struct rival {
	const char *name;
	struct bench_summary s;
	bool is_final; /* false: it may turn out that another is the better one */
};

typedef double (*figure)(const struct bench_result *);

static double refaults_of(const struct bench_result *r)
{
	return (double)r->refaults;
}

static double mean_of(const struct bench_result *r)
{
	return r->mean;
}

static struct bench_summary summary(const struct judge *j, const char *load, const char *policy)
{
	return bench_summarize(j->store, bench_load_find(load), bench_policy_find(policy));
}

static struct rival rival(const struct judge *j, const char *load, const char *policy)
{
	return (struct rival){ policy, summary(j, load, policy), true };
}

/* From a full comparison: then it is the only one of the two that is run without options. */
static bool is_known_better(const char *load, const char *name, const char *other)
{
	const char *quick = bench_load_find(load)->quick;

	return bench_list_reps(quick, name) && !bench_list_reps(quick, other);
}

/* Of the two senpais the faster one, or the one with fewer refaults. */
static struct rival better_senpai(const struct judge *j, const char *load, figure f)
{
	struct rival slow = rival(j, load, "senpai"), fast = rival(j, load, "senpai6");
	bool is_both = slow.s.n > 0 && fast.s.n > 0, is_fast = fast.s.n > 0;

	if (is_both)
		is_fast = f == refaults_of ? fast.s.refaults.median < slow.s.refaults.median
					   : fast.s.mean.median > slow.s.mean.median;
	slow.is_final = is_both || is_known_better(load, "senpai", "senpai6");
	fast.is_final = is_both || is_known_better(load, "senpai6", "senpai");
	return is_fast ? fast : slow;
}

/* ---- one bar */

static struct bench_bar *add(struct judge *j, const char *load, const char *text, ...)
	PRINTF_LIKE(3, 4);

/* A new bar, open. */
static struct bench_bar *add(struct judge *j, const char *load, const char *text, ...)
{
	struct bench_bar *bar = &j->bars[j->n];
	va_list args;

	assert(j->n < BENCH_BARS_MAX);
	j->n++;
	*bar = (struct bench_bar){ .load = load, .verdict = BENCH_OPEN };
	va_start(args, text);
	(void)vsnprintf(bar->text, sizeof(bar->text), text, args);
	va_end(args);
	return bar;
}

static void note(struct bench_bar *bar, const char *text, ...) PRINTF_LIKE(2, 3);

/* More of the bar's value. */
static void note(struct bench_bar *bar, const char *text, ...)
{
	size_t len = strlen(bar->value);
	va_list args;

	va_start(args, text);
	(void)vsnprintf(bar->value + len, sizeof(bar->value) - len, text, args);
	va_end(args);
}

/* Was @policy run @n times, once at least? If not, the bar says so. */
static bool has(struct bench_bar *bar, const char *policy, size_t n)
{
	if (n == 0)
		note(bar, "%s%s", bar->value[0] ? ", " : "not run: ", policy);
	return n > 0;
}

static bool has_both(struct bench_bar *bar, size_t n_ours, const char *other, size_t n_other)
{
	bool is_ours = has(bar, "ours", n_ours), is_other = has(bar, other, n_other);

	return is_ours && is_other;
}

static void decide(struct bench_bar *bar, bool is_reached)
{
	bar->verdict = is_reached ? BENCH_PASS : BENCH_FAIL;
}

/* What a figure of @n runs rests on, when that is not much. */
static void note_runs(struct bench_bar *bar, size_t n)
{
	if (n < REPS_ENOUGH)
		note(bar, " (%zu run%s)", n, n == 1 ? "" : "s");
}

/* Ratios of ours to @other, each of two runs with the same accesses. */
static void note_ratio(struct judge *j, struct bench_bar *bar, const char *load,
		       const struct rival *other, figure f, size_t n_ours)
{
	const struct bench_load *l = bench_load_find(load);
	double ratios[PAIRS_MAX];
	struct bench_interval i;
	size_t n = 0;

	for (uint32_t rep = 1; rep <= PAIRS_MAX; rep++) {
		const struct bench_result *mine =
			bench_store_find(j->store, l, bench_policy_find("ours"), rep);
		const struct bench_result *its =
			bench_store_find(j->store, l, bench_policy_find(other->name), rep);

		if (mine && its && f(its) > 0)
			ratios[n++] = f(mine) / f(its);
	}
	if (n < REPS_ENOUGH) {
		note_runs(bar, MIN(n_ours, other->s.n));
		return;
	}
	i = bench_interval(ratios, n);
	note(bar, ", ratio %.3f [%.3f, %.3f] of %zu pairs", i.median, i.low, i.high, n);
}

/* The bar is missed for certain, or it holds against the one senpai that was run. */
static void note_final(struct bench_bar *bar, const struct rival *other)
{
	if (other->is_final || bar->verdict == BENCH_FAIL)
		return;
	bar->verdict = BENCH_OPEN;
	note(bar, "; not run: %s", strcmp(other->name, "senpai") == 0 ? "senpai6" : "senpai");
}

/* Ours has at most @part of the refaults of @other. */
static void judge_refaults(struct judge *j, const char *load, struct rival other, double part)
{
	struct bench_bar *bar = add(j, load, "refaults <= %.2f of %s", part, other.name);
	struct bench_summary ours = summary(j, load, "ours");
	double have = ours.refaults.median, limit = part * other.s.refaults.median;

	if (!has_both(bar, ours.n, other.name, other.s.n))
		return;
	decide(bar, have <= limit + FREE_REFAULTS);
	note(bar, "%.0f of %.0f", have, other.s.refaults.median);
	if (have > limit && bar->verdict == BENCH_PASS)
		note(bar, ", for %d are free", FREE_REFAULTS);
	note_ratio(j, bar, load, &other, refaults_of, ours.n);
	note_final(bar, &other);
}

/* Ours is at least @factor times as fast as @other. */
static void judge_mean(struct judge *j, const char *load, struct rival other, double factor)
{
	struct bench_bar *bar = add(j, load, "mean throughput >= %.2f of %s", factor, other.name);
	struct bench_summary ours = summary(j, load, "ours");

	if (!has_both(bar, ours.n, other.name, other.s.n))
		return;
	decide(bar, ours.mean.median >= factor * other.s.mean.median);
	note(bar, "%.3f, %s %.3f", ours.mean.median, other.name, other.s.mean.median);
	note_ratio(j, bar, load, &other, mean_of, ours.n);
	note_final(bar, &other);
}

/* ---- weights */

/* The task whose memory is furthest from its weighted share of what they have; all are hungry, so
 * they have the reserve, too, which is promised to nobody. */
static double worst_share_error(const struct bench_load *load, const struct bench_result *r)
{
	double weights = 0, mib = 0, worst = 0;

	for (size_t i = 0; i < load->n_tasks; i++) {
		weights += bench_task_weight(load, i, load->warm_s + load->score_s);
		mib += r->mib_of[i];
	}
	for (size_t i = 0; i < load->n_tasks; i++) {
		double share =
			mib * bench_task_weight(load, i, load->warm_s + load->score_s) / weights;

		worst = fmax(worst, fabs(r->mib_of[i] - share) / share);
	}
	return worst;
}

static void judge_shares(struct judge *j)
{
	struct bench_bar *bar = add(j, "L3", "every task within 3 %% of its weighted share");
	const struct bench_load *load = bench_load_find("L3");
	double errors[PAIRS_MAX];
	struct bench_interval error;
	size_t n = 0;

	for (uint32_t rep = 1; rep <= PAIRS_MAX; rep++) {
		const struct bench_result *r =
			bench_store_find(j->store, load, bench_policy_find("ours"), rep);

		if (r)
			errors[n++] = worst_share_error(load, r);
	}
	if (!has(bar, "ours", n))
		return;
	error = bench_interval(errors, n);
	decide(bar, error.median <= SHARE_TOLERANCE);
	note(bar, "worst %.1f %%", error.median * 100);
	if (n >= REPS_ENOUGH)
		note(bar, " [%.1f, %.1f]", error.low * 100, error.high * 100);
	note_runs(bar, n);
}

static void judge_weights(struct judge *j)
{
	struct bench_summary heavy = summary(j, "W4", "ours"), change = summary(j, "share", "ours");
	struct bench_bar *bar;

	judge_shares(j);
	bar = add(j, "W4", "weight 4 keeps 0.9 of its speed alone");
	if (has(bar, "ours", heavy.n)) {
		decide(bar, heavy.speed_of[0] >= 0.9);
		note(bar, "%.3f", heavy.speed_of[0]);
		note_runs(bar, heavy.n);
	}
	bar = add(j, "share", "1:1 to 4:1 settles in 15 s");
	if (has(bar, "ours", change.n)) {
		decide(bar, change.settle_s.median <= 15 && change.n_missed == 0);
		note(bar, "%.1f s, missed %u of %u", change.settle_s.median, change.n_missed,
		     change.n_flips);
		note_runs(bar, change.n);
	}
}

/* ---- scans, files */

static void judge_scans(struct judge *j)
{
	static const char *const loads[] = { "L2", "L7p" };

	for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
		judge_refaults(j, loads[i], rival(j, loads[i], "low"), 0.05);
		judge_refaults(j, loads[i], rival(j, loads[i], "none"), 0.02);
		judge_mean(j, loads[i], rival(j, loads[i], "low"), 1.25);
		judge_mean(j, loads[i], rival(j, loads[i], "none"), 4);
		judge_mean(j, loads[i], better_senpai(j, loads[i], mean_of), 4);
	}
	judge_mean(j, "L5", rival(j, "L5", "none"), 0.97);
	judge_refaults(j, "L6", rival(j, "L6", "none"), 0.25);
}

/* The loop, task 2, gets what it goes over; with @is_still, and then reads nothing twice. */
static void judge_loop(struct judge *j, const char *load, bool is_still, const char *text)
{
	struct bench_bar *bar = add(j, load, "%s", text);
	struct bench_summary ours = summary(j, load, "ours");
	double need =
		bench_load_find(load)->tasks[2].size * (BENCH_BUDGET_BYTES / 1048576.0) / 1000;

	if (!has(bar, "ours", ours.n))
		return;
	decide(bar, ours.mib_of[2] >= LOOP_PART * need &&
			    (!is_still || ours.refaults_of[2] < FREE_REFAULTS));
	note(bar, "%.0f of %.0f MiB, %.0f refaults", ours.mib_of[2], need, ours.refaults_of[2]);
	note_runs(bar, ours.n);
}

/* Tasks 0 and 1 beside a loop that can not fit are as well off as without a law. */
static void judge_bystanders(struct judge *j)
{
	struct bench_bar *speed = add(j, "L8n", "each task beside the loop >= 0.97 of none"),
			 *refaults = add(j, "L8n", "refaults beside the loop <= none's");
	struct bench_summary ours = summary(j, "L8n", "ours"), none = summary(j, "L8n", "none");
	double have = ours.refaults_of[0] + ours.refaults_of[1],
	       limit = none.refaults_of[0] + none.refaults_of[1], least = INFINITY;
	size_t n = MIN(ours.n, none.n);

	if (!has_both(speed, ours.n, "none", none.n)) {
		note(refaults, "%s", speed->value);
		return;
	}
	for (size_t i = 0; i < 2; i++)
		least = fmin(least, ours.speed_of[i] / none.speed_of[i]);
	decide(speed, least >= 0.97);
	note(speed, "%.3f, %.3f, none %.3f, %.3f", ours.speed_of[0], ours.speed_of[1],
	     none.speed_of[0], none.speed_of[1]);
	note_runs(speed, n);
	decide(refaults, have <= limit + FREE_REFAULTS);
	note(refaults, "%.0f of %.0f", have, limit);
	if (have > limit && refaults->verdict == BENCH_PASS)
		note(refaults, ", for %d are free", FREE_REFAULTS);
	note_runs(refaults, n);
}

/* ---- phases */

static void judge_flips(struct judge *j)
{
	struct bench_summary ours = summary(j, "L1", "ours"), none = summary(j, "L1", "none");
	struct bench_bar *bar;

	judge_refaults(j, "L4", rival(j, "L4", "low"), 0.15);
	judge_mean(j, "L4", better_senpai(j, "L4", mean_of), 0.97);
	judge_refaults(j, "L1", rival(j, "L1", "none"), 0.75);
	judge_refaults(j, "L1", better_senpai(j, "L1", refaults_of), 1);
	bar = add(j, "L1", "settles no later than none");
	if (has_both(bar, ours.n, "none", none.n)) {
		decide(bar, ours.settle_s.median <= none.settle_s.median);
		note(bar, "%.1f s, none %.1f s", ours.settle_s.median, none.settle_s.median);
		note_runs(bar, MIN(ours.n, none.n));
	}
	bar = add(j, "L1", "no phase change missed in %d", FLIPS_ENOUGH);
	if (!has(bar, "ours", ours.n))
		return;
	note(bar, "%u of %u", ours.n_missed, ours.n_flips);
	if (ours.n_missed > 0 || ours.n_flips >= FLIPS_ENOUGH)
		decide(bar, ours.n_missed == 0);
	else
		note(bar, ", %d are needed", FLIPS_ENOUGH);
}

/* ---- all loads */

static void count_ratio(struct whole *w, double ratio, size_t n_runs)
{
	w->least_runs = w->n == 0 ? n_runs : MIN(w->least_runs, n_runs);
	w->sum += ratio;
	w->n++;
}

static void judge_load(struct judge *j, const char *load)
{
	struct bench_bar *bar = add(j, load, ">= 0.97 of none, 0.95 of the better senpai");
	struct bench_summary ours = summary(j, load, "ours");
	struct rival none = rival(j, load, "none"), best = rival(j, load, "static"),
		     senpai = better_senpai(j, load, mean_of);
	bool is_none, is_senpai, is_behind;
	size_t n;

	if (!has(bar, "ours", ours.n))
		return;
	is_none = has(bar, "none", none.s.n);
	is_senpai = has(bar, "senpai", senpai.s.n);
	if (is_senpai && !senpai.is_final)
		(void)has(bar, strcmp(senpai.name, "senpai") == 0 ? "senpai6" : "senpai", 0);
	if (is_none)
		count_ratio(&j->none, log(ours.mean.median / none.s.mean.median),
			    MIN(ours.n, none.s.n));
	if (is_senpai && senpai.is_final)
		count_ratio(&j->senpai, log(ours.mean.median / senpai.s.mean.median),
			    MIN(ours.n, senpai.s.n));
	if (best.s.n > 0)
		count_ratio(&j->best, ours.mean.median / best.s.mean.median, MIN(ours.n, best.s.n));
	is_behind = (is_none && !(ours.mean.median >= 0.97 * none.s.mean.median)) ||
		    (is_senpai && !(ours.mean.median >= 0.95 * senpai.s.mean.median));
	if (!is_behind && !(is_none && is_senpai && senpai.is_final))
		return;
	bar->value[0] = '\0';
	decide(bar, !is_behind);
	note(bar, "%.3f", ours.mean.median);
	if (is_none)
		note(bar, ", none %.3f", none.s.mean.median);
	if (is_senpai)
		note(bar, ", %s %.3f", senpai.name, senpai.s.mean.median);
	n = MIN(ours.n, MIN(is_none ? none.s.n : ours.n, is_senpai ? senpai.s.n : ours.n));
	note_runs(bar, n);
	if (is_none && n >= REPS_ENOUGH)
		note_ratio(j, bar, load, &none, mean_of, ours.n);
	if (is_senpai && n >= REPS_ENOUGH)
		note_ratio(j, bar, load, &senpai, mean_of, ours.n);
}

/* A mean over all loads, open until all of them were run. */
static void judge_whole(struct judge *j, const struct whole *w, double mean, double least,
			uint32_t n_all, const char *text)
{
	struct bench_bar *bar = add(j, "all", "%s", text);

	if (w->n == 0) {
		note(bar, "not run");
		return;
	}
	note(bar, "%.3f over %u of %u loads", mean, w->n, n_all);
	note_runs(bar, w->least_runs);
	if (w->n == n_all)
		decide(bar, mean >= least);
}

/* No run of ours has a kill, a long write or somebody below a guarantee. */
static void judge_safety(struct judge *j)
{
	const struct bench_load *load;
	uint32_t n_kills = 0, n_runs = 0, n_kept = 0;
	double longest_ms = 0, short_mib = 0;
	struct bench_bar *bar;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		struct bench_summary s = summary(j, load->name, "ours");

		n_runs += s.n;
		n_kills += s.n_kills;
		longest_ms = fmax(longest_ms, s.longest_write_ms);
		short_mib = fmax(short_mib, s.short_mib);
		n_kept += bench_load_is_kept(load) ? s.n : 0;
	}
	bar = add(j, "all", "nobody is killed");
	if (has(bar, "ours", n_runs)) {
		decide(bar, n_kills == 0);
		note(bar, "%u in %u runs", n_kills, n_runs);
	}
	bar = add(j, "all", "no write blocks for 10 ms");
	if (has(bar, "ours", n_runs)) {
		decide(bar, longest_ms <= 10);
		note(bar, "%.1f ms in %u runs", longest_ms, n_runs);
	}
	bar = add(j, "all", "no guarantee violated");
	if (has(bar, "ours", n_kept)) {
		decide(bar, short_mib <= GUARANTEE_SLACK_MIB);
		note(bar, "%.2f MiB below it at most", short_mib);
		note_runs(bar, n_kept);
	}
}

/* What it costs to look at fifty tasks twice a second. */
static void judge_cost(struct judge *j)
{
	struct bench_bar *bar = add(j, "idle50", "less than 1 %% of a processor");
	struct bench_summary idle = summary(j, "idle50", "ours");
	bool is_host = idle.n_host > 0;

	if (!has(bar, "ours", idle.n))
		return;
	decide(bar, (is_host ? idle.host_loop_permille : idle.loop_permille) < 10);
	note(bar, "%.2f %% emulated", idle.loop_permille / 10);
	if (is_host)
		note(bar, ", %.2f %% at the host's speed", idle.host_loop_permille / 10);
	note_runs(bar, is_host ? idle.n_host : idle.n);
}

static void judge_all(struct judge *j)
{
	const struct bench_load *load;
	uint32_t n_all = 0, n_split = 0;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		judge_load(j, load->name);
		n_all++;
		n_split += load->n_tasks <= BENCH_SPLIT_TASKS_MAX;
	}
	judge_whole(j, &j->none, exp(j->none.sum / MAX(j->none.n, 1u)), 1.1, n_all,
		    "mean of the ratios to none >= 1.10");
	judge_whole(j, &j->senpai, exp(j->senpai.sum / MAX(j->senpai.n, 1u)), 1.1, n_all,
		    "mean of the ratios to the better senpai >= 1.10");
	judge_whole(j, &j->best, j->best.sum / MAX(j->best.n, 1u), 0.9, n_split,
		    ">= 0.9 of the best static split, in the mean");
	judge_safety(j);
	judge_cost(j);
}

size_t bench_bars_judge(const struct bench_store *store,
			struct bench_bar bars[static BENCH_BARS_MAX])
{
	struct judge j = { .store = store, .bars = bars };

	judge_weights(&j);
	judge_scans(&j);
	judge_loop(&j, "L8f", true, "a loop that fits gets its memory");
	judge_loop(&j, "L8c", false, "a loop gets its memory once what is cold has gone");
	judge_bystanders(&j);
	judge_flips(&j);
	judge_all(&j);
	return j.n;
}

void bench_bars_print(FILE *f, const struct bench_store *store)
{
	static const char *const words[] = {
		[BENCH_OPEN] = "open", [BENCH_PASS] = "ok  ", [BENCH_FAIL] = "FAIL"
	};
	struct bench_bar bars[BENCH_BARS_MAX];
	size_t n = bench_bars_judge(store, bars), n_of[3] = {};

	fprintf(f, "\nbars (%s LRU):\n", store->is_legacy ? "legacy" : "multi-gen");
	for (size_t i = 0; i < n; i++) {
		n_of[bars[i].verdict]++;
		fprintf(f, "  %s %-6s %-48s %s\n", words[bars[i].verdict], bars[i].load,
			bars[i].text, bars[i].value);
	}
	fprintf(f, "%zu reached, %zu not, %zu open\n", n_of[BENCH_PASS], n_of[BENCH_FAIL],
		n_of[BENCH_OPEN]);
}
