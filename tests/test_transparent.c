/* SPDX-License-Identifier: Apache-2.0 */

/* Charge and node need a cgroup and are tested on a real kernel; whether a chunk becomes huge is
 * the host's to say. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hugetlb.h"
#include "kern/transparent.h"
#include "suite.h"

static void expect_present(int fd, uint64_t n_chunks)
{
	uint64_t present, size;

	ck_assert_int_eq(hugetlb_measure(fd, &present, &size), 0);
	ck_assert_uint_eq(present, n_chunks);
	ck_assert_uint_eq(size, 8);
}

START_TEST(a_plain_file_is_known_as_such_and_sealed_like_the_other)
{
	CLEANUP(fd_closep) int fd = -1;
	enum page_kind kind = PAGES_HUGE;

	ck_assert_int_eq(hugetlb_create("test", PAGES_TRANSPARENT, 8, &fd), 0);
	ck_assert_int_eq(hugetlb_kind(fd, &kind), 0);
	ck_assert_int_eq(kind, PAGES_TRANSPARENT);
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
			 F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	expect_present(fd, 0);
}
END_TEST

START_TEST(a_chunk_that_is_put_in_is_all_there_and_gone_when_it_is_punched)
{
	CLEANUP(fd_closep) int fd = -1, pagemap_fd = transparent_open_pagemap();
	bool is_huge = false;
	unsigned char *map;

	ck_assert_int_ge(pagemap_fd, 0);
	ck_assert_int_eq(hugetlb_create("test", PAGES_TRANSPARENT, 8, &fd), 0);
	ck_assert_int_eq(transparent_put_in(fd, 5, pagemap_fd, &is_huge), 0);
	ck_assert_int_eq(transparent_put_in(fd, 2, pagemap_fd, &is_huge), 0);
	expect_present(fd, 2);
	/* what was put in stays, and what was written, too, when it is put in once more */
	map = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   (off_t)(5 * CHUNK_BYTES));
	ck_assert_ptr_ne(map, MAP_FAILED);
	map[CHUNK_BYTES - 1] = 77;
	ck_assert_int_eq(transparent_put_in(fd, 5, pagemap_fd, &is_huge), 0);
	ck_assert_uint_eq(map[CHUNK_BYTES - 1], 77);
	ck_assert_uint_eq(map[0], 0);
	munmap(map, CHUNK_BYTES);

	ck_assert_int_eq(hugetlb_punch(fd, 5, 1), 0);
	expect_present(fd, 1);
	ck_assert_int_eq(hugetlb_punch(fd, 0, 8), 0);
	expect_present(fd, 0);
}
END_TEST

START_TEST(a_part_of_a_chunk_counts_as_present)
{
	CLEANUP(fd_closep) int fd = -1;

	ck_assert_int_eq(hugetlb_create("test", PAGES_TRANSPARENT, 8, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 3 * CHUNK_BYTES), 1);
	expect_present(fd, 1);
}
END_TEST

START_TEST(chunks_are_huge_only_where_the_kernel_makes_them_so)
{
	CLEANUP(fd_closep) int fd = -1, pagemap_fd = transparent_open_pagemap();
	char mode[TRANSPARENT_MODE_MAX] = "never";
	int r = transparent_read_mode(mode);
	bool is_huge = false;

	ck_assert(r == 0 || r == -ENOENT);
	ck_assert_int_eq(hugetlb_create("test", PAGES_TRANSPARENT, 8, &fd), 0);
	ck_assert_int_eq(transparent_put_in(fd, 0, pagemap_fd, &is_huge), 0);
	if (!transparent_mode_is_huge(mode))
		ck_assert(!is_huge);
	/* without the map of pages none counts */
	is_huge = false;
	ck_assert_int_eq(transparent_put_in(fd, 0, -1, &is_huge), 0);
	ck_assert(!is_huge);
}
END_TEST

START_TEST(modes_are_told_apart)
{
	ck_assert(transparent_mode_is_huge("always"));
	ck_assert(transparent_mode_is_huge("within_size"));
	ck_assert(transparent_mode_is_huge("advise"));
	ck_assert(transparent_mode_is_huge("force"));
	ck_assert(!transparent_mode_is_huge("never"));
	ck_assert(!transparent_mode_is_huge("deny"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transparent");
	TCase *tc = tcase_create("transparent");

	tcase_add_test(tc, a_plain_file_is_known_as_such_and_sealed_like_the_other);
	tcase_add_test(tc, a_chunk_that_is_put_in_is_all_there_and_gone_when_it_is_punched);
	tcase_add_test(tc, a_part_of_a_chunk_counts_as_present);
	tcase_add_test(tc, chunks_are_huge_only_where_the_kernel_makes_them_so);
	tcase_add_test(tc, modes_are_told_apart);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
