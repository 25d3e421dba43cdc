/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Weights are kept as of the moment of the name's latest peak and aged when the next one comes,
 * so a name that is not seen costs nothing and its percentiles do not change: what ages is the
 * old against the new. Buckets are stored sparsely; a task that behaves has two or three.
 */

#include "policy/history.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/admit.h"

#define MIB (UINT64_C(1) << 20)
#define PERCENTILE 0.95
#define DROP_BELOW 1e-6
#define OOM_ADD_BYTES (100 * MIB)

struct history {
	uint64_t half_life_s;
	struct history_entry **entries; /* sorted by name */
	size_t n;
};

static uint64_t bucket_start(uint32_t index)
{
	uint64_t start = MIB;

	if (index == 0)
		return 0;
	for (uint32_t i = 1; i < index; i++)
		start += start / 20;
	return start;
}

uint64_t history_bucket_end(uint32_t index)
{
	return bucket_start(index + 1);
}

uint32_t history_bucket_of(uint64_t bytes)
{
	uint32_t index = 0;

	for (uint64_t end = MIB; bytes >= end && index < HISTORY_BUCKETS - 1; end += end / 20)
		index++;
	return index;
}

/* ---- the object */

static void entry_free(struct history_entry *entry)
{
	if (!entry)
		return;
	free(entry->buckets);
	free(entry->extra);
	free(entry);
}

struct history *history_new(uint64_t half_life_s)
{
	struct history *history = calloc(1, sizeof(*history));

	if (history)
		history->half_life_s = half_life_s;
	return history;
}

void history_free(struct history *history)
{
	if (!history)
		return;
	for (size_t i = 0; i < history->n; i++)
		entry_free(history->entries[i]);
	free(history->entries);
	free(history);
}

void history_freep(struct history **history)
{
	history_free(*history);
	*history = NULL;
}

static struct history_entry *entry_clone(const struct history_entry *entry)
{
	struct history_entry *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *entry;
	copy->buckets = calloc(entry->n_buckets + 1, sizeof(*copy->buckets));
	copy->extra = entry->extra ? strdup(entry->extra) : NULL;
	if (!copy->buckets || (entry->extra && !copy->extra)) {
		entry_free(copy);
		return NULL;
	}
	if (entry->n_buckets > 0)
		memcpy(copy->buckets, entry->buckets, entry->n_buckets * sizeof(*copy->buckets));
	return copy;
}

struct history *history_clone(const struct history *history)
{
	CLEANUP(history_freep) struct history *copy = history_new(history->half_life_s);

	if (!copy)
		return NULL;
	copy->entries = calloc(history->n + 1, sizeof(*copy->entries));
	if (!copy->entries)
		return NULL;
	for (; copy->n < history->n; copy->n++) {
		copy->entries[copy->n] = entry_clone(history->entries[copy->n]);
		if (!copy->entries[copy->n])
			return NULL;
	}
	return TAKE(copy);
}

/* Index of the first entry whose name is not before @name. */
static size_t lower_bound(const struct history *history, const char *name)
{
	size_t low = 0, high = history->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(history->entries[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct history_entry *find(const struct history *history, const char *name)
{
	size_t i = lower_bound(history, name);

	if (i == history->n || strcmp(history->entries[i]->name, name) != 0)
		return NULL;
	return history->entries[i];
}

static void drop_oldest(struct history *history)
{
	size_t oldest = 0;

	for (size_t i = 1; i < history->n; i++)
		if (history->entries[i]->seen_s < history->entries[oldest]->seen_s)
			oldest = i;
	entry_free(history->entries[oldest]);
	history->n--;
	memmove(&history->entries[oldest], &history->entries[oldest + 1],
		(history->n - oldest) * sizeof(struct history_entry *));
}

/* Takes @entry in, whose name is not there yet. */
static int insert(struct history *history, struct history_entry *entry)
{
	struct history_entry **grown;
	size_t i;

	if (history->n >= HISTORY_NAMES_MAX)
		drop_oldest(history);
	grown = reallocarray(history->entries, history->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	history->entries = grown;
	i = lower_bound(history, entry->name);
	memmove(&grown[i + 1], &grown[i], (history->n - i) * sizeof(*grown));
	grown[i] = entry;
	history->n++;
	return 0;
}

static struct history_entry *find_or_add(struct history *history, const char *name, uint64_t now_s)
{
	struct history_entry *entry = find(history, name);

	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	memcpy(entry->name, name, strnlen(name, SLOT_NAME_MAX));
	entry->seen_s = entry->as_of_s = now_s;
	if (insert(history, entry) < 0) {
		entry_free(entry);
		return NULL;
	}
	return entry;
}

/* ---- weights */

static double total_weight(const struct history_entry *entry)
{
	double total = 0;

	for (size_t i = 0; i < entry->n_buckets; i++)
		total += entry->buckets[i].weight;
	return total;
}

static double ageing(const struct history *history, const struct history_entry *entry,
		     uint64_t now_s)
{
	if (now_s <= entry->as_of_s)
		return 1;
	return exp2(-(double)(now_s - entry->as_of_s) / (double)history->half_life_s);
}

/* @is_for_good: a clock that is behind has been so for a whole window. */
static void age(const struct history *history, struct history_entry *entry, uint64_t now_s,
		bool is_for_good)
{
	double factor = ageing(history, entry, now_s);

	for (size_t i = 0; i < entry->n_buckets; i++)
		entry->buckets[i].weight *= factor;
	if (now_s > entry->as_of_s || is_for_good)
		entry->as_of_s = now_s;
}

static void drop_weightless(struct history_entry *entry)
{
	double least = total_weight(entry) * DROP_BELOW;
	size_t n = 0;

	for (size_t i = 0; i < entry->n_buckets; i++)
		if (entry->buckets[i].weight > least)
			entry->buckets[n++] = entry->buckets[i];
	entry->n_buckets = n;
}

static int add_peak(const struct history *history, struct history_entry *entry, uint64_t bytes,
		    double weight, uint64_t now_s)
{
	uint32_t index = history_bucket_of(bytes);
	struct history_bucket *grown;
	size_t i = 0;

	age(history, entry, now_s, /* is_for_good= */ weight >= 1);
	while (i < entry->n_buckets && entry->buckets[i].index < index)
		i++;
	if (i == entry->n_buckets || entry->buckets[i].index != index) {
		grown = reallocarray(entry->buckets, entry->n_buckets + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		entry->buckets = grown;
		memmove(&grown[i + 1], &grown[i], (entry->n_buckets - i) * sizeof(*grown));
		grown[i] = (struct history_bucket){ .index = index };
		entry->n_buckets++;
	}
	entry->buckets[i].weight += weight;
	drop_weightless(entry);
	return 0;
}

/* ---- noting */

static int close_window(const struct history *history, struct history_entry *entry, uint64_t now_s)
{
	uint64_t open_s = now_s > entry->window_s ? now_s - entry->window_s : 0;

	if (!entry->is_open)
		return 0;
	entry->is_open = false;
	if (open_s < 1)
		open_s = 1;
	if (open_s > HISTORY_WINDOW_S)
		open_s = HISTORY_WINDOW_S;
	return add_peak(history, entry,
			entry->is_scan ? entry->window_kept_bytes : entry->window_bytes,
			(double)open_s / HISTORY_WINDOW_S, now_s);
}

int history_note_use(struct history *history, const char *name, const struct history_use *use,
		     uint64_t now_s)
{
	struct history_entry *entry = find_or_add(history, name, now_s);
	int r = 0;

	if (!entry)
		return -ENOMEM;
	if (entry->is_open && now_s < entry->window_s)
		entry->window_s = now_s; /* the clock was set back */
	if (entry->is_open && now_s - entry->window_s >= HISTORY_WINDOW_S)
		r = close_window(history, entry, now_s);
	if (!entry->is_open) {
		entry->is_open = true;
		entry->is_scan = false;
		entry->window_s = now_s;
		entry->window_bytes = entry->window_kept_bytes = 0;
	}
	entry->is_scan |= use->is_scan;
	entry->window_bytes = MAX(entry->window_bytes, use->bytes);
	entry->window_kept_bytes = MAX(entry->window_kept_bytes, use->kept_bytes);
	entry->seen_s = now_s;
	return r;
}

int history_note(struct history *history, const char *name, uint64_t bytes, uint64_t now_s)
{
	const struct history_use use = { .bytes = bytes, .kept_bytes = bytes };

	return history_note_use(history, name, &use, now_s);
}

int history_close(struct history *history, const char *name, uint64_t now_s)
{
	struct history_entry *entry = find(history, name);

	return entry ? close_window(history, entry, now_s) : 0;
}

int history_close_all(struct history *history, uint64_t now_s)
{
	int result = 0;

	for (size_t i = 0; i < history->n; i++) {
		int r = close_window(history, history->entries[i], now_s);

		if (r < 0)
			result = r;
	}
	return result;
}

static uint64_t up_to_mib(uint64_t bytes)
{
	if (bytes > ADMIT_BYTES_MAX - MIB)
		return ADMIT_BYTES_MAX;
	return (bytes + MIB - 1) / MIB * MIB;
}

static bool is_oom_young(const struct history *history, const struct history_entry *entry,
			 uint64_t now_s)
{
	uint64_t apart_s = now_s > entry->oom_s ? now_s - entry->oom_s : entry->oom_s - now_s;

	return entry->oom_bytes > 0 && apart_s < history->half_life_s;
}

int history_note_oom(struct history *history, const char *name, uint64_t bytes, uint64_t now_s)
{
	struct history_entry *entry = find_or_add(history, name, now_s);
	uint64_t by_part, by_sum;

	if (!entry)
		return -ENOMEM;
	if (bytes > ADMIT_BYTES_MAX / 2)
		bytes = ADMIT_BYTES_MAX / 2;
	by_part = bytes + bytes / 5;
	by_sum = bytes + OOM_ADD_BYTES;
	bytes = up_to_mib(by_part > by_sum ? by_part : by_sum);
	if (!is_oom_young(history, entry, now_s) || bytes > entry->oom_bytes)
		entry->oom_bytes = bytes;
	entry->oom_s = now_s;
	entry->seen_s = now_s;
	return 0;
}

/* ---- predicting */

struct history_prediction history_predict(const struct history *history, const char *name,
					  uint64_t now_s)
{
	const struct history_entry *entry = find(history, name);
	struct history_prediction p = {};
	double total, sum = 0;

	if (!entry)
		return p;
	total = total_weight(entry);
	for (size_t i = 0; i < entry->n_buckets && p.p95_bytes == 0; i++) {
		sum += entry->buckets[i].weight;
		/* the sum may be a rounding error short of what it is on paper */
		if (sum >= total * PERCENTILE * (1 - 1e-9))
			p.p95_bytes = history_bucket_end(entry->buckets[i].index);
	}
	p.windows = total * ageing(history, entry, now_s);
	p.bytes = up_to_mib(p.p95_bytes + p.p95_bytes * 3 / 20);
	if (is_oom_young(history, entry, now_s) && entry->oom_bytes > p.bytes) {
		p.bytes = entry->oom_bytes;
		p.is_by_oom = true;
	}
	return p;
}

/* ---- storing */

size_t history_count(const struct history *history)
{
	return history->n;
}

const struct history_entry *history_nth(const struct history *history, size_t i)
{
	return history->entries[i];
}

static bool entry_is_sound(const struct history_entry *entry)
{
	if (!admit_name_is_valid(entry->name) || entry->n_buckets > HISTORY_BUCKETS ||
	    entry->oom_bytes > ADMIT_BYTES_MAX)
		return false;
	for (size_t i = 0; i < entry->n_buckets; i++) {
		const struct history_bucket *bucket = &entry->buckets[i];

		if (bucket->index >= HISTORY_BUCKETS || !isfinite(bucket->weight) ||
		    bucket->weight <= 0 || (i > 0 && bucket->index <= bucket[-1].index))
			return false;
	}
	return true;
}

int history_put(struct history *history, const struct history_entry *from)
{
	struct history_entry *entry;

	if (!entry_is_sound(from))
		return -EINVAL;
	if (find(history, from->name))
		return -EEXIST;
	entry = entry_clone(from);
	if (!entry)
		return -ENOMEM;
	entry->is_open = false;
	if (insert(history, entry) < 0) {
		entry_free(entry);
		return -ENOMEM;
	}
	return 0;
}
