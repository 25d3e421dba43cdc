/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The engine: what happens in one turn, whatever the back end.
 *
 * A turn does the mail (credit given back, a buffer that was waited for, pages that are owed),
 * arms what is not armed, feeds the starved, sends what is queued and calls the close handlers;
 * then it waits, and does the same again for what came. Nothing is left undone when it goes to
 * sleep: that is what may_sleep() checks.
 */

#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "info.h"
#include "send.h"
#include "slot.h"

#define POSTED_DEFAULT 64
#define POSTED_MAX 4096   /* more than a cache can hold only makes memory cold */
#define CREDIT_DEFAULT 10 /* as Flink's: 2 exclusive buffers and 8 floating ones */
#define EXCLUSIVE_DEFAULT 2
#define PEER_TIMEOUT_DEFAULT_S 120
#define PEER_TIMEOUT_MAX_S 32767 /* of TCP_KEEPIDLE */
#define KERNEL_SPIN_MS 10        /* longer than that io_uring asks no device in a wait */
#define CHANNELS_DEFAULT 4096
#define CHANNELS_MAX 65536
#define SEND_DEFAULT 64
#define SEND_MAX 4096

static void on_withdraw(struct pool_user *user)
{
	mailbox_withdraw(container_of(user, struct tm_engine, user)->mailbox);
}

static void on_given(struct pool_waiter *waiter, struct buffer *buffer)
{
	mailbox_give(container_of(waiter, struct tm_engine, waiter)->mailbox, buffer);
}

struct buffer *engine_take_buffer(struct tm_engine *engine)
{
	struct buffer *buffer;

	if (engine->spare)
		return TAKE(engine->spare);
	return pool_take(engine->pool, 1, BUFFER_HELD, &buffer) ? buffer : NULL;
}

void engine_want_buffer(struct tm_engine *engine)
{
	if (engine->is_waiting || engine->spare)
		return;
	/* out of memory or out of pages: a release will come */
	(void)!pool_grow(engine->pool, /* may_ask= */ true);
	engine->is_waiting = true;
	pool_wait(engine->pool, &engine->waiter);
}

void engine_on_slot(struct tm_engine *engine)
{
	int r = tm_slot_dispatch(engine->pool->slot);

	if (r > 0)
		engine->n_events += (uint32_t)r;
}

void engine_on_mail(struct tm_engine *engine)
{
	uint64_t ticks;

	/* non-blocking; the mail itself is read in each turn */
	(void)!read(engine->mailbox->event_fd, &ticks, sizeof(ticks));
}

void engine_tick(struct tm_engine *engine)
{
	if (engine->target_us > 0)
		engine->now_ns = mono_tick_ns();
}

static void do_credit(struct tm_engine *engine)
{
	struct tm_channel *channel;

	while ((channel = mailbox_pop(engine->mailbox))) {
		channel_on_credit(channel);
		channel_unref(channel);
	}
}

/* Returns true if tm_engine_wakeup() was called. */
static bool do_mail(struct tm_engine *engine)
{
	struct mail mail = mailbox_take(engine->mailbox);

	if (mail.given) {
		engine->spare = mail.given;
		engine->is_waiting = false;
	}
	if (mail.should_withdraw)
		engine->backend->withdraw(engine);
	do_credit(engine);
	return mail.should_return;
}

static void start_pending(struct tm_engine *engine)
{
	struct tm_channel *channel;

	while (!list_is_empty(&engine->pending)) {
		channel = list_entry(engine->pending.next, struct tm_channel, queue);
		list_remove(&channel->queue);
		channel_connect(channel);
	}
}

/* A close handler may connect again, hence the loop; each round of it ends with less to do. */
static bool turn(struct tm_engine *engine, int *timeout_ms)
{
	bool should_return;

	should_return = do_mail(engine);
	floating_look(engine);
	listener_arm_all(engine, timeout_ms);
	patience_look(engine, timeout_ms);
	do {
		start_pending(engine);
		engine->backend->feed(engine);
		send_flush(engine);
		channel_reap(engine);
	} while (!list_is_empty(&engine->pending));
	floating_tell(engine);
	/* the starved are gone; somebody else waits for it */
	if (engine->spare)
		pool_put(TAKE(engine->spare));
	return should_return;
}

static bool may_sleep(const struct tm_engine *engine)
{
	return engine->n_events == 0 && list_is_empty(&engine->sending);
}

/* @timeout_ms: at the most, for what other threads want ends it, too. */
static int sleep_for(struct tm_engine *engine, int timeout_ms)
{
	int r;

	if (!may_sleep(engine) || !mailbox_try_sleep(engine->mailbox))
		timeout_ms = 0;
	r = engine->backend->wait(engine, timeout_ms);
	mailbox_awake(engine->mailbox);
	return r;
}

/*
 * Asks again and again before sleeping, with a turn each time, as anything may have come. What is
 * left of *@timeout_ms remains; 0: there is a reason to return. The last wait then also submits
 * what handlers have sent. The kernel asks by itself while it waits, but not for long.
 */
static int spin(struct tm_engine *engine, int *timeout_ms)
{
	uint64_t begin_ns = mono_now_ns(), now_ns = begin_ns, spin_ns, rest_ms;
	bool should_return = false;
	int r;

	spin_ns = engine->spin_us * NS_PER_USEC;
	if (*timeout_ms > 0)
		spin_ns = MIN(spin_ns, (uint64_t)*timeout_ms * NS_PER_MSEC);
	if (engine->is_kernel_spinning && spin_ns <= KERNEL_SPIN_MS * NS_PER_MSEC)
		return 0; /* the last wait does it */
	while (now_ns - begin_ns < spin_ns && !should_return && may_sleep(engine)) {
		rest_ms = (spin_ns - (now_ns - begin_ns) + NS_PER_MSEC - 1) / NS_PER_MSEC;
		r = engine->is_kernel_spinning
			    ? sleep_for(engine, (int)MIN(rest_ms, (uint64_t)KERNEL_SPIN_MS))
			    : engine->backend->wait(engine, 0);
		if (r < 0)
			return r;
		should_return = turn(engine, timeout_ms);
		now_ns = mono_now_ns();
	}
	if (should_return)
		*timeout_ms = 0;
	else if (*timeout_ms > 0)
		*timeout_ms -= (int)MIN((now_ns - begin_ns) / NS_PER_MSEC, (uint64_t)*timeout_ms);
	return 0;
}

static int start(struct tm_engine *engine)
{
	int r;

	if (engine->is_started)
		return 0;
	r = engine->backend->start(engine);
	if (r < 0)
		return r;
	engine->thread = pthread_self();
	engine->is_started = true;
	return 0;
}

TM_PUBLIC int tm_engine_run(struct tm_engine *engine, int timeout_ms)
{
	int r;

	r = start(engine);
	if (r < 0)
		return r;
	engine->n_events = 0;
	engine_tick(engine);
	if (turn(engine, &timeout_ms))
		timeout_ms = 0;
	if (engine->spin_us > 0 && timeout_ms != 0) {
		r = spin(engine, &timeout_ms);
		if (r < 0)
			return r;
	}
	r = sleep_for(engine, timeout_ms);
	if (r < 0)
		return r;
	(void)turn(engine, &timeout_ms);
	return (int)engine->n_events;
}

TM_PUBLIC int tm_engine_wakeup(struct tm_engine *engine)
{
	return mailbox_wake(engine->mailbox);
}

TM_PUBLIC enum tm_engine_kind tm_engine_get_kind(const struct tm_engine *engine)
{
	return engine->backend->kind;
}

static int choose_kind(enum tm_engine_kind *kind)
{
	const char *text;

	if (*kind != TM_ENGINE_AUTO)
		return 0;
	text = secure_getenv("TASKMEM_ENGINE");
	if (!text || !*text)
		return 0;
	if (strcmp(text, "uring") == 0)
		*kind = TM_ENGINE_URING;
	else if (strcmp(text, "epoll") == 0)
		*kind = TM_ENGINE_EPOLL;
	else
		return -EINVAL;
	return 0;
}

static int init_backend(struct tm_engine *engine, enum tm_engine_kind kind)
{
	int r;

	r = choose_kind(&kind);
	if (r < 0)
		return r;
	if (kind != TM_ENGINE_EPOLL) {
		engine->backend = &engine_uring_backend;
		r = engine->backend->init(engine);
		/* refused by seccomp, a sysctl, a memory limit or an old kernel */
		if (r >= 0 || kind == TM_ENGINE_URING)
			return r;
	}
	engine->backend = &engine_epoll_backend;
	return engine->backend->init(engine);
}

static void init_lists(struct tm_engine *engine)
{
	list_init(&engine->channels);
	list_init(&engine->listeners);
	list_init(&engine->starved);
	list_init(&engine->closing);
	list_init(&engine->pending);
	list_init(&engine->sending);
	list_init(&engine->short_of);
	list_init(&engine->lingering);
	list_init(&engine->waiting);
	list_init(&engine->user.node);
	list_init(&engine->waiter.node);
}

TM_PUBLIC int tm_engine_new(struct tm_pool *pool, const struct tm_engine_options *options,
			    const struct tm_handlers *handlers, void *userdata,
			    struct tm_engine **ret_engine)
{
	struct tm_engine_options o = {};
	struct tm_engine *engine;
	int r;

	r = info_read(&o, sizeof(o), options, options ? options->size : 0);
	if (r < 0 || !pool || !handlers || !ret_engine || o.send_buffers > SEND_MAX ||
	    o.spin_us > ENGINE_SPIN_MAX_US || o.debloat_target_us > ENGINE_TARGET_MAX_US ||
	    o.zero_copy < TM_ZERO_COPY_AUTO || o.zero_copy > TM_ZERO_COPY_ALWAYS ||
	    o.posted_buffers > POSTED_MAX || o.max_channels > CHANNELS_MAX ||
	    o.exclusive_buffers > (o.credit_buffers ? o.credit_buffers : CREDIT_DEFAULT) ||
	    (o.peer_timeout_s > PEER_TIMEOUT_MAX_S && o.peer_timeout_s != TM_PEER_TIMEOUT_NEVER) ||
	    o.kind < TM_ENGINE_AUTO || o.kind > TM_ENGINE_EPOLL)
		return -EINVAL;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	init_lists(engine);
	r = info_read(&engine->handlers, sizeof(engine->handlers), handlers, handlers->size);
	if (r < 0 || !engine->handlers.data) {
		free(engine);
		return -EINVAL;
	}
	engine->pool = pool;
	engine->userdata = userdata;
	engine->posted_buffers = o.posted_buffers ? o.posted_buffers : POSTED_DEFAULT;
	engine->credit_buffers = o.credit_buffers ? o.credit_buffers : CREDIT_DEFAULT;
	engine->peer_timeout_s = o.peer_timeout_s ? o.peer_timeout_s : PEER_TIMEOUT_DEFAULT_S;
	engine->send_buffers = o.send_buffers ? o.send_buffers : SEND_DEFAULT;
	engine->zero_copy = o.zero_copy;
	engine->default_spin_us = o.spin_us;
	engine->target_us = o.debloat_target_us;
	engine->max_channels = o.max_channels ? o.max_channels : CHANNELS_DEFAULT;
	engine->user.withdraw = on_withdraw;
	engine->waiter.give = on_given;
	engine->credit.exclusive =
		o.exclusive_buffers ? o.exclusive_buffers
				    : MIN(engine->credit_buffers, (uint32_t)EXCLUSIVE_DEFAULT);
	engine->mailbox = mailbox_new();
	r = engine->mailbox ? init_backend(engine, o.kind) : -ENOMEM;
	if (r < 0) {
		mailbox_unref(engine->mailbox);
		free(engine);
		return r;
	}
	pool_add_user(pool, &engine->user);
	link_note_engine(pool->slot, engine->backend->kind);
	*ret_engine = engine;
	return 0;
}

static void free_mail(struct tm_engine *engine)
{
	struct tm_channel *channel;
	struct mail mail = mailbox_close(engine->mailbox);

	while ((channel = mailbox_pop(engine->mailbox)))
		channel_unref(channel);
	if (mail.given)
		pool_put(mail.given);
}

TM_PUBLIC void tm_engine_free(struct tm_engine *engine)
{
	struct tm_channel *channel;
	struct listener *listener;

	if (!engine)
		return;
	LIST_FOREACH(&engine->listeners, listener, node)
		listener_free(listener);
	/* each round closes what the handlers of the one before have opened */
	while (!list_is_empty(&engine->channels)) {
		LIST_FOREACH(&engine->channels, channel, node)
			channel_close(channel, -ECANCELED);
		engine->backend->deinit(engine);
		LIST_FOREACH(&engine->channels, channel, node)
			channel->n_ops = 0;
		channel_reap(engine);
	}
	engine->backend->deinit(engine);
	floating_tell(engine);
	(void)pool_unwait(engine->pool, &engine->waiter);
	pool_remove_user(engine->pool, &engine->user);
	free_mail(engine);
	if (engine->spare)
		pool_put(TAKE(engine->spare));
	mailbox_unref(engine->mailbox);
	free(engine);
}

TM_PUBLIC int tm_engine_connect(struct tm_engine *engine, const char *address,
				struct tm_channel **ret_channel)
{
	struct address addresses[ADDRESSES_MAX];
	struct tm_channel *channel;
	int n;

	n = address_resolve(address, /* is_passive= */ false, addresses);
	if (n < 0)
		return n;
	if (engine->n_channels >= engine->max_channels)
		return -EMFILE;
	channel = channel_new(engine, -1);
	if (!channel)
		return -ENOMEM;
	channel->addresses = calloc((size_t)n, sizeof(*addresses));
	channel->peer = strdup(address);
	if (!channel->addresses || !channel->peer) {
		channel_forget(channel);
		channel_unref(channel);
		return -ENOMEM;
	}
	memcpy(channel->addresses, addresses, (size_t)n * sizeof(*addresses));
	channel->n_addresses = (uint32_t)n;
	/* the socket is made in the engine's next turn, by its own thread */
	list_append(&engine->pending, &channel->queue);
	if (ret_channel)
		*ret_channel = channel;
	return 0;
}
