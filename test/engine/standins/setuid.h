/* SPDX-License-Identifier: Apache-2.0
 *
 * What the stand-ins for setuid engines share: made so by the test for the one user given as USER, they build
 * a root file system of their own and become that user again.
 */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the root is built. The real ones' is a setting; here one that every node has. */
#define UDI "/mnt"

static inline void must(bool done, const char *what) {
  if (done)
    return;
  fprintf(stderr, "FAILED to set up %s: %s\n", what, strerror(errno));
  exit(1);
}

static inline _Noreturn void refuse(const char *engine, const char *word) {
  fprintf(stderr, "%s stand-in: not in the documented command line: %s\n", engine, word);
  exit(2);
}

static inline const char *value_of(const char *word, const char *name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

/* FLAGS: of mount(2), beside MS_BIND. */
static inline void bind_in(const char *from, const char *name, unsigned long flags) {
  char to[PATH_MAX];

  (void)snprintf(to, sizeof(to), UDI "/%s", name);
  must(mkdir(to, 0755) == 0 || errno == EEXIST, to);
  must(mount(from, to, NULL, MS_BIND | flags, NULL) == 0, to);
}

/* A private mount namespace with a tmpfs of the engine's on UDI. */
static inline void start_root(void) {
  must(unshare(CLONE_NEWNS) == 0, "namespace");
  must(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0, "/");
  must(mount("tmpfs", UDI, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0, UDI);
}

static inline void bind_host_trees(void) {
  must((mkdir(UDI "/proc", 0755) == 0 || errno == EEXIST) && mount("proc", UDI "/proc", "proc", 0, NULL) == 0,
       "/proc");
  for (const char *const *tree = (const char *const[]){"/sys", "/dev", "/tmp", NULL}; *tree; tree++)
    bind_in(*tree, *tree + 1, 0);
}

static inline void become_user(const char *root, const char *directory) {
  must(chroot(root) == 0 && chdir(directory) == 0, "root");
  must(setresuid(USER, USER, USER) == 0, "identity");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "privileges");
}
