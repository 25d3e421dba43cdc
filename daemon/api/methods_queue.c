/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>

#include "api/call.h"
#include "api/encode.h"

/*
 * The queue, and requests of running tasks. A request lives as long as its call: the first reply
 * that carries heldBytes says that the guarantee is raised, and closing the connection gives it
 * back. So nothing is left behind by a client that dies.
 */

struct request_parameters {
	uint64_t bytes, wait_usec;
};

int api_list_queue(struct call *call)
{
	sd_json_variant *value = NULL;
	int r = call_read(call, (const sd_json_dispatch_field[]){ {} }, NULL);

	if (r <= 0)
		return r;
	r = encode_queue(call->manager, &value);
	return call_reply_value(call->link, r, "waiting", value);
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

static void on_requested(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct answer *answer = userdata;

	if (kind != FAULT_NONE || !manager_find_policy(answer->manager, answer->slot_name))
		(void)call_fault(answer->link, fault);
	else
		(void)sd_varlink_notifybo(answer->link,
					  SD_JSON_BUILD_PAIR_STRING("slot", answer->slot_name),
					  SD_JSON_BUILD_PAIR_UNSIGNED("heldBytes", answer->bytes));
	answer_free(answer);
}

int api_request_memory(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		{ "bytes", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct request_parameters, bytes), SD_JSON_MANDATORY },
		{ "waitUsec", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct request_parameters, wait_usec), SD_JSON_NULLABLE },
		{}
	};
	struct request_parameters p = {};
	struct lease_request request;
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_expect_more(call);
	if (r > 0)
		r = call_find_own_slot(call);
	if (r <= 0)
		return r;
	request = (struct lease_request){
		.slot_name = call->peer.slot_name,
		.pid = call->peer.pid,
		.pidfd = call->pidfd,
		.bytes = p.bytes,
		.is_admin = call->peer.is_admin,
		.wait_ns = call_usec_to_ns(p.wait_usec),
		.subscriber = call->link,
	};
	answer = answer_new(call, call->slot->name);
	if (!answer)
		return -ENOMEM;
	answer->bytes = p.bytes;
	manager_request_memory(call->manager, &request, on_requested, answer);
	return 0;
}
