/* SPDX-License-Identifier: Apache-2.0 */

/* doctor, info: what this host offers, and what the daemon is. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"
#include "view.h"

/* Return: true if the check says "missing". */
static bool print_check(sd_json_variant *check)
{
	const char *status = field_text(check, "status", "");
	const char *remedy = field_text(check, "remedy", NULL);
	bool is_missing = strcmp(status, "missing") == 0;

	printf("%-4s %s: %s\n",
	       is_missing                  ? "--"
	       : strcmp(status, "ok") == 0 ? "ok"
					   : "warn",
	       field_text(check, "name", "?"), field_text(check, "detail", ""));
	if (remedy)
		printf("     %s\n", remedy);
	return is_missing;
}

/* Prints {"checks": [...]}. Return: the exit status. */
static int print_checks(const struct options *options, sd_json_variant *reply)
{
	sd_json_variant *check;
	bool is_missing = false;

	FIELD_FOREACH(field_array(reply, "checks"), check) {
		if (options->is_json)
			is_missing |= strcmp(field_text(check, "status", ""), "missing") == 0;
		else
			is_missing |= print_check(check);
	}
	if (options->is_json)
		print_json(reply);
	return is_missing ? TMCTL_FAILED : TMCTL_DONE;
}

/* Runs @path --check --json and reads what it prints. Return: 0 or -errno. */
static int read_program(const char *path, sd_json_variant **ret_reply)
{
	char *const argv[] = { (char *)path, (char *)"--check", (char *)"--json", NULL };
	CLEANUP(fd_closep) int read_fd = -1;
	posix_spawn_file_actions_t actions;
	int fds[2], r, status;
	FILE *file;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_fd = fds[0];
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
		if (r == 0)
			r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	fd_closep(&fds[1]);
	if (r != 0)
		return -r;
	file = fdopen(read_fd, "r");
	r = file ? sd_json_parse_file(file, NULL, 0, ret_reply, NULL, NULL) : -errno;
	if (file) {
		fclose(file);
		read_fd = -1;
	}
	waitpid(pid, &status, 0); /* the checks themselves say whether something is missing */
	return r < 0 ? r : 0;
}

/* The daemon's own checks work without a daemon that runs: it is asked as a program. */
static int ask_program(const struct options *options)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
	const char *path = getenv("TASKMEMD");
	int r;

	if (!path || !*path)
		path = TASKMEMD_PATH;
	if (!options->is_json) {
		printf("warn daemon: not reachable at %s; checking with %s --check\n",
		       options->socket, path);
		printf("     systemctl status taskmemd\n");
		fflush(stdout);
	}
	r = read_program(path, &reply);
	if (r == 0)
		return print_checks(options, reply);
	fprintf(stderr, "tmctl: %s --check: %s\n", path, strerror(-r));
	return TMCTL_NO_DAEMON;
}

static int doctor_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply;
	int status = plain_arguments(options, &verb_doctor, argc, argv, 0, 0);

	if (status >= 0)
		return status;
	/* an unreachable daemon is a finding here, not the end: no message of client_connect() */
	if (sd_varlink_connect_address(&link, options->socket) < 0)
		return ask_program(options);
	sd_varlink_close_unref(TAKE(link));
	status = client_ask(options->socket, "Diagnose", NULL, &link, &reply);
	return status == 0 ? print_checks(options, reply) : status;
}

static const char doctor_help[] =
	"Usage: tmctl doctor [--json]\n"
	"Check what taskmem needs of this host: cgroup controllers, huge pages, io_uring and\n"
	"so on. Lines begin with \"ok\", \"warn\" (works, but less well) or \"--\" (missing); the\n"
	"indented line says how to get it. Without a running daemon they are made by\n"
	"\"taskmemd --check\" ($TASKMEMD is the path of another one).\n"
	"\n"
	"Examples:\n"
	"  tmctl doctor\n"
	"  tmctl doctor --json | jq '.checks[] | select(.status != \"ok\")'\n"
	"\n"
	"Exit status: 0 nothing is missing; 1 something is; 2 wrong usage; 3 neither the\n"
	"daemon nor its program could be asked.\n";

const struct verb verb_doctor = {
	.name = "doctor",
	.purpose = "say what this host offers and what is missing",
	.help = doctor_help,
	.run = doctor_main,
};

/* Events that others had to wait for. */
static void print_loop(sd_json_variant *loop)
{
	uint64_t longest_us = field_u64(loop, "longestUsec", 0);

	if (!loop) /* an older daemon */
		return;
	printf("loop     longest turn %" PRIu64 ".%" PRIu64 " ms, %" PRIu64 " of %" PRIu64
	       " above 10 ms\n",
	       longest_us / 1000, longest_us % 1000 / 100, field_u64(loop, "over10Msec", 0),
	       field_u64(loop, "turns", 0));
}

static int info_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	char uptime[FORMAT_DURATION_MAX];
	sd_json_variant *reply;
	int r, status = plain_arguments(options, &verb_info, argc, argv, 0, 0);

	if (status >= 0)
		return status;
	status = client_ask(options->socket, "GetInfo", NULL, &link, &reply);
	if (status != 0)
		return status;
	if (options->is_json) {
		print_json(reply);
		return TMCTL_DONE;
	}
	printf("taskmemd %s, up %s, at %s\n", field_text(reply, "version", "?"),
	       format_duration(field_u64(reply, "uptimeUsec", 0), uptime), options->socket);
	printf("limits   %s\n", field_bool(reply, "enforced", true)
					? "enforced"
					: "NOT enforced, pools only; see: tmctl doctor");
	printf("cgroup   %s\n", field_text(reply, "cgroupPath", "?"));
	print_loop(sd_json_variant_by_key(reply, "loop"));
	putchar('\n');
	r = view_nodes(field_array(reply, "nodes"), stdout, print_width(STDOUT_FILENO),
		       options->has_header);
	return r < 0 ? client_local_error(r) : TMCTL_DONE;
}

static const char info_help[] =
	"Usage: tmctl info [--json]\n"
	"Show the daemon's version, whether limits are enforced, where its cgroups are, and\n"
	"the budgets and huge pages of the NUMA nodes. \"tmctl status\" is the same.\n"
	"\"loop\" is how long the daemon itself kept others waiting, at most, since it started.\n"
	"A line EMERGENCY says that the memory of a node runs out, and what was done.\n"
	"\n"
	"Examples:\n"
	"  tmctl info\n"
	"  tmctl info --json | jq .enforced\n"
	"\n"
	"Exit status: 0 done; 2 wrong usage; 3 the daemon is not reachable.\n";

const struct verb verb_info = {
	.name = "info",
	.purpose = "show the daemon and its budgets (also: status)",
	.help = info_help,
	.run = info_main,
};
