/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"
#include "api/listing.h"
#include "policy/admit.h"
#include "policy/command.h"

/* Slots: list, add, set, remove, join. A field that is not given has its NOT_GIVEN value. */

#define NOT_GIVEN_BYTES UINT64_MAX
#define NOT_GIVEN_NUMBER UINT32_MAX
#define NOT_GIVEN_NODE INT32_MIN
#define NOT_GIVEN_BOOL (-1)

struct slot_parameters {
	const char *name, *on_resize; /* on_resize NULL: not given */
	int32_t node;
	int any_node, uncapped, kill; /* tristate */
	uint32_t owner, weight, tier;
	uint64_t min_bytes, max_bytes, pool_min_bytes, pool_max_bytes, need_bytes;
	/* of add alone */
	int wait; /* tristate */
	uint64_t min_grant_bytes, wait_usec, waited_usec;
	const char *request_id;
	const char *mode, *revoke;     /* NULL: not given */
	uint64_t revoke_deadline_usec; /* 0: what the configuration says */
};

static const struct slot_parameters nothing_given = {
	.node = NOT_GIVEN_NODE,
	.any_node = NOT_GIVEN_BOOL,
	.uncapped = NOT_GIVEN_BOOL,
	.kill = NOT_GIVEN_BOOL,
	.owner = NOT_GIVEN_NUMBER,
	.weight = NOT_GIVEN_NUMBER,
	.tier = NOT_GIVEN_NUMBER,
	.min_bytes = NOT_GIVEN_BYTES,
	.max_bytes = NOT_GIVEN_BYTES,
	.pool_min_bytes = NOT_GIVEN_BYTES,
	.pool_max_bytes = NOT_GIVEN_BYTES,
	.need_bytes = NOT_GIVEN_BYTES,
	.wait = NOT_GIVEN_BOOL,
	.min_grant_bytes = NOT_GIVEN_BYTES,
	.wait_usec = NOT_GIVEN_BYTES,
	.revoke_deadline_usec = NOT_GIVEN_BYTES,
};

#define TEXT(json, member)                                             \
	{ json, SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, \
	  offsetof(struct slot_parameters, member), SD_JSON_MANDATORY }
#define OPTION(json, member, kind, dispatch) \
	{ json, kind, dispatch, offsetof(struct slot_parameters, member), SD_JSON_NULLABLE }
#define OPTION_BYTES(json, member) \
	OPTION(json, member, _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64)
#define OPTION_NUMBER(json, member) \
	OPTION(json, member, _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint32)
#define OPTION_BOOL(json, member) \
	OPTION(json, member, SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_tristate)

/* Both add and set; each method's own fields are beside these. */
#define COMMON_FIELDS                                                                              \
	TEXT("name", name), OPTION_NUMBER("owner", owner), OPTION_NUMBER("weight", weight),        \
		OPTION_NUMBER("tier", tier), OPTION_BYTES("minBytes", min_bytes),                  \
		OPTION_BYTES("maxBytes", max_bytes), OPTION_BYTES("poolMinBytes", pool_min_bytes), \
		OPTION_BYTES("poolMaxBytes", pool_max_bytes),                                      \
		OPTION("onResize", on_resize, SD_JSON_VARIANT_STRING,                              \
		       sd_json_dispatch_const_string),                                             \
		OPTION_BYTES("needBytes", need_bytes),                                             \
		OPTION("mode", mode, SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string),       \
		OPTION("revoke", revoke, SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string),   \
		OPTION_BYTES("revokeDeadlineUsec", revoke_deadline_usec)

/* Rounded up; what is too long for any deadline is refused by name when it is checked. */
static uint32_t msec_of(uint64_t usec)
{
	return (uint32_t)MIN(usec / 1000 + (usec % 1000 > 0), UINT32_MAX);
}

static void apply_given(const struct slot_parameters *p, struct slot_policy *policy)
{
	if (p->owner != NOT_GIVEN_NUMBER)
		policy->owner = p->owner;
	if (p->weight != NOT_GIVEN_NUMBER)
		policy->weight = p->weight;
	if (p->tier != NOT_GIVEN_NUMBER)
		policy->tier = p->tier;
	if (p->min_bytes != NOT_GIVEN_BYTES)
		policy->min_bytes = p->min_bytes;
	if (p->max_bytes != NOT_GIVEN_BYTES)
		policy->max_bytes = p->max_bytes;
	if (p->uncapped > 0)
		policy->max_bytes = BYTES_UNLIMITED;
	if (p->pool_min_bytes != NOT_GIVEN_BYTES)
		policy->pool_min_bytes = p->pool_min_bytes;
	if (p->pool_max_bytes != NOT_GIVEN_BYTES)
		policy->pool_max_bytes = p->pool_max_bytes;
	else if (policy->pool_max_bytes < policy->pool_min_bytes)
		policy->pool_max_bytes = policy->pool_min_bytes;
	if (p->need_bytes != NOT_GIVEN_BYTES)
		policy->need_bytes = p->need_bytes;
	if (p->mode && admit_parse_mode(p->mode, &policy->mode) < 0)
		policy->mode = SLOT_MODES; /* refused by name when it is checked */
	if (p->revoke && admit_parse_revoke(p->revoke, &policy->revoke) < 0)
		policy->revoke = SLOT_REVOKES; /* so is this */
	if (p->revoke_deadline_usec != NOT_GIVEN_BYTES)
		policy->revoke_deadline_ms = msec_of(p->revoke_deadline_usec);
}

/* Takes the command over, or drops one of another owner. Return: 1, or as call_fault(). */
static int set_on_resize(sd_varlink *link, const struct slot_parameters *p, const struct peer *peer,
			 uid_t old_owner, struct slot_policy *policy)
{
	struct fault fault = { .node = NODE_ANY, .field = "onResize" };
	char error[COMMAND_ERROR_MAX];
	struct command command;

	if (!p->on_resize) {
		if (policy->owner != old_owner)
			policy->on_resize[0] = '\0';
		return 1;
	}
	if (!p->on_resize[0]) {
		policy->on_resize[0] = '\0';
		return 1;
	}
	/* it runs as the owner: who could set it for others would have their powers */
	if (!rights_may(peer, RIGHT_COMMAND, policy))
		return call_not_permitted(link);
	if (command_parse(p->on_resize, &command, error) < 0) {
		(void)fault_set(&fault, FAULT_BAD_VALUE, "%s", error);
		return call_fault(link, &fault);
	}
	(void)snprintf(policy->on_resize, sizeof(policy->on_resize), "%s", p->on_resize);
	return 1;
}

static int set_name(sd_varlink *link, const char *name, struct slot_policy *policy)
{
	struct fault fault = { .node = NODE_ANY, .field = "name" };

	if (strlen(name) <= SLOT_NAME_MAX) {
		(void)snprintf(policy->name, sizeof(policy->name), "%s", name);
		return 1;
	}
	(void)fault_set(&fault, FAULT_BAD_VALUE, "a slot's name has at most %d characters",
			SLOT_NAME_MAX);
	return call_fault(link, &fault);
}

static int set_request_id(sd_varlink *link, const char *id, struct slot_policy *policy)
{
	struct fault fault = { .node = NODE_ANY, .field = "requestId" };

	if (!id || strlen(id) <= REQUEST_ID_MAX) {
		(void)snprintf(policy->request_id, sizeof(policy->request_id), "%s", id ?: "");
		return 1;
	}
	(void)fault_set(&fault, FAULT_BAD_VALUE, "a request id has at most %d characters",
			REQUEST_ID_MAX);
	return call_fault(link, &fault);
}

int api_add_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		COMMON_FIELDS,
		OPTION("node", node, _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_int32),
		OPTION_BOOL("anyNode", any_node),
		OPTION_BYTES("minGrantBytes", min_grant_bytes),
		OPTION("requestId", request_id, SD_JSON_VARIANT_STRING,
		       sd_json_dispatch_const_string),
		OPTION_BOOL("wait", wait),
		OPTION_BYTES("waitUsec", wait_usec),
		OPTION_BYTES("waitedUsec", waited_usec),
		{}
	};
	struct slot_parameters p = nothing_given;
	struct add_request request;
	struct slot_policy policy;
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_admin(call);
	if (r > 0 && p.wait > 0)
		r = call_expect_more(call);
	if (r <= 0)
		return r;
	slot_policy_default(&policy);
	policy.owner = call->peer.uid;
	apply_given(&p, &policy);
	r = set_name(call->link, p.name, &policy);
	if (r > 0)
		r = set_request_id(call->link, p.request_id, &policy);
	if (r > 0)
		r = set_on_resize(call->link, &p, &call->peer, policy.owner, &policy);
	if (r <= 0)
		return r;
	if (p.node != NOT_GIVEN_NODE)
		policy.node =
			p.node < 0 ? NODES_MAX : p.node; /* refused by name, not taken for any */
	policy.is_node_auto = p.node == NOT_GIVEN_NODE && p.any_node <= 0;
	request = (struct add_request){
		.policy = policy,
		.choose_node = policy.is_node_auto,
		.is_need_given = p.need_bytes != NOT_GIVEN_BYTES,
		.min_grant_bytes = p.min_grant_bytes,
		.may_wait = p.wait > 0,
		.wait_ns = call_usec_to_ns(p.wait_usec),
		.waited_ns = call_usec_to_ns(p.waited_usec),
		.subscriber = call->link,
	};
	answer = answer_new(call, policy.name);
	if (!answer)
		return -ENOMEM;
	manager_add(call->manager, &request, answer_with_slot, answer);
	return 0;
}

/* What the owner may not touch is a right of administrators. */
static enum right set_right(const struct slot_parameters *p)
{
	bool is_tuning = p->need_bytes == NOT_GIVEN_BYTES && p->owner == NOT_GIVEN_NUMBER &&
			 p->tier == NOT_GIVEN_NUMBER && !p->mode && !p->revoke &&
			 p->revoke_deadline_usec == NOT_GIVEN_BYTES &&
			 p->min_bytes == NOT_GIVEN_BYTES && p->pool_min_bytes == NOT_GIVEN_BYTES &&
			 p->pool_max_bytes == NOT_GIVEN_BYTES;

	return is_tuning ? RIGHT_TUNE : RIGHT_ADMINISTER;
}

int api_set_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = { COMMON_FIELDS,
							OPTION_BOOL("uncapped", uncapped),
							{} };
	struct slot_parameters p = nothing_given;
	struct slot_policy policy;
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_slot(call, p.name, set_right(&p));
	if (r <= 0)
		return r;
	policy = *call->slot;
	apply_given(&p, &policy);
	r = set_on_resize(call->link, &p, &call->peer, call->slot->owner, &policy);
	if (r <= 0)
		return r;
	answer = answer_new(call, policy.name);
	if (!answer)
		return -ENOMEM;
	manager_set(call->manager, &policy, answer_with_slot, answer);
	return 0;
}

int api_explain(struct call *call)
{
	static const sd_json_dispatch_field table[] = { TEXT("name", name), {} };
	struct slot_parameters p = nothing_given;
	struct fault fault = { .node = NODE_ANY };
	struct explain_view view;
	sd_json_variant *terms = NULL;
	int r;

	r = call_read(call, table, &p);
	if (r <= 0)
		return r;
	if (manager_explain(call->manager, p.name, &view, &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	r = encode_terms(&view, &terms);
	if (r >= 0)
		r = sd_varlink_replybo(
			call->link, SD_JSON_BUILD_PAIR_STRING("class", view.class),
			SD_JSON_BUILD_PAIR_STRING("mode", view.mode),
			SD_JSON_BUILD_PAIR_STRING("reason", view.reason),
			SD_JSON_BUILD_PAIR_VARIANT("terms", terms),
			SD_JSON_BUILD_PAIR_CONDITION(view.advice[0] != '\0', "advice",
						     SD_JSON_BUILD_STRING(view.advice)));
	sd_json_variant_unref(terms);
	return r;
}

static void on_removed(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	sd_varlink *link = userdata;

	if (kind == FAULT_NONE)
		(void)sd_varlink_reply(link, NULL);
	else
		(void)call_fault(link, fault);
	sd_varlink_unref(link);
}

int api_remove_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = { TEXT("name", name),
							OPTION_BOOL("kill", kill),
							{} };
	struct slot_parameters p = nothing_given;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_admin(call);
	if (r <= 0)
		return r;
	manager_remove(call->manager, p.name, p.kill > 0, on_removed, sd_varlink_ref(call->link));
	return 0;
}

static int encode_beside_slots(struct manager *manager, bool is_last, sd_json_variant **ret)
{
	sd_json_variant *nodes = NULL;
	int r = is_last ? encode_nodes(manager, &nodes)
			: sd_json_variant_new_array(&nodes, NULL, 0);

	if (r >= 0)
		r = sd_json_buildo(
			ret, SD_JSON_BUILD_PAIR_VARIANT("nodes", nodes),
			SD_JSON_BUILD_PAIR_UNSIGNED("waiting", manager_count_waiting(manager)));
	sd_json_variant_unref(nodes);
	return r;
}

/* The text of so many slots is made in 4 ms. */
static const struct listing_kind slots_kind = { .once_max = 250,
						.encode = encode_nth_slot,
						.encode_beside = encode_beside_slots };

static int list_one_slot(const struct call *call, const char *name)
{
	struct fault fault = { .node = NODE_ANY };
	sd_json_variant *slot = NULL;
	struct slot_view view;
	int r;

	if (manager_view_slot(call->manager, name, &view, &fault) != FAULT_NONE)
		return call_no_such_slot(call->link, name);
	r = encode_slot(&view, &slot);
	if (r >= 0)
		r = listing_reply_one(call, &slots_kind, slot);
	sd_json_variant_unref(slot);
	return r;
}

int api_list_slots(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		OPTION("name", name, SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string), {}
	};
	struct slot_parameters p = nothing_given;
	int r = call_read(call, table, &p);

	if (r <= 0)
		return r;
	return p.name ? list_one_slot(call, p.name) : listing_begin(call, &slots_kind);
}
