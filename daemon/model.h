/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Plain values that cross the daemon's layers. No behaviour, no system types. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/parse.h" /* BYTES_UNLIMITED */

#define SLOT_NAME_MAX 63 /* a cgroup directory and a journal field: [a-z0-9][a-z0-9._-]* */
#define NODES_MAX 64
#define NODE_ANY (-1) /* the slot may use every node, pages interleaved */
#define TIERS 4       /* 0 is served first */
#define TIER_DEFAULT 1
#define WEIGHT_MIN 1
#define WEIGHT_MAX 10000
#define WEIGHT_DEFAULT 100
#define CHUNK_BYTES (UINT64_C(2) << 20) /* one huge page, the unit that moves between slots */
#define GIGANTIC_CHUNKS 512U            /* of a page of 1 GiB, which comes and goes whole */
#define GIGANTIC_BYTES (GIGANTIC_CHUNKS * CHUNK_BYTES)
#define SLOTS_MAX 10000
#define ON_RESIZE_MAX 255 /* bytes of a command */
#define REQUEST_ID_MAX 63 /* printable, no blank */

/* What the controller may do to a slot. */
enum slot_mode {
	SLOT_SHARE = 0, /* memory follows need */
	SLOT_OFF,       /* limits only: it is protected at its share, whatever it does */
	SLOT_SAVE,      /* as share, and what nobody needs is given back slowly */
	SLOT_DRY_RUN,   /* as off, and it is told what share would do */
	SLOT_MODES,
};

/* What is done about huge pages that a task was asked for and keeps beyond the deadline. */
enum slot_revoke {
	SLOT_REVOKE_DEFAULT = 0, /* what the configuration says */
	SLOT_REVOKE_WAIT,        /* nothing, unless another slot's guarantee is short of them */
	SLOT_REVOKE_FORCE,       /* they are taken: a touch is SIGBUS */
	SLOT_REVOKE_KILL,        /* the process is killed */
	SLOT_REVOKES,
};

/* What the chunks of a grant are made of. */
enum page_kind {
	PAGES_HUGE = 0, /* hugetlb: reserved, charged to hugetlb.2MB.current */
	/* ordinary memory, huge where the kernel finds it, charged to memory.current */
	PAGES_TRANSPARENT,
	PAGES_GIGANTIC, /* hugetlb: 1 GiB each, charged to hugetlb.1GB.current */
	PAGE_KINDS,
};

/* What is kept of a process that owes huge pages: policy/revoke.h. All 0 at first. */
struct revoke_mark {
	uint64_t since_ns;    /* it owes; 0: it does not */
	uint64_t deadline_ns; /* 0: none */
	bool is_killed;       /* nothing more can be done to it */
};

#define REVOKE_DEADLINE_MIN_MS 100U
#define REVOKE_DEADLINE_MAX_MS 3600000U

/* What the administrator asked of a slot. Survives restarts in the state file. */
struct slot_policy {
	char name[SLOT_NAME_MAX + 1];
	uid_t owner;
	int node;          /* 0 .. NODES_MAX-1 or NODE_ANY */
	bool is_node_auto; /* nobody named the node: while it is empty it may go to another one */
	uint32_t weight;
	uint32_t tier;
	uint64_t min_bytes;
	uint64_t max_bytes;      /* BYTES_UNLIMITED: no cap but the node's budget */
	uint64_t pool_min_bytes; /* multiples of CHUNK_BYTES, pool_min <= pool_max */
	uint64_t pool_max_bytes;
	bool is_gigantic; /* its pool is of pages of 1 GiB; policy/gigantic.h */
	bool keeps_pages; /* of a candidate: its tasks hold some, so that stays as it is */
	enum slot_mode mode;
	enum slot_revoke revoke;
	uint32_t revoke_deadline_ms;       /* 0: what the configuration says */
	char on_resize[ON_RESIZE_MAX + 1]; /* command as given, "": none; policy/command.h */
	/* What admission expects of it (policy/booking.h). */
	uint64_t need_bytes;    /* working set it was asked for; 0: none, its guarantee counts */
	uint64_t grant_bytes;   /* what was granted of that: <= need_bytes */
	bool is_need_predicted; /* nobody told it: it is from the history of the name */
	char request_id[REQUEST_ID_MAX + 1]; /* of the request that made the slot; "": none */
};

/* "share", "off", "save", "dry-run" */
extern const char *const slot_mode_names[SLOT_MODES];
/* "default", "wait", "force", "kill" */
extern const char *const slot_revoke_names[SLOT_REVOKES];

/* "huge", "transparent", "gigantic" */
extern const char *const page_kind_names[PAGE_KINDS];

/* One NUMA node as configured and as found. */
struct node_info {
	int node;
	uint64_t total_bytes;      /* MemTotal of the node */
	uint64_t budget_bytes;     /* what taskmem may hand out, huge pages not included */
	uint64_t reserve_bytes;    /* part of the budget that is never promised */
	uint64_t hugepages_wanted; /* from the configuration, 2 MiB pages */
	uint64_t hugepages;        /* chunks to deal: what it granted; policy/pages.h */
	uint64_t gigantic_wanted;  /* the same of pages of 1 GiB, in those */
	uint64_t gigantic;
};

/* Counters of one cgroup, all as the kernel counts them since it was made. */
struct memory_sample {
	uint64_t current_bytes; /* memory.current */
	uint64_t swap_bytes;    /* memory.swap.current */
	uint64_t refault_pages; /* workingset_refault_anon + _file */
	uint64_t restore_pages; /* workingset_restore_anon + _file */
	uint64_t refill_pages;  /* pgrefill */
	uint64_t steal_pages;   /* pgsteal, without what was reclaimed on our own request */
	uint64_t stall_us;      /* memory.pressure "some" total; 0 where there is no PSI */
	uint64_t stall_full_us; /* the same of "full" */
	uint64_t cpu_us;        /* cpu.stat usage_usec */
	uint64_t fault_count;   /* pgfault */
};

/* The process at the other end of a client's connection, as the kernel tells it. */
struct peer {
	uid_t uid;
	pid_t pid;
	bool is_admin; /* root, or in the administrators' group (primary or supplementary) */
	bool is_in_slot;
	int slot_node; /* of the slot its process is in, if is_in_slot */
	char slot_name[SLOT_NAME_MAX + 1];
};

/* Why a slot's tasks are told of their memory. Of reasons that come together the last of these is
 * told. */
enum notice_why {
	NOTICE_SHARE,    /* the slot's share changed */
	NOTICE_START,    /* the audience is new and knows nothing yet */
	NOTICE_MAX,      /* memory.max is going below usage */
	NOTICE_PRESSURE, /* memory is short now */
};

/* One feature of this host. */
enum host_status { HOST_OK, HOST_DEGRADED, HOST_MISSING };

struct host_check {
	const char *name; /* "cgroup v2", "memory controller", "huge pages on node 0", … */
	enum host_status status;
	char detail[192];
	char remedy[256]; /* empty when nothing is to be done */
};

#define HOST_CHECKS_MAX 64
