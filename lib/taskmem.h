/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASKMEM_H
#define TASKMEM_H

/*
 * libtaskmem: huge-page buffers of the slot this process runs in, filled and sent by io_uring.
 *
 * A task (1) attaches to the slot whose cgroup it runs in, (2) opens pools of fixed-size
 * buffers, cut from the slot's 2 MiB pages, and (3) lets an engine receive from sockets
 * straight into them, and send them. See libtaskmem(3).
 *
 * Results: 0 or a positive count on success and a negative errno on failure; errno itself is
 * not part of the interface. ret_ arguments are written on success only. An -errno that a
 * function does not list is an unexpected failure of the system, passed on unchanged.
 *
 * Structures with a @size member: set it to sizeof of the structure, so that a program keeps
 * working with a library that knows more members, and the other way round. Members left 0 take
 * their defaults.
 *
 * Threads: slots, pools and buffers may be used by any thread. An engine and its channels
 * belong to the thread that runs the engine; only tm_engine_wakeup() may come from others, and
 * tm_buffer_release() of course. The library makes no threads and installs no signal handlers.
 *
 * fork(): pages are not inherited (MADV_DONTFORK), so a child that touches a buffer gets SIGSEGV.
 * It must not use the library's objects; it may exec, or attach by itself. What the parent closes
 * ends for its peers although a child has the descriptors, too. But a parent that ends without
 * tm_engine_free() leaves its connections and listeners to children which have not called exec.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TM_MUST_USE __attribute__((warn_unused_result))

struct tm_slot;
struct tm_pool;
struct tm_engine;
struct tm_channel;

#define TM_CHUNK_BYTES ((size_t)2 << 20)
#define TM_NODE_ANY (-1)

/* ------------------------------------------------------------------ slot */

struct tm_attach_options {
	size_t size; /* sizeof(struct tm_attach_options), for later extension */
	/* NULL: $TASKMEM_SOCKET, else /run/taskmem/io.taskmem */
	const char *socket;
	uint32_t min_chunks; /* fail with -ENOBUFS unless at least so many are granted; default 1 */
	/* never hold more; 0: as many as the slot's share allows. Of a pool of 1 GiB pages each, it is
	 * whole ones that are granted: as many as hold that */
	uint32_t max_chunks;
	uint32_t flags; /* TM_ATTACH_… */
};

/* No huge pages and no pools, for a task that only wants to hear of its slot's memory: the slot
 * needs no pool then. min_chunks and max_chunks must be 0; tm_pool_open() gives -ENOBUFS. */
#define TM_ATTACH_NO_PAGES 1U

struct tm_slot_info {
	size_t size; /* set by the caller to sizeof(struct tm_slot_info) */
	char name[64];
	int node;                 /* NUMA node of the pages or TM_NODE_ANY */
	uint32_t chunks_held;     /* 2 MiB pages this process holds now */
	uint32_t chunks_target;   /* what it should hold; less than held: pages are owed */
	uint32_t chunks_draining; /* owed pages still waiting for a buffer to be released */
	int connected;            /* 0 while the daemon is away; buffers go on working */
	uint64_t requested_bytes; /* held by tm_slot_request(); 0 while the daemon is away, too */
	/* CLOCK_MONOTONIC: what is held beyond the target is taken by force then, or this process
	 * killed, as the slot's revoke= says; 0: there is no such time */
	uint64_t return_by_ns;
	uint32_t chunks_revoked; /* taken by force, with buffers that are not released yet */
};

/**
 * tm_slot_attach() - get the pages of the slot this process runs in
 * @options:  NULL: all defaults
 * @ret_slot: owned by the caller, give back with tm_slot_detach()
 *
 * The slot is read from the process' cgroup by the daemon: run the task by "tmctl run", or join
 * the slot first. A process may attach more than once. Waits at most 30 s for the daemon, which
 * clears the pages meanwhile.
 *
 * The slot's pages are part of this process' address space from now on, but only those that
 * were granted may be touched, and only through buffers.
 *
 * Return: 0, or -ENOENT, -ECONNREFUSED (no daemon listens there), -ENXIO (this process runs in
 *         no slot), -ENOBUFS (fewer than @min_chunks pages are to be had), -EACCES, -ETIMEDOUT,
 *         -ECONNRESET (the daemon went away), -ENOMEM, -EINVAL (bad @options), -EBADMSG,
 *         -EPROTONOSUPPORT (what listens there is no taskmemd).
 */
TM_MUST_USE int tm_slot_attach(const struct tm_attach_options *options, struct tm_slot **ret_slot);

/**
 * tm_slot_detach() - give every page back
 * @slot: NULL is fine
 *
 * All pools of the slot must be closed: aborts if one is open, because its buffers would point
 * into nothing. Waits at most 5 s for the daemon.
 *
 * Return: 0, or -ENOTCONN, -ETIMEDOUT, -ENOMEM: the daemon could not be told. @slot is gone all
 *         the same, but its pages stay in the daemon's books until this process attaches or
 *         detaches again, with any slot, or ends.
 */
int tm_slot_detach(struct tm_slot *slot);

/**
 * tm_slot_get_info() - what the slot holds and owes
 * @info: filled; @info->size says how far
 *
 * Return: 0, or -EINVAL (bad size).
 */
int tm_slot_get_info(struct tm_slot *slot, struct tm_slot_info *info);

/**
 * tm_slot_fd() - descriptor to poll for reading; then call tm_slot_dispatch()
 *
 * It belongs to the slot and stays the same until tm_slot_detach(), over restarts of the daemon
 * as well. An engine of the slot polls and dispatches by itself while it runs; a task without
 * one has to, or it will neither hear of a new target nor give anything back.
 *
 * Return: the descriptor; never fails.
 */
int tm_slot_fd(struct tm_slot *slot);

/**
 * tm_slot_dispatch() - do what is to be done for the slot
 *
 * Reads notices, gives pages back whose buffers are all released, reconnects to a daemon that
 * was restarted (after 100 ms, then less often, at least every 2 s). Usually takes
 * microseconds; a call to the daemon may take up to 5 s if it hangs. While the daemon is away
 * nothing is lost: buffers go on working, nothing grows, and what is owed is given back later.
 *
 * Any thread; if another one is dispatching, returns at once. May call the resize handler and the
 * memory handler.
 *
 * Return: number of notices handled, 0 if there were none. Never fails.
 */
int tm_slot_dispatch(struct tm_slot *slot);

/*
 * Called from tm_slot_dispatch(), hence from tm_engine_run(), when the slot's target changed:
 * release buffers early or open more. The library drains and gives pages back by itself: first
 * pages in no pool, then the emptiest pages of pools above their min_buffers. It may call
 * anything but tm_slot_detach() and tm_engine_free().
 *
 * What is owed may have a deadline (tm_slot_info.return_by_ns): the handler is also called, with
 * the same number twice, when one is set and when pages were taken by force
 * (tm_slot_info.chunks_revoked). To read or write a buffer of such a page is SIGBUS then, and
 * -EFAULT for a system call; the library hands none of them out any more, not even for
 * min_buffers. Pages that drain are taken first, so a task that dispatches in time and releases
 * what it can loses only what it kept. To release a buffer is always safe, and the page is out of
 * the way when all of its buffers are.
 */
typedef void (*tm_resize_handler)(struct tm_slot *slot, uint32_t old_chunks, uint32_t new_chunks,
				  void *userdata);

/* Replaces the handler; NULL: none. A dispatch in another thread may still call the old one. */
void tm_slot_set_resize_handler(struct tm_slot *slot, tm_resize_handler handler, void *userdata);

/* ------------------------------------------------------------------ memory of the slot */

enum tm_notice_why {
	TM_NOTICE_START,    /* the first one after tm_slot_watch() or a restart of the daemon */
	TM_NOTICE_SHARE,    /* the slot's share changed */
	TM_NOTICE_MAX,      /* the cap goes below usage */
	TM_NOTICE_PRESSURE, /* memory is short now */
};

/* Of all memory of the slot, all its tasks together, huge pages of pools not included. */
struct tm_memory_notice {
	size_t size; /* sizeof as the side that filled it in knows it */
	enum tm_notice_why why;
	uint64_t target_bytes; /* what the slot should come to use; may be more than before */
	uint64_t before_bytes; /* the target told before; 0: none */
	uint64_t usage_bytes;  /* what it used when this was sent */
	uint64_t max_bytes;    /* the cap; UINT64_MAX: none */
	/* CLOCK_MONOTONIC: from then on the kernel swaps out and drops what is above max_bytes,
	 * unless all tasks that watch have answered before; 0: there is no such time */
	uint64_t deadline_ns;
};

/*
 * Called from tm_slot_dispatch(), hence from tm_engine_run(), in the thread that called that and
 * with no lock held. Drop what is cheapest to make again (caches, prefetched data, state that is
 * on disk as well), then call tm_slot_report_freed(). Taking long delays what else that thread
 * does, nothing else. @notice is valid during the call. It may call anything but
 * tm_slot_detach() and tm_engine_free().
 */
typedef void (*tm_memory_handler)(struct tm_slot *slot, const struct tm_memory_notice *notice,
				  void *userdata);

/**
 * tm_slot_watch() - hear what the slot's memory should come to
 * @handler: replaces the one before; NULL: stop watching. A dispatch in another thread may still
 *           call the old one
 *
 * The handler is called once for the numbers of now and then for changes: of the target by more
 * than 1 % and 4 MiB (or when it crosses usage), of a cap that goes below usage, and when memory is
 * short. At most once a second, and always for the last change; a smaller target is told only
 * while usage is above it. Several that wait are one. What the task does about it is its own
 * affair: the kernel enforces the limits in any case, but takes what *it* thinks is cold.
 *
 * No pool is needed (TM_ATTACH_NO_PAGES). The first call waits at most 5 s for the daemon; if
 * that is away, notices begin when it is back.
 *
 * Return: 0, or -EPROTONOSUPPORT (a daemon that knows no notices), -EIO (it does not enforce
 *         limits, so there are none), -ENXIO (this process runs in no slot any more), -EACCES,
 *         -ENOMEM.
 */
TM_MUST_USE int tm_slot_watch(struct tm_slot *slot, tm_memory_handler handler, void *userdata);

/**
 * tm_slot_report_freed() - answer the notice that the handler was told last
 * @bytes: what was given back to the system (free(3) alone may keep it; see malloc_trim(3),
 *         MADV_DONTNEED in madvise(2)); 0: nothing can be given
 *
 * "tmctl show" and the event log show it. When all tasks that watch have answered a shrink of
 * the cap, its deadline is not waited for. Any thread; waits at most 5 s for the daemon.
 *
 * Return: 0, or -ENXIO (not watching), -ENOTCONN (the daemon is away), -ETIMEDOUT, -ENOMEM.
 */
int tm_slot_report_freed(struct tm_slot *slot, uint64_t bytes);

/**
 * tm_slot_get_memory() - the newest notice, whether the handler was told or not
 * @notice: filled; @notice->size says how far
 *
 * For a task that reads it when it is about to take more, without a handler that does anything.
 *
 * Return: 0, or -ENODATA (there was none: it does not watch), -EINVAL (bad size).
 */
int tm_slot_get_memory(struct tm_slot *slot, struct tm_memory_notice *notice);
/* ------------------------------------------------------------------ more memory for a while */

struct tm_request_result {
	size_t size; /* set by the caller to sizeof(struct tm_request_result) */
	/* after -EDQUOT: what would have to be guaranteed, and what can be; 0: see message */
	uint64_t needed_bytes, available_bytes;
	char message[320]; /* why not, in one sentence; empty if it was granted */
};

/**
 * tm_slot_request() - have more memory guaranteed before a heavy step
 * @bytes:      beyond what the slot is guaranteed now, rounded up to a page; >= 1
 * @timeout_ns: wait so long in the daemon's queue if it does not fit at once; 0: not at all;
 *              UINT64_MAX: without end
 * @ret_result: filled on failure, too; may be NULL
 *
 * Raises the slot's memory.min, which is in force on return: what the slot holds up to there is
 * not reclaimed for others, and others are made to give. It ends with tm_slot_release_request(),
 * tm_slot_detach() or the process. One request for each attachment at a time. This is the slot's
 * ordinary memory, not its pages for buffers.
 *
 * The slot's max is the limit; and, unless the caller is an administrator, the need that an
 * administrator gave the slot (need= in tmctl(1)).
 *
 * After a restart of the daemon it is asked for again by tm_slot_dispatch(), and meanwhile
 * somebody else may have got it: tm_slot_get_info() says what is held. Any thread; others can go
 * on using the slot.
 *
 * Return: 0, or -EDQUOT (it does not fit, or was not given until the time was over; @ret_result
 *         names the number), -EBUSY (there is a request already), -EINVAL, -EACCES, -ENXIO (this
 *         process runs in no slot), -ETIMEDOUT (no answer from the daemon), -ECONNREFUSED,
 *         -ENOENT, -ECONNRESET (no daemon, until the time was over), -EPROTONOSUPPORT (an older
 *         daemon), -ENOMEM.
 */
TM_MUST_USE int tm_slot_request(struct tm_slot *slot, uint64_t bytes, uint64_t timeout_ns,
				struct tm_request_result *ret_result);

/* Gives it back. Nothing happens when there is none; waits for one that another thread makes. */
void tm_slot_release_request(struct tm_slot *slot);

/* ------------------------------------------------------------------ pool and buffers */

struct tm_buffer {
	void *data;        /* first byte; aligned to the buffer size up to 4096 */
	uint32_t capacity; /* bytes at data: the pool's buffer_bytes */
	uint32_t index;    /* within its pool, stable while held */
	struct tm_pool *pool;
	intptr_t magazine_; /* the library's; 0: its release is somebody's business */
};

struct tm_pool_stats {
	size_t size;      /* set by the caller to sizeof(struct tm_pool_stats) */
	uint32_t buffers; /* all there are now; those in pages that drain only while in use */
	uint32_t idle;    /* can be acquired at once */
	uint32_t held;    /* by the task */
	uint32_t posted;  /* offered to the kernel by engines, empty so far */
	/* most ever held and posted together; seen when a thread's magazine is filled or emptied,
	 * so up to a magazine per thread too low */
	uint32_t high_water;
	/* threads and engines that wait for a buffer now, and channels that were refused one */
	uint32_t waiters;
	/* buffers handed out, to the task, to engines or to threads' magazines; what a thread gets
	 * back from its own magazine is not counted again */
	uint64_t acquired_total;
	uint64_t empty_total;  /* times a buffer was wanted and there was none */
	uint32_t in_magazines; /* of @idle, in magazines of threads */
	uint32_t lent;      /* of @buffers, above the pool's min_buffers: a resize may take them */
	uint32_t overdraft; /* of @held, beyond max_buffers */
};

/**
 * tm_pool_open() - cut a pool of equal buffers from the slot's pages
 * @slot:         must outlive the pool
 * @name:         for messages; 1 .. 31 bytes; need not be unique
 * @buffer_bytes: power of two, 256 .. 1 MiB
 * @min_buffers:  preallocated now, and never taken away by a resize; 0: the pool starts empty
 * @max_buffers:  it never has more; 0: as many as the slot can hold
 * @ret_pool:     owned by the caller, give back with tm_pool_close()
 *
 * A pool takes whole 2 MiB pages (64 buffers of 32 KiB each), so it starts with @min_buffers
 * rounded up to whole pages, as far as @max_buffers allows. Pages are asked from the daemon if
 * the slot has none left over (see tm_slot_dispatch() for the time that takes); if that has none
 * either, pages that other pools leave idle beyond their min_buffers are taken. Later the pool
 * grows by a page when an acquire finds it empty and the slot has one left over.
 *
 * When the slot has none left over and somebody waits for a buffer, the pools of the task divide
 * its pages anew: each has those of its min_buffers, then all get equal parts, but none more than
 * it uses and a quarter; what is left is for who waits. Idle pages go over at once, others as
 * their buffers are released. While nobody waits nothing is moved.
 *
 * Return: 0, or -ENOBUFS (not enough pages for @min_buffers; no pool was made), -ENOTCONN
 *         (more pages would be needed and the daemon is away), -ESTALE (the daemon has forgotten
 *         this attachment), -ETIMEDOUT, -ENOMEM, -EINVAL.
 */
TM_MUST_USE int tm_pool_open(struct tm_slot *slot, const char *name, size_t buffer_bytes,
			     uint32_t min_buffers, uint32_t max_buffers, struct tm_pool **ret_pool);

/**
 * tm_pool_close() - give the pool's pages back to the slot
 * @pool: NULL is fine
 *
 * A buffer is held until its tm_buffer_release() has returned. If that is another thread's, let it
 * say so first: to call this again until it is not -EBUSY is no way to wait for it.
 *
 * Return: 0, or -EBUSY (a buffer is held, an engine uses the pool or a thread waits; nothing
 *         happened).
 */
int tm_pool_close(struct tm_pool *pool);

/**
 * tm_pool_acquire() - take an idle buffer
 *
 * Never blocks on the daemon; at most a page the slot has left over is cut. Buffers of the
 * fullest page come first. The content is undefined.
 *
 * Usually inline and without a lock: pools of 128 buffers and more give each thread a magazine
 * of up to a quarter of them, 512 at most. Nothing is lost in there: a thread that finds the pool
 * empty, a waiter and a page that must go all take the buffers out of other threads' magazines,
 * whatever those threads do. While somebody waits, or pages are owed, there are no magazines.
 *
 * Return: the buffer, held by the caller until tm_buffer_release(), or NULL: the pool is empty
 *         (or has waiters, who were first).
 */
TM_MUST_USE struct tm_buffer *tm_pool_acquire(struct tm_pool *pool);

/**
 * tm_pool_acquire_bulk() - take several buffers at once
 * @buffers: room for @n; the first so many as the function returns are held by the caller
 * @n:       any number
 *
 * As @n calls of tm_pool_acquire(), for less.
 *
 * Return: how many were taken; less than @n only if the pool is empty now or has waiters.
 */
TM_MUST_USE uint32_t tm_pool_acquire_bulk(struct tm_pool *pool, struct tm_buffer **buffers,
					  uint32_t n);

/**
 * tm_pool_acquire_overdraft() - take an idle buffer, or one beyond the pool's maximum
 *
 * For who must not stop where it is, such as in the middle of a record. As tm_pool_acquire(), but
 * when a pool that has its max_buffers is empty, or has waiters, a few more can be had; 5 at a
 * time unless tm_pool_set_overdraft() said otherwise. They are what the pool's last page has
 * beyond the maximum, or in a page the slot has left over; never of another pool, and none while
 * the slot owes pages. They serve no waiter when they are released.
 *
 * Return: the buffer, held by the caller until tm_buffer_release(), or NULL.
 */
TM_MUST_USE struct tm_buffer *tm_pool_acquire_overdraft(struct tm_pool *pool);

/* So many at a time, 0 .. 64; those that are out stay out. Return: 0, or -EINVAL. */
int tm_pool_set_overdraft(struct tm_pool *pool, uint32_t max_buffers);

/**
 * tm_pool_acquire_wait() - take a buffer, wait for one if need be
 * @timeout_ns: from now; UINT64_MAX: no end; 0: only ask the daemon for more
 * @ret_buffer: held by the caller until tm_buffer_release()
 *
 * Who waits longest is served first, thread or engine. If the slot may hold more than it does,
 * the daemon is asked once, which is not counted against the time (5 s at most, and not again
 * within a second after a refusal). Not for the thread that alone could release a buffer.
 *
 * Return: 0, or -ETIMEDOUT, -ENOMEM.
 */
TM_MUST_USE int tm_pool_acquire_wait(struct tm_pool *pool, uint64_t timeout_ns,
				     struct tm_buffer **ret_buffer);

/**
 * tm_buffer_release() - give a buffer back
 * @buffer: held; NULL is fine; must not be used afterwards
 *
 * Any thread. If the buffer came from a channel, the channel gets its credit back, unless it or
 * its engine is gone by now, which is fine. Takes no lock over a system call and never blocks
 * on the daemon. Releasing a buffer that is not held is noticed where it can be (in pools with
 * magazines, when both have come back from there) and aborts with a message on standard
 * error: the task is about to corrupt its data.
 */
void tm_buffer_release(struct tm_buffer *buffer);

/**
 * tm_buffer_release_bulk() - give several buffers back
 * @buffers: @n held buffers, none of them NULL, of any pools; best all of one
 */
void tm_buffer_release_bulk(struct tm_buffer *const *buffers, uint32_t n);

/* Return: 0, or -EINVAL (bad size). */
int tm_pool_get_stats(struct tm_pool *pool, struct tm_pool_stats *stats);

/* ------------------------------------------------------------------ engine */

enum tm_engine_kind {
	TM_ENGINE_AUTO, /* io_uring if it can be had, else epoll; $TASKMEM_ENGINE=uring|epoll */
	TM_ENGINE_URING,
	TM_ENGINE_EPOLL,
};

/*
 * All handlers run in tm_engine_run() (close also in tm_engine_free()) and may call anything but
 * tm_engine_run(), tm_engine_free() and tm_slot_detach().
 *
 * Each channel that was accepted or connected sees: open, any number of data, end if the peer ends
 * its stream, close; and writable at any time between. One whose tm_engine_connect() fails sees
 * close only, even if something was queued. Close is called exactly once.
 */
struct tm_handlers {
	size_t size; /* sizeof(struct tm_handlers) */
	/* The connection stands. May be NULL; < 0 closes it with that error. */
	int (*open)(struct tm_channel *channel, void *userdata);
	/*
	 * Bytes that arrived: @buffer holds @length of them, 1 .. capacity, from @offset on; they
	 * follow those of the call before. The receiver owns the buffer until tm_buffer_release(),
	 * from any thread; that gives the channel its credit back. Required.
	 *
	 * What is not in these bytes may be those of other channels: small messages follow each
	 * other in one buffer, and each call brings a struct tm_buffer of its own for it, to be
	 * released by itself, with the same data, capacity and index.
	 */
	void (*data)(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		     uint32_t length, void *userdata);
	/*
	 * @error: 0 when the peer has ended its stream and all that was queued was sent, -ECANCELED
	 * after tm_channel_close() or tm_engine_free(), what open() returned, or the socket's error
	 * (-ECONNRESET, -ECONNREFUSED, -ETIMEDOUT, -EPIPE …). The channel is gone afterwards; buffers
	 * that came from it stay held, those that were to be sent are released by now. May be NULL.
	 */
	void (*close)(struct tm_channel *channel, int error, void *userdata);
	/*
	 * The peer has ended its stream, but can still receive. With this handler the channel then
	 * stays until tm_channel_shutdown_send() (all is sent first) or tm_channel_close(), so it has
	 * to call one of them sooner or later. NULL: close follows as soon as nothing is queued.
	 */
	void (*end)(struct tm_channel *channel, void *userdata);
	/*
	 * After tm_channel_send() returned -EAGAIN: half of the queue is free again. Also when
	 * sending has failed meanwhile, which the next tm_channel_send() says. May be NULL.
	 */
	void (*writable)(struct tm_channel *channel, void *userdata);
};

#define TM_PEER_TIMEOUT_NEVER UINT32_MAX

/* Of what is sent with io_uring over TCP; otherwise the kernel always copies. */
enum tm_zero_copy {
	/* tried with the first large sends of each channel, and kept on as long as the kernel reports
	 * that it really did not copy (on loopback it does) */
	TM_ZERO_COPY_AUTO,
	TM_ZERO_COPY_NEVER,
	TM_ZERO_COPY_ALWAYS, /* with any size and whatever the kernel reports: for tests */
};

struct tm_engine_options {
	size_t size; /* sizeof(struct tm_engine_options) */
	enum tm_engine_kind kind;
	/* offered to the kernel at a time, <= 4096; 0: 64. io_uring only; never more than half of
	 * the pool's buffers. An eighth of them, 8 at most, is for small messages; with fewer than
	 * 8 each message has a buffer of its own */
	uint32_t posted_buffers;
	/* a channel may have so many unreleased at most; 0: 10. Messages in one buffer count as one */
	uint32_t credit_buffers;
	uint32_t max_channels; /* more are refused at accept, <= 65536; 0: 4096 */
	/* TCP: a peer whose kernel does not answer for so long is gone, -ETIMEDOUT, one that does not
	 * read is not; 0: 120; TM_PEER_TIMEOUT_NEVER; at most 32767 */
	uint32_t peer_timeout_s;
	/* a channel queues so many buffers for sending, <= 4096; 0: 64 */
	uint32_t send_buffers;
	enum tm_zero_copy zero_copy;
	/* what tm_channel_set_latency() says of each new channel; 0: nothing, <= 1000000 */
	uint32_t spin_us;
	/* of credit_buffers, and no more, what each channel can have whatever the others hold;
	 * 0: 2, or credit_buffers if that is 1 */
	uint32_t exclusive_buffers;
	/* what a channel has unreleased should be consumed within that time, <= 60000000; 0: each may
	 * have credit_buffers whatever it does with them */
	uint32_t debloat_target_us;
};

/**
 * tm_engine_new() - an engine that receives and sends
 * @pool:       whose buffers are filled; must outlive the engine
 * @options:    NULL: all defaults
 * @handlers:   copied
 * @userdata:   for the handlers
 * @ret_engine: owned by the caller, give back with tm_engine_free()
 *
 * A channel with credit_buffers unreleased buffers is parked: nothing is received, its peer's
 * window closes, others go on. With small messages it can come to a few buffers more, which were
 * on their way when it was reached, never more than posted_buffers.
 *
 * Of a pool that has fewer buffers than all channels may have together, exclusive_buffers for each
 * open channel are left to it by the others, as far as half of the pool goes; the engine asks for
 * more pages before it refuses what is beyond. What the pool has more is floating: a channel with
 * data waiting in its socket gets as many as leave at least that many for the others, so those that
 * hold on to their buffers come to equal numbers and stop nobody else. One that is refused is
 * parked until it, or another, releases a buffer. Engines that share a pool divide it equally; what
 * the task acquires by itself is not counted. What an engine has only posted goes to whoever waits for
 * a buffer, another engine or a thread.
 *
 * None cannot be asked for, and need not be: exclusive buffers lie ready nowhere, so a channel that
 * has no data costs none. Nor do channels starve for want of them. Where half of the pool is less than
 * one for each, those that find none wait in line, first come, first served, and go on as others
 * release; what their peers have to send lies in the sockets meanwhile, and is seen without a credit.
 *
 * With debloat_target_us a channel may have as many buffers unreleased as it releases in that
 * time, by the law of Flink's buffer debloating (FLIP-183, where 1000000 is the usual target): it
 * begins with credit_buffers, and five times a second this follows its throughput by a tenth at
 * most, never to less than exclusive_buffers. Time in which the channel has nothing unreleased
 * does not count. A channel that has more than it may have by now keeps it, and receives nothing
 * until it has released so much. What one may not have goes to others or stays idle in the pool,
 * whose pages are given back as the daemon asks for them; its sockets' receive buffers stay as
 * they are. This is off by default, as in Flink: with 10 credits there is little to gain, and who
 * releases much at once after a pause would be slowed down.
 *
 * Channels whose data finds the pool empty are served first come, first served. An idle connection
 * holds no buffer. The receive buffer of TCP sockets (SO_RCVBUF) is set to the credit window of the
 * channel, at least 64 KiB, so that parked channels do not fill kernel memory, which is billed to
 * the slot.
 *
 * A TCP peer that vanished without a word (power, network) does not keep its channel for ever: it is
 * closed with -ETIMEDOUT, parked or not. If nothing is being sent the kernel asks the peer whether it is
 * there (SO_KEEPALIVE) after half of peer_timeout_s without a byte, and does not wait longer than all of
 * it. If something is, what is sent has to be acknowledged: a peer is gone if nothing at all came from
 * it for peer_timeout_s, and for half of that an answer was due, and the kernel has sent again in vain.
 * The engine looks at such channels four times in peer_timeout_s, once a second at most, and ends a
 * tm_engine_run() for it. A peer that is there and silent, or does not read for however long, stays,
 * for its kernel answers. While its window is shut it is asked each half of peer_timeout_s or oftener
 * (before Linux 6.15: two minutes), so one that vanishes then is noticed up to so much later. Where
 * net.ipv4.tcp_retries2 means less than peer_timeout_s, the kernel gives up earlier. Connecting ends
 * after peer_timeout_s as well. What the kernel has left to send of a channel that was closed is held
 * to the same if it was sent without a copy; else it is the kernel's business.
 *
 * Several engines, one per thread, may share a pool.
 *
 * Return: 0, or -EINVAL (also an unknown $TASKMEM_ENGINE), -ENOMEM; for TM_ENGINE_URING also
 *         what io_uring_setup(2) says: -EPERM, -ENOSYS.
 */
TM_MUST_USE int tm_engine_new(struct tm_pool *pool, const struct tm_engine_options *options,
			      const struct tm_handlers *handlers, void *userdata,
			      struct tm_engine **ret_engine);

/**
 * tm_engine_free() - close all channels and listeners
 * @engine: NULL is fine; not from a handler
 *
 * By the thread that ran the engine, or by any after that thread has ended (or if it was never
 * run). Calls the close handlers. Buffers the task holds stay held; those queued for sending are
 * released, sent or not. What the kernel still reads, because it was sent without a copy, is
 * waited for 5 s; then, or at once if the thread has ended, those connections are reset.
 */
void tm_engine_free(struct tm_engine *engine);

/**
 * tm_engine_listen() - accept connections
 * @address: "tcp:HOST:PORT", "tcp:[V6]:PORT", "tcp:*:PORT" or "tcp::PORT" (all addresses, IPv6
 *           and IPv4), "unix:/PATH" or "unix:@NAME" (abstract). Port 0 takes a free one.
 *
 * A socket file nobody listens on any more is replaced; the file is removed by
 * tm_engine_free(). Its mode follows the umask. HOST may block for a name look-up.
 *
 * Return: the TCP port, 0 for a unix socket, or -EINVAL (malformed), -ENAMETOOLONG,
 *         -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENXIO (unknown host), -EAGAIN (the name server
 *         does not answer), -ENOMEM.
 */
TM_MUST_USE int tm_engine_listen(struct tm_engine *engine, const char *address);

/**
 * tm_engine_connect() - open a channel to a peer
 * @address:     as for tm_engine_listen(), but for all addresses and port 0
 * @ret_channel: may be NULL; belongs to the engine, gone after its close handler
 *
 * Does not wait for the connection: open is called when it stands, close when it fails; each
 * address of a HOST is tried. HOST may block for a name look-up.
 *
 * Return: 0, or -EINVAL, -ENAMETOOLONG, -ENXIO, -EAGAIN as above, -EMFILE (max_channels),
 *         -ENOMEM; no handler is called then.
 */
TM_MUST_USE int tm_engine_connect(struct tm_engine *engine, const char *address,
				  struct tm_channel **ret_channel);

/**
 * tm_engine_run() - wait for events and handle them
 * @timeout_ms: at most so long; 0: only what is there; -1: no limit
 *
 * Always by the same thread. Returns after one batch of events, so call it in a loop.
 *
 * While much comes in, 64 KiB at a time, it sleeps for up to 100 us at least once it sleeps, where the
 * kernel can (6.12; as receives have no limit before 6.17, that is of use since then): larger batches,
 * fewer system calls. It is less where a sender would wait for that or what comes is answered, and
 * none while a channel asked for low latency (tm_channel_set_latency()).
 *
 * Return: number of handler calls and notices; 0: the time is over, tm_engine_wakeup() was
 *         called, a signal came, or there was only inner work; or -errno: io_uring failed, the
 *         engine is of no more use.
 */
TM_MUST_USE int tm_engine_run(struct tm_engine *engine, int timeout_ms);

/* Makes the tm_engine_run() under way, or else the next one, return. Any thread; not from a
 * signal handler. Return: 0. */
int tm_engine_wakeup(struct tm_engine *engine);

/* What TM_ENGINE_AUTO became. */
enum tm_engine_kind tm_engine_get_kind(const struct tm_engine *engine);

struct tm_channel_stats {
	size_t size;           /* set by the caller to sizeof(struct tm_channel_stats) */
	uint64_t bytes;        /* received */
	uint64_t buffers;      /* they came in */
	uint64_t parked_total; /* times the credit was used up */
	uint32_t held;         /* buffers not released yet */
	uint32_t queued;       /* buffers given to tm_channel_send() and not released yet */
	uint64_t sent_bytes;   /* taken by the kernel */
	uint64_t sent_buffers;
	uint64_t refused_total; /* times tm_channel_send() found the queue full */
	uint64_t
		zero_copy_total; /* sends, of one buffer or several, that the kernel did not copy */
	uint64_t short_total;    /* times it had data and was refused a floating buffer */
	uint32_t window_buffers; /* it may have so many unreleased now; see debloat_target_us */
};

/* For tm_channel_send(): more follows soon, so a packet that is not full may wait for it. */
#define TM_SEND_MORE 1U

/**
 * tm_channel_send() - send bytes of a buffer
 * @channel: also one that is still connecting; not closed
 * @buffer:  held, of any pool: acquired or received, by whatever channel or engine
 * @offset:  of the first byte within it
 * @length:  >= 1; @offset + @length <= capacity
 * @flags:   0 or TM_SEND_MORE
 *
 * On success the engine owns the buffer. It must not be touched any more, and is released exactly
 * once: when the kernel has taken the bytes (without a copy: when the peer has acknowledged
 * them), or when the channel fails or is closed. If it was received, its own channel gets its
 * credit back then, so whoever forwards what it receives slows the sender down to the pace of
 * the receiver. On failure it still belongs to the caller.
 *
 * Bytes arrive in the order of the calls. They go out when tm_engine_run() is called next, or
 * before it returns; several buffers in one system call. A peer that does not read fills the
 * queue of its own channel and nothing else, for as long as it likes.
 *
 * By the engine's thread, in a handler or between runs.
 *
 * Return: 0, or -EAGAIN (send_buffers are queued or on their way; the writable handler will tell),
 *         -EPIPE (after tm_channel_shutdown_send(), or the channel is closed or has failed),
 *         -EINVAL, -ENOMEM.
 */
TM_MUST_USE int tm_channel_send(struct tm_channel *channel, struct tm_buffer *buffer,
				uint32_t offset, uint32_t length, uint32_t flags);

/**
 * tm_channel_shutdown_send() - end the stream to the peer after all that is queued
 * @channel: not closed; a second call does nothing
 *
 * The peer then reads end of file. Receiving goes on; close is called when the peer has ended its
 * stream as well, with 0: a peer that reads to the end and then closes has got everything. (To
 * send all and not to wait for the peer is not offered: the kernel would throw away what is under
 * way if the peer had sent something unexpected.)
 *
 * By the engine's thread.
 *
 * Return: 0, or -EPIPE (the channel is closed or has failed), -ENOMEM.
 */
int tm_channel_shutdown_send(struct tm_channel *channel);

/**
 * tm_channel_close() - end a channel
 * @channel: NULL is fine; a second call does nothing
 *
 * No more data from now on; close is called with -ECANCELED before tm_engine_run() sleeps
 * again, never from within this function. Unread bytes are lost, and so is what was queued for
 * sending and not yet taken by the kernel. The peer reads the end after what the kernel has taken; or,
 * with TCP, is reset if there were unread bytes.
 */
void tm_channel_close(struct tm_channel *channel);

/**
 * tm_channel_set_latency() - watch for this channel's data before sleeping
 * @channel: also one that is still connecting; nothing happens if it is closed
 * @spin_us: for so long, 0 .. 1000000; 0: sleep at once, and while much comes in for a moment
 *           longer than needed (tm_engine_run()), which suits all that is about throughput
 *
 * The thread then asks its sockets again and again for so long before it goes to sleep: that saves
 * the time of waking up, and costs a processor meanwhile. Since it can only do so for all of them
 * at once, an engine spins as long as the most impatient of its open channels asks; where none
 * asks, or none is open, it does not. Where these sockets are on network devices that can be asked
 * for packets (NAPI), the kernel does so meanwhile, instead of waiting for interrupts (Linux 6.9).
 *
 * A channel begins with the engine's spin_us; its open handler is the place to change that. By the
 * engine's thread.
 *
 * Return: 0, or -EINVAL.
 */
int tm_channel_set_latency(struct tm_channel *channel, uint32_t spin_us);
void tm_channel_set_userdata(struct tm_channel *channel, void *userdata);
/* NULL until it was set. */
void *tm_channel_get_userdata(const struct tm_channel *channel);
/* The other end's address, in the form of tm_engine_listen(); "unix:" for an unnamed one, "tcp:" for
 * one that was gone before it could be asked (reset while it waited to be accepted). While
 * connecting: what was given to tm_engine_connect(). Never empty. Belongs to the channel, and is
 * another one once it is open. */
const char *tm_channel_peer(const struct tm_channel *channel);
/* Return: 0, or -EINVAL (bad size). */
int tm_channel_get_stats(const struct tm_channel *channel, struct tm_channel_stats *stats);

#ifdef __cplusplus
}
#endif

#include "taskmem_inline.h" /* IWYU pragma: export */

#endif
