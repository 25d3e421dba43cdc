/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is done about huge pages that tasks were asked for and keep. Pure.
 *
 * A process that holds more than its target owes the rest. From a deadline on they are taken or
 * the process is killed, as its slot says. One that is to be waited for keeps them as long as
 * only others' excess is at stake; when a guarantee is short of them it gets a deadline, too.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

enum revoke_verb {
	REVOKE_NOTHING, /* owes nothing */
	REVOKE_WAIT,
	REVOKE_FORCE, /* take n_chunks from it */
	REVOKE_KILL,
};

struct revoke_slot {
	const char *name;
	uint32_t tier;
	enum slot_revoke revoke; /* not SLOT_REVOKE_DEFAULT */
	uint64_t grace_ns;       /* from being asked to the deadline */
	int node;                /* or NODE_ANY */
	uint32_t n_granted, n_guaranteed;
	uint32_t n_spare; /* of the step: what of n_granted is lent and not yet counted on */
};

struct revoke_holder {
	size_t slot; /* index */
	uint32_t id; /* of the grant; breaks ties */
	uint32_t n_owed;
	struct revoke_mark *mark;
	/* results */
	enum revoke_verb verb;
	uint32_t n_chunks;     /* REVOKE_FORCE: 1 .. n_owed */
	bool is_for_guarantee; /* it has a deadline because a guarantee is short */
};

/* Chunks of a node that are guaranteed, held by nobody it is guaranteed to, and not free. */
struct revoke_node {
	int node;
	uint64_t n_short;
};

struct revoke_input {
	uint64_t now_ns;
	const struct revoke_node *nodes;
	size_t n_nodes;
	struct revoke_slot *slots;
	size_t n_slots;
	struct revoke_holder *holders; /* sorted by the step */
	size_t n_holders;
};

/**
 * revoke_step() - what is to be done now
 *
 * For a guarantee that is short the excess of slots goes in this order: first what comes by
 * itself because its slot says force or kill; then of the slots that say wait the highest
 * tier, then who owes longest, then by name. No more than is short, and never what a slot is
 * guaranteed itself.
 *
 * Return: when to ask again at the latest; 0: not until something changes.
 */
uint64_t revoke_step(struct revoke_input *in);
