/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The public face of a slot: build, teardown and one turn of its housekeeping.
 *
 * tm_slot_fd() is an epoll descriptor around everything a slot waits for, so that it stays
 * the same over restarts of the daemon and can sit in anybody's poll set or ring.
 */

#include "slot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "balance.h"
#include "base/fd.h"
#include "base/mono.h"
#include "info.h"
#include "pool.h"

#define SOCKET_DEFAULT "/run/taskmem/io.taskmem"

static int watch(struct tm_slot *slot, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(slot->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_descriptors(struct tm_slot *slot)
{
	int r;

	slot->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (slot->epoll_fd < 0)
		return -errno;
	slot->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (slot->event_fd < 0)
		return -errno;
	slot->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (slot->timer_fd < 0)
		return -errno;
	r = watch(slot, slot->event_fd);
	if (r < 0)
		return r;
	return watch(slot, slot->timer_fd);
}

static struct tm_slot *slot_alloc(void)
{
	struct tm_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->epoll_fd = slot->event_fd = slot->timer_fd = slot->watch.timer_fd = -1;
	slot->report.fd = -1;
	pthread_mutex_init(&slot->dispatch_lock, NULL);
	pthread_mutex_init(&slot->call_lock, NULL);
	pthread_mutex_init(&slot->request.lock, NULL);
	pthread_mutex_init(&slot->lock, NULL);
	list_init(&slot->pools);
	return slot;
}

static void slot_free(struct tm_slot *slot)
{
	request_close(slot);
	link_close(slot);
	watch_close(slot);
	chunk_unmap(slot);
	report_close(slot);
	fd_closep(&slot->watch.timer_fd);
	fd_closep(&slot->timer_fd);
	fd_closep(&slot->event_fd);
	fd_closep(&slot->epoll_fd);
	pthread_mutex_destroy(&slot->lock);
	pthread_mutex_destroy(&slot->request.lock);
	pthread_mutex_destroy(&slot->call_lock);
	pthread_mutex_destroy(&slot->dispatch_lock);
	free(slot->address);
	free(slot);
}

/* No grant, no pages: only a place to hear notices from. */
static int attach_pageless(struct tm_slot *slot, const char *address)
{
	slot->is_pageless = true;
	slot->node = TM_NODE_ANY;
	slot->address = strdup(address);
	if (!slot->address)
		return -ENOMEM;
	return watch_open(slot, /* must_answer= */ true);
}

TM_PUBLIC int tm_slot_attach(const struct tm_attach_options *options, struct tm_slot **ret_slot)
{
	struct tm_attach_options o = {};
	struct tm_slot *slot;
	const char *address;
	int r;

	r = info_read(&o, sizeof(o), options, options ? options->size : 0);
	if (r < 0 || !ret_slot || (o.max_chunks && o.min_chunks > o.max_chunks) ||
	    o.flags & ~TM_ATTACH_NO_PAGES)
		return -EINVAL;
	if (o.flags & TM_ATTACH_NO_PAGES && (o.min_chunks || o.max_chunks))
		return -EINVAL;
	address = o.socket;
	if (!address)
		address = secure_getenv("TASKMEM_SOCKET");
	if (!address)
		address = SOCKET_DEFAULT;

	slot = slot_alloc();
	if (!slot)
		return -ENOMEM;
	slot->max_chunks = o.max_chunks;
	r = open_descriptors(slot);
	if (r >= 0)
		r = o.flags & TM_ATTACH_NO_PAGES
			    ? attach_pageless(slot, address)
			    : link_attach(slot, address, MAX(o.min_chunks, UINT32_C(1)));
	if (r < 0) {
		slot_free(slot);
		return r;
	}
	if (!slot->is_pageless)
		(void)detach_earlier(slot); /* else the next one tries */
	*ret_slot = slot;
	return 0;
}

TM_PUBLIC int tm_slot_detach(struct tm_slot *slot)
{
	int r = 0;

	if (!slot)
		return 0;
	if (!list_is_empty(&slot->pools)) {
		fprintf(stderr, "libtaskmem: slot %s detached while pool \"%s\" is open\n",
			slot->name, list_entry(slot->pools.next, struct tm_pool, node)->name);
		abort();
	}
	chunk_unmap(slot);
	/* closing the connections alone would keep the pages until this process ends */
	if (!slot->is_pageless)
		r = detach_grant(slot);
	slot_free(slot);
	return r;
}

TM_PUBLIC int tm_slot_get_info(struct tm_slot *slot, struct tm_slot_info *info)
{
	struct tm_slot_info now = { .node = slot->node };

	pthread_mutex_lock(&slot->lock);
	now.chunks_held = slot->n_held;
	now.chunks_target = slot->target;
	now.chunks_draining = slot->n_leaving;
	now.chunks_revoked = slot->n_revoked;
	if (slot->n_held > slot->target)
		now.return_by_ns = slot->deadline_ns;
	now.connected = slot->is_connected;
	pthread_mutex_unlock(&slot->lock);
	now.requested_bytes = request_held_bytes(slot);
	strcpy(now.name, slot->name);
	return info_write(info, info->size, &now, sizeof(now));
}

TM_PUBLIC int tm_slot_fd(struct tm_slot *slot)
{
	return slot->epoll_fd;
}

void slot_signal(struct tm_slot *slot)
{
	/* fails only when the counter is full, and then the fd is readable already */
	(void)eventfd_write(slot->event_fd, 1);
}

/* Pages that came by a higher target or a closed pool go to those who wait for buffers. */
static void feed_pools(struct tm_slot *slot)
{
	struct tm_pool *pool;
	bool is_hungry = false, may_ask;
	int n_missing = 0;

	may_ask = chunk_count_askable(slot) > 0;
	pthread_mutex_lock(&slot->lock);
	LIST_FOREACH(&slot->pools, pool, node) {
		if (pool_is_hungry(pool))
			n_missing++;
	}
	is_hungry = n_missing > 0;
	n_missing -= (int)chunk_count_takable(slot);
	pthread_mutex_unlock(&slot->lock);
	if (!is_hungry && atomic_load(&slot->n_moving) == 0 && !slot->is_short)
		return;
	if (is_hungry && n_missing > 0 && may_ask && chunk_grow(slot, (uint32_t)n_missing) < 0)
		link_set_timer(slot, 1000);

	pthread_mutex_lock(&slot->lock);
	balance_pools(slot);
	pthread_mutex_unlock(&slot->lock);
}

TM_PUBLIC int tm_slot_dispatch(struct tm_slot *slot)
{
	tm_resize_handler handler;
	tm_memory_handler memory_handler;
	struct tm_memory_notice notice;
	uint32_t old_target, new_target;
	void *userdata, *memory_userdata;
	bool is_untold;
	int n_notices;

	/* another thread is at it, or a handler called from here */
	if (pthread_mutex_trylock(&slot->dispatch_lock) != 0)
		return 0;
	slot->n_notices = 0;
	link_process(slot);
	link_tell_engines(slot);
	watch_process(slot);
	request_process(slot);
	report_tell(slot);
	overdraft_settle(slot);
	chunk_settle(slot);
	feed_pools(slot);
	n_notices = (int)slot->n_notices;

	pthread_mutex_lock(&slot->lock);
	old_target = slot->told_target;
	slot->told_target = new_target = slot->target;
	is_untold = slot->is_untold;
	slot->is_untold = false;
	handler = slot->resize_handler;
	userdata = slot->resize_userdata;
	pthread_mutex_unlock(&slot->lock);
	pthread_mutex_unlock(&slot->dispatch_lock);

	if (handler && (new_target != old_target || is_untold))
		handler(slot, old_target, new_target, userdata);
	memory_handler = watch_take(slot, &notice, &memory_userdata);
	if (memory_handler)
		memory_handler(slot, &notice, memory_userdata);
	return n_notices;
}

TM_PUBLIC void tm_slot_set_resize_handler(struct tm_slot *slot, tm_resize_handler handler,
					  void *userdata)
{
	pthread_mutex_lock(&slot->lock);
	slot->resize_handler = handler;
	slot->resize_userdata = userdata;
	pthread_mutex_unlock(&slot->lock);
}
