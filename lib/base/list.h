/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Intrusive doubly linked list; a head is a node that is its own neighbour when empty. */

#include <stdbool.h>

#include "base/attr.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *item)
{
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}

/* Also fine for an item that is in no list but was list_init()ed. */
static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#define list_entry(item, type, member) container_of(item, type, member)

/* clang-format off */
#define LIST_FOREACH(head, var, member)                                                  \
	for (typeof(var) var##_next_ = ((var) = list_entry((head)->next, typeof(*(var)), member), \
					list_entry((var)->member.next, typeof(*(var)), member));  \
	     &(var)->member != (head);                                                   \
	     (var) = var##_next_, var##_next_ = list_entry((var)->member.next, typeof(*(var)), member))
/* clang-format on */
