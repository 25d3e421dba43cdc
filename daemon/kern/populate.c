/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who allocates a huge page pays for it, and the allocator's memory policy and cpuset say on
 * which node it is; a policy set on somebody's mapping does not stick to the file. So a child
 * is cloned straight into the slot's cgroup (clone3, Linux 5.7), sets its policy, calls
 * fallocate() and ends. The charge stays with the slot until the page is punched or the file
 * is gone. Running out is ENOSPC here; with a mapping it would be SIGBUS.
 *
 * The child is a copy of a process that may have threads, so between clone3 and _exit there
 * are system calls only: no malloc, no stdio, no errno of libc's that others could see (it has
 * its own memory: CLONE_VM is not used). It is charged to the slot, too; what it touches is a
 * handful of pages.
 *
 * Transparent pages are put in through a mapping: kern/transparent.c.
 *
 * A frozen slot freezes the child; it can still be killed, which the deadline does.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "kern/hugetlb.h"
#include "kern/topology.h"
#include "kern/transparent.h"
#include "model.h"

/* Zeroing takes 0.2 ms a page on a machine, 5 ms under emulation. */
#define DEADLINE_USEC (10U * 1000000U)
#define DEADLINE_USEC_PER_CHUNK (20U * 1000U)

struct populate {
	sd_event_source *exit_source; /* the pidfd */
	sd_event_source *timer;
	int pidfd;
	int report_fd;
	bool is_late;
	size_t n;
	populate_done_fn done;
	void *userdata;
};

/* What the child writes to the pipe. */
struct report {
	int32_t present;
	int32_t error; /* -errno, 0 */
};

/* The child's orders; everything is computed before it is made. */
struct job {
	int fd, report_fd;
	pid_t parent;
	int policy;
	uint64_t node_bits;
	uint64_t *huge_bits; /* NULL: the file is of huge pages */
	const uint32_t *chunks;
	size_t n;
};

static long fallocate_chunks(int fd, uint32_t first, size_t n)
{
	long r;

	do
		r = syscall(SYS_fallocate, fd, 0, first * CHUNK_BYTES, n * CHUNK_BYTES);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Number of chunks from @at on that follow one another in the file. */
static size_t run_length(const struct job *job, size_t at)
{
	size_t n = 1;

	while (at + n < job->n && job->chunks[at + n] == job->chunks[at] + n)
		n++;
	return n;
}

/* Only system calls from here on.
 *
 * Return: how many are there, from the front of the list. */
static size_t put_in_huge(const struct job *job, long *ret_error)
{
	size_t at = 0;
	long r = 0;

	while (r == 0 && at < job->n) {
		size_t n = run_length(job, at);

		r = fallocate_chunks(job->fd, job->chunks[at], n);
		if (r == 0) {
			at += n;
			continue;
		}
		/* part of the run is there: count it, chunk by chunk, up to the first failure */
		for (r = 0; n > 0 && r == 0; n--) {
			r = fallocate_chunks(job->fd, job->chunks[at], 1);
			at += r == 0;
		}
	}
	*ret_error = r;
	return at;
}

static size_t put_in_transparent(const struct job *job, long *ret_error)
{
	int pagemap_fd = transparent_open_pagemap();
	size_t at = 0;
	long r = 0;

	while (r == 0 && at < job->n) {
		uint32_t chunk = job->chunks[at];
		bool is_huge = false;

		r = transparent_put_in(job->fd, chunk, pagemap_fd, &is_huge);
		if (r == 0 && is_huge)
			__atomic_fetch_or(&job->huge_bits[chunk / 64], UINT64_C(1) << (chunk % 64),
					  __ATOMIC_RELAXED);
		at += r == 0;
	}
	*ret_error = r;
	return at;
}

_Noreturn static void child(const struct job *job)
{
	struct report report = {};
	size_t at = 0;
	long r = 0;

	if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    syscall(SYS_getppid) != job->parent)
		syscall(SYS_exit_group, 1);
	/* the kernel takes the last bit off the size */
	if (job->node_bits != 0 &&
	    syscall(SYS_set_mempolicy, job->policy, &job->node_bits, NODES_MAX + 1) < 0)
		r = -errno;
	if (r == 0)
		at = job->huge_bits ? put_in_transparent(job, &r) : put_in_huge(job, &r);
	report.present = (int32_t)at;
	report.error = (int32_t)r;
	syscall(SYS_write, job->report_fd, &report, sizeof(report));
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* Nodes the slot may use: its cpuset if there is one, else all. */
static int slot_nodes(struct cgdir *slot, uint64_t *ret_bits)
{
	struct node_info nodes[NODES_MAX];
	char text[512];
	uint64_t bits = 0;
	size_t n_nodes;
	int r;

	if (file_read_small(cgdir_dir_fd(slot), "cpuset.mems.effective", text, sizeof(text)) > 0)
		return topology_parse_nodes(text, ret_bits);
	r = topology_read(nodes, &n_nodes);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_nodes; i++)
		bits |= UINT64_C(1) << nodes[i].node;
	*ret_bits = bits;
	return 0;
}

static int start_child(const struct job *job, int cgroup_fd, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.cgroup = (uint64_t)cgroup_fd,
		/* no exit_signal: the program's SIGCHLD handling does not see it */
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(job);
	*ret_pidfd = pidfd;
	return 0;
}

static void kill_child(int pidfd)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); /* ended is fine */
}

/* Waits for the child's end; at once when the pidfd is readable. */
static void reap_child(int pidfd)
{
	siginfo_t info;

	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
		;
}

static void populate_free(struct populate *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->exit_source);
	sd_event_source_disable_unref(p->timer);
	fd_closep(&p->pidfd);
	fd_closep(&p->report_fd);
	free(p);
}

static void populate_freep(struct populate **p)
{
	populate_free(*p);
}

static int read_result(const struct populate *p)
{
	struct report report;

	if (read(p->report_fd, &report, sizeof(report)) != sizeof(report))
		return p->is_late ? -ETIMEDOUT : -ECHILD; /* somebody else killed it */
	if (report.present < 0 || (size_t)report.present > p->n)
		return -EBADMSG;
	if (report.present > 0 || report.error == -ENOSPC)
		return report.present;
	return report.error;
}

static int on_exit_of_child(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct populate *p = userdata;
	populate_done_fn done = p->done;
	void *done_userdata = p->userdata;
	int result;

	(void)source;
	(void)fd;
	(void)events;
	reap_child(p->pidfd);
	result = read_result(p);
	populate_free(p);
	done(result, done_userdata);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct populate *p = userdata;

	(void)source;
	(void)usec;
	p->is_late = true;
	kill_child(p->pidfd); /* the end of it comes through the pidfd */
	return 0;
}

static int watch(struct populate *p, sd_event *event)
{
	uint64_t usec = DEADLINE_USEC + p->n * DEADLINE_USEC_PER_CHUNK;
	int r = sd_event_add_io(event, &p->exit_source, p->pidfd, EPOLLIN, on_exit_of_child, p);

	if (r < 0)
		return r;
	return sd_event_add_time_relative(event, &p->timer, CLOCK_MONOTONIC, usec, 0, on_deadline,
					  p);
}

int populate_start(sd_event *event, struct cgdir *slot, int node, int fd, uint64_t *huge_bits,
		   const uint32_t *chunks, size_t n, populate_done_fn done, void *userdata,
		   struct populate **ret_populate)
{
	CLEANUP(populate_freep) struct populate *p = NULL;
	CLEANUP(fd_closep) int write_fd = -1;
	struct job job = {
		.fd = fd,
		.parent = getpid(),
		.policy = node == NODE_ANY ? MPOL_INTERLEAVE : MPOL_BIND,
		.node_bits = node == NODE_ANY ? 0 : UINT64_C(1) << node,
		.huge_bits = huge_bits,
		.chunks = chunks, /* the child has a copy of our memory */
		.n = n,
	};
	int fds[2], r;

	if (n == 0 || n > INT32_MAX || node >= NODES_MAX || node < NODE_ANY)
		return -EINVAL;
	if (node == NODE_ANY) {
		r = slot_nodes(slot, &job.node_bits);
		if (r < 0)
			return r;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct populate){
		.pidfd = -1, .report_fd = -1, .n = n, .done = done, .userdata = userdata
	};
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	p->report_fd = fds[0];
	write_fd = job.report_fd = fds[1];

	r = start_child(&job, cgdir_dir_fd(slot), &p->pidfd);
	if (r < 0)
		return r;
	r = watch(p, event);
	if (r < 0) {
		kill_child(p->pidfd);
		reap_child(p->pidfd);
		return r;
	}
	*ret_populate = TAKE(p);
	return 0;
}

void populate_cancel(struct populate *populate)
{
	if (!populate)
		return;
	kill_child(populate->pidfd);
	reap_child(populate->pidfd);
	populate_free(populate);
}
