/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Huge pages for a benchmark, taken from the machine for as long as it runs. What was changed is put
 * back when the process ends, by itself or by a signal; SIGKILL alone leaves it as it is, which is
 * why it is said beforehand. For one thread, which is that of main().
 */

#include <stdbool.h>
#include <stdint.h>

/* Of a program that could not measure what it was asked for, because there are not enough huge
 * pages; Meson takes it for a test that was skipped. */
#define HUGE_STATUS_MISSING 77

/**
 * huge_reserve() - have so many free pages of 2 MiB
 * @name:    of the program, for messages
 * @n_pages: that nobody else has or has asked for; what is missing is reserved by the kernel
 *
 * Says on standard error what it changes, or what is missing; in that case nothing is changed. Each
 * page has been written to by then: what a virtual machine's host does about the first time is not
 * to be in anybody's numbers.
 *
 * Return: true if there are so many.
 */
bool huge_reserve(const char *name, uint64_t n_pages);
/* Puts back what was changed; happens at exit as well. */
void huge_give_back(void);
/* Free pages of 2 MiB, of all nodes together; 0 if there is no such thing. */
uint64_t huge_count_free(void);

/* For tests: files of these names there, instead of the kernel's; no page is written to then.
 * @folder is borrowed. */
void huge_set_folder(const char *folder);
