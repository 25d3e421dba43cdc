/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table holds what a key is called, what it may be and what a message says about it. What
 * can be known without the daemon is checked here, because here the word that is wrong can
 * be named; the daemon checks everything again, and what depends on its state.
 */

#include "assign.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/parse.h"
#include "nearest.h"
#include "taskmem.h"

/* The limits of the interface io.taskmem. */
#define NAME_MAX_BYTES 63
#define NODE_MAX 63
#define WEIGHT_MAX 10000
#define TIER_MAX 3

enum kind {
	KIND_NODE,
	KIND_NUMBER,
	KIND_BYTES,
	KIND_BYTES_OR_MAX,
	KIND_CHUNKS,
	KIND_USER,
	KIND_MODE,
	KIND_REVOKE,
	KIND_TIME_OR_DEFAULT,
	KIND_COMMAND
};

enum key {
	KEY_NODE,
	KEY_WEIGHT,
	KEY_TIER,
	KEY_MIN,
	KEY_MAX,
	KEY_POOL,
	KEY_POOL_MAX,
	KEY_OWNER,
	KEY_MODE,
	KEY_ON_RESIZE,
	KEY_REVOKE,
	KEY_REVOKE_DEADLINE,
	KEY_NEED,
	KEY_MIN_GRANT
};

#define N_KEYS (KEY_MIN_GRANT + 1)

static const struct key_form {
	const char *name;
	const char *field;
	enum kind kind;
	uint64_t low, high; /* of KIND_NUMBER */
	const char *form;   /* "KEY is ..." */
} keys[N_KEYS] = {
	[KEY_NODE] = { "node", "node", KIND_NODE, 0, NODE_MAX,
		       "a NUMA node (0, 1, ...), \"auto\" or \"any\"" },
	[KEY_WEIGHT] = { "weight", "weight", KIND_NUMBER, 1, WEIGHT_MAX,
			 "a number from 1 to 10000; the default is 100" },
	[KEY_TIER] = { "tier", "tier", KIND_NUMBER, 0, TIER_MAX,
		       "a number from 0 (served first) to 3; the default is 1" },
	[KEY_MIN] = { "min", "minBytes", KIND_BYTES, 0, 0, "a size such as 300M or 1.5G" },
	[KEY_MAX] = { "max", "maxBytes", KIND_BYTES_OR_MAX, 0, 0,
		      "a size such as 300M or 1.5G, or \"max\" for no cap" },
	[KEY_POOL] = { "pool", "poolMinBytes", KIND_CHUNKS, 0, 0,
		       "a size that is a multiple of 2M, such as 64M" },
	[KEY_POOL_MAX] = { "pool-max", "poolMaxBytes", KIND_CHUNKS, 0, 0,
			   "a size that is a multiple of 2M, such as 64M" },
	[KEY_OWNER] = { "owner", "owner", KIND_USER, 0, 0, "a user's name or number" },
	[KEY_NEED] = { "need", "needBytes", KIND_BYTES, 0, 0, "a size such as 300M or 1.5G" },
	[KEY_MIN_GRANT] = { "min-grant", "minGrantBytes", KIND_BYTES, 0, 0,
			    "a size such as 200M, not above need" },
	[KEY_MODE] = { "mode", "mode", KIND_MODE, 0, 0, "share, off, save or dry-run" },
	[KEY_REVOKE] = { "revoke", "revoke", KIND_REVOKE, 0, 0, "wait, force, kill or default" },
	[KEY_REVOKE_DEADLINE] = { "revoke-deadline", "revokeDeadlineUsec", KIND_TIME_OR_DEFAULT,
				  100000, UINT64_C(3600000000),
				  "a time from 100ms to 1h, such as 5s, or \"default\"" },
	[KEY_ON_RESIZE] = { "on-resize", "onResize", KIND_COMMAND, 0, 0,
			    "the absolute path of a program with its arguments, or \"none\"" },
};

struct values {
	const char *word[N_KEYS]; /* NULL: not given */
	uint64_t value[N_KEYS];   /* BYTES_UNLIMITED: no cap; NODE_ANY_VALUE, NODE_AUTO_VALUE */
};

#define NODE_ANY_VALUE UINT64_MAX
#define NODE_AUTO_VALUE (UINT64_MAX - 1)

static int PRINTF_LIKE(2, 3) fail(char *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, ASSIGN_ERROR_MAX, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static int check_name(const char *name, char *error)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t len = strlen(name);

	if (len > 0 && len <= NAME_MAX_BYTES && strchr(first, name[0]) &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len)
		return 0;
	if (strchr(name, '='))
		return fail(error, "%.100s: the slot's name comes first, then key=value", name);
	return fail(error,
		    "\"%.100s\" cannot name a slot: 1 to 63 of a-z 0-9 . _ - with a letter or "
		    "digit first",
		    name);
}

/* What a slot is asked when it is made, and never again. */
static bool is_of_add(size_t key)
{
	return key == KEY_NODE || key == KEY_MIN_GRANT;
}

static int unknown_key(enum assign_verb verb, const char *word, int len, char *error)
{
	const char *names[N_KEYS + 1], *meant;
	char text[33];
	size_t n = 0;

	for (size_t k = 0; k < N_KEYS; k++)
		if (verb == ASSIGN_ADD || !is_of_add(k))
			names[n++] = keys[k].name;
	names[n] = NULL;
	snprintf(text, sizeof(text), "%.*s", len, word);
	meant = nearest_word(text, names);
	if (meant)
		return fail(error, "%.100s: there is no key \"%s\"; did you mean \"%s\"?", word,
			    text, meant);
	return fail(error,
		    "%.100s: there is no key \"%s\"; the keys are%s weight tier min max pool "
		    "pool-max mode on-resize revoke revoke-deadline owner need%s",
		    word, text, verb == ASSIGN_ADD ? " node" : "",
		    verb == ASSIGN_ADD ? " min-grant" : "");
}

static int parse_user(const char *text, uint64_t *ret)
{
	struct passwd *user;

	/* the largest uid is no user but "no change" for chown(2) */
	if (parse_u64(text, (uid_t)-1 - 1, ret) == 0)
		return 0;
	user = getpwnam(text);
	if (!user)
		return -EINVAL;
	*ret = user->pw_uid;
	return 0;
}

static const char *const modes[] = { "share", "off", "save", "dry-run" };

static const char *const revokes[] = { "default", "wait", "force", "kill" };

static int parse_word(const char *text, const char *const *words, size_t n, uint64_t *ret)
{
	for (*ret = 0; *ret < n; ++*ret)
		if (strcmp(text, words[*ret]) == 0)
			return 0;
	return -EINVAL;
}

/* In microseconds; "default" is 0. */
static int parse_time(const struct key_form *key, const char *text, uint64_t *ret)
{
	uint64_t ns;
	int r;

	*ret = 0;
	if (strcmp(text, "default") == 0)
		return 0;
	r = parse_duration_ns(text, &ns);
	if (r < 0)
		return r;
	*ret = ns / 1000;
	return *ret < key->low || *ret > key->high ? -ERANGE : 0;
}

static int parse_value(const struct key_form *key, const char *text, uint64_t *ret)
{
	switch (key->kind) {
	case KIND_NODE:
		if (strcmp(text, "any") == 0) {
			*ret = NODE_ANY_VALUE;
			return 0;
		}
		if (strcmp(text, "auto") == 0) {
			*ret = NODE_AUTO_VALUE;
			return 0;
		}
		return parse_u64(text, key->high, ret);
	case KIND_NUMBER: {
		int r = parse_u64(text, key->high, ret);

		return r == 0 && *ret < key->low ? -ERANGE : r;
	}
	case KIND_BYTES:
		return parse_bytes(text, ret);
	case KIND_BYTES_OR_MAX:
		return parse_bytes_or_max(text, ret);
	case KIND_CHUNKS: {
		int r = parse_bytes(text, ret);

		return r == 0 && *ret % TM_CHUNK_BYTES ? -EINVAL : r;
	}
	case KIND_USER:
		return parse_user(text, ret);
	case KIND_MODE:
		return parse_word(text, modes, ARRAY_LEN(modes), ret);
	case KIND_REVOKE:
		return parse_word(text, revokes, ARRAY_LEN(revokes), ret);
	case KIND_TIME_OR_DEFAULT:
		return parse_time(key, text, ret);
	case KIND_COMMAND:
		*ret = 0; /* the word itself is sent; the daemon checks it */
		return text[0] == '/' || strchr("'\"", text[0]) || strcmp(text, "none") == 0
			       ? 0
			       : -EINVAL;
	}
	return -EINVAL;
}

static int take_word(enum assign_verb verb, const char *word, struct values *values, char *error)
{
	const char *equals = strchr(word, '=');
	int len = equals ? (int)(equals - word) : (int)strlen(word);
	size_t k = 0;

	if (verb == ASSIGN_MOVE && strncmp(word, "node=", 5) != 0)
		return fail(error, "%.100s: a move has one key, node=N, node=auto or node=any",
			    word);
	while (k < N_KEYS && (strncmp(keys[k].name, word, (size_t)len) != 0 || keys[k].name[len]))
		k++;
	if (k == N_KEYS)
		return unknown_key(verb, word, len, error);
	if (verb == ASSIGN_SET && k == KEY_NODE)
		return fail(error, "%.100s: to change the node of a slot use \"tmctl move\"", word);
	if (verb == ASSIGN_SET && k == KEY_MIN_GRANT)
		return fail(error, "%.100s: a need that is set is granted in full or not at all",
			    word);
	if (!equals || !equals[1])
		return fail(error, "%.100s: the value is missing; %s is %s", word, keys[k].name,
			    keys[k].form);
	if (values->word[k])
		return fail(error, "%.100s: %s is given twice, first as %.100s", word, keys[k].name,
			    values->word[k]);
	if (parse_value(&keys[k], equals + 1, &values->value[k]) < 0)
		return fail(error, "%.100s: \"%.100s\" is not right; %s is %s", word, equals + 1,
			    keys[k].name, keys[k].form);
	values->word[k] = word;
	return 0;
}

static int check_order(const struct values *values, enum key low, enum key high, char *error)
{
	if (values->word[low] && values->word[high] && values->value[low] > values->value[high])
		return fail(error, "%.100s %.100s: %s may not be larger than %s", values->word[low],
			    values->word[high], keys[low].name, keys[high].name);
	return 0;
}

static void complete_pool(struct values *values)
{
	if (values->word[KEY_POOL] && !values->word[KEY_POOL_MAX]) {
		values->word[KEY_POOL_MAX] = values->word[KEY_POOL];
		values->value[KEY_POOL_MAX] = values->value[KEY_POOL];
	} else if (!values->word[KEY_POOL] && values->word[KEY_POOL_MAX]) {
		values->word[KEY_POOL] = values->word[KEY_POOL_MAX];
		values->value[KEY_POOL] = 0;
	}
}

/* "on-resize=none" is an empty command; a new slot has none anyway. */
static int set_command(enum assign_verb verb, const char *word, sd_json_variant **params)
{
	const char *command = strchr(word, '=') + 1;

	if (strcmp(command, "none") != 0)
		return sd_json_variant_set_field_string(params, keys[KEY_ON_RESIZE].field, command);
	if (verb == ASSIGN_ADD)
		return 0;
	return sd_json_variant_set_field_string(params, keys[KEY_ON_RESIZE].field, "");
}

static int build(enum assign_verb verb, const char *name, const struct values *values,
		 sd_json_variant **ret_params)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	int r = sd_json_variant_set_field_string(&params, "name", name);

	for (size_t k = 0; k < N_KEYS && r >= 0; k++) {
		if (!values->word[k])
			continue;
		if (k == KEY_NODE && values->value[k] == NODE_ANY_VALUE)
			r = sd_json_variant_set_field_boolean(&params, "anyNode", 1);
		else if (k == KEY_NODE && values->value[k] == NODE_AUTO_VALUE)
			continue; /* the default */
		else if (k == KEY_MODE)
			r = sd_json_variant_set_field_string(&params, "mode",
							     modes[values->value[k]]);
		else if (k == KEY_REVOKE)
			r = sd_json_variant_set_field_string(&params, "revoke",
							     revokes[values->value[k]]);
		else if (k == KEY_ON_RESIZE)
			r = set_command(verb, values->word[k], &params);
		else if (k != KEY_MAX || values->value[k] != BYTES_UNLIMITED)
			r = sd_json_variant_set_field_unsigned(&params, keys[k].field,
							       values->value[k]);
		else if (verb == ASSIGN_SET) /* a new slot has no cap anyway */
			r = sd_json_variant_set_field_boolean(&params, "uncapped", 1);
	}
	if (r < 0)
		return r;
	*ret_params = TAKE(params);
	return 0;
}

int assign_words(enum assign_verb verb, const char *name, char *const words[], size_t n_words,
		 sd_json_variant **ret_params, char error[static ASSIGN_ERROR_MAX])
{
	struct values values = {};
	int r = verb == ASSIGN_ADD ? check_name(name, error) : 0;

	for (size_t i = 0; i < n_words && r == 0; i++)
		r = take_word(verb, words[i], &values, error);
	if (r == 0)
		r = check_order(&values, KEY_MIN, KEY_MAX, error);
	if (r == 0)
		r = check_order(&values, KEY_POOL, KEY_POOL_MAX, error);
	if (r == 0)
		r = check_order(&values, KEY_MIN_GRANT, KEY_NEED, error);
	if (r < 0)
		return r;
	if (verb == ASSIGN_ADD)
		complete_pool(&values);
	return build(verb, name, &values, ret_params);
}

const char *assign_key_of_field(const char *field)
{
	for (size_t k = 0; k < N_KEYS; k++)
		if (strcmp(keys[k].field, field) == 0)
			return keys[k].name;
	return field;
}
