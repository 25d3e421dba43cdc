/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Magazines (lib/magazine.c, lib/taskmem_inline.h) on a processor with a store buffer.
 *
 * The owner acquires and releases by the inline paths, at its end it falls asleep with whatever
 * its magazine holds. The robber empties the magazine, either for a page that must go or because
 * it waits for a buffer. What is checked: no buffer is lost or has two holders, and nobody waits
 * for ever (an invalid end state) or while a buffer is idle in the depot. FLINK-17182 was such a wait.
 *
 * Left out is the stash, in which one magazine leaves what another one is filled with. It is touched
 * with the lock held only, so to everybody it is a part of the depot, with one difference: depot_serve()
 * does not look into it. Whoever begins to wait, finds the pool empty or wants a page empties it into
 * the depot, as a part of the recall, and flush() puts nothing into it while a magazine may not be
 * open, which is so from then on.
 *
 * Stores of the owner become visible later, in order; membarrier() makes all of them visible, as
 * does taking the lock. tests/lint/model runs this, and runs it again with each of the defects
 * that it must find: NO_FIRST_BARRIER, NO_SECOND_BARRIER, NO_RECALL (a waiter does not look into
 * the magazine), NO_CLOSE (releases go on into the magazine), ALWAYS_COUNTED, NEVER_COUNTED.
 */

#define N_BUFFERS 2 /* 1 .. N_BUFFERS; 0 is NULL */
#define CAPACITY 2
#define N_SLOTS (CAPACITY + 2) /* a NULL below, room for one above */
#define BASE 1
#define TOP N_SLOTS /* its address, behind the slots */

byte memory[N_SLOTS + 1]; /* slots and top */
byte limit;               /* 0: closed */

/* the owner's store buffer */
byte n_stores;
byte store_address[4], store_value[4];

/* under the lock */
bool lock, is_open, is_stolen, is_waiting;
byte seen_top, noted[N_SLOTS];
bool in_depot[N_BUFFERS + 1];
byte n_idle;
byte given; /* to the waiter */

byte holder[N_BUFFERS + 1]; /* 0: nobody, 1: the owner, 2: the robber */

inline store_one()
{
	memory[store_address[0]] = store_value[0];
	store_address[0] = store_address[1];
	store_value[0] = store_value[1];
	store_address[1] = store_address[2];
	store_value[1] = store_value[2];
	store_address[2] = store_address[3];
	store_value[2] = store_value[3];
	n_stores--;
	store_address[n_stores] = 0;
	store_value[n_stores] = 0
}

inline store(address, value)
{
	atomic {
		n_stores < 4;
		store_address[n_stores] = address;
		store_value[n_stores] = value;
		n_stores++
	}
}

inline membarrier()
{
	atomic {
		do
		:: n_stores > 0 -> store_one()
		:: else -> break
		od
	}
}

inline depot_put(b)
{
	assert(b > 0 && !in_depot[b] && holder[b] == 0);
	in_depot[b] = true;
	n_idle++
}

inline depot_take(b)
{
	b = 1;
	do
	:: !in_depot[b] -> b++
	:: else -> break
	od;
	in_depot[b] = false;
	n_idle--
}

inline serve()
{
	if
	:: is_waiting && n_idle > 0 ->
		depot_take(given);
		is_waiting = false
	:: else
	fi
}

/* A full lock, which waits for the stores; only for the owner. */
inline lock_own()
{
	atomic { !lock && n_stores == 0 -> lock = true }
}

inline unlock()
{
	assert(!is_waiting || n_idle == 0);
	lock = false
}

/* What refill() and flush() decide: any time, but never while somebody waits. */
inline open_or_not()
{
	if
	:: !is_waiting -> is_open = true; limit = BASE + CAPACITY
	:: is_open = false; limit = 0
	fi
}

proctype memory_controller()
{
end:
	do
	:: atomic { n_stores > 0 -> store_one() }
	od
}

proctype owner()
{
	byte top = BASE, b, i, turns, n_held;
	bool was_stolen;

	do
	:: turns < 5 -> /* acquire */
		turns++;
		top--;
		store(TOP, top);
		/* its own stores to slots are older than those to top, but maybe not visible */
		atomic {
			b = memory[top];
			for (i : 0 .. n_stores - 1) {
				if
				:: i < n_stores && store_address[i] == top -> b = store_value[i]
				:: else
				fi
			}
		}
		if
		:: b > 0
		:: else ->
			lock_own();
			atomic {
				was_stolen = is_stolen;
				is_stolen = false;
				if
#ifdef ALWAYS_COUNTED
				:: was_stolen && top >= BASE -> b = noted[top]
#elif !defined(NEVER_COUNTED)
				:: was_stolen && seen_top == top -> b = noted[top]
#endif
				:: else -> b = 0
				fi;
				if
				:: was_stolen || top < BASE -> top = BASE; memory[TOP] = top
				:: else
				fi;
				if
				:: b == 0 && n_idle > 0 ->
					depot_take(b);
					/* refill, own and empty */
					open_or_not();
					if
					:: is_open && n_idle > 0 ->
						depot_take(memory[BASE]);
						top = BASE + 1;
						memory[TOP] = top
					:: true
					fi
				:: else
				fi;
				unlock()
			}
		fi;
		atomic {
			if
			:: b > 0 ->
				assert(holder[b] == 0 && !in_depot[b]);
				holder[b] = 1;
				n_held++
			:: else
			fi
		}
	:: n_held > 0 -> /* release */
		atomic {
			if
			:: holder[1] == 1 -> b = 1
			:: holder[2] == 1 -> b = 2
			fi;
			holder[b] = 0;
			n_held--
		}
		store(top, b);
		top++;
		store(TOP, top);
		if
		:: top - 1 < limit
		:: else ->
			lock_own();
			atomic {
				was_stolen = is_stolen;
				is_stolen = false;
				if
#ifdef ALWAYS_COUNTED
				:: was_stolen
#elif !defined(NEVER_COUNTED)
				:: was_stolen && seen_top == top
#endif
				:: was_stolen && seen_top != top -> depot_put(b)
#ifdef NEVER_COUNTED
				:: was_stolen && seen_top == top -> depot_put(b)
#endif
				:: !was_stolen ->
					/* flush: all, or the older half of what is too much */
					open_or_not();
					i = BASE;
					do
					:: i < top && (!is_open || i < top - 1) ->
						depot_put(memory[i]);
						i++
					:: else -> break
					od;
					if
					:: is_open -> memory[BASE] = memory[top - 1]; top = BASE + 1
					:: else -> top = BASE
					fi;
					memory[TOP] = top
				fi;
				if
				:: was_stolen -> top = BASE; memory[TOP] = top
				:: else
				fi;
				serve();
				unlock()
			}
		fi;
		b = 0
	:: turns == 5 && n_held == 0 -> break
	od
	/* asleep from now on */
}

proctype robber()
{
	byte turns, i, v, t;

	do
	:: turns < 2 ->
		turns++;
		atomic { !lock -> lock = true };
		if
		:: is_waiting = true
		:: skip
		fi;
		if
#ifdef NO_RECALL
		:: is_waiting
#endif
		:: is_open ->
#ifndef NO_CLOSE
			limit = 0;
#endif
#ifndef NO_FIRST_BARRIER
			membarrier();
#endif
			for (i : 0 .. N_SLOTS - 1) {
				atomic { noted[i] = memory[i]; memory[i] = 0 }
			}
#ifndef NO_SECOND_BARRIER
			membarrier();
#endif
			t = memory[TOP];
			for (i : BASE .. N_SLOTS - 1) {
				atomic {
					if
					:: i < t ->
						v = memory[i];
						memory[i] = 0;
						if
						:: v == 0 -> v = noted[i]
						:: else
						fi;
						depot_put(v)
					:: else
					fi
				}
			}
			atomic { seen_top = t; is_stolen = true; is_open = false; limit = 0 }
		:: !is_open
		fi;
		atomic { serve(); i = 0; v = 0; t = 0; unlock() };
		if
		:: is_waiting || given > 0 ->
			!is_waiting; /* for ever: an invalid end state */
			atomic {
				assert(holder[given] == 0 && !in_depot[given]);
				holder[given] = 2
			};
			atomic { !lock -> lock = true };
			atomic {
				holder[given] = 0;
				depot_put(given);
				given = 0;
				unlock()
			}
		:: else
		fi
	:: turns == 2 -> break
	od
}

init {
	atomic {
		memory[TOP] = BASE;
		in_depot[1] = true;
		in_depot[2] = true;
		n_idle = 2;
		run memory_controller();
		run owner();
		run robber()
	}
}
