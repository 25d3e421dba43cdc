/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One object for each name: {"name", "seen", "asOf", "buckets": [index, weight, index, weight …],
 * "oomBytes", "oomAt"}; times in seconds of the real-time clock. Weights are reals and come back
 * bit by bit. It is guessing material: a file that is not whole costs predictions, no slot, so it
 * is set aside and everything begins anew.
 */

#include "history_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

static const struct safefile file = {
	.name = HISTORY_FILE,
	.magic = "taskmem-history ",
	.format = 1,
	.bytes_max = HISTORY_FILE_BYTES_MAX,
};

static const char *const name_fields[] = { "name", "seen", "asOf", "buckets", "oomBytes", "oomAt" };

static void variant_unrefp(sd_json_variant **v)
{
	sd_json_variant_unref(*v);
}

/* ---- encode */

static int buckets_to_variant(const struct history_entry *entry, sd_json_variant **ret)
{
	sd_json_variant **items = calloc(2 * entry->n_buckets + 1, sizeof(*items));
	size_t n = 0;
	int r = 0;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < entry->n_buckets && r >= 0; i++) {
		r = sd_json_variant_new_unsigned(&items[n++], entry->buckets[i].index);
		if (r >= 0)
			r = sd_json_variant_new_real(&items[n++], entry->buckets[i].weight);
	}
	if (r >= 0)
		r = sd_json_variant_new_array(ret, items, n);
	while (n > 0)
		sd_json_variant_unref(items[--n]);
	free(items);
	return r;
}

static int entry_to_variant(const struct history_entry *entry, sd_json_variant **ret)
{
	CLEANUP(variant_unrefp) sd_json_variant *v = NULL;
	CLEANUP(variant_unrefp) sd_json_variant *buckets = NULL;
	int r = buckets_to_variant(entry, &buckets);

	if (r >= 0)
		r = sd_json_buildo(&v, SD_JSON_BUILD_PAIR_STRING("name", entry->name),
				   SD_JSON_BUILD_PAIR_UNSIGNED("seen", entry->seen_s),
				   SD_JSON_BUILD_PAIR_UNSIGNED("asOf", entry->as_of_s),
				   SD_JSON_BUILD_PAIR_VARIANT("buckets", buckets),
				   SD_JSON_BUILD_PAIR_UNSIGNED("oomBytes", entry->oom_bytes),
				   SD_JSON_BUILD_PAIR_UNSIGNED("oomAt", entry->oom_s));
	if (r >= 0)
		r = safefile_merge_extra(&v, entry->extra);
	if (r < 0)
		return r;
	*ret = TAKE(v);
	return 0;
}

int history_file_save(int dir_fd, const struct history *history)
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	CLEANUP(variant_unrefp) sd_json_variant *list = NULL;
	sd_json_variant **names = calloc(history_count(history) + 1, sizeof(*names));
	size_t n = 0;
	int r = 0;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < history_count(history) && r >= 0; i++) {
		const struct history_entry *entry = history_nth(history, i);

		if (entry->n_buckets > 0 || entry->oom_bytes > 0)
			r = entry_to_variant(entry, &names[n++]);
	}
	if (r >= 0)
		r = sd_json_variant_new_array(&list, names, n);
	while (n > 0)
		sd_json_variant_unref(names[--n]);
	free(names);
	if (r >= 0)
		r = sd_json_buildo(&body, SD_JSON_BUILD_PAIR_VARIANT("names", list));
	return r < 0 ? r : safefile_save(&file, dir_fd, body);
}

/* ---- decode */

static int number_from(sd_json_variant *object, const char *field, uint64_t *ret,
		       char error[static SAFEFILE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, field);

	if (!v || !sd_json_variant_is_unsigned(v))
		return safefile_fault(error, SAFEFILE_FOREIGN,
				      "field %s is missing or no whole number", field);
	*ret = sd_json_variant_unsigned(v);
	return 0;
}

static int buckets_from(sd_json_variant *list, struct history_entry *entry,
			char error[static SAFEFILE_ERROR_MAX])
{
	size_t n = list && sd_json_variant_is_array(list) ? sd_json_variant_elements(list) : 1;

	if (n % 2 || n / 2 > HISTORY_BUCKETS)
		return safefile_fault(error, SAFEFILE_FOREIGN,
				      "field buckets of name %s is no list of pairs", entry->name);
	entry->buckets = calloc(n / 2 + 1, sizeof(*entry->buckets));
	if (!entry->buckets)
		return -ENOMEM;
	for (size_t i = 0; i < n; i += 2) {
		sd_json_variant *index = sd_json_variant_by_index(list, i);
		sd_json_variant *weight = sd_json_variant_by_index(list, i + 1);

		if (!sd_json_variant_is_unsigned(index) || !sd_json_variant_is_number(weight) ||
		    sd_json_variant_unsigned(index) >= HISTORY_BUCKETS)
			return safefile_fault(error, SAFEFILE_FOREIGN,
					      "a bucket of name %s is out of bounds", entry->name);
		entry->buckets[entry->n_buckets++] = (struct history_bucket){
			.index = (uint32_t)sd_json_variant_unsigned(index),
			.weight = sd_json_variant_real(weight),
		};
	}
	return 0;
}

static int entry_from(sd_json_variant *object, struct history_entry *entry,
		      char error[static SAFEFILE_ERROR_MAX])
{
	const char *name = sd_json_variant_string(sd_json_variant_by_key(object, "name"));
	int r;

	if (!name || strlen(name) > SLOT_NAME_MAX)
		return safefile_fault(error, SAFEFILE_FOREIGN,
				      "field name is missing, no string or too long");
	strcpy(entry->name, name);
	r = number_from(object, "seen", &entry->seen_s, error);
	if (r == 0)
		r = number_from(object, "asOf", &entry->as_of_s, error);
	if (r == 0)
		r = number_from(object, "oomBytes", &entry->oom_bytes, error);
	if (r == 0)
		r = number_from(object, "oomAt", &entry->oom_s, error);
	if (r == 0)
		r = buckets_from(sd_json_variant_by_key(object, "buckets"), entry, error);
	if (r == 0)
		r = safefile_extra_fields(object, name_fields, ARRAY_LEN(name_fields),
					  &entry->extra);
	return r;
}

static int take_name(struct history *history, sd_json_variant *object,
		     char error[static SAFEFILE_ERROR_MAX])
{
	struct history_entry entry = {};
	int r;

	if (!sd_json_variant_is_object(object))
		return safefile_fault(error, SAFEFILE_FOREIGN, "a name is no JSON object");
	r = entry_from(object, &entry, error);
	if (r == 0)
		r = history_put(history, &entry);
	free(entry.buckets);
	free(entry.extra);
	if (r == -EINVAL || r == -EEXIST)
		return safefile_fault(error, SAFEFILE_FOREIGN, "name %s: %s", entry.name,
				      r == -EEXIST ? "it is there twice"
						   : "its numbers make no sense");
	return r;
}

static int take_text(const char *text, size_t len, void *ret, char error[static SAFEFILE_ERROR_MAX])
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	sd_json_variant *names;
	int r = safefile_decode(&file, text, len, &body, error);

	if (r != SAFEFILE_OK)
		return r;
	names = sd_json_variant_by_key(body, "names");
	if (!names || !sd_json_variant_is_array(names))
		return safefile_fault(error, SAFEFILE_FOREIGN, "it has no list of names");
	for (size_t i = 0; i < sd_json_variant_elements(names) && r == 0; i++)
		r = take_name(ret, sd_json_variant_by_index(names, i), error);
	return r;
}

int history_file_load(int dir_fd, uint64_t half_life_s, struct history **ret,
		      char error[static SAFEFILE_ERROR_MAX])
{
	CLEANUP(history_freep) struct history *history = history_new(half_life_s);
	int cond;

	if (!history)
		return -ENOMEM;
	cond = safefile_load(&file, dir_fd, take_text, history, error);
	if (cond < 0)
		return cond;
	if (cond != SAFEFILE_OK) { /* half of it may have been taken */
		history_free(history);
		history = history_new(half_life_s);
		if (!history)
			return -ENOMEM;
	}
	*ret = TAKE(history);
	return cond;
}
