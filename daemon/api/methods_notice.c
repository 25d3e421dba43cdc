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

int api_watch_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = { NAME, {} };
	struct notice_parameters p = {};
	struct fault fault = { .node = NODE_ANY };
	struct memory_notice notice;
	bool is_task;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_expect_more(call);
	if (r > 0)
		r = p.name ? call_find_slot(call, p.name, RIGHT_RUN) : call_find_own_slot(call);
	if (r <= 0)
		return r;
	is_task = rights_may(&call->peer, RIGHT_ATTACH, call->slot);
	if (manager_watch(call->manager, call->slot->name, call->peer.pid, is_task, call->link,
			  &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	/* once in the list, the link must not get another call's error: what follows cannot fail
	 * for a slot that was there a moment ago */
	if (manager_view_notice(call->manager, call->slot->name, &notice, &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	return send_notice(call->link, &notice);
}

int api_report_freed(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		{ "freedBytes", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct notice_parameters, freed_bytes), SD_JSON_MANDATORY },
		{ "notice", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct notice_parameters, sequence), SD_JSON_NULLABLE },
		{}
	};
	struct notice_parameters p = { .sequence = UINT64_MAX };
	struct fault fault = { .node = NODE_ANY };
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_own_slot(call);
	if (r <= 0)
		return r;
	if (manager_report_freed(call->manager, call->slot->name, call->peer.pid, p.freed_bytes,
				 p.sequence, &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	return sd_varlink_reply(call->link, NULL);
}
