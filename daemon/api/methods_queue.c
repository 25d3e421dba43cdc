/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"
#include "base/fd.h"

/*
 * The queue, and requests of running tasks. A request lives as long as its call: the first reply
 * that carries heldBytes says that the guarantee is raised, and closing the connection gives it
 * back. So nothing is left behind by a client that dies.
 */

struct request_parameters {
	uint64_t bytes, wait_usec;
};

int api_list_queue(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata)
{
	sd_json_variant *value = NULL;
	int r = sd_varlink_dispatch(link, parameters, (const sd_json_dispatch_field[]){ {} }, NULL);

	(void)flags;
	if (r != 0)
		return r;
	r = encode_queue(userdata, &value);
	return call_reply_value(link, r, "waiting", value);
}

void api_send_waiting(const struct wait_view *view, void *subscriber, void *userdata)
{
	sd_json_variant *value = NULL;

	(void)userdata;
	if (encode_waiting(view, &value) >= 0)
		(void)sd_varlink_notifybo(subscriber, SD_JSON_BUILD_PAIR_VARIANT("waiting", value));
	sd_json_variant_unref(value);
}

void api_send_lease_gone(void *subscriber, void *userdata)
{
	struct fault fault = { .node = NODE_ANY };

	(void)userdata;
	(void)fault_set(&fault, FAULT_NOT_IN_SLOT, "the process or the slot has ended");
	(void)call_fault(subscriber, &fault);
}

/* What an answer needs after the call has returned. */
struct request_call {
	sd_varlink *link;
	struct manager *manager;
	uint64_t bytes;
	char name[SLOT_NAME_MAX + 1];
};

static void on_requested(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct request_call *call = userdata;
	const struct slot_policy *policy = manager_find_policy(call->manager, call->name);

	if (kind != FAULT_NONE || !policy)
		(void)call_fault(call->link, fault);
	else
		(void)sd_varlink_notifybo(call->link,
					  SD_JSON_BUILD_PAIR_STRING("slot", policy->name),
					  SD_JSON_BUILD_PAIR_UNSIGNED("heldBytes", call->bytes));
	sd_varlink_unref(call->link);
	free(call);
}

static int start_request(sd_varlink *link, struct manager *manager,
			 const struct lease_request *request)
{
	struct request_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->link = sd_varlink_ref(link);
	call->manager = manager;
	call->bytes = request->bytes;
	(void)snprintf(call->name, sizeof(call->name), "%s", request->slot_name);
	manager_request_memory(manager, request, on_requested, call);
	return 0;
}

int api_request_memory(sd_varlink *link, sd_json_variant *parameters,
		       sd_varlink_method_flags_t flags, void *userdata)
{
	static const sd_json_dispatch_field table[] = {
		{ "bytes", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct request_parameters, bytes), SD_JSON_MANDATORY },
		{ "waitUsec", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct request_parameters, wait_usec), SD_JSON_NULLABLE },
		{}
	};
	struct request_parameters p = {};
	CLEANUP(fd_closep) int pidfd = -1;
	struct manager *manager = userdata;
	const struct slot_policy *policy;
	struct lease_request request;
	struct peer peer;
	int r;

	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	if (!(flags & SD_VARLINK_METHOD_MORE))
		return sd_varlink_error(link, SD_VARLINK_ERROR_EXPECTED_MORE, NULL);
	r = call_identify(link, manager, &peer, &pidfd);
	if (r <= 0)
		return r;
	r = call_own_slot(link, manager, &peer, &policy);
	if (r <= 0)
		return r;
	request = (struct lease_request){
		.slot_name = peer.slot_name,
		.pid = peer.pid,
		.pidfd = pidfd,
		.bytes = p.bytes,
		.is_admin = peer.is_admin,
		.wait_ns = p.wait_usec > UINT64_MAX / 1000 ? UINT64_MAX : p.wait_usec * 1000,
		.subscriber = link,
	};
	return start_request(link, manager, &request);
}
