/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fields of a reply. A field that is absent, null or of another type gives the fallback:
 * varlink leaves optional fields out, and a newer daemon must not break an older tmctl.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-json.h>

static inline const char *field_text(sd_json_variant *object, const char *name,
				     const char *fallback)
{
	sd_json_variant *v = sd_json_variant_by_key(object, name);

	return v && sd_json_variant_is_string(v) ? sd_json_variant_string(v) : fallback;
}

static inline uint64_t field_u64(sd_json_variant *object, const char *name, uint64_t fallback)
{
	sd_json_variant *v = sd_json_variant_by_key(object, name);

	return v && sd_json_variant_is_unsigned(v) ? sd_json_variant_unsigned(v) : fallback;
}

static inline bool field_bool(sd_json_variant *object, const char *name, bool fallback)
{
	sd_json_variant *v = sd_json_variant_by_key(object, name);

	return v && sd_json_variant_is_boolean(v) ? sd_json_variant_boolean(v) : fallback;
}

/* An array, or NULL, which has no elements. */
static inline sd_json_variant *field_array(sd_json_variant *object, const char *name)
{
	sd_json_variant *v = sd_json_variant_by_key(object, name);

	return v && sd_json_variant_is_array(v) ? v : NULL;
}

#define FIELD_FOREACH(array, var)                                                           \
	for (size_t var##_i_ = 0, var##_n_ = (array) ? sd_json_variant_elements(array) : 0; \
	     var##_i_ < var##_n_ && ((var) = sd_json_variant_by_index(array, var##_i_));    \
	     var##_i_++)
