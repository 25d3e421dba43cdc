/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * MESSAGE_ID= of what an administrator may want to search or be told about, random 128-bit
 * numbers ("systemd-id128 new"). Each has an entry in systemd/taskmem.catalog and a line in
 * taskmemd(8). A number never changes its meaning; a new meaning gets a new number.
 */

#define MESSAGE_DAEMON_STARTED "174b28fe19ab48cbb8fffc484fdca0f5"
#define MESSAGE_SLOTS_ADOPTED "a15c6d8ff3224ff2882bee39cc9fb3ff"   /* tasks ran on meanwhile */
#define MESSAGE_STATE_SET_ASIDE "c267527702684618ba336f5327b836d9" /* torn or foreign file */
#define MESSAGE_SLOT_ADDED "ade0b82be9064fe8821b16741fd2ad2e"
#define MESSAGE_SLOT_CHANGED "8890a09b71f34237a889b651d2f6a380"
#define MESSAGE_SLOT_PLACED "59e47639ec23431b9ed6bd06420ccda1" /* empty, on another node */
#define MESSAGE_SLOT_MOVED "a0a04e60e891421cb0c93237e9a13ffc"  /* with its tasks */
#define MESSAGE_MOVE_ADVISED "0603ba65ae6a48e3b7e02e0b95272f3a"
#define MESSAGE_SLOT_REMOVED "c72692ead4174761bebaf85883dc5e53"
#define MESSAGE_REFUSED "14f2ba7064ee49e083900f2bbcadd174"       /* guarantees do not fit */
#define MESSAGE_LIMIT_PENDING "90eb2ea5b5f946f18d6b0216a269b389" /* usage is above a new max */
#define MESSAGE_LIMIT_REACHED "156624d5c8f146bbb69f4d079bfbbe89"
#define MESSAGE_FOREIGN_WRITER "cbd98d5f26ef4b5c89887033c0985aee"
#define MESSAGE_SCAN "aeac5a3efdde4f2aa7c99840cff2181e" /* or over */
#define MESSAGE_DRY_RUN "af6f59745da0481bba52cb804df28d7b"
#define MESSAGE_TASK_JOINED "e193982a925c4b87a74669b67269dc68"   /* moved into a slot */
#define MESSAGE_TASK_ATTACHED "d77be6291c824b20924451a28bffc1ae" /* to its slot's pool */
#define MESSAGE_TASK_DETACHED "69db715580cd4376a7864ebaa056dbdc"
#define MESSAGE_GRANT_GIVEN "d6e6b759bbf84d5196e38c1148a2e6da" /* huge pages to a task */
#define MESSAGE_GRANT_RETURNED "48f5e00b7afc4141a3732ecfcfb8f4c3"
#define MESSAGE_POOL_REVOKED "9845ec76dda04887a163172357b0a2e1" /* taken by force */
#define MESSAGE_POOL_KILLED "a5a6bf8875704e44ba78dc8a415b6791"  /* a task that kept pages */
#define MESSAGE_NOTICE "edb9e3b52ec5457da78baaa3775deb4f"       /* tasks are asked for memory */
#define MESSAGE_FREED "538c9d74f3634c4aad8b2636692e31a8"        /* what a task says it gave */
#define MESSAGE_HOOK_FAILED "c479ae511a454b8f96209f60aec227f5"  /* on-resize= */
#define MESSAGE_EMERGENCY \
	"ff2c4b089048446b898c1cb3833d7726" /* memory of a node is about to run out */
#define MESSAGE_EMERGENCY_OVER "8333b3e01641483495e5a21aad8b981e"
#define MESSAGE_RESERVE_LENT "be6afac0e14f49cea4f497983afe1934"
#define MESSAGE_RESERVE_RETURNED "59d92a8a57394780a3500dc22375f9fa"
#define MESSAGE_SLOT_UNPROTECTED \
	"1aef33185fc04dc28f082422de8b90bc" /* memory.low taken off for now */
#define MESSAGE_SLOT_PROTECTED "dc74d668531d4665bc1ca24700b8368a"
#define MESSAGE_SLOT_RECLAIMED "a1b69ed0e3c644db832cb9d3a4d54848"
#define MESSAGE_SLOT_FROZEN "83890e3913014d709edfafee55215912"
#define MESSAGE_SLOT_THAWED "34ead39f4d1e40afb4edec190dc4f712"
#define MESSAGE_SLOT_KILLED "5c306924d2124528a4f9136282f317fe" /* by taskmemd, to save the others */
#define MESSAGE_OOM_KILL "3d6de7639e384f7cbd45770d265df2ac"    /* by the kernel */
