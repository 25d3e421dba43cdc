/* SPDX-License-Identifier: Apache-2.0 */

/*
 * events: what happened, and what happens. WatchEvents never ends by itself; the end of its history
 * is marked by a reply of its own.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"

struct watch {
	const struct options *options;
	bool must_follow;
	int status; /* of a failed call, else 0 */
	bool is_over;
};

static void print_event(sd_json_variant *event)
{
	uint64_t usec = field_u64(event, "realtimeUsec", 0);
	time_t seconds = (time_t)(usec / 1000000);
	const char *slot = field_text(event, "slot", NULL);
	char when[32] = "?";
	struct tm local;

	if (localtime_r(&seconds, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	printf("%s.%03" PRIu64 "  %-16s  %s%s%s\n", when, usec / 1000 % 1000,
	       field_text(event, "event", "?"), slot ? slot : "", slot ? ": " : "",
	       field_text(event, "message", ""));
	fflush(stdout);
}

static int on_event(sd_varlink *link, sd_json_variant *reply, const char *error_id,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct watch *watch = userdata;
	char text[CLIENT_TEXT_MAX];

	(void)link;
	if (error_id) {
		watch->status = client_explain(error_id, reply, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		watch->is_over = true;
		return 0;
	}
	if (field_bool(reply, "historyEnd", false)) {
		watch->is_over = !watch->must_follow;
		return 0;
	}
	if (watch->options->is_json)
		print_json_line(sd_json_variant_by_key(reply, "event"));
	else
		print_event(sd_json_variant_by_key(reply, "event"));
	/* whoever read our output is gone */
	if (ferror(stdout) || !(flags & SD_VARLINK_REPLY_CONTINUES))
		watch->is_over = true;
	return 0;
}

/* Handles what came, or waits for more. Return: 0 or -errno. */
static int watch_turn(struct watch *watch, sd_varlink *link)
{
	int r = sd_varlink_process(link);

	if (r != 0 || watch->is_over)
		return r < 0 ? r : 0;
	r = sd_varlink_wait(link, UINT64_MAX);
	return r == -EINTR ? 0 : MIN(r, 0);
}

static int watch_start(sd_varlink *link, bool has_history)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	int r = sd_json_variant_set_field_boolean(&params, "history", has_history);

	if (r >= 0) /* "now" may be hours away: no time-out for this call */
		r = sd_varlink_set_relative_timeout(link, UINT64_MAX);
	if (r >= 0)
		r = sd_varlink_observe(link, CLIENT_INTERFACE "WatchEvents", params);
	return r >= 0 ? sd_varlink_flush(link) : r;
}

static int events_main(struct options *options, int argc, char *argv[])
{
	enum { OPTION_FOLLOW = OPTION_OF_VERB, OPTION_SINCE_START };
	static const struct option table[] = { { "follow", no_argument, NULL, OPTION_FOLLOW },
					       { "since-start", no_argument, NULL,
						 OPTION_SINCE_START },
					       COMMON_OPTIONS };
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	struct watch watch = { .options = options };
	bool is_since_start = false;
	char text[CLIENT_TEXT_MAX];
	int code, status, r;

	while ((code = getopt_long(argc, argv, "hf", table, NULL)) >= 0) {
		if (code == OPTION_FOLLOW || code == 'f') {
			watch.must_follow = true;
		} else if (code == OPTION_SINCE_START) {
			is_since_start = true;
		} else {
			status = common_option(options, &verb_events, code);
			if (status >= 0)
				return status;
		}
	}
	if (optind < argc)
		return usage_error(&verb_events, "\"%s\" is one argument too many", argv[optind]);
	status = client_connect(options->socket, &link);
	if (status != 0)
		return status;
	sd_varlink_set_userdata(link, &watch);
	r = sd_varlink_bind_reply(link, on_event);
	if (r >= 0)
		r = watch_start(link, !watch.must_follow || is_since_start);
	while (r >= 0 && !watch.is_over)
		r = watch_turn(&watch, link);
	if (r < 0) {
		status = client_explain_errno(r, options->socket, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		return status;
	}
	return watch.status;
}

static const char events_help[] =
	"Usage: tmctl events [--follow [--since-start]] [--json]\n"
	"Show the events the daemon keeps: the last 256 since it was started.\n"
	"\n"
	"  -f, --follow   show new events as they happen, until ^C\n"
	"  --since-start  with --follow: the kept events first\n"
	"  --json         one object per line\n"
	"\n"
	"Examples:\n"
	"  tmctl events\n"
	"  tmctl events --follow --since-start\n"
	"  tmctl events --follow --json | jq -r 'select(.slot == \"ingest\") | .message'\n"
	"\n"
	"Exit status: 0 done; 2 wrong usage; 3 the daemon is not reachable, or went away.\n";

const struct verb verb_events = {
	.name = "events",
	.purpose = "show what happened, and what happens",
	.help = events_help,
	.run = events_main,
};
