/* SPDX-License-Identifier: Apache-2.0 */
#include "api/interface.h"

/*
 * Sizes are bytes, times microseconds. Numbers named kernel* are read from the kernel's own
 * files when the call is answered; all others are what the daemon planned.
 */

#define COMMENT SD_VARLINK_FIELD_COMMENT
#define FIELD SD_VARLINK_DEFINE_FIELD
#define IN SD_VARLINK_DEFINE_INPUT
#define OUT SD_VARLINK_DEFINE_OUTPUT
#define OUT_TYPE SD_VARLINK_DEFINE_OUTPUT_BY_TYPE
#define FIELD_TYPE SD_VARLINK_DEFINE_FIELD_BY_TYPE
#define INT SD_VARLINK_INT
#define STRING SD_VARLINK_STRING
#define BOOL SD_VARLINK_BOOL
#define NULLABLE SD_VARLINK_NULLABLE
#define ARRAY SD_VARLINK_ARRAY

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Pending, COMMENT("max, share, pool or move"), FIELD(what, STRING, 0),
	FIELD(fromBytes, INT, 0), FIELD(toBytes, INT, 0), FIELD(nowBytes, INT, 0),
	COMMENT("Expected time to completion; null while it cannot be told"),
	FIELD(etaUsec, INT, NULLABLE), COMMENT("Why it does not move, and what would help"),
	FIELD(note, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	HeatPoint, COMMENT("Of the hottest memory"), FIELD(bytes, INT, 0),
	COMMENT("What the next 2 MiB are worth: touches of their pages in 1000 s, at least"),
	FIELD(nextMilliHz, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Heat,
	COMMENT("lru_gen: ages of pages in the multi-gen LRU; damon: sampled addresses; none: only "
		"refaults and stall are known"),
	FIELD(source, STRING, 0), COMMENT("high, medium or low"), FIELD(confidence, STRING, 0),
	COMMENT("Since it was measured"), FIELD(ageUsec, INT, 0),
	COMMENT("How long the slot was watched"), FIELD(windowUsec, INT, 0),
	COMMENT("Memory that is touched within withinUsec; null with none"),
	FIELD(workingSetBytes, INT, NULLABLE),
	COMMENT("With lru_gen the window, with damon a tenth of it; null with none"),
	FIELD(withinUsec, INT, NULLABLE),
	COMMENT("Parts of workingSetBytes; null but with lru_gen"), FIELD(anonBytes, INT, NULLABLE),
	FIELD(fileBytes, INT, NULLABLE), COMMENT("All memory of the slot that the source sees"),
	FIELD(seenBytes, INT, NULLABLE),
	COMMENT("Where the heat curve bends most: what is hotter than the average is below it"),
	FIELD(kneeBytes, INT, NULLABLE),
	COMMENT("Sum over buckets of 2 MiB of how often each page is touched, in 1000 s"),
	FIELD(scoreMilliHz, INT, NULLABLE),
	COMMENT("Came back from swap or disk in the window (workingset_refault)"),
	FIELD(refaultBytes, INT, 0), COMMENT("memory.pressure, some, in the window"),
	FIELD(stallUsec, INT, 0), COMMENT("What the measurement took of the kernel's time"),
	FIELD(costUsec, INT, 0), COMMENT("Only where one slot was asked for"),
	FIELD_TYPE(points, HeatPoint, ARRAY | NULLABLE),
	COMMENT("Why no more is known, or why it may be wrong"), FIELD(note, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Left, COMMENT("null: it was bound to none"), FIELD(node, INT, NULLABLE),
	COMMENT("Charged there until it is freed, wherever it lies by now"), FIELD(bytes, INT, 0),
	COMMENT("That are still to be moved"), FIELD(processes, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Owed, FIELD(pid, INT, 0),
	COMMENT("Of the task that keeps most of it; null: it did not say"),
	FIELD(pool, STRING, NULLABLE), FIELD(owedBytes, INT, 0),
	COMMENT("Taken by force; the task has not said yet that it is done with them"),
	FIELD(revokedBytes, INT, 0), COMMENT("For how long it owes"), FIELD(owedUsec, INT, 0),
	COMMENT("Until revoke is done to it; null: it is waited for"),
	FIELD(leftUsec, INT, NULLABLE), COMMENT("true: another slot's guarantee is short of them"),
	FIELD(forGuarantee, BOOL, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(NodeBytes, FIELD(node, INT, 0), FIELD(bytes, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Notice, COMMENT("Counts from 1 for each slot since the daemon started"),
	FIELD(notice, INT, 0), COMMENT("share, max or pressure"), FIELD(why, STRING, 0),
	FIELD(realtimeUsec, INT, 0), COMMENT("What the slot should come to use"),
	FIELD(targetBytes, INT, 0), COMMENT("What was told before; 0: nothing"),
	FIELD(beforeBytes, INT, 0), COMMENT("memory.current then"), FIELD(usageBytes, INT, 0),
	COMMENT("Tasks that were told"), FIELD(asked, INT, 0),
	COMMENT("Those that answered so far"), FIELD(answers, INT, 0),
	COMMENT("What they freed, as they say"), FIELD(freedBytes, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(OnResize, COMMENT("Absolute path and arguments"),
				     FIELD(command, STRING, 0), FIELD(running, BOOL, 0),
				     COMMENT("Since the daemon started"), FIELD(runs, INT, 0),
				     FIELD(failures, INT, 0),
				     COMMENT("When the last one ended; null: none has"),
				     FIELD(endedUsec, INT, NULLABLE),
				     COMMENT("How the last one failed; null: it did not"),
				     FIELD(failure, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Slot, FIELD(name, STRING, 0), COMMENT("NUMA node, null when the slot may use every node"),
	FIELD(node, INT, NULLABLE),
	COMMENT("Nobody named the node: it is chosen again when a task starts in the empty slot"),
	FIELD(nodeAuto, BOOL, 0), COMMENT("uid that may run tasks in the slot"),
	FIELD(owner, INT, 0), COMMENT("Relative claim on contended memory, 1 to 10000"),
	FIELD(weight, INT, 0), COMMENT("Priority class, 0 is served first"), FIELD(tier, INT, 0),
	COMMENT("Guarantee"), FIELD(minBytes, INT, 0), COMMENT("Hard cap; null: the node's budget"),
	FIELD(maxBytes, INT, NULLABLE), COMMENT("Guaranteed huge-page memory for buffer pools"),
	FIELD(poolMinBytes, INT, 0), FIELD(poolMaxBytes, INT, 0),
	COMMENT("Working set it is expected to have; null: nobody told it"),
	FIELD(needBytes, INT, NULLABLE),
	COMMENT("What was granted of the need, and is booked of the node"),
	FIELD(grantBytes, INT, NULLABLE), COMMENT("The need is from the history of the name"),
	FIELD(needPredicted, BOOL, 0), COMMENT("Of the request that made the slot"),
	FIELD(requestId, STRING, NULLABLE),
	COMMENT("Guarantee beyond minBytes that its tasks hold by RequestMemory"),
	FIELD(requestedBytes, INT, 0),
	COMMENT("share, off, save or dry-run: what the controller may do to it"),
	FIELD(mode, STRING, 0),
	COMMENT("wait, force or kill: what is done about pages that tasks keep too long"),
	FIELD(revoke, STRING, 0), COMMENT("How long that is"), FIELD(revokeDeadlineUsec, INT, 0),
	COMMENT("Entitlement: what the slot gets when everyone is hungry"),
	FIELD(shareBytes, INT, 0), COMMENT("What memory.low is meant to be now"),
	FIELD(lowBytes, INT, 0), COMMENT("What it is shown to need"), FIELD(demandBytes, INT, 0),
	COMMENT("new, quiet, evidence, suspect, polluter or idle; uncontrolled without control"),
	FIELD(class, STRING, 0), COMMENT("Why it is that, and is protected as it is"),
	FIELD(reason, STRING, NULLABLE),
	COMMENT("To move it to another node: it has starved for 30 s, and there is room"),
	FIELD(advice, STRING, NULLABLE), COMMENT("memory.current"), FIELD(usageBytes, INT, 0),
	COMMENT("memory.swap.current"), FIELD(swapBytes, INT, 0), COMMENT("memory.min"),
	FIELD(kernelMinBytes, INT, 0), COMMENT("memory.low"), FIELD(kernelLowBytes, INT, 0),
	COMMENT("memory.max, null when unlimited"), FIELD(kernelMaxBytes, INT, NULLABLE),
	COMMENT("memory.high, null when unlimited"), FIELD(kernelHighBytes, INT, NULLABLE),
	FIELD(processes, INT, 0), COMMENT("oom_kill of memory.events"), FIELD(oomKills, INT, 0),
	COMMENT("What an emergency does to it now: frozen or unprotected; null: nothing"),
	FIELD(emergency, STRING, NULLABLE),
	COMMENT("It grows that much without using it again; null: no leak is seen"),
	FIELD(leakBytesPerSec, INT, NULLABLE), COMMENT("What the slot's pools may hold now"),
	FIELD(poolShareBytes, INT, 0), COMMENT("What its tasks hold"),
	FIELD(poolGrantedBytes, INT, 0), COMMENT("Part of it above the share, asked back"),
	FIELD(poolOwedBytes, INT, 0),
	COMMENT("Tasks that keep what they owe, or that pages were taken from: those that owe most"),
	FIELD_TYPE(owed, Owed, ARRAY),
	COMMENT("hugetlb.2MB.current, or 1GB.current where the pool is of such pages"),
	FIELD(poolKernelBytes, INT, 0), COMMENT("Size of the huge pages that its pool is promised"),
	FIELD(poolPageBytes, INT, 0),
	COMMENT("What its tasks hold: gigantic, huge pages of 1 GiB; huge, of 2 MiB; transparent, the "
		"fallback of the configuration; mixed, the last two; null: nothing"),
	FIELD(pages, STRING, NULLABLE),
	COMMENT("Part of poolGrantedBytes that is transparent: charged to the cgroup as memory, and "
		"left out of usageBytes and the kernel's limits here"),
	FIELD(poolTransparentBytes, INT, 0),
	COMMENT("Part of poolGrantedBytes that is in pages of 1 GiB"),
	FIELD(poolGiganticBytes, INT, 0),
	COMMENT("Part of poolGrantedBytes that is in pages of 2 MiB or 1 GiB, with those of transparent "
		"ones that the kernel made huge when they were put in"),
	FIELD(poolHugeBytes, INT, 0),
	COMMENT("What its tasks receive from the network by: io_uring; epoll, the slower fallback; "
		"mixed; null: nothing yet"),
	FIELD(engine, STRING, NULLABLE), COMMENT("hugetlb's numa_stat: where the pool pages are"),
	FIELD_TYPE(poolNodes, NodeBytes, ARRAY),
	COMMENT("memory.numa_stat, anonymous and file pages"),
	FIELD_TYPE(memoryNodes, NodeBytes, ARRAY), COMMENT("empty or running"),
	FIELD(state, STRING, 0), COMMENT("Changes that are still under way"),
	FIELD_TYPE(pending, Pending, ARRAY),
	COMMENT("What it left on other nodes when it was moved"), FIELD_TYPE(left, Left, ARRAY),
	COMMENT("Clients that hear the slot's notices"), FIELD(watchers, INT, 0),
	COMMENT("The last one and what came of it"), FIELD_TYPE(notice, Notice, NULLABLE),
	COMMENT("The command that is run when the slot is resized"),
	FIELD_TYPE(onResize, OnResize, NULLABLE),
	COMMENT("Which of its memory is in use; null until it was measured"),
	FIELD_TYPE(heat, Heat, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Node, COMMENT("null: the group of slots that are bound to no node"),
	FIELD(node, INT, NULLABLE), FIELD(totalBytes, INT, 0),
	COMMENT("What taskmem may hand out, huge pages not included"), FIELD(budgetBytes, INT, 0),
	COMMENT("Part of the budget that is never promised"), FIELD(reserveBytes, INT, 0),
	COMMENT("Sum of the slots' guarantees"), FIELD(guaranteedBytes, INT, 0),
	COMMENT("Sum of what the slots are expected to need; may exceed the budget by the "
		"overcommit of the tiers"),
	FIELD(bookedBytes, INT, 0), COMMENT("memory.current of the node's group"),
	FIELD(usageBytes, INT, 0), COMMENT("memory.max of the node's group"),
	FIELD(groupMaxBytes, INT, NULLABLE), COMMENT("2 MiB pages of the node"),
	FIELD(hugePages, INT, 0), FIELD(hugePagesFree, INT, 0),
	COMMENT("Sum of the slots' guaranteed pages"), FIELD(hugePagesPromised, INT, 0),
	COMMENT("Pages that tasks hold"), FIELD(hugePagesGranted, INT, 0),
	COMMENT("What hugePages are: huge; transparent ones, where the kernel reserved none and the "
		"configuration allows it; mixed; null: there are none"),
	FIELD(pages, STRING, NULLABLE), COMMENT("Part of hugePagesGranted that is transparent"),
	FIELD(transparentGranted, INT, 0),
	COMMENT("1 GiB pages of the node, beside hugePages; free, promised and granted as those"),
	FIELD(giganticPages, INT, 0), FIELD(giganticPagesFree, INT, 0),
	FIELD(giganticPagesPromised, INT, 0), FIELD(giganticPagesGranted, INT, 0),
	FIELD(slots, INT, 0),
	COMMENT("How often the kernel told that its tasks stall, since the daemon started"),
	FIELD(stalls, INT, 0),
	COMMENT("How often the controller looked at it before its time, as its memory ran out after "
		"all was calm"),
	FIELD(earlyLooks, INT, 0),
	COMMENT("Memory is about to run out: why and what was done; null when it is not"),
	FIELD(emergency, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Waiting, COMMENT("Name of the slot to be made, or of the one that asks"),
	FIELD(slot, STRING, 0), COMMENT("slot: AddSlot; request: RequestMemory"),
	FIELD(kind, STRING, 0), COMMENT("null: any node, or the best"), FIELD(node, INT, NULLABLE),
	FIELD(tier, INT, 0), COMMENT("Need, or guarantee without a need, or the raise"),
	FIELD(bytes, INT, 0), COMMENT("1 is served next, if it fits"), FIELD(position, INT, 0),
	FIELD(length, INT, 0), FIELD(waitedUsec, INT, 0),
	COMMENT("How often one behind it was served first"), FIELD(passed, INT, 0),
	COMMENT("It was passed often or long enough: nobody behind it may any more"),
	FIELD(due, BOOL, 0), COMMENT("The number that fails"), FIELD(reason, STRING, 0),
	FIELD(requestId, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Pool, COMMENT("As the task reports it, and nobody checks. Counts are of buffers"),
	FIELD(name, STRING, 0), FIELD(bufferBytes, INT, 0),
	COMMENT("Never taken away by a resize of the slot"), FIELD(minBuffers, INT, 0),
	FIELD(maxBuffers, INT, 0), COMMENT("All there are: held, posted and idle"),
	FIELD(buffers, INT, 0), COMMENT("By the task"), FIELD(held, INT, 0),
	COMMENT("Offered to the kernel, empty so far"), FIELD(posted, INT, 0), FIELD(idle, INT, 0),
	COMMENT("Part of idle, in magazines of threads"), FIELD(inMagazines, INT, 0),
	COMMENT("Threads and engines that wait for a buffer"), FIELD(waiters, INT, 0),
	COMMENT("Most ever held and posted together"), FIELD(highWater, INT, 0),
	COMMENT("Part of held, beyond maxBuffers"), FIELD(overdraft, INT, 0),
	COMMENT("Part of buffers, beyond minBuffers"), FIELD(lent, INT, 0),
	COMMENT("It has so many times 2 MiB"), FIELD(pages, INT, 0),
	COMMENT("Buffers handed out, but for what a thread got back from its own magazine"),
	FIELD(acquiredTotal, INT, 0), COMMENT("Times a buffer was wanted and there was none"),
	FIELD(emptyTotal, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Task, FIELD(pid, INT, 0), FIELD(grant, INT, 0),
	COMMENT("Pages it holds, of pageBytes each"), FIELD(heldPages, INT, 0),
	COMMENT("What it should hold: less, and pages are owed"), FIELD(targetPages, INT, 0),
	COMMENT("What its load shows it to need; null: not known, all it may have"),
	FIELD(needPages, INT, NULLABLE), FIELD(pageBytes, INT, 0),
	COMMENT("gigantic, huge or transparent, all of them"), FIELD(pages, STRING, 0),
	COMMENT("Part of heldPages that was one page each when it was put in"),
	FIELD(hugePages, INT, 0), COMMENT("null: it reports none, as before its first pool"),
	FIELD_TYPE(pools, Pool, ARRAY | NULLABLE), COMMENT("Pools beyond those it can report"),
	FIELD(unreportedPools, INT, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(Check, FIELD(name, STRING, 0),
				     COMMENT("ok, degraded or missing"), FIELD(status, STRING, 0),
				     FIELD(detail, STRING, 0), COMMENT("How to get it"),
				     FIELD(remedy, STRING, NULLABLE));

static SD_VARLINK_DEFINE_STRUCT_TYPE(Event, FIELD(sequence, INT, 0), FIELD(realtimeUsec, INT, 0),
				     FIELD(event, STRING, 0), FIELD(slot, STRING, NULLABLE),
				     FIELD(message, STRING, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(Term,
				     COMMENT("Ends in its unit: Bytes, Permille, Msec, PerSecond; "
					     "without one it is a count, or 1 for yes"),
				     FIELD(name, STRING, 0), FIELD(value, INT, 0),
				     COMMENT("What it is"), FIELD(text, STRING, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Counters, COMMENT("Name of the slot"), FIELD(name, STRING, 0),
	COMMENT("Came back from swap or disk (workingset_refault); this and the next four are null "
		"where the memory controller is missing"),
	FIELD(refaultBytes, INT, NULLABLE),
	COMMENT("Was taken from it (pgsteal), from Linux 6.15 on without memory.reclaim"),
	FIELD(reclaimedBytes, INT, NULLABLE), COMMENT("memory.pressure, some"),
	FIELD(stallUsec, INT, NULLABLE), COMMENT("memory.pressure, full"),
	FIELD(stallFullUsec, INT, NULLABLE), COMMENT("cpu.stat"), FIELD(cpuUsec, INT, NULLABLE),
	COMMENT("How often an emergency froze it"), FIELD(freezes, INT, 0),
	COMMENT("How often an emergency killed its processes"), FIELD(kills, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(EventCount, COMMENT("As in Event"), FIELD(event, STRING, 0),
				     FIELD(count, INT, 0));

static SD_VARLINK_DEFINE_STRUCT_TYPE(
	Loop, COMMENT("Events handled, one a turn, since the daemon started"), FIELD(turns, INT, 0),
	COMMENT("Those that kept all others waiting for longer, by the daemon's own doing"),
	FIELD(over10Msec, INT, 0), FIELD(over100Msec, INT, 0), FIELD(longestUsec, INT, 0),
	COMMENT("By the clock: also while other processes had the processor"),
	FIELD(longestElapsedUsec, INT, 0));

static SD_VARLINK_DEFINE_METHOD(GetInfo, OUT(version, STRING, 0),
				COMMENT("false: cgroup limits are not enforced here (pools-only)"),
				OUT(enforced, BOOL, 0), OUT(cgroupPath, STRING, 0),
				OUT(uptimeUsec, INT, 0), OUT_TYPE(loop, Loop, 0),
				OUT_TYPE(nodes, Node, ARRAY));

static SD_VARLINK_DEFINE_METHOD(Diagnose, OUT_TYPE(checks, Check, ARRAY));

static SD_VARLINK_DEFINE_METHOD_FULL(
	ListSlots, SD_VARLINK_SUPPORTS_MORE, COMMENT("Only this slot"), IN(name, STRING, NULLABLE),
	COMMENT("In order of names; with more, the next ones in each reply. None comes twice, and "
		"none is missing that was there all the time"),
	OUT_TYPE(slots, Slot, ARRAY), COMMENT("With more, empty but in the last reply"),
	OUT_TYPE(nodes, Node, ARRAY), COMMENT("Requests in the queue"), OUT(waiting, INT, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(
	ListCounters, SD_VARLINK_SUPPORTS_MORE,
	COMMENT("In order of names, in one reply or in many, as ListSlots has them"),
	OUT_TYPE(slots, Counters, ARRAY),
	COMMENT("Those that happened since the daemon started; with more, empty but in the last "
		"reply"),
	OUT_TYPE(events, EventCount, ARRAY));

static SD_VARLINK_DEFINE_METHOD_FULL(
	AddSlot, SD_VARLINK_SUPPORTS_MORE, COMMENT("[a-z0-9][a-z0-9._-]*, at most 63 characters"),
	IN(name, STRING, 0),
	COMMENT("Default: the node that suits it best, chosen again when a task starts in it while "
		"it is empty"),
	IN(node, INT, NULLABLE), COMMENT("true: bound to no node, pages interleaved"),
	IN(anyNode, BOOL, NULLABLE), COMMENT("Default: the caller"), IN(owner, INT, NULLABLE),
	IN(weight, INT, NULLABLE), IN(tier, INT, NULLABLE), IN(minBytes, INT, NULLABLE),
	IN(maxBytes, INT, NULLABLE), IN(poolMinBytes, INT, NULLABLE),
	IN(poolMaxBytes, INT, NULLABLE),
	COMMENT("Command to run when the slot is resized, absolute path and arguments"),
	IN(onResize, STRING, NULLABLE), COMMENT("share (default), off, save or dry-run"),
	IN(mode, STRING, NULLABLE),
	COMMENT("What is done about huge pages that a task was asked for and keeps: wait, force (take "
		"them), kill (it), or default: as configured"),
	IN(revoke, STRING, NULLABLE), COMMENT("How long it has, 100 ms to 1 h; 0: as configured"),
	IN(revokeDeadlineUsec, INT, NULLABLE),
	COMMENT("Working set to expect; default: what the history of the name predicts"),
	IN(needBytes, INT, NULLABLE),
	COMMENT("Be content with so much of the need; default: all of it, nothing if predicted"),
	IN(minGrantBytes, INT, NULLABLE),
	COMMENT("Of the caller's choice: the same again is answered as the first was"),
	IN(requestId, STRING, NULLABLE),
	COMMENT("true: wait in the queue until it fits, with notices of where it stands; only with "
		"more. Closing the connection leaves the queue"),
	IN(wait, BOOL, NULLABLE), COMMENT("Refuse after so long; default: never"),
	IN(waitUsec, INT, NULLABLE), COMMENT("Has waited so long already, on a lost connection"),
	IN(waitedUsec, INT, NULLABLE), COMMENT("Not in a notice"), OUT_TYPE(slot, Slot, NULLABLE),
	COMMENT("In a notice"), OUT_TYPE(waiting, Waiting, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(ListQueue, OUT_TYPE(waiting, Waiting, ARRAY));

static SD_VARLINK_DEFINE_METHOD_FULL(
	RequestMemory, SD_VARLINK_REQUIRES_MORE, COMMENT("To be guaranteed beyond what is"),
	IN(bytes, INT, 0), COMMENT("Wait so long for it; default: not at all"),
	IN(waitUsec, INT, NULLABLE), COMMENT("null in a notice"), OUT(slot, STRING, NULLABLE),
	COMMENT("What is held from now on, until the connection or the process ends"),
	OUT(heldBytes, INT, NULLABLE), COMMENT("In a notice"),
	OUT_TYPE(waiting, Waiting, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(SetSlot, IN(name, STRING, 0), IN(owner, INT, NULLABLE),
				IN(weight, INT, NULLABLE), IN(tier, INT, NULLABLE),
				IN(minBytes, INT, NULLABLE), IN(maxBytes, INT, NULLABLE),
				COMMENT("true: remove the cap"), IN(uncapped, BOOL, NULLABLE),
				IN(poolMinBytes, INT, NULLABLE), IN(poolMaxBytes, INT, NULLABLE),
				COMMENT("0: no need is booked any more"),
				IN(needBytes, INT, NULLABLE),
				COMMENT("As for AddSlot; empty: none. Another owner has none "
					"unless it is given here"),
				IN(onResize, STRING, NULLABLE), IN(mode, STRING, NULLABLE),
				IN(revoke, STRING, NULLABLE), IN(revokeDeadlineUsec, INT, NULLABLE),
				OUT_TYPE(slot, Slot, 0));

static SD_VARLINK_DEFINE_METHOD(
	Explain, IN(name, STRING, 0),
	COMMENT("class and mode as in Slot. Of a slot that runs dry, by its "
		"mode or by the configuration, the class, the words and the "
		"numbers of the controller say what it would do"),
	OUT(class, STRING, 0), OUT(mode, STRING, 0),
	COMMENT("In words, each number with the threshold it is held "
		"against"),
	OUT(reason, STRING, 0),
	COMMENT("The numbers of the plan, of what holds the slot up and, "
		"unless control is off, of the controller's last decision"),
	OUT_TYPE(terms, Term, ARRAY), COMMENT("To move it to another node, in words"),
	OUT(advice, STRING, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(RemoveSlot, IN(name, STRING, 0),
				COMMENT("true: kill the processes that run in it first"),
				IN(kill, BOOL, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
	MoveSlot, IN(name, STRING, 0),
	COMMENT("Default: the node that suits it best, which may be chosen again when the slot is "
		"empty"),
	IN(node, INT, NULLABLE), COMMENT("true: bound to no node"), IN(anyNode, BOOL, NULLABLE),
	COMMENT("As it is when no process is on the old node any more, or after 45 s, with the rest "
		"pending"),
	OUT_TYPE(slot, Slot, 0));

static SD_VARLINK_DEFINE_METHOD(JoinSlot, IN(name, STRING, 0), OUT(slot, STRING, 0));

static SD_VARLINK_DEFINE_METHOD(
	MeasureSlot, IN(name, STRING, 0),
	COMMENT("lru_gen or damon; default: lru_gen where the host has it, else only refaults and "
		"stall"),
	IN(source, STRING, NULLABLE),
	COMMENT("How long to watch, 1 s to 45 s; default 5 s. The reply comes then"),
	IN(windowUsec, INT, NULLABLE), OUT_TYPE(slot, Slot, 0));

static SD_VARLINK_DEFINE_METHOD_FULL(WatchEvents, SD_VARLINK_REQUIRES_MORE,
				     COMMENT("true: the events kept so far come first"),
				     IN(history, BOOL, NULLABLE),
				     COMMENT("null in the one reply that has historyEnd"),
				     OUT_TYPE(event, Event, NULLABLE),
				     COMMENT("true, in a reply of its own and once: all that was "
					     "kept has been sent, what follows happens now. Comes "
					     "without a history too"),
				     OUT(historyEnd, BOOL, NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
	Attach, SD_VARLINK_REQUIRES_MORE,
	COMMENT("Fail unless so many chunks can be had; default 1"), IN(minChunks, INT, NULLABLE),
	COMMENT("Default: all that the slot's share allows"), IN(wantedChunks, INT, NULLABLE),
	COMMENT("Take up this grant again after a daemon restart"), IN(resumeGrant, INT, NULLABLE),
	COMMENT("Any number, not used by this process before, for one that tries again when the "
		"answer is lost: what an Attach with the same number got is freed first. Without one, "
		"what was got is freed when this connection is closed, unless the grant was named "
		"in a call before (Grow, Return, or resumeGrant): the answer may never have come"),
	IN(token, INT, NULLABLE), OUT(slot, STRING, 0), OUT(node, INT, NULLABLE),
	OUT(grant, INT, 0), COMMENT("Size of the memfd in 2 MiB chunks"), OUT(fileChunks, INT, 0),
	COMMENT("Indexes of the chunks that have pages; never touch another"),
	OUT(chunks, INT, ARRAY),
	COMMENT("What the task should hold: less than it holds asks chunks back"),
	OUT(targetChunks, INT, 0),
	COMMENT("CLOCK_MONOTONIC: what is beyond the target is taken by force then, or the process "
		"killed; null: there is no such time"),
	OUT(deadlineUsec, INT, NULLABLE),
	COMMENT("Were taken by force: a touch is SIGBUS. Return them when no buffer of them is in "
		"use any more; until then they are not granted again"),
	OUT(revokedChunks, INT, ARRAY | NULLABLE),
	COMMENT("Names the last time that this happened; to be passed on to Return"),
	OUT(revocation, INT, NULLABLE), COMMENT("Index of the memfd among the passed descriptors"),
	OUT(fdIndex, INT, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(ReportEngine, IN(grant, INT, 0), IN(uring, BOOL, 0),
				IN(epoll, BOOL, 0));

static SD_VARLINK_DEFINE_METHOD(Grow, IN(grant, INT, 0), IN(chunks, INT, 0),
				OUT(chunks, INT, ARRAY));

static SD_VARLINK_DEFINE_METHOD(
	Return, IN(grant, INT, 0), IN(chunks, INT, ARRAY),
	COMMENT("The last one that was read of: that a revoked chunk is done with counts only from who "
		"knows that it was revoked"),
	IN(revocation, INT, NULLABLE), OUT(targetChunks, INT, 0));

static SD_VARLINK_DEFINE_METHOD(
	Drain, IN(grant, INT, 0),
	COMMENT("All that the task hands out no buffer of any more; taken first if it must be"),
	IN(chunks, INT, ARRAY), COMMENT("The pool that keeps most of them, for people to see"),
	IN(pool, STRING, NULLABLE));

static SD_VARLINK_DEFINE_METHOD_FULL(
	WatchSlot, SD_VARLINK_REQUIRES_MORE,
	COMMENT("Default: the slot the caller runs in. Others than tasks of the slot are told, but "
		"not waited for"),
	IN(name, STRING, NULLABLE), OUT(slot, STRING, 0), OUT(node, INT, NULLABLE),
	COMMENT("Number of this notice, or in the first reply of the one before; 0: none"),
	OUT(notice, INT, 0),
	COMMENT("start (the first reply: the numbers of now), share (it changed), max (memory.max "
		"goes below usage), pressure (memory is short)"),
	OUT(why, STRING, 0), COMMENT("What the slot should come to use"), OUT(targetBytes, INT, 0),
	COMMENT("What was told before; 0: nothing"), OUT(beforeBytes, INT, 0),
	COMMENT("memory.current"), OUT(usageBytes, INT, 0),
	COMMENT("The cap; while it is lowered the new one"), OUT(maxBytes, INT, NULLABLE),
	COMMENT("CLOCK_MONOTONIC: from then on the kernel takes what is above maxBytes; null: "
		"there is no such time"),
	OUT(deadlineUsec, INT, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(ReportFreed, IN(freedBytes, INT, 0),
				COMMENT("The notice that is answered; default: the last one"),
				IN(notice, INT, NULLABLE));

static SD_VARLINK_DEFINE_METHOD(
	ReportPools, IN(grant, INT, 0),
	COMMENT("Index among the passed descriptors of a memfd of the task's own, sealed against "
		"resizing; lib/base/pool_report.h says what is in it"),
	IN(fdIndex, INT, 0));

static SD_VARLINK_DEFINE_METHOD(ListPools, IN(name, STRING, 0), OUT_TYPE(tasks, Task, ARRAY));

static SD_VARLINK_DEFINE_METHOD(Detach, IN(grant, INT, 0));

static SD_VARLINK_DEFINE_ERROR(NoSuchSlot, FIELD(name, STRING, 0));
static SD_VARLINK_DEFINE_ERROR(SlotExists, FIELD(name, STRING, 0), FIELD(message, STRING, 0));
static SD_VARLINK_DEFINE_ERROR(SlotBusy, FIELD(name, STRING, 0), FIELD(processes, INT, 0));
static SD_VARLINK_DEFINE_ERROR(Refused, FIELD(message, STRING, 0), FIELD(node, INT, NULLABLE),
			       FIELD(neededBytes, INT, NULLABLE),
			       FIELD(availableBytes, INT, NULLABLE));
static SD_VARLINK_DEFINE_ERROR(BadValue, FIELD(field, STRING, 0), FIELD(message, STRING, 0));
static SD_VARLINK_DEFINE_ERROR(NotInSlot, FIELD(message, STRING, 0));
static SD_VARLINK_DEFINE_ERROR(NoSuchGrant, FIELD(grant, INT, 0));
static SD_VARLINK_DEFINE_ERROR(NoHugePages, FIELD(node, INT, NULLABLE), FIELD(wantedChunks, INT, 0),
			       FIELD(availableChunks, INT, 0), FIELD(message, STRING, 0));
static SD_VARLINK_DEFINE_ERROR(Failed, FIELD(message, STRING, 0));

#define DOC SD_VARLINK_SYMBOL_COMMENT

SD_VARLINK_DEFINE_INTERFACE(
	io_taskmem, API_NAME,
	SD_VARLINK_INTERFACE_COMMENT("Slots of a machine's memory for stream-processing tasks"),
	DOC("A change that is under way"), &vl_type_Pending,
	DOC("A task that keeps huge pages it was asked for"), &vl_type_Owed, &vl_type_NodeBytes,
	DOC("What is charged to a cgroup that a slot has left"), &vl_type_Left,
	DOC("What the slot's tasks were told of its memory"), &vl_type_Notice, &vl_type_OnResize,
	DOC("A point of the heat curve"), &vl_type_HeatPoint,
	DOC("The working set of a slot, and what more memory would be worth to it"), &vl_type_Heat,
	DOC("A slot: policy, plan, and what the kernel says"), &vl_type_Slot,
	DOC("A NUMA node's budget and huge pages"), &vl_type_Node,
	DOC("What only grows: since the slot was made, of freezes and kills since the daemon started"),
	&vl_type_Counters, DOC("How often something happened"), &vl_type_EventCount,
	DOC("A request that waits for memory"), &vl_type_Waiting,
	DOC("Buffers of one size in a task, for one operator"), &vl_type_Pool,
	DOC("A process that holds huge pages of a slot"), &vl_type_Task,
	DOC("One line of what the host offers"), &vl_type_Check, &vl_type_Event,
	DOC("One number of what a slot has and why"), &vl_type_Term,
	DOC("How long the daemon's event loop was held up"), &vl_type_Loop,
	DOC("The daemon and its budgets; open to everyone"), &vl_method_GetInfo,
	DOC("What this host offers, and how to get what is missing; open to everyone"),
	&vl_method_Diagnose,
	DOC("Slots with the kernel's numbers; open to everyone. More than 250 are told only to who "
	    "takes more than one reply (more), else it fails with ExpectedMore"),
	&vl_method_ListSlots,
	DOC("What was counted of slots and events; open to everyone. Of more than 1000 slots only "
	    "with more"),
	&vl_method_ListCounters,
	DOC("Make a slot; administrators (with onResize only root, or for oneself). The same slot twice is no error, so a lost answer may be "
	    "asked again"),
	&vl_method_AddSlot, DOC("Who waits, in order; open to everyone"), &vl_method_ListQueue,
	DOC("Raise the guarantee of the slot the caller runs in, as long as the connection lives. The "
	    "owner may ask for the need an administrator gave the slot, administrators for all up to "
	    "maxBytes"),
	&vl_method_RequestMemory,
	DOC("Change a running slot, fields left out stay. Administrators; the owner may change "
	    "weight, maxBytes and onResize, which but for removing it nobody else may, save root"),
	&vl_method_SetSlot, DOC("Remove a slot; administrators"), &vl_method_RemoveSlot,
	DOC("Put a slot with its tasks and their pages on another node; administrators. Refused "
	    "while tasks hold huge pages of its pool"),
	&vl_method_MoveSlot,
	DOC("Move the calling process into a slot; administrators and the slot's owner"),
	&vl_method_JoinSlot, DOC("Why a slot has what it has; open to everyone"),
	&vl_method_Explain,
	DOC("Watch which memory of a slot is touched; administrators and the slot's owner"),
	&vl_method_MeasureSlot, DOC("Events as they happen; open to everyone"),
	&vl_method_WatchEvents,
	DOC("Get huge pages of the slot the caller runs in, as a memfd. Later replies are notices "
	    "that targetChunks changed"),
	&vl_method_Attach, DOC("More chunks for a grant of the calling process"), &vl_method_Grow,
	DOC("By what the calling process receives into a grant of its; for listings, after Attach "
	    "and again after resumeGrant"),
	&vl_method_ReportEngine, DOC("Give chunks back; they must not be touched any more"),
	&vl_method_Return,
	DOC("Say which chunks will be given back when their last buffer is released"),
	&vl_method_Drain, DOC("Give a grant back as a whole"), &vl_method_Detach,
	DOC("Where the daemon can read the state of the calling process' pools from now on, until the "
	    "grant ends. It only reads"),
	&vl_method_ReportPools, DOC("What is in the pools of a slot's tasks; open to everyone"),
	&vl_method_ListPools,
	DOC("Hear what the slot's memory should come to: at most one notice in a second, the last "
	    "change always, a smaller target only while usage is above it. Ends with NoSuchSlot "
	    "when the slot is removed. Tasks of the slot; by name also its owner and "
	    "administrators"),
	&vl_method_WatchSlot,
	DOC("What the calling process, which watches the slot it runs in, freed upon a notice. When "
	    "all tasks have answered, nobody waits for the deadline any more"),
	&vl_method_ReportFreed, &vl_error_NoSuchSlot, &vl_error_SlotExists,
	DOC("Processes run in the slot"), &vl_error_SlotBusy,
	DOC("The guarantees would not fit; the message names the number that failed"),
	&vl_error_Refused, &vl_error_BadValue,
	DOC("The calling process does not run in a slot, or not in that one"), &vl_error_NotInSlot,
	&vl_error_NoSuchGrant, &vl_error_NoHugePages, &vl_error_Failed);
