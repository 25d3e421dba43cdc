/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: iperf3, with a sender of its own.
 *
 * Its server reads 256 KiB at a time from each connection, in a thread for each, into the same
 * memory again and again, and looks at nothing; it is on the processor our receivers are on, and
 * its client on the sender's. It cannot send for less than a second. Its time is that of the
 * whole process, which with its start and end is a few milliseconds more than the rest has.
 */

#include "bench_net.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX (1 << 20)

static char program[512], libraries[512];

static bool find_file(const char *pattern, char ret[static 512])
{
	const char *folder = getenv("BENCH_PEERS");
	glob_t matches = {};
	char path[512];
	bool is_found = false;

	if (!folder || !*folder)
		return false;
	(void)snprintf(path, sizeof(path), "%s/%s", folder, pattern);
	if (glob(path, 0, NULL, &matches) == 0)
		is_found = snprintf(ret, 512, "%s", matches.gl_pathv[0]) < 512;
	globfree(&matches);
	return is_found;
}

bool iperf3_find(void)
{
	if (!find_file("usr/bin/iperf3", program) ||
	    !find_file("usr/lib/*/libiperf.so.0", libraries))
		return false;
	*strrchr(libraries, '/') = '\0';
	return true;
}

/* A port that is free now. */
static int take_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = -EIO;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&in, &length) == 0)
		port = ntohs(in.sin_port);
	close(fd);
	return port;
}

/* Its output goes to @out. -1: no process. */
static pid_t start(char *const argv[], int which, int out)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	meter_pin(which);
	(void)dup2(out, STDOUT_FILENO);
	(void)setenv("LD_LIBRARY_PATH", libraries, 1);
	(void)execv(program, argv);
	_exit(127);
}

/* The first number after @section and then @name in @report; < 0: there is none. */
static double find_number(const char *report, const char *section, const char *name)
{
	const char *at = strstr(report, section);
	double number;

	at = at ? strstr(at, name) : NULL;
	return at && sscanf(at + strlen(name), " : %lf", &number) == 1 ? number : -1;
}

/* All of it. NULL: no memory. */
static char *read_report(int fd)
{
	char *report = calloc(1, REPORT_MAX);
	size_t length = 0;
	ssize_t n = 1;

	while (report && n > 0 && length < REPORT_MAX - 1) {
		n = read(fd, report + length, REPORT_MAX - 1 - length);
		length += n > 0 ? (size_t)n : 0;
	}
	return report;
}

/* The client's report says what the server has received. */
static int read_client(int fd, struct bench_result *result)
{
	char *report = read_report(fd);
	double bytes, seconds;

	if (!report)
		return -ENOMEM;
	bytes = find_number(report, "\"sum_received\"", "\"bytes\"");
	seconds = find_number(report, "\"sum_received\"", "\"seconds\"");
	free(report);
	if (bytes <= 0 || seconds <= 0)
		return -EPROTO;
	result->bytes = (uint64_t)bytes;
	result->wall_ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int wait_for(pid_t pid, uint64_t *ret_cpu_ns)
{
	struct rusage u;
	int status;

	if (pid < 0 || wait4(pid, &status, 0, &u) < 0)
		return -ECHILD;
	*ret_cpu_ns = ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000U +
		      ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000U;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

/* Until the server listens, for its client does not try again. */
static void wait_for_listener(int port)
{
	for (int i = 0; i < 200; i++) {
		char text[16], line[256];
		bool is_there = false;
		FILE *f = fopen("/proc/net/tcp", "re");

		(void)snprintf(text, sizeof(text), ":%04X 00000000:", port);
		while (f && fgets(line, sizeof(line), f))
			is_there = is_there || strstr(line, text);
		if (f)
			fclose(f);
		if (is_there)
			return;
		usleep(10000);
	}
}

static pid_t start_server(const char *port)
{
	char *argv[] = { program, "-s", "-4", "-1", "-B", "127.0.0.1", "-p", (char *)port, NULL };
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t pid = start(argv, 1, null_fd);

	close(null_fd);
	return pid;
}

static pid_t start_client(const struct bench_plan *plan, const char *port, int out)
{
	char seconds[16], connections[16], block[16], window[16];
	char *argv[] = { program, "-c",    "127.0.0.1", "-p",        (char *)port,
			 "-t",    seconds, "-P",        connections, "-l",
			 block,   "-w",    window,      "--json",    NULL };

	(void)snprintf(seconds, sizeof(seconds), "%llu",
		       (unsigned long long)(plan->run_ns + 999999999) / 1000000000);
	(void)snprintf(connections, sizeof(connections), "%u", plan->n_connections);
	(void)snprintf(block, sizeof(block), "%u", plan->message_bytes);
	(void)snprintf(window, sizeof(window), "%u", plan->credit_buffers * BENCH_BUFFER_BYTES);
	return start(argv, 0, out);
}

int iperf3_run(const struct bench_plan *plan, struct bench_result *result)
{
	int port = take_port(), out[2], r, r_server;
	uint64_t sender_ns;
	char text[16];
	pid_t server, client;

	if (port < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -EIO;
	(void)snprintf(text, sizeof(text), "%d", port);
	server = start_server(text);
	wait_for_listener(port);
	client = start_client(plan, text, out[1]);
	close(out[1]);
	r = read_client(out[0], result);
	close(out[0]);
	(void)wait_for(client, &sender_ns);
	if (r < 0 && server > 0)
		(void)kill(server, SIGTERM); /* it would wait for another client */
	r_server = wait_for(server, &result->cpu_ns);
	return r < 0 ? r : r_server;
}
