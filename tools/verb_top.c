/* SPDX-License-Identifier: Apache-2.0 */

/*
 * top: the tables of "list" again and again. On a terminal the screen is redrawn from its
 * upper left corner, q ends; elsewhere blocks follow each other. Signals come by a descriptor,
 * so that there is one place where the terminal is put right again: the end of top_main().
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"
#include "view.h"

#define INTERVAL_DEFAULT_NS NS_PER_SEC
#define INTERVAL_MIN_NS (100 * NS_PER_MSEC) /* faster is only work for the daemon */

struct screen {
	bool is_terminal; /* of standard output */
	bool is_raw;      /* standard input gives single keys, saved is to be restored */
	struct termios saved;
};

static void screen_open(struct screen *screen)
{
	struct termios raw;

	screen->is_terminal = isatty(STDOUT_FILENO);
	if (!screen->is_terminal || tcgetattr(STDIN_FILENO, &screen->saved) < 0)
		return;
	raw = screen->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	screen->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void screen_close(const struct screen *screen)
{
	if (screen->is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen->saved);
}

/* The whole block is composed first and written at once: no flicker. */
static int print_block(const struct options *options, const struct screen *screen,
		       sd_json_variant *reply, bool is_enforced)
{
	CLEANUP(freep) char *text = NULL;
	sd_json_variant *slots = field_array(reply, "slots");
	unsigned width = print_width(STDOUT_FILENO);
	time_t now = time(NULL);
	struct tm local;
	char clock[16] = "";
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	if (localtime_r(&now, &local))
		strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	fprintf(out, "tmctl top  %s  %zu slots%s%s\n\n", clock,
		slots ? sd_json_variant_elements(slots) : 0,
		is_enforced ? "" : "  limits are NOT enforced", screen->is_raw ? "  q ends" : "");
	r = view_slots(slots, out, width, options->has_header);
	fputc('\n', out);
	if (r == 0)
		r = view_nodes(field_array(reply, "nodes"), out, width, options->has_header);
	if (fclose(out) != 0)
		return -ENOMEM;
	if (r < 0)
		return r;
	/* home and clear; the scroll-back is left alone */
	printf("%s%s%s", screen->is_terminal ? "\033[H\033[2J" : "", text,
	       screen->is_terminal ? "" : "\n");
	return fflush(stdout) == 0 ? 0 : -errno;
}

/* Sleeps until @deadline_ns. Return: true when q, ^C or a signal ends it. */
static bool wait_or_quit(const struct screen *screen, int signal_fd, uint64_t deadline_ns)
{
	struct pollfd fds[] = { { .fd = signal_fd, .events = POLLIN },
				{ .fd = screen->is_raw ? STDIN_FILENO : -1, .events = POLLIN } };

	for (;;) {
		uint64_t now = mono_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
		struct timespec timeout = { .tv_sec = (time_t)(left / NS_PER_SEC),
					    .tv_nsec = (long)(left % NS_PER_SEC) };
		int n = ppoll(fds, ARRAY_LEN(fds), &timeout, NULL);
		char key;

		if (n == 0)
			return false;
		if (n < 0 && errno != EINTR)
			return true;
		if (n > 0 && fds[0].revents)
			return true;
		if (n > 0 && fds[1].revents &&
		    (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
			return true;
	}
}

static int refresh(const struct options *options, const struct screen *screen, int signal_fd,
		   uint64_t interval_ns, uint64_t count)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL, *list_link = NULL;
	uint64_t next_ns = mono_now_ns();
	sd_json_variant *info;
	bool is_enforced;
	int status = client_ask(options->socket, "GetInfo", NULL, &link, &info), r;

	if (status != 0)
		return status;
	is_enforced = field_bool(info, "enforced", true);
	status = client_connect(options->socket, &list_link);
	if (status != 0)
		return status;
	for (uint64_t i = 0; count == 0 || i < count; i++) {
		CLEANUP(sd_json_variant_unrefp) sd_json_variant *reply = NULL;

		if (i > 0 && wait_or_quit(screen, signal_fd, next_ns))
			return TMCTL_DONE;
		status = client_list(list_link, "ListSlots", &reply);
		if (status != 0)
			return status;
		if (options->is_json) {
			print_json_line(reply);
			r = ferror(stdout) ? -EIO : 0;
		} else {
			r = print_block(options, screen, reply, is_enforced);
		}
		if (r < 0)
			return client_local_error(r);
		next_ns += interval_ns;
		if (next_ns < mono_now_ns()) /* a slow answer is not made up for */
			next_ns = mono_now_ns() + interval_ns;
	}
	return TMCTL_DONE;
}

/* Return: a descriptor for SIGINT, SIGTERM and SIGHUP, which are blocked from now on; -errno. */
static int open_signals(void)
{
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	fd = signalfd(-1, &mask, SFD_CLOEXEC);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	return fd;
}

static int top_main(struct options *options, int argc, char *argv[])
{
	enum { OPTION_INTERVAL = OPTION_OF_VERB };
	static const struct option table[] = { { "interval", required_argument, NULL,
						 OPTION_INTERVAL },
					       { "count", required_argument, NULL, 'n' },
					       COMMON_OPTIONS };
	CLEANUP(fd_closep) int signal_fd = -1;
	struct screen screen = {};
	uint64_t interval_ns = INTERVAL_DEFAULT_NS, count = 0;
	int code, status;

	while ((code = getopt_long(argc, argv, "hn:", table, NULL)) >= 0) {
		if (code == OPTION_INTERVAL) {
			if (parse_duration_ns(optarg, &interval_ns) < 0 ||
			    interval_ns < INTERVAL_MIN_NS)
				return usage_error(&verb_top,
						   "--interval %s: a time of at least 100ms "
						   "is 1, 500ms or 2s",
						   optarg);
		} else if (code == 'n') {
			if (parse_u64(optarg, UINT32_MAX, &count) < 0 || count == 0)
				return usage_error(&verb_top, "-n %s: a number from 1 on", optarg);
		} else {
			status = common_option(options, &verb_top, code);
			if (status >= 0)
				return status;
		}
	}
	if (optind < argc)
		return usage_error(&verb_top, "\"%s\" is one argument too many", argv[optind]);
	signal_fd = open_signals();
	if (signal_fd < 0)
		return client_local_error(signal_fd);
	if (!options->is_json)
		screen_open(&screen);
	status = refresh(options, &screen, signal_fd, interval_ns, count);
	screen_close(&screen);
	return status;
}

static const char top_help[] =
	"Usage: tmctl top [--interval TIME] [-n COUNT] [--json]\n"
	"Show the tables of \"tmctl list\" again and again. On a terminal q or ^C ends;\n"
	"elsewhere one block follows the other.\n"
	"\n"
	"  --interval TIME  time between two, from 100ms on (1, 500ms, 2s); default 1s\n"
	"  -n, --count N    end after N; default: go on\n"
	"  --json           one object per line, as of \"tmctl list --json\"\n"
	"\n"
	"Examples:\n"
	"  tmctl top\n"
	"  tmctl top -n 60 --interval 1s > load.txt\n"
	"  tmctl top --json | jq -c '.slots[] | [.name, .usageBytes]'\n"
	"\n"
	"Exit status: 0 done; 2 wrong usage; 3 the daemon is not reachable, or went away.\n";

const struct verb verb_top = {
	.name = "top",
	.purpose = "watch slots and nodes",
	.help = top_help,
	.run = top_main,
};
