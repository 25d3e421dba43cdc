/* SPDX-License-Identifier: Apache-2.0 */

/* A directory of regular files stands in for a cgroup; what the kernel does on removal
 * (ENODEV on kept descriptors) is in the tests on a real kernel. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/cgdir.h"
#include "kern/psi.h"
#include "kern/sample.h"
#include "suite.h"

#define N_MAPPED 2000
#define TEXT_BYTES 262144

static char root[64];
static int root_fd;
static struct cgdir *cg;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void put(const char *file, const char *text)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "slot/%s", file);
	fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void expect(const char *file, const char *text)
{
	char path[128], buf[128];

	(void)snprintf(path, sizeof(path), "slot/%s", file);
	ck_assert_int_ge(file_read_small(root_fd, path, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, text);
}

static void setup(void)
{
	strcpy(root, "/tmp/test_cgdir.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(root_fd, 0);
	ck_assert_int_eq(mkdirat(root_fd, "slot", 0755), 0);
	put("cgroup.procs", "");
	ck_assert_int_eq(cgdir_open(root_fd, "slot", &cg), CGDIR_OK);
}

static void teardown(void)
{
	cgdir_close(cg);
	close(root_fd);
	(void)nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

START_TEST(opening_tells_missing_directories_from_forbidden_paths)
{
	struct cgdir *other = NULL;

	ck_assert_int_eq(cgdir_open(root_fd, "nothing", &other), CGDIR_GONE);
	ck_assert_int_eq(cgdir_open(root_fd, "slot/cgroup.procs", &other), -ENOTDIR);
	ck_assert_int_eq(cgdir_open(root_fd, "../", &other), -EXDEV);
	ck_assert_int_eq(symlinkat("slot", root_fd, "link"), 0);
	ck_assert_int_eq(cgdir_open(root_fd, "link", &other), -ELOOP);
	ck_assert_ptr_null(other);
	cgdir_close(NULL);
}
END_TEST

START_TEST(numbers_are_read_again_from_the_kept_descriptor)
{
	uint64_t value = 7;

	put("memory.current", "4096\n");
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 4096);
	put("memory.current", "18446744073709551615\n");
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), CGDIR_OK);
	ck_assert_uint_eq(value, UINT64_MAX);
}
END_TEST

START_TEST(max_reads_and_writes_as_unlimited)
{
	uint64_t value = 7;

	put("memory.max", "max\n");
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_MAX, &value), CGDIR_OK);
	ck_assert_uint_eq(value, BYTES_UNLIMITED);
	put("memory.high", "");
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_HIGH, 1048576), CGDIR_OK);
	expect("memory.high", "1048576");
	put("memory.low", "");
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_LOW, BYTES_UNLIMITED), CGDIR_OK);
	expect("memory.low", "max");
	put("cpuset.mems", "");
	ck_assert_int_eq(cgdir_write_text(cg, CG_CPUSET_MEMS, "0-1"), CGDIR_OK);
	expect("cpuset.mems", "0-1");
}
END_TEST

START_TEST(memory_that_is_set_apart_is_in_no_reading_and_on_top_of_every_limit)
{
	struct cgdir_stat stat;
	uint64_t value;

	put("memory.current", "5000\n");
	put("memory.max", "9000\n");
	put("memory.low", "100\n");
	put("memory.high", "max\n");
	put("memory.swap.current", "5000\n");
	put("memory.stat", "anon 1000\nfile 3000\nshmem 2500\n");
	cgdir_set_apart(cg, 2000);
	ck_assert_uint_eq(cgdir_get_apart(cg), 2000);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 3000);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_MAX, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 7000);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_LOW, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 0);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_HIGH, &value), CGDIR_OK);
	ck_assert_uint_eq(value, BYTES_UNLIMITED);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_SWAP_CURRENT, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 5000);
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), CGDIR_OK);
	ck_assert_uint_eq(stat.anon, 1000);
	ck_assert_uint_eq(stat.file, 1000);
	ck_assert_uint_eq(stat.shmem, 500);

	put("memory.low", "");
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_LOW, 300), CGDIR_OK);
	expect("memory.low", "2300");
	put("memory.max", "");
	ck_assert_int_eq(cgdir_write_limit(cg, CG_MEMORY_MAX, 500), CGDIR_OK);
	expect("memory.max", "2500");
	put("memory.max", "");
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_MAX, BYTES_UNLIMITED), CGDIR_OK);
	expect("memory.max", "max");
	put("hugetlb.2MB.max", "");
	ck_assert_int_eq(cgdir_write_u64(cg, CG_HUGETLB_MAX, 300), CGDIR_OK);
	expect("hugetlb.2MB.max", "300");
	ck_assert_uint_eq(cgdir_kernel_value(cg, CG_MEMORY_HIGH, 1), 2001);
	ck_assert_uint_eq(cgdir_kernel_value(cg, CG_MEMORY_RECLAIM, 1), 1);

	cgdir_set_apart(cg, 0);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), CGDIR_OK);
	ck_assert_uint_eq(value, 5000);
}
END_TEST

START_TEST(processes_are_listed_up_to_a_number)
{
	pid_t pids[3] = {};
	size_t n = 7;

	ck_assert_int_eq(cgdir_list_processes(cg, pids, 3, &n), CGDIR_OK);
	ck_assert_uint_eq(n, 0);
	put("cgroup.procs", "12\n345\n6\n78\n");
	ck_assert_int_eq(cgdir_list_processes(cg, pids, 3, &n), CGDIR_OK);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(pids[0], 12);
	ck_assert_int_eq(pids[1], 345);
	ck_assert_int_eq(pids[2], 6);
	put("cgroup.procs", "12\nx\n");
	ck_assert_int_eq(cgdir_list_processes(cg, pids, 3, &n), -EBADMSG);
}
END_TEST

START_TEST(text_that_is_no_number_is_refused_and_changes_nothing)
{
	static const char *const texts[] = {
		"", "\n", "12x\n", "-1\n", " 1\n", "1 2\n", "18446744073709551616\n"
	};
	char longer[100];
	uint64_t value = 7;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		put("memory.current", texts[i]);
		ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), -EBADMSG);
	}
	memset(longer, '1', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	put("memory.current", longer);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_CURRENT, &value), -EBADMSG);
	ck_assert_uint_eq(value, 7);
}
END_TEST

START_TEST(a_missing_file_is_absent_and_a_missing_directory_is_gone)
{
	struct cgdir_stat stat;
	uint64_t value;
	bool is_populated;

	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_MIN, &value), CGDIR_ABSENT);
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_RECLAIM, 1), CGDIR_ABSENT);
	ck_assert_int_eq(cgdir_file_fd(cg, CG_MEMORY_PRESSURE), -ENOENT);
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), CGDIR_ABSENT);

	ck_assert_int_eq(unlinkat(root_fd, "slot/cgroup.procs", 0), 0);
	ck_assert_int_eq(unlinkat(root_fd, "slot", AT_REMOVEDIR), 0);
	ck_assert_int_eq(cgdir_read_u64(cg, CG_MEMORY_MIN, &value), CGDIR_GONE);
	ck_assert_int_eq(cgdir_write_u64(cg, CG_MEMORY_MIN, 0), CGDIR_GONE);
	ck_assert_int_eq(cgdir_is_populated(cg, &is_populated), CGDIR_GONE);
}
END_TEST

START_TEST(memory_stat_gives_the_keys_that_are_used)
{
	struct cgdir_stat stat;

	put("memory.stat", "anon 4096\nfile 8192\nkernel 100\nsock 3\nanon_thp 77\n"
			   "unevictable 5\nslab_reclaimable 6\npgscan 10\npgsteal 9\npgrefill 8\n"
			   "workingset_refault_anon 11\nworkingset_refault_file 12\n"
			   "workingset_restore_anon 13\nworkingset_restore_file 14\n");
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), CGDIR_OK);
	ck_assert_uint_eq(stat.anon, 4096);
	ck_assert_uint_eq(stat.file, 8192);
	ck_assert_uint_eq(stat.kernel, 100);
	ck_assert_uint_eq(stat.sock, 3);
	ck_assert_uint_eq(stat.shmem, 0);
	ck_assert_uint_eq(stat.unevictable, 5);
	ck_assert_uint_eq(stat.slab_reclaimable, 6);
	ck_assert_uint_eq(stat.pgscan, 10);
	ck_assert_uint_eq(stat.pgsteal, 9);
	ck_assert_uint_eq(stat.pgrefill, 8);
	ck_assert_uint_eq(stat.refault_anon, 11);
	ck_assert_uint_eq(stat.refault_file, 12);
	ck_assert_uint_eq(stat.restore_anon, 13);
	ck_assert_uint_eq(stat.restore_file, 14);
}
END_TEST

START_TEST(torn_stat_files_are_refused_and_change_nothing)
{
	struct cgdir_stat stat = { .anon = 7 };

	put("memory.stat", "");
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), -EBADMSG);
	put("memory.stat", "anon 4096\nfi");
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), -EBADMSG);
	put("memory.stat", "anon 4096\nfile \n");
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), -EBADMSG);
	ck_assert_uint_eq(stat.anon, 7);
}
END_TEST

START_TEST(a_huge_stat_file_is_read_up_to_its_last_whole_line)
{
	CLEANUP(freep) char *text = malloc(60000);
	struct cgdir_stat stat;
	size_t len;

	ck_assert_ptr_nonnull(text);
	len = (size_t)sprintf(text, "anon 4096\n");
	while (len < 50000)
		len += (size_t)sprintf(text + len, "key_of_a_kernel_to_come 123456789\n");
	put("memory.stat", text);
	ck_assert_int_eq(cgdir_read_stat(cg, &stat), CGDIR_OK);
	ck_assert_uint_eq(stat.anon, 4096);
}
END_TEST

START_TEST(events_and_populated_are_read)
{
	struct cgdir_events events;
	bool is_populated = true, is_frozen = true;

	put("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
	ck_assert_int_eq(cgdir_read_events(cg, &events), CGDIR_OK);
	ck_assert_uint_eq(events.low, 1);
	ck_assert_uint_eq(events.high, 2);
	ck_assert_uint_eq(events.max, 3);
	ck_assert_uint_eq(events.oom, 4);
	ck_assert_uint_eq(events.oom_kill, 5);
	put("cgroup.events", "populated 0\nfrozen 0\n");
	ck_assert_int_eq(cgdir_is_populated(cg, &is_populated), CGDIR_OK);
	ck_assert(!is_populated);
	put("cgroup.events", "populated 1\nfrozen 0\n");
	ck_assert_int_eq(cgdir_is_populated(cg, &is_populated), CGDIR_OK);
	ck_assert(is_populated);
	ck_assert_int_eq(cgdir_is_frozen(cg, &is_frozen), CGDIR_OK);
	ck_assert(!is_frozen);
	put("cgroup.events", "populated 0\nfrozen 1\n");
	ck_assert_int_eq(cgdir_is_frozen(cg, &is_frozen), CGDIR_OK);
	ck_assert(is_frozen);
}
END_TEST

START_TEST(numa_bytes_are_anon_and_file_together)
{
	uint64_t bytes[NODES_MAX] = { 7 };

	put("memory.numa_stat", "anon N0=4096 N1=8192\nfile N0=1 N1=2\nshmem N0=64 N1=64\n");
	ck_assert_int_eq(cgdir_read_numa(cg, CG_MEMORY_NUMA_STAT, bytes), CGDIR_OK);
	ck_assert_uint_eq(bytes[0], 4097);
	ck_assert_uint_eq(bytes[1], 8194);
	ck_assert_uint_eq(bytes[2], 0);
}
END_TEST

START_TEST(numa_bytes_of_huge_pages_leave_the_total_out)
{
	uint64_t bytes[NODES_MAX];

	put("hugetlb.2MB.numa_stat", "total=6291456 N0=2097152 N1=4194304 N200=1\n");
	ck_assert_int_eq(cgdir_read_numa(cg, CG_HUGETLB_NUMA_STAT, bytes), CGDIR_OK);
	ck_assert_uint_eq(bytes[0], 2097152);
	ck_assert_uint_eq(bytes[1], 4194304);
	ck_assert_uint_eq(bytes[NODES_MAX - 1], 0);
}
END_TEST

START_TEST(torn_numa_files_are_refused_and_change_nothing)
{
	static const char *const texts[] = { "", "anon N0\n", "anon Nx=1\n", "anon N0=\n" };
	uint64_t bytes[NODES_MAX] = { 7 };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		put("memory.numa_stat", texts[i]);
		ck_assert_int_eq(cgdir_read_numa(cg, CG_MEMORY_NUMA_STAT, bytes), -EBADMSG);
	}
	ck_assert_uint_eq(bytes[0], 7);
}
END_TEST

START_TEST(processes_are_counted_over_several_reads)
{
	CLEANUP(freep) char *text = malloc(80000);
	uint32_t count = 7;
	size_t len = 0;

	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(cgdir_count_processes(cg, &count), CGDIR_OK);
	ck_assert_uint_eq(count, 0);
	for (int pid = 10000; pid < 20000; pid++)
		len += (size_t)sprintf(text + len, "%d\n", pid);
	put("cgroup.procs", text);
	ck_assert_int_eq(cgdir_count_processes(cg, &count), CGDIR_OK);
	ck_assert_uint_eq(count, 10000);
}
END_TEST

START_TEST(the_policy_attribute_is_kept_and_replaced)
{
	char *text = NULL;
	int r = cgdir_set_policy(cg, "{\"weight\":100}");

	if (r == -EOPNOTSUPP) {
		fprintf(stderr, "no user attributes on /tmp: not tested\n");
		return;
	}
	ck_assert_int_eq(r, CGDIR_OK);
	ck_assert_int_eq(cgdir_get_policy(cg, &text), CGDIR_OK);
	ck_assert_str_eq(text, "{\"weight\":100}");
	free(text);
	ck_assert_int_eq(cgdir_set_policy(cg, "{}"), CGDIR_OK);
	ck_assert_int_eq(cgdir_get_policy(cg, &text), CGDIR_OK);
	ck_assert_str_eq(text, "{}");
	free(text);
}
END_TEST

START_TEST(a_slot_without_policy_says_so)
{
	char *text = NULL;
	int r = cgdir_get_policy(cg, &text);

	ck_assert(r == CGDIR_ABSENT || r == -EOPNOTSUPP);
	ck_assert_ptr_null(text);
}
END_TEST

START_TEST(a_trigger_is_one_line_on_a_descriptor_of_its_own)
{
	uint64_t window_us = 0;
	int fd = -1;

	ck_assert_int_eq(psi_open_trigger(cg, PSI_SOME, 100, 1000000, &fd, &window_us),
			 CGDIR_ABSENT);
	put("memory.pressure", "");
	ck_assert_int_eq(psi_open_trigger(cg, PSI_SOME, 0, 1000000, &fd, &window_us), -EINVAL);
	ck_assert_int_eq(psi_open_trigger(cg, PSI_SOME, 1001, 1000000, &fd, &window_us), -EINVAL);
	ck_assert_int_eq(psi_open_trigger(cg, PSI_SOME, 100, 499999, &fd, &window_us), -EINVAL);
	ck_assert_int_eq(psi_open_trigger(cg, PSI_SOME, 100, 10000001, &fd, &window_us), -EINVAL);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(psi_open_trigger(cg, PSI_FULL, 50, 1000000, &fd, &window_us), CGDIR_OK);
	ck_assert_uint_eq(window_us, 1000000);
	expect("memory.pressure", "full 50000 1000000");
	close(fd);
}
END_TEST

START_TEST(limits_are_written_without_waiting_and_processor_time_is_read)
{
	uint64_t usec = 7;

	ck_assert_int_eq(cgdir_write_limit(cg, CG_MEMORY_MAX, 4096), CGDIR_ABSENT);
	put("memory.max", "");
	ck_assert_int_eq(cgdir_write_limit(cg, CG_MEMORY_MAX, 1048576), CGDIR_OK);
	expect("memory.max", "1048576");
	put("memory.max", "");
	ck_assert_int_eq(cgdir_write_limit(cg, CG_MEMORY_MAX, BYTES_UNLIMITED), CGDIR_OK);
	expect("memory.max", "max");
	ck_assert_int_eq(cgdir_read_cpu(cg, &usec), CGDIR_ABSENT);
	ck_assert_uint_eq(usec, 7);
	put("cpu.stat", "usage_usec 4711\nuser_usec 1\nsystem_usec 2\n");
	ck_assert_int_eq(cgdir_read_cpu(cg, &usec), CGDIR_OK);
	ck_assert_uint_eq(usec, 4711);
}
END_TEST

static void put_sample(void)
{
	put("memory.stat", "pgfault 9\nworkingset_refault_anon 1\nworkingset_refault_file 2\n"
			   "workingset_restore_anon 3\nworkingset_restore_file 4\npgsteal 30\n"
			   "pgsteal_proactive 10\npgrefill 5\n");
	put("memory.current", "8192\n");
	put("memory.swap.current", "4096\n");
	put("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\n"
			       "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n");
	put("cpu.stat", "usage_usec 555\nuser_usec 500\n");
}

START_TEST(a_sample_takes_in_all_counters_of_the_law)
{
	struct memory_sample sample = { .refault_pages = 77 };

	put_sample();
	ck_assert_int_eq(sample_read(cg, &sample), CGDIR_OK);
	ck_assert_uint_eq(sample.current_bytes, 8192);
	ck_assert_uint_eq(sample.swap_bytes, 4096);
	ck_assert_uint_eq(sample.refault_pages, 3);
	ck_assert_uint_eq(sample.restore_pages, 7);
	ck_assert_uint_eq(sample.refill_pages, 5);
	ck_assert_uint_eq(sample.steal_pages, 20);
	ck_assert_uint_eq(sample.stall_us, 1234);
	ck_assert_uint_eq(sample.stall_full_us, 12);
	ck_assert_uint_eq(sample.cpu_us, 555);
	ck_assert_uint_eq(sample.fault_count, 9);
}
END_TEST

/* System calls of this process that read, so far; false: the kernel does not count them. */
static bool count_reads(uint64_t *ret)
{
	char text[512];
	const char *at;

	if (file_read_small(AT_FDCWD, "/proc/self/io", text, sizeof(text)) < 0)
		return false;
	at = strstr(text, "syscr: ");
	return at && sscanf(at, "syscr: %" SCNu64, ret) == 1;
}

/* Those since *@begin, without what it takes to count. */
static uint64_t reads_since(uint64_t begin)
{
	uint64_t end = 0, again = 0;

	ck_assert(count_reads(&end) && count_reads(&again));
	return end - begin - (again - end);
}

START_TEST(each_file_of_a_sample_is_read_by_one_call)
{
	struct memory_sample sample;
	uint64_t begin, usec, bytes[NODES_MAX];

	if (!count_reads(&begin)) {
		fprintf(stderr, "no accounting of reads: not tested\n");
		return;
	}
	put_sample();
	ck_assert(count_reads(&begin));
	ck_assert_int_eq(sample_read(cg, &sample), CGDIR_OK);
	ck_assert_uint_eq(reads_since(begin), 5);
	ck_assert(count_reads(&begin));
	ck_assert_int_eq(cgdir_read_cpu(cg, &usec), CGDIR_OK);
	ck_assert_uint_eq(reads_since(begin), 1);
	/* what has no newline at its end, or could have lines longer than all others, may go on */
	put("cpu.stat", "usage_usec 555");
	ck_assert(count_reads(&begin));
	ck_assert_int_eq(cgdir_read_cpu(cg, &usec), CGDIR_OK);
	ck_assert_uint_eq(reads_since(begin), 2);
	put("memory.numa_stat", "anon N0=4096 N1=8192\n");
	ck_assert(count_reads(&begin));
	ck_assert_int_eq(cgdir_read_numa(cg, CG_MEMORY_NUMA_STAT, bytes), CGDIR_OK);
	ck_assert_uint_eq(reads_since(begin), 2);
}
END_TEST

/* A file of the kernel's that has a record for each line, as files of a cgroup might one day. */
START_TEST(what_the_kernel_gives_in_pieces_of_a_page_is_read_to_its_end)
{
	static char whole[TEXT_BYTES], text[TEXT_BYTES];
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, N_MAPPED * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n, n_whole;

	/* two kinds in turn: some fifty characters for each page */
	ck_assert_ptr_ne(pages, MAP_FAILED);
	for (size_t i = 0; i < N_MAPPED; i += 2)
		ck_assert_int_eq(mprotect(pages + i * page, page, PROT_NONE), 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	n_whole = fd_read_small(fd, whole, sizeof(whole)); /* without the newline at its end */
	ck_assert_int_gt(n_whole, n);
	ck_assert_int_eq(symlinkat("/proc/self/maps", root_fd, "slot/cgroup.freeze"), 0);
	ck_assert_int_eq(cgdir_read_text(cg, CG_CGROUP_FREEZE, text, sizeof(text)), CGDIR_OK);
	ck_assert_uint_eq(strlen(text), (size_t)n_whole + 1);
	ck_assert(memcmp(text, whole, (size_t)n_whole) == 0);
	close(fd);
	(void)munmap(pages, N_MAPPED * page);
}
END_TEST

START_TEST(a_sample_does_without_swap_and_pressure_but_not_without_usage)
{
	struct memory_sample sample = { .refault_pages = 77 };

	put("memory.stat", "pgsteal 30\n");
	ck_assert_int_eq(sample_read(cg, &sample), CGDIR_ABSENT);
	ck_assert_uint_eq(sample.refault_pages, 77);
	put("memory.current", "8192\n");
	ck_assert_int_eq(sample_read(cg, &sample), CGDIR_OK);
	ck_assert_uint_eq(sample.steal_pages, 30);
	ck_assert_uint_eq(sample.stall_us, 0);
	put("memory.pressure", "some avg10=0.00\n");
	ck_assert_int_eq(sample_read(cg, &sample), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cgdir");
	TCase *tc = tcase_create("cgdir");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, opening_tells_missing_directories_from_forbidden_paths);
	tcase_add_test(tc, numbers_are_read_again_from_the_kept_descriptor);
	tcase_add_test(tc, max_reads_and_writes_as_unlimited);
	tcase_add_test(tc, memory_that_is_set_apart_is_in_no_reading_and_on_top_of_every_limit);
	tcase_add_test(tc, processes_are_listed_up_to_a_number);
	tcase_add_test(tc, text_that_is_no_number_is_refused_and_changes_nothing);
	tcase_add_test(tc, a_missing_file_is_absent_and_a_missing_directory_is_gone);
	tcase_add_test(tc, memory_stat_gives_the_keys_that_are_used);
	tcase_add_test(tc, torn_stat_files_are_refused_and_change_nothing);
	tcase_add_test(tc, a_huge_stat_file_is_read_up_to_its_last_whole_line);
	tcase_add_test(tc, events_and_populated_are_read);
	tcase_add_test(tc, numa_bytes_are_anon_and_file_together);
	tcase_add_test(tc, numa_bytes_of_huge_pages_leave_the_total_out);
	tcase_add_test(tc, torn_numa_files_are_refused_and_change_nothing);
	tcase_add_test(tc, processes_are_counted_over_several_reads);
	tcase_add_test(tc, the_policy_attribute_is_kept_and_replaced);
	tcase_add_test(tc, a_slot_without_policy_says_so);
	tcase_add_test(tc, a_trigger_is_one_line_on_a_descriptor_of_its_own);
	tcase_add_test(tc, limits_are_written_without_waiting_and_processor_time_is_read);
	tcase_add_test(tc, a_sample_takes_in_all_counters_of_the_law);
	tcase_add_test(tc, each_file_of_a_sample_is_read_by_one_call);
	tcase_add_test(tc, what_the_kernel_gives_in_pieces_of_a_page_is_read_to_its_end);
	tcase_add_test(tc, a_sample_does_without_swap_and_pressure_but_not_without_usage);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
