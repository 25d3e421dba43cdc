/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"
#include "base/parse.h"

/*
 * What tasks are told of their slot's memory, and what they answer. A task names no slot: it is
 * the one its process runs in, as the kernel tells. Administrators and the slot's owner may
 * watch any by name, but only tasks in it are waited for.
 */

struct notice_parameters {
	const char *name;
	uint64_t freed_bytes, sequence;
};

#define NAME                                                             \
	{ "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, \
	  offsetof(struct notice_parameters, name), SD_JSON_NULLABLE }

#define NULL_IF(condition, name, value) SD_JSON_BUILD_PAIR_CONDITION(!(condition), name, value)

static int send_notice(sd_varlink *link, const struct memory_notice *notice)
{
	return sd_varlink_notifybo(
		link, SD_JSON_BUILD_PAIR_STRING("slot", notice->slot_name),
		NULL_IF(notice->node == NODE_ANY, "node", SD_JSON_BUILD_INTEGER(notice->node)),
		SD_JSON_BUILD_PAIR_UNSIGNED("notice", notice->sequence),
		SD_JSON_BUILD_PAIR_STRING("why", encode_why(notice->why)),
		SD_JSON_BUILD_PAIR_UNSIGNED("targetBytes", notice->target_bytes),
		SD_JSON_BUILD_PAIR_UNSIGNED("beforeBytes", notice->before_bytes),
		SD_JSON_BUILD_PAIR_UNSIGNED("usageBytes", notice->usage_bytes),
		NULL_IF(notice->max_bytes == BYTES_UNLIMITED, "maxBytes",
			SD_JSON_BUILD_UNSIGNED(notice->max_bytes)),
		NULL_IF(notice->deadline_ns == 0, "deadlineUsec",
			SD_JSON_BUILD_UNSIGNED(notice->deadline_ns / 1000)));
}

void api_send_notice(const struct memory_notice *notice, void *subscriber, void *userdata)
{
	(void)userdata;
	(void)send_notice(subscriber, notice);
}

void api_send_watch_gone(const char *slot_name, void *subscriber, void *userdata)
{
	(void)userdata;
	(void)call_no_such_slot(subscriber, slot_name);
}

static int watched_slot(sd_varlink *link, struct manager *manager, const struct peer *peer,
			const char *name, const struct slot_policy **ret_policy)
{
	return name ? call_named_slot(link, manager, peer, name, RIGHT_RUN, ret_policy)
		    : call_own_slot(link, manager, peer, ret_policy);
}

int api_watch_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata)
{
	static const sd_json_dispatch_field table[] = { NAME, {} };
	struct notice_parameters p = {};
	struct manager *manager = userdata;
	struct fault fault = { .node = NODE_ANY };
	const struct slot_policy *policy;
	struct memory_notice notice;
	struct peer peer;
	bool is_task;
	int r;

	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	if (!(flags & SD_VARLINK_METHOD_MORE))
		return sd_varlink_error(link, SD_VARLINK_ERROR_EXPECTED_MORE, NULL);
	r = call_identify(link, manager, &peer, NULL);
	if (r <= 0)
		return r;
	r = watched_slot(link, manager, &peer, p.name, &policy);
	if (r <= 0)
		return r;
	is_task = rights_may(&peer, RIGHT_ATTACH, policy);
	if (manager_watch(manager, policy->name, peer.pid, is_task, link, &fault) != FAULT_NONE)
		return call_fault(link, &fault);
	/* once in the list, the link must not get another call's error: what follows cannot fail
	 * for a slot that was there a moment ago */
	if (manager_view_notice(manager, policy->name, &notice, &fault) != FAULT_NONE)
		return call_fault(link, &fault);
	return send_notice(link, &notice);
}

int api_report_freed(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	static const sd_json_dispatch_field table[] = {
		{ "freedBytes", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct notice_parameters, freed_bytes), SD_JSON_MANDATORY },
		{ "notice", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct notice_parameters, sequence), SD_JSON_NULLABLE },
		{}
	};
	struct notice_parameters p = { .sequence = UINT64_MAX };
	struct manager *manager = userdata;
	struct fault fault = { .node = NODE_ANY };
	const struct slot_policy *policy;
	struct peer peer;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	r = call_identify(link, manager, &peer, NULL);
	if (r <= 0)
		return r;
	r = call_own_slot(link, manager, &peer, &policy);
	if (r <= 0)
		return r;
	if (manager_report_freed(manager, policy->name, peer.pid, p.freed_bytes, p.sequence,
				 &fault) != FAULT_NONE)
		return call_fault(link, &fault);
	return sd_varlink_reply(link, NULL);
}
