/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One page that two pools of a task take from each other (lib/balance.c, lib/depot.c).
 *
 * Each pool has a user, which acquires its only buffer, waits for it when it is not there, and
 * releases it. A waiter is queued under the pool's lock, then looks for pages under the slot's lock
 * and sleeps; the dispatcher looks when the event was signalled. Looking is in two steps, what is
 * seen of the pools and what is done about it, because releases need no lock of the slot's. What
 * is checked: the buffer has one holder, and nobody waits for ever while the other one is done (an
 * invalid end state).
 *
 * Left out is what cannot make anybody wait: how many pages each is due (divide() with more than one
 * page), and pages that a new pool takes (balance_reclaim()), which are idle and above a minimum.
 * Magazines, whose releases signal nothing: a pool that could give has none while somebody is short
 * (is_owing, set after each look), and one that could not because somebody waited there has none for
 * that reason until it serves him, of which the dispatcher hears as of any release. And the daemon, to
 * which pages on the move go first: that is lib/chunk.c's, in the same turn of the dispatcher.
 *
 * tests/lint/model runs this, and again with each of the defects that it must find: NO_SHORT (who
 * releases wakes nobody but those who wait for a page that drains), LATE_SHORT (that is
 * asked for only after the pools were looked at), NO_DRAINED (a page that has drained wakes nobody),
 * NO_WAIT_SIGNAL (who begins to wait neither looks nor wakes the dispatcher).
 */

#define NOBODY 2

byte pool = 0;     /* whose page it is, 0 or 1; NOBODY: free */
bool is_moving;    /* drains for the other one */
bool is_idle = true;
bool is_waiting[2], given[2];
bool is_short, event;
bool slot_lock;
byte holder = NOBODY;

/* pool->lock held: within atomic */
inline serve()
{
	if
	:: pool != NOBODY && !is_moving && is_idle && is_waiting[pool] ->
		is_idle = false;
		is_waiting[pool] = false;
		given[pool] = true
	:: else
	fi
}

/* What has drained is free, and free pages go to who waits. */
inline feed()
{
	if
	:: is_moving && is_idle -> is_moving = false; pool = NOBODY
	:: else
	fi;
	if
	:: pool == NOBODY && is_waiting[0] -> pool = 0; serve()
	:: pool == NOBODY && !is_waiting[0] && is_waiting[1] -> pool = 1; serve()
	:: else
	fi
}

inline balance()
{
	atomic { !slot_lock -> slot_lock = true };
	atomic { feed(); is_moving = false; serve() }; /* what drained is its own again */
	if
	:: is_waiting[0] || is_waiting[1] ->
#ifndef LATE_SHORT
#ifndef NO_SHORT
		is_short = true;
#endif
#endif
		/* one that uses it, or waits itself, keeps it */
		atomic {
			seen = pool != NOBODY && is_waiting[1 - pool] && !is_waiting[pool] && is_idle;
		}
		atomic {
			if
			:: seen && pool != NOBODY && !is_waiting[pool] -> is_moving = true; feed()
			:: else
			fi;
			seen = false
		}
		atomic {
#ifndef NO_SHORT
			is_short = is_waiting[0] || is_waiting[1]
#else
			skip
#endif
		}
	:: else -> is_short = false
	fi;
	slot_lock = false
}

proctype user(bool me)
{
	byte turns;
	bool has, seen;

	do
	:: turns < 2 ->
		turns++;
		has = false;
		atomic {
			if
			:: pool == me && !is_moving && is_idle && !is_waiting[me] ->
				is_idle = false;
				has = true
			:: else -> is_waiting[me] = true
			fi
		}
		if
		:: !has ->
#ifndef NO_WAIT_SIGNAL
			/* it does both; either is enough */
			if
			:: event = true
			:: balance()
			fi;
#endif
			atomic { given[me] -> given[me] = false } /* sleeps until then */
		:: else
		fi;
		atomic { assert(holder == NOBODY && !is_idle); holder = me };
		atomic {
			holder = NOBODY;
			is_idle = true;
			if
			:: is_moving ->
#ifndef NO_DRAINED
				event = true
#else
				skip
#endif
			:: else ->
				serve();
				if
				:: is_short && is_idle -> event = true
				:: else
				fi
			fi
		}
	:: turns == 2 -> break
	od
}

proctype dispatcher()
{
	bool seen;

end:
	do
	:: atomic { event -> event = false };
		balance()
	od
}

init {
	atomic {
		run user(0);
		run user(1);
		run dispatcher()
	}
}
