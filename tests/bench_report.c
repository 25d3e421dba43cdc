/* SPDX-License-Identifier: Apache-2.0 */

#include "bench_report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

#define FILE_MAX (UINT64_C(64) << 20)
#define REPS_MAX 256
#define DISTURBED 2.5

/* ---- the store */

int bench_store_add_solo(struct bench_store *store, uint32_t hash, double rate)
{
	struct bench_solo *solos =
		realloc(store->solos, (store->n_solos + 1) * sizeof(*store->solos));

	if (!solos)
		return -ENOMEM;
	store->solos = solos;
	store->solos[store->n_solos++] = (struct bench_solo){ hash, rate };
	return 0;
}

int bench_store_add_try(struct bench_store *store, const struct bench_try *t)
{
	struct bench_try *tries =
		realloc(store->tries, (store->n_tries + 1) * sizeof(*store->tries));

	if (!tries)
		return -ENOMEM;
	store->tries = tries;
	store->tries[store->n_tries++] = *t;
	return 0;
}

int bench_store_add(struct bench_store *store, const struct bench_result *r)
{
	if (store->n_runs == store->n_allocated) {
		size_t n = 2 * store->n_allocated + 64;
		struct bench_result *runs = realloc(store->runs, n * sizeof(*runs));

		if (!runs)
			return -ENOMEM;
		store->runs = runs;
		store->n_allocated = n;
	}
	store->runs[store->n_runs++] = *r;
	if (r->spin_us > 0 && (store->least_spin_us == 0 || r->spin_us < store->least_spin_us))
		store->least_spin_us = r->spin_us;
	return 0;
}

bool bench_store_is_disturbed(const struct bench_store *store, const struct bench_result *r)
{
	return store->least_spin_us > 0 && r->spin_us > DISTURBED * store->least_spin_us;
}

uint32_t bench_store_count_disturbed(const struct bench_store *store)
{
	uint32_t n = 0;

	for (size_t i = 0; i < store->n_runs; i++)
		n += bench_store_is_disturbed(store, &store->runs[i]);
	return n;
}

int bench_store_read(struct bench_store *store, int dir_fd, const char *name)
{
	CLEANUP(freep) char *text = NULL;
	char *rest, *line;
	int r = file_read_all(dir_fd, name, FILE_MAX, &text, NULL);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		struct bench_result result;
		struct bench_try try;
		double rate;
		uint32_t hash;

		if (sscanf(line, "solo task=%" SCNx32 " rate=%lf", &hash, &rate) == 2 && rate > 0)
			r = bench_store_add_solo(store, hash, rate);
		else if (bench_result_parse(line, &result) == 0)
			r = bench_store_add(store, &result);
		else if (bench_try_parse(line, &try) == 0)
			r = bench_store_add_try(store, &try);
	}
	return r;
}

void bench_store_free(struct bench_store *store)
{
	free(store->runs);
	free(store->solos);
	free(store->tries);
	*store = (struct bench_store){};
}

static const struct bench_try *best_try(const struct bench_store *store,
					const struct bench_load *load)
{
	const struct bench_try *best = NULL;

	for (size_t i = 0; i < store->n_tries; i++) {
		const struct bench_try *t = &store->tries[i];

		if (strcmp(t->load, load->name) == 0 && t->hash == bench_load_hash(load) &&
		    t->n_tasks == load->n_tasks && (!best || t->score > best->score))
			best = t;
	}
	return best;
}

const uint16_t *bench_store_split(const struct bench_store *store, const struct bench_load *load)
{
	const struct bench_try *best = best_try(store, load);

	return best ? best->split : bench_policy_split(load->name);
}

uint32_t bench_store_version(const struct bench_store *store, const struct bench_load *load,
			     const struct bench_policy *policy)
{
	const uint16_t *split;
	uint32_t version = 0;

	if (strcmp(policy->name, "static") != 0)
		return policy->version;
	split = bench_store_split(store, load);
	for (size_t i = 0; split && i < load->n_tasks; i++)
		version = (version ^ split[i]) * 16777619u + 1;
	return version;
}

static bool is_of(const struct bench_store *store, const struct bench_result *r,
		  const struct bench_load *load, const struct bench_policy *policy)
{
	return strcmp(r->load, load->name) == 0 && strcmp(r->policy, policy->name) == 0 &&
	       r->hash == bench_load_hash(load) &&
	       r->version == bench_store_version(store, load, policy) &&
	       !bench_store_is_disturbed(store, r);
}

const struct bench_result *bench_store_find(const struct bench_store *store,
					    const struct bench_load *load,
					    const struct bench_policy *policy, uint32_t rep)
{
	for (size_t i = 0; i < store->n_runs; i++)
		if (store->runs[i].rep == rep && is_of(store, &store->runs[i], load, policy))
			return &store->runs[i];
	return NULL;
}

double bench_store_solo(const struct bench_store *store, const struct bench_task *task)
{
	double rates[REPS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < store->n_solos && n < REPS_MAX; i++)
		if (store->solos[i].hash == bench_task_hash(task))
			rates[n++] = store->solos[i].rate;
	return n ? bench_median(rates, n) : 0;
}

/* ---- summaries */

struct bench_summary bench_summarize(const struct bench_store *store, const struct bench_load *load,
				     const struct bench_policy *policy)
{
	struct bench_summary s = {};
	const struct bench_result *runs[REPS_MAX];
	double refaults[REPS_MAX], mean[REPS_MAX], least[REPS_MAX], error[REPS_MAX],
		settle[REPS_MAX], writes[REPS_MAX], loop[REPS_MAX], host_loop[REPS_MAX],
		mib[REPS_MAX], speed[REPS_MAX], refaults_of[REPS_MAX];

	for (size_t i = 0; i < store->n_runs && s.n < REPS_MAX; i++)
		if (is_of(store, &store->runs[i], load, policy))
			runs[s.n++] = &store->runs[i];
	for (size_t i = 0; i < s.n; i++) {
		const struct bench_result *r = runs[i];

		refaults[i] = (double)r->refaults;
		mean[i] = r->mean;
		least[i] = r->least;
		error[i] = r->share_error;
		settle[i] = r->settle_s;
		writes[i] = r->n_writes;
		loop[i] = r->loop_permille;
		if (r->slower > 0)
			host_loop[s.n_host++] = r->loop_permille / r->slower;
		s.longest_write_ms = MAX(s.longest_write_ms, r->longest_write_ms);
		s.short_mib = fmax(s.short_mib, r->short_mib);
		s.n_flips += r->n_flips;
		s.n_missed += r->n_missed;
		s.n_kills += r->n_kills;
	}
	for (size_t t = 0; t < load->n_tasks; t++) {
		for (size_t i = 0; i < s.n; i++) {
			mib[i] = runs[i]->mib_of[t];
			speed[i] = runs[i]->speed_of[t];
			refaults_of[i] = (double)runs[i]->refaults_of[t];
		}
		s.mib_of[t] = bench_median(mib, s.n);
		s.speed_of[t] = bench_median(speed, s.n);
		s.refaults_of[t] = bench_median(refaults_of, s.n);
	}
	s.refaults = bench_interval(refaults, s.n);
	s.mean = bench_interval(mean, s.n);
	s.least = bench_interval(least, s.n);
	s.share_error = bench_interval(error, s.n);
	s.settle_s = bench_interval(settle, s.n);
	s.n_writes = bench_median(writes, s.n);
	s.loop_permille = bench_median(loop, s.n);
	s.host_loop_permille = bench_median(host_loop, s.n_host);
	return s;
}

/* ---- text */

const char *bench_summary_mib(const struct bench_load *load, const struct bench_summary *s,
			      char buf[static BENCH_MIB_MAX])
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < load->n_tasks && len < BENCH_MIB_MAX && i < 8; i++)
		len += (size_t)snprintf(buf + len, BENCH_MIB_MAX - len, "%s%.0f", i ? "/" : "",
					s->mib_of[i]);
	return buf;
}

static void print_row(FILE *f, const struct bench_load *load, const struct bench_policy *policy,
		      const struct bench_summary *s)
{
	char mib[BENCH_MIB_MAX], range[48], settle[32] = "", missed[24] = "";

	(void)snprintf(range, sizeof(range), "%.1f..%.1f", s->refaults.low / 1000,
		       s->refaults.high / 1000);
	if (s->settle_s.median >= 0)
		(void)snprintf(settle, sizeof(settle), "%.1f", s->settle_s.median);
	if (s->n_flips > 0)
		(void)snprintf(missed, sizeof(missed), "%u/%u", s->n_missed, s->n_flips);
	fprintf(f,
		"  %-13s %3zu %8.1f %-15s %-24s %5.3f %5.3f..%5.3f %5.3f %6.1f %6s %6s %5.0f "
		"%7.1f %5.2f %5u\n",
		policy->name, s->n, s->refaults.median / 1000, range,
		bench_summary_mib(load, s, mib), s->mean.median, s->mean.low, s->mean.high,
		s->least.median, s->share_error.median * 100, settle, missed, s->n_writes,
		s->longest_write_ms, s->loop_permille / 10, s->n_kills);
}

void bench_report_splits(FILE *f, const struct bench_store *store)
{
	const struct bench_load *load;

	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		const struct bench_try *best = best_try(store, load);

		if (!best)
			continue;
		fprintf(f, "\t{ \"%s\", {", load->name);
		for (size_t t = 0; t < load->n_tasks; t++)
			fprintf(f, "%s %u", t ? "," : "", best->split[t]);
		fprintf(f, " } }, /* %.3f */\n", best->score);
	}
}

static const char *lru_name(const struct bench_store *store)
{
	return store->is_legacy ? "legacy" : "multi-gen";
}

void bench_report_table(FILE *f, const struct bench_store *store)
{
	const struct bench_load *load;
	const struct bench_policy *policy;

	fprintf(f,
		"The kernel's %s LRU lists.\n"
		"Refaults: of the useful tasks in the scored part, thousands, median and 95 %% "
		"interval.\nMiB: of each task at the end. Mean, min: throughput of the useful tasks, "
		"1 is as if alone.\nShare: mean distance from the entitlements. Settle: after a change, "
		"and how many were missed.\n\n",
		lru_name(store));
	if (store->least_spin_us > 0)
		fprintf(f,
			"Work of an access, 10 us on an idle host: at least %.1f us. Runs with %.1f "
			"times that do not count;\nif all are slow, the host was busy all the time.\n\n",
			store->least_spin_us, DISTURBED);
	for (size_t i = 0; (load = bench_load_at(i)); i++) {
		bool is_first = true;

		for (size_t k = 0; (policy = bench_policy_at(k)); k++) {
			struct bench_summary s = bench_summarize(store, load, policy);

			if (s.n == 0)
				continue;
			if (is_first)
				fprintf(f,
					"%s: %s%s\n  %-13s %3s %8s %-15s %-24s %5s %-12s %5s %6s "
					"%6s %6s %5s %7s %5s %5s\n",
					load->name, load->title,
					load->is_held_out ? " (held out)" : "", "policy", "n",
					"refaults", "", "MiB", "mean", "", "min", "share%",
					"settle", "missed", "writes", "longest", "loop%", "kills");
			is_first = false;
			print_row(f, load, policy, &s);
		}
	}
}

void bench_report_tsv(FILE *f, const struct bench_store *store)
{
	const struct bench_load *load;
	const struct bench_policy *policy;

	fputs("lru\tload\tpolicy\tn\trefaults\trefaults_low\trefaults_high\tmean\tmean_low\tmean_high"
	      "\tmin\tshare_error\tsettle_s\tflips\tmissed\twrites\tlongest_write_ms\tloop_permille"
	      "\tkills\tmib\n",
	      f);
	for (size_t i = 0; (load = bench_load_at(i)); i++)
		for (size_t k = 0; (policy = bench_policy_at(k)); k++) {
			struct bench_summary s = bench_summarize(store, load, policy);

			if (s.n == 0)
				continue;
			fprintf(f,
				"%s\t%s\t%s\t%zu\t%.0f\t%.0f\t%.0f\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.2f\t%u"
				"\t%u\t%.0f\t%.2f\t%.2f\t%u\t",
				lru_name(store), load->name, policy->name, s.n, s.refaults.median,
				s.refaults.low, s.refaults.high, s.mean.median, s.mean.low,
				s.mean.high, s.least.median, s.share_error.median,
				s.settle_s.median, s.n_flips, s.n_missed, s.n_writes,
				s.longest_write_ms, s.loop_permille, s.n_kills);
			for (size_t t = 0; t < load->n_tasks; t++)
				fprintf(f, "%s%.1f", t ? "/" : "", s.mib_of[t]);
			fputc('\n', f);
		}
}
