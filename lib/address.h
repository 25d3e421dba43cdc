/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Socket addresses as people write them: "tcp:HOST:PORT", "unix:/PATH", "unix:@NAME". */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"

#define ADDRESS_TEXT_MAX 128
#define ADDRESSES_MAX 8 /* tried one after the other when a name has several */

struct address {
	struct sockaddr_storage storage;
	socklen_t length;
};

/**
 * address_resolve() - text to socket addresses
 * @text:          the address; see tm_engine_listen() for its forms
 * @is_passive:    for listening: "*" and an empty host stand for every address, port 0 is fine
 * @ret_addresses: the ones found, in the resolver's order
 *
 * May block while a host name is looked up.
 *
 * Return: their number, at least 1, or -EINVAL (malformed), -ENAMETOOLONG (path), -ENXIO (host
 *         unknown), -EAGAIN (name server silent), -ENOMEM, -EIO.
 */
MUST_USE int address_resolve(const char *text, bool is_passive,
			     struct address ret_addresses[static ADDRESSES_MAX]);

/* "tcp:127.0.0.1:80", "tcp:[::1]:80", "unix:/path", "unix:@name", "unix:" for an unnamed one. */
void address_format(const struct sockaddr *address, socklen_t length,
		    char ret_text[static ADDRESS_TEXT_MAX]);
