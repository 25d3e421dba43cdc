/* SPDX-License-Identifier: Apache-2.0 */

/* What the library writes of its pools is what the daemon reads, and the daemon believes none of
 * it: the file is the task's. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/pool_report.h"
#include "pool_fixture.h"
#include "pool/report.h"
#include "suite.h"

#define SIZE ((size_t)32 << 10)
#define PER_CHUNK 64

static struct tm_pool *open_pool(const char *name, size_t bytes, uint32_t min, uint32_t max)
{
	struct tm_pool *pool;

	ck_assert_int_eq(tm_pool_open(slot, name, bytes, min, max, &pool), 0);
	return pool;
}

static struct pool_view views[POOL_REPORTS];
static uint32_t n_unreported;

/* The only pool that is reported. */
static struct pool_view only_pool(int fd)
{
	ck_assert_int_eq(report_read(fd, views, &n_unreported), 1);
	ck_assert_uint_eq(n_unreported, 0);
	return views[0];
}

START_TEST(what_a_task_does_with_a_pool_can_be_read_outside)
{
	struct tm_buffer *buffers[100];
	struct pool_view view;
	struct tm_pool *pool;
	int fd;

	set_up(4);
	pool = open_pool("join", SIZE, PER_CHUNK, 100);
	ck_assert_int_eq(report_open(fake_daemon_take_pools(fake), &fd), 0);
	view = only_pool(fd);
	ck_assert_str_eq(view.name, "join");
	ck_assert_uint_eq(view.buffer_bytes, SIZE);
	ck_assert_uint_eq(view.min_buffers, PER_CHUNK);
	ck_assert_uint_eq(view.max_buffers, 100);
	ck_assert_uint_eq(view.n_idle, PER_CHUNK);
	ck_assert_uint_eq(view.n_chunks, 1);

	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, buffers, 100), 100);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	view = only_pool(fd);
	ck_assert_uint_eq(view.n_buffers, 100);
	ck_assert_uint_eq(view.n_held, 100);
	ck_assert_uint_eq(view.n_idle, 0);
	ck_assert_uint_eq(view.n_lent, 36);
	ck_assert_uint_eq(view.high_water, 100);
	ck_assert_uint_eq(view.empty_total, 1);
	ck_assert_uint_eq(view.n_chunks, 2);
	ck_assert_uint_eq(pool_view_needed_chunks(&view), 2);

	tm_buffer_release_bulk(buffers, 90);
	view = only_pool(fd);
	ck_assert_uint_eq(view.n_held, 10);
	ck_assert_uint_eq(view.n_idle, 90);
	ck_assert_uint_eq(view.high_water, 100);
	ck_assert_uint_eq(pool_view_needed_chunks(&view), 1);
	tm_buffer_release_bulk(buffers + 90, 10);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	ck_assert_int_eq(report_read(fd, views, &n_unreported), 0);
	close(fd);
	tear_down();
}
END_TEST

START_TEST(a_daemon_that_is_new_is_told_again)
{
	struct tm_pool *pool;
	int fd;

	set_up(2);
	pool = open_pool("a", SIZE, 1, 0);
	close(fake_daemon_take_pools(fake));
	fake_daemon_stop(fake);
	fake_daemon_start(fake);
	for (int i = 0; i < 1000 && (fd = fake_daemon_take_pools(fake)) < 0; i++) {
		usleep(10000);
		(void)tm_slot_dispatch(slot);
	}
	ck_assert_int_eq(report_open(fd, &fd), 0);
	ck_assert_str_eq(only_pool(fd).name, "a");
	close(fd);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(pools_beyond_the_file_are_counted)
{
	static struct tm_pool *pools[POOL_REPORTS + 2];
	int fd;

	set_up(1);
	for (int i = 0; i < POOL_REPORTS + 2; i++)
		pools[i] = open_pool("one of many", SIZE, 0, 0);
	ck_assert_int_eq(report_open(fake_daemon_take_pools(fake), &fd), 0);
	ck_assert_int_eq(report_read(fd, views, &n_unreported), POOL_REPORTS);
	ck_assert_uint_eq(n_unreported, 2);
	for (int i = 0; i < POOL_REPORTS + 2; i++)
		ck_assert_int_eq(tm_pool_close(pools[i]), 0);
	ck_assert_int_eq(report_read(fd, views, &n_unreported), 0);
	ck_assert_uint_eq(n_unreported, 0);
	close(fd);
	tear_down();
}
END_TEST

/* A file as an honest library makes it, and as what else a task could send. */
static int make_file(const struct pool_report_file *file, size_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	ck_assert_int_eq(pwrite(fd, file, MIN(bytes, sizeof(*file)), 0),
			 (ssize_t)MIN(bytes, sizeof(*file)));
	if (seals)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

START_TEST(only_a_sealed_memfd_of_the_right_size_is_taken)
{
	struct pool_report_file file = { .magic = POOL_REPORT_MAGIC,
					 .version = POOL_REPORT_VERSION };
	int ends[2], fd = -1, seals = F_SEAL_SHRINK | F_SEAL_GROW;

	ck_assert_int_eq(report_open(make_file(&file, sizeof(file), 0), &fd), -EBADMSG);
	ck_assert_int_eq(report_open(make_file(&file, sizeof(file), F_SEAL_GROW), &fd), -EBADMSG);
	ck_assert_int_eq(report_open(make_file(&file, 4096, seals), &fd), -EBADMSG);
	ck_assert_int_eq(report_open(make_file(&file, 1 << 20, seals), &fd), -EBADMSG);
	ck_assert_int_eq(pipe(ends), 0); /* a read would wait for ever */
	ck_assert_int_eq(report_open(ends[0], &fd), -EBADMSG);
	close(ends[1]);
	ck_assert_int_eq(report_open(open("/dev/zero", O_RDONLY), &fd), -EBADMSG);
	file.version++;
	ck_assert_int_eq(report_open(make_file(&file, sizeof(file), seals), &fd), -EBADMSG);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(whatever_a_task_writes_what_is_read_is_possible)
{
	struct pool_report_file file;
	int fd, n, n_seen = 0;

	memset(&file, 0, sizeof(file));
	memcpy(file.magic, POOL_REPORT_MAGIC, sizeof(file.magic));
	file.version = POOL_REPORT_VERSION;
	fd = make_file(&file, sizeof(file), F_SEAL_SHRINK | F_SEAL_GROW);
	srandom(1);
	for (int round = 0; round < 100; round++) {
		for (size_t i = 16; i < sizeof(file); i++)
			((unsigned char *)&file)[i] = (unsigned char)random();
		for (int i = 0; i < POOL_REPORTS; i++) {
			if (random() % 2)
				continue;
			/* a sound head, then what it likes */
			file.pools[i].is_used = 1;
			file.pools[i].buffer_bytes = 256U << random() % 13;
			file.pools[i].min_buffers = (uint32_t)random();
			file.pools[i].max_buffers = UINT32_MAX;
			file.pools[i].name[31] = '\0';
		}
		ck_assert_int_eq(pwrite(fd, &file, sizeof(file), 0), (ssize_t)sizeof(file));
		n = report_read(fd, views, &n_unreported);
		ck_assert_int_ge(n, 0);
		for (int i = 0; i < n; i++) {
			const struct pool_view *v = &views[i];

			n_seen++;
			ck_assert_uint_eq((uint64_t)v->n_held + v->n_posted + v->n_idle,
					  v->n_buffers);
			ck_assert_uint_le(v->n_in_magazines, v->n_idle);
			ck_assert_uint_le(v->n_overdraft, v->n_held + v->n_posted);
			ck_assert_uint_ge(v->buffer_bytes, 256);
			ck_assert_uint_gt(strlen(v->name), 0);
			for (const char *c = v->name; *c; c++)
				ck_assert(*c >= ' ' && *c < 127);
			(void)pool_view_needed_chunks(v);
		}
	}
	ck_assert_int_gt(n_seen, 100 * POOL_REPORTS / 4);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *both = tcase_create("both sides"), *reader = tcase_create("the daemon's side");

	tcase_add_test(both, what_a_task_does_with_a_pool_can_be_read_outside);
	tcase_add_test(both, a_daemon_that_is_new_is_told_again);
	tcase_add_test(both, pools_beyond_the_file_are_counted);
	suite_add_tcase(suite, both);
	tcase_add_test(reader, only_a_sealed_memfd_of_the_right_size_is_taken);
	tcase_add_test(reader, whatever_a_task_writes_what_is_read_is_possible);
	suite_add_tcase(suite, reader);
	return suite_run(suite);
}
