/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How long an engine watches its sockets before it sleeps.
 *
 * A thread that asks for one socket asks for all of them, so it spins as long as the most impatient
 * of its open channels wants. How many want that much is counted; only when the last of them goes
 * are the others looked through, so that thousands who want the same cost one look.
 *
 * Packets of a network device wait in its queues until its interrupt comes. A thread that watches
 * sockets of a device which can be asked (NAPI) asks there: the kernel does so in each wait of a ring
 * or an epoll that was told to (6.9), and stops for whatever else happens, so the engine need not spin
 * by itself. Loopback and unix sockets have no such queues.
 */

#include <errno.h>
#include <sys/socket.h>

#include "engine.h"
#include "info.h"

static void raise_to(struct tm_engine *engine, uint32_t spin_us)
{
	if (spin_us > engine->spin_us) {
		engine->spin_us = spin_us;
		engine->n_impatient = 0;
	}
	if (spin_us == engine->spin_us)
		engine->n_impatient++;
}

/* One who wanted @spin_us is not watched any more. */
static void lower_from(struct tm_engine *engine, uint32_t spin_us)
{
	struct tm_channel *channel;

	if (spin_us < engine->spin_us || --engine->n_impatient > 0)
		return;
	engine->spin_us = 0;
	LIST_FOREACH(&engine->channels, channel, node)
		if (channel->is_watched)
			raise_to(engine, channel->spin_us);
}

static bool is_on_device(const struct tm_channel *channel)
{
	unsigned int queue = 0;
	socklen_t length = sizeof(queue);

	return channel->fd >= 0 && !channel->is_unix &&
	       getsockopt(channel->fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &queue, &length) == 0 &&
	       queue > 0;
}

/* To the watched ones, or from them. */
static void count(const struct tm_channel *channel, int by)
{
	if (channel->spin_us == 0)
		return;
	channel->engine->n_spinning += (uint32_t)by;
	if (channel->is_on_device)
		channel->engine->n_on_device += (uint32_t)by;
}

void latency_begin(struct tm_channel *channel)
{
	channel->is_watched = true;
	channel->is_on_device = is_on_device(channel);
	raise_to(channel->engine, channel->spin_us);
	count(channel, 1);
}

void latency_end(struct tm_channel *channel)
{
	if (!channel->is_watched)
		return;
	channel->is_watched = false;
	count(channel, -1);
	lower_from(channel->engine, channel->spin_us);
}

TM_PUBLIC int tm_channel_set_latency(struct tm_channel *channel, uint32_t spin_us)
{
	bool is_watched = channel->is_watched;

	if (spin_us > ENGINE_SPIN_MAX_US)
		return -EINVAL;
	if (spin_us == channel->spin_us)
		return 0;
	latency_end(channel);
	channel->spin_us = spin_us;
	if (!is_watched)
		return 0; /* open looks at it */
	channel->is_watched = true;
	raise_to(channel->engine, spin_us);
	count(channel, 1);
	return 0;
}
