/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clean.h"

static size_t append(char *buffer, size_t size, size_t at, const char *part) {
  const size_t length = strlen(part);
  const size_t room = at + 1 < size ? size - at - 1 : 0;

  memcpy(buffer + at, part, length < room ? length : room);
  return at + (length < room ? length : room);
}

bool text_join(char *buffer, size_t size, ...) {
  va_list parts;
  size_t at = 0, wanted = 0;

  va_start(parts, size);
  for (const char *part = va_arg(parts, const char *); part; part = va_arg(parts, const char *)) {
    wanted += strlen(part);
    at = append(buffer, size, at, part);
  }
  va_end(parts);
  buffer[at] = '\0';
  return wanted == at;
}

char *text_new(const char *first, ...) {
  va_list parts, again;
  size_t length = 0, at = 0;

  va_start(parts, first);
  va_copy(again, parts);
  for (const char *part = first; part; part = va_arg(parts, const char *))
    length += strlen(part);
  va_end(parts);

  char *joined = malloc(length + 1);
  if (joined) {
    for (const char *part = first; part; part = va_arg(again, const char *))
      at = append(joined, length + 1, at, part);
    joined[at] = '\0';
  }
  va_end(again);
  return joined;
}

char *text_number(char *buffer, long long value) {
  char *at = buffer + NUMBER_TEXT_MAX - 1;
  unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;

  *at = '\0';
  do {
    *--at = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0)
    *--at = '-';
  return at;
}

const char *text_errno(int number) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
  /* strerror would drag message catalogues into the static programs. */
  const char *words = strerrordesc_np(number);
  return words ? words : "Unknown error";
#else
  return strerror(number);
#endif
}

void text_write(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    const ssize_t written = write(fd, bytes, length);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return;
    bytes += written;
    length -= (size_t)written;
  }
}

long text_read_file(const char *path, char *buffer, size_t size) {
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t length = 0;

  if (fd < 0)
    return -1;
  while (length + 1 < size) {
    const ssize_t got = read(fd, buffer + length, size - 1 - length);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    length += (size_t)got;
  }
  buffer[length] = '\0';
  return (long)length;
}

int text_write_file(const char *path, const char *text) {
  cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
  const size_t length = strlen(text);

  if (fd < 0)
    return -1;
  return write(fd, text, length) == (ssize_t)length ? 0 : -1;
}

const char *text_variable(char *const *environment, const char *name) {
  const size_t length = strlen(name);

  for (size_t i = 0; environment && environment[i]; i++)
    if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')
      return environment[i] + length + 1;
  return NULL;
}

bool text_starts(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

const char *text_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}
