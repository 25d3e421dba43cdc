/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Compares control laws on a real kernel: loads (bench_load.c) below one memory limit, under each
 * of several policies (bench_policy.c). tests/bench_control.sh runs it in a virtual machine and
 * says how to call it.
 *
 * Every finished run is a line of DIR/results, so that an interrupted comparison goes on where it
 * was; what each tick saw is in DIR/trace/. A run is done again when its load's definition has
 * changed, or the policy (bench_store_version()).
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "bench_report.h"
#include "bench_run.h"
#include "bench_search.h"
#include "bench_yardstick.h"

/* More runs are to do, but the time is over. */
#define EXIT_MORE 75
#define FULL_REPS 5
/* One machine, unless --minutes says otherwise; as in bench_control.sh. */
#define MACHINE_S 840

struct options {
	const char *dir;
	const char *loads;    /* NULL: all */
	const char *policies; /* a list with commas; NULL: those that decide the bars */
	uint64_t reps, budget_s;
	uint64_t n_tries; /* of a search; 0: no search */
	uint64_t host_ns; /* bench_yardstick_ns() there; 0: unknown */
	bool is_report, is_legacy, is_full, is_tsv, is_svg, is_list, is_yardstick;
};

struct bench {
	struct options o;
	struct bench_env env;
	struct bench_store store;
	int dir_fd;
	FILE *results;
	uint64_t start_ns;
	uint32_t n_done, n_left, n_failed;
	uint64_t left_s;
	bool is_over;
};

/* How often @policy is to be run on @load. */
static uint32_t wanted_reps(const struct bench *b, const struct bench_load *load,
			    const struct bench_policy *policy)
{
	uint32_t reps = (uint32_t)b->o.reps, n;

	if (b->o.loads && !bench_list_reps(b->o.loads, load->name))
		return 0;
	if (b->o.policies)
		return bench_list_reps(b->o.policies, policy->name) ? reps : 0;
	if (!load->quick && b->o.loads && !b->o.is_full)
		return bench_list_reps("none,senpai,senpai6,ours", policy->name) ? reps : 0;
	n = bench_list_reps(load->quick, policy->name);
	return n || b->o.is_full ? MAX(n, reps) : 0;
}

static bool is_wanted(const struct bench *b, const struct bench_load *load,
		      const struct bench_policy *policy, uint32_t rep)
{
	if (rep > wanted_reps(b, load, policy))
		return false;
	if (strcmp(policy->name, "static") == 0 && !bench_store_split(&b->store, load))
		return false;
	return !bench_store_find(&b->store, load, policy, rep);
}

static bool is_time_left(struct bench *b, uint64_t seconds)
{
	uint64_t used_s = (mono_now_ns() - b->start_ns) / NS_PER_SEC;

	if (b->o.budget_s == 0 || used_s + seconds <= b->o.budget_s)
		return true;
	b->is_over = true;
	return false;
}

static int measure_solo(struct bench *b, const struct bench_task *task)
{
	struct bench_load solo = bench_load_solo(task);
	struct bench_series s;
	double rate;
	int r = bench_run(&b->env, &solo, bench_policy_find("none"), 0, &s);

	if (r < 0)
		return r == -ECHILD ? -ETIME : r; /* the other loads can do without it */
	rate = bench_series_rate(&s, 0, bench_series_begin(&s), s.n_ticks - 1);
	if (rate <= 0) { /* still filling its memory */
		bench_series_free(&s);
		return -ETIME;
	}
	printf("%s alone: work rate %.3f, %" PRIu64 " refaults, %.0f MiB, spin %.1f us\n",
	       task->name, rate, s.points[s.n_ticks - 1].sample.refault_pages,
	       (double)s.points[s.n_ticks - 1].sample.current_bytes / 1048576, s.spin_us);
	fprintf(b->results, "solo task=%08" PRIx32 " rate=%.6f name=%s\n", bench_task_hash(task),
		rate, task->name);
	(void)fflush(b->results);
	bench_series_free(&s);
	return bench_store_add_solo(&b->store, bench_task_hash(task), rate);
}

static int measure_solos(struct bench *b, const struct bench_load *load, double *ret)
{
	struct bench_load solo;
	int r;

	for (size_t i = 0; i < load->n_tasks; i++) {
		const struct bench_task *task = &load->tasks[i];

		ret[i] = bench_task_is_useful(task) ? bench_store_solo(&b->store, task) : 1;
		if (ret[i] > 0)
			continue;
		solo = bench_load_solo(task);
		if (!is_time_left(b, bench_load_seconds(&solo)))
			return 0;
		r = measure_solo(b, task);
		if (r < 0)
			return r;
		ret[i] = bench_store_solo(&b->store, task);
	}
	return 0;
}

static void print_progress(const struct bench *b, const struct bench_result *r)
{
	printf("[%u/%u, %" PRIu64 " min left] %-5s %-8s %u: refaults %6.1fk, MiB", b->n_done,
	       b->n_done + b->n_left, (b->left_s + 59) / 60, r->load, r->policy, r->rep,
	       (double)r->refaults / 1000);
	for (size_t i = 0; i < r->n_tasks && i < 8; i++)
		printf("%c%.0f", i ? '/' : ' ', r->mib_of[i]);
	printf(", mean %.3f (%.2f), share %.1f%%", r->mean, r->least, r->share_error * 100);
	if (r->settle_s >= 0)
		printf(", settle %.1f s, missed %u/%u", r->settle_s, r->n_missed, r->n_flips);
	printf(", %u writes <= %.1f ms, loop %.2f%%", r->n_writes, r->longest_write_ms,
	       r->loop_permille / 10);
	if (r->slower > 0)
		printf(" / %.1f", r->slower);
	printf(", spin %.1f us%s", r->spin_us,
	       bench_store_is_disturbed(&b->store, r) ? ": DISTURBED, not counted" : "");
	if (r->n_kills > 0)
		printf(", %u KILLED", r->n_kills);
	putchar('\n');
	(void)fflush(stdout);
}

/* How much slower than the host this machine is now, when nothing else works in it; 0: unknown. */
static double measure_slower(const struct bench *b)
{
	return b->o.host_ns > 0 ? (double)bench_yardstick_ns() / (double)b->o.host_ns : 0;
}

static int run_one(struct bench *b, const struct bench_load *load,
		   const struct bench_policy *policy, uint32_t rep)
{
	struct bench_result result = { .rep = rep,
				       .version = bench_store_version(&b->store, load, policy) };
	double solo[BENCH_TASKS_MAX];
	struct bench_series s;
	char trace[256];
	int r = measure_solos(b, load, solo);

	if (r == -ETIME) {
		printf("%s: a task alone did not even begin to work\n", load->name);
		b->n_failed++;
		return 0;
	}
	if (r < 0 || b->is_over || !is_time_left(b, bench_load_seconds(load)))
		return r;
	(void)snprintf(result.load, sizeof(result.load), "%s", load->name);
	(void)snprintf(result.policy, sizeof(result.policy), "%s", policy->name);
	(void)snprintf(trace, sizeof(trace), "%s/trace/%s-%s-%u.tsv", b->o.dir, load->name,
		       policy->name, rep);
	b->env.trace = trace;
	b->env.split = bench_store_split(&b->store, load);
	result.slower = measure_slower(b);
	r = bench_run(&b->env, load, policy, rep, &s);
	b->env.trace = NULL;
	b->n_left--;
	b->n_done++;
	b->left_s -= MIN(b->left_s, bench_load_seconds(load));
	if (r < 0) {
		b->n_failed++;
		printf("%s under %s failed: %s\n", load->name, policy->name, strerror(-r));
		return 0;
	}
	bench_result_make(&s, solo, &result);
	bench_series_free(&s);
	bench_result_print(b->results, &result);
	(void)fflush(b->results);
	r = bench_store_add(&b->store, &result);
	print_progress(b, &result);
	return r;
}

/* For all runs that are wanted, in order: each load under each policy, once, then once more, so
 * that what drifts in the machine meets all alike. With @run_it NULL they are counted. */
static int for_each(struct bench *b, int (*run_it)(struct bench *, const struct bench_load *,
						   const struct bench_policy *, uint32_t))
{
	const struct bench_load *load;
	size_t n_policies = 0;
	int r = 0;

	while (bench_policy_at(n_policies))
		n_policies++;
	for (uint32_t rep = 1; rep <= MAX(b->o.reps, (uint64_t)BENCH_QUICK_REPS_MAX); rep++)
		for (size_t i = 0; (load = bench_load_at(i)); i++)
			for (size_t k = 0; k < n_policies && r == 0 && !b->is_over; k++) {
				const struct bench_policy *policy =
					bench_policy_at((k + rep - 1) % n_policies);

				if (is_wanted(b, load, policy, rep))
					r = run_it(b, load, policy, rep);
			}
	return r;
}

static int count_one(struct bench *b, const struct bench_load *load,
		     const struct bench_policy *policy, uint32_t rep)
{
	(void)policy;
	(void)rep;
	b->n_left++;
	b->left_s += bench_load_seconds(load);
	return 0;
}

/* Of those of today's load. */
static void recall_tries(const struct bench *b, struct bench_search *search)
{
	for (size_t i = 0; i < b->store.n_tries; i++) {
		const struct bench_try *t = &b->store.tries[i];

		if (strcmp(t->load, search->load->name) == 0 &&
		    t->hash == bench_load_hash(search->load))
			bench_search_recall(search, t->split, t->score);
	}
}

/* One split more on @load, with the accesses of the first repetition and its length. */
static int try_one(struct bench *b, struct bench_search *search)
{
	const struct bench_load *load = search->load;
	struct bench_try try = { .hash = bench_load_hash(load), .n_tasks = load->n_tasks };
	double solo[BENCH_TASKS_MAX];
	struct bench_result result = {};
	struct bench_series s;
	int r = measure_solos(b, load, solo);

	if (r == -ETIME)
		b->n_failed++;
	if (r < 0 || b->is_over || !is_time_left(b, bench_load_seconds(load)))
		return r == -ETIME ? 0 : r;
	bench_search_next(search);
	b->env.split = search->tried;
	r = bench_run(&b->env, load, bench_policy_find("static"), 1, &s);
	if (r < 0)
		return r;
	bench_result_make(&s, solo, &result);
	bench_series_free(&s);
	(void)snprintf(try.load, sizeof(try.load), "%s", load->name);
	memcpy(try.split, search->tried, load->n_tasks * sizeof(*try.split));
	try.refaults = result.refaults;
	try.score = result.mean;
	bench_try_print(b->results, &try);
	(void)fflush(b->results);
	printf("[%u of %" PRIu64 "] ", search->n_tried + 1, b->o.n_tries);
	bench_try_print(stdout, &try);
	(void)fflush(stdout);
	return bench_store_add_try(&b->store, &try);
}

/* A try for each load, then another, so that what was found when it ends early is of all loads.
 * Ends when each has had its number. */
static int search_all(struct bench *b)
{
	const struct bench_load *load;
	int r = 0;

	for (uint32_t n = 0; n < b->o.n_tries; n++)
		for (size_t i = 0; (load = bench_load_at(i)) && r == 0 && !b->is_over; i++) {
			struct bench_search search;

			if (load->n_tasks > BENCH_SPLIT_TASKS_MAX ||
			    (b->o.loads && !bench_list_reps(b->o.loads, load->name)))
				continue;
			bench_search_init(&search, load, (uint32_t)b->o.n_tries,
					  bench_policy_split(load->name));
			recall_tries(b, &search);
			if (search.n_tried <= n)
				r = try_one(b, &search);
		}
	return r;
}

static int run_all(struct bench *b)
{
	char path[256];
	int r = b->o.n_tries ? 0 : for_each(b, count_one);

	if (r < 0 || (b->n_left == 0 && !b->o.n_tries))
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	r = bench_env_open(b->o.is_legacy, &b->env);
	if (r < 0)
		return EXIT_FAILURE;
	(void)mkdirat(b->dir_fd, "trace", 0755);
	(void)snprintf(path, sizeof(path), "%s/results", b->o.dir);
	b->results = fopen(path, "ae");
	if (!b->results) {
		perror(path);
		return EXIT_FAILURE;
	}
	r = b->o.n_tries ? search_all(b) : for_each(b, run_one);
	(void)fclose(b->results);
	bench_env_close(&b->env);
	if (r < 0) {
		fprintf(stderr, "bench_control: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	if (b->is_over)
		return EXIT_MORE;
	return b->n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int list(void)
{
	const struct bench_load *load;
	const struct bench_policy *policy;

	struct bench_cost cost = bench_quick_cost(MACHINE_S);

	puts("loads:");
	for (size_t i = 0; (load = bench_load_at(i)); i++)
		printf("  %-6s %s%s, %u s\n", load->name, load->title,
		       load->is_held_out ? " (held out)" : "", load->warm_s + load->score_s);
	puts("policies:");
	for (size_t i = 0; (policy = bench_policy_at(i)); i++)
		printf("  %-13s %s\n", policy->name, policy->title);
	puts("in a run without options:");
	for (size_t i = 0; (load = bench_load_at(i)); i++)
		if (load->quick)
			printf("  %-6s %s\n", load->name, load->quick);
	printf("  %u runs of a load, %u of a task alone, %u boots: about %u:%02u min\n",
	       cost.n_runs, cost.n_solos, cost.n_boots, cost.seconds / 60, cost.seconds % 60);
	return EXIT_SUCCESS;
}

/* For the --host-ns of a call in a machine. */
static int print_yardstick(void)
{
	uint64_t ns = bench_yardstick_ns();

	if (ns == 0) {
		perror("bench_control: /proc/vmstat");
		return EXIT_FAILURE;
	}
	printf("%" PRIu64 "\n", ns);
	return EXIT_SUCCESS;
}

static int usage(void)
{
	fputs("usage: bench_control --run DIR | --report DIR | --list | --yardstick\n"
	      "       [--load A,B] [--policy A,B] [--reps N] [--full] [--budget S]\n"
	      "       [--host-ns NS] [--legacy] [--search N] [--tsv | --svg]\n"
	      "called by tests/bench_control.sh\n",
	      stderr);
	return 2;
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "run", required_argument, NULL, 'r' },
		{ "report", required_argument, NULL, 'R' },
		{ "list", no_argument, NULL, 'l' },
		{ "load", required_argument, NULL, 'L' },
		{ "policy", required_argument, NULL, 'p' },
		{ "reps", required_argument, NULL, 'n' },
		{ "full", no_argument, NULL, 'f' },
		{ "budget", required_argument, NULL, 'b' },
		{ "legacy", no_argument, NULL, 'g' },
		{ "tsv", no_argument, NULL, 't' },
		{ "svg", no_argument, NULL, 's' },
		{ "search", required_argument, NULL, 'S' },
		{ "host-ns", required_argument, NULL, 'h' },
		{ "yardstick", no_argument, NULL, 'y' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		switch (c) {
		case 'R':
			o->is_report = true;
			[[fallthrough]];
		case 'r':
			o->dir = optarg;
			break;
		case 'l':
			o->is_list = true;
			break;
		case 'L':
			o->loads = optarg;
			break;
		case 'p':
			o->policies = optarg;
			break;
		case 'n':
			if (parse_u64(optarg, 200, &o->reps) < 0)
				return false;
			break;
		case 'b':
			if (parse_u64(optarg, UINT32_MAX, &o->budget_s) < 0)
				return false;
			break;
		case 'f':
			o->is_full = true;
			o->reps = MAX(o->reps, (uint64_t)FULL_REPS);
			break;
		case 'g':
			o->is_legacy = true;
			break;
		case 's':
			o->is_svg = true;
			break;
		case 'S':
			if (parse_u64(optarg, 1000, &o->n_tries) < 0)
				return false;
			break;
		case 'h':
			if (parse_u64(optarg, NS_PER_SEC, &o->host_ns) < 0)
				return false;
			break;
		case 'y':
			o->is_yardstick = true;
			break;
		case 't':
			o->is_tsv = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc && (o->dir || o->is_list || o->is_yardstick);
}

int main(int argc, char **argv)
{
	static struct bench b = { .o = { .reps = 1 }, .dir_fd = -1 };
	int status = EXIT_SUCCESS, r;

	b.start_ns = mono_now_ns();
	if (!parse(&b.o, argc, argv))
		return usage();
	if (b.o.is_list)
		return list();
	if (b.o.is_yardstick)
		return print_yardstick();
	b.store.is_legacy = b.o.is_legacy;
	b.dir_fd = open(b.o.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = b.dir_fd < 0 ? -errno : bench_store_read(&b.store, b.dir_fd, "results");
	if (r < 0) {
		fprintf(stderr, "bench_control: %s: %s\n", b.o.dir, strerror(-r));
		return EXIT_FAILURE;
	}
	if (!b.o.is_report)
		status = run_all(&b);
	else if (b.o.is_tsv)
		bench_report_tsv(stdout, &b.store);
	else if (b.o.is_svg)
		bench_report_svg(stdout, &b.store);
	else if (b.o.n_tries > 0)
		bench_report_splits(stdout, &b.store);
	else {
		bench_report_table(stdout, &b.store);
		bench_bars_print(stdout, &b.store);
		if (bench_store_count_disturbed(&b.store) > 0)
			printf("%u runs do not count, for the machine was busy with something else; "
			       "the next call does them again\n",
			       bench_store_count_disturbed(&b.store));
	}
	bench_store_free(&b.store);
	fd_closep(&b.dir_fd);
	return status;
}
