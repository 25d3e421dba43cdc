/* SPDX-License-Identifier: Apache-2.0 */

/* What a node has to give: the configuration's sizes and percentages, and the kernel's numbers. */

#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "base/parse.h"

#define PAGE_BYTES UINT64_C(4096)

static uint64_t resolve(const struct config_amount *amount, uint64_t of_bytes)
{
	uint64_t bytes = amount->is_permille
				 ? (uint64_t)((unsigned __int128)of_bytes * amount->permille / 1000)
				 : amount->bytes;

	return bytes - bytes % PAGE_BYTES;
}

/* "taskmemd.conf:14: budget=4G" or, for a built-in value, "taskmemd.conf: budget=80%". */
static void quote(const struct config *c, const struct config_amount *amount, const char *key,
		  char *buf, size_t size)
{
	char line[16] = "", value[FORMAT_BYTES_MAX];

	if (amount->line)
		(void)snprintf(line, sizeof(line), ":%u", amount->line);
	if (amount->is_permille && amount->permille % 10)
		(void)snprintf(value, sizeof(value), "%u.%u%%", amount->permille / 10,
			       amount->permille % 10);
	else if (amount->is_permille)
		(void)snprintf(value, sizeof(value), "%u%%", amount->permille / 10);
	else
		(void)format_bytes_exact(amount->bytes, value);
	(void)snprintf(buf, size, "%s%s: %s=%s", c->source, line, key, value);
}

/* Huge pages of one size. @used_bytes: of the node, before and after these. */
static int add_pages(const struct config *c, const struct node_info *node, const char *key,
		     uint64_t n_pages, uint64_t page_bytes, unsigned line, uint64_t *used_bytes,
		     char error[static CONFIG_ERROR_MAX])
{
	char has[FORMAT_BYTES_MAX], huge[FORMAT_BYTES_MAX], used[FORMAT_BYTES_MAX + 32] = "";

	if (n_pages * page_bytes <= node->total_bytes - *used_bytes) {
		*used_bytes += n_pages * page_bytes;
		return 0;
	}
	if (*used_bytes > 0)
		(void)snprintf(used, sizeof(used), ", %s of them in 1G pages",
			       format_bytes(*used_bytes, huge));
	(void)snprintf(error, CONFIG_ERROR_MAX,
		       "%s:%u: %s=%llu is %s on node %d: the node has %s%s", c->source, line, key,
		       (unsigned long long)n_pages, format_bytes(n_pages * page_bytes, huge),
		       node->node, format_bytes(node->total_bytes, has), used);
	return -EINVAL;
}

/* What is wanted of huge pages, and the bytes of all of them. */
static int node_pages(const struct config *c, struct node_info *info, uint64_t *ret_bytes,
		      char error[static CONFIG_ERROR_MAX])
{
	const struct config_node *own = &c->nodes[info->node], *base = &c->node_default;
	const struct config_node *huge = own->hugepages_line ? own : base;
	const struct config_node *gigantic = own->gigantic_line ? own : base;
	uint64_t bytes = 0;
	int r;

	info->hugepages_wanted =
		huge->hugepages == CONFIG_HUGEPAGES_KEEP ? info->hugepages : huge->hugepages;
	info->gigantic_wanted =
		gigantic->gigantic == CONFIG_HUGEPAGES_KEEP ? info->gigantic : gigantic->gigantic;
	/* what the system has beyond these is no memory for slots either */
	r = add_pages(c, info, "gigantic", MAX(info->gigantic_wanted, info->gigantic),
		      GIGANTIC_BYTES, gigantic->gigantic_line, &bytes, error);
	if (r == 0)
		r = add_pages(c, info, "hugepages", info->hugepages_wanted, CHUNK_BYTES,
			      huge->hugepages_line, &bytes, error);
	*ret_bytes = bytes;
	return r;
}

int config_node_budget(const struct config *config, const struct node_info *found,
		       struct node_info *ret, char error[static CONFIG_ERROR_MAX])
{
	const struct config_node *own = &config->nodes[found->node], *base = &config->node_default;
	const struct config_amount *budget = own->budget.line ? &own->budget : &base->budget;
	const struct config_amount *reserve = own->reserve.line ? &own->reserve : &base->reserve;
	char has[FORMAT_BYTES_MAX], huge[FORMAT_BYTES_MAX], what[CONFIG_SOURCE_MAX + 64];
	struct node_info info = { .node = found->node,
				  .total_bytes = found->total_bytes,
				  .hugepages = found->hugepages,
				  .gigantic = found->gigantic };
	uint64_t huge_bytes, total_bytes = found->total_bytes;
	int r, node = found->node;

	r = node_pages(config, &info, &huge_bytes, error);
	if (r < 0)
		return r;
	(void)format_bytes(total_bytes, has);
	(void)format_bytes(huge_bytes, huge);
	info.budget_bytes = resolve(budget, total_bytes - huge_bytes);
	if (info.budget_bytes > total_bytes - huge_bytes) {
		quote(config, budget, "budget", what, sizeof(what));
		(void)snprintf(error, CONFIG_ERROR_MAX,
			       "%s on node %d: the node has %s of which %s are huge pages", what,
			       node, has, huge);
		return -EINVAL;
	}
	info.reserve_bytes = resolve(reserve, info.budget_bytes);
	if (info.reserve_bytes > info.budget_bytes) {
		char budget_text[FORMAT_BYTES_MAX];

		quote(config, reserve, "reserve", what, sizeof(what));
		(void)snprintf(error, CONFIG_ERROR_MAX,
			       "%s on node %d: it is a part of the node's budget, which is %s",
			       what, node, format_bytes(info.budget_bytes, budget_text));
		return -EINVAL;
	}
	*ret = info;
	return 0;
}
