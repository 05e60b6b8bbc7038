/* SPDX-License-Identifier: Apache-2.0
 *
 * Owners that let go by themselves at the end of their scope. A value leaves its owner only through steal_*.
 */
#ifndef BERTH_CLEAN_H
#define BERTH_CLEAN_H

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static inline void clean_close(const int *fd) {
  if (*fd >= 0)
    (void)close(*fd);
}

static inline void clean_free(void *pointer) { free(*(void **)pointer); }

static inline int steal_fd(int *fd) {
  const int taken = *fd;
  *fd = -1;
  return taken;
}

/* Where the kernel has no close_range (before 5.9); no slurmd has so many open. */
#define CLOSE_FDS_MAX 65536

/** close_range(2), which C libraries of the time of Linux 5.9 do not name; its number is every
 * architecture's. */
static inline void close_between(unsigned int first, unsigned int last) {
  if (syscall(436, first, last, 0) == 0)
    return;
  for (unsigned int fd = first; fd <= last && fd < CLOSE_FDS_MAX; fd++)
    (void)close((int)fd);
}

static inline void close_all_from(unsigned int first) { close_between(first, ~0u); }

#define cleanup_close __attribute__((cleanup(clean_close)))
#define cleanup_free __attribute__((cleanup(clean_free)))

#endif
