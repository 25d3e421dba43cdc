/* SPDX-License-Identifier: Apache-2.0 */
#include "api/encode.h"

#include <errno.h>
#include <stdlib.h>

#define NULL_IF(condition, name, value) SD_JSON_BUILD_PAIR_CONDITION(!(condition), name, value)
#define UNSIGNED SD_JSON_BUILD_UNSIGNED
#define PAIR_UNSIGNED SD_JSON_BUILD_PAIR_UNSIGNED

typedef int (*encode_fn)(size_t i, void *context, sd_json_variant **ret);

/* An array of @n values made by @fn. */
static int encode_array(size_t n, encode_fn fn, void *context, sd_json_variant **ret)
{
	sd_json_variant **items = calloc(n + 1, sizeof(*items));
	size_t done = 0;
	int r = 0;

	if (!items)
		return -ENOMEM;
	while (done < n && r >= 0) {
		r = fn(done, context, &items[done]);
		if (r >= 0)
			done++;
	}
	if (r >= 0)
		r = sd_json_variant_new_array(ret, items, n);
	while (done > 0)
		sd_json_variant_unref(items[--done]);
	free(items);
	return r;
}

/* ---- slot */

struct node_bytes {
	const uint64_t *bytes;
	int nodes[NODES_MAX]; /* those that are not 0 */
};

static int encode_node_bytes(size_t i, void *context, sd_json_variant **ret)
{
	const struct node_bytes *all = context;
	int node = all->nodes[i];

	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_INTEGER("node", node),
			      PAIR_UNSIGNED("bytes", all->bytes[node]));
}

static int encode_nodes_bytes(const uint64_t *bytes, sd_json_variant **ret)
{
	struct node_bytes all = { .bytes = bytes };
	size_t n = 0;

	for (int node = 0; node < NODES_MAX; node++)
		if (bytes[node] > 0)
			all.nodes[n++] = node;
	return encode_array(n, encode_node_bytes, &all, ret);
}

static int encode_pending(size_t i, void *context, sd_json_variant **ret)
{
	const struct pending_view *pending = &((const struct slot_view *)context)->pending[i];

	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("what", pending->what),
		PAIR_UNSIGNED("fromBytes", pending->from_bytes),
		PAIR_UNSIGNED("toBytes", pending->to_bytes),
		PAIR_UNSIGNED("nowBytes", pending->now_bytes),
		NULL_IF(pending->eta_ns == UINT64_MAX, "etaUsec", UNSIGNED(pending->eta_ns / 1000)),
		NULL_IF(pending->note[0] == '\0', "note", SD_JSON_BUILD_STRING(pending->note)));
}

const char *encode_why(enum notice_why why)
{
	switch (why) {
	case NOTICE_SHARE:
		break;
	case NOTICE_START:
		return "start";
	case NOTICE_MAX:
		return "max";
	case NOTICE_PRESSURE:
		return "pressure";
	}
	return "share";
}

static int encode_notice(const struct notice_view *view, sd_json_variant **ret)
{
	const struct memory_notice *last = &view->last;

	if (view->told_usec == 0)
		return sd_json_variant_new_null(ret);
	return sd_json_buildo(ret, PAIR_UNSIGNED("notice", last->sequence),
			      SD_JSON_BUILD_PAIR_STRING("why", encode_why(last->why)),
			      PAIR_UNSIGNED("realtimeUsec", view->told_usec),
			      PAIR_UNSIGNED("targetBytes", last->target_bytes),
			      PAIR_UNSIGNED("beforeBytes", last->before_bytes),
			      PAIR_UNSIGNED("usageBytes", last->usage_bytes),
			      PAIR_UNSIGNED("asked", view->n_asked),
			      PAIR_UNSIGNED("answers", view->n_answers),
			      PAIR_UNSIGNED("freedBytes", view->freed_bytes));
}

static int encode_hook(const struct slot_view *view, sd_json_variant **ret)
{
	const struct hook_view *hook = &view->hook;

	if (!view->policy.on_resize[0])
		return sd_json_variant_new_null(ret);
	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("command", view->policy.on_resize),
		SD_JSON_BUILD_PAIR_BOOLEAN("running", hook->is_running),
		PAIR_UNSIGNED("runs", hook->n_runs), PAIR_UNSIGNED("failures", hook->n_failures),
		NULL_IF(hook->ended_usec == 0, "endedUsec", UNSIGNED(hook->ended_usec)),
		NULL_IF(hook->result[0] == '\0', "failure", SD_JSON_BUILD_STRING(hook->result)));
}

static int encode_point(size_t i, void *context, sd_json_variant **ret)
{
	const struct heat_point *point = &((const struct heat_report *)context)->points[i];

	return sd_json_buildo(ret, PAIR_UNSIGNED("bytes", point->bytes),
			      PAIR_UNSIGNED("nextMilliHz", point->next_uhz / 1000));
}

static int encode_heat(const struct slot_view *view, sd_json_variant **ret)
{
	static const char *const sources[] = {
		[HEAT_NONE] = "none",
		[HEAT_LRU_GEN] = "lru_gen",
		[HEAT_DAMON] = "damon",
	};
	static const char *const levels[] = {
		[HEAT_LOW] = "low",
		[HEAT_MEDIUM] = "medium",
		[HEAT_HIGH] = "high",
	};
	const struct heat_report *heat = &view->heat;
	bool is_none = heat->source == HEAT_NONE, has_parts = heat->source == HEAT_LRU_GEN;
	sd_json_variant *points = NULL;
	int r = encode_array(heat->n_points, encode_point, (void *)heat, &points);

	if (r < 0)
		return r;
	r = sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("source", sources[heat->source]),
		SD_JSON_BUILD_PAIR_STRING("confidence", levels[heat->confidence]),
		PAIR_UNSIGNED("ageUsec", view->heat_age_ns / 1000),
		PAIR_UNSIGNED("windowUsec", heat->window_ms * 1000),
		NULL_IF(is_none, "workingSetBytes", UNSIGNED(heat->working_set_bytes)),
		NULL_IF(is_none, "withinUsec", UNSIGNED(heat->within_ms * 1000)),
		NULL_IF(!has_parts, "anonBytes", UNSIGNED(heat->anon_bytes)),
		NULL_IF(!has_parts, "fileBytes", UNSIGNED(heat->file_bytes)),
		NULL_IF(is_none, "seenBytes", UNSIGNED(heat->seen_bytes)),
		NULL_IF(is_none, "kneeBytes", UNSIGNED(heat->knee_bytes)),
		NULL_IF(is_none, "scoreMilliHz", UNSIGNED(heat->score_uhz / 1000)),
		PAIR_UNSIGNED("refaultBytes", heat->refault_bytes),
		PAIR_UNSIGNED("stallUsec", heat->stall_us),
		PAIR_UNSIGNED("costUsec", heat->cost_us),
		NULL_IF(heat->n_points == 0, "points", SD_JSON_BUILD_VARIANT(points)),
		NULL_IF(heat->note[0] == '\0', "note", SD_JSON_BUILD_STRING(heat->note)));
	sd_json_variant_unref(points);
	return r;
}

static int encode_owed(size_t i, void *context, sd_json_variant **ret)
{
	const struct owed_view *owed = &((const struct slot_view *)context)->owed[i];

	return sd_json_buildo(
		ret, PAIR_UNSIGNED("pid", (uint64_t)owed->pid),
		NULL_IF(owed->pool[0] == '\0', "pool", SD_JSON_BUILD_STRING(owed->pool)),
		PAIR_UNSIGNED("owedBytes", owed->owed_bytes),
		PAIR_UNSIGNED("revokedBytes", owed->revoked_bytes),
		PAIR_UNSIGNED("owedUsec", owed->owed_ns / 1000),
		NULL_IF(owed->left_ns == UINT64_MAX, "leftUsec", UNSIGNED(owed->left_ns / 1000)),
		SD_JSON_BUILD_PAIR_BOOLEAN("forGuarantee", owed->is_for_guarantee),
		SD_JSON_BUILD_PAIR_BOOLEAN("kill", owed->is_kill));
}

static int encode_policy(const struct slot_view *view, sd_json_variant **ret)
{
	const struct slot_policy *policy = &view->policy;

	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("name", policy->name),
		NULL_IF(policy->node == NODE_ANY, "node", SD_JSON_BUILD_INTEGER(policy->node)),
		SD_JSON_BUILD_PAIR_BOOLEAN("nodeAuto", policy->is_node_auto),
		PAIR_UNSIGNED("owner", policy->owner), PAIR_UNSIGNED("weight", policy->weight),
		PAIR_UNSIGNED("tier", policy->tier), PAIR_UNSIGNED("minBytes", policy->min_bytes),
		NULL_IF(policy->max_bytes == BYTES_UNLIMITED, "maxBytes",
			UNSIGNED(policy->max_bytes)),
		PAIR_UNSIGNED("poolMinBytes", policy->pool_min_bytes),
		PAIR_UNSIGNED("poolMaxBytes", policy->pool_max_bytes),
		NULL_IF(policy->need_bytes == 0, "needBytes", UNSIGNED(policy->need_bytes)),
		NULL_IF(policy->need_bytes == 0, "grantBytes", UNSIGNED(policy->grant_bytes)),
		SD_JSON_BUILD_PAIR_BOOLEAN("needPredicted", policy->is_need_predicted),
		NULL_IF(policy->request_id[0] == 0, "requestId",
			SD_JSON_BUILD_STRING(policy->request_id)),
		PAIR_UNSIGNED("requestedBytes", view->lease_bytes),
		SD_JSON_BUILD_PAIR_STRING("mode", slot_mode_names[policy->mode]),
		SD_JSON_BUILD_PAIR_STRING("revoke", slot_revoke_names[view->revoke]),
		PAIR_UNSIGNED("revokeDeadlineUsec", view->revoke_deadline_ns / 1000),
		PAIR_UNSIGNED("shareBytes", view->share_bytes),
		PAIR_UNSIGNED("lowBytes", view->low_bytes),
		PAIR_UNSIGNED("demandBytes", view->demand_bytes),
		SD_JSON_BUILD_PAIR_STRING("class", view->class),
		NULL_IF(view->reason[0] == '\0', "reason", SD_JSON_BUILD_STRING(view->reason)),
		NULL_IF(view->advice[0] == '\0', "advice", SD_JSON_BUILD_STRING(view->advice)));
}

static int merge_kernel(const struct slot_view *view, sd_json_variant **slot)
{
	return sd_json_variant_merge_objectbo(
		slot, PAIR_UNSIGNED("usageBytes", view->usage_bytes),
		PAIR_UNSIGNED("swapBytes", view->swap_bytes),
		PAIR_UNSIGNED("kernelMinBytes", view->kernel_min_bytes),
		PAIR_UNSIGNED("kernelLowBytes", view->kernel_low_bytes),
		NULL_IF(view->kernel_max_bytes == BYTES_UNLIMITED, "kernelMaxBytes",
			UNSIGNED(view->kernel_max_bytes)),
		NULL_IF(view->kernel_high_bytes == BYTES_UNLIMITED, "kernelHighBytes",
			UNSIGNED(view->kernel_high_bytes)),
		PAIR_UNSIGNED("processes", view->n_processes),
		PAIR_UNSIGNED("oomKills", view->n_oom_kills),
		NULL_IF(!view->emergency, "emergency", SD_JSON_BUILD_STRING(view->emergency)),
		NULL_IF(view->leak_bytes_per_s == 0, "leakBytesPerSec",
			UNSIGNED(view->leak_bytes_per_s)),
		PAIR_UNSIGNED("poolShareBytes", view->pool_share_bytes),
		PAIR_UNSIGNED("poolGrantedBytes", view->pool_granted_bytes),
		PAIR_UNSIGNED("poolOwedBytes", view->pool_owed_bytes),
		PAIR_UNSIGNED("poolKernelBytes", view->pool_kernel_bytes),
		PAIR_UNSIGNED("poolPageBytes",
			      view->policy.is_gigantic ? GIGANTIC_BYTES : CHUNK_BYTES),
		NULL_IF(!view->pages, "pages", SD_JSON_BUILD_STRING(view->pages)),
		PAIR_UNSIGNED("poolTransparentBytes", view->pool_transparent_bytes),
		PAIR_UNSIGNED("poolGiganticBytes", view->pool_gigantic_bytes),
		PAIR_UNSIGNED("poolHugeBytes", view->pool_huge_bytes),
		NULL_IF(!view->engine, "engine", SD_JSON_BUILD_STRING(view->engine)));
}

/* Takes @value in, whatever the outcome. */
static int set_field(sd_json_variant **object, const char *name, sd_json_variant *value)
{
	int r = sd_json_variant_set_field(object, name, value);

	sd_json_variant_unref(value);
	return r;
}

static int encode_left(size_t i, void *context, sd_json_variant **ret)
{
	const struct left_view *left = &((const struct slot_view *)context)->left[i];

	return sd_json_buildo(
		ret, NULL_IF(left->node == NODE_ANY, "node", SD_JSON_BUILD_INTEGER(left->node)),
		PAIR_UNSIGNED("bytes", left->bytes), PAIR_UNSIGNED("processes", left->n_processes));
}

int encode_slot(const struct slot_view *view, sd_json_variant **ret)
{
	sd_json_variant *slot = NULL, *part = NULL;
	int r = encode_policy(view, &slot);

	if (r >= 0)
		r = merge_kernel(view, &slot);
	if (r >= 0)
		r = encode_nodes_bytes(view->pool_node_bytes, &part);
	if (r >= 0)
		r = set_field(&slot, "poolNodes", part);
	if (r >= 0)
		r = encode_nodes_bytes(view->memory_node_bytes, &part);
	if (r >= 0)
		r = set_field(&slot, "memoryNodes", part);
	if (r >= 0)
		r = encode_array(view->n_left, encode_left, (void *)view, &part);
	if (r >= 0)
		r = set_field(&slot, "left", part);
	if (r >= 0)
		r = sd_json_variant_set_field_unsigned(&slot, "watchers", view->n_watchers);
	if (r >= 0)
		r = encode_notice(&view->notice, &part);
	if (r >= 0)
		r = set_field(&slot, "notice", part);
	if (r >= 0)
		r = encode_hook(view, &part);
	if (r >= 0)
		r = set_field(&slot, "onResize", part);
	if (r >= 0)
		r = sd_json_variant_set_field_string(&slot, "state",
						     view->n_processes > 0 ? "running" : "empty");
	if (r >= 0)
		r = encode_array(view->n_pending, encode_pending, (void *)view, &part);
	if (r >= 0)
		r = set_field(&slot, "pending", part);
	if (r >= 0)
		r = encode_array(view->n_owed, encode_owed, (void *)view, &part);
	if (r >= 0)
		r = set_field(&slot, "owed", part);
	if (r >= 0 && view->has_heat) {
		r = encode_heat(view, &part);
		if (r >= 0)
			r = set_field(&slot, "heat", part);
	}
	if (r < 0) {
		sd_json_variant_unref(slot);
		return r;
	}
	*ret = slot;
	return 0;
}

int encode_nth_slot(struct manager *manager, size_t i, sd_json_variant **ret)
{
	struct slot_view view;

	manager_view_nth_slot(manager, i, &view);
	return encode_slot(&view, ret);
}

/* ---- the others */

static int encode_nth_node(size_t i, void *context, sd_json_variant **ret)
{
	struct node_view view;

	manager_view_nth_node(context, i, &view);
	return sd_json_buildo(
		ret,
		NULL_IF(view.info.node == NODE_ANY, "node", SD_JSON_BUILD_INTEGER(view.info.node)),
		PAIR_UNSIGNED("totalBytes", view.info.total_bytes),
		PAIR_UNSIGNED("budgetBytes", view.info.budget_bytes),
		PAIR_UNSIGNED("reserveBytes", view.info.reserve_bytes),
		PAIR_UNSIGNED("guaranteedBytes", view.guaranteed_bytes),
		PAIR_UNSIGNED("bookedBytes", view.booked_bytes),
		PAIR_UNSIGNED("usageBytes", view.usage_bytes),
		NULL_IF(view.group_max_bytes == BYTES_UNLIMITED, "groupMaxBytes",
			UNSIGNED(view.group_max_bytes)),
		PAIR_UNSIGNED("hugePages", view.info.hugepages),
		PAIR_UNSIGNED("hugePagesFree", view.hugepages_free),
		PAIR_UNSIGNED("hugePagesPromised", view.hugepages_promised),
		PAIR_UNSIGNED("hugePagesGranted", view.hugepages_granted),
		NULL_IF(!view.pages, "pages", SD_JSON_BUILD_STRING(view.pages)),
		PAIR_UNSIGNED("transparentGranted", view.transparent_granted),
		PAIR_UNSIGNED("giganticPages", view.info.gigantic),
		PAIR_UNSIGNED("giganticPagesFree", view.gigantic_free),
		PAIR_UNSIGNED("giganticPagesPromised", view.gigantic_promised),
		PAIR_UNSIGNED("giganticPagesGranted", view.gigantic_granted),
		PAIR_UNSIGNED("slots", view.n_slots), PAIR_UNSIGNED("stalls", view.n_stalls),
		PAIR_UNSIGNED("earlyLooks", view.n_early),
		NULL_IF(view.emergency[0] == '\0', "emergency",
			SD_JSON_BUILD_STRING(view.emergency)));
}

int encode_nodes(struct manager *manager, sd_json_variant **ret)
{
	return encode_array(manager_node_count(manager), encode_nth_node, manager, ret);
}

int encode_turns(const struct turns *turns, sd_json_variant **ret)
{
	return sd_json_buildo(
		ret, PAIR_UNSIGNED("turns", turns->n),
		PAIR_UNSIGNED("over10Msec", turns->n_over_10ms),
		PAIR_UNSIGNED("over100Msec", turns->n_over_100ms),
		PAIR_UNSIGNED("longestUsec", turns->longest_ns / 1000),
		PAIR_UNSIGNED("longestElapsedUsec", turns->longest_elapsed_ns / 1000));
}

int encode_waiting(const struct wait_view *view, sd_json_variant **ret)
{
	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("slot", view->slot_name),
		SD_JSON_BUILD_PAIR_STRING("kind", view->is_lease ? "request" : "slot"),
		NULL_IF(view->node == NODE_ANY, "node", SD_JSON_BUILD_INTEGER(view->node)),
		PAIR_UNSIGNED("tier", view->tier), PAIR_UNSIGNED("bytes", view->bytes),
		PAIR_UNSIGNED("position", view->position), PAIR_UNSIGNED("length", view->length),
		PAIR_UNSIGNED("waitedUsec", view->waited_ns / 1000),
		PAIR_UNSIGNED("passed", view->n_passed),
		SD_JSON_BUILD_PAIR_BOOLEAN("due", view->is_due),
		SD_JSON_BUILD_PAIR_STRING("reason", view->reason),
		NULL_IF(view->request_id[0] == '\0', "requestId",
			SD_JSON_BUILD_STRING(view->request_id)));
}

static int encode_nth_waiting(size_t i, void *context, sd_json_variant **ret)
{
	struct wait_view view;

	manager_view_nth_waiting(context, i, &view);
	return encode_waiting(&view, ret);
}

int encode_queue(struct manager *manager, sd_json_variant **ret)
{
	return encode_array(manager_count_waiting(manager), encode_nth_waiting, manager, ret);
}

static int encode_nth_check(size_t i, void *context, sd_json_variant **ret)
{
	static const char *const status_names[] = {
		[HOST_OK] = "ok",
		[HOST_DEGRADED] = "degraded",
		[HOST_MISSING] = "missing",
	};
	const struct host_check *check = &((const struct host_check *)context)[i];

	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("name", check->name),
		SD_JSON_BUILD_PAIR_STRING("status", status_names[check->status]),
		SD_JSON_BUILD_PAIR_STRING("detail", check->detail),
		NULL_IF(check->remedy[0] == '\0', "remedy", SD_JSON_BUILD_STRING(check->remedy)));
}

int encode_checks(const struct host_check *checks, size_t n, sd_json_variant **ret)
{
	return encode_array(n, encode_nth_check, (void *)checks, ret);
}

int encode_event(const struct event *event, sd_json_variant **ret)
{
	return sd_json_buildo(
		ret, PAIR_UNSIGNED("sequence", event->sequence),
		PAIR_UNSIGNED("realtimeUsec", event->realtime_usec),
		SD_JSON_BUILD_PAIR_STRING("event", event->name),
		NULL_IF(event->slot[0] == '\0', "slot", SD_JSON_BUILD_STRING(event->slot)),
		SD_JSON_BUILD_PAIR_STRING("message", event->message));
}

static int encode_nth_number(size_t i, void *context, sd_json_variant **ret)
{
	return sd_json_variant_new_unsigned(ret, ((const uint32_t *)context)[i]);
}

int encode_numbers(const uint32_t *numbers, size_t n, sd_json_variant **ret)
{
	return encode_array(n, encode_nth_number, (void *)numbers, ret);
}

/* ---- counters */

int encode_nth_counters(struct manager *manager, size_t i, sd_json_variant **ret)
{
	struct counters_view view;
	bool has_none;

	manager_view_nth_counters(manager, i, &view);
	has_none = !view.has_sample;
	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", view.slot_name),
			      NULL_IF(has_none, "refaultBytes", UNSIGNED(view.refault_bytes)),
			      NULL_IF(has_none, "reclaimedBytes", UNSIGNED(view.reclaimed_bytes)),
			      NULL_IF(has_none, "stallUsec", UNSIGNED(view.stall_us)),
			      NULL_IF(has_none, "stallFullUsec", UNSIGNED(view.stall_full_us)),
			      NULL_IF(has_none, "cpuUsec", UNSIGNED(view.cpu_us)),
			      PAIR_UNSIGNED("freezes", view.n_freezes),
			      PAIR_UNSIGNED("kills", view.n_kills));
}

static int encode_nth_count(size_t i, void *context, sd_json_variant **ret)
{
	const struct event_count *count = &((const struct event_count *)context)[i];

	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("event", count->name),
			      PAIR_UNSIGNED("count", count->n));
}

int encode_event_counts(const struct events *events, sd_json_variant **ret)
{
	size_t n;
	const struct event_count *counts = events_counts(events, &n);

	return encode_array(n, encode_nth_count, (void *)counts, ret);
}

/* ---- explain */

static int encode_term(size_t i, void *context, sd_json_variant **ret)
{
	const struct control_term *term = &((const struct explain_view *)context)->terms[i];

	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", term->name),
			      PAIR_UNSIGNED("value", term->value),
			      SD_JSON_BUILD_PAIR_STRING("text", term->text));
}

int encode_terms(struct explain_view *view, sd_json_variant **ret)
{
	return encode_array(view->n_terms, encode_term, view, ret);
}

/* ---- pools of tasks */

static int encode_pool(size_t i, void *context, sd_json_variant **ret)
{
	const struct pool_view *pool = &((const struct task_view *)context)->pools[i];

	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("name", pool->name),
		PAIR_UNSIGNED("bufferBytes", pool->buffer_bytes),
		PAIR_UNSIGNED("minBuffers", pool->min_buffers),
		PAIR_UNSIGNED("maxBuffers", pool->max_buffers),
		PAIR_UNSIGNED("buffers", pool->n_buffers), PAIR_UNSIGNED("held", pool->n_held),
		PAIR_UNSIGNED("posted", pool->n_posted), PAIR_UNSIGNED("idle", pool->n_idle),
		PAIR_UNSIGNED("inMagazines", pool->n_in_magazines),
		PAIR_UNSIGNED("waiters", pool->n_waiters),
		PAIR_UNSIGNED("highWater", pool->high_water),
		PAIR_UNSIGNED("overdraft", pool->n_overdraft), PAIR_UNSIGNED("lent", pool->n_lent),
		PAIR_UNSIGNED("pages", pool->n_chunks),
		PAIR_UNSIGNED("acquiredTotal", pool->acquired_total),
		PAIR_UNSIGNED("emptyTotal", pool->empty_total));
}

struct slot_tasks {
	const struct manager *manager;
	const char *slot;
};

static int encode_task(size_t i, void *context, sd_json_variant **ret)
{
	const struct slot_tasks *tasks = context;
	sd_json_variant *pools = NULL;
	struct task_view view;
	uint64_t page; /* in chunks */
	int r;

	manager_view_nth_task(tasks->manager, tasks->slot, i, &view);
	page = view.pages == PAGES_GIGANTIC ? GIGANTIC_CHUNKS : 1;
	r = encode_array(view.n_pools, encode_pool, &view, &pools);
	if (r < 0)
		return r;
	r = sd_json_buildo(
		ret, PAIR_UNSIGNED("pid", (uint64_t)view.pid), PAIR_UNSIGNED("grant", view.grant),
		PAIR_UNSIGNED("heldPages", view.held_chunks / page),
		PAIR_UNSIGNED("targetPages", view.target_chunks / page),
		NULL_IF(view.need_chunks == UINT64_MAX, "needPages",
			UNSIGNED((view.need_chunks + page - 1) / page)),
		PAIR_UNSIGNED("pageBytes", page * CHUNK_BYTES),
		SD_JSON_BUILD_PAIR_STRING("pages", page_kind_names[view.pages]),
		PAIR_UNSIGNED("hugePages", view.huge_chunks / page),
		NULL_IF(!view.has_report, "pools", SD_JSON_BUILD_VARIANT(pools)),
		NULL_IF(!view.has_report, "unreportedPools", UNSIGNED(view.n_unreported)));
	sd_json_variant_unref(pools);
	return r;
}

int encode_tasks(const struct manager *manager, const char *slot, sd_json_variant **ret)
{
	struct slot_tasks tasks = { .manager = manager, .slot = slot };

	return encode_array(manager_count_tasks(manager, slot), encode_task, &tasks, ret);
}
