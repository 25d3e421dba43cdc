/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>

#include "api/call.h"

/* Where a slot is: joined by a process, moved to another node. Both may have to wait for pages that
 * the kernel is moving, so the answer comes later. */

#define NOT_GIVEN_NODE INT32_MIN

struct move_parameters {
	const char *name;
	int32_t node;
	int any_node; /* tristate */
};

static void on_joined(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct answer *answer = userdata;

	if (kind != FAULT_NONE)
		(void)call_fault(answer->link, fault);
	else
		(void)sd_varlink_replybo(answer->link,
					 SD_JSON_BUILD_PAIR_STRING("slot", answer->slot_name));
	answer_free(answer);
}

int api_join_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		{ "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct move_parameters, name), SD_JSON_MANDATORY },
		{}
	};
	struct move_parameters p = {};
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_slot(call, p.name, RIGHT_RUN);
	if (r <= 0)
		return r;
	answer = answer_new(call, call->slot->name);
	if (!answer)
		return -ENOMEM;
	manager_join(call->manager, answer->slot_name, call->peer.pid, call->pidfd, on_joined,
		     answer);
	return 0;
}

int api_move_slot(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		{ "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct move_parameters, name), SD_JSON_MANDATORY },
		{ "node", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_int32,
		  offsetof(struct move_parameters, node), SD_JSON_NULLABLE },
		{ "anyNode", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_tristate,
		  offsetof(struct move_parameters, any_node), SD_JSON_NULLABLE },
		{}
	};
	struct move_parameters p = { .node = NOT_GIVEN_NODE, .any_node = -1 };
	struct move_request request;
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_slot(call, p.name, RIGHT_ADMINISTER);
	if (r <= 0)
		return r;
	answer = answer_new(call, call->slot->name);
	if (!answer)
		return -ENOMEM;
	request = (struct move_request){ .name = answer->slot_name, .node = p.node };
	if (p.any_node > 0)
		request.node = NODE_ANY;
	else if (p.node == NOT_GIVEN_NODE)
		request.choose_node = true;
	else if (p.node < 0)
		request.node = NODES_MAX; /* refused by name, not taken for any */
	manager_move(call->manager, &request, answer_with_slot, answer);
	return 0;
}
