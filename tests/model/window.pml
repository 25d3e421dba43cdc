/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A channel that holds all its window allows, and who releases something (lib/channel.c,
 * lib/window.c, lib/mailbox.c).
 *
 * The window moves as it likes, within its bounds, but only when the channel has received and when its
 * mail is read, in the engine's thread. The task's threads release each buffer some time after it was
 * received; one that sees the channel parked leaves a note, and writes the event only if the engine
 * sleeps. What is checked: no more is received than the window allowed when it was looked at last, and
 * all is received in the end, though nobody wakes the engine because the window has moved (an invalid
 * end state otherwise).
 *
 * tests/lint/model runs this, and again with each of the defects that it must find: LATE_PARKED (the
 * channel says that it is parked when it has looked at what it holds), NO_SECOND_LOOK (it says so
 * before, and does not look again), LATE_POP (mail is taken out when it was acted upon), NO_MAIL (a
 * releaser leaves no note for an engine that is about to sleep), NO_LEAST (the window may close).
 */

#define ROUNDS 5 /* buffers that are to be received */
#define MOST 3
#ifdef NO_LEAST
#define LEAST 0
#else
#define LEAST 1
#endif
#define TASKS 2

byte most = MOST;  /* the window; the engine's own */
bool is_in_state_parked; /* likewise */
byte n_received;
byte held;
bool is_parked;
bool is_mailed, is_asleep, event; /* under the mailbox's lock: within atomic */
byte n_in_hand, n_to_release = ROUNDS;

inline move()
{
	if
	:: most = LEAST
	:: most = MOST
	fi
}

/* channel_go_on() */
inline go_on()
{
	if
	:: held < most -> is_parked = false; is_in_state_parked = false
	:: else ->
#ifndef LATE_PARKED
		is_parked = true;
#endif
		if
#ifndef NO_SECOND_LOOK
		:: held < most -> is_parked = false; is_in_state_parked = false
#endif
		:: else -> is_in_state_parked = true
		fi;
#ifdef LATE_PARKED
		is_parked = is_in_state_parked
#endif
	fi
}

inline receive()
{
	atomic { assert(held < most); held++; n_received++; n_in_hand++ }
}

active proctype engine()
{
	do
	:: n_received == ROUNDS -> break
	:: else ->
		/* channel_on_credit() */
		if
		:: is_mailed ->
#ifndef LATE_POP
			is_mailed = false;
#endif
			if
			:: is_in_state_parked -> move(); go_on()
			:: else
			fi;
#ifdef LATE_POP
			is_mailed = false
#endif
		:: else
		fi;
		if
		:: !is_in_state_parked -> receive(); move(); go_on()
		:: else ->
			atomic { is_asleep = !is_mailed };
			if
			:: is_asleep || event -> event; event = false
			:: else
			fi;
			is_asleep = false
		fi
	od
}

active [TASKS] proctype task()
{
	do
	:: n_to_release == 0 -> break
	:: atomic { n_in_hand > 0 -> n_in_hand--; n_to_release-- }
		held--;
		if
		:: is_parked ->
			atomic {
#ifndef NO_MAIL
				is_mailed = true;
#endif
				if
				:: is_asleep -> is_asleep = false; event = true
				:: else
				fi
			}
		:: else
		fi
	od
}
