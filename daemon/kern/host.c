/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Features are asked for by using them where that has no effect on the machine: a ring is
 * set up and thrown away, a process is cloned into something that is no cgroup. Versions are
 * only compared for what cannot be tried.
 */

#include "kern/host.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/sched.h>
#include <numa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "kern/host_private.h"
#include "kern/libcg.h"

/* systemd answers in milliseconds, or not at all. */
#define BUS_TIMEOUT_USEC 1000000U
#define SYSTEMD_VERSION_MIN 257

const char *host_status_name(enum host_status status)
{
	switch (status) {
	case HOST_OK:
		return "ok";
	case HOST_DEGRADED:
		return "degraded";
	case HOST_MISSING:
		return "missing";
	}
	return "unknown";
}

void host_add(struct host_list *list, const char *name, enum host_status status, const char *format,
	      ...)
{
	struct host_check *c = &list->checks[list->n];
	va_list args;

	if (list->n == HOST_CHECKS_MAX)
		return;
	list->n++;
	c->name = name;
	c->status = status;
	c->remedy[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(c->detail, sizeof(c->detail), format, args); /* cut is fine */
	va_end(args);
}

void host_remedy(struct host_list *list, const char *format, ...)
{
	struct host_check *c = &list->checks[list->n - 1];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(c->remedy, sizeof(c->remedy), format, args); /* cut is fine */
	va_end(args);
}

static bool read_release(struct utsname *name, unsigned *ret_major, unsigned *ret_minor)
{
	return uname(name) == 0 && sscanf(name->release, "%u.%u", ret_major, ret_minor) == 2;
}

bool host_has_kernel(unsigned major, unsigned minor)
{
	struct utsname name;
	unsigned have_major, have_minor;

	return read_release(&name, &have_major, &have_minor) &&
	       (have_major > major || (have_major == major && have_minor >= minor));
}

static void check_kernel(struct host_list *list)
{
	struct utsname name;
	bool is_new = host_has_kernel(6, 12);

	if (uname(&name) < 0) {
		host_add(list, "kernel", HOST_DEGRADED, "uname: %s", strerror(errno));
		return;
	}
	host_add(list, "kernel", is_new ? HOST_OK : HOST_DEGRADED, "Linux %s", name.release);
	if (!is_new)
		host_remedy(list, "taskmem is made for Linux 6.12 and later");
}

static void check_clone(struct host_list *list)
{
	CLEANUP(fd_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .cgroup = (uint64_t)fd };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) /* cannot be: that is no cgroup */
		_exit(1);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, __WALL);
	if (pid < 0 && errno == EBADF) { /* "no cgroup": so it was looked for */
		host_add(list, "clone into cgroup", HOST_OK,
			 "huge pages are charged to their slot");
		return;
	}
	host_add(list, "clone into cgroup", HOST_MISSING, "clone3: %s", strerror(errno));
	host_remedy(list, "allow clone3 in the seccomp filter of taskmemd's container or unit");
}

static bool has_incremental_buffers(struct io_uring *ring)
{
	struct io_uring_buf_ring *buffers;
	int error;

	buffers = io_uring_setup_buf_ring(ring, 2, /* bgid= */ 0, IOU_PBUF_RING_INC, &error);
	if (buffers)
		io_uring_free_buf_ring(ring, buffers, 2, 0);
	return buffers;
}

static void check_io_uring(struct host_list *list)
{
	struct io_uring ring;
	char disabled[8] = "0";
	int r = io_uring_queue_init(4, &ring, 0);

	if (r < 0) {
		host_add(list, "io_uring", HOST_DEGRADED,
			 "%s: a thread and epoll do its work, slower", strerror(-r));
		if (file_read_small(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", disabled,
				    sizeof(disabled)) > 0 &&
		    disabled[0] != '0')
			host_remedy(list, "sysctl kernel.io_uring_disabled=0 (is %s)", disabled);
		else
			host_remedy(list, "allow io_uring in the seccomp filter of the container");
		return;
	}
	host_add(list, "io_uring", HOST_OK, "receive bundles: %s, incremental buffers: %s",
		 ring.features & IORING_FEAT_RECVSEND_BUNDLE ? "yes" : "no",
		 has_incremental_buffers(&ring) ? "yes" : "no");
	io_uring_queue_exit(&ring);
}

static void bus_unrefp(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void check_systemd(struct host_list *list)
{
	CLEANUP(bus_unrefp) sd_bus *bus = NULL;
	CLEANUP(freep) char *version = NULL;
	int r;

	if (sd_booted() <= 0) {
		host_add(list, "systemd", HOST_DEGRADED, "does not run here");
		host_remedy(list, "set cgroup_root= to a delegated cgroup v2 directory");
		return;
	}
	r = sd_bus_open_system(&bus);
	if (r < 0) {
		host_add(list, "D-Bus", HOST_MISSING, "cannot reach the system bus: %s",
			 strerror(-r));
		host_remedy(list, "install and start dbus, or set cgroup_root=");
		return;
	}
	host_add(list, "D-Bus", HOST_OK, "system bus reached");
	(void)sd_bus_set_method_call_timeout(bus, BUS_TIMEOUT_USEC); /* else it is 25 s */
	r = sd_bus_get_property_string(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
				       "org.freedesktop.systemd1.Manager", "Version", NULL,
				       &version);
	if (r < 0) {
		host_add(list, "systemd", HOST_DEGRADED, "does not answer: %s", strerror(-r));
		return;
	}
	if (atoi(version) >= SYSTEMD_VERSION_MIN) {
		host_add(list, "systemd", HOST_OK, "version %s", version);
		return;
	}
	host_add(list, "systemd", HOST_DEGRADED, "version %s", version);
	host_remedy(list, "taskmem is made for systemd %d and later", SYSTEMD_VERSION_MIN);
}

static void check_libraries(struct host_list *list)
{
	host_add(list, "libraries", HOST_OK, "libcgroup %s, liburing %d.%d, libnuma API %d",
		 libcg_version(), io_uring_major_version(), io_uring_minor_version(),
		 LIBNUMA_API_VERSION);
}

void host_diagnose(struct host_check checks[static HOST_CHECKS_MAX], size_t *ret_n)
{
	struct host_list list = { .checks = checks };

	check_kernel(&list);
	host_check_cgroup(&list);
	host_check_memory(&list);
	host_check_heat(&list);
	check_systemd(&list);
	check_clone(&list);
	check_io_uring(&list);
	check_libraries(&list);
	*ret_n = list.n;
}
