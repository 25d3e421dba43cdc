/* SPDX-License-Identifier: Apache-2.0 */

/*
 * queue: who waits; and the waiting itself. A place in the queue is a connection: when tmctl is
 * interrupted its request is gone. When the daemon is restarted the request is made again, with
 * its id and the time it has waited, and so stands where it stood.
 */

#include "verb_queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mono.h"
#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "view.h"

/* A daemon that is replaced is back within seconds; systemd gives up after about as long. */
#define LOST_MAX_NS (60 * NS_PER_SEC)
#define LOST_PAUSE_NS (NS_PER_SEC / 2)

#define NEVER_UP UINT64_MAX

struct wait {
	const struct options *options;
	sd_json_variant *reply; /* the last one, owned */
	int status;
	bool is_over, is_lost;
	uint64_t lost_ns; /* since when; 0: it is not */
};

static void print_waiting(sd_json_variant *waiting)
{
	fprintf(stderr, "tmctl: %s waits, place %" PRIu64 " of %" PRIu64 ": %s\n",
		field_text(waiting, "slot", "?"), field_u64(waiting, "position", 0),
		field_u64(waiting, "length", 0), field_text(waiting, "reason", "no reason given"));
}

static int on_reply(sd_varlink *link, sd_json_variant *reply, const char *error_id,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct wait *wait = userdata;
	char text[CLIENT_TEXT_MAX];

	(void)link;
	if (error_id && strcmp(error_id, SD_VARLINK_ERROR_DISCONNECTED) == 0) {
		wait->is_lost = true;
		return 0;
	}
	if (error_id) {
		wait->status = client_explain(error_id, reply, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		wait->is_over = true;
		return 0;
	}
	if (flags & SD_VARLINK_REPLY_CONTINUES) {
		print_waiting(sd_json_variant_by_key(reply, "waiting"));
		return 0;
	}
	wait->reply = sd_json_variant_ref(reply);
	wait->is_over = true;
	return 0;
}

static int ask(struct wait *wait, sd_varlink *link, sd_json_variant *params, uint64_t start_ns,
	       uint64_t wait_ns)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *all = sd_json_variant_ref(params);
	uint64_t waited_ns = mono_now_ns() - start_ns;
	int r = sd_json_variant_set_field_boolean(&all, "wait", 1);

	if (r >= 0)
		r = sd_json_variant_set_field_unsigned(&all, "waitedUsec", waited_ns / NS_PER_USEC);
	if (r >= 0 && wait_ns != QUEUE_WAIT_NO_END)
		r = sd_json_variant_set_field_unsigned(
			&all, "waitUsec",
			waited_ns < wait_ns ? (wait_ns - waited_ns) / NS_PER_USEC : 0);
	if (r >= 0) /* room may come after hours */
		r = sd_varlink_set_relative_timeout(link, UINT64_MAX);
	sd_varlink_set_userdata(link, wait);
	if (r >= 0)
		r = sd_varlink_bind_reply(link, on_reply);
	if (r >= 0)
		r = sd_varlink_observe(link, CLIENT_INTERFACE "AddSlot", all);
	return r < 0 ? r : sd_varlink_flush(link);
}

static int turn(sd_varlink *link)
{
	int r = sd_varlink_process(link);

	if (r != 0)
		return r < 0 ? r : 0;
	r = sd_varlink_wait(link, UINT64_MAX);
	return r == -EINTR ? 0 : MIN(r, 0);
}

static bool is_away(int r)
{
	return r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET || r == -EPIPE ||
	       r == -ENOTCONN;
}

/* One connection, until the request is answered or the daemon goes away (0, or -errno). */
static int wait_once(struct wait *wait, sd_json_variant *params, uint64_t start_ns,
		     uint64_t wait_ns, sd_varlink **ret_link)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	int r = sd_varlink_connect_address(&link, wait->options->socket);

	if (r >= 0) {
		wait->lost_ns = 0;
		r = ask(wait, link, params, start_ns, wait_ns);
	}
	wait->is_lost = false;
	while (r >= 0 && !wait->is_over && !wait->is_lost)
		r = turn(link);
	if (wait->is_over)
		*ret_link = TAKE(link);
	return r;
}

int queue_add(const struct options *options, sd_json_variant *params, uint64_t wait_ns,
	      sd_varlink **ret_link, sd_json_variant **ret_reply)
{
	const struct timespec pause = { .tv_nsec = LOST_PAUSE_NS };
	struct wait wait = { .options = options, .lost_ns = NEVER_UP };
	uint64_t start_ns = mono_now_ns();
	char text[CLIENT_TEXT_MAX];
	int r, status;

	for (;;) {
		r = wait_once(&wait, params, start_ns, wait_ns, ret_link);
		if (wait.is_over) {
			*ret_reply = wait.reply;
			return wait.status;
		}
		if (wait.lost_ns == NEVER_UP || (r < 0 && !is_away(r)))
			break;
		if (wait.lost_ns == 0) {
			fprintf(stderr, "tmctl: the daemon went away; asking again\n");
			wait.lost_ns = mono_now_ns();
		}
		if (mono_now_ns() - wait.lost_ns > LOST_MAX_NS)
			break;
		nanosleep(&pause, NULL);
	}
	status = client_explain_errno(r < 0 ? r : -ECONNRESET, options->socket, text, sizeof(text));
	fprintf(stderr, "tmctl: %s\n", text);
	return status;
}

/* ---- the verb */

static int queue_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply;
	int r, status = plain_arguments(options, &verb_queue, argc, argv, 0, 0);

	if (status >= 0)
		return status;
	status = client_ask(options->socket, "ListQueue", NULL, &link, &reply);
	if (status != 0)
		return status;
	if (options->is_json) {
		print_json(reply);
		return TMCTL_DONE;
	}
	r = view_queue(field_array(reply, "waiting"), stdout, print_width(STDOUT_FILENO),
		       options->has_header);
	return r < 0 ? client_local_error(r) : TMCTL_DONE;
}

static const char queue_help[] =
	"Usage: tmctl queue [--json] [--no-header]\n"
	"Show the requests that wait for memory, in the order in which they are served: slots to\n"
	"be made (\"add --wait\") and running tasks that asked for more.\n"
	"\n"
	"PLACE 1 is tried first; a later one is served before it only if it fits and the first\n"
	"does not. PASSED counts how often that happened; after 16 times, or 10 minutes after the\n"
	"first, nobody behind may pass any more (\"due\"). BYTES is the need, or the guarantee.\n"
	"\n"
	"Examples:\n"
	"  tmctl queue\n"
	"  tmctl queue --json | jq -r '.waiting[] | .slot + \": \" + .reason'\n"
	"\n"
	"Exit status: 0 done; 2 wrong usage; 3 the daemon is not reachable.\n";

const struct verb verb_queue = {
	.name = "queue",
	.purpose = "show who waits for memory, and why",
	.help = queue_help,
	.run = queue_main,
};
