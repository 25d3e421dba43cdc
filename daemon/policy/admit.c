/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Only promises can be broken, so only they are refused: on each node the mins must fit into
 * budget - reserve and the pools' mins into the huge pages that are there. Weights, caps and
 * pool maxima beyond the node are fine; they just never come true. What an `any` slot promises
 * is counted on every node as entitle() will divide it, by the same functions.
 */

#include "policy/admit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/command.h"
#include "policy/entitle.h"
#include "policy/gigantic.h"

typedef unsigned __int128 u128;

#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)

/* A size for a message that promises no more than there is: whole MiB (KiB when small), down. */
struct text {
	char s[FORMAT_BYTES_MAX];
};

static struct text size_down(uint64_t bytes)
{
	struct text t;
	uint64_t unit = bytes >= MIB ? MIB : KIB;

	if (bytes != BYTES_UNLIMITED && bytes >= KIB)
		bytes -= bytes % unit;
	(void)format_bytes_exact(bytes, t.s);
	return t;
}

/* What is asked for, by the same rule, up. */
static struct text size_up(uint64_t bytes)
{
	return size_down(bytes + (bytes >= MIB ? MIB : KIB) - 1);
}

static struct text size_exact(uint64_t bytes)
{
	struct text t;

	(void)format_bytes_exact(bytes, t.s);
	return t;
}

PRINTF_LIKE(5, 6)
static int refuse(struct refusal *ret, int cond, const char *field, int node, const char *format,
		  ...)
{
	struct refusal refusal = { .field = field, .node = node };
	va_list args;

	va_start(args, format);
	(void)vsnprintf(refusal.message, sizeof(refusal.message), format, args);
	va_end(args);
	*ret = refusal;
	return cond;
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool admit_name_is_valid(const char *name)
{
	size_t len = strnlen(name, SLOT_NAME_MAX + 1);

	if (len == 0 || len > SLOT_NAME_MAX || !is_name_start(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_name_start(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

static int check_sizes(const struct slot_policy *p, struct refusal *ret)
{
	if (p->min_bytes > ADMIT_BYTES_MAX)
		return refuse(ret, ADMIT_BAD_VALUE, "min", NODE_ANY,
			      "min=%s: a guarantee cannot be unlimited nor above %s",
			      size_exact(p->min_bytes).s, size_exact(ADMIT_BYTES_MAX).s);
	if (p->max_bytes > ADMIT_BYTES_MAX && p->max_bytes != BYTES_UNLIMITED)
		return refuse(ret, ADMIT_BAD_VALUE, "max", NODE_ANY,
			      "max=%s: use max=max for no cap", size_exact(p->max_bytes).s);
	if (p->min_bytes > p->max_bytes)
		return refuse(ret, ADMIT_BAD_VALUE, "min", NODE_ANY,
			      "min=%s is above max=%s: raise max or lower min",
			      size_exact(p->min_bytes).s, size_exact(p->max_bytes).s);
	if (p->pool_min_bytes > ADMIT_BYTES_MAX || p->pool_min_bytes % CHUNK_BYTES)
		return refuse(ret, ADMIT_BAD_VALUE, "pool", NODE_ANY,
			      "pool=%s is not a multiple of 2M, the size of a huge page",
			      size_exact(p->pool_min_bytes).s);
	if (p->pool_max_bytes > ADMIT_BYTES_MAX || p->pool_max_bytes % CHUNK_BYTES)
		return refuse(ret, ADMIT_BAD_VALUE, "pool-max", NODE_ANY,
			      "pool-max=%s is not a multiple of 2M, the size of a huge page",
			      size_exact(p->pool_max_bytes).s);
	if (p->pool_min_bytes > p->pool_max_bytes)
		return refuse(ret, ADMIT_BAD_VALUE, "pool", NODE_ANY,
			      "pool=%s is above pool-max=%s: raise pool-max or lower pool",
			      size_exact(p->pool_min_bytes).s, size_exact(p->pool_max_bytes).s);
	if (p->need_bytes > ADMIT_BYTES_MAX)
		return refuse(ret, ADMIT_BAD_VALUE, "need", NODE_ANY,
			      "need=%s: no machine has more than %s", size_exact(p->need_bytes).s,
			      size_exact(ADMIT_BYTES_MAX).s);
	if (p->grant_bytes > p->need_bytes)
		return refuse(ret, ADMIT_BAD_VALUE, "need", NODE_ANY,
			      "more is granted, %s, than needed, %s", size_exact(p->grant_bytes).s,
			      size_exact(p->need_bytes).s);
	return ADMIT_OK;
}

const char *const slot_mode_names[SLOT_MODES] = {
	[SLOT_SHARE] = "share",
	[SLOT_OFF] = "off",
	[SLOT_SAVE] = "save",
	[SLOT_DRY_RUN] = "dry-run",
};

int admit_parse_mode(const char *text, enum slot_mode *ret)
{
	for (int mode = 0; mode < SLOT_MODES; mode++) {
		if (strcmp(text, slot_mode_names[mode]) != 0)
			continue;
		*ret = mode;
		return 0;
	}
	return -EINVAL;
}

const char *const slot_revoke_names[SLOT_REVOKES] = {
	[SLOT_REVOKE_DEFAULT] = "default",
	[SLOT_REVOKE_WAIT] = "wait",
	[SLOT_REVOKE_FORCE] = "force",
	[SLOT_REVOKE_KILL] = "kill",
};

int admit_parse_revoke(const char *text, enum slot_revoke *ret)
{
	for (int revoke = 0; revoke < SLOT_REVOKES; revoke++) {
		if (strcmp(text, slot_revoke_names[revoke]) != 0)
			continue;
		*ret = revoke;
		return 0;
	}
	return -EINVAL;
}

static int check_revoke(const struct slot_policy *p, struct refusal *ret)
{
	if (p->revoke >= SLOT_REVOKES)
		return refuse(ret, ADMIT_BAD_VALUE, "revoke", NODE_ANY,
			      "revoke is one of wait, force, kill and default");
	if (p->revoke_deadline_ms != 0 && (p->revoke_deadline_ms < REVOKE_DEADLINE_MIN_MS ||
					   p->revoke_deadline_ms > REVOKE_DEADLINE_MAX_MS))
		return refuse(ret, ADMIT_BAD_VALUE, "revokeDeadlineUsec", NODE_ANY,
			      "a deadline for pages is 100ms to 1h, or default");
	return ADMIT_OK;
}

int admit_check_policy(const struct slot_policy *p, struct refusal *ret)
{
	char why[COMMAND_ERROR_MAX];
	struct command command;

	if (!admit_name_is_valid(p->name))
		return refuse(ret, ADMIT_BAD_VALUE, "name", NODE_ANY,
			      "a slot's name has 1 to %d of the characters a-z 0-9 . _ - and "
			      "begins with a letter or digit",
			      SLOT_NAME_MAX);
	if (p->node != NODE_ANY && (p->node < 0 || p->node >= NODES_MAX))
		return refuse(ret, ADMIT_BAD_VALUE, "node", NODE_ANY,
			      "node=%d: nodes are 0 to %d, or any", p->node, NODES_MAX - 1);
	if (p->weight < WEIGHT_MIN || p->weight > WEIGHT_MAX)
		return refuse(ret, ADMIT_BAD_VALUE, "weight", NODE_ANY,
			      "weight=%u: weights are %d to %d", p->weight, WEIGHT_MIN, WEIGHT_MAX);
	if (p->tier >= TIERS)
		return refuse(ret, ADMIT_BAD_VALUE, "tier", NODE_ANY,
			      "tier=%u: tiers are 0, served first, to %d", p->tier, TIERS - 1);
	if (p->on_resize[0] && command_parse(p->on_resize, &command, why) < 0)
		return refuse(ret, ADMIT_BAD_VALUE, "onResize", NODE_ANY, "%s", why);
	if (!admit_request_id_is_valid(p->request_id))
		return refuse(ret, ADMIT_BAD_VALUE, "requestId", NODE_ANY,
			      "a request id has at most %d printable characters and no blank",
			      REQUEST_ID_MAX);
	if (p->mode >= SLOT_MODES)
		return refuse(ret, ADMIT_BAD_VALUE, "mode", NODE_ANY,
			      "there is no such mode; it is share, off, save or dry-run");
	if (check_revoke(p, ret) != ADMIT_OK)
		return ADMIT_BAD_VALUE;
	return check_sizes(p, ret);
}

bool admit_request_id_is_valid(const char *id)
{
	size_t len = strnlen(id, REQUEST_ID_MAX + 1);

	for (size_t i = 0; i < len; i++)
		if (id[i] <= ' ' || id[i] > '~')
			return false;
	return len <= REQUEST_ID_MAX;
}

/* What falls on one node: memory in bytes, pools in chunks, or in pages of 1 GiB. */
struct load {
	u128 bytes;
	u128 chunks;
	u128 gigantic;
};

static uint64_t distributable(const struct node_info *node)
{
	return node->budget_bytes - node->reserve_bytes;
}

static struct load slot_load(const struct node_info *nodes, size_t n_nodes, size_t k,
			     const struct slot_policy *p)
{
	uint64_t chunks = p->pool_min_bytes / CHUNK_BYTES;

	if (p->node == nodes[k].node && p->is_gigantic)
		return (struct load){ .bytes = p->min_bytes,
				      .gigantic = p->pool_min_bytes / GIGANTIC_BYTES };
	if (p->node == nodes[k].node)
		return (struct load){ .bytes = p->min_bytes, .chunks = chunks };
	if (p->node != NODE_ANY)
		return (struct load){};
	return (struct load){
		.bytes = entitle_part_of_bytes(nodes, n_nodes, k, p->name, p->min_bytes),
		.chunks = entitle_part_of_chunks(nodes, n_nodes, k, p->name, chunks),
	};
}

static struct load total_load(const struct node_info *nodes, size_t n_nodes, size_t k,
			      const struct slot_policy *slots, size_t n_slots, const char *without)
{
	struct load sum = {};

	for (size_t i = 0; i < n_slots; i++) {
		struct load one;

		if (without && strcmp(slots[i].name, without) == 0)
			continue;
		one = slot_load(nodes, n_nodes, k, &slots[i]);
		sum.bytes += one.bytes;
		sum.chunks += one.chunks;
		sum.gigantic += one.gigantic;
	}
	return sum;
}

static uint64_t clip(u128 value)
{
	return value > ADMIT_BYTES_MAX ? ADMIT_BYTES_MAX : (uint64_t)value;
}

/* The sentence for a sum that does not fit. All in bytes. @of: "", or of what it is. */
static int refuse_sum(struct refusal *ret, const char *of, const struct slot_policy *candidate,
		      int node, u128 others, u128 wanted, uint64_t available)
{
	const char *field = *of ? "pool" : "min";
	uint64_t asked = *of ? candidate->pool_min_bytes : candidate->min_bytes;
	uint64_t free_bytes = others < available ? available - (uint64_t)others : 0;

	(void)refuse(ret, ADMIT_REFUSED, field, node,
		     "%s=%s on node %d%s: guarantees would sum to %s of %s%s; %s is still free",
		     field, size_exact(asked).s, node,
		     candidate->node == NODE_ANY ? " (its part of a slot on any node)" : "",
		     size_up(clip(others + wanted)).s, size_down(available).s, of,
		     size_down(free_bytes).s);
	ret->needed = clip(others + wanted);
	ret->available = available;
	return ADMIT_REFUSED;
}

static int admit_on_node(const struct node_info *nodes, size_t n_nodes, size_t k,
			 const struct slot_policy *slots, size_t n_slots,
			 const struct slot_policy *candidate, struct refusal *ret)
{
	struct load before = total_load(nodes, n_nodes, k, slots, n_slots, NULL);
	struct load others = total_load(nodes, n_nodes, k, slots, n_slots, candidate->name);
	struct load wanted = slot_load(nodes, n_nodes, k, candidate);
	u128 gigantic = others.gigantic + wanted.gigantic;
	u128 bytes = others.bytes + wanted.bytes, chunks = others.chunks + wanted.chunks;

	if (bytes > distributable(&nodes[k]) && bytes > before.bytes)
		return refuse_sum(ret, "", candidate, nodes[k].node, others.bytes, wanted.bytes,
				  distributable(&nodes[k]));
	if (chunks > nodes[k].hugepages && chunks > before.chunks)
		return refuse_sum(ret,
				  nodes[k].gigantic ? " of huge pages beside the 1G ones"
						    : " of huge pages",
				  candidate, nodes[k].node, others.chunks * CHUNK_BYTES,
				  wanted.chunks * CHUNK_BYTES, nodes[k].hugepages * CHUNK_BYTES);
	if (gigantic > nodes[k].gigantic && gigantic > before.gigantic)
		return refuse_sum(ret, " of 1G huge pages", candidate, nodes[k].node,
				  others.gigantic * GIGANTIC_BYTES,
				  wanted.gigantic * GIGANTIC_BYTES,
				  nodes[k].gigantic * GIGANTIC_BYTES);
	return ADMIT_OK;
}

static bool has_name(const struct slot_policy *slots, size_t n_slots, const char *name)
{
	for (size_t i = 0; i < n_slots; i++)
		if (strcmp(slots[i].name, name) == 0)
			return true;
	return false;
}

static int refuse_node(const struct node_info *nodes, size_t n_nodes, int node, struct refusal *ret)
{
	if (n_nodes == 0)
		return refuse(ret, ADMIT_REFUSED, "node", node,
			      "no node of this machine has a budget");
	if (n_nodes == 1)
		return refuse(ret, ADMIT_REFUSED, "node", node,
			      "node=%d: this machine has node %d only", node, nodes[0].node);
	return refuse(ret, ADMIT_REFUSED, "node", node,
		      "node=%d: this machine has %zu nodes, %d to %d", node, n_nodes, nodes[0].node,
		      nodes[n_nodes - 1].node);
}

int admit(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
	  size_t n_slots, const struct slot_policy *candidate, struct refusal *ret)
{
	bool is_node_known = candidate->node == NODE_ANY && n_nodes > 0;
	struct slot_policy chosen = *candidate;
	int r;

	r = admit_check_policy(candidate, ret);
	if (r != ADMIT_OK)
		return r;
	for (size_t k = 0; k < n_nodes; k++)
		is_node_known |= nodes[k].node == candidate->node;
	if (!is_node_known)
		return refuse_node(nodes, n_nodes, candidate->node, ret);
	if (n_slots >= SLOTS_MAX && !has_name(slots, n_slots, candidate->name))
		return refuse(ret, ADMIT_REFUSED, "name", NODE_ANY,
			      "there are %d slots already, the most there can be", SLOTS_MAX);
	chosen.is_gigantic = gigantic_choose(nodes, n_nodes, slots, n_slots, candidate);
	for (size_t k = 0; k < n_nodes; k++) {
		r = admit_on_node(nodes, n_nodes, k, slots, n_slots, &chosen, ret);
		if (r != ADMIT_OK)
			return r;
	}
	return ADMIT_OK;
}

int admit_choose_node(const struct node_info *nodes, size_t n_nodes,
		      const struct slot_policy *slots, size_t n_slots,
		      const struct slot_policy *candidate, int *ret_node, struct refusal *ret)
{
	struct refusal refusal, best_refusal = {};
	uint64_t best_free = 0;
	int best = -1, best_r = -1;

	if (n_nodes == 0) {
		int r = admit_check_policy(candidate, ret);

		return r != ADMIT_OK ? r : refuse_node(nodes, n_nodes, NODE_ANY, ret);
	}
	for (size_t k = 0; k < n_nodes; k++) {
		struct slot_policy there = *candidate;
		uint64_t free_bytes = 0;
		struct load others;
		int r;

		there.node = nodes[k].node;
		r = admit(nodes, n_nodes, slots, n_slots, &there, &refusal);
		others = total_load(nodes, n_nodes, k, slots, n_slots, candidate->name);
		if (others.bytes < distributable(&nodes[k]))
			free_bytes = distributable(&nodes[k]) - (uint64_t)others.bytes;

		/* one that fits beats one that does not, then room, then the lower number */
		if (best < 0 || (r == ADMIT_OK && best_r != ADMIT_OK) ||
		    ((r == ADMIT_OK) == (best_r == ADMIT_OK) && free_bytes > best_free)) {
			best = nodes[k].node;
			best_r = r;
			best_free = free_bytes;
			if (r != ADMIT_OK)
				best_refusal = refusal;
		}
	}
	if (best_r == ADMIT_OK)
		*ret_node = best;
	else
		*ret = best_refusal;
	return best_r;
}
