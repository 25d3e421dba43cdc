/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who may receive how much: credits, counted in buffers that the task has not released. Pure.
 *
 * Each channel has a few credits that are its own, the exclusive ones: no other channel can use
 * them up, though nothing is set aside in any ring or list for a channel that has no data. All that
 * the pool has beyond these is floating and goes to the channels with a backlog.
 */

#include <stdbool.h>
#include <stdint.h>

/* What an engine divides, at one moment. */
struct credit {
	uint32_t n_buffers;  /* its part of the pool */
	uint32_t n_channels; /* that are open */
	uint32_t exclusive;  /* of each channel */
	uint32_t most;       /* the channel may have, exclusive ones included; >= exclusive */
	uint64_t n_usable;   /* floating ones that all channels together may have at most */
	uint32_t n_posted;   /* channels can take so many before the engine looks again */
	uint32_t n_floating; /* what channels hold beyond their exclusive ones, or are promised */
};

/* How many credits float: all but the exclusive ones, and never less than half of the buffers, so
 * that thousands of idle channels do not leave a busy one with two. */
uint32_t credit_count_floating(const struct credit *credit);

/**
 * credit_is_tight() - do promises have to be counted?
 * @was_tight: what it said before
 *
 * A channel that is told beforehand how much it may receive, and does not get it at once, holds no
 * buffer, so while the floating credits are far from used up each may be told the most there is. It
 * becomes tight when those that can be used before the engine looks again could go beyond.
 */
bool credit_is_tight(const struct credit *credit, bool was_tight);

/**
 * credit_grant() - how many buffers more a channel may receive
 * @is_tight: see above
 * @held:     what it has
 * @backlog:  what lies in its socket, in buffers; UINT32_MAX: not known
 *
 * While it is tight a channel gets what it lacks of its exclusive ones whether it has a backlog or
 * not, and floating ones for its backlog only: as many as leave at least that many for the others,
 * or all that those could use. So channels that all want more come to the same number, whoever was
 * first, and one that comes later finds as many. This is how switches share the memory of their
 * ports: A. K. Choudhury, E. L. Hahne, Dynamic queue length thresholds for shared-memory packet
 * switches, 1998.
 */
uint32_t credit_grant(const struct credit *credit, bool is_tight, uint32_t held, uint32_t backlog);
