/* SPDX-License-Identifier: Apache-2.0 */

/* A table of verbs and a loop. */

#include "tmctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "nearest.h"
#include "version.h"

static const struct verb *const verbs[] = {
	&verb_add,   &verb_set, &verb_move, &verb_rm,     &verb_list,    &verb_show, &verb_explain,
	&verb_queue, &verb_run, &verb_top,  &verb_events, &verb_metrics, &verb_info, &verb_doctor,
};

static const char usage_head[] =
	"Usage: tmctl [OPTION...] VERB [ARGUMENT...]\n"
	"Give every stream-processing task its own slice of memory, and move the slices live.\n"
	"\n"
	"Verbs (\"tmctl VERB --help\" has keys, units, defaults and examples):\n";

static const char usage_tail[] =
	"\n"
	"Options, before or after the verb:\n"
	"  --json         print the daemon's reply: one object, indented on a terminal;\n"
	"                 events and top print one line per reply\n"
	"  --socket PATH  the daemon's socket; default $TASKMEM_SOCKET, else\n"
	"                 " CLIENT_SOCKET_DEFAULT "\n"
	"  --no-header    tables without titles\n"
	"  --help, --version\n"
	"\n"
	"Examples:\n"
	"  tmctl add ingest weight=200 min=64M pool=16M\n"
	"  tmctl run ingest --listen tcp:0.0.0.0:7000 -- sort -u -o words\n"
	"  tmctl set ingest weight=300 --wait\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 wrong usage; 3 the daemon is not reachable;\n"
	"4 not permitted; 5 no such slot; 6 refused: guarantees or huge pages do not fit.\n"
	"\"run\" has the program's own status, 128+n if signal n ended it, 125 if tmctl failed,\n"
	"126 if the program cannot be executed, 127 if it is not found.\n";

int usage_error(const struct verb *verb, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "tmctl %s: ", verb->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nTry: tmctl %s --help\n", verb->name);
	return TMCTL_USAGE;
}

int common_option(struct options *options, const struct verb *verb, int code)
{
	if (code == OPTION_JSON) {
		options->is_json = true;
	} else if (code == OPTION_SOCKET) {
		options->socket = optarg;
	} else if (code == OPTION_NO_HEADER) {
		options->has_header = false;
	} else if (code == 'h') {
		fputs(verb->help, stdout);
		return TMCTL_DONE;
	} else { /* getopt_long() said what is wrong */
		fprintf(stderr, "Try: tmctl %s%s--help\n", verb->name, *verb->name ? " " : "");
		return TMCTL_USAGE;
	}
	return -1;
}

int plain_arguments(struct options *options, const struct verb *verb, int argc, char *argv[],
		    int min, int max)
{
	static const struct option table[] = { COMMON_OPTIONS };
	int code, status;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		status = common_option(options, verb, code);
		if (status >= 0)
			return status;
	}
	if (argc - optind < min)
		return usage_error(verb, "an argument is missing");
	if (argc - optind > max)
		return usage_error(verb, "\"%s\" is one argument too many", argv[optind + max]);
	return -1;
}

static int print_usage(FILE *out, int status)
{
	fputs(usage_head, out);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->purpose);
	fputs(usage_tail, out);
	return status;
}

static int run_verb(struct options *options, int argc, char *argv[])
{
	const char *names[ARRAY_LEN(verbs) + 1] = {}, *meant;
	/* "status" is what hands trained by systemctl type */
	const char *name = strcmp(argv[0], "status") == 0 ? verb_info.name : argv[0];

	argv[0] = (char *)"tmctl"; /* what getopt's messages begin with */
	optind = 0;                /* it starts anew, with the verb's own table */
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i]->run(options, argc, argv);
		names[i] = verbs[i]->name;
	}
	meant = nearest_word(name, names);
	fprintf(stderr, "tmctl: there is no verb \"%s\"%s%s%s\nTry: tmctl --help\n", name,
		meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
	return TMCTL_USAGE;
}

int main(int argc, char *argv[])
{
	static const struct option table[] = { { "version", no_argument, NULL, OPTION_OF_VERB },
					       COMMON_OPTIONS };
	const char *socket = getenv("TASKMEM_SOCKET");
	struct options options = { .socket = socket && *socket ? socket : CLIENT_SOCKET_DEFAULT,
				   .has_header = true };
	int code, status;

	while ((code = getopt_long(argc, argv, "+h", table, NULL)) >= 0) {
		if (code == OPTION_OF_VERB)
			return puts("tmctl " TASKMEM_VERSION) < 0;
		if (code == 'h')
			return print_usage(stdout, TMCTL_DONE);
		status = common_option(&options, &(const struct verb){ .name = "" }, code);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return print_usage(stderr, TMCTL_USAGE);
	status = run_verb(&options, argc - optind, argv + optind);
	if (fflush(stdout) != 0 && status == TMCTL_DONE) {
		perror("tmctl: standard output");
		status = TMCTL_FAILED;
	}
	return status;
}
