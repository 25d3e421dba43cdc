/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each node is divided on its own; memory and huge pages go through the same code, "amount" below
 * means bytes or chunks. On one node, with D to distribute, tier t is given
 *
 *	A_t = D - (shares of the tiers before t) - (mins of the tiers after t)
 *
 * and divides it by weighted max-min with its slots' mins as floors (maxmin.c).
 *
 * Why nothing can go wrong: if sum(min) <= D then A_0 = D - mins after 0 >= mins of tier 0, so
 * the division exists and gives shares S_0 <= A_0. Then A_1 = A_0 - S_0 + mins of tier 1 >= mins
 * of tier 1, and so on. Every share is >= its min and <= its max, and all shares sum to at most
 * D. A slot of a late tier thus never loses its guarantee to an early one, only its excess; a
 * slot of tier 0 whose weight alone would give it less than its min keeps the min, at the cost of
 * the others' excess in its tier.
 *
 * If sum(min) > D, which admission prevents but a machine that lost memory does not, every min
 * on that node is cut to min * D / sum(min) first, which restores the premise. The kernel does
 * the same with memory.min below a parent that protects less.
 *
 * A slot without a node has its pages interleaved, so it claims equal parts everywhere. Weights
 * on a node are scaled by the number of nodes that have something, so that weight / n is exact.
 */

#include "policy/entitle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/maxmin.h"

typedef unsigned __int128 u128;

/* The FNV-1a hash; only its spread matters. */
static uint32_t hash_name(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash;
}

uint64_t entitle_part(const char *name, uint64_t amount, size_t index, size_t n)
{
	size_t distance;

	if (amount == UINT64_MAX)
		return UINT64_MAX;
	/* how far behind the start, going round */
	distance = (index + n - hash_name(name) % n) % n;
	return amount / n + (distance < amount % n ? 1 : 0);
}

/* Memory or huge pages. */
struct resource {
	uint64_t (*node_amount)(const struct node_info *node);
	uint64_t (*slot_min)(const struct slot_policy *policy);
	uint64_t (*slot_max)(const struct slot_policy *policy);
	uint64_t (*slot_need)(const struct entitle_slot *slot); /* UINT64_MAX: all it may have */
};

static uint64_t node_bytes(const struct node_info *node)
{
	return node->budget_bytes - node->reserve_bytes;
}

static uint64_t slot_min_bytes(const struct slot_policy *policy)
{
	return policy->min_bytes;
}

static uint64_t slot_max_bytes(const struct slot_policy *policy)
{
	return policy->max_bytes;
}

static uint64_t node_chunks(const struct node_info *node)
{
	return node->hugepages;
}

/* What is of gigantic pages takes no part. */
static uint64_t slot_min_chunks(const struct slot_policy *policy)
{
	return policy->is_gigantic ? 0 : policy->pool_min_bytes / CHUNK_BYTES;
}

static uint64_t slot_max_chunks(const struct slot_policy *policy)
{
	return policy->is_gigantic ? 0 : policy->pool_max_bytes / CHUNK_BYTES;
}

/* Need of memory is control.c's business: it moves what is protected, not the entitlement. */
static uint64_t slot_need_bytes(const struct entitle_slot *slot)
{
	(void)slot;
	return UINT64_MAX;
}

static uint64_t slot_need_chunks(const struct entitle_slot *slot)
{
	return slot->pool_need_chunks ? slot->pool_need_chunks : UINT64_MAX;
}

static const struct resource memory = { node_bytes, slot_min_bytes, slot_max_bytes,
					slot_need_bytes };
static const struct resource huge_pages = { node_chunks, slot_min_chunks, slot_max_chunks,
					    slot_need_chunks };

/* How `any` slots' parts fall: on the nodes that have something; if none has, on all, where they
 * show as overpromised. */
struct parts {
	size_t n;     /* nodes that take a part */
	size_t index; /* of this node among them */
	bool has_one; /* this node does */
};

static struct parts find_parts(const struct resource *what, const struct node_info *nodes,
			       size_t n_nodes, size_t k)
{
	struct parts parts = { .has_one = what->node_amount(&nodes[k]) > 0 };

	for (size_t i = 0; i < n_nodes; i++)
		if (what->node_amount(&nodes[i]) > 0) {
			parts.index += i < k;
			parts.n++;
		}
	return parts.n > 0 ? parts : (struct parts){ .n = n_nodes, .index = k, .has_one = true };
}

static uint64_t part_of(const struct resource *what, const struct node_info *nodes, size_t n_nodes,
			size_t k, const char *name, uint64_t amount)
{
	struct parts parts = find_parts(what, nodes, n_nodes, k);

	return parts.has_one ? entitle_part(name, amount, parts.index, parts.n) : 0;
}

uint64_t entitle_part_of_bytes(const struct node_info *nodes, size_t n_nodes, size_t k,
			       const char *name, uint64_t bytes)
{
	return part_of(&memory, nodes, n_nodes, k, name, bytes);
}

uint64_t entitle_part_of_chunks(const struct node_info *nodes, size_t n_nodes, size_t k,
				const char *name, uint64_t chunks)
{
	return part_of(&huge_pages, nodes, n_nodes, k, name, chunks);
}

/* The claims on one node, and the slot each belongs to. The arrays hold all slots. */
struct claims {
	struct claim *claims;
	uint64_t *needs; /* by claim */
	size_t *owners;  /* index into slots, by claim */
	size_t n;
};

static void claims_freep(struct claims *c)
{
	free(c->claims);
	free(c->needs);
	free(c->owners);
}

struct node_sums {
	uint64_t own_guaranteed, any_guaranteed;
	uint64_t own_shared, any_shared;
	bool is_overpromised;
};

/* Cuts all mins in proportion when they do not fit; returns their sum, at most @total. */
static uint64_t fit_guarantees(struct claims *c, uint64_t total, bool *ret_is_cut)
{
	u128 sum = 0;
	uint64_t cut_sum = 0;

	for (size_t i = 0; i < c->n; i++)
		sum += c->claims[i].min;
	*ret_is_cut = sum > total;
	if (!*ret_is_cut)
		return (uint64_t)sum;
	/* min and total are at most 2^61 each */
	for (size_t i = 0; i < c->n; i++) {
		c->claims[i].min = (uint64_t)((u128)c->claims[i].min * total / sum);
		cut_sum += c->claims[i].min;
	}
	return cut_sum;
}

/* Fills every claim's share, tier by tier. The mins fit. */
static int fill_tiers(struct claims *c, const struct entitle_slot *slots, uint64_t total,
		      uint64_t guaranteed)
{
	uint64_t left = total - guaranteed; /* beyond all mins */
	struct claim *tier;
	int r = 0;

	tier = calloc(c->n ? c->n : 1, sizeof(*tier));
	if (!tier)
		return -ENOMEM;
	for (uint32_t t = 0; t < TIERS && r == 0; t++) {
		uint64_t mins = 0, shared = 0;
		size_t n = 0;

		for (size_t i = 0; i < c->n; i++)
			if (slots[c->owners[i]].policy->tier == t) {
				tier[n++] = c->claims[i];
				mins += c->claims[i].min;
			}
		r = maxmin_divide(tier, n, left + mins);
		if (r < 0)
			break;
		n = 0;
		for (size_t i = 0; i < c->n; i++)
			if (slots[c->owners[i]].policy->tier == t) {
				c->claims[i].share = tier[n++].share;
				shared += c->claims[i].share;
			}
		left -= shared - mins;
	}
	free(tier);
	return r;
}

static void swap(uint64_t *a, uint64_t *b)
{
	uint64_t old = *a;

	*a = *b;
	*b = old;
}

/* As fill_tiers(), by needs first. */
static int fill_needs(struct claims *c, const struct entitle_slot *slots, uint64_t total,
		      uint64_t guaranteed)
{
	uint64_t shared = 0;
	int r;

	/* need is the cap, max waits in its place */
	for (size_t i = 0; i < c->n; i++) {
		struct claim *claim = &c->claims[i];

		c->needs[i] = MIN(claim->max, MAX(c->needs[i], claim->min));
		swap(&c->needs[i], &claim->max);
	}
	r = fill_tiers(c, slots, total, guaranteed);
	for (size_t i = 0; i < c->n; i++) {
		shared += c->claims[i].share;
		swap(&c->needs[i], &c->claims[i].max);
	}
	if (r < 0 || shared == total)
		return r;
	/* what is met is the floor, min waits in its place */
	for (size_t i = 0; i < c->n; i++) {
		c->needs[i] = c->claims[i].share;
		swap(&c->needs[i], &c->claims[i].min);
	}
	r = fill_tiers(c, slots, total, shared);
	for (size_t i = 0; i < c->n; i++)
		swap(&c->needs[i], &c->claims[i].min);
	return r;
}

/* Divides one resource of the node nodes[k]. The shares are left in @c. */
static int divide_node(const struct resource *what, const struct node_info *nodes, size_t n_nodes,
		       size_t k, const struct entitle_slot *slots, size_t n_slots, struct claims *c,
		       struct node_sums *ret)
{
	uint64_t total = what->node_amount(&nodes[k]);
	struct node_sums sums = {};
	struct parts parts;
	int r;

	parts = find_parts(what, nodes, n_nodes, k);
	c->n = 0;
	for (size_t i = 0; i < n_slots; i++) {
		const struct slot_policy *p = slots[i].policy;
		bool is_any = p->node == NODE_ANY;
		uint64_t min = what->slot_min(p), max = what->slot_max(p);
		uint64_t need = what->slot_need(&slots[i]);

		if (is_any ? !parts.has_one : p->node != nodes[k].node)
			continue;
		c->claims[c->n] = (struct claim){
			.name = p->name,
			.weight = is_any ? p->weight : p->weight * (uint64_t)parts.n,
			.min = is_any ? entitle_part(p->name, min, parts.index, parts.n) : min,
			.max = is_any ? entitle_part(p->name, max, parts.index, parts.n) : max,
		};
		c->needs[c->n] = is_any ? entitle_part(p->name, need, parts.index, parts.n) : need;
		c->owners[c->n++] = i;
	}

	r = fill_needs(c, slots, total, fit_guarantees(c, total, &sums.is_overpromised));
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->n; i++)
		if (slots[c->owners[i]].policy->node == NODE_ANY) {
			sums.any_guaranteed += c->claims[i].min;
			sums.any_shared += c->claims[i].share;
		} else {
			sums.own_guaranteed += c->claims[i].min;
			sums.own_shared += c->claims[i].share;
		}
	*ret = sums;
	return 0;
}

static int entitle_memory(const struct node_info *nodes, size_t n_nodes, size_t k,
			  struct entitle_slot *slots, size_t n_slots, struct claims *c,
			  struct entitle_node *node, struct entitle_any *any)
{
	struct node_sums sums;
	int r;

	r = divide_node(&memory, nodes, n_nodes, k, slots, n_slots, c, &sums);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->n; i++) {
		slots[c->owners[i]].share_bytes += c->claims[i].share;
		slots[c->owners[i]].guaranteed_bytes += c->claims[i].min;
	}
	node->distributable_bytes = node_bytes(&nodes[k]);
	node->guaranteed_bytes = sums.own_guaranteed + sums.any_guaranteed;
	node->shared_bytes = sums.own_shared;
	node->any_bytes = sums.any_shared;
	if (sums.any_shared > 0)
		node->any_reserve_bytes = (uint64_t)((u128)nodes[k].reserve_bytes *
						     sums.any_shared / node->distributable_bytes);
	node->group_max_bytes = nodes[k].budget_bytes - node->any_bytes - node->any_reserve_bytes;
	node->is_overpromised |= sums.is_overpromised;
	any->shared_bytes += sums.any_shared;
	any->guaranteed_bytes += sums.any_guaranteed;
	any->group_max_bytes += node->any_bytes + node->any_reserve_bytes;
	return 0;
}

static int entitle_chunks(const struct node_info *nodes, size_t n_nodes, size_t k,
			  struct entitle_slot *slots, size_t n_slots, struct claims *c,
			  struct entitle_node *node, struct entitle_any *any)
{
	struct node_sums sums;
	int r;

	r = divide_node(&huge_pages, nodes, n_nodes, k, slots, n_slots, c, &sums);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->n; i++) {
		struct entitle_slot *slot = &slots[c->owners[i]];

		slot->pool_share_chunks += c->claims[i].share;
		slot->pool_guaranteed_chunks += c->claims[i].min;
		if (slot->pool_node_chunks)
			slot->pool_node_chunks[k] = c->claims[i].share;
	}
	node->guaranteed_chunks = sums.own_guaranteed + sums.any_guaranteed;
	node->shared_chunks = sums.own_shared;
	node->any_chunks = sums.any_shared;
	node->is_overpromised |= sums.is_overpromised;
	any->shared_chunks += sums.any_shared;
	return 0;
}

/* Its share is what it was promised, and comes from nobody. */
static void entitle_gigantic(struct entitle_slot *slot)
{
	uint64_t n_chunks = slot->policy->pool_min_bytes / CHUNK_BYTES;

	if (slot->is_placed && slot->policy->is_gigantic)
		slot->pool_share_chunks = slot->pool_guaranteed_chunks = n_chunks;
}

static bool input_is_sound(const struct node_info *nodes, size_t n_nodes,
			   const struct entitle_slot *slots, size_t n_slots)
{
	if (n_nodes > NODES_MAX || n_slots > SLOTS_MAX)
		return false;
	for (size_t i = 0; i < n_nodes; i++)
		if (nodes[i].reserve_bytes > nodes[i].budget_bytes ||
		    nodes[i].budget_bytes > UINT64_C(1) << 61 ||
		    nodes[i].hugepages > UINT64_C(1) << 61 ||
		    (i > 0 && nodes[i].node <= nodes[i - 1].node))
			return false;
	for (size_t i = 0; i < n_slots; i++) {
		const struct slot_policy *p = slots[i].policy;

		if (p->weight < WEIGHT_MIN || p->weight > WEIGHT_MAX || p->tier >= TIERS ||
		    p->min_bytes > UINT64_C(1) << 61 || p->min_bytes > p->max_bytes ||
		    p->pool_min_bytes > p->pool_max_bytes)
			return false;
	}
	return true;
}

static bool has_node(const struct node_info *nodes, size_t n_nodes, int node)
{
	if (node == NODE_ANY)
		return n_nodes > 0;
	for (size_t i = 0; i < n_nodes; i++)
		if (nodes[i].node == node)
			return true;
	return false;
}

int entitle(const struct node_info *nodes, size_t n_nodes, struct entitle_slot *slots,
	    size_t n_slots, struct entitle_node *ret_nodes, struct entitle_any *ret_any)
{
	CLEANUP(claims_freep) struct claims c = {};
	int r = ENTITLE_OK;

	if (!input_is_sound(nodes, n_nodes, slots, n_slots))
		return -EINVAL;
	c.claims = calloc(n_slots ? n_slots : 1, sizeof(*c.claims));
	c.needs = calloc(n_slots ? n_slots : 1, sizeof(*c.needs));
	c.owners = calloc(n_slots ? n_slots : 1, sizeof(*c.owners));
	if (!c.claims || !c.needs || !c.owners)
		return -ENOMEM;

	for (size_t i = 0; i < n_slots; i++) {
		struct entitle_slot *s = &slots[i];

		s->is_placed = has_node(nodes, n_nodes, s->policy->node);
		s->share_bytes = s->guaranteed_bytes = 0;
		s->pool_share_chunks = s->pool_guaranteed_chunks = 0;
		if (s->pool_node_chunks && n_nodes > 0)
			memset(s->pool_node_chunks, 0, n_nodes * sizeof(*s->pool_node_chunks));
	}
	*ret_any = (struct entitle_any){};
	for (size_t k = 0; k < n_nodes; k++) {
		int q;

		ret_nodes[k] = (struct entitle_node){};
		q = entitle_memory(nodes, n_nodes, k, slots, n_slots, &c, &ret_nodes[k], ret_any);
		if (q == 0)
			q = entitle_chunks(nodes, n_nodes, k, slots, n_slots, &c, &ret_nodes[k],
					   ret_any);
		if (q < 0)
			return q;
		if (ret_nodes[k].is_overpromised)
			r = ENTITLE_OVERPROMISED;
	}
	for (size_t i = 0; i < n_slots; i++)
		entitle_gigantic(&slots[i]);
	return r;
}
