/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs of tmctl share: options, exit codes and the shape of a verb. */

#include <getopt.h>
#include <stdbool.h>

#include "base/attr.h"

enum tmctl_exit {
	TMCTL_DONE = 0,
	TMCTL_FAILED = 1,
	TMCTL_USAGE = 2,
	TMCTL_NO_DAEMON = 3,
	TMCTL_NOT_PERMITTED = 4,
	TMCTL_NO_SLOT = 5,
	TMCTL_REFUSED = 6, /* guarantees or huge pages do not fit */
	/* only of "run", as env(1) and timeout(1) have them */
	TMCTL_RUN_FAILED = 125,
	TMCTL_RUN_NOT_EXECUTABLE = 126,
	TMCTL_RUN_NOT_FOUND = 127,
	TMCTL_RUN_SIGNALLED = 128, /* plus the signal's number */
};

struct options {
	const char *socket;
	bool is_json;
	bool has_header;
};

struct verb {
	const char *name;
	const char *purpose; /* half a line of "tmctl --help" */
	const char *help;    /* all of "tmctl NAME --help" */
	/* argv[0] is the verb. Return: exit status. */
	int (*run)(struct options *options, int argc, char *argv[]);
};

extern const struct verb verb_add, verb_set, verb_rm, verb_list, verb_show; /* verb_slot.c */
extern const struct verb verb_queue;                                        /* verb_queue.c */
extern const struct verb verb_explain;                                      /* verb_explain.c */
extern const struct verb verb_move;                                         /* verb_move.c */
extern const struct verb verb_run;                                          /* verb_run.c */
extern const struct verb verb_top;                                          /* verb_top.c */
extern const struct verb verb_doctor, verb_info;                            /* verb_doctor.c */
extern const struct verb verb_events;                                       /* verb_events.c */
extern const struct verb verb_metrics;                                      /* verb_metrics.c */

/* Codes of getopt_long() above any character; a verb's own begin at OPTION_OF_VERB. */
enum {
	OPTION_JSON = 256,
	OPTION_SOCKET,
	OPTION_NO_HEADER,
	OPTION_OF_VERB,
};

/* The options that stand before or after the verb; the last entries of a verb's table. */
#define COMMON_OPTIONS                                                \
	{ "json", no_argument, NULL, OPTION_JSON },                   \
		{ "socket", required_argument, NULL, OPTION_SOCKET }, \
		{ "no-header", no_argument, NULL, OPTION_NO_HEADER }, \
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }

/**
 * common_option() - take an option that every verb has
 * @code: what getopt_long() returned; '?' when it refused (and printed why)
 *
 * Return: -1 to go on, otherwise the exit status to end with (after --help or an error).
 */
MUST_USE int common_option(struct options *options, const struct verb *verb, int code);

/* Prints "tmctl VERB: TEXT" and where help is. Return: TMCTL_USAGE. */
MUST_USE int usage_error(const struct verb *verb, const char *format, ...) PRINTF_LIKE(2, 3);

/* For a verb without options of its own: common ones only, and exactly min..max words, left
 * at argv[optind]. Return: -1 to go on, otherwise the exit status to end with. */
MUST_USE int plain_arguments(struct options *options, const struct verb *verb, int argc,
			     char *argv[], int min, int max);
