/* SPDX-License-Identifier: Apache-2.0 */

/* key=value words and suggestions: what is sent for good ones, what is said about bad ones. */

#undef NDEBUG

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "base/fd.h"
#include "nearest.h"
#include "suite.h"

#define WORDS(...) ((char *const[]){ __VA_ARGS__, NULL })

static size_t count(char *const words[])
{
	size_t n = 0;

	while (words[n])
		n++;
	return n;
}

static void expect(enum assign_verb verb, const char *name, char *const words[], const char *json)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	CLEANUP(freep) char *text = NULL;
	char error[ASSIGN_ERROR_MAX] = "";
	int r = assign_words(verb, name, words, count(words), &params, error);

	ck_assert_str_eq(error, "");
	ck_assert_int_eq(r, 0);
	ck_assert_int_ge(sd_json_variant_format(params, 0, &text), 0);
	ck_assert_str_eq(text, json);
}

static void expect_error(enum assign_verb verb, const char *name, char *const words[],
			 const char *message)
{
	sd_json_variant *params = NULL;
	char error[ASSIGN_ERROR_MAX] = "";
	int r = assign_words(verb, name, words, count(words), &params, error);

	ck_assert_int_eq(r, -EINVAL);
	ck_assert_ptr_null(params);
	ck_assert_str_eq(error, message);
}

START_TEST(a_command_is_sent_as_it_is)
{
	expect(ASSIGN_SET, "jvm", WORDS("on-resize=/usr/bin/jcmd 1 x=$TASKMEM_TARGET_BYTES 'a b'"),
	       "{\"name\":\"jvm\",\"onResize\":\"/usr/bin/jcmd 1 x=$TASKMEM_TARGET_BYTES 'a b'\"}");
	expect(ASSIGN_SET, "jvm", WORDS("on-resize=none"), "{\"name\":\"jvm\",\"onResize\":\"\"}");
	expect(ASSIGN_ADD, "jvm", WORDS("on-resize=none"), "{\"name\":\"jvm\"}");
	expect_error(
		ASSIGN_SET, "jvm", WORDS("on-resize=jcmd 1"),
		"on-resize=jcmd 1: \"jcmd 1\" is not right; on-resize is the absolute path of a "
		"program with its arguments, or \"none\"");
}
END_TEST

START_TEST(every_key_becomes_its_parameter)
{
	expect(ASSIGN_ADD, "ingest",
	       WORDS("node=1", "weight=300", "tier=0", "min=64M", "max=1.5G", "pool=4M",
		     "pool-max=8M", "owner=1000"),
	       "{\"name\":\"ingest\",\"node\":1,\"weight\":300,\"tier\":0,\"minBytes\":67108864,"
	       "\"maxBytes\":1610612736,\"poolMinBytes\":4194304,\"poolMaxBytes\":8388608,"
	       "\"owner\":1000}");
	expect(ASSIGN_SET, "ingest", WORDS("mode=dry-run"),
	       "{\"name\":\"ingest\",\"mode\":\"dry-run\"}");
	expect(ASSIGN_SET, "ingest", WORDS("revoke=force", "revoke-deadline=1.5s"),
	       "{\"name\":\"ingest\",\"revoke\":\"force\",\"revokeDeadlineUsec\":1500000}");
	expect(ASSIGN_SET, "ingest", WORDS("revoke=default", "revoke-deadline=default"),
	       "{\"name\":\"ingest\",\"revoke\":\"default\",\"revokeDeadlineUsec\":0}");
	expect(ASSIGN_SET, "ingest", WORDS("weight=1"), "{\"name\":\"ingest\",\"weight\":1}");
	expect(ASSIGN_ADD, "a", WORDS("owner=root"), "{\"name\":\"a\",\"owner\":0}");
}
END_TEST

START_TEST(any_node_and_no_cap_have_fields_of_their_own)
{
	expect(ASSIGN_ADD, "a", WORDS("node=any"), "{\"name\":\"a\",\"anyNode\":true}");
	expect(ASSIGN_ADD, "a", WORDS("node=auto"), "{\"name\":\"a\"}");
	expect(ASSIGN_MOVE, "a", WORDS("node=auto"), "{\"name\":\"a\"}");
	expect(ASSIGN_MOVE, "a", WORDS("node=any"), "{\"name\":\"a\",\"anyNode\":true}");
	expect(ASSIGN_MOVE, "a", WORDS("node=3"), "{\"name\":\"a\",\"node\":3}");
	expect(ASSIGN_ADD, "a", WORDS("max=max"), "{\"name\":\"a\"}");
	expect(ASSIGN_SET, "a", WORDS("max=max"), "{\"name\":\"a\",\"uncapped\":true}");
}
END_TEST

START_TEST(add_completes_the_pool_and_set_does_not)
{
	expect(ASSIGN_ADD, "a", WORDS("pool=2M"),
	       "{\"name\":\"a\",\"poolMinBytes\":2097152,\"poolMaxBytes\":2097152}");
	expect(ASSIGN_ADD, "a", WORDS("pool-max=2M"),
	       "{\"name\":\"a\",\"poolMinBytes\":0,\"poolMaxBytes\":2097152}");
	expect(ASSIGN_SET, "a", WORDS("pool=2M"), "{\"name\":\"a\",\"poolMinBytes\":2097152}");
}
END_TEST

START_TEST(an_error_names_the_word_the_value_and_the_right_form)
{
	expect_error(
		ASSIGN_SET, "a", WORDS("weight=0"),
		"weight=0: \"0\" is not right; weight is a number from 1 to 10000; the default "
		"is 100");
	expect_error(
		ASSIGN_SET, "a", WORDS("weight=10001"),
		"weight=10001: \"10001\" is not right; weight is a number from 1 to 10000; the "
		"default is 100");
	expect_error(ASSIGN_SET, "a", WORDS("tier=4"),
		     "tier=4: \"4\" is not right; tier is a number from 0 (served first) to 3; the "
		     "default is 1");
	expect_error(ASSIGN_SET, "a", WORDS("mode=fast"),
		     "mode=fast: \"fast\" is not right; mode is share, off, save or dry-run");
	expect_error(ASSIGN_SET, "a", WORDS("revoke=now"),
		     "revoke=now: \"now\" is not right; revoke is wait, force, kill or default");
	expect_error(ASSIGN_SET, "a", WORDS("revoke-deadline=99ms"),
		     "revoke-deadline=99ms: \"99ms\" is not right; revoke-deadline is a time from "
		     "100ms to 1h, such as 5s, or \"default\"");
	expect_error(ASSIGN_SET, "a", WORDS("min=2MB"),
		     "min=2MB: \"2MB\" is not right; min is a size such as 300M or 1.5G");
	expect_error(ASSIGN_SET, "a", WORDS("min=max"),
		     "min=max: \"max\" is not right; min is a size such as 300M or 1.5G");
	expect_error(
		ASSIGN_SET, "a", WORDS("pool=3M"),
		"pool=3M: \"3M\" is not right; pool is a size that is a multiple of 2M, such as "
		"64M");
	expect_error(ASSIGN_ADD, "a", WORDS("node=64"),
		     "node=64: \"64\" is not right; node is a NUMA node (0, 1, ...), \"auto\" "
		     "or \"any\"");
	expect_error(ASSIGN_ADD, "a", WORDS("owner=no such user"),
		     "owner=no such user: \"no such user\" is not right; owner is a user's name or "
		     "number");
	expect_error(
		ASSIGN_ADD, "a", WORDS("owner=4294967295"),
		"owner=4294967295: \"4294967295\" is not right; owner is a user's name or number");
}
END_TEST

START_TEST(a_missing_value_and_a_double_key_are_refused)
{
	expect_error(
		ASSIGN_SET, "a", WORDS("weight"),
		"weight: the value is missing; weight is a number from 1 to 10000; the default is "
		"100");
	expect_error(
		ASSIGN_SET, "a", WORDS("max="),
		"max=: the value is missing; max is a size such as 300M or 1.5G, or \"max\" for "
		"no cap");
	expect_error(ASSIGN_SET, "a", WORDS("tier=1", "tier=2"),
		     "tier=2: tier is given twice, first as tier=1");
	expect_error(ASSIGN_SET, "a", WORDS("node=1"),
		     "node=1: to change the node of a slot use \"tmctl move\"");
	expect_error(ASSIGN_MOVE, "a", WORDS("weight=1"),
		     "weight=1: a move has one key, node=N, node=auto or node=any");
	expect_error(ASSIGN_MOVE, "a", WORDS("node="),
		     "node=: the value is missing; node is a NUMA node (0, 1, ...), \"auto\" or "
		     "\"any\"");
}
END_TEST

START_TEST(a_guarantee_above_its_cap_is_refused)
{
	expect_error(ASSIGN_ADD, "a", WORDS("min=2G", "max=1G"),
		     "min=2G max=1G: min may not be larger than max");
	expect_error(ASSIGN_SET, "a", WORDS("pool-max=2M", "pool=4M"),
		     "pool=4M pool-max=2M: pool may not be larger than pool-max");
	expect(ASSIGN_SET, "a", WORDS("min=1G", "max=1G"),
	       "{\"name\":\"a\",\"minBytes\":1073741824,\"maxBytes\":1073741824}");
}
END_TEST

START_TEST(an_unknown_key_suggests_the_nearest)
{
	expect_error(ASSIGN_SET, "a", WORDS("wieght=3"),
		     "wieght=3: there is no key \"wieght\"; did you mean \"weight\"?");
	expect_error(ASSIGN_SET, "a", WORDS("poolmax=4M"),
		     "poolmax=4M: there is no key \"poolmax\"; did you mean \"pool-max\"?");
	expect_error(
		ASSIGN_SET, "a", WORDS("colour=red"),
		"colour=red: there is no key \"colour\"; the keys are weight tier min max pool "
		"pool-max mode on-resize revoke revoke-deadline owner need");
	expect_error(
		ASSIGN_ADD, "a", WORDS("=red"),
		"=red: there is no key \"\"; the keys are node weight tier min max pool pool-max "
		"mode on-resize revoke revoke-deadline owner need min-grant");
	expect_error(ASSIGN_SET, "a", WORDS("min-grant=4M"),
		     "min-grant=4M: a need that is set is granted in full or not at all");
	expect_error(ASSIGN_ADD, "a", WORDS("need=4M", "min-grant=5M"),
		     "min-grant=5M need=4M: min-grant may not be larger than need");
}
END_TEST

START_TEST(a_name_is_checked_when_a_slot_is_added)
{
	char name[65];

	expect_error(
		ASSIGN_ADD, "Ingest", WORDS("tier=1"),
		"\"Ingest\" cannot name a slot: 1 to 63 of a-z 0-9 . _ - with a letter or digit "
		"first");
	expect_error(
		ASSIGN_ADD, ".a", WORDS("tier=1"),
		"\".a\" cannot name a slot: 1 to 63 of a-z 0-9 . _ - with a letter or digit first");
	expect_error(ASSIGN_ADD, "weight=1", WORDS("a"),
		     "weight=1: the slot's name comes first, then key=value");
	memset(name, 'a', sizeof(name));
	name[64] = '\0';
	expect_error(ASSIGN_ADD, name, WORDS("tier=1"),
		     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" "
		     "cannot name a "
		     "slot: 1 to 63 of a-z 0-9 . _ - with a letter or digit first");
	expect(ASSIGN_ADD, "0.a_b-c", WORDS("tier=1"), "{\"name\":\"0.a_b-c\",\"tier\":1}");
}
END_TEST

START_TEST(a_long_word_does_not_overrun_the_message)
{
	char word[2000] = "weight=";
	char error[ASSIGN_ERROR_MAX + 1];
	sd_json_variant *params = NULL;
	char *words[] = { word };

	memset(word + 7, '9', sizeof(word) - 8);
	error[ASSIGN_ERROR_MAX] = '#';
	ck_assert_int_eq(assign_words(ASSIGN_SET, "a", words, 1, &params, error), -EINVAL);
	ck_assert_int_eq(error[ASSIGN_ERROR_MAX], '#');
	ck_assert_uint_lt(strlen(error), ASSIGN_ERROR_MAX);
	word[7] = 'x';
	memset(word, 'x', 100);
	ck_assert_int_eq(assign_words(ASSIGN_SET, "a", words, 1, &params, error), -EINVAL);
	ck_assert_uint_lt(strlen(error), ASSIGN_ERROR_MAX);
}
END_TEST

START_TEST(a_parameter_is_called_by_its_key)
{
	ck_assert_str_eq(assign_key_of_field("poolMaxBytes"), "pool-max");
	ck_assert_str_eq(assign_key_of_field("elsewhere"), "elsewhere");
}
END_TEST

START_TEST(nearest_word_finds_typing_errors_and_beginnings_only)
{
	static const char *const verbs[] = { "add", "set", "rm", "list", "show", "events", NULL };

	ck_assert_str_eq(nearest_word("lsit", verbs), "list");
	ck_assert_str_eq(nearest_word("ev", verbs), "events");
	ck_assert_str_eq(nearest_word("ad", verbs), "add");
	ck_assert_ptr_null(nearest_word("xy", verbs));
	ck_assert_ptr_null(nearest_word("", verbs));
	ck_assert_ptr_null(nearest_word("remove-everything-that-is-there-now", verbs));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("assign");
	TCase *words = tcase_create("words");

	tcase_add_test(words, a_command_is_sent_as_it_is);
	tcase_add_test(words, every_key_becomes_its_parameter);
	tcase_add_test(words, any_node_and_no_cap_have_fields_of_their_own);
	tcase_add_test(words, add_completes_the_pool_and_set_does_not);
	tcase_add_test(words, an_error_names_the_word_the_value_and_the_right_form);
	tcase_add_test(words, a_missing_value_and_a_double_key_are_refused);
	tcase_add_test(words, a_guarantee_above_its_cap_is_refused);
	tcase_add_test(words, an_unknown_key_suggests_the_nearest);
	tcase_add_test(words, a_name_is_checked_when_a_slot_is_added);
	tcase_add_test(words, a_long_word_does_not_overrun_the_message);
	tcase_add_test(words, a_parameter_is_called_by_its_key);
	tcase_add_test(words, nearest_word_finds_typing_errors_and_beginnings_only);
	suite_add_tcase(suite, words);
	return suite_run(suite);
}
