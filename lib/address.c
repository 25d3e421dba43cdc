/* SPDX-License-Identifier: Apache-2.0 */

/* Address texts. Numeric ports only: a service name would mean another file to read. */

#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/parse.h"

static int resolve_unix(const char *path, struct address *ret)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t length = strlen(path);

	if (length < 2 || (path[0] != '/' && path[0] != '@'))
		return -EINVAL;
	if (length >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, length + 1);
	/* an abstract name has no terminator: its length is part of it */
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	ret->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
				  (path[0] == '/' ? 1 : 0));
	memcpy(&ret->storage, &un, sizeof(un));
	return 1;
}

/* "HOST:PORT" or "[V6]:PORT" into its two parts. */
static int split_host(const char *text, size_t size, char *host, const char **ret_port)
{
	const char *end, *begin = text;

	if (*text == '[') {
		begin++;
		end = strchr(text, ']');
		if (!end || end[1] != ':' || end == begin)
			return -EINVAL;
		*ret_port = end + 2;
	} else {
		end = strrchr(text, ':');
		if (!end || memchr(text, ':', (size_t)(end - text)))
			return -EINVAL; /* a bare IPv6 address is ambiguous */
		*ret_port = end + 1;
	}
	if ((size_t)(end - begin) >= size)
		return -EINVAL;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	return 0;
}

static int gai_to_errno(int error)
{
	switch (error) {
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno > 0 ? -errno : -EIO;
	default:
		return -ENXIO;
	}
}

/* Every address of the host; IPv6 includes IPv4 where the kernel has both. */
static int resolve_any(uint64_t port, struct address ret[static 2])
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	memcpy(&ret[0].storage, &in6, sizeof(in6));
	ret[0].length = sizeof(in6);
	memcpy(&ret[1].storage, &in, sizeof(in));
	ret[1].length = sizeof(in);
	return 2;
}

static int resolve_tcp(const char *text, bool is_passive, struct address *ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list, *info;
	char host[256];
	const char *port_text;
	uint64_t port;
	int n = 0, r;

	r = split_host(text, sizeof(host), host, &port_text);
	if (r < 0)
		return r;
	if (parse_u64(port_text, UINT16_MAX, &port) < 0 || (port == 0 && !is_passive))
		return -EINVAL;
	if (*host == '\0' || strcmp(host, "*") == 0)
		return is_passive ? resolve_any(port, ret) : -EINVAL;

	r = getaddrinfo(host, port_text, &hints, &list);
	if (r != 0)
		return gai_to_errno(r);
	for (info = list; info && n < ADDRESSES_MAX; info = info->ai_next) {
		if (info->ai_addrlen > sizeof(ret[n].storage))
			continue;
		memcpy(&ret[n].storage, info->ai_addr, info->ai_addrlen);
		ret[n++].length = info->ai_addrlen;
	}
	freeaddrinfo(list);
	return n > 0 ? n : -ENXIO;
}

int address_resolve(const char *text, bool is_passive,
		    struct address ret_addresses[static ADDRESSES_MAX])
{
	if (strncmp(text, "unix:", 5) == 0)
		return resolve_unix(text + 5, &ret_addresses[0]);
	if (strncmp(text, "tcp:", 4) == 0)
		return resolve_tcp(text + 4, is_passive, ret_addresses);
	return -EINVAL;
}

static void format_unix(const struct sockaddr *address, socklen_t length,
			char ret_text[static ADDRESS_TEXT_MAX])
{
	struct sockaddr_un un = {};
	char path[sizeof(un.sun_path) + 1] = "";
	size_t n;

	memcpy(&un, address, MIN((size_t)length, sizeof(un)));
	n = MIN((size_t)length, sizeof(un)) -
	    MIN((size_t)length, offsetof(struct sockaddr_un, sun_path));
	memcpy(path, un.sun_path, n);
	if (n > 1 && path[0] == '\0')
		path[0] = '@';
	snprintf(ret_text, ADDRESS_TEXT_MAX, "unix:%s", path);
}

void address_format(const struct sockaddr *address, socklen_t length,
		    char ret_text[static ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&in, address, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		snprintf(ret_text, ADDRESS_TEXT_MAX, "tcp:%s:%u", host, ntohs(in.sin_port));
		break;
	case AF_INET6:
		memcpy(&in6, address, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], host, sizeof(host));
			snprintf(ret_text, ADDRESS_TEXT_MAX, "tcp:%s:%u", host,
				 ntohs(in6.sin6_port));
			break;
		}
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		snprintf(ret_text, ADDRESS_TEXT_MAX, "tcp:[%s]:%u", host, ntohs(in6.sin6_port));
		break;
	default:
		format_unix(address, length, ret_text);
		break;
	}
}
