/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every file is opened once, on first use, and then read and written at offset 0: under
 * emulation a value costs 3 µs this way, 39 µs with open and close, 350 µs through libcgroup.
 *
 * Three things look alike and are told apart here, once. A file that is missing in a living
 * directory (ENOENT on open, cgroup.procs is there) is ABSENT: the controller or the kernel
 * feature is missing. Everything else that is missing is GONE: open gives ENOENT below a
 * removed directory, a kept fd gives ENODEV. EBUSY is the kernel's word for "in use".
 */

#include "kern/cgdir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"

#define POLICY_XATTR "user.taskmem.policy"
/* memory.stat is about 2 KiB; of memory.numa_stat the first two lines matter, with 64 nodes
 * of 25 characters each they are 3.2 KiB. */
#define TEXT_MAX 16384
/* The smallest page there is, and more than any line without a list has: one of pressure has 71. */
#define PAGE_LEAST 4096
#define LINE_MOST 256
/* The policy is a few hundred bytes of JSON; the kernel allows 64 KiB an attribute. */
#define POLICY_MAX 65536

struct cgdir {
	int dir_fd;
	int fds[CG_FILES];
	uint64_t apart_bytes;
};

static const struct {
	const char *name;
	bool is_write_only;
	bool has_long_lines; /* with a number for each node */
} files[CG_FILES] = {
	[CG_MEMORY_CURRENT] = { .name = "memory.current" },
	[CG_MEMORY_PEAK] = { .name = "memory.peak" },
	[CG_MEMORY_MIN] = { .name = "memory.min" },
	[CG_MEMORY_LOW] = { .name = "memory.low" },
	[CG_MEMORY_HIGH] = { .name = "memory.high" },
	[CG_MEMORY_MAX] = { .name = "memory.max" },
	[CG_MEMORY_SWAP_CURRENT] = { .name = "memory.swap.current" },
	[CG_MEMORY_SWAP_MAX] = { .name = "memory.swap.max" },
	[CG_MEMORY_STAT] = { .name = "memory.stat" },
	[CG_MEMORY_NUMA_STAT] = { .name = "memory.numa_stat", .has_long_lines = true },
	[CG_MEMORY_EVENTS] = { .name = "memory.events" },
	[CG_MEMORY_EVENTS_LOCAL] = { .name = "memory.events.local" },
	[CG_MEMORY_PRESSURE] = { .name = "memory.pressure" },
	[CG_MEMORY_RECLAIM] = { .name = "memory.reclaim", .is_write_only = true },
	[CG_CPU_STAT] = { .name = "cpu.stat" },
	[CG_CGROUP_EVENTS] = { .name = "cgroup.events" },
	[CG_CGROUP_PROCS] = { .name = "cgroup.procs" },
	[CG_CGROUP_KILL] = { .name = "cgroup.kill", .is_write_only = true },
	[CG_CGROUP_FREEZE] = { .name = "cgroup.freeze" },
	[CG_CPUSET_MEMS] = { .name = "cpuset.mems" },
	[CG_CPUSET_CPUS] = { .name = "cpuset.cpus" },
	[CG_HUGETLB_MAX] = { .name = "hugetlb.2MB.max" },
	[CG_HUGETLB_RSVD_MAX] = { .name = "hugetlb.2MB.rsvd.max" },
	[CG_HUGETLB_CURRENT] = { .name = "hugetlb.2MB.current" },
	[CG_HUGETLB_NUMA_STAT] = { .name = "hugetlb.2MB.numa_stat", .has_long_lines = true },
	[CG_GIGANTIC_MAX] = { .name = "hugetlb.1GB.max" },
	[CG_GIGANTIC_RSVD_MAX] = { .name = "hugetlb.1GB.rsvd.max" },
	[CG_GIGANTIC_CURRENT] = { .name = "hugetlb.1GB.current" },
	[CG_GIGANTIC_NUMA_STAT] = { .name = "hugetlb.1GB.numa_stat", .has_long_lines = true },
};

int cgdir_open(int parent_fd, const char *name, struct cgdir **ret_cg)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	CLEANUP(cgdir_closep) struct cgdir *cg = malloc(sizeof(*cg));

	if (!cg)
		return -ENOMEM;
	cg->apart_bytes = 0;
	for (size_t i = 0; i < CG_FILES; i++)
		cg->fds[i] = -1;
	cg->dir_fd = (int)syscall(SYS_openat2, parent_fd, name, &how, sizeof(how));
	if (cg->dir_fd < 0)
		return errno == ENOENT || errno == ENODEV ? CGDIR_GONE : -errno;
	*ret_cg = TAKE(cg);
	return CGDIR_OK;
}

void cgdir_close(struct cgdir *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < CG_FILES; i++)
		fd_closep(&cg->fds[i]);
	fd_closep(&cg->dir_fd);
	free(cg);
}

void cgdir_closep(struct cgdir **cg)
{
	cgdir_close(*cg);
}

int cgdir_dir_fd(const struct cgdir *cg)
{
	return cg->dir_fd;
}

void cgdir_set_apart(struct cgdir *cg, uint64_t bytes)
{
	cg->apart_bytes = bytes;
}

uint64_t cgdir_get_apart(const struct cgdir *cg)
{
	return cg->apart_bytes;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t apart_of(const struct cgdir *cg, enum cgdir_file file)
{
	switch (file) {
	case CG_MEMORY_CURRENT:
	case CG_MEMORY_PEAK:
	case CG_MEMORY_MIN:
	case CG_MEMORY_LOW:
	case CG_MEMORY_HIGH:
	case CG_MEMORY_MAX:
		return cg->apart_bytes;
	default:
		return 0;
	}
}

uint64_t cgdir_kernel_value(const struct cgdir *cg, enum cgdir_file file, uint64_t value)
{
	uint64_t sum;

	/* what is no number of bytes is "max" */
	return __builtin_add_overflow(value, apart_of(cg, file), &sum) ? BYTES_UNLIMITED : sum;
}

static int open_file(const struct cgdir *cg, enum cgdir_file file)
{
	int fd;

	if (files[file].is_write_only) {
		fd = openat(cg->dir_fd, files[file].name, O_WRONLY | O_CLOEXEC);
	} else {
		fd = openat(cg->dir_fd, files[file].name, O_RDWR | O_CLOEXEC);
		/* *.current and *.stat are mode 0444; root passes, an unprivileged user not */
		if (fd < 0 && (errno == EACCES || errno == EPERM))
			fd = openat(cg->dir_fd, files[file].name, O_RDONLY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

int cgdir_file_fd(struct cgdir *cg, enum cgdir_file file)
{
	int r;

	if (cg->fds[file] >= 0)
		return cg->fds[file];
	r = open_file(cg, file);
	if (r >= 0)
		cg->fds[file] = r;
	return r;
}

/* Turns an error of open, read or write into a condition where it is one. */
static int to_cond(const struct cgdir *cg, int error)
{
	switch (error) {
	case -ENODEV:
		return CGDIR_GONE;
	case -EBUSY:
		return CGDIR_BUSY;
	case -ENOENT:
		return faccessat(cg->dir_fd, "cgroup.procs", F_OK, 0) < 0 ? CGDIR_GONE
									  : CGDIR_ABSENT;
	default:
		return error;
	}
}

int cgdir_open_file(struct cgdir *cg, enum cgdir_file file, int *ret_fd)
{
	int fd = open_file(cg, file);

	if (fd < 0)
		return to_cond(cg, fd);
	*ret_fd = fd;
	return CGDIR_OK;
}

/*
 * Do the @n bytes at @text, of @wanted, end the file? To read once more would tell, but that would
 * be half of the calls of a daemon that looks at each slot twice a second.
 *
 * These files are one record of a seq_file each, however many lines they have: the kernel's buffer
 * grows until the record fits, and as much of it is copied as was asked for. So whoever gets less has
 * got the rest (seen on 6.12). A list of processes has a record for each line, and a read of it ends
 * where the next one does not fit into the kernel's page; it is not read here.
 *
 * Nobody would notice if the end of memory.stat were missing, so this holds should it ever have a
 * record for each line, too: a read that left room for a line in the smallest page has met none.
 * Files with lines that may need more room are read until there is nothing more. And what the kernel
 * breaks off in the middle of a line, for want of a page of @text, is gone on with.
 */
static bool is_end(enum cgdir_file file, const char *text, size_t n, size_t wanted)
{
	return n < wanted && n <= PAGE_LEAST - LINE_MOST && text[n - 1] == '\n' &&
	       !files[file].has_long_lines;
}

/* Reads the first @size - 1 bytes as 0-terminated text; *@ret_full: there may be more. */
static int read_text(struct cgdir *cg, enum cgdir_file file, char *buf, size_t size, bool *ret_full)
{
	size_t len = 0;
	int fd = cgdir_file_fd(cg, file);

	if (fd < 0)
		return to_cond(cg, fd);
	while (len < size - 1) {
		size_t wanted = size - 1 - len;
		ssize_t n = pread(fd, buf + len, wanted, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return to_cond(cg, -errno);
		if (n == 0)
			break;
		len += (size_t)n;
		if (is_end(file, buf + len - n, (size_t)n, wanted))
			break;
	}
	buf[len] = '\0';
	*ret_full = len == size - 1;
	return CGDIR_OK;
}

int cgdir_read_text(struct cgdir *cg, enum cgdir_file file, char *ret_text, size_t size)
{
	bool is_full;

	return read_text(cg, file, ret_text, size, &is_full);
}

static int parse_value(const char *text, uint64_t *ret)
{
	if (strcmp(text, "max") == 0) {
		*ret = BYTES_UNLIMITED;
		return 0;
	}
	return parse_u64(text, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

int cgdir_read_u64(struct cgdir *cg, enum cgdir_file file, uint64_t *ret)
{
	char buf[64];
	uint64_t value;
	bool is_full;
	int r = read_text(cg, file, buf, sizeof(buf), &is_full);

	if (r != CGDIR_OK)
		return r;
	if (is_full)
		return -EBADMSG;
	buf[strcspn(buf, "\n")] = '\0';
	r = parse_value(buf, &value);
	if (r == 0)
		*ret = value == BYTES_UNLIMITED ? value : less(value, apart_of(cg, file));
	return r;
}

int cgdir_write_text(struct cgdir *cg, enum cgdir_file file, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;
	int fd = cgdir_file_fd(cg, file);

	if (fd < 0)
		return to_cond(cg, fd);
	n = pwrite(fd, text, len, 0);
	if (n < 0)
		return to_cond(cg, -errno);
	return (size_t)n == len ? CGDIR_OK : -EIO;
}

int cgdir_write_u64(struct cgdir *cg, enum cgdir_file file, uint64_t value)
{
	char buf[32];

	value = cgdir_kernel_value(cg, file, value);
	if (value == BYTES_UNLIMITED)
		return cgdir_write_text(cg, file, "max");
	(void)snprintf(buf, sizeof(buf), "%" PRIu64, value); /* 20 digits fit */
	return cgdir_write_text(cg, file, buf);
}

/* A descriptor of its own: io_uring refuses to write to the kept one were it O_NONBLOCK. Older
 * kernels ignore the flag here. Not kept: it is needed once in a change of a limit. */
int cgdir_write_limit(struct cgdir *cg, enum cgdir_file file, uint64_t value)
{
	CLEANUP(fd_closep) int fd = -1;
	char buf[32];
	ssize_t n;
	int len;

	value = cgdir_kernel_value(cg, file, value);
	len = value == BYTES_UNLIMITED ? snprintf(buf, sizeof(buf), "max")
				       : snprintf(buf, sizeof(buf), "%" PRIu64, value);
	fd = openat(cg->dir_fd, files[file].name, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return to_cond(cg, -errno);
	n = write(fd, buf, (size_t)len);
	if (n < 0)
		return to_cond(cg, -errno);
	return n == len ? CGDIR_OK : -EIO;
}

struct keyed {
	const char *key;
	uint64_t *value;
};

/* Takes the next whole line out of *@rest; NULL at the end. A last line without newline is
 * one too, unless the text was cut there (@is_cut). */
static char *next_line(char **rest, bool is_cut)
{
	char *line = *rest, *end;

	if (!line || !*line)
		return NULL;
	end = strchr(line, '\n');
	if (!end && is_cut)
		return NULL;
	*rest = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	return line;
}

/* A flat keyed file ("anon 4096\nfile 0\n…"): sets the values of the keys that are there. */
static int read_keyed(struct cgdir *cg, enum cgdir_file file, const struct keyed *keys, size_t n)
{
	char buf[TEXT_MAX], *rest = buf, *line;
	bool is_cut, is_empty = true;
	int r = read_text(cg, file, buf, sizeof(buf), &is_cut);

	if (r != CGDIR_OK)
		return r;
	while ((line = next_line(&rest, is_cut))) {
		char *value = strchr(line, ' ');

		is_empty = false;
		if (!value)
			return -EBADMSG;
		*value++ = '\0';
		for (size_t i = 0; i < n; i++) {
			if (strcmp(line, keys[i].key) != 0)
				continue;
			r = parse_value(value, keys[i].value);
			if (r < 0)
				return r;
			break;
		}
	}
	return is_empty ? -EBADMSG : CGDIR_OK;
}

int cgdir_read_stat(struct cgdir *cg, struct cgdir_stat *ret)
{
	struct cgdir_stat s = {};
	const struct keyed keys[] = {
		{ "anon", &s.anon },
		{ "file", &s.file },
		{ "kernel", &s.kernel },
		{ "sock", &s.sock },
		{ "shmem", &s.shmem },
		{ "unevictable", &s.unevictable },
		{ "slab_reclaimable", &s.slab_reclaimable },
		{ "pgscan", &s.pgscan },
		{ "pgsteal", &s.pgsteal },
		{ "pgrefill", &s.pgrefill },
		{ "pgsteal_proactive", &s.pgsteal_proactive },
		{ "pgfault", &s.pgfault },
		{ "workingset_refault_anon", &s.refault_anon },
		{ "workingset_refault_file", &s.refault_file },
		{ "workingset_restore_anon", &s.restore_anon },
		{ "workingset_restore_file", &s.restore_file },
	};
	int r = read_keyed(cg, CG_MEMORY_STAT, keys, ARRAY_LEN(keys));

	if (r != CGDIR_OK)
		return r;
	s.file = less(s.file, cg->apart_bytes);
	s.shmem = less(s.shmem, cg->apart_bytes);
	*ret = s;
	return r;
}

uint64_t cgdir_floor_bytes(const struct cgdir_stat *stat)
{
	return stat->unevictable + stat->sock + stat->kernel -
	       MIN(stat->kernel, stat->slab_reclaimable);
}

static int read_events(struct cgdir *cg, enum cgdir_file file, struct cgdir_events *ret)
{
	struct cgdir_events e = {};
	const struct keyed keys[] = {
		{ "low", &e.low },           { "high", &e.high },
		{ "max", &e.max },           { "oom", &e.oom },
		{ "oom_kill", &e.oom_kill }, { "oom_group_kill", &e.oom_group_kill },
	};
	int r = read_keyed(cg, file, keys, ARRAY_LEN(keys));

	if (r == CGDIR_OK)
		*ret = e;
	return r;
}

int cgdir_read_events(struct cgdir *cg, struct cgdir_events *ret)
{
	return read_events(cg, CG_MEMORY_EVENTS, ret);
}

int cgdir_read_events_local(struct cgdir *cg, struct cgdir_events *ret)
{
	return read_events(cg, CG_MEMORY_EVENTS_LOCAL, ret);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and the same for "full" */
int cgdir_read_stall(struct cgdir *cg, struct cgdir_stall *ret)
{
	struct cgdir_stall stall = {};
	char buf[512], *rest = buf, *line;
	bool is_cut, is_found = false;
	int r = read_text(cg, CG_MEMORY_PRESSURE, buf, sizeof(buf), &is_cut);

	if (r == -EOPNOTSUPP) /* psi=0, or cgroup.pressure of it is 0 */
		return CGDIR_ABSENT;
	if (r != CGDIR_OK)
		return r;
	while ((line = next_line(&rest, is_cut))) {
		const char *total = strstr(line, " total=");
		bool is_some = strncmp(line, "some ", 5) == 0;

		if (!total ||
		    parse_u64(total + 7, UINT64_MAX, is_some ? &stall.some_us : &stall.full_us) < 0)
			return -EBADMSG;
		is_found |= is_some;
	}
	if (!is_found)
		return -EBADMSG;
	*ret = stall;
	return CGDIR_OK;
}

int cgdir_read_cpu(struct cgdir *cg, uint64_t *ret_us)
{
	uint64_t usage_us = 0;
	const struct keyed keys[] = { { "usage_usec", &usage_us } };
	int r = read_keyed(cg, CG_CPU_STAT, keys, ARRAY_LEN(keys));

	if (r == CGDIR_OK)
		*ret_us = usage_us;
	return r;
}

static int read_flag(struct cgdir *cg, const char *name, bool *ret)
{
	uint64_t flag = 0;
	const struct keyed keys[] = { { name, &flag } };
	int r = read_keyed(cg, CG_CGROUP_EVENTS, keys, ARRAY_LEN(keys));

	if (r == CGDIR_OK)
		*ret = flag != 0;
	return r;
}

int cgdir_is_populated(struct cgdir *cg, bool *ret)
{
	return read_flag(cg, "populated", ret);
}

int cgdir_is_frozen(struct cgdir *cg, bool *ret)
{
	return read_flag(cg, "frozen", ret);
}

/* Adds the " N0=4096 N1=0" of one line to @bytes. */
static int add_nodes(char *fields, uint64_t bytes[static NODES_MAX])
{
	char *field;

	while ((field = strsep(&fields, " "))) {
		uint64_t node, value;
		char *equals;

		if (field[0] != 'N') /* "total=…", empty */
			continue;
		equals = strchr(field, '=');
		if (!equals)
			return -EBADMSG;
		*equals = '\0';
		if (parse_u64(field + 1, UINT64_MAX, &node) < 0 ||
		    parse_u64(equals + 1, UINT64_MAX, &value) < 0)
			return -EBADMSG;
		if (node < NODES_MAX)
			bytes[node] += value;
	}
	return 0;
}

int cgdir_read_numa(struct cgdir *cg, enum cgdir_file file, uint64_t bytes[static NODES_MAX])
{
	uint64_t sum[NODES_MAX] = {};
	char buf[TEXT_MAX], *rest = buf, *line;
	bool is_cut, is_empty = true;
	int r = read_text(cg, file, buf, sizeof(buf), &is_cut);

	if (r != CGDIR_OK)
		return r;
	while ((line = next_line(&rest, is_cut))) {
		is_empty = false;
		/* memory: "anon N0=… N1=…"; hugetlb: "total=… N0=… N1=…" */
		if (file == CG_MEMORY_NUMA_STAT && strncmp(line, "anon ", 5) != 0 &&
		    strncmp(line, "file ", 5) != 0)
			continue;
		r = add_nodes(line, sum);
		if (r < 0)
			return r;
	}
	if (is_empty)
		return -EBADMSG;
	memcpy(bytes, sum, sizeof(sum));
	return CGDIR_OK;
}

int cgdir_count_processes(struct cgdir *cg, uint32_t *ret)
{
	char buf[TEXT_MAX];
	uint32_t count = 0;
	off_t offset = 0;
	int fd = cgdir_file_fd(cg, CG_CGROUP_PROCS);

	if (fd < 0)
		return to_cond(cg, fd);
	for (;;) {
		ssize_t n = pread(fd, buf, sizeof(buf), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return to_cond(cg, -errno);
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			count += buf[i] == '\n';
		offset += n;
	}
	*ret = count;
	return CGDIR_OK;
}

int cgdir_list_processes(struct cgdir *cg, pid_t *pids, size_t max, size_t *ret_n)
{
	char buf[TEXT_MAX], *line = buf, *end;
	int fd = cgdir_file_fd(cg, CG_CGROUP_PROCS);
	size_t count = 0;
	ssize_t n;

	if (fd < 0)
		return to_cond(cg, fd);
	n = pread(fd, buf, sizeof(buf) - 1, 0);
	if (n < 0)
		return to_cond(cg, -errno);
	buf[n] = '\0';
	/* a pid that was cut off at the end has no newline */
	while (count < max && (end = strchr(line, '\n'))) {
		uint64_t pid;

		*end = '\0';
		if (parse_u64(line, INT32_MAX, &pid) < 0)
			return -EBADMSG;
		pids[count++] = (pid_t)pid;
		line = end + 1;
	}
	*ret_n = count;
	return CGDIR_OK;
}

int cgdir_get_policy(struct cgdir *cg, char **ret_text)
{
	CLEANUP(freep) char *text = malloc(POLICY_MAX + 1);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = fgetxattr(cg->dir_fd, POLICY_XATTR, text, POLICY_MAX);
	if (n < 0 && errno == ENODATA)
		return CGDIR_ABSENT;
	if (n < 0)
		return errno == ENODEV || errno == ENOENT ? CGDIR_GONE : -errno;
	text[n] = '\0';
	*ret_text = TAKE(text);
	return CGDIR_OK;
}

int cgdir_set_policy(struct cgdir *cg, const char *text)
{
	size_t len = strlen(text);

	if (len > POLICY_MAX)
		return -E2BIG;
	if (fsetxattr(cg->dir_fd, POLICY_XATTR, text, len, 0) < 0)
		return errno == ENODEV || errno == ENOENT ? CGDIR_GONE : -errno;
	return CGDIR_OK;
}
