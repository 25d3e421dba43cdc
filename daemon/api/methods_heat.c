/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"

/* Measuring a slot's working set: the reply comes when the slot was watched long enough. */

struct parameters {
	const char *name, *source;
	uint64_t window_usec;
};

struct request {
	sd_varlink *link;
	struct manager *manager;
	char name[SLOT_NAME_MAX + 1];
};

static void on_measured(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct request *request = userdata;
	struct fault gone = { .node = NODE_ANY };
	sd_json_variant *value = NULL;
	struct slot_view view;
	int r;

	if (kind == FAULT_NONE) {
		kind = manager_view_slot(request->manager, request->name, &view, &gone);
		fault = &gone;
	}
	if (kind == FAULT_NO_SUCH_SLOT) {
		(void)call_no_such_slot(request->link, request->name);
	} else if (kind != FAULT_NONE) {
		(void)call_fault(request->link, fault);
	} else {
		r = encode_slot(&view, &value);
		(void)call_reply_value(request->link, r, "slot", value);
	}
	sd_varlink_unref(request->link);
	free(request);
}

static int bad_source(sd_varlink *link)
{
	struct fault fault = { .node = NODE_ANY, .field = "source" };

	(void)fault_set(&fault, FAULT_BAD_VALUE, "use lru_gen or damon");
	return call_fault(link, &fault);
}

int api_measure_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	static const sd_json_dispatch_field table[] = {
		{ "name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct parameters, name), SD_JSON_MANDATORY },
		{ "source", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct parameters, source), SD_JSON_NULLABLE },
		{ "windowUsec", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct parameters, window_usec), SD_JSON_NULLABLE },
		{}
	};
	struct parameters p = { .window_usec = (uint64_t)MEASURE_WINDOW_MS_DEFAULT * 1000 };
	enum heat_source source = HEAT_NONE;
	struct manager *manager = userdata;
	const struct slot_policy *policy;
	struct request *request;
	struct peer peer;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	r = call_identify(link, manager, &peer, NULL);
	if (r <= 0)
		return r;
	r = call_named_slot(link, manager, &peer, p.name, RIGHT_RUN, &policy);
	if (r <= 0)
		return r;
	if (p.source && strcmp(p.source, "damon") == 0)
		source = HEAT_DAMON;
	else if (p.source && strcmp(p.source, "lru_gen") == 0)
		source = HEAT_LRU_GEN;
	else if (p.source)
		return bad_source(link);
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->link = sd_varlink_ref(link);
	request->manager = manager;
	memcpy(request->name, policy->name, sizeof(request->name));
	manager_measure(manager, request->name, source, p.window_usec / 1000, on_measured, request);
	return 0;
}
