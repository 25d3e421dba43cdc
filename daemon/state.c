/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What passes the checks of the file was written by us, or by someone who took the trouble; it is
 * validated like a request all the same, because a policy with min above max must not get to the
 * kernel by this road either.
 *
 * Unknown fields are kept as JSON: a file that a later version wrote under the same format number
 * loses nothing by passing through this one.
 */

#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "policy/admit.h"

static const struct safefile file = {
	.name = STATE_FILE,
	.magic = "taskmem-state ",
	.format = 1,
	.bytes_max = STATE_FILE_BYTES_MAX,
};

/* ---------------------------------------------------------------- the object */

struct state *state_new(void)
{
	return calloc(1, sizeof(struct state));
}

void state_free(struct state *state)
{
	if (!state)
		return;
	for (size_t i = 0; i < state->n_slots; i++)
		free(state->slots[i].extra);
	free(state->slots);
	free(state->extra);
	free(state);
}

void state_freep(struct state **state)
{
	state_free(*state);
	*state = NULL;
}

/* Return: false without memory. */
static bool clone_text(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

struct state *state_clone(const struct state *state)
{
	CLEANUP(state_freep) struct state *copy = state_new();
	size_t n_room = 1; /* as state_put() expects it */

	if (!copy || !clone_text(state->extra, &copy->extra))
		return NULL;
	while (n_room < state->n_slots)
		n_room *= 2;
	copy->slots = calloc(n_room, sizeof(*copy->slots));
	if (!copy->slots)
		return NULL;
	for (; copy->n_slots < state->n_slots; copy->n_slots++) {
		struct state_slot *slot = &copy->slots[copy->n_slots];

		*slot = state->slots[copy->n_slots];
		if (!clone_text(slot->extra, &slot->extra))
			return NULL;
	}
	return TAKE(copy);
}

/* Index of the first slot whose name is not before @name. */
static size_t lower_bound(const struct state *state, const char *name)
{
	size_t low = 0, high = state->n_slots;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(state->slots[middle].policy.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct state_slot *state_find(const struct state *state, const char *name)
{
	size_t i = lower_bound(state, name);

	if (i == state->n_slots || strcmp(state->slots[i].policy.name, name) != 0)
		return NULL;
	return &state->slots[i];
}

int state_put(struct state *state, const struct slot_policy *policy)
{
	struct state_slot *slot = state_find(state, policy->name), *grown;
	size_t i;

	if (slot) {
		slot->policy = *policy;
		return 0;
	}
	/* room for twice as many at each power of two; there is always room up to the next one */
	grown = state->slots;
	if ((state->n_slots & (state->n_slots - 1)) == 0)
		grown = reallocarray(grown, MAX(2 * state->n_slots, (size_t)1), sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	state->slots = grown;
	i = lower_bound(state, policy->name);
	memmove(&grown[i + 1], &grown[i], (state->n_slots - i) * sizeof(*grown));
	grown[i] = (struct state_slot){ .policy = *policy };
	state->n_slots++;
	return 0;
}

void state_remove(struct state *state, const char *name)
{
	struct state_slot *slot = state_find(state, name);
	size_t after;

	if (!slot)
		return;
	free(slot->extra);
	after = (size_t)(&state->slots[state->n_slots] - (slot + 1));
	memmove(slot, slot + 1, after * sizeof(*slot));
	state->n_slots--;
}

/* ---------------------------------------------------------------- one slot */

static void variant_unrefp(sd_json_variant **v)
{
	sd_json_variant_unref(*v);
}

static int policy_to_variant(const struct slot_policy *p, sd_json_variant **ret)
{
	return sd_json_buildo(
		ret, SD_JSON_BUILD_PAIR_STRING("name", p->name),
		SD_JSON_BUILD_PAIR_UNSIGNED("owner", p->owner),
		SD_JSON_BUILD_PAIR_CONDITION(p->node == NODE_ANY, "node", SD_JSON_BUILD_NULL),
		SD_JSON_BUILD_PAIR_CONDITION(p->node != NODE_ANY, "node",
					     SD_JSON_BUILD_INTEGER(p->node)),
		SD_JSON_BUILD_PAIR_CONDITION(p->is_node_auto, "nodeAuto",
					     SD_JSON_BUILD_BOOLEAN(true)),
		SD_JSON_BUILD_PAIR_UNSIGNED("weight", p->weight),
		SD_JSON_BUILD_PAIR_UNSIGNED("tier", p->tier),
		SD_JSON_BUILD_PAIR_UNSIGNED("minBytes", p->min_bytes),
		SD_JSON_BUILD_PAIR_CONDITION(p->max_bytes == BYTES_UNLIMITED, "maxBytes",
					     SD_JSON_BUILD_NULL),
		SD_JSON_BUILD_PAIR_CONDITION(p->max_bytes != BYTES_UNLIMITED, "maxBytes",
					     SD_JSON_BUILD_UNSIGNED(p->max_bytes)),
		SD_JSON_BUILD_PAIR_UNSIGNED("poolMinBytes", p->pool_min_bytes),
		SD_JSON_BUILD_PAIR_UNSIGNED("poolMaxBytes", p->pool_max_bytes),
		SD_JSON_BUILD_PAIR_CONDITION(p->is_gigantic, "poolGigantic",
					     SD_JSON_BUILD_BOOLEAN(true)),
		SD_JSON_BUILD_PAIR_CONDITION(p->need_bytes > 0, "needBytes",
					     SD_JSON_BUILD_UNSIGNED(p->need_bytes)),
		SD_JSON_BUILD_PAIR_CONDITION(p->need_bytes > 0, "grantBytes",
					     SD_JSON_BUILD_UNSIGNED(p->grant_bytes)),
		SD_JSON_BUILD_PAIR_CONDITION(p->is_need_predicted, "needPredicted",
					     SD_JSON_BUILD_BOOLEAN(true)),
		SD_JSON_BUILD_PAIR_CONDITION(p->request_id[0] != 0, "requestId",
					     SD_JSON_BUILD_STRING(p->request_id)),
		SD_JSON_BUILD_PAIR_STRING("mode", slot_mode_names[p->mode]),
		SD_JSON_BUILD_PAIR_CONDITION(p->revoke != SLOT_REVOKE_DEFAULT, "revoke",
					     SD_JSON_BUILD_STRING(slot_revoke_names[p->revoke])),
		SD_JSON_BUILD_PAIR_CONDITION(p->revoke_deadline_ms > 0, "revokeDeadlineMsec",
					     SD_JSON_BUILD_UNSIGNED(p->revoke_deadline_ms)),
		SD_JSON_BUILD_PAIR_CONDITION(p->on_resize[0], "onResize",
					     SD_JSON_BUILD_STRING(p->on_resize)));
}

int slot_policy_to_json(const struct slot_policy *policy, char **ret_text)
{
	CLEANUP(variant_unrefp) sd_json_variant *v = NULL;
	int r;

	r = policy_to_variant(policy, &v);
	if (r < 0)
		return r;
	r = sd_json_variant_format(v, 0, ret_text);
	return r < 0 ? r : 0;
}

static const char *const slot_fields[] = {
	"name",         "owner",        "node",
	"weight",       "tier",         "minBytes",
	"maxBytes",     "poolMinBytes", "poolMaxBytes",
	"needBytes",    "grantBytes",   "needPredicted",
	"requestId",    "mode",         "onResize",
	"nodeAuto",     "revoke",       "revokeDeadlineMsec",
	"poolGigantic",
};

/* An integer 0 .. @max; where @null is given, null stands for it. */
static int number_from(sd_json_variant *object, const char *field, uint64_t max,
		       const uint64_t *null, uint64_t *ret, char error[static STATE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, field);

	if (!v)
		return safefile_fault(error, -EINVAL, "field %s is missing", field);
	if (null && sd_json_variant_is_null(v)) {
		*ret = *null;
		return 0;
	}
	if (!sd_json_variant_is_unsigned(v))
		return safefile_fault(error, -EINVAL, "field %s is no whole number", field);
	if (sd_json_variant_unsigned(v) > max)
		return safefile_fault(error, -EINVAL, "field %s is above %" PRIu64, field, max);
	*ret = sd_json_variant_unsigned(v);
	return 0;
}

/* A text of at most @size - 1 bytes; "" when the field is not there, as in an older file. */
static int text_from(sd_json_variant *object, const char *field, char *ret, size_t size,
		     char error[static STATE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, field);
	const char *text = "";

	if (v) {
		text = sd_json_variant_string(v);
		if (!text || strlen(text) >= size)
			return safefile_fault(error, -EINVAL, "field %s is no string or too long",
					      field);
	}
	strcpy(ret, text);
	return 0;
}

/* Absent is false. */
static int flag_from(sd_json_variant *object, const char *field, bool *ret,
		     char error[static STATE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, field);

	if (v && !sd_json_variant_is_boolean(v))
		return safefile_fault(error, -EINVAL, "field %s is not true or false", field);
	*ret = v && sd_json_variant_boolean(v);
	return 0;
}

/* What slots had no fields for in earlier versions: absent is none. */
static int admission_from(sd_json_variant *object, struct slot_policy *p,
			  char error[static STATE_ERROR_MAX])
{
	sd_json_variant *id = sd_json_variant_by_key(object, "requestId");
	int r = 0;

	if (sd_json_variant_by_key(object, "needBytes"))
		r = number_from(object, "needBytes", ADMIT_BYTES_MAX, NULL, &p->need_bytes, error);
	if (r == 0 && sd_json_variant_by_key(object, "grantBytes"))
		r = number_from(object, "grantBytes", ADMIT_BYTES_MAX, NULL, &p->grant_bytes,
				error);
	if (r == 0)
		r = flag_from(object, "needPredicted", &p->is_need_predicted, error);
	if (r == 0)
		r = flag_from(object, "nodeAuto", &p->is_node_auto, error);
	if (r == 0)
		r = flag_from(object, "poolGigantic", &p->is_gigantic, error);
	if (r < 0 || !id)
		return r;
	if (!sd_json_variant_is_string(id) || strlen(sd_json_variant_string(id)) > REQUEST_ID_MAX)
		return safefile_fault(error, -EINVAL, "field requestId is no string or too long");
	strcpy(p->request_id, sd_json_variant_string(id));
	return 0;
}

/* Absent in files of versions that had no modes: the default. */
static int mode_from(sd_json_variant *object, enum slot_mode *ret,
		     char error[static STATE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, "mode");
	const char *text = v ? sd_json_variant_string(v) : "share";

	if (!text || admit_parse_mode(text, ret) < 0)
		return safefile_fault(error, -EINVAL,
				      "field mode is not share, off, save or dry-run");
	return 0;
}

/* Absent: as the configuration says. */
static int revoke_from(sd_json_variant *object, struct slot_policy *p,
		       char error[static STATE_ERROR_MAX])
{
	sd_json_variant *v = sd_json_variant_by_key(object, "revoke");
	const char *text = v ? sd_json_variant_string(v) : "default";
	uint64_t ms = 0;

	if (!text || admit_parse_revoke(text, &p->revoke) < 0)
		return safefile_fault(error, -EINVAL,
				      "field revoke is not default, wait, force or kill");
	if (sd_json_variant_by_key(object, "revokeDeadlineMsec") &&
	    number_from(object, "revokeDeadlineMsec", REVOKE_DEADLINE_MAX_MS, NULL, &ms, error) < 0)
		return -EINVAL;
	p->revoke_deadline_ms = (uint32_t)ms;
	return 0;
}

static int policy_from_variant(sd_json_variant *object, struct slot_policy *ret,
			       char error[static STATE_ERROR_MAX])
{
	const uint64_t no_node = UINT64_MAX, no_cap = BYTES_UNLIMITED;
	struct slot_policy p = {};
	uint64_t owner, node, weight, tier;
	struct refusal refusal;
	const char *name;
	const struct {
		const char *field;
		uint64_t max;
		const uint64_t *null;
		uint64_t *to;
	} numbers[] = {
		{ "owner", UINT32_MAX - 1, NULL, &owner }, /* (uid_t)-1 is nobody at all */
		{ "node", NODES_MAX - 1, &no_node, &node },
		{ "weight", WEIGHT_MAX, NULL, &weight },
		{ "tier", TIERS - 1, NULL, &tier },
		{ "minBytes", ADMIT_BYTES_MAX, NULL, &p.min_bytes },
		{ "maxBytes", ADMIT_BYTES_MAX, &no_cap, &p.max_bytes },
		{ "poolMinBytes", ADMIT_BYTES_MAX, NULL, &p.pool_min_bytes },
		{ "poolMaxBytes", ADMIT_BYTES_MAX, NULL, &p.pool_max_bytes },
	};
	int r;

	if (!sd_json_variant_is_object(object))
		return safefile_fault(error, -EINVAL, "a slot is no JSON object");
	name = sd_json_variant_string(sd_json_variant_by_key(object, "name"));
	if (!name || strlen(name) > SLOT_NAME_MAX)
		return safefile_fault(error, -EINVAL,
				      "field name is missing, no string or too long");
	strcpy(p.name, name);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		r = number_from(object, numbers[i].field, numbers[i].max, numbers[i].null,
				numbers[i].to, error);
		if (r < 0)
			return r;
	}
	if (mode_from(object, &p.mode, error) < 0 || revoke_from(object, &p, error) < 0)
		return -EINVAL;
	r = admission_from(object, &p, error);
	if (r < 0)
		return r;
	p.owner = (uid_t)owner;
	p.node = node == no_node ? NODE_ANY : (int)node;
	p.weight = (uint32_t)weight;
	p.tier = (uint32_t)tier;
	if (text_from(object, "onResize", p.on_resize, sizeof(p.on_resize), error) < 0)
		return -EINVAL;
	if (admit_check_policy(&p, &refusal) != ADMIT_OK)
		return safefile_fault(error, -EINVAL, "%.200s", refusal.message);
	*ret = p;
	return 0;
}

int slot_policy_from_json(const char *text, struct slot_policy *ret,
			  char error[static STATE_ERROR_MAX])
{
	CLEANUP(variant_unrefp) sd_json_variant *v = NULL;
	int r;

	if (strnlen(text, SLOT_POLICY_JSON_MAX + 1) > SLOT_POLICY_JSON_MAX)
		return safefile_fault(error, -EINVAL, "longer than %d bytes", SLOT_POLICY_JSON_MAX);
	r = sd_json_parse(text, 0, &v, NULL, NULL);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return safefile_fault(error, -EINVAL, "not JSON");
	return policy_from_variant(v, ret, error);
}

/* ---------------------------------------------------------------- encode */

static int slot_to_variant(const struct state_slot *slot, sd_json_variant **ret)
{
	CLEANUP(variant_unrefp) sd_json_variant *v = NULL;
	int r;

	r = policy_to_variant(&slot->policy, &v);
	if (r >= 0)
		r = safefile_merge_extra(&v, slot->extra);
	if (r < 0)
		return r;
	*ret = TAKE(v);
	return 0;
}

/* One array at once; appending one by one copies it each time. */
static int slots_to_variant(const struct state *state, sd_json_variant **ret)
{
	sd_json_variant **slots = calloc(state->n_slots + 1, sizeof(sd_json_variant *));
	size_t n = 0;
	int r = 0;

	if (!slots)
		return -ENOMEM;
	for (; n < state->n_slots && r >= 0; n++)
		r = slot_to_variant(&state->slots[n], &slots[n]);
	if (r >= 0)
		r = sd_json_variant_new_array(ret, slots, n);
	for (size_t i = 0; i < n; i++)
		sd_json_variant_unref(slots[i]);
	free(slots);
	return r;
}

static int body_to_variant(const struct state *state, sd_json_variant **ret)
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	CLEANUP(variant_unrefp) sd_json_variant *slots = NULL;
	int r;

	r = slots_to_variant(state, &slots);
	if (r >= 0)
		r = sd_json_buildo(&body, SD_JSON_BUILD_PAIR_VARIANT("slots", slots));
	if (r >= 0)
		r = safefile_merge_extra(&body, state->extra);
	if (r < 0)
		return r;
	*ret = TAKE(body);
	return 0;
}

int state_encode(const struct state *state, char **ret_text, size_t *ret_len)
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	int r = body_to_variant(state, &body);

	return r < 0 ? r : safefile_encode(&file, body, ret_text, ret_len);
}

/* ---------------------------------------------------------------- decode */

static int take_slot(struct state *state, sd_json_variant *object,
		     char error[static STATE_ERROR_MAX])
{
	struct slot_policy policy;
	int r;

	r = policy_from_variant(object, &policy, error);
	if (r < 0)
		return r;
	if (state_find(state, policy.name))
		return safefile_fault(error, -EINVAL, "slot %s is there twice", policy.name);
	r = state_put(state, &policy);
	if (r < 0)
		return r;
	return safefile_extra_fields(object, slot_fields, ARRAY_LEN(slot_fields),
				     &state_find(state, policy.name)->extra);
}

static int take_body(struct state *state, sd_json_variant *body, char error[static STATE_ERROR_MAX])
{
	static const char *const body_fields[] = { "slots" };
	sd_json_variant *slots;

	if (!sd_json_variant_is_object(body))
		return safefile_fault(error, -EINVAL, "its body is no JSON object");
	slots = sd_json_variant_by_key(body, "slots");
	if (!slots || !sd_json_variant_is_array(slots))
		return safefile_fault(error, -EINVAL, "it has no list of slots");
	if (sd_json_variant_elements(slots) > SLOTS_MAX)
		return safefile_fault(error, -EINVAL, "it has more than %d slots", SLOTS_MAX);
	for (size_t i = 0; i < sd_json_variant_elements(slots); i++) {
		int r = take_slot(state, sd_json_variant_by_index(slots, i), error);

		if (r < 0)
			return r;
	}
	return safefile_extra_fields(body, body_fields, ARRAY_LEN(body_fields), &state->extra);
}

int state_decode(const char *text, size_t len, struct state **ret,
		 char error[static STATE_ERROR_MAX])
{
	CLEANUP(state_freep) struct state *state = NULL;
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	int r = safefile_decode(&file, text, len, &body, error);

	if (r != STATE_OK)
		return r;
	state = state_new();
	if (!state)
		return -ENOMEM;
	r = take_body(state, body, error);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return STATE_FOREIGN;
	*ret = TAKE(state);
	return STATE_OK;
}

/* ---------------------------------------------------------------- files */

static int take_text(const char *text, size_t len, void *ret, char error[static STATE_ERROR_MAX])
{
	return state_decode(text, len, ret, error);
}

int state_load(int dir_fd, struct state **ret, char error[static STATE_ERROR_MAX])
{
	CLEANUP(state_freep) struct state *state = NULL;
	int cond = safefile_load(&file, dir_fd, take_text, &state, error);

	if (cond < 0)
		return cond;
	if (!state)
		state = state_new();
	if (!state)
		return -ENOMEM;
	*ret = TAKE(state);
	return cond;
}

int state_save(int dir_fd, const struct state *state)
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	int r = body_to_variant(state, &body);

	return r < 0 ? r : safefile_save(&file, dir_fd, body);
}
