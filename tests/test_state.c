/* SPDX-License-Identifier: Apache-2.0 */

#include "state.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/fd.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)

static char error[STATE_ERROR_MAX];

static struct slot_policy slot_of(const char *name, int node, uint64_t min, uint64_t max)
{
	struct slot_policy p = { .owner = 1000,
				 .node = node,
				 .weight = 300,
				 .tier = 2,
				 .min_bytes = min,
				 .max_bytes = max,
				 .pool_min_bytes = 4 * M,
				 .pool_max_bytes = 8 * M };

	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

static void check_policy(const struct slot_policy *a, const struct slot_policy *b)
{
	ck_assert_str_eq(a->name, b->name);
	ck_assert_uint_eq(a->owner, b->owner);
	ck_assert_int_eq(a->node, b->node);
	ck_assert_uint_eq(a->weight, b->weight);
	ck_assert_uint_eq(a->tier, b->tier);
	ck_assert_uint_eq(a->min_bytes, b->min_bytes);
	ck_assert_uint_eq(a->max_bytes, b->max_bytes);
	ck_assert_uint_eq(a->pool_min_bytes, b->pool_min_bytes);
	ck_assert_uint_eq(a->pool_max_bytes, b->pool_max_bytes);
	ck_assert_str_eq(a->on_resize, b->on_resize);
	ck_assert_uint_eq(a->need_bytes, b->need_bytes);
	ck_assert_uint_eq(a->grant_bytes, b->grant_bytes);
	ck_assert_int_eq(a->is_need_predicted, b->is_need_predicted);
	ck_assert_str_eq(a->request_id, b->request_id);
	ck_assert_int_eq(a->mode, b->mode);
	ck_assert_int_eq(a->revoke, b->revoke);
	ck_assert_uint_eq(a->revoke_deadline_ms, b->revoke_deadline_ms);
}

static struct state *sample_state(void)
{
	struct slot_policy join = slot_of("join", 1, 64 * M, BYTES_UNLIMITED);
	struct slot_policy ingest = slot_of("ingest", 0, 0, 256 * M);
	struct slot_policy sink =
		slot_of("sink", NODE_ANY, (UINT64_C(1) << 53) + 1, UINT64_C(1) << 60);
	struct state *state = state_new();

	ingest.revoke = SLOT_REVOKE_KILL;
	ingest.revoke_deadline_ms = 1500;

	ck_assert_int_eq(state_put(state, &join), 0);
	ck_assert_int_eq(state_put(state, &ingest), 0);
	ck_assert_int_eq(state_put(state, &sink), 0);
	return state;
}

/* A file around @body whose header is right. */
static char *with_header(const char *body, size_t *ret_len)
{
	unsigned long crc = crc32(crc32(0, NULL, 0), (const Bytef *)body, (uInt)strlen(body));
	char *text = NULL;
	int n = asprintf(&text, "taskmem-state 1 %08lx %zu\n%s", crc, strlen(body), body);

	ck_assert_int_gt(n, 0);
	*ret_len = (size_t)n;
	return text;
}

static int decode_body(const char *body, struct state **ret)
{
	size_t len;
	char *text = with_header(body, &len);
	int r = state_decode(text, len, ret, error);

	free(text);
	return r;
}

START_TEST(put_find_and_remove_keep_the_slots_sorted)
{
	struct state *state = sample_state();
	struct slot_policy changed = slot_of("join", 1, 0, 1 * M);

	ck_assert_uint_eq(state->n_slots, 3);
	ck_assert_str_eq(state->slots[0].policy.name, "ingest");
	ck_assert_str_eq(state->slots[1].policy.name, "join");
	ck_assert_str_eq(state->slots[2].policy.name, "sink");
	ck_assert_int_eq(state_put(state, &changed), 0);
	ck_assert_uint_eq(state->n_slots, 3);
	check_policy(&state_find(state, "join")->policy, &changed);
	ck_assert_ptr_null(state_find(state, "joi"));
	state_remove(state, "none");
	state_remove(state, "ingest");
	state_remove(state, "sink");
	ck_assert_uint_eq(state->n_slots, 1);
	ck_assert_str_eq(state->slots[0].policy.name, "join");
	state_free(state);
	state_free(NULL);
}
END_TEST

START_TEST(slots_come_and_go_in_any_order)
{
	struct state *state = state_new();
	bool is_there[100] = {};
	size_t n = 0;

	srandom(1);
	for (int i = 0; i < 20000; i++) {
		int k = (int)(random() % 100);
		struct slot_policy p;
		char name[8];

		snprintf(name, sizeof(name), "s%d", k);
		p = slot_of(name, 0, 0, 1 * M);
		if (random() % 100 < (i / 1000 % 2 ? 70 : 30)) { /* waves of growth */
			ck_assert_int_eq(state_put(state, &p), 0);
			n += !is_there[k];
			is_there[k] = true;
		} else {
			state_remove(state, name);
			n -= is_there[k];
			is_there[k] = false;
		}
		if (state->n_slots != n || !!state_find(state, name) != is_there[k])
			ck_abort_msg("after %d changes", i);
		for (size_t j = 1; j < n; j++)
			if (strcmp(state->slots[j - 1].policy.name, state->slots[j].policy.name) >=
			    0)
				ck_abort_msg("not sorted after %d changes", i);
	}
	state_free(state);
}
END_TEST

START_TEST(what_is_encoded_decodes_to_the_same)
{
	struct state *state = sample_state(), *back;
	char *text, *again;
	size_t len, len_again;

	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	ck_assert_int_eq(strncmp(text, "taskmem-state 1 ", 16), 0);
	ck_assert_uint_eq(strlen(text), len);
	ck_assert_int_eq(state_decode(text, len, &back, error), STATE_OK);
	ck_assert_uint_eq(back->n_slots, 3);
	for (size_t i = 0; i < 3; i++) {
		check_policy(&back->slots[i].policy, &state->slots[i].policy);
		ck_assert_ptr_null(back->slots[i].extra);
	}
	ck_assert_int_eq(state_encode(back, &again, &len_again), 0);
	ck_assert_str_eq(again, text);
	state_free(state);
	state_free(back);
	free(text);
	free(again);

	/* nothing at all is a state as well */
	state = state_new();
	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	ck_assert_int_eq(state_decode(text, len, &back, error), STATE_OK);
	ck_assert_uint_eq(back->n_slots, 0);
	state_free(state);
	state_free(back);
	free(text);
}
END_TEST

START_TEST(every_truncation_and_every_extension_is_noticed)
{
	struct state *state = sample_state(), *back = NULL;
	char *text;
	size_t len;

	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		char *part = malloc(cut + 1); /* exact, so that a sanitizer sees reads past it */
		char *exact;

		memcpy(part, text, cut);
		exact = realloc(part, cut ? cut : 1);
		ck_assert_msg(state_decode(exact, cut, &back, error) == STATE_TORN, "cut after %zu",
			      cut);
		ck_assert_int_ne(error[0], 0);
		free(exact);
	}
	for (size_t more = 1; more < 10; more++) {
		char *longer = calloc(1, len + more);

		memcpy(longer, text, len);
		memset(longer + len, more % 2 ? '\n' : 'x', more);
		ck_assert_int_eq(state_decode(longer, len + more, &back, error), STATE_TORN);
		free(longer);
	}
	ck_assert_ptr_null(back);
	state_free(state);
	free(text);
}
END_TEST

START_TEST(every_flipped_bit_is_noticed)
{
	struct state *state = sample_state(), *back = NULL;
	unsigned seen[STATE_NEWER + 1] = {};
	char *text;
	size_t len;

	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	for (size_t bit = 0; bit < len * 8; bit++) {
		int r;

		text[bit / 8] ^= (char)(1 << bit % 8);
		r = state_decode(text, len, &back, error);
		if (r <= STATE_OK || r > STATE_NEWER || r == STATE_ABSENT)
			ck_abort_msg("bit %zu: %d", bit, r);
		seen[r]++;
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	ck_assert_ptr_null(back);
	ck_assert_uint_gt(seen[STATE_TORN], 0);
	ck_assert_uint_gt(seen[STATE_FOREIGN], 0);
	ck_assert_uint_gt(seen[STATE_NEWER], 0); /* "1" becomes "3", "5", "9" */
	state_free(state);
	free(text);
}
END_TEST

START_TEST(a_later_format_is_told_from_a_broken_file)
{
	static const char newer[] = "taskmem-state 2 something else altogether\n";
	static const char zero[] = "taskmem-state 0 00000000 0\n";
	static const char foreign[] = "{\"slots\":[]}\n";
	struct state *back = NULL;

	ck_assert_int_eq(state_decode(newer, strlen(newer), &back, error), STATE_NEWER);
	ck_assert_str_eq(error, "it has format 2, this version knows 1");
	ck_assert_int_eq(state_decode(zero, strlen(zero), &back, error), STATE_FOREIGN);
	ck_assert_int_eq(state_decode(foreign, strlen(foreign), &back, error), STATE_FOREIGN);
	ck_assert_str_eq(error, "it does not begin with \"taskmem-state \"");
	ck_assert_ptr_null(back);
}
END_TEST

#define SLOT(more)                                                                          \
	"{\"name\":\"a\",\"owner\":7,\"node\":null,\"weight\":5,\"tier\":0,\"minBytes\":0," \
	"\"maxBytes\":null,\"poolMinBytes\":0,\"poolMaxBytes\":0" more "}"

START_TEST(unknown_fields_survive_a_rewrite)
{
	static const char body[] =
		"{\"slots\":[" SLOT(",\"colour\":{\"red\":1}") "],\"later\":[1,2]}";
	struct slot_policy changed = slot_of("a", 0, 0, 1 * M);
	struct state *state, *copy;
	char *text;
	size_t len;

	ck_assert_int_eq(decode_body(body, &state), STATE_OK);
	ck_assert_uint_eq(state->n_slots, 1);
	ck_assert_int_eq(state->slots[0].policy.node, NODE_ANY);
	ck_assert_int_eq(state_put(state, &changed), 0);
	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	ck_assert_ptr_nonnull(strstr(text, "\"colour\":{\"red\":1}"));
	ck_assert_ptr_nonnull(strstr(text, "\"later\":[1,2]"));
	ck_assert_ptr_nonnull(strstr(text, "\"weight\":300"));
	ck_assert_ptr_null(strstr(text, "\"weight\":5,"));
	free(text);
	copy = state_clone(state);
	ck_assert_ptr_nonnull(copy);
	state_remove(state, "a");
	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	ck_assert_ptr_null(strstr(text, "colour"));
	free(text);
	ck_assert_int_eq(state_encode(copy, &text, &len), 0);
	ck_assert_ptr_nonnull(strstr(text, "\"colour\":{\"red\":1}"));
	ck_assert_ptr_nonnull(strstr(text, "\"later\":[1,2]"));
	state_free(copy);
	free(text);
	state_free(state);
}
END_TEST

START_TEST(content_that_makes_no_sense_is_foreign_in_spite_of_its_checksum)
{
	static const struct {
		const char *body, *error;
	} rows[] = {
		{ "", "its body is not JSON" },
		{ "{", "its body is not JSON" },
		{ "[]", "its body is no JSON object" },
		{ "{}", "it has no list of slots" },
		{ "{\"slots\":{}}", "it has no list of slots" },
		{ "{\"slots\":[7]}", "a slot is no JSON object" },
		{ "{\"slots\":[" SLOT() "," SLOT() "]}", "slot a is there twice" },
	};
	struct state *back = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(decode_body(rows[i].body, &back), STATE_FOREIGN);
		ck_assert_str_eq(error, rows[i].error);
	}
	ck_assert_ptr_null(back);
}
END_TEST

START_TEST(a_policy_makes_the_round_trip_through_json)
{
	struct slot_policy rows[] = {
		slot_of("ingest", 0, 64 * M, 256 * M),
		slot_of("any", NODE_ANY, 0, BYTES_UNLIMITED),
		slot_of("big", 63, (UINT64_C(1) << 53) + 1, UINT64_C(1) << 61),
	};

	rows[0].owner = 0;
	strcpy(rows[0].on_resize, "/bin/a \"b c\" '\\'");
	rows[2].owner = 4294967294;
	rows[1].mode = SLOT_SAVE;
	rows[2].mode = SLOT_DRY_RUN;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slot_policy back;
		char *text;

		ck_assert_int_eq(slot_policy_to_json(&rows[i], &text), 0);
		ck_assert_ptr_null(strchr(text, '\n'));
		ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
		check_policy(&back, &rows[i]);
		free(text);
	}
}
END_TEST

START_TEST(a_policy_without_a_mode_is_one_of_an_older_version)
{
	static const char older[] =
		"{\"name\":\"a\",\"owner\":7,\"node\":0,\"weight\":5,\"tier\":1,\"minBytes\":0,"
		"\"maxBytes\":null,\"poolMinBytes\":0,\"poolMaxBytes\":0%s}";
	static const struct {
		const char *more;
		int result;
		enum slot_mode mode;
	} rows[] = {
		{ "", 0, SLOT_SHARE },
		{ ",\"mode\":\"off\"", 0, SLOT_OFF },
		{ ",\"mode\":\"dry-run\"", 0, SLOT_DRY_RUN },
		{ ",\"mode\":\"fast\"", -EINVAL, 0 },
		{ ",\"mode\":1", -EINVAL, 0 },
		{ ",\"revoke\":\"force\"", 0, SLOT_SHARE },
		{ ",\"revoke\":\"gently\"", -EINVAL, 0 },
		{ ",\"revokeDeadlineMsec\":99", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slot_policy policy = {};
		char text[300];

		(void)snprintf(text, sizeof(text), older, rows[i].more);
		ck_assert_int_eq(slot_policy_from_json(text, &policy, error), rows[i].result);
		ck_assert_int_eq(policy.mode, rows[i].mode);
	}
}
END_TEST

/* The sample with one field's value replaced; NULL removes the field. */
static char *sample_with(const char *field, const char *value)
{
	static const char *const fields[][2] = {
		{ "name", "\"a\"" },
		{ "owner", "7" },
		{ "node", "0" },
		{ "weight", "5" },
		{ "tier", "1" },
		{ "minBytes", "1048576" },
		{ "maxBytes", "2097152" },
		{ "poolMinBytes", "0" },
		{ "poolMaxBytes", "2097152" },
		{ "onResize", "\"/bin/true\"" },
		{ "nodeAuto", "false" },
	};
	static char text[512];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		bool is_it = field && strcmp(field, fields[i][0]) == 0;

		if (is_it && !value)
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\"%s\":%s",
					len ? "," : "{", fields[i][0],
					is_it ? value : fields[i][1]);
	}
	snprintf(text + len, sizeof(text) - len, "}");
	return text;
}

START_TEST(need_and_grant_make_the_round_trip_and_may_be_absent)
{
	struct slot_policy p = slot_of("a", 0, 0, 256 * M), back;
	char *text = NULL;

	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_ptr_null(strstr(text, "need")); /* as earlier versions wrote it */
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
	check_policy(&p, &back);
	free(text);
	p.need_bytes = 300 * M;
	p.grant_bytes = 70 * M;
	p.is_need_predicted = true;
	strcpy(p.request_id, "job-7/3!");
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
	check_policy(&p, &back);
	free(text);
	p.grant_bytes = 301 * M; /* more than needed */
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), -EINVAL);
	free(text);
	p.grant_bytes = 0;
	strcpy(p.request_id, "two words");
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), -EINVAL);
	free(text);
}
END_TEST

START_TEST(a_node_that_was_chosen_is_remembered_as_such)
{
	struct slot_policy p = slot_of("a", 0, 0, 256 * M), back;
	char *text = NULL;

	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_ptr_null(strstr(text, "nodeAuto")); /* as earlier versions wrote it */
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
	ck_assert(!back.is_node_auto);
	free(text);
	p.is_node_auto = true;
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
	ck_assert(back.is_node_auto);
	free(text);
}
END_TEST

START_TEST(the_pages_of_a_pool_are_remembered)
{
	struct slot_policy p = slot_of("a", 0, 0, 256 * M), back;
	char *text = NULL;

	p.pool_min_bytes = p.pool_max_bytes = 1024 * M;
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_ptr_null(strstr(text, "poolGigantic")); /* as earlier versions wrote it */
	free(text);
	p.is_gigantic = true;
	ck_assert_int_eq(slot_policy_to_json(&p, &text), 0);
	ck_assert_int_eq(slot_policy_from_json(text, &back, error), 0);
	ck_assert(back.is_gigantic);
	free(text);
}
END_TEST

START_TEST(a_policy_from_json_is_never_trusted)
{
	static const struct {
		const char *field, *value, *error;
	} rows[] = {
		{ "name", NULL, "field name is missing, no string or too long" },
		{ "name", "7", "field name is missing, no string or too long" },
		{ "name", "\"../../etc\"",
		  "a slot's name has 1 to 63 of the characters a-z 0-9 . _ - and begins with a "
		  "letter or digit" },
		{ "name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
		  "field name is missing, no string or too long" },
		{ "owner", NULL, "field owner is missing" },
		{ "owner", "null", "field owner is no whole number" },
		{ "owner", "-1", "field owner is no whole number" },
		{ "owner", "4294967295", "field owner is above 4294967294" },
		{ "owner", "\"0\"", "field owner is no whole number" },
		{ "owner", "0.5", "field owner is no whole number" },
		{ "node", NULL, "field node is missing" },
		{ "node", "64", "field node is above 63" },
		{ "node", "-1", "field node is no whole number" },
		{ "nodeAuto", "1", "field nodeAuto is not true or false" },
		{ "weight", "0", "weight=0: weights are 1 to 10000" },
		{ "weight", "10001", "field weight is above 10000" },
		{ "weight", "1.5", "field weight is no whole number" },
		{ "tier", "4", "field tier is above 3" },
		{ "minBytes", "null", "field minBytes is no whole number" },
		{ "minBytes", "3000000", "min=3000000 is above max=2M: raise max or lower min" },
		{ "minBytes", "18446744073709551615",
		  "field minBytes is above 2305843009213693952" },
		{ "maxBytes", "18446744073709551616", "field maxBytes is no whole number" },
		{ "poolMinBytes", "1048576",
		  "pool=1M is not a multiple of 2M, the size of a huge page" },
		{ "poolMinBytes", "4194304",
		  "pool=4M is above pool-max=2M: raise pool-max or lower pool" },
		{ "poolMaxBytes", "true", "field poolMaxBytes is no whole number" },
		{ "onResize", "true", "field onResize is no string or too long" },
		{ "onResize", "\"a b\"",
		  "a command begins with an absolute path, such as /usr/bin/jcmd (there is no shell)" },
	};
	struct slot_policy p;

	ck_assert_int_eq(slot_policy_from_json(sample_with(NULL, NULL), &p, error), 0);
	ck_assert_int_eq(slot_policy_from_json(sample_with("maxBytes", "null"), &p, error), 0);
	ck_assert_uint_eq(p.max_bytes, BYTES_UNLIMITED);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = sample_with(rows[i].field, rows[i].value);

		p.name[0] = '!'; /* untouched on failure */
		ck_assert_msg(slot_policy_from_json(text, &p, error) == -EINVAL, "%s", text);
		ck_assert_str_eq(error, rows[i].error);
		ck_assert_int_eq(p.name[0], '!');
	}
	ck_assert_int_eq(slot_policy_from_json("", &p, error), -EINVAL);
	ck_assert_int_eq(slot_policy_from_json("[1]", &p, error), -EINVAL);
	ck_assert_int_eq(slot_policy_from_json("{\"name\":", &p, error), -EINVAL);
	ck_assert_str_eq(error, "not JSON");
}
END_TEST

START_TEST(a_policy_from_json_is_of_bounded_length)
{
	static char text[SLOT_POLICY_JSON_MAX + 2];
	struct slot_policy p;

	memset(text, ' ', sizeof(text) - 1);
	memcpy(text, SLOT(), strlen(SLOT()));
	ck_assert_int_eq(slot_policy_from_json(text, &p, error), -EINVAL);
	ck_assert_str_eq(error, "longer than 4096 bytes");
	text[SLOT_POLICY_JSON_MAX] = 0;
	ck_assert_int_eq(slot_policy_from_json(text, &p, error), 0);
}
END_TEST

/* ---------------------------------------------------------------- files */

static char dir_path[64];
static int dir_fd;

static void setup(void)
{
	strcpy(dir_path, "/tmp/test-state-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir_path));
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	while ((entry = readdir(dir)))
		(void)unlinkat(dir_fd, entry->d_name, 0);
	closedir(dir);
	close(dir_fd);
	rmdir(dir_path);
}

START_TEST(a_saved_state_is_loaded_again)
{
	struct state *state, *saved = sample_state();

	ck_assert_int_eq(state_load(dir_fd, &state, error), STATE_ABSENT);
	ck_assert_uint_eq(state->n_slots, 0);
	state_free(state);
	ck_assert_int_eq(state_save(dir_fd, saved), 0);
	ck_assert_int_eq(state_load(dir_fd, &state, error), STATE_OK);
	ck_assert_uint_eq(state->n_slots, 3);
	check_policy(&state->slots[2].policy, &saved->slots[2].policy);
	state_free(state);
	state_free(saved);
}
END_TEST

START_TEST(bad_files_are_set_aside_one_beside_the_other)
{
	static const char first[] = "hello", second[] = "taskmem-state 1 0000";
	struct state *state;
	char buf[64];

	ck_assert_int_eq(file_replace(dir_fd, STATE_FILE, first, strlen(first), 0600), 0);
	ck_assert_int_eq(state_load(dir_fd, &state, error), STATE_FOREIGN);
	ck_assert_str_eq(error, "state.json cannot be used: it does not begin with "
				"\"taskmem-state \"; it is kept as state.json.bad-1");
	ck_assert_uint_eq(state->n_slots, 0);
	state_free(state);
	ck_assert_int_eq(file_replace(dir_fd, STATE_FILE, second, strlen(second), 0600), 0);
	ck_assert_int_eq(state_load(dir_fd, &state, error), STATE_TORN);
	ck_assert_ptr_nonnull(strstr(error, "kept as state.json.bad-2"));
	ck_assert_int_eq(state_save(dir_fd, state), 0);
	state_free(state);

	ck_assert_int_eq(file_read_small(dir_fd, "state.json.bad-1", buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, first);
	ck_assert_int_eq(file_read_small(dir_fd, "state.json.bad-2", buf, sizeof(buf)), 20);
	ck_assert_str_eq(buf, second);
	ck_assert_int_eq(state_load(dir_fd, &state, error), STATE_OK);
	state_free(state);
}
END_TEST

START_TEST(mutated_bodies_with_a_right_checksum_are_refused_or_sound)
{
	struct state *state = sample_state();
	unsigned accepted = 0;
	char *text, *body;
	size_t len;

	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	body = strchr(text, '\n') + 1;
	srandom(1);
	for (int i = 0; i < 10000; i++) {
		char *mutant = strdup(body);
		struct state *back = NULL;
		int r;

		for (long n = random() % 4; n >= 0; n--) {
			size_t at = (size_t)random() % (strlen(mutant) + 1);

			if (!mutant[at])
				continue;
			if (random() % 2)
				mutant[at] = "{}[]\",:0129-e.\\ntu"[random() % 18];
			else
				memmove(mutant + at, mutant + at + 1, strlen(mutant + at));
		}
		r = decode_body(mutant, &back);
		ck_assert(r == STATE_OK || r == STATE_FOREIGN);
		if (r == STATE_OK) {
			char *again;

			accepted++;
			for (size_t j = 0; j < back->n_slots; j++) {
				const struct slot_policy *p = &back->slots[j].policy;

				ck_assert(p->min_bytes <= p->max_bytes && p->tier < TIERS);
				ck_assert(p->weight >= WEIGHT_MIN && p->weight <= WEIGHT_MAX);
			}
			ck_assert_int_eq(state_encode(back, &again, &len), 0);
			free(again);
			state_free(back);
		}
		r = slot_policy_from_json(mutant, &(struct slot_policy){}, error);
		ck_assert(r == 0 || r == -EINVAL);
		free(mutant);
	}
	ck_assert_uint_gt(accepted, 100);
	ck_assert_uint_lt(accepted, 9000);
	free(text);
	state_free(state);
}
END_TEST

START_TEST(ten_thousand_slots_are_encoded_and_decoded)
{
	struct state *state = state_new(), *back;
	char *text, name[16];
	size_t len;

	for (int i = 0; i < SLOTS_MAX; i++) {
		struct slot_policy p;

		snprintf(name, sizeof(name), "s%05d", i);
		p = slot_of(name, 0, 0, BYTES_UNLIMITED);
		ck_assert_int_eq(state_put(state, &p), 0);
	}
	ck_assert_int_eq(state_encode(state, &text, &len), 0);
	ck_assert_int_eq(state_decode(text, len, &back, error), STATE_OK);
	ck_assert_uint_eq(back->n_slots, SLOTS_MAX);
	state_free(state);
	state_free(back);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("state");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, put_find_and_remove_keep_the_slots_sorted);
	tcase_add_test(tc, slots_come_and_go_in_any_order);
	tcase_add_test(tc, what_is_encoded_decodes_to_the_same);
	tcase_add_test(tc, every_truncation_and_every_extension_is_noticed);
	tcase_add_test(tc, every_flipped_bit_is_noticed);
	tcase_add_test(tc, a_later_format_is_told_from_a_broken_file);
	tcase_add_test(tc, unknown_fields_survive_a_rewrite);
	tcase_add_test(tc, content_that_makes_no_sense_is_foreign_in_spite_of_its_checksum);
	tcase_add_test(tc, a_policy_makes_the_round_trip_through_json);
	tcase_add_test(tc, a_node_that_was_chosen_is_remembered_as_such);
	tcase_add_test(tc, the_pages_of_a_pool_are_remembered);
	tcase_add_test(tc, need_and_grant_make_the_round_trip_and_may_be_absent);
	tcase_add_test(tc, a_policy_without_a_mode_is_one_of_an_older_version);
	tcase_add_test(tc, a_policy_from_json_is_never_trusted);
	tcase_add_test(tc, a_policy_from_json_is_of_bounded_length);
	tcase_add_test(tc, a_saved_state_is_loaded_again);
	tcase_add_test(tc, bad_files_are_set_aside_one_beside_the_other);
	tcase_add_test(tc, mutated_bodies_with_a_right_checksum_are_refused_or_sound);
	tcase_add_test(tc, ten_thousand_slots_are_encoded_and_decoded);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
