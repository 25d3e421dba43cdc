/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"
#include "base/fd.h"

/* Where a slot is: joined by a process, moved to another node. Both may have to wait for pages that
 * the kernel is moving, so the answer comes by on_done(). */

#define NOT_GIVEN_NODE INT32_MIN

struct move_parameters {
	const char *name;
	int32_t node;
	int any_node; /* tristate */
};

/* What an answer needs after the call has returned. */
struct place_call {
	sd_varlink *link;
	struct manager *manager;
	bool is_join;
	char name[SLOT_NAME_MAX + 1];
};

static int reply_moved(const struct place_call *call)
{
	struct fault fault = { .node = NODE_ANY };
	sd_json_variant *value = NULL;
	struct slot_view view;
	int r;

	if (manager_view_slot(call->manager, call->name, &view, &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	r = encode_slot(&view, &value);
	return call_reply_value(call->link, r, "slot", value);
}

static void on_done(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct place_call *call = userdata;

	if (kind != FAULT_NONE)
		(void)call_fault(call->link, fault);
	else if (call->is_join)
		(void)sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_STRING("slot", call->name));
	else if (reply_moved(call) < 0)
		(void)sd_varlink_error_errno(call->link, -EIO);
	sd_varlink_unref(call->link);
	free(call);
}

static struct place_call *place_call_new(sd_varlink *link, struct manager *manager,
					 const char *name, bool is_join)
{
	struct place_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->link = sd_varlink_ref(link);
	call->manager = manager;
	call->is_join = is_join;
	(void)snprintf(call->name, sizeof(call->name), "%s", name);
	return call;
}

int api_join_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		  void *userdata)
{
	static const sd_json_dispatch_field table[] = {
		{ "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct move_parameters, name), SD_JSON_MANDATORY },
		{}
	};
	CLEANUP(fd_closep) int pidfd = -1;
	struct move_parameters p = {};
	struct manager *manager = userdata;
	const struct slot_policy *policy;
	struct place_call *call;
	struct peer peer;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	r = call_identify(link, manager, &peer, &pidfd);
	if (r <= 0)
		return r;
	r = call_named_slot(link, manager, &peer, p.name, RIGHT_RUN, &policy);
	if (r <= 0)
		return r;
	call = place_call_new(link, manager, policy->name, /* is_join= */ true);
	if (!call)
		return -ENOMEM;
	manager_join(manager, call->name, peer.pid, pidfd, on_done, call);
	return 0;
}

int api_move_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		  void *userdata)
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
	struct manager *manager = userdata;
	const struct slot_policy *policy;
	struct move_request request;
	struct place_call *call;
	struct peer peer;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	r = call_identify(link, manager, &peer, NULL);
	if (r <= 0)
		return r;
	r = call_named_slot(link, manager, &peer, p.name, RIGHT_ADMINISTER, &policy);
	if (r <= 0)
		return r;
	call = place_call_new(link, manager, policy->name, /* is_join= */ false);
	if (!call)
		return -ENOMEM;
	request = (struct move_request){ .name = call->name, .node = p.node };
	if (p.any_node > 0)
		request.node = NODE_ANY;
	else if (p.node == NOT_GIVEN_NODE)
		request.choose_node = true;
	else if (p.node < 0)
		request.node = NODES_MAX; /* refused by name, not taken for any */
	manager_move(manager, &request, on_done, call);
	return 0;
}
