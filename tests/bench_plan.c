/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a plan for many slots of one group costs: entitle(), which divides memory by weight, and
 * control_plan(), one tick of the control law, in states as they are met (nine quiet, one asking;
 * all asking; scans among them). The bar is for both together, though the daemon entitles only
 * when a slot or its policy changes.
 *
 * usage: bench_plan [SLOTS [ROUNDS]]
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/control.h"
#include "policy/entitle.h"

#define M (UINT64_C(1) << 20)
#define BAR_NS 10000000.0 /* for SLOTS_MAX slots: a fiftieth of a tick */

enum mix { MIX_QUIET, MIX_SOME_ASK, MIX_ALL_ASK, MIX_SCANS, MIX_ONLY_SCANS, MIXES };

static const char *const mix_names[MIXES] = { "all quiet", "one of ten asks", "all ask",
					      "one of ten asks, one is a scan",
					      "three of ten are scans, none asks" };

/* Of this thread's processor time, so that what else runs on the machine counts little. */
static double elapsed_ns(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)(now.tv_sec - since->tv_sec) * 1e9 + (double)(now.tv_nsec - since->tv_nsec);
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

static void count(struct control_slot *slot, size_t i, enum mix mix)
{
	struct memory_sample *s = &slot->sample;
	uint64_t pages = s->current_bytes / CONTROL_PAGE;
	bool asks =
		mix == MIX_ALL_ASK || ((mix == MIX_SOME_ASK || mix == MIX_SCANS) && i % 10 == 0);
	bool is_scan = mix == MIX_ONLY_SCANS ? i % 10 < 3 : mix == MIX_SCANS && i % 10 == 1;

	slot->is_fresh = true;
	s->cpu_us += 100000;
	if (asks) {
		s->refault_pages += pages / 20;
		s->restore_pages += pages / 40;
	}
	if (is_scan) {
		s->refault_pages += pages / 2;
		s->steal_pages += pages / 2;
	}
}

/* Is the group in the state that is to be timed? Scans are tested anew every now and then. */
static bool is_met(const struct control_group *group, size_t n, enum mix mix)
{
	bool has_scans = n < 10 || group->n_polluter >= n / 10;

	switch (mix) {
	case MIX_QUIET:
		return group->n_evidence == 0 && group->n_polluter == 0;
	case MIX_SOME_ASK:
		return group->n_evidence > 0;
	case MIX_ALL_ASK:
		return group->n_evidence == n;
	case MIX_SCANS:
		return group->n_evidence > 0 && has_scans;
	default:
		return group->n_evidence == 0 && has_scans;
	}
}

static double time_plan(struct control_slot *slots, struct control_slot **order, size_t n,
			enum mix mix, double *rounds, size_t n_rounds)
{
	struct control_group group = { .bytes = n * 100 * M };
	uint64_t now_ns = 1;
	size_t n_met = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = slots[i].name;

		slots[i] = (struct control_slot){
			.name = name,
			.weight = (uint32_t)(100 + i % 7),
			.tier = (uint32_t)(i % 3),
			.share_bytes = 100 * M,
			.max_bytes = BYTES_UNLIMITED,
			.sample = { .current_bytes = 100 * M },
		};
		order[i] = &slots[i];
	}
	for (size_t k = 0; k < n_rounds + 10; k++) {
		struct timespec begin;

		for (size_t i = 0; i < n; i++)
			count(&slots[i], i, mix);
		now_ns += CONTROL_TICK_NS;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
		if (control_plan(&group, order, n, now_ns) != 0)
			abort();
		if (k < 10)
			continue;
		rounds[k - 10] = elapsed_ns(&begin);
		n_met += is_met(&group, n, mix);
	}
	if (n_met < n_rounds / 2 + 1) {
		fprintf(stderr, "%s: only %zu of %zu rounds were so\n", mix_names[mix], n_met,
			n_rounds);
		exit(1);
	}
	return median(rounds, n_rounds);
}

static double time_entitle(struct slot_policy *policies, size_t n, double *rounds, size_t n_rounds)
{
	struct entitle_slot *slots = calloc(n, sizeof(*slots));
	struct node_info node = { .budget_bytes = n * 100 * M };
	struct entitle_node result;
	struct entitle_any any;

	if (!slots)
		abort();
	for (size_t i = 0; i < n; i++)
		slots[i].policy = &policies[i];
	for (size_t k = 0; k < n_rounds; k++) {
		struct timespec begin;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
		if (entitle(&node, 1, slots, n, &result, &any) < 0)
			abort();
		rounds[k] = elapsed_ns(&begin);
	}
	free(slots);
	return median(rounds, n_rounds);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : SLOTS_MAX;
	size_t n_rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
	struct slot_policy *policies;
	struct control_slot *slots, **order;
	double *rounds, entitle_ns, all_ns, worst = 0;

	if (n < 1 || n > SLOTS_MAX || n_rounds < 1) {
		fprintf(stderr, "usage: bench_plan [SLOTS [ROUNDS]], 1 to %d slots\n", SLOTS_MAX);
		return 2;
	}
	policies = calloc(n, sizeof(*policies));
	slots = calloc(n, sizeof(*slots));
	order = calloc(n, sizeof(struct control_slot *));
	rounds = calloc(n_rounds, sizeof(*rounds));
	if (!policies || !slots || !order || !rounds)
		return 1;
	for (size_t i = 0; i < n; i++) {
		policies[i] = (struct slot_policy){ .weight = (uint32_t)(100 + i % 7),
						    .tier = (uint32_t)(i % 3),
						    .max_bytes = BYTES_UNLIMITED };
		snprintf(policies[i].name, sizeof(policies[i].name), "slot%zu", i);
		slots[i].name = policies[i].name;
	}
	entitle_ns = time_entitle(policies, n, rounds, n_rounds);
	printf("%zu slots, median of %zu\n", n, n_rounds);
	printf("  %-50s %8.3f ms\n", "entitle()", entitle_ns / 1e6);
	for (int mix = 0; mix < MIXES; mix++) {
		double ns = time_plan(slots, order, n, (enum mix)mix, rounds, n_rounds);

		printf("  control_plan(), %-34s %8.3f ms, %5.2f x entitle(), %6.0f ns a slot\n",
		       mix_names[mix], ns / 1e6, ns / entitle_ns, ns / (double)n);
		worst = ns > worst ? ns : worst;
	}
	all_ns = (entitle_ns + worst) / (double)n * SLOTS_MAX;
	printf("entitle() and the longest control_plan(): %.3f ms for %d slots, bar %.0f ms: %s\n",
	       all_ns / 1e6, SLOTS_MAX, BAR_NS / 1e6, all_ns < BAR_NS ? "met" : "MISSED");
	free(policies);
	free(slots);
	free(order);
	free(rounds);
	return all_ns < BAR_NS ? 0 : 1;
}
