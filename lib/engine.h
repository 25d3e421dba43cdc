/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inside of an engine. engine.c, listener.c and channel.c hold what both back ends share: who
 * may receive, who waits, who is told. A back end (engine_uring.c, engine_epoll.c) only arms
 * descriptors and reports what happened.
 *
 * All of it belongs to the thread that runs the engine, but for the mailbox.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "address.h"
#include "base/list.h"
#include "credit.h"
#include "piece.h"
#include "pool.h"
#include "taskmem.h"
#include "window.h"

/* What other threads tell an engine. It outlives the engine while channels refer to it. */
struct mailbox {
	atomic_uint refs;
	pthread_mutex_t lock;
	int event_fd;
	bool is_open;         /* false once the engine is gone */
	bool is_asleep;       /* the engine waits, or is about to: write event_fd */
	bool should_withdraw; /* posted buffers are owed */
	bool should_return;   /* tm_engine_wakeup() */
	bool should_share;    /* a floating credit came back that somebody waits for */
	struct list credited; /* channels that may go on, each with a reference */
	struct buffer *given; /* what engine->waiter waited for */
	struct piece_home pieces;

	atomic_uint n_floating;     /* held beyond exclusive credits, by all channels together */
	atomic_bool wants_floating; /* who releases one takes it back, and leaves a note */
};

enum channel_state {
	CHANNEL_CONNECTING, /* waits until the socket is writable */
	CHANNEL_ARMED,      /* receives as soon as there is data */
	CHANNEL_PARKED,     /* out of credit: nothing armed, the peer's window closes */
	CHANNEL_STARVED,    /* has data, but the pool had no buffer; in engine->starved */
	CHANNEL_ENDED,      /* the peer has sent all; there is, or may be, something to send */
	CHANNEL_CLOSING,    /* waits for the back end to let go of it; in engine->closing */
};

struct tm_channel {
	struct buffer_owner owner; /* of the buffers the task holds */
	atomic_uint refs;          /* the engine, each held buffer, a place in the mailbox */
	atomic_uint held;
	uint32_t exclusive;    /* of these; here, so that a releaser touches nothing else */
	atomic_bool is_parked; /* releasers look at it */
	bool is_mailed;        /* in mailbox->credited; mailbox->lock */
	struct list mail;
	struct mailbox *mailbox;

	struct tm_engine *engine;
	struct list node; /* engine->channels */
	struct list
		queue; /* engine->starved, engine->closing, engine->pending or engine->short_of */
	enum channel_state state;
	int fd;
	int error;        /* for the close handler */
	bool has_more;    /* there is data in the socket, as far as is known */
	bool was_starved; /* served from the queue: goes back to its head */
	bool is_short;    /* in engine->short_of */
	bool is_unix;
	bool is_watched;   /* engine->spin_us takes account of spin_us */
	bool is_on_device; /* which can be asked for packets; known once it is watched */
	uint32_t spin_us;  /* it wants to be watched for so long before the engine sleeps */
	bool is_polled;    /* back end: a poll for errors is armed */
	bool is_receiving; /* back end: a receive is in the kernel */
	bool is_stopping;  /* back end: and was asked to end */
	bool is_listening; /* back end: a poll for input is armed */
	bool is_packed;    /* back end: it takes pieces of buffers */
	struct piece *run; /* the last one, which may be over; see piece.c */
	uint32_t run_generation;
	uint32_t mean_bytes;  /* back end: of its receives, the last ones counting most */
	uint32_t turn;        /* back end: the last one that it received in */
	uint64_t turn_bytes;  /* back end: received in that */
	uint64_t armed_bytes; /* back end: what its receive may take before the next turn */
	uint32_t n_ops;       /* back end: requests in the kernel that name this channel */
	void *userdata;
	uint32_t most; /* it may hold; of window, if the engine has a target */
	struct window window;
	uint64_t n_holds;    /* buffers it ever held, for window */
	uint32_t limit;      /* back end: of buffers held, for the receive in the kernel */
	uint32_t n_promised; /* floating credits in that limit, not used yet */
	bool is_loose;       /* they were promised while it did not matter */
	uint64_t bytes, buffers, parked_total, short_total;
	char *peer;
	struct sender *sender; /* NULL: it never sent */

	struct address *addresses; /* still to be tried, while connecting */
	uint32_t n_addresses, next_address;
};

struct listener {
	struct list node;
	int fd;
	bool is_armed;
	uint64_t retry_at_ns; /* accepting failed for want of descriptors; 0: it did not */
	struct sockaddr_storage storage;
	char *unlink_path;
};

#define ENGINE_SPIN_MAX_US 1000000
#define ENGINE_TARGET_MAX_US 60000000

struct engine_backend {
	enum tm_engine_kind kind;
	bool asks_always; /* takes no buffer without floating_ask(), so that each promise is counted */
	/* Sets up without reference to a thread. -errno: not to be had here. */
	int (*init)(struct tm_engine *engine);
	/* First run: from now on one thread. */
	int (*start)(struct tm_engine *engine);
	/* Nothing is armed any more afterwards; posted buffers are back in the pool. */
	void (*deinit)(struct tm_engine *engine);
	int (*arm_listener)(struct tm_engine *engine, struct listener *listener);
	int (*arm_connect)(struct tm_engine *engine, struct tm_channel *channel);
	int (*arm_receive)(struct tm_engine *engine, struct tm_channel *channel);
	/* Ends a receive, which was promised more than there is now; then channel_go_on(). NULL if it
	 * asks always. */
	int (*recall)(struct tm_engine *engine, struct tm_channel *channel);
	/* Disarms receiving; a reset by the peer is still noticed. */
	int (*park)(struct tm_engine *engine, struct tm_channel *channel);
	/* Begins to let go of the channel; done when n_ops is 0. */
	void (*stop)(struct tm_engine *engine, struct tm_channel *channel);
	/* Gives buffers to the starved, oldest first. */
	void (*feed)(struct tm_engine *engine);
	/* Goes on with what the channel has queued, which is something, and nothing of it is under
	 * way. 0, or -errno: the channel is to be closed with it. */
	int (*send)(struct tm_engine *engine, struct tm_channel *channel);
	/* Takes back posted buffers of draining chunks. */
	void (*withdraw)(struct tm_engine *engine);
	/* Waits and reports. -1: no time-out. 0 or -errno. */
	int (*wait)(struct tm_engine *engine, int timeout_ms);
};

struct tm_engine {
	struct tm_pool *pool;
	const struct engine_backend *backend;
	void *backend_data;
	struct tm_handlers handlers;
	void *userdata;
	uint32_t posted_buffers, credit_buffers, max_channels, peer_timeout_s;
	struct mailbox *mailbox;
	struct pool_user user;
	struct pool_waiter waiter;
	bool is_waiting;      /* the waiter is queued, or its buffer is on its way */
	struct buffer *spare; /* what the waiter got */
	bool is_started;
	pthread_t thread; /* once started */
	uint32_t n_channels;
	uint64_t n_usable; /* floating credits that all of them together may have at most */
	uint32_t n_events; /* handlers called in this run */
	uint32_t send_buffers;
	uint32_t target_us;       /* what a channel holds should be consumed within; 0: no matter */
	uint64_t now_ns;          /* with a target: when the last wait ended, to a tick */
	uint32_t default_spin_us; /* of new channels */
	uint32_t spin_us, n_impatient; /* the most that a watched channel wants; so many want it */
	/* watched channels that want any of it, and those of them that are on a device */
	uint32_t n_spinning, n_on_device;
	bool is_kernel_spinning; /* the backend's wait does what spin() would do, and asks devices */
	enum tm_zero_copy zero_copy;
	struct list channels, listeners, starved, closing, pending;
	struct list short_of;  /* parked for want of a floating credit, first come, first served */
	uint32_t n_short;      /* of these */
	uint32_t n_told_short; /* of these the pool knows */
	uint32_t room_refused; /* with so many floating credits left none of them may go on */
	struct credit credit;  /* as of the last look */
	uint32_t n_promised;   /* floating credits of receives in the kernel, */
	uint32_t n_loose;      /* and those that matter only once it is tight */
	uint32_t n_set_aside;  /* back end: buffers posted for small messages */
	bool is_tight;         /* floating ones run short: backlogs are asked for */
	bool is_recalling;     /* nothing is posted until the next wait has ended receives */
	bool has_yielded; /* back end: nor until a channel finds nothing, others wait for buffers */
	struct list sending;   /* senders whose queue is to be looked at */
	struct list lingering; /* closed channels whose last bytes the kernel still reads */
	struct list waiting; /* senders whose peers have not acknowledged all, as far as is known */
	uint64_t look_at_ns; /* at these; 0: there were none */
};

extern const struct engine_backend engine_uring_backend, engine_epoll_backend;

/* ---- engine.c */
/* Takes one buffer for receiving: the spare one, or from the pool. NULL: empty. */
struct buffer *engine_take_buffer(struct tm_engine *engine);
/* The starved remain: wake the engine as soon as the pool has a buffer. */
void engine_want_buffer(struct tm_engine *engine);
/* The back end's poll of the slot's or the mailbox's descriptor fired. */
void engine_on_slot(struct tm_engine *engine);
void engine_on_mail(struct tm_engine *engine);
/* Looks at the clock if somebody wants to know. A back end does so when a wait is over. */
void engine_tick(struct tm_engine *engine);

/* ---- listener.c */
void listener_on_accept(struct tm_engine *engine, struct listener *listener, int fd);
/* Accepting ended by itself; @error 0: no reason given. */
void listener_on_stop(struct tm_engine *engine, struct listener *listener, int error);
void listener_free(struct listener *listener);
/* Arms what can be armed; *@timeout_ms is shortened for a listener that pauses. */
void listener_arm_all(struct tm_engine *engine, int *timeout_ms);
/* SO_RCVBUF for a channel's credit window. */
void listener_set_window(const struct tm_engine *engine, int fd);

/* ---- channel.c */
struct tm_channel *channel_new(struct tm_engine *engine, int fd);
/* Takes back what channel_new() did, for one that the task knows nothing of, or not any more. */
void channel_forget(struct tm_channel *channel);
void channel_unref(struct tm_channel *channel);
/* The socket is connected: open handler, then receiving. */
void channel_open(struct tm_channel *channel);
/* Begins to connect to the next address. */
void channel_connect(struct tm_channel *channel);
void channel_on_writable(struct tm_channel *channel);
/* @length bytes arrived in @buffer (held), which is given to the task. */
void channel_on_data(struct tm_channel *channel, struct buffer *buffer, uint32_t length);
/* As channel_on_data(), for a piece of a buffer that others share; channel_hold() was called. */
void channel_on_piece(struct tm_channel *channel, struct buffer *piece, uint32_t offset,
		      uint32_t length);
/* The task is about to get one more buffer. */
void channel_hold(struct tm_channel *channel);
/* Any thread: the task has released one. */
void channel_on_released(struct tm_channel *channel);
/* One that is parked has released something: it may go on, unless others are to be served first. */
void channel_on_credit(struct tm_channel *channel);
/* Decides what comes after a receive: armed, parked or queued. */
void channel_go_on(struct tm_channel *channel);
/* A receive found no buffer. */
void channel_starve(struct tm_channel *channel);
/* End of stream (0) or an error; also what tm_channel_close() does (-ECANCELED). */
void channel_close(struct tm_channel *channel, int error);
/* Calls the close handler and forgets every channel that nothing refers to in the kernel. */
void channel_reap(struct tm_engine *engine);

/* ---- floating.c */
/* The channel may have @most buffers, not less than its exclusive ones. */
void floating_set_most(struct tm_channel *channel, uint32_t most);
/* Looks at what is held, once in a turn. */
void floating_look(struct tm_engine *engine);
/* How many wait, for the daemon to see. */
void floating_tell(struct tm_engine *engine);
/* May it receive, or wait for data? */
bool floating_may(const struct tm_channel *channel);
/* It waits for its turn in the queue, and has to. */
bool floating_is_refused(const struct tm_channel *channel);
/* What it may receive beyond what it holds, with @backlog buffers in its socket. */
uint32_t floating_ask(const struct tm_channel *channel, uint32_t backlog);
/* Its receive in the kernel may bring @n more. The promise ends with the receive. */
void floating_promise(struct tm_channel *channel, uint32_t n);
void floating_settle(struct tm_channel *channel);
/* One that may not is to be parked: it gets its turn when floating ones come back. True: it may by
 * now. */
bool floating_wait(struct tm_channel *channel);
/* It does not wait any more, if it did. */
void floating_leave(struct tm_channel *channel);
/* The task is about to get a buffer beyond the exclusive ones. */
void floating_hold(struct tm_channel *channel);

/* ---- latency.c */
/* An open channel is watched for as long as it wants. */
void latency_begin(struct tm_channel *channel);
/* Not any more. A second call does nothing. */
void latency_end(struct tm_channel *channel);

/* ---- patience.c */
/* The kernel asks a silent TCP peer whether it is there. */
void patience_set(const struct tm_engine *engine, int fd);
/* And it waits no longer for one that is being connected to. */
void patience_set_connecting(const struct tm_engine *engine, int fd, bool is_connecting);
/* The channel has something to send, so its peer has to answer. */
void patience_begin(struct tm_channel *channel);
/* It is about to be closed, and the kernel is left alone with the rest. */
void patience_end(struct tm_channel *channel);
/* Looks from time to time whether they do; *@timeout_ms is shortened for the next time. */
void patience_look(struct tm_engine *engine, int *timeout_ms);

/* ---- mailbox.c */
struct mailbox *mailbox_new(void);
struct mailbox *mailbox_ref(struct mailbox *mailbox);
void mailbox_unref(struct mailbox *mailbox);
/* Any thread: @channel may have credit again. */
void mailbox_credit(struct mailbox *mailbox, struct tm_channel *channel);
/* Any thread: a floating credit came back. */
void mailbox_share(struct mailbox *mailbox);
void mailbox_give(struct mailbox *mailbox, struct buffer *buffer);
void mailbox_withdraw(struct mailbox *mailbox);
int mailbox_wake(struct mailbox *mailbox);

struct mail {
	struct buffer *given;
	bool should_withdraw, should_return;
};

/* Moves everything out but the channels. */
struct mail mailbox_take(struct mailbox *mailbox);
/* Moves one channel out, with its reference. NULL: none is left. */
struct tm_channel *mailbox_pop(struct mailbox *mailbox);
/* True if there is no mail: the next one writes event_fd. */
bool mailbox_try_sleep(struct mailbox *mailbox);
void mailbox_awake(struct mailbox *mailbox);
/* No channel is taken from now on. Returns the rest, as mailbox_take(). */
struct mail mailbox_close(struct mailbox *mailbox);
