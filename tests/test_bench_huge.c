/* SPDX-License-Identifier: Apache-2.0 */

/* Who takes huge pages from the machine puts them back. The kernel is a folder of files here. */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"
#include "bench_huge.h"
#include "suite.h"

static char folder[] = "/tmp/bench_huge.XXXXXX";

static void write_file(const char *name, unsigned number)
{
	char path[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "%u\n", number);
	fclose(f);
}

static unsigned read_total(void)
{
	char path[64];
	unsigned number = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/nr_hugepages", folder);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%u", &number), 1);
	fclose(f);
	return number;
}

static void remove_file(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

static void remove_all(void)
{
	remove_file("nr_hugepages");
	remove_file("free_hugepages");
	remove_file("resv_hugepages");
	(void)rmdir(folder);
}

/* A kernel that has @n_total, all of them free, and finds whatever is asked for, or nothing more. */
static void make_kernel(unsigned n_total, bool has_more)
{
	char path[64];

	ck_assert_ptr_nonnull(mkdtemp(folder));
	write_file("nr_hugepages", n_total);
	write_file("resv_hugepages", 0);
	(void)snprintf(path, sizeof(path), "%s/free_hugepages", folder);
	if (has_more)
		ck_assert_int_eq(symlink("nr_hugepages", path), 0);
	else
		write_file("free_hugepages", n_total);
	huge_set_folder(folder);
}

/* What a program does with its pages, up to its end. */
static int run(void (*program)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		program();
		exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Checks in the child end it with another status. */
static void reserve_150(void)
{
	if (!huge_reserve("test", 150) || read_total() != 150 || huge_count_free() != 150)
		exit(1);
}

START_TEST(what_is_reserved_is_put_back_at_the_end)
{
	make_kernel(7, /* has_more= */ true);
	ck_assert_int_eq(run(reserve_150), 0);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static void reserve_and_give_back_twice(void)
{
	reserve_150();
	huge_give_back();
	if (read_total() != 7)
		exit(1);
	huge_give_back();
	reserve_150();
}

START_TEST(what_is_put_back_can_be_reserved_again)
{
	make_kernel(7, /* has_more= */ true);
	ck_assert_int_eq(run(reserve_and_give_back_twice), 0);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGSEGV, SIGABRT };

static int signal_to_die_of;

static void die_of_signal(void)
{
	(void)signal(signal_to_die_of,
		     SIG_DFL); /* whoever started this may ignore it, as nohup does */
	reserve_150();
	(void)raise(signal_to_die_of);
}

START_TEST(what_is_reserved_is_put_back_at_a_signal)
{
	make_kernel(7, /* has_more= */ true);
	signal_to_die_of = signals[_i];
	ck_assert_int_eq(run(die_of_signal), 128 + signal_to_die_of);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static void survive_hangup(void)
{
	(void)signal(SIGHUP, SIG_IGN);
	reserve_150();
	(void)raise(SIGHUP);
	exit(3);
}

START_TEST(an_ignored_signal_stays_ignored)
{
	make_kernel(7, /* has_more= */ true);
	ck_assert_int_eq(run(survive_hangup), 3);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static void end_children(void)
{
	reserve_150();
	for (int number = 0; number <= SIGTERM; number += SIGTERM) {
		pid_t pid = fork();

		if (pid == 0) {
			(void)raise(number); /* 0: none */
			exit(0);
		}
		(void)waitpid(pid, NULL, 0);
		if (read_total() != 150)
			exit(1);
	}
}

START_TEST(a_child_that_ends_puts_nothing_back)
{
	make_kernel(7, /* has_more= */ true);
	ck_assert_int_eq(run(end_children), 0);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static void let_others_reserve(void)
{
	reserve_150();
	write_file("nr_hugepages", 150 + 20);
}

START_TEST(what_others_reserved_meanwhile_stays)
{
	make_kernel(7, /* has_more= */ true);
	ck_assert_int_eq(run(let_others_reserve), 0);
	ck_assert_uint_eq(read_total(), 7 + 20);
	remove_all();
}
END_TEST

static void reserve_in_vain(void)
{
	if (huge_reserve("test", 150) || read_total() != 7)
		exit(1);
}

START_TEST(pages_that_are_not_to_be_had_change_nothing)
{
	make_kernel(7, /* has_more= */ false);
	ck_assert_int_eq(run(reserve_in_vain), 0);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

static void reserve_what_is_there(void)
{
	if (!huge_reserve("test", 5) || read_total() != 7)
		exit(1);
}

START_TEST(free_pages_are_taken_first)
{
	make_kernel(7, /* has_more= */ false);
	ck_assert_int_eq(run(reserve_what_is_there), 0);
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

START_TEST(pages_promised_to_others_are_not_free)
{
	make_kernel(7, /* has_more= */ true);
	write_file("resv_hugepages", 4);
	ck_assert(huge_reserve("test", 5));
	ck_assert_uint_eq(read_total(), 9);
	huge_give_back();
	ck_assert_uint_eq(read_total(), 7);
	remove_all();
}
END_TEST

START_TEST(a_kernel_without_huge_pages_is_told_of)
{
	huge_set_folder("/nowhere");
	ck_assert(!huge_reserve("test", 1));
	ck_assert_uint_eq(huge_count_free(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_huge");
	TCase *tc = tcase_create("bench_huge");

	tcase_add_test(tc, what_is_reserved_is_put_back_at_the_end);
	tcase_add_test(tc, what_is_put_back_can_be_reserved_again);
	tcase_add_loop_test(tc, what_is_reserved_is_put_back_at_a_signal, 0,
			    (int)ARRAY_LEN(signals));
	tcase_add_test(tc, an_ignored_signal_stays_ignored);
	tcase_add_test(tc, a_child_that_ends_puts_nothing_back);
	tcase_add_test(tc, what_others_reserved_meanwhile_stays);
	tcase_add_test(tc, pages_that_are_not_to_be_had_change_nothing);
	tcase_add_test(tc, free_pages_are_taken_first);
	tcase_add_test(tc, pages_promised_to_others_are_not_free);
	tcase_add_test(tc, a_kernel_without_huge_pages_is_told_of);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
