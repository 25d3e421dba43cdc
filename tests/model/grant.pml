/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One page that is granted, revoked and granted again (lib/chunk.c, lib/depot.c, lib/slot.c).
 *
 * The daemon lends the page to a task whose share it lowers and raises, and to somebody else
 * meanwhile; notices of a new target and answers to calls come by two connections and may
 * overtake each other. In the task a user acquires and releases the page's only buffer and waits
 * for it when it is not there; a dispatcher drains, returns and asks for more. What is checked:
 * the page has one owner, is touched by none else, and nobody waits for ever (an invalid end
 * state): if at the end the share is back, the user gets its last buffer; if it is not, the page
 * goes back once its buffer is released, and the user gives up waiting.
 *
 * tests/lint/model runs this, and again with each of the defects that it must find: NO_SIGNAL (a
 * release into a page that drains wakes nobody), NO_TIMER (a refused request is not repeated),
 * NO_FEED (a higher target is not offered to those who wait), EARLY_GRANT (the daemon lends the
 * page before it is back).
 */

#define NOBODY 0
#define TASK 1
#define OTHER 2

mtype = { ABSENT, FREE, POOL, DRAINING, RETURNING }

/* the daemon's books */
byte owner = TASK;
byte share = 1, changes, n_changes; /* of the share, so far and in all */
chan notices = [4] of { byte };
chan calls = [0] of { bool };   /* true: Grow, false: Return */
chan answers = [0] of { bool }; /* Grow: granted? */

/* the task, under its locks */
mtype page = POOL;
byte target = 1;
bool is_idle = true, is_waiting, event, timer;
bool given;
bool user_done;

inline serve()
{
	if
	:: is_waiting && page == POOL && is_idle ->
		is_idle = false;
		is_waiting = false;
		given = true
	:: else
	fi
}

proctype user()
{
	byte turns;
	bool has;

	do
	:: turns < 3 ->
		turns++;
		has = false;
		atomic {
			if
			:: page == POOL && is_idle && !is_waiting -> is_idle = false; has = true
			:: else -> is_waiting = true; event = true /* asks, and is then in line */
			fi
		}
		if
		:: !has ->
			if
			:: atomic { given -> given = false; has = true } /* sleeps until then */
			:: atomic { n_changes == 3 && !given -> is_waiting = false }
			fi
		:: else
		fi;
		if
		:: has ->
			assert(owner == TASK);
			assert(page == POOL || page == DRAINING);
			atomic {
				is_idle = true;
				if
#ifndef NO_SIGNAL
				:: page == DRAINING -> event = true
#endif
				:: else -> serve()
				fi
			}
		:: else
		fi
	:: turns == 3 -> break
	od;
	user_done = true
}

proctype dispatcher()
{
	bool granted, wants;

end:
	do
	:: atomic { event || timer || nempty(notices) -> event = false; timer = false };
		do
		:: atomic { notices ? target }
		:: empty(notices) -> break
		od;
		/* settle */
		atomic {
			if
			:: target == 0 && page == FREE -> page = RETURNING
			:: target == 0 && page == POOL -> page = DRAINING
			:: target == 1 && page == DRAINING -> page = POOL; serve()
			:: else
			fi;
			if
			:: page == DRAINING && is_idle -> page = RETURNING
			:: else
			fi
		}
		if
		:: page == RETURNING ->
			calls ! false;
			answers ? granted;
			page = ABSENT
		:: else
		fi;
		/* feed those who wait */
		atomic { wants = is_waiting && page == ABSENT && target > 0 };
#ifdef NO_FEED
		wants = false;
#endif
		if
		:: wants ->
			calls ! true;
			answers ? granted;
			atomic {
				if
				:: granted -> page = FREE
				:: else ->
#ifndef NO_TIMER
					timer = true
#else
					skip
#endif
				fi
			}
		:: else
		fi;
		atomic {
			if
			:: page == FREE && is_waiting -> page = POOL; serve()
			:: else
			fi
		}
	od
}

proctype daemon()
{
	bool grow;

end:
	do
	:: calls ? grow ->
		atomic {
			if
			:: !grow ->
				assert(owner == TASK);
				owner = NOBODY
			:: grow && owner == NOBODY && share == 1 -> owner = TASK
			:: else
			fi
		}
		answers ! (grow && owner == TASK)
	:: atomic { changes < n_changes && nfull(notices) ->
			changes++;
			share = 1 - share;
			notices ! share
		}
	/* somebody else has it while the task's share is less */
#ifdef EARLY_GRANT
	:: atomic { share == 0 && owner != OTHER -> owner = OTHER }
#else
	:: atomic { share == 0 && owner == NOBODY -> owner = OTHER }
#endif
	:: atomic { share == 1 && owner == OTHER -> owner = NOBODY }
	od
}

proctype witness()
{
	user_done && changes == n_changes;
	share == 1 || owner != TASK
}

init {
	atomic {
		if
		:: n_changes = 3
		:: n_changes = 4
		fi;
		run user();
		run dispatcher();
		run daemon();
		run witness()
	}
}
