/* SPDX-License-Identifier: Apache-2.0 */

/* explain: why a slot has the memory it has. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"

static bool has_suffix(const char *text, const char *suffix)
{
	size_t len = strlen(text), n = strlen(suffix);

	return len >= n && strcmp(text + len - n, suffix) == 0;
}

/* "turnoverBytes" 16777216 -> "turnover", "16M" */
static void print_term(sd_json_variant *term)
{
	static const struct {
		const char *suffix;
		const char *unit;
	} forms[] = {
		{ "BytesPerSecond", "/s" },
		{ "Bytes", "" },
		{ "Permille", "%" },
		{ "Msec", "s" },
		{ "", "" },
	};
	const char *name = field_text(term, "name", "?");
	uint64_t value = field_u64(term, "value", 0);
	char number[FORMAT_BYTES_MAX + 4], bytes[FORMAT_BYTES_MAX];
	size_t i = 0;

	while (!has_suffix(name, forms[i].suffix))
		i++;
	if (i < 2)
		(void)snprintf(number, sizeof(number), "%s%s", format_bytes(value, bytes),
			       forms[i].unit);
	else if (i == 2)
		(void)snprintf(number, sizeof(number), "%" PRIu64 ".%" PRIu64 "%s", value / 10,
			       value % 10, forms[i].unit);
	else if (i == 3)
		(void)snprintf(number, sizeof(number), "%" PRIu64 ".%" PRIu64 "%s", value / 1000,
			       value % 1000 / 100, forms[i].unit);
	else
		(void)snprintf(number, sizeof(number), "%" PRIu64, value);
	printf("  %-18.*s %10s  %s\n", (int)(strlen(name) - strlen(forms[i].suffix)), name, number,
	       field_text(term, "text", ""));
}

/* A sentence a line. */
static void print_reason(const char *text)
{
	for (const char *end; (end = strstr(text, ". ")); text = end + 2)
		printf("%.*s.\n", (int)(end - text), text);
	printf("%s.\n", text);
}

static int explain_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply, *term;
	int status = plain_arguments(options, &verb_explain, argc, argv, 1, 1);

	if (status >= 0)
		return status;
	status = client_connect(options->socket, &link);
	if (status == 0)
		status = client_call_name(link, "Explain", argv[optind], &reply);
	if (status != 0)
		return status;
	if (options->is_json) {
		print_json(reply);
		return TMCTL_DONE;
	}
	printf("%s: %s, mode %s: ", argv[optind], field_text(reply, "class", "?"),
	       field_text(reply, "mode", "?"));
	print_reason(field_text(reply, "reason", "?"));
	if (field_text(reply, "advice", NULL))
		printf("advice: %s %s\n", argv[optind], field_text(reply, "advice", ""));
	putchar('\n');
	FIELD_FOREACH(field_array(reply, "terms"), term)
		print_term(term);
	return TMCTL_DONE;
}

static const char explain_help[] =
	"Usage: tmctl explain NAME [--json]\n"
	"Say why a slot has what it has: how its share came about, what it is shown to be and\n"
	"to need, what is under way, with every number of the plan and of the controller's last\n"
	"decision, half a second old at most (four for a slot that does nothing).\n"
	"taskmem-control(7) has the rules.\n"
	"\n"
	"Examples:\n"
	"  tmctl explain ingest\n"
	"  tmctl explain ingest --json | jq '.terms[] | select(.name == \"lowBytes\").value'\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 wrong usage; 3 the daemon is not reachable;\n"
	"5 no such slot.\n";

const struct verb verb_explain = {
	.name = "explain",
	.purpose = "say why a slot has the memory it has",
	.help = explain_help,
	.run = explain_main,
};
