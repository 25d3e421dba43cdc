/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the verbs of tmctl take, what tmctl(1) says they take, and what --help says: the same. The
 * options are those of the tables in the source, all of them are tried with every verb, and no daemon
 * is there to do anything.
 */

#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "suite.h"
#include "tmctl.h"

#define TEXT_MAX ((size_t)1 << 20)
#define OUTPUT_MAX 16384
#define NAMES_MAX 64
#define NAME_BYTES 32

static char *page, *synopsis, *completion;
static char output[OUTPUT_MAX];
static char verbs[NAMES_MAX][NAME_BYTES], options[NAMES_MAX][NAME_BYTES];
static size_t n_verbs, n_options;

static char *read_source(const char *name)
{
	char path[256], *text;

	(void)snprintf(path, sizeof(path), "%s/%s", TOOLS_SOURCE, name);
	ck_assert_int_eq(file_read_all(AT_FDCWD, path, TEXT_MAX, &text, NULL), 0);
	return text;
}

/* Runs tmctl without a daemon. Returns the exit status; what it says is in output. */
static int PRINTF_LIKE(1, 2) run(const char *arguments, ...)
{
	char command[1024];
	size_t n;
	va_list list;
	FILE *f;
	int status;

	n = (size_t)snprintf(command, sizeof(command),
			     "TASKMEM_SOCKET=/nonexistent/socket TASKMEMD=/bin/false exec 2>&1 "
			     "</dev/null '%s' ",
			     TMCTL);
	va_start(list, arguments);
	(void)vsnprintf(command + n, sizeof(command) - n, arguments, list);
	va_end(list);
	n = 0;
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	while (n < sizeof(output) - 1 && !feof(f) && !ferror(f))
		n += fread(output + n, 1, sizeof(output) - 1 - n, f);
	output[n] = '\0';
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void add_name(char names[NAMES_MAX][NAME_BYTES], size_t *n, const char *text, size_t length)
{
	ck_assert_uint_lt(*n, NAMES_MAX);
	ck_assert_uint_lt(length, NAME_BYTES);
	for (size_t i = 0; i < *n; i++)
		if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
			return;
	memcpy(names[*n], text, length);
	names[(*n)++][length] = '\0';
}

/* The tables for getopt_long(): { "name", no_argument, ... */
static void collect_options(const char *text)
{
	const char *end, *word = text;

	while ((word = strstr(word, "{ \""))) {
		word += strlen("{ \"");
		end = strchr(word, '"');
		ck_assert_ptr_nonnull(end);
		if (strncmp(end, "\", no_argument", 14) == 0 ||
		    strncmp(end, "\", required_argument", 20) == 0 ||
		    strncmp(end, "\", optional_argument", 20) == 0)
			add_name(options, &n_options, word, (size_t)(end - word));
	}
}

static void collect_verbs(void)
{
	const char *line;

	ck_assert_int_eq(run("--help"), TMCTL_DONE);
	line = strstr(output, "\nVerbs ");
	ck_assert_ptr_nonnull(line);
	for (line = strstr(line + 1, "\n  "); line && line[3] != ' ' && line[3] != '-';
	     line = strchr(line + 1, '\n')) {
		if (strncmp(line, "\n  ", 3) != 0)
			break;
		add_name(verbs, &n_verbs, line + 3, strcspn(line + 3, " "));
	}
}

static void set_up(void)
{
	char *begin, *end, *text;
	glob_t found;

	page = read_source("tmctl.1");
	completion = read_source("completion/tmctl");
	begin = strstr(page, ".Sh SYNOPSIS\n");
	end = strstr(page, ".Sh DESCRIPTION\n");
	ck_assert(begin && end && begin < end);
	synopsis = strndup(begin, (size_t)(end - begin));
	ck_assert_int_eq(glob(TOOLS_SOURCE "/verb_*.c", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		text = read_source(strrchr(found.gl_pathv[i], '/') + 1);
		collect_options(text);
		free(text);
	}
	globfree(&found);
	collect_verbs();
	ck_assert_uint_ge(n_options, 20);
	ck_assert_uint_ge(n_verbs, 14);
}

static void tear_down(void)
{
	free(page);
	free(synopsis);
	free(completion);
}

/* Whether the word ends there: "--buffer" is not in "--buffers". */
static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (; (text = strstr(text, word)); text += length)
		if (!strchr("abcdefghijklmnopqrstuvwxyz-", text[length]) || !text[length])
			return true;
	return false;
}

/* The lines of the synopsis about the verb, for the caller to free; NULL: there are none. */
static char *verb_synopsis(const char *verb)
{
	char first[64];
	const char *begin, *end;

	(void)snprintf(first, sizeof(first), ".Nm\n.Cm %s", verb);
	for (begin = strstr(synopsis, first); begin; begin = strstr(begin + 1, first)) {
		if (!strchr(" \n", begin[strlen(first)]))
			continue;
		end = strstr(begin + 1, "\n.Nm\n");
		return strndup(begin, end ? (size_t)(end - begin) : strlen(begin));
	}
	return NULL;
}

/* No file can be made there, and it is neither a size nor a time. */
static bool takes(const char *verb, const char *option)
{
	ck_assert_int_ne(run("%s --%s=/nonexistent/x", verb, option), TMCTL_DONE);
	return !strstr(output, "unrecognized option");
}

static bool explains(const char *verb, const char *option)
{
	char word[64];

	ck_assert_int_eq(run("%s --help", verb), TMCTL_DONE);
	(void)snprintf(word, sizeof(word), "--%s", option);
	return has_word(output, word);
}

START_TEST(the_synopsis_has_the_verbs_and_no_other)
{
	size_t n = 0;

	for (size_t i = 0; i < n_verbs; i++) {
		CLEANUP(freep) char *lines = verb_synopsis(verbs[i]);

		ck_assert_msg(lines, "no synopsis of %s", verbs[i]);
		ck_assert_msg(has_word(completion, verbs[i]), "no completion of %s", verbs[i]);
	}
	for (const char *at = synopsis; (at = strstr(at, "\n.Nm\n.Cm ")); at++)
		n++;
	ck_assert_uint_eq(n, n_verbs);
}
END_TEST

START_TEST(each_verb_takes_what_its_synopsis_says_and_no_other)
{
	for (size_t v = 0; v < n_verbs; v++) {
		CLEANUP(freep) char *lines = verb_synopsis(verbs[v]);

		for (size_t o = 0; o < n_options; o++) {
			bool is_taken = takes(verbs[v], options[o]);
			char flag[64];

			(void)snprintf(flag, sizeof(flag), "Fl -%s", options[o]);
			ck_assert_msg(has_word(lines, flag) == is_taken, "%s --%s is %s", verbs[v],
				      options[o], is_taken ? "not in the synopsis" : "not taken");
			ck_assert_msg(!is_taken || explains(verbs[v], options[o]),
				      "%s --help does not have --%s", verbs[v], options[o]);
		}
	}
}
END_TEST

START_TEST(each_option_is_described_and_completed)
{
	const char *description = strstr(page, ".Sh DESCRIPTION\n");
	char flag[64];

	for (size_t o = 0; o < n_options; o++) {
		(void)snprintf(flag, sizeof(flag), "Fl -%s", options[o]);
		ck_assert_msg(has_word(description, flag), "--%s is not described", options[o]);
		(void)snprintf(flag, sizeof(flag), "--%s", options[o]);
		ck_assert_msg(has_word(completion, flag), "--%s is not completed", options[o]);
	}
}
END_TEST

/* Those of "add", "set" and "move": [KEY_MIN] = { "min", ... */
START_TEST(each_key_is_described_and_completed)
{
	CLEANUP(freep) char *text = read_source("assign.c");
	char key[NAME_BYTES], tag[64];
	size_t n = 0;

	ck_assert_int_eq(run("add --help"), TMCTL_DONE);
	for (const char *at = text; (at = strstr(at, "[KEY_")); n++) {
		at = strstr(at, "] = { \"");
		if (!at)
			break;
		at += strlen("] = { \"");
		(void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(at, "\""), at);
		(void)snprintf(tag, sizeof(tag), "\n.It Cm %s Ns = Ns ", key);
		ck_assert_msg(strstr(page, tag), "%s= is not described", key);
		(void)snprintf(tag, sizeof(tag), "%s=", key);
		ck_assert_msg(strstr(completion, tag), "%s= is not completed", key);
		ck_assert_msg(strstr(output, tag), "add --help does not have %s=", key);
	}
	ck_assert_uint_eq(n, 14);
}
END_TEST

/* 125, because 2 would be taken for the program's own. */
START_TEST(run_refuses_nonsense_and_says_what_is_right)
{
	static const struct {
		const char *arguments, *sentence;
	} cases[] = {
		{ "--buffer 5000 --listen tcp:*:1 -- true", "a power of two from 4K to 1M" },
		{ "--buffer 2K --listen tcp:*:1 -- true", "a power of two from 4K to 1M" },
		{ "--buffer 2M --listen tcp:*:1 -- true", "a power of two from 4K to 1M" },
		{ "--buffer -4K --listen tcp:*:1 -- true", "a power of two from 4K to 1M" },
		{ "--buffers 0 --listen tcp:*:1 -- true", "a number from 1 on" },
		{ "--buffers many --listen tcp:*:1 -- true", "a number from 1 on" },
		{ "--buffers 1073741825 --listen tcp:*:1 -- true", "a number from 1 on" },
		{ "--latency 0 --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency 0.5us --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency 1.001s --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency 50 --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency -50us --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency soon --listen tcp:*:1 -- true", "a time from 1us to 1s" },
		{ "--latency 50us -- true", "--latency needs --listen, --connect or --output" },
		{ "--report /nonexistent/x --listen tcp:*:1 -- true", "--report /nonexistent/x: " },
		{ "--once -- true", "--once needs --listen or --connect" },
		{ "--listen tcp:*:1 --connect tcp:x:1 -- true", "exclude each other" },
		{ "--listen tcp:*:1", "a slot and a program are needed" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(run("run slot %s", cases[i].arguments), TMCTL_RUN_FAILED);
		ck_assert_msg(strstr(output, cases[i].sentence), "%s: %s", cases[i].arguments,
			      output);
	}
}
END_TEST

START_TEST(run_takes_what_is_right_and_then_asks_the_daemon)
{
	static const char *const cases[] = {
		"--listen tcp:*:1 --latency 1us -- true",
		"--connect tcp:x:1 --latency 1s --once -- true",
		"--output tcp:x:1 --latency 50us -- true",
		"--listen tcp:*:1 --buffer 4K --buffers 1 -- true",
		"--listen tcp:*:1 --buffer 1M --buffers 1073741824 -- true",
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(run("run slot %s", cases[i]), TMCTL_RUN_FAILED);
		ck_assert_msg(strstr(output, "/nonexistent/socket"), "%s: %s", cases[i], output);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tc = tcase_create("options");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, the_synopsis_has_the_verbs_and_no_other);
	tcase_add_test(tc, each_verb_takes_what_its_synopsis_says_and_no_other);
	tcase_add_test(tc, each_option_is_described_and_completed);
	tcase_add_test(tc, each_key_is_described_and_completed);
	tcase_add_test(tc, run_refuses_nonsense_and_says_what_is_right);
	tcase_add_test(tc, run_takes_what_is_right_and_then_asks_the_daemon);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
