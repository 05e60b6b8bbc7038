/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings without stdio: the launcher waits in every task, so it links none of it.
 */
#ifndef BERTH_TEXT_H
#define BERTH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** Room for any number as text. */
#define NUMBER_TEXT_MAX 24

/** Joins the parts up to NULL into buffer (always terminated). False when they were cut. */
bool text_join(char *buffer, size_t size, ...) __attribute__((sentinel));
/** Joins the parts up to NULL into new memory; NULL without memory. */
char *text_new(const char *first, ...) __attribute__((sentinel));
/** Decimal form of value in buffer (NUMBER_TEXT_MAX bytes); returns its first character. */
char *text_number(char *buffer, long long value);
/** What an errno means, e.g. "No such file or directory". */
const char *text_errno(int number);
/** Writes all of it, through short writes and signals; gives up silently, there is nobody to tell. */
void text_write(int fd, const char *bytes, size_t length);
/** Reads a whole file of at most size - 1 bytes and terminates it. Returns its length or -1. */
long text_read_file(const char *path, char *buffer, size_t size);
/** Overwrites an existing file (a /proc or cgroup knob) with text. 0 or -1 with errno. */
int text_write_file(const char *path, const char *text);
/** Value of name in an environment array, or NULL. */
const char *text_variable(char *const *environment, const char *name);
bool text_starts(const char *text, const char *prefix);
/** The part after the last slash. */
const char *text_base(const char *path);

#endif
