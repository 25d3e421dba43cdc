/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A list of all slots, made of some in each turn of the loop. Who takes more than one reply gets
 * them as they are made; for others they are gathered, up to so many.
 *
 * It goes by names, in which slots are ordered: none comes twice, and none is left out that was
 * there all the time. One that is made or removed meanwhile may be in it or not.
 */

#include <systemd/sd-json.h>

#include "api/call.h"
#include "base/attr.h"

/* What all lists of a daemon share. Zero-initialised. */
struct listings {
	unsigned n_gathering;
};

/* What is listed. Static. */
struct listing_kind {
	size_t once_max; /* most slots in one reply, to who takes no more */
	/* The @i-th slot's element of "slots". Return: 0 or -errno. */
	int (*encode)(struct manager *manager, size_t i, sd_json_variant **ret);
	/* An object of what is in a reply beside "slots"; its arrays may be empty but in the last. */
	int (*encode_beside)(struct manager *manager, bool is_last, sd_json_variant **ret);
};

/* Of this slot alone. Return: what the method returns. */
MUST_USE int listing_reply_one(const struct call *call, const struct listing_kind *kind,
			       sd_json_variant *slot);
/* Answers the call, now or later. Return: what the method returns. */
MUST_USE int listing_begin(struct call *call, const struct listing_kind *kind);
