/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How long a TCP peer that says nothing is waited for.
 *
 * The kernel asks idle connections (SO_KEEPALIVE), but not those that have something to send: there
 * what is sent is the question. TCP_USER_TIMEOUT would end the wait for the answer. It counts the time
 * that the peer's window is shut as well, though, even if the peer answers each probe of it (tcp(7)
 * does not say so; seen on 6.18: 3 s, a living peer that does not read, ETIMEDOUT after 3.6 s), and so
 * it would cut off a peer that is only slow. It is set while connecting, and not any more then.
 *
 * So the engine looks at the few connections that have something unacknowledged, four times within
 * peer_timeout_s. When something came from the peer last (tcpi_last_ack_recv, which answers to probes
 * renew) is not enough to know: the gaps between probes double, up to two minutes, and nobody has to say
 * anything in such a gap (seen on 6.18: 10 s of silence after 24 s of a shut window, all answered).
 * But then no question is open, that is, nothing is in flight (tcpi_unacked) and no probe is without
 * an answer (tcpi_probes, which is 0 again with the answer). A peer is gone if it has said nothing for
 * peer_timeout_s, a question has been open for half of it, and was asked again, as packets get lost.
 *
 * TCP_RTO_MAX_MS (6.15) has the kernel repeat its questions at least each half of peer_timeout_s. It
 * must not be less: if the window is shut with something in flight the kernel itself gives up after
 * twice that time. And it does not hold for what a closed socket has left: from a shut window the
 * kernel takes that back once the gaps between probes are that long, answers or not (seen on 6.18; by
 * itself after some 200 s).
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mono.h"
#include "engine.h"
#include "send.h"

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

#define KEEPALIVE_PROBES 6
#define RTO_MAX_S 120              /* the kernel takes no more */
#define LOOKS 4                    /* within peer_timeout_s */
#define LOOK_MIN_NS NS_PER_SEC     /* from one to the next */
#define TICK_NS (10 * NS_PER_MSEC) /* of mono_tick_ns() */
#define ASKED_AGAIN 2              /* probes or retransmissions without an answer */

static void set(int fd, int option, uint32_t value)
{
	int number = (int)value;

	/* a socket that does not take it would only be noticed later */
	(void)setsockopt(fd, IPPROTO_TCP, option, &number, sizeof(number));
}

/* Half of the time idle, then up to six questions. */
void patience_set(const struct tm_engine *engine, int fd)
{
	uint32_t timeout_s = engine->peer_timeout_s, idle_s, interval_s;
	int on = 1;

	if (timeout_s == TM_PEER_TIMEOUT_NEVER)
		return;
	idle_s = MAX(timeout_s / 2, 1U);
	interval_s = MAX(timeout_s / 2 / KEEPALIVE_PROBES, 1U);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	set(fd, TCP_KEEPIDLE, idle_s);
	set(fd, TCP_KEEPINTVL, interval_s);
	set(fd, TCP_KEEPCNT, MIN(MAX(timeout_s - idle_s, 1U), (uint32_t)KEEPALIVE_PROBES));
	set(fd, TCP_RTO_MAX_MS, MIN(idle_s, (uint32_t)RTO_MAX_S) * 1000);
}

void patience_set_connecting(const struct tm_engine *engine, int fd, bool is_connecting)
{
	if (engine->peer_timeout_s != TM_PEER_TIMEOUT_NEVER)
		set(fd, TCP_USER_TIMEOUT, is_connecting ? engine->peer_timeout_s * 1000 : 0);
}

void patience_begin(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	if (channel->is_unix || channel->engine->peer_timeout_s == TM_PEER_TIMEOUT_NEVER ||
	    !list_is_empty(&sender->waiting))
		return;
	sender->asked_ns = 0;
	list_append(&channel->engine->waiting, &sender->waiting);
}

void patience_end(struct tm_channel *channel)
{
	if (list_is_empty(&channel->sender->waiting))
		return;
	list_remove(&channel->sender->waiting);
	set(channel->fd, TCP_RTO_MAX_MS, RTO_MAX_S * 1000);
}

/* Has all that was to be sent been acknowledged, as far as the channel has said so far? */
static bool is_answered(const struct sender *sender)
{
	int bytes = 0;

	return sender->n_items == 0 && list_is_empty(&sender->pins) &&
	       (ioctl(sender->channel->fd, TIOCOUTQ, &bytes) < 0 || bytes == 0);
}

/* How long it is still to be waited for; 0: its peer is gone. */
static uint64_t look(struct sender *sender, uint64_t now_ns)
{
	uint64_t timeout_ns = sender->channel->engine->peer_timeout_s * NS_PER_SEC;
	uint64_t silent_ns, asked_for_ns;
	struct tcp_info info;
	socklen_t length = sizeof(info);

	/* one that has failed is told in another way */
	if (getsockopt(sender->channel->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return timeout_ns;
	if (info.tcpi_unacked == 0 && info.tcpi_probes == 0) {
		sender->asked_ns = 0;
		return timeout_ns;
	}
	silent_ns = info.tcpi_last_ack_recv * NS_PER_MSEC;
	/* not yet known to be open, or another one than that */
	if (sender->asked_ns == 0 || silent_ns < now_ns - sender->asked_ns)
		sender->asked_ns = now_ns;
	asked_for_ns = now_ns - sender->asked_ns;
	if (silent_ns >= timeout_ns && asked_for_ns >= timeout_ns / 2)
		return info.tcpi_probes + info.tcpi_retransmits >= ASKED_AGAIN ? 0 : timeout_ns;
	return MAX(silent_ns < timeout_ns ? timeout_ns - silent_ns : 0,
		   asked_for_ns < timeout_ns / 2 ? timeout_ns / 2 - asked_for_ns : 0);
}

/* Returns when to look again. */
static uint64_t look_at_all(struct tm_engine *engine, uint64_t now_ns)
{
	uint64_t wait_ns = engine->peer_timeout_s * NS_PER_SEC / LOOKS, left_ns;
	struct sender *sender;

	LIST_FOREACH(&engine->waiting, sender, waiting) {
		/* one that the back end is about to let go of is looked at later, if at all */
		if (sender->channel->state == CHANNEL_CLOSING && !sender->is_lingering)
			continue;
		if (is_answered(sender)) {
			list_remove(&sender->waiting);
			continue;
		}
		left_ns = look(sender, now_ns);
		if (left_ns == 0)
			send_give_up(sender->channel);
		else
			wait_ns = MIN(wait_ns, left_ns);
	}
	return now_ns + MAX(wait_ns, LOOK_MIN_NS);
}

void patience_look(struct tm_engine *engine, int *timeout_ms)
{
	uint64_t now_ns, wait_ns = engine->peer_timeout_s * NS_PER_SEC / LOOKS;
	int wait_ms;

	if (list_is_empty(&engine->waiting)) {
		engine->look_at_ns = 0;
		return;
	}
	now_ns = mono_tick_ns();
	if (engine->look_at_ns == 0)
		engine->look_at_ns = now_ns + MAX(wait_ns, LOOK_MIN_NS);
	else if (now_ns >= engine->look_at_ns)
		engine->look_at_ns = look_at_all(engine, now_ns);
	wait_ms = (int)((engine->look_at_ns - now_ns + TICK_NS) / NS_PER_MSEC);
	if (!list_is_empty(&engine->waiting) && (*timeout_ms < 0 || *timeout_ms > wait_ms))
		*timeout_ms = wait_ms;
}
