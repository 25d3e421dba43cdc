/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One page that is taken by force while the task gives it back by itself (daemon/pool/grant.c,
 * lib/chunk.c).
 *
 * The notice that a page was taken comes by one connection, calls and their answers by another, and
 * they may overtake each other. What is checked: a notice is never taken to mean a page that was
 * granted after it, so the index of a page is not used again before the task has read of it; and
 * no index is lost: in the end the task has said that it is done with what was taken, unless a
 * buffer of it is still in use.
 *
 * tests/lint/model runs this, and again with each of the defects that it must find: NO_NUMBER (a
 * Return frees the index of a taken page, whatever the task has read), NO_ANSWER (the task does not
 * say that it is done with a page which it had given back before it read that it was taken).
 */

mtype = { ABSENT, POOL, RETURNING, REVOKED }

/* the daemon's books */
bool present = true, revoked;
byte generation = 1, revocation, n_grants = 1;
chan notices = [3] of { byte, byte }; /* number of the revocation, generation of the page */
chan calls = [0] of { bool, byte };   /* true: Grow; false: Return, number of the last one read */
chan answers = [0] of { byte };       /* Grow: generation, 0: none */

/* the task, under its locks */
mtype page = POOL;
byte page_generation = 1, seen;
bool is_used, call_lock;

proctype user()
{
end:
	do
	:: atomic { page == POOL && !is_used -> is_used = true };
		assert(page == POOL || page == REVOKED);
		is_used = false
	od
}

proctype dispatcher()
{
	byte number, which;

end:
	do
	:: atomic {
			notices ? number, which ->
			seen = number;
			if
			:: page == POOL -> assert(which == page_generation); page = REVOKED
#ifndef NO_ANSWER
			:: page == ABSENT -> page = RETURNING
#endif
			:: else
			fi
		}
	:: atomic { page == POOL && !is_used -> page = RETURNING } /* owed */
	:: atomic { page == REVOKED && !is_used -> page = RETURNING }
	:: atomic { page == RETURNING && !call_lock -> call_lock = true };
		calls ! false, seen;
		answers ? number;
		atomic { page = ABSENT; call_lock = false }
	od
}

proctype grower()
{
	byte got;

end:
	do
	:: atomic { page == ABSENT && !call_lock -> call_lock = true };
		calls ! true, 0;
		answers ? got;
		atomic {
			if
			/* else it was taken already, and we have read of that before the answer */
			:: got > 0 && page == ABSENT ->
				page = POOL;
				page_generation = got
			:: else
			fi;
			call_lock = false
		}
	od
}

proctype daemon()
{
	bool grow;
	byte number, reply;

end:
	do
	:: calls ? grow, number ->
		atomic {
			reply = 0;
			if
			:: grow && !present && !revoked && n_grants < 4 ->
				n_grants++;
				generation++;
				present = true;
				reply = generation
			:: !grow && present -> present = false
#ifdef NO_NUMBER
			:: !grow && revoked -> revoked = false
#else
			:: !grow && revoked && number == revocation -> revoked = false
#endif
			:: else
			fi
		}
		answers ! reply
	:: atomic { present && revocation < 3 && nfull(notices) ->
			present = false;
			revoked = true;
			revocation++;
			notices ! revocation, generation
		}
	od
}

proctype witness()
{
end:
	do
	:: atomic { empty(notices) && !call_lock && page == ABSENT -> assert(!revoked && !present) }
	od
}

init {
	atomic {
		run user();
		run dispatcher();
		run grower();
		run daemon();
		run witness()
	}
}
