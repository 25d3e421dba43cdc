/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How long an engine watches its sockets before it sleeps.
 *
 * A thread that asks for one socket asks for all of them, so it spins as long as the most impatient
 * of its open channels wants. How many want that much is counted; only when the last of them goes
 * are the others looked through, so that thousands who want the same cost one look.
 *
 * SO_BUSY_POLL has the driver itself asked whenever a socket is read and has nothing. Loopback and
 * unix sockets have no driver, and the kernel refuses more than net.core.busy_read without
 * CAP_NET_ADMIN: the spinning is what counts, so nobody is told.
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

static void ask_driver(const struct tm_channel *channel)
{
	int spin_us = (int)channel->spin_us;

	if (channel->fd >= 0 && !channel->is_unix)
		(void)setsockopt(channel->fd, SOL_SOCKET, SO_BUSY_POLL, &spin_us, sizeof(spin_us));
}

void latency_begin(struct tm_channel *channel)
{
	channel->is_watched = true;
	raise_to(channel->engine, channel->spin_us);
	/* else it has it from its listener, or from listener_set_window() */
	if (channel->spin_us != channel->engine->default_spin_us)
		ask_driver(channel);
}

void latency_end(struct tm_channel *channel)
{
	if (!channel->is_watched)
		return;
	channel->is_watched = false;
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
	ask_driver(channel);
	return 0;
}
