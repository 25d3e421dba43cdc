/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A scope is a unit that systemd makes around a running process and removes with the last
 * one. libcgroup can make it, and would start an idle program of its own to keep it; giving
 * it a process of ours needs one package less.
 *
 * The scope's own files belong to systemd: what is written behind its back is lost with the
 * next "systemctl set-property". So its guarantee goes through D-Bus. Without the same
 * guarantee on the slice above, it would count for nothing against the rest of the host.
 */

#include "kern/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "kern/libcg.h"

#define MANAGER \
	"org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"

/* A scope that ends takes a few turns of systemd's loop; under emulation some 100 ms. */
#define CREATE_TRIES 20
#define CREATE_PAUSE_NS (100 * NS_PER_MSEC)
/* Tasks have 90 s after SIGTERM (DefaultTimeoutStopSec=), then come SIGKILL and the rest. */
#define END_WAIT_NS (150 * NS_PER_SEC)

struct scope {
	sd_bus *bus;
	sd_event *event;
	int refusal; /* -errno of an answer that nobody was told about yet */
};

_Noreturn static void holder_exec(int report_fd)
{
	char name[] = "taskmemd", option[] = "--hold";
	char *const argv[] = { name, option, NULL };
	char *const environment[] = { NULL };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int error;

	if (null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(null_fd, 1) >= 0 &&
	    dup2(null_fd, 2) >= 0 && setsid() >= 0 && chdir("/") == 0)
		(void)execve("/proc/self/exe", argv, environment); /* returns on failure only */
	error = errno;
	(void)!write(report_fd, &error, sizeof(error)); /* the parent may be gone */
	_exit(1);
}

void holder_kill(pid_t pid)
{
	(void)kill(pid, SIGKILL); /* our child: it is there until it is waited for */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int holder_start(pid_t *ret_pid)
{
	CLEANUP(fd_closep) int read_fd = -1;
	CLEANUP(fd_closep) int write_fd = -1;
	int fds[2], error = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_fd = fds[0];
	write_fd = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		holder_exec(write_fd);
	fd_closep(&write_fd);
	do
		n = read(read_fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	if (n != 0) { /* 0: the pipe was closed by a successful exec */
		holder_kill(pid);
		return n == sizeof(error) && error > 0 ? -error : -EIO;
	}
	*ret_pid = pid;
	return 0;
}

static void bus_unrefp(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

/* Without effect on a unit that runs; needed after one that failed. */
static void reset_failed_unit(void)
{
	CLEANUP(bus_unrefp) sd_bus *bus = NULL;

	/* a failure here shows in the try that follows */
	if (sd_bus_open_system(&bus) >= 0)
		(void)sd_bus_call_method(bus, MANAGER, "ResetFailedUnit", NULL, NULL, "s",
					 SCOPE_UNIT);
}

bool scope_is_ending(void)
{
	CLEANUP(bus_unrefp) sd_bus *bus = NULL;
	CLEANUP(freep) char *state = NULL;
	CLEANUP(freep) char *path = NULL;

	if (sd_bus_open_system(&bus) < 0 ||
	    sd_bus_path_encode("/org/freedesktop/systemd1/unit", SCOPE_UNIT, &path) < 0 ||
	    sd_bus_get_property_string(bus, "org.freedesktop.systemd1", path,
				       "org.freedesktop.systemd1.Unit", "ActiveState", NULL,
				       &state) < 0)
		return false;
	return strcmp(state, "deactivating") == 0;
}

void scope_wait_ended(void)
{
	const struct timespec pause = { .tv_nsec = (long)CREATE_PAUSE_NS };

	for (uint64_t waited = 0; waited < END_WAIT_NS && scope_is_ending();
	     waited += CREATE_PAUSE_NS)
		(void)nanosleep(&pause, NULL);
}

int scope_create(pid_t pid)
{
	const struct timespec pause = { .tv_nsec = (long)CREATE_PAUSE_NS };

	for (int i = 0;; i++) {
		int r = libcg_create_scope(SCOPE_UNIT, SCOPE_SLICE, pid);

		if (r == 0)
			return 0;
		if (!strstr(libcg_message(), "already"))
			return r;
		if (i == CREATE_TRIES)
			return -EEXIST;
		reset_failed_unit();
		(void)nanosleep(&pause, NULL); /* a signal only makes the pause shorter */
	}
}

int scope_new(struct scope **ret_scope)
{
	struct scope *scope = calloc(1, sizeof(*scope));

	if (!scope)
		return -ENOMEM;
	*ret_scope = scope;
	return 0;
}

static void disconnect(struct scope *scope)
{
	sd_bus_detach_event(scope->bus);
	scope->bus = sd_bus_close_unref(scope->bus);
}

void scope_free(struct scope *scope)
{
	if (!scope)
		return;
	if (scope->bus) {
		(void)sd_bus_flush(
			scope->bus); /* what is lost is sent again after the next start */
		disconnect(scope);
	}
	sd_event_unref(scope->event);
	free(scope);
}

int scope_attach_event(struct scope *scope, sd_event *event)
{
	sd_event_unref(scope->event);
	scope->event = sd_event_ref(event);
	return scope->bus ? sd_bus_attach_event(scope->bus, event, SD_EVENT_PRIORITY_NORMAL) : 0;
}

static int connect_bus(struct scope *scope)
{
	int r;

	if (scope->bus && sd_bus_is_open(scope->bus) <= 0)
		disconnect(scope);
	if (scope->bus)
		return 0;
	r = sd_bus_open_system(&scope->bus);
	if (r < 0)
		return r;
	/* a bus daemon that restarts must not end ours: the next call connects again */
	(void)sd_bus_set_exit_on_disconnect(scope->bus, 0);
	r = scope->event ? sd_bus_attach_event(scope->bus, scope->event, SD_EVENT_PRIORITY_NORMAL)
			 : 0;
	if (r < 0)
		disconnect(scope);
	return r;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct scope *scope = userdata;
	const sd_bus_error *e = sd_bus_message_get_error(m);

	(void)ret_error;
	if (e) {
		scope->refusal = -sd_bus_message_get_errno(m);
		log_debug("systemd refused MemoryMin=: %s", e->message ? e->message : e->name);
	}
	return 0;
}

/* MemoryMin= of taskmemd.service, which is in the slice beside the slots. */
#define SERVICE_MIN_BYTES (UINT64_C(32) << 20)

static int send_memory_min(struct scope *scope, const char *unit, uint64_t bytes)
{
	return sd_bus_call_method_async(scope->bus, NULL, MANAGER, "SetUnitProperties", on_answer,
					scope, "sba(sv)", unit, /* runtime= */ 1, /* n= */ 1,
					"MemoryMin", "t", bytes);
}

int scope_set_memory_min(struct scope *scope, uint64_t bytes)
{
	int r = connect_bus(scope), refusal;

	if (r < 0)
		return r;
	if (!scope->event) {
		while (sd_bus_process(scope->bus, NULL) > 0)
			;
	}
	refusal = scope->refusal;
	scope->refusal = 0;
	r = send_memory_min(scope, SCOPE_SLICE, bytes + SERVICE_MIN_BYTES);
	if (r >= 0)
		r = send_memory_min(scope, SCOPE_UNIT, bytes);
	if (r >= 0 && !scope->event)
		r = sd_bus_flush(scope->bus);
	return r < 0 ? r : refusal;
}
