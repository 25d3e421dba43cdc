/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

PRINTF_LIKE(2, 3) static int wrong(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, COMMAND_ERROR_MAX, format, args);
	va_end(args);
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts the word at @from in place: quotes go. Returns what follows it, NULL for an open quote. */
static char *cut_word(char *from)
{
	char *to = from, quote = 0;

	for (; *from && (quote || !is_blank(*from)); from++) {
		if (*from == quote)
			quote = 0;
		else if (!quote && (*from == '"' || *from == '\''))
			quote = *from;
		else
			*to++ = *from;
	}
	if (quote)
		return NULL;
	if (*from)
		from++;
	*to = 0;
	return from;
}

int command_parse(const char *text, struct command *ret, char error[static COMMAND_ERROR_MAX])
{
	char *at;

	if (strnlen(text, ON_RESIZE_MAX + 1) > ON_RESIZE_MAX)
		return wrong(error, "a command has at most %d bytes; put it into a script",
			     ON_RESIZE_MAX);
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' && *c != '\t')
			return wrong(error, "a command is one line of text");
	ret->n_words = 0;
	at = strcpy(ret->text, text);
	for (;;) {
		while (is_blank(*at))
			at++;
		if (!*at)
			break;
		if (ret->n_words == COMMAND_WORDS_MAX)
			return wrong(error, "a command has at most %d words; put it into a script",
				     COMMAND_WORDS_MAX);
		ret->words[ret->n_words++] = at;
		at = cut_word(at);
		if (!at)
			return wrong(error, "a quote in the command is not closed");
	}
	ret->words[ret->n_words] = NULL;
	if (ret->n_words == 0 || ret->words[0][0] != '/')
		return wrong(error, "a command begins with an absolute path, such as /usr/bin/jcmd "
				    "(there is no shell)");
	return 0;
}
