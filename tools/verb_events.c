/* SPDX-License-Identifier: Apache-2.0 */

/*
 * events: what happened, and what happens. WatchEvents never ends by itself and marks no end
 * of its history, which the daemon queues in one go. So without --follow a second connection
 * asks for something else, and the history has ended when that was answered and then nothing
 * came for a moment.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/mono.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"

/* Far longer than one pass of the daemon's event loop, and not long for a person. */
#define SILENCE_NS (300 * NS_PER_MSEC)

struct watch {
	const struct options *options;
	uint64_t last_ns; /* when the latest event came */
	int status;       /* of a failed call, else 0 */
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
	watch->last_ns = mono_now_ns();
	if (error_id) {
		watch->status = client_explain(error_id, reply, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		watch->is_over = true;
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

/* Handles what came; waits for more at most @timeout_usec. Return: 0 or -errno. */
static int watch_turn(struct watch *watch, sd_varlink *link, uint64_t timeout_usec)
{
	int r = sd_varlink_process(link);

	if (r != 0 || watch->is_over)
		return r < 0 ? r : 0;
	r = sd_varlink_wait(link, timeout_usec);
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

/* Prints what is kept until the daemon has nothing more of it. Return: 0 or -errno. */
static int watch_history(struct watch *watch, sd_varlink *link)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *second = NULL;
	sd_json_variant *reply;
	int r = 0;

	watch->status = client_ask(watch->options->socket, "GetInfo", NULL, &second, &reply);
	if (watch->status != 0)
		return 0;
	watch->last_ns = mono_now_ns();
	while (r >= 0 && !watch->is_over && mono_now_ns() - watch->last_ns < SILENCE_NS)
		r = watch_turn(watch, link, SILENCE_NS / NS_PER_USEC);
	return r;
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
	bool must_follow = false, is_since_start = false;
	char text[CLIENT_TEXT_MAX];
	int code, status, r;

	while ((code = getopt_long(argc, argv, "hf", table, NULL)) >= 0) {
		if (code == OPTION_FOLLOW || code == 'f') {
			must_follow = true;
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
		r = watch_start(link, !must_follow || is_since_start);
	if (r >= 0 && !must_follow)
		r = watch_history(&watch, link);
	while (r >= 0 && must_follow && !watch.is_over)
		r = watch_turn(&watch, link, UINT64_MAX);
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
