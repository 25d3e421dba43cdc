/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each bar compares medians. A ratio of refaults has a hundred of them for nothing: a run counts
 * some when its tasks begin, and none of nothing is no bar.
 */

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "bench_report.h"

#define FREE_REFAULTS 100

struct judge {
	const struct bench_store *store;
	struct bench_bar *bars;
	size_t n;
	/* over all loads */
	double log_none, log_senpai, static_sum;
	uint32_t n_none, n_senpai, n_static;
};

static struct bench_summary summary(const struct judge *j, const char *load, const char *policy)
{
	return bench_summarize(j->store, bench_load_find(load), bench_policy_find(policy));
}

/* Of the two senpais the one with the higher mean throughput. */
static struct bench_summary better_senpai(const struct judge *j, const char *load)
{
	struct bench_summary slow = summary(j, load, "senpai"), fast = summary(j, load, "senpai6");

	if (slow.n == 0 || (fast.n > 0 && fast.mean.median > slow.mean.median))
		return fast;
	return slow;
}

static void add(struct judge *j, const char *load, bool is_run, bool is_reached, const char *text,
		const char *value, ...) PRINTF_LIKE(6, 7);

static void add(struct judge *j, const char *load, bool is_run, bool is_reached, const char *text,
		const char *value, ...)
{
	struct bench_bar *bar = &j->bars[j->n];
	va_list args;

	if (j->n == BENCH_BARS_MAX)
		return;
	j->n++;
	*bar = (struct bench_bar){ .load = load };
	bar->verdict = !is_run ? BENCH_OPEN : is_reached ? BENCH_PASS : BENCH_FAIL;
	(void)snprintf(bar->text, sizeof(bar->text), "%s", text);
	if (!is_run) {
		(void)snprintf(bar->value, sizeof(bar->value), "not run");
		return;
	}
	va_start(args, value);
	(void)vsnprintf(bar->value, sizeof(bar->value), value, args);
	va_end(args);
}

/* Ours has at most @part of the refaults of @other. */
static void judge_refaults(struct judge *j, const char *load, const struct bench_summary *other,
			   const char *name, double part)
{
	struct bench_summary ours = summary(j, load, "ours");
	double have = ours.refaults.median, limit = part * other->refaults.median;
	char text[96];

	(void)snprintf(text, sizeof(text), "refaults <= %.2f of %s", part, name);
	add(j, load, ours.n > 0 && other->n > 0, have <= limit + FREE_REFAULTS, text,
	    "%.0f of %.0f", have, other->refaults.median);
}

/* Ours is at least @factor times as fast as @other. */
static void judge_mean(struct judge *j, const char *load, const struct bench_summary *other,
		       const char *name, double factor)
{
	struct bench_summary ours = summary(j, load, "ours");
	char text[96];

	(void)snprintf(text, sizeof(text), "mean throughput >= %.2f of %s", factor, name);
	add(j, load, ours.n > 0 && other->n > 0, ours.mean.median >= factor * other->mean.median,
	    text, "%.3f, %s %.3f", ours.mean.median, name, other->mean.median);
}

static void judge_weights(struct judge *j)
{
	struct bench_summary equal = summary(j, "L3", "ours"), heavy = summary(j, "W4", "ours"),
			     change = summary(j, "share", "ours");

	add(j, "L3", equal.n > 0, equal.share_error.median <= 0.03,
	    "memory within 3 % of the weighted shares", "%.1f %%", equal.share_error.median * 100);
	add(j, "W4", heavy.n > 0, heavy.speed_of[0] >= 0.9, "weight 4 keeps 0.9 of its speed alone",
	    "%.3f", heavy.speed_of[0]);
	add(j, "share", change.n > 0, change.settle_s.median <= 15 && change.n_missed == 0,
	    "1:1 to 4:1 settles in 15 s", "%.1f s, missed %u of %u", change.settle_s.median,
	    change.n_missed, change.n_flips);
}

static void judge_scans(struct judge *j)
{
	static const char *const refault_loads[] = { "L2", "L7p" };
	static const char *const cache_loads[] = { "L5", "L7r", "L8n" };

	for (size_t i = 0; i < ARRAY_LEN(refault_loads); i++) {
		const char *load = refault_loads[i];
		struct bench_summary none = summary(j, load, "none"), low = summary(j, load, "low"),
				     senpai = better_senpai(j, load);

		judge_refaults(j, load, &low, "low", 0.05);
		judge_refaults(j, load, &none, "none", 0.02);
		judge_mean(j, load, &low, "low", 1.25);
		judge_mean(j, load, &none, "none", 4);
		judge_mean(j, load, &senpai, "senpai", 4);
	}
	for (size_t i = 0; i < ARRAY_LEN(cache_loads); i++) {
		struct bench_summary none = summary(j, cache_loads[i], "none");

		judge_mean(j, cache_loads[i], &none, "none", 0.97);
	}
}

static void judge_files(struct judge *j)
{
	struct bench_summary none = summary(j, "L6", "none"), loop = summary(j, "L8f", "ours");
	const struct bench_load *fits = bench_load_find("L8f");
	double need = fits->tasks[2].size * 0.16; /* MiB: permille of 160 */

	judge_refaults(j, "L6", &none, "none", 0.25);
	add(j, "L8f", loop.n > 0,
	    loop.mib_of[2] >= 0.97 * need && loop.refaults_of[2] < FREE_REFAULTS,
	    "a loop that fits gets its memory", "%.0f of %.0f MiB, %.0f refaults", loop.mib_of[2],
	    need, loop.refaults_of[2]);
}

static void judge_flips(struct judge *j)
{
	struct bench_summary ours = summary(j, "L1", "ours"), none = summary(j, "L1", "none"),
			     senpai = better_senpai(j, "L1"), low = summary(j, "L4", "low"),
			     cold = better_senpai(j, "L4");

	judge_refaults(j, "L4", &low, "low", 0.15);
	judge_mean(j, "L4", &cold, "senpai", 0.97);
	judge_refaults(j, "L1", &none, "none", 0.75);
	judge_refaults(j, "L1", &senpai, "senpai", 1);
	add(j, "L1", ours.n > 0 && none.n > 0, ours.settle_s.median <= none.settle_s.median,
	    "settles no later than none", "%.1f s, none %.1f s", ours.settle_s.median,
	    none.settle_s.median);
	add(j, "L1", ours.n > 0, ours.n_missed == 0, "no phase change missed in 20", "%u of %u",
	    ours.n_missed, ours.n_flips);
}

static void judge_load(struct judge *j, const char *load)
{
	struct bench_summary ours = summary(j, load, "ours"), none = summary(j, load, "none"),
			     best = summary(j, load, "static"), senpai = better_senpai(j, load);
	bool is_none = none.n > 0, is_senpai = senpai.n > 0, is_good;

	if (ours.n == 0)
		return;
	if (is_none) {
		j->log_none += log(ours.mean.median / none.mean.median);
		j->n_none++;
	}
	if (is_senpai) {
		j->log_senpai += log(ours.mean.median / senpai.mean.median);
		j->n_senpai++;
	}
	if (best.n > 0) {
		j->static_sum += ours.mean.median / best.mean.median;
		j->n_static++;
	}
	is_good = ours.mean.median >= 0.97 * none.mean.median &&
		  ours.mean.median >= 0.95 * senpai.mean.median;
	add(j, load, is_none && is_senpai, is_good, ">= 0.97 of none, 0.95 of the better senpai",
	    "%.3f, none %.3f, senpai %.3f", ours.mean.median, none.mean.median, senpai.mean.median);
}

static void judge_all(struct judge *j)
{
	const struct bench_load *load;
	uint32_t n_kills = 0, n_runs = 0;
	double longest_ms = 0, loop = summary(j, "idle50", "ours").loop_permille, none, senpai;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		struct bench_summary s = summary(j, load->name, "ours");

		judge_load(j, load->name);
		n_runs += s.n;
		n_kills += s.n_kills;
		longest_ms = MAX(longest_ms, s.longest_write_ms);
	}
	none = exp(j->log_none / MAX(j->n_none, 1u));
	senpai = exp(j->log_senpai / MAX(j->n_senpai, 1u));
	add(j, "all", j->n_none > 0, none >= 1.1, "mean of the ratios to none >= 1.10",
	    "%.3f over %u loads", none, j->n_none);
	add(j, "all", j->n_senpai > 0, senpai >= 1.1,
	    "mean of the ratios to the better senpai >= 1.10", "%.3f over %u loads", senpai,
	    j->n_senpai);
	add(j, "all", j->n_static > 0, j->static_sum >= 0.9 * j->n_static,
	    ">= 0.9 of the best static split", "%.3f over %u loads",
	    j->static_sum / MAX(j->n_static, 1u), j->n_static);
	add(j, "all", n_runs > 0, n_kills == 0, "nobody is killed", "%u in %u runs", n_kills,
	    n_runs);
	add(j, "all", n_runs > 0, longest_ms <= 10, "no write blocks for 10 ms", "%.1f ms",
	    longest_ms);
	add(j, "idle50", summary(j, "idle50", "ours").n > 0, loop < 10,
	    "less than 1 % of a processor", "%.2f %%", loop / 10);
}

size_t bench_bars_judge(const struct bench_store *store,
			struct bench_bar bars[static BENCH_BARS_MAX])
{
	struct judge j = { .store = store, .bars = bars };

	judge_weights(&j);
	judge_scans(&j);
	judge_files(&j);
	judge_flips(&j);
	judge_all(&j);
	return j.n;
}

void bench_bars_print(FILE *f, const struct bench_store *store)
{
	static const char *const words[] = {
		[BENCH_OPEN] = "    ", [BENCH_PASS] = "ok  ", [BENCH_FAIL] = "FAIL"
	};
	struct bench_bar bars[BENCH_BARS_MAX];
	size_t n = bench_bars_judge(store, bars), n_of[3] = {};

	fputs("\nbars:\n", f);
	for (size_t i = 0; i < n; i++) {
		n_of[bars[i].verdict]++;
		if (bars[i].verdict != BENCH_OPEN)
			fprintf(f, "  %s %-6s %-48s %s\n", words[bars[i].verdict], bars[i].load,
				bars[i].text, bars[i].value);
	}
	fprintf(f, "%zu reached, %zu not, %zu not run\n", n_of[BENCH_PASS], n_of[BENCH_FAIL],
		n_of[BENCH_OPEN]);
}
