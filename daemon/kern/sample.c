/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/sample.h"

int sample_read(struct cgdir *cg, struct memory_sample *ret)
{
	struct memory_sample sample = {};
	struct cgdir_stall stall = {};
	struct cgdir_stat stat;
	int r = cgdir_read_stat(cg, &stat);

	if (r == CGDIR_OK)
		r = cgdir_read_u64(cg, CG_MEMORY_CURRENT, &sample.current_bytes);
	if (r != CGDIR_OK)
		return r;
	r = cgdir_read_u64(cg, CG_MEMORY_SWAP_CURRENT, &sample.swap_bytes);
	if (r == CGDIR_OK || r == CGDIR_ABSENT)
		r = cgdir_read_stall(cg, &stall);
	if (r == CGDIR_OK || r == CGDIR_ABSENT)
		r = cgdir_read_cpu(cg, &sample.cpu_us);
	if (r != CGDIR_OK && r != CGDIR_ABSENT)
		return r;
	sample.stall_us = stall.some_us;
	sample.stall_full_us = stall.full_us;
	sample.refault_pages = stat.refault_anon + stat.refault_file;
	sample.restore_pages = stat.restore_anon + stat.restore_file;
	sample.refill_pages = stat.pgrefill;
	sample.steal_pages = stat.pgsteal - MIN(stat.pgsteal, stat.pgsteal_proactive);
	sample.fault_count = stat.pgfault;
	*ret = sample;
	return CGDIR_OK;
}
