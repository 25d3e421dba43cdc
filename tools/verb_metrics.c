/* SPDX-License-Identifier: Apache-2.0 */

/*
 * metrics: the daemon's numbers for a monitoring system, as text or as the answer to one HTTP
 * request on standard input.
 *
 * The latter is a process for each connection, as inetd had it: systemd listens, counts and limits
 * (taskmem-metrics.socket), and whoever sends garbage, nothing, or reads nothing holds up nobody but
 * himself, and for seconds only. A scrape every few seconds is worth no loop of our own. All is
 * composed before the first byte is sent, so the length is known and no daemon waits for a reader.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "client.h"
#include "http.h"
#include "metrics.h"
#include "print.h"
#include "tmctl.h"

#define METRICS_PATH "/metrics"
/* A whole request, a whole answer, and the wait for the other end to close. */
#define REQUEST_NS (5 * NS_PER_SEC)
#define ANSWER_NS (10 * NS_PER_SEC)
#define LINGER_NS (1 * NS_PER_SEC)
/* Each of three calls: Prometheus gives up after 10 s, unless told otherwise. */
#define ASK_USEC (UINT64_C(3) * 1000000)

struct replies {
	sd_json_variant *info, *slots, *counters;
};

static void replies_deinit(struct replies *replies)
{
	sd_json_variant_unref(replies->info);
	sd_json_variant_unref(replies->slots);
	sd_json_variant_unref(replies->counters);
}

static int connect_for(const char *socket, uint64_t timeout_usec, sd_varlink **ret_link)
{
	int status = client_connect(socket, ret_link);

	if (status == 0 && timeout_usec > 0)
		(void)sd_varlink_set_relative_timeout(*ret_link, timeout_usec);
	return status;
}

/* @timeout_usec: for each of the calls; 0: as always. Return: 0, or the exit status after a
 * sentence on standard error. */
static int ask(const char *socket, uint64_t timeout_usec, struct replies *replies)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL, *list_link = NULL;
	sd_json_variant *info;
	int status = connect_for(socket, timeout_usec, &link);

	if (status == 0)
		status = client_call(link, "GetInfo", NULL, &info);
	if (status == 0)
		replies->info = sd_json_variant_ref(info);
	if (status == 0)
		status = connect_for(socket, timeout_usec, &list_link);
	if (status == 0)
		status = client_list(list_link, "ListSlots", &replies->slots);
	if (status == 0)
		status = client_list(list_link, "ListCounters", &replies->counters);
	return status;
}

static int print_text(const struct replies *replies, FILE *out)
{
	const struct metrics metrics = { replies->info, replies->slots, replies->counters };

	return metrics_print(&metrics, out);
}

static int print_replies(const struct replies *replies)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *all = NULL;
	int r = sd_json_buildo(&all, SD_JSON_BUILD_PAIR_VARIANT("info", replies->info),
			       SD_JSON_BUILD_PAIR_VARIANT("slots", replies->slots),
			       SD_JSON_BUILD_PAIR_VARIANT("counters", replies->counters));

	if (r >= 0)
		print_json(all);
	return r;
}

/* ---- one request */

/* Waits for @fd until @deadline_ns. Return: false when that has come. */
static bool wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int n;

	do {
		uint64_t now = mono_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;

		n = poll(&poll_fd, 1, (int)((left + NS_PER_MSEC - 1) / NS_PER_MSEC));
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Return: false if nobody is there to be answered. */
static bool read_request(struct http_request *ret_request)
{
	uint64_t deadline_ns = mono_now_ns() + REQUEST_NS;
	char text[HTTP_REQUEST_MAX];
	size_t len = 0;

	for (;;) {
		ssize_t n;

		*ret_request = http_parse(text, len, METRICS_PATH);
		if (ret_request->status != HTTP_INCOMPLETE)
			return true;
		if (!wait_for(STDIN_FILENO, POLLIN, deadline_ns)) {
			ret_request->status = HTTP_TIMEOUT;
			return len > 0;
		}
		n = read(STDIN_FILENO, text + len, sizeof(text) - len);
		if (n <= 0)
			return false;
		len += (size_t)n;
	}
}

/* Return: false when the other end does not take it in time, or is gone. */
static bool send_all(const char *data, size_t len, uint64_t deadline_ns)
{
	while (len > 0) {
		ssize_t n = send(STDOUT_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == ENOTSOCK) /* by hand, into a pipe or a terminal */
			return fd_write_all(STDOUT_FILENO, data, len) == 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0 && !wait_for(STDOUT_FILENO, POLLOUT, deadline_ns))
			return false;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* To close with bytes unread would reset the connection and may destroy the answer on its way. */
static void linger(void)
{
	uint64_t deadline_ns = mono_now_ns() + LINGER_NS;
	char unread[4096];

	if (shutdown(STDOUT_FILENO, SHUT_WR) < 0)
		return;
	while (wait_for(STDIN_FILENO, POLLIN, deadline_ns) &&
	       read(STDIN_FILENO, unread, sizeof(unread)) > 0)
		;
}

static void answer(const struct http_request *request, const char *type, const char *body,
		   size_t len)
{
	uint64_t deadline_ns = mono_now_ns() + ANSWER_NS;
	char head[HTTP_HEAD_MAX];
	size_t head_len = http_head(head, request->status, type, len, time(NULL));

	if (send_all(head, head_len, deadline_ns) &&
	    (request->is_head || send_all(body, len, deadline_ns)))
		linger();
}

static void answer_in_words(struct http_request request, enum http_status status)
{
	char text[80];
	int len = snprintf(text, sizeof(text), "%d %s%s\n", (int)status, http_reason(status),
			   status == HTTP_NOT_FOUND     ? "; there is " METRICS_PATH
			   : status == HTTP_UNAVAILABLE ? "; taskmemd does not answer"
							: "");

	request.status = status;
	answer(&request, NULL, text, (size_t)len);
}

/* What is wrong with a request is told to who made it; only our own failures are ours. */
static int serve_http(const char *socket)
{
	CLEANUP(replies_deinit) struct replies replies = {};
	CLEANUP(freep) char *text = NULL;
	struct http_request request;
	size_t len;
	FILE *out;
	int r;

	if (!read_request(&request))
		return TMCTL_DONE;
	if (request.status != HTTP_OK) {
		answer_in_words(request, request.status);
		return TMCTL_DONE;
	}
	if (ask(socket, ASK_USEC, &replies) != 0) {
		answer_in_words(request, HTTP_UNAVAILABLE);
		return TMCTL_DONE;
	}
	out = open_memstream(&text, &len);
	r = out ? print_text(&replies, out) : -ENOMEM;
	if (out && fclose(out) != 0)
		r = -ENOMEM;
	if (r < 0) {
		answer_in_words(request, HTTP_UNAVAILABLE);
		return client_local_error(r);
	}
	answer(&request, METRICS_TYPE, text, len);
	return TMCTL_DONE;
}

static int metrics_main(struct options *options, int argc, char *argv[])
{
	enum { OPTION_HTTP = OPTION_OF_VERB };
	static const struct option table[] = { { "http", no_argument, NULL, OPTION_HTTP },
					       COMMON_OPTIONS };
	CLEANUP(replies_deinit) struct replies replies = {};
	bool is_http = false;
	int code, status, r;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		status = code == OPTION_HTTP ? -1 : common_option(options, &verb_metrics, code);
		if (status >= 0)
			return status;
		is_http |= code == OPTION_HTTP;
	}
	if (optind < argc)
		return usage_error(&verb_metrics, "\"%s\" is one argument too many", argv[optind]);
	if (is_http && options->is_json)
		return usage_error(&verb_metrics, "--http has the one format that scrapers read");
	if (is_http)
		return serve_http(options->socket);
	status = ask(options->socket, 0, &replies);
	if (status != 0)
		return status;
	r = options->is_json ? print_replies(&replies) : print_text(&replies, stdout);
	return r < 0 ? client_local_error(r) : TMCTL_DONE;
}

static const char metrics_help[] =
	"Usage: tmctl metrics [--http | --json]\n"
	"Print the numbers of slots, nodes and the daemon as OpenMetrics 1.0 text, which\n"
	"Prometheus and others read. Names begin with taskmem_, sizes are bytes, times seconds;\n"
	"a line # HELP says what each is.\n"
	"\n"
	"  --http   answer one HTTP request on standard input (GET or HEAD of /metrics);\n"
	"           this is what taskmem-metrics.socket runs, which listens on 127.0.0.1:10205\n"
	"  --json   print the daemon's replies they are made of\n"
	"\n"
	"Examples:\n"
	"  systemctl enable --now taskmem-metrics.socket\n"
	"  tmctl metrics | grep slot_refault\n"
	"\n"
	"Exit status: 0 done, with --http whatever was answered; 1 out of memory; 2 wrong\n"
	"usage; 3 the daemon is not reachable.\n";

const struct verb verb_metrics = {
	.name = "metrics",
	.purpose = "print numbers for Prometheus (OpenMetrics)",
	.help = metrics_help,
	.run = metrics_main,
};
