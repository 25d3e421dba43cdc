/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Channels that are refused a floating credit, and who releases one (lib/floating.c, lib/channel.c,
 * lib/mailbox.c).
 *
 * There are two floating credits, and three channels of one engine that want them; the task's threads
 * release each buffer some time after it was received. The engine refuses, parks and sleeps; the
 * first to release a credit that somebody wants leaves a note, and writes the event only if the
 * engine sleeps. What is checked: no credit is had twice, and all is received in the end (an invalid
 * end state otherwise; FLINK-17182 was one).
 *
 * tests/lint/model runs this, and again with each of the defects that it must find: LATE_WANTS (the
 * engine looks at the number before it says that it wants one), NO_RENEWAL (a note was left, and the
 * engine does not ask for the next one), LATE_RENEWAL (it asks when it has looked), NO_MAIL (a
 * releaser leaves no note for an engine that is about to sleep), NO_SERVE (the engine that was woken
 * does not look again at who was refused), LATE_ROOM (what was left is looked at when the channel was
 * refused already, so that what came back in between is no news).
 */

#define ROUNDS 2 /* buffers that each channel is to receive */
#define CREDITS 2
#define CHANNELS 3
#define TASKS 2

byte n_floating; /* in use */
bool wants_floating;
bool should_share, is_asleep, event; /* under the mailbox's lock: within atomic */
bool is_short[CHANNELS];             /* refused, parked */
byte n_received[CHANNELS], n_held, n_to_release = CHANNELS * ROUNDS;
byte room_refused = CREDITS; /* with so many left none of these may go on */
byte room, c;                /* the engine's own */

inline mailbox_share()
{
	atomic {
#ifndef NO_MAIL
		should_share = true;
#endif
		if
		:: is_asleep -> is_asleep = false; event = true
		:: else
		fi
	}
}

inline receive()
{
	atomic { n_floating++; assert(n_floating <= CREDITS); n_received[c]++; n_held++ }
}

/* channel_go_on(): takes it, or is parked */
inline go_on()
{
	if
	:: n_floating < CREDITS -> receive()
	:: else ->
#ifndef LATE_WANTS
		wants_floating = true;
#endif
#ifndef LATE_ROOM
		room = CREDITS - n_floating;
#endif
		if
		:: n_floating < CREDITS -> receive()
		:: else ->
#ifdef LATE_ROOM
			room = CREDITS - n_floating;
#endif
			atomic {
				is_short[c] = true;
				if
				:: room < room_refused -> room_refused = room
				:: else
				fi
			}
		fi;
#ifdef LATE_WANTS
		wants_floating = true
#endif
	fi
}

inline renew()
{
	if
#ifndef NO_RENEWAL
	:: is_short[0] || is_short[1] || is_short[2] -> wants_floating = true
#endif
	:: else
	fi
}

/* floating_look() */
inline look()
{
#ifndef LATE_RENEWAL
	renew();
#endif
#ifndef NO_SERVE
	room = CREDITS - n_floating;
	if
	:: room > room_refused ->
		room_refused = CREDITS; /* go_on() lowers it */
		c = 0;
		do
		:: c == CHANNELS -> break
		:: c < CHANNELS && is_short[c] -> is_short[c] = false; go_on(); c++
		:: else -> c++
		od
	:: else
	fi;
#endif
#ifdef LATE_RENEWAL
	renew();
#endif
}

active proctype engine()
{
	do
	:: n_received[0] == ROUNDS && n_received[1] == ROUNDS && n_received[2] == ROUNDS -> break
	:: else ->
		should_share = false;
		look();
		/* data that has come */
		c = 0;
		do
		:: c == CHANNELS -> break
		:: c < CHANNELS && !is_short[c] && n_received[c] < ROUNDS -> go_on(); c++
		:: else -> c++
		od;
		if
		:: is_short[0] || is_short[1] || is_short[2] ->
			atomic { is_asleep = !should_share };
			if
			:: is_asleep || event -> event; event = false
			:: else
			fi;
			is_asleep = false
		:: else
		fi
	od
}

active [TASKS] proctype task()
{
	bool is_mine;

	do
	:: n_to_release == 0 -> break
	:: atomic { n_held > 0 -> n_held--; n_to_release-- }
		n_floating--;
		if
		:: wants_floating ->
			atomic { is_mine = wants_floating; wants_floating = false };
			if
			:: is_mine -> mailbox_share()
			:: else
			fi
		:: else
		fi
	od
}
