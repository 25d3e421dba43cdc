/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Each ends what the socket is for, whoever else has a descriptor of it, and then closes ours, which
 * is -1 afterwards. */

/* A connection, as close() would. -1 is fine. */
void hangup_connection(int *fd);
/* A connection whose bytes must not be sent any more, at once. */
void hangup_reset(int *fd);
/* A listener that does not block, and those that wait to be accepted. */
void hangup_listener(int *fd);
