/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The floating credits of an engine: credit.c with the numbers of now.
 *
 * What channels hold beyond their exclusive credits is counted as they get and release it, by any
 * thread, in the mailbox; a channel that never holds more than those touches no shared number. What
 * a receive in the kernel may still bring is a promise, which matters only while the engine is
 * tight, so a task that releases its buffers soon pays nothing for the rest.
 *
 * When it becomes tight some receives were promised more than there is now. They are recalled, and
 * nothing is posted until the kernel has heard of it; until each has ended, its promise is counted
 * like any other, or what it brings would be given away twice. From then on a receive of a channel
 * that has its exclusive buffers is for bytes that lie in the socket already: such a promise is
 * used at once, and none has to be recalled from a channel that is idle. Asking for the backlog
 * (FIONREAD) is a system call for each receive, so it is not done before; the io_uring flag that
 * tells of one, IORING_CQE_F_SOCK_NONEMPTY, costs nothing but tells no number.
 */

#include "engine.h"

static uint32_t count_used(const struct tm_engine *engine)
{
	uint32_t n_loose = engine->is_tight ? engine->n_loose : 0;

	return atomic_load(&engine->mailbox->n_floating) + engine->n_promised + n_loose;
}

static struct credit get_credit(const struct tm_engine *engine)
{
	struct credit credit = engine->credit;

	credit.n_channels = engine->n_channels;
	credit.n_usable = engine->n_usable;
	credit.n_floating = count_used(engine);
	return credit;
}

void floating_set_most(struct tm_channel *channel, uint32_t most)
{
	struct tm_engine *engine = channel->engine;

	/* those who are refused may have what this one may not: they are looked at again */
	if (most < channel->most)
		engine->room_refused = 0;
	engine->n_usable += (uint64_t)most - channel->most;
	channel->most = most;
}

uint32_t floating_ask(const struct tm_channel *channel, uint32_t backlog)
{
	const struct tm_engine *engine = channel->engine;
	uint32_t held = atomic_load(&channel->held);
	struct credit credit = engine->is_tight ? get_credit(engine) : engine->credit;

	credit.most = channel->most;
	return credit_grant(&credit, engine->is_tight, held, backlog);
}

bool floating_may(const struct tm_channel *channel)
{
	/* without a backlog there is nothing to ask for yet, and nothing to be refused */
	if (!channel->has_more)
		return atomic_load(&channel->held) < channel->most;
	return floating_ask(channel, UINT32_MAX) > 0;
}

bool floating_is_refused(const struct tm_channel *channel)
{
	/* one whose window has closed meanwhile waits for nobody but itself */
	return channel->is_short && atomic_load(&channel->held) < channel->most &&
	       !floating_may(channel);
}

/* Those among which the channel's promise is counted. */
static uint32_t *get_promises(const struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;

	return channel->is_loose ? &engine->n_loose : &engine->n_promised;
}

void floating_promise(struct tm_channel *channel, uint32_t n)
{
	struct tm_engine *engine = channel->engine;
	uint32_t held = atomic_load(&channel->held), certain = MAX(held, engine->credit.exclusive);

	channel->limit = held + n;
	if (channel->limit <= certain)
		return;
	channel->is_loose = !engine->is_tight;
	channel->n_promised = channel->limit - certain;
	*get_promises(channel) += channel->n_promised;
}

void floating_settle(struct tm_channel *channel)
{
	*get_promises(channel) -= channel->n_promised;
	channel->n_promised = 0;
}

void floating_hold(struct tm_channel *channel)
{
	atomic_fetch_add(&channel->mailbox->n_floating, 1);
	if (channel->n_promised == 0)
		return;
	channel->n_promised--;
	(*get_promises(channel))--;
}

/* What nobody has of the floating ones. */
static uint32_t count_room(const struct tm_engine *engine)
{
	struct credit credit = get_credit(engine);
	uint32_t floating = credit_count_floating(&credit);

	return floating - MIN(credit.n_floating, floating);
}

bool floating_wait(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;
	bool is_refused = atomic_load(&channel->held) < channel->most;
	uint32_t room;

	if (is_refused)
		atomic_store(&engine->mailbox->wants_floating, true);
	room = count_room(engine); /* before it is refused: what comes back later is news */
	if (floating_may(channel))
		return true;
	if (is_refused) {
		channel->short_total++;
		channel->is_short = true;
		list_append(&engine->short_of, &channel->queue);
		engine->room_refused = engine->n_short++ ? MIN(engine->room_refused, room) : room;
	}
	return false;
}

void floating_leave(struct tm_channel *channel)
{
	if (!channel->is_short)
		return;
	channel->is_short = false;
	channel->engine->n_short--;
}

/*
 * Those that may go on now, the first ones first. Thousands may wait, so they are looked through
 * only if more is left than when they were refused. Epoll promises nothing, so as many are served
 * there as there are credits; they have data, so another turn follows for the others.
 */
static void serve(struct tm_engine *engine)
{
	uint32_t room = count_room(engine), n_promised = engine->n_promised;
	uint32_t n_left = engine->backend->asks_always ? room : UINT32_MAX;
	struct tm_channel *channel;

	if (engine->n_short == 0 || (engine->is_tight && room <= engine->room_refused))
		return;
	LIST_FOREACH(&engine->short_of, channel, queue) {
		if (n_left == 0)
			break;
		if (!floating_may(channel))
			continue;
		channel_go_on(channel);
		n_left--;
	}
	room -= MIN(room, engine->n_promised - n_promised);
	engine->room_refused = n_left > 0 ? room : 0;
}

void floating_tell(struct tm_engine *engine)
{
	if (engine->n_short == engine->n_told_short)
		return;
	pool_add_refused(engine->pool, (int)engine->n_short - (int)engine->n_told_short);
	engine->n_told_short = engine->n_short;
}

static void recall(struct tm_engine *engine)
{
	struct tm_channel *channel;
	int r;

	LIST_FOREACH(&engine->channels, channel, node) {
		if (channel->state != CHANNEL_ARMED || channel->n_promised == 0)
			continue;
		engine->is_recalling = true;
		r = engine->backend->recall(engine, channel);
		if (r < 0)
			channel_close(channel, r);
	}
}

static void update(struct tm_engine *engine)
{
	uint32_t limit, part = pool_get_part(engine->pool, &limit);

	engine->credit.n_buffers = part - MIN(part, engine->n_set_aside);
	engine->credit.n_posted =
		engine->backend->asks_always ? 0 : MIN(engine->posted_buffers, limit);
	engine->credit = get_credit(engine);
}

void floating_look(struct tm_engine *engine)
{
	bool was_tight = engine->is_tight;

	if (!was_tight && count_used(engine) == 0 && engine->n_short == 0 &&
	    !engine->backend->asks_always)
		return;
	/* before the numbers are looked at: who releases one from now on says so */
	if (engine->n_short > 0)
		atomic_store(&engine->mailbox->wants_floating, true);
	update(engine);
	engine->is_tight =
		engine->backend->asks_always || credit_is_tight(&engine->credit, was_tight);
	if (engine->is_tight && !was_tight && !engine->backend->asks_always)
		recall(engine);
	serve(engine);
	if (engine->n_short == 0 || pool_extend(engine->pool) <= 0)
		return;
	update(engine);
	serve(engine);
}
