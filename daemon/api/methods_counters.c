/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/encode.h"
#include "api/listing.h"

/* Not part of ListSlots: of 10000 slots the counters are 2.5 MB, which a monitor asks for every few
 * seconds. */

static int encode_beside_counters(struct manager *manager, bool is_last, sd_json_variant **ret)
{
	sd_json_variant *events = NULL;
	int r = is_last ? encode_event_counts(manager_events(manager), &events)
			: sd_json_variant_new_array(&events, NULL, 0);

	if (r >= 0)
		r = sd_json_buildo(ret, SD_JSON_BUILD_PAIR_VARIANT("events", events));
	sd_json_variant_unref(events);
	return r;
}

int api_list_counters(struct call *call)
{
	static const struct listing_kind kind = { .once_max = 1000,
						  .encode = encode_nth_counters,
						  .encode_beside = encode_beside_counters };
	int r = call_read(call, (const sd_json_dispatch_field[]){ {} }, NULL);

	return r <= 0 ? r : listing_begin(call, &kind);
}
