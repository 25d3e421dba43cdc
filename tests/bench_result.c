/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Refaults and memory come straight from the kernel's counters. Throughput is the part of the time
 * that went into useful work, divided by what it is when the same task is alone.
 */

#include "bench_result.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A phase has settled when it runs at so much of what it comes to in its end. */
#define SETTLED 0.9
/* Its end: the last 2.5 s. */
#define PLATEAU_TICKS 5
/* A phase whose end is slower than this was missed: the task never got its memory. */
#define MISSED 0.8
/* Two windows of so many ticks in a row. */
#define SETTLED_TICKS 2
/* After a change of weights: memory within so much of B. */
#define SHARE_TOLERANCE 0.05

static const struct bench_point *point(const struct bench_series *s, size_t tick, size_t task)
{
	return &s->points[tick * s->load->n_tasks + task];
}

static size_t tick_at(const struct bench_series *s, double at_s)
{
	size_t tick = (size_t)(at_s * 1e9 / (double)s->tick_ns + 0.5);

	return MIN(tick, s->n_ticks - 1);
}

size_t bench_series_begin(const struct bench_series *s)
{
	return tick_at(s, s->load->warm_s);
}

double bench_series_rate(const struct bench_series *s, size_t task, size_t from, size_t to)
{
	double ns = (double)s->tick_at_ns[to] - (double)s->tick_at_ns[from];

	if (ns <= 0)
		return 0;
	return (double)(point(s, to, task)->work_us - point(s, from, task)->work_us) / ns * 1e3;
}

/* Speed of a task between two ticks, 1: as alone. */
static double normal(const struct bench_series *s, const double *solo, size_t task, size_t from,
		     size_t to)
{
	double duty = bench_task_duty(&s->load->tasks[task], (double)s->tick_at_ns[from] / 1e9,
				      (double)s->tick_at_ns[to] / 1e9);

	if (solo[task] <= 0 || duty <= 0)
		return NAN;
	return bench_series_rate(s, task, from, to) / solo[task] / duty;
}

/* Ticks from @flip until the task runs at what it comes to before @end; -1: missed. */
static double settle_ticks(const struct bench_series *s, const double *solo, size_t task,
			   size_t flip, size_t end)
{
	size_t tail = end - MIN((size_t)PLATEAU_TICKS, end - flip);
	double plateau = bench_series_rate(s, task, tail, end);

	if (normal(s, solo, task, tail, end) < MISSED)
		return -1;
	for (size_t t = flip; t + SETTLED_TICKS <= end; t++) {
		bool is_settled = true;

		for (size_t i = 0; i < SETTLED_TICKS; i++)
			is_settled &=
				bench_series_rate(s, task, t + i, t + i + 1) >= SETTLED * plateau;
		if (is_settled)
			return (double)(t - flip);
	}
	return (double)(end - flip);
}

/* Phases in the scored part that make a task larger. */
static void measure_flips(const struct bench_series *s, const double *solo,
			  struct bench_result *ret)
{
	double sum = 0, tick_s = (double)s->tick_ns / 1e9;

	for (size_t i = 0; i < s->load->n_tasks; i++) {
		const struct bench_task *task = &s->load->tasks[i];

		if (!task->phase_s)
			continue;
		for (double at = bench_task_first_s(task);
		     at + task->phase_s <= s->load->warm_s + s->load->score_s;
		     at += task->phase_s) {
			double took;

			if (at < s->load->warm_s ||
			    bench_task_size(task, at) <= bench_task_size(task, at - 1))
				continue;
			took = settle_ticks(s, solo, i, tick_at(s, at),
					    tick_at(s, at + task->phase_s));
			ret->n_flips++;
			if (took < 0) {
				ret->n_missed++;
				took = task->phase_s / tick_s;
			}
			sum += took * tick_s;
		}
	}
	if (ret->n_flips > 0)
		ret->settle_s = sum / ret->n_flips;
}

/* From the change of weights to the last tick at which a task had not its new share. */
static void measure_change(const struct bench_series *s, struct bench_result *ret)
{
	size_t change = tick_at(s, s->load->change_s), last = change;
	uint64_t total = 0;

	if (!s->load->change_s)
		return;
	for (size_t i = 0; i < s->load->n_tasks; i++)
		total += point(s, s->n_ticks - 1, i)->share_bytes;
	for (size_t t = change; t < s->n_ticks; t++)
		for (size_t i = 0; i < s->load->n_tasks; i++) {
			double off = (double)point(s, t, i)->sample.current_bytes -
				     (double)point(s, s->n_ticks - 1, i)->share_bytes;

			if (fabs(off) > SHARE_TOLERANCE * (double)total)
				last = t + 1;
		}
	ret->n_flips = 1;
	ret->n_missed = last == s->n_ticks;
	ret->settle_s = (double)(last - change) * (double)s->tick_ns / 1e9;
}

/* Bytes that a task had less than its guarantee, at the worst tick after it had had that. */
static uint64_t short_bytes(const struct bench_series *s, size_t task)
{
	uint64_t min = bench_task_min_bytes(&s->load->tasks[task]), worst = 0;
	bool is_reached = false;

	for (size_t t = 0; t < s->n_ticks && min > 0; t++) {
		uint64_t bytes = point(s, t, task)->sample.current_bytes;

		is_reached |= bytes >= min;
		if (is_reached && bytes < min)
			worst = MAX(worst, min - bytes);
	}
	return worst;
}

static double mean_bytes(const struct bench_series *s, size_t task, size_t from)
{
	double sum = 0;

	for (size_t t = from; t < s->n_ticks; t++)
		sum += (double)point(s, t, task)->sample.current_bytes;
	return sum / (double)(s->n_ticks - from);
}

void bench_result_make(const struct bench_series *s, const double *solo, struct bench_result *ret)
{
	size_t begin = bench_series_begin(s), end = s->n_ticks - 1;
	uint32_t n_useful = 0;

	ret->n_tasks = s->load->n_tasks;
	ret->hash = bench_load_hash(s->load);
	ret->refaults = ret->n_flips = ret->n_missed = 0;
	ret->mean = ret->share_error = ret->short_mib = 0;
	ret->least = INFINITY;
	ret->settle_s = -1;
	for (size_t i = 0; i < ret->n_tasks; i++) {
		double bytes = mean_bytes(s, i, end - (end - begin) / 3);
		double share = (double)point(s, end, i)->share_bytes;

		ret->mib_of[i] = bytes / 1048576;
		ret->short_mib = fmax(ret->short_mib, (double)short_bytes(s, i) / 1048576);
		ret->share_error += fabs(bytes - share) / share / ret->n_tasks;
		ret->refaults_of[i] = point(s, end, i)->sample.refault_pages -
				      point(s, begin, i)->sample.refault_pages;
		ret->speed_of[i] = -1;
		if (!bench_task_is_useful(&s->load->tasks[i]))
			continue;
		n_useful++;
		ret->refaults += ret->refaults_of[i];
		ret->speed_of[i] = normal(s, solo, i, begin, end);
		ret->mean += ret->speed_of[i];
		ret->least = fmin(ret->least, ret->speed_of[i]);
	}
	ret->mean /= n_useful;
	measure_flips(s, solo, ret);
	measure_change(s, ret);
	ret->loop_permille = s->loop_permille;
	ret->longest_write_ms = (double)s->longest_write_us / 1000;
	ret->spin_us = s->spin_us;
	ret->n_writes = s->n_writes;
	ret->n_kills = s->n_kills;
}

static void print_list(FILE *f, const char *key, const double *values, size_t n)
{
	fprintf(f, " %s=", key);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s%.3f", i ? "," : "", values[i]);
}

void bench_result_print(FILE *f, const struct bench_result *r)
{
	fprintf(f,
		"run load=%s policy=%s rep=%" PRIu32 " hash=%08" PRIx32 " version=%08" PRIx32
		" tasks=%" PRIu32 " refaults=%" PRIu64
		" mean=%.4f least=%.4f share_error=%.4f settle=%.2f flips=%" PRIu32
		" missed=%" PRIu32 " loop=%.3f writes=%" PRIu32 " longest=%.2f kills=%" PRIu32
		" spin=%.2f short=%.2f",
		r->load, r->policy, r->rep, r->hash, r->version, r->n_tasks, r->refaults, r->mean,
		r->least, r->share_error, r->settle_s, r->n_flips, r->n_missed, r->loop_permille,
		r->n_writes, r->longest_write_ms, r->n_kills, r->spin_us, r->short_mib);
	if (r->slower > 0)
		fprintf(f, " slower=%.3f", r->slower);
	print_list(f, "mib_of", r->mib_of, r->n_tasks);
	print_list(f, "speed_of", r->speed_of, r->n_tasks);
	fputs(" refaults_of=", f);
	for (size_t i = 0; i < r->n_tasks; i++)
		fprintf(f, "%s%" PRIu64, i ? "," : "", r->refaults_of[i]);
	fputc('\n', f);
}

/* The value of " key=", up to the next space; false: not there. */
static bool find(const char *line, const char *key, const char **ret)
{
	size_t len = strlen(key);

	for (const char *p = strchr(line, ' '); p; p = strchr(p + 1, ' '))
		if (strncmp(p + 1, key, len) == 0 && p[1 + len] == '=') {
			*ret = p + 2 + len;
			return true;
		}
	return false;
}

static bool find_number(const char *line, const char *key, int base, double *ret)
{
	const char *text;
	char *end;

	if (!find(line, key, &text))
		return false;
	*ret = base == 16 ? (double)strtoul(text, &end, 16) : strtod(text, &end);
	return end != text && (*end == ' ' || *end == '\n' || *end == '\0');
}

static bool find_list(const char *line, const char *key, size_t n, double *ret)
{
	const char *text;

	if (!find(line, key, &text))
		return false;
	for (size_t i = 0; i < n; i++) {
		char *end;

		ret[i] = strtod(text, &end);
		if (end == text || (i + 1 < n && *end != ','))
			return false;
		text = end + 1;
	}
	return true;
}

static bool find_word(const char *line, const char *key, char *ret, size_t size)
{
	const char *text;
	size_t len;

	if (!find(line, key, &text))
		return false;
	len = strcspn(text, " \n");
	if (len == 0 || len >= size)
		return false;
	memcpy(ret, text, len);
	ret[len] = '\0';
	return true;
}

/* "law=" in lines of before, when the policies of others had none. */
static bool find_version(const char *line, double *ret)
{
	return find_number(line, "version", 16, ret) || find_number(line, "law", 16, ret);
}

int bench_result_parse(const char *line, struct bench_result *ret)
{
	struct bench_result r = {};
	double refaults_of[BENCH_TASKS_MAX], n[10];

	if (strncmp(line, "run ", 4) != 0 || !find_word(line, "load", r.load, sizeof(r.load)) ||
	    !find_word(line, "policy", r.policy, sizeof(r.policy)) ||
	    !find_number(line, "rep", 10, &n[0]) || !find_number(line, "hash", 16, &n[1]) ||
	    !find_version(line, &n[2]) || !find_number(line, "tasks", 10, &n[3]) || n[3] < 1 ||
	    n[3] > BENCH_TASKS_MAX || !find_number(line, "refaults", 10, &n[4]) ||
	    !find_number(line, "mean", 10, &r.mean) || !find_number(line, "least", 10, &r.least) ||
	    !find_number(line, "share_error", 10, &r.share_error) ||
	    !find_number(line, "settle", 10, &r.settle_s) ||
	    !find_number(line, "flips", 10, &n[5]) || !find_number(line, "missed", 10, &n[6]) ||
	    !find_number(line, "loop", 10, &r.loop_permille) ||
	    !find_number(line, "writes", 10, &n[7]) ||
	    !find_number(line, "longest", 10, &r.longest_write_ms) ||
	    !find_number(line, "kills", 10, &n[8]) || !find_number(line, "spin", 10, &r.spin_us))
		return -EBADMSG;
	(void)find_number(line, "short", 10, &r.short_mib); /* in lines of before: no guarantees */
	(void)find_number(line, "slower", 10, &r.slower);   /* unknown */
	r.rep = (uint32_t)n[0];
	r.hash = (uint32_t)n[1];
	r.version = (uint32_t)n[2];
	r.n_tasks = (uint32_t)n[3];
	r.refaults = (uint64_t)n[4];
	r.n_flips = (uint32_t)n[5];
	r.n_missed = (uint32_t)n[6];
	r.n_writes = (uint32_t)n[7];
	r.n_kills = (uint32_t)n[8];
	if (!find_list(line, "mib_of", r.n_tasks, r.mib_of) ||
	    !find_list(line, "speed_of", r.n_tasks, r.speed_of) ||
	    !find_list(line, "refaults_of", r.n_tasks, refaults_of))
		return -EBADMSG;
	for (size_t i = 0; i < r.n_tasks; i++)
		r.refaults_of[i] = (uint64_t)refaults_of[i];
	*ret = r;
	return 0;
}

void bench_try_print(FILE *f, const struct bench_try *t)
{
	fprintf(f,
		"try load=%s hash=%08" PRIx32 " tasks=%" PRIu32 " score=%.4f refaults=%" PRIu64
		" split=",
		t->load, t->hash, t->n_tasks, t->score, t->refaults);
	for (size_t i = 0; i < t->n_tasks; i++)
		fprintf(f, "%s%u", i ? "," : "", t->split[i]);
	fputc('\n', f);
}

int bench_try_parse(const char *line, struct bench_try *ret)
{
	double split[BENCH_SPLIT_TASKS_MAX], hash, n, refaults;
	struct bench_try t = {};

	if (strncmp(line, "try ", 4) != 0 || !find_word(line, "load", t.load, sizeof(t.load)) ||
	    !find_number(line, "hash", 16, &hash) || !find_number(line, "tasks", 10, &n) || n < 1 ||
	    n > BENCH_SPLIT_TASKS_MAX || !find_number(line, "score", 10, &t.score) ||
	    !find_number(line, "refaults", 10, &refaults) ||
	    !find_list(line, "split", (size_t)n, split))
		return -EBADMSG;
	t.hash = (uint32_t)hash;
	t.n_tasks = (uint32_t)n;
	t.refaults = (uint64_t)refaults;
	for (size_t i = 0; i < t.n_tasks; i++)
		t.split[i] = (uint16_t)split[i];
	*ret = t;
	return 0;
}
