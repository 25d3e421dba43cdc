/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The numbers are written whenever pool->lock is let go, so that they are those of the last
 * operation that came to the pool; what threads do with their magazines does not come there. That
 * is a dozen stores into lines that were written by the holder of the lock before, and for pools with
 * magazines once for hundreds of buffers.
 *
 * The file goes to the daemon by a call of its own, which an older one does not know: then nobody
 * reads it.
 */

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "pool.h"
#include "slot.h"

#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static int make_file(struct slot_report *report)
{
	CLEANUP(fd_closep) int fd = -1;
	struct pool_report_file *file;

	fd = memfd_create("taskmem-pools", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*file)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		return -errno;
	/* a child must not write there what it makes of its copies of the pools */
	if (madvise(file, sizeof(*file), MADV_DONTFORK) < 0) {
		(void)munmap(file, sizeof(*file));
		return -errno;
	}
	file->version = POOL_REPORT_VERSION;
	memcpy(file->magic, POOL_REPORT_MAGIC, sizeof(file->magic));
	report->file = file;
	report->fd = TAKE_FD(fd);
	return 0;
}

void report_close(struct tm_slot *slot)
{
	if (slot->report.file)
		(void)munmap(slot->report.file, sizeof(*slot->report.file));
	slot->report.file = NULL;
	fd_closep(&slot->report.fd);
}

static struct pool_report *find_room(struct pool_report_file *file)
{
	for (int i = 0; i < POOL_REPORTS; i++)
		if (!atomic_load(&file->pools[i].is_used))
			return &file->pools[i];
	atomic_fetch_add(&file->n_unreported, 1);
	return NULL;
}

void report_add_pool(struct tm_slot *slot, struct tm_pool *pool)
{
	struct pool_report *report = NULL;

	pthread_mutex_lock(&slot->lock);
	if (!slot->report.file && make_file(&slot->report) == 0)
		atomic_store(&slot->report.is_untold, true);
	if (slot->report.file)
		report = find_room(slot->report.file);
	if (report) {
		pthread_mutex_lock(&pool->lock);
		report->buffer_bytes = pool->buffer_bytes;
		report->min_buffers = pool->min_buffers;
		report->max_buffers = pool->max_buffers;
		memcpy(report->name, pool->name, sizeof(report->name));
		pool->report = report;
		report_write(pool);
		pthread_mutex_unlock(&pool->lock);
		atomic_store(&report->is_used, 1);
	}
	pthread_mutex_unlock(&slot->lock);
}

/* slot->lock held. */
void report_remove_pool(struct tm_slot *slot, struct tm_pool *pool)
{
	if (pool->report != &pool->own_report)
		atomic_store(&pool->report->is_used, 0);
	else if (slot->report.file)
		atomic_fetch_sub(&slot->report.file->n_unreported, 1);
	pool->report = &pool->own_report;
}

void report_write(struct tm_pool *pool)
{
	struct pool_report *report = pool->report;
	uint32_t idle = pool->n_stash + pool->n_known, out = depot_count_out(pool);

	/* what a thread has released since it came here last is not known */
	out -= MIN(out, idle);
	SET(report->n_buffers, pool->n_buffers + pool->n_leaving + pool->n_overdraft);
	SET(report->n_overdraft, pool->n_overdraft);
	SET(report->n_out, out);
	SET(report->n_in_magazines, idle);
	SET(report->n_posted, atomic_load_explicit(&pool->n_posted, memory_order_relaxed));
	SET(report->n_waiters, pool->n_waiters + pool->n_refused);
	SET(report->high_water, pool->high_water);
	SET(report->n_chunks, pool->n_chunks);
	SET(report->acquired_total, pool->acquired_total);
	SET(report->empty_total, pool->empty_total);
}

void report_tell(struct tm_slot *slot)
{
	sd_json_variant *parameters = NULL, *reply;
	bool is_connected;

	if (!atomic_load(&slot->report.is_untold))
		return;
	pthread_mutex_lock(&slot->lock);
	is_connected = slot->is_connected;
	pthread_mutex_unlock(&slot->lock);
	if (!is_connected || !atomic_exchange(&slot->report.is_untold, false))
		return;
	if (sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
			   SD_JSON_BUILD_PAIR_UNSIGNED("fdIndex", 0)) < 0)
		return;
	pthread_mutex_lock(&slot->call_lock);
	/* a daemon that went away meanwhile is told when it is back */
	(void)!link_call_with_fd(slot, "io.taskmem.ReportPools", parameters, slot->report.fd,
				 &reply);
	pthread_mutex_unlock(&slot->call_lock);
	sd_json_variant_unref(parameters);
}
