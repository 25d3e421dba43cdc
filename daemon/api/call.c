/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/encode.h"
#include "api/interface.h"

/*
 * sd_varlink_error() returns the error it sent as a negative errno. The result of a reply here
 * tells whether the call was answered, which it was.
 */

/* ---- replies */

static int fault_error(sd_varlink *link, const struct fault *fault)
{
	switch (fault->kind) {
	case FAULT_NO_SUCH_SLOT:
		return call_no_such_slot(link, fault->name);
	case FAULT_SLOT_EXISTS:
		return sd_varlink_errorbo(link, API_ERROR("SlotExists"),
					  SD_JSON_BUILD_PAIR_STRING("name", fault->name),
					  SD_JSON_BUILD_PAIR_STRING("message", fault->message));
	case FAULT_SLOT_BUSY:
		return sd_varlink_errorbo(link, API_ERROR("SlotBusy"),
					  SD_JSON_BUILD_PAIR_STRING("name", fault->name),
					  SD_JSON_BUILD_PAIR_UNSIGNED("processes", fault->needed));
	case FAULT_REFUSED:
		return sd_varlink_errorbo(
			link, API_ERROR("Refused"),
			SD_JSON_BUILD_PAIR_STRING("message", fault->message),
			SD_JSON_BUILD_PAIR_CONDITION(fault->node != NODE_ANY, "node",
						     SD_JSON_BUILD_INTEGER(fault->node)),
			SD_JSON_BUILD_PAIR_UNSIGNED("neededBytes", fault->needed),
			SD_JSON_BUILD_PAIR_UNSIGNED("availableBytes", fault->available));
	case FAULT_BAD_VALUE:
		return sd_varlink_errorbo(link, API_ERROR("BadValue"),
					  SD_JSON_BUILD_PAIR_STRING("field", fault->field),
					  SD_JSON_BUILD_PAIR_STRING("message", fault->message));
	case FAULT_NOT_PERMITTED:
		return call_not_permitted(link);
	case FAULT_NOT_IN_SLOT:
		return sd_varlink_errorbo(link, API_ERROR("NotInSlot"),
					  SD_JSON_BUILD_PAIR_STRING("message", fault->message));
	case FAULT_NO_SUCH_GRANT:
		return sd_varlink_errorbo(link, API_ERROR("NoSuchGrant"),
					  SD_JSON_BUILD_PAIR_UNSIGNED("grant", fault->needed));
	case FAULT_NO_HUGEPAGES:
		return sd_varlink_errorbo(
			link, API_ERROR("NoHugePages"),
			SD_JSON_BUILD_PAIR_CONDITION(fault->node != NODE_ANY, "node",
						     SD_JSON_BUILD_INTEGER(fault->node)),
			SD_JSON_BUILD_PAIR_UNSIGNED("wantedChunks", fault->needed),
			SD_JSON_BUILD_PAIR_UNSIGNED("availableChunks", fault->available),
			SD_JSON_BUILD_PAIR_STRING("message", fault->message));
	case FAULT_NONE:
	case FAULT_FAILED:
		break;
	}
	return sd_varlink_errorbo(link, API_ERROR("Failed"),
				  SD_JSON_BUILD_PAIR_STRING("message", fault->message));
}

int call_fault(sd_varlink *link, const struct fault *fault)
{
	(void)fault_error(link, fault);
	return 0;
}

int call_no_such_slot(sd_varlink *link, const char *name)
{
	(void)sd_varlink_errorbo(link, API_ERROR("NoSuchSlot"),
				 SD_JSON_BUILD_PAIR_STRING("name", name));
	return 0;
}

int call_not_permitted(sd_varlink *link)
{
	(void)sd_varlink_error(link, SD_VARLINK_ERROR_PERMISSION_DENIED, NULL);
	return 0;
}

int call_reply_value(sd_varlink *link, int r, const char *name, sd_json_variant *value)
{
	if (r >= 0)
		r = sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT(name, value));
	sd_json_variant_unref(value);
	return r;
}

int call_reply_slot(sd_varlink *link, struct manager *manager, const char *name)
{
	struct fault fault = { .node = NODE_ANY };
	sd_json_variant *value = NULL;
	struct slot_view view;
	int r;

	if (manager_view_slot(manager, name, &view, &fault) != FAULT_NONE)
		return call_no_such_slot(link, name);
	r = encode_slot(&view, &value);
	return call_reply_value(link, r, "slot", value);
}

/* ---- a reply that comes later */

struct answer *answer_new(const struct call *call, const char *slot_name)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return NULL;
	answer->link = sd_varlink_ref(call->link);
	answer->manager = call->manager;
	(void)snprintf(answer->slot_name, sizeof(answer->slot_name), "%s", slot_name);
	return answer;
}

void answer_free(struct answer *answer)
{
	if (!answer)
		return;
	sd_varlink_unref(answer->link);
	free(answer);
}

void answer_with_slot(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct answer *answer = userdata;

	if (kind == FAULT_NO_SUCH_SLOT)
		(void)call_no_such_slot(answer->link, answer->slot_name);
	else if (kind != FAULT_NONE)
		(void)call_fault(answer->link, fault);
	else if (call_reply_slot(answer->link, answer->manager, answer->slot_name) < 0)
		(void)sd_varlink_error_errno(answer->link, -EIO);
	answer_free(answer);
}

/* ---- checks */

int call_read(const struct call *call, const sd_json_dispatch_field *table, void *ret)
{
	int r = sd_varlink_dispatch(call->link, call->parameters, table, ret);

	return r == 0 ? 1 : r;
}

int call_expect_more(const struct call *call)
{
	if (call->flags & SD_VARLINK_METHOD_MORE)
		return 1;
	(void)sd_varlink_error(call->link, SD_VARLINK_ERROR_EXPECTED_MORE, NULL);
	return 0;
}

static int identify(struct call *call)
{
	struct fault fault = { .node = NODE_ANY };
	int r;

	if (call->pidfd >= 0)
		return 1; /* a check before has done it */
	r = manager_identify(call->manager, sd_varlink_get_fd(call->link), &call->peer,
			     &call->pidfd);
	if (r >= 0)
		return 1;
	(void)fault_set(&fault, FAULT_FAILED, "the calling process cannot be identified: %s",
			strerror(-r));
	return call_fault(call->link, &fault);
}

int call_find_admin(struct call *call)
{
	int r = identify(call);

	if (r <= 0)
		return r;
	return rights_may(&call->peer, RIGHT_ADMINISTER, NULL) ? 1 : call_not_permitted(call->link);
}

/* For the caller that is known. */
static int find_slot(struct call *call, const char *name, enum right right)
{
	const struct slot_policy *slot = manager_find_policy(call->manager, name);

	if (!slot)
		return call_no_such_slot(call->link, name);
	if (!rights_may(&call->peer, right, slot))
		return call_not_permitted(call->link);
	call->slot = slot;
	return 1;
}

int call_find_slot(struct call *call, const char *name, enum right right)
{
	int r = identify(call);

	return r <= 0 ? r : find_slot(call, name, right);
}

int call_find_own_slot(struct call *call)
{
	struct fault fault = { .node = NODE_ANY };
	int r = identify(call);

	if (r <= 0)
		return r;
	if (call->peer.is_in_slot)
		return find_slot(call, call->peer.slot_name, RIGHT_ATTACH);
	(void)fault_set(&fault, FAULT_NOT_IN_SLOT,
			"process %d runs in no slot; start it with: tmctl run SLOT -- PROGRAM",
			(int)call->peer.pid);
	return call_fault(call->link, &fault);
}

int call_find_grant(struct call *call, uint32_t id)
{
	struct fault fault = { .node = NODE_ANY, .needed = id };
	int r = identify(call);

	if (r <= 0)
		return r;
	call->grant = manager_find_grant(call->manager, id, call->peer.pid);
	if (call->grant)
		return 1;
	(void)fault_set(&fault, FAULT_NO_SUCH_GRANT, "no grant %u of process %d", id,
			(int)call->peer.pid);
	return call_fault(call->link, &fault);
}

uint64_t call_usec_to_ns(uint64_t usec)
{
	return usec > UINT64_MAX / 1000 ? UINT64_MAX : usec * 1000;
}
