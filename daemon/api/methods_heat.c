/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "api/call.h"

/* Measuring a slot's working set: the reply comes when the slot was watched long enough. */

struct parameters {
	const char *name, *source;
	uint64_t window_usec;
};

static int bad_source(sd_varlink *link)
{
	struct fault fault = { .node = NODE_ANY, .field = "source" };

	(void)fault_set(&fault, FAULT_BAD_VALUE, "use lru_gen or damon");
	return call_fault(link, &fault);
}

int api_measure_slot(struct call *call)
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
	struct answer *answer;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_slot(call, p.name, RIGHT_RUN);
	if (r <= 0)
		return r;
	if (p.source && strcmp(p.source, "damon") == 0)
		source = HEAT_DAMON;
	else if (p.source && strcmp(p.source, "lru_gen") == 0)
		source = HEAT_LRU_GEN;
	else if (p.source)
		return bad_source(call->link);
	answer = answer_new(call, call->slot->name);
	if (!answer)
		return -ENOMEM;
	manager_measure(call->manager, answer->slot_name, source, p.window_usec / 1000,
			answer_with_slot, answer);
	return 0;
}
