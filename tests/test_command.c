/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/command.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static struct command command;
static char error[COMMAND_ERROR_MAX];

START_TEST(a_command_is_split_into_words)
{
	static const struct {
		const char *text;
		const char *words[5];
	} rows[] = {
		{ "/bin/true", { "/bin/true" } },
		{ "  /bin/a \t b  ", { "/bin/a", "b" } },
		{ "/bin/a 'b c' \"d 'e\" ''", { "/bin/a", "b c", "d 'e", "" } },
		{ "/bin/a x'y z'w", { "/bin/a", "xy zw" } },
		{ "'/opt/my tools/a' $TASKMEM_SLOT ${X} | >",
		  { "/opt/my tools/a", "$TASKMEM_SLOT", "${X}", "|", ">" } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = 0;

		ck_assert_int_eq(command_parse(rows[i].text, &command, error), 0);
		for (; n < 5 && rows[i].words[n]; n++)
			ck_assert_str_eq(command.words[n], rows[i].words[n]);
		ck_assert_uint_eq(command.n_words, n);
		ck_assert_ptr_null(command.words[n]);
	}
}
END_TEST

START_TEST(what_is_no_command_is_refused_with_the_reason)
{
	static const struct {
		const char *text, *part;
	} rows[] = {
		{ "", "absolute path" },
		{ "   ", "absolute path" },
		{ "jcmd 1", "absolute path" },
		{ "'' /bin/a", "absolute path" },
		{ "/bin/a 'b", "quote" },
		{ "/bin/a\n/bin/b", "one line" },
		{ "/bin/a \033[2J", "one line" },
		{ "/a 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2",
		  "32 words" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(command_parse(rows[i].text, &command, error), -EINVAL);
		ck_assert_msg(strstr(error, rows[i].part), "\"%s\": %s", rows[i].text, error);
	}
}
END_TEST

START_TEST(the_longest_command_fits)
{
	char text[ON_RESIZE_MAX + 2];

	memset(text, 'x', sizeof(text));
	text[0] = '/';
	text[ON_RESIZE_MAX] = 0;
	ck_assert_int_eq(command_parse(text, &command, error), 0);
	ck_assert_str_eq(command.words[0], text);
	text[ON_RESIZE_MAX] = 'x';
	text[ON_RESIZE_MAX + 1] = 0;
	ck_assert_int_eq(command_parse(text, &command, error), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command");
	TCase *tc = tcase_create("parse");

	tcase_add_test(tc, a_command_is_split_into_words);
	tcase_add_test(tc, what_is_no_command_is_refused_with_the_reason);
	tcase_add_test(tc, the_longest_command_fits);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
