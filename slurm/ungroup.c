/* SPDX-License-Identifier: Apache-2.0 */
#include "ungroup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "keeper.h"
#include "text.h"

/* A line per mount; nodes with thousands of mounts have them after the cgroups of early boot. */
#define MOUNTS_BYTES_MAX (1 << 20)
#define CGROUPS_BYTES_MAX (64 << 10)

/* slurmd.service, slurmstepd.scope, NODE_slurmstepd.scope (v2), /slurm_NODE/uid_U/job_J (v1). */
static bool is_of_slurm(const char *path) { return strstr(path, "slurm") != NULL; }

/* Whether a comma-separated list holds each word of another. */
static bool holds_all(const char *list, const char *words) {
  while (*words) {
    const size_t length = strcspn(words, ",");
    bool found = false;
    for (const char *at = list; *at && !found;) {
      const size_t size = strcspn(at, ",");
      found = size == length && memcmp(at, words, length) == 0;
      at += size + (at[size] == ',');
    }
    if (!found)
      return false;
    words += length + (words[length] == ',');
  }
  return true;
}

/* The mount point of the hierarchy with these controllers ("" is v2), from /proc/self/mounts. */
static bool find_mount(const char *mounts, const char *controllers, char point[PATH_MAX]) {
  const char *wanted = controllers[0] ? "cgroup" : "cgroup2";

  for (const char *line = mounts; *line; line += strcspn(line, "\n"), line += *line == '\n') {
    cleanup_free char *copy = strndup(line, strcspn(line, "\n"));
    char *rest = copy;
    char *fields[4] = {NULL};
    for (size_t i = 0; rest && i < ARRAY_SIZE(fields); i++)
      fields[i] = strsep(&rest, " ");
    if (fields[3] && strcmp(fields[2], wanted) == 0 && holds_all(fields[3], controllers))
      return text_join(point, PATH_MAX, fields[1], NULL);
  }
  return false;
}

static void leave(const char *mounts, const char *controllers, const char *path) {
  char point[PATH_MAX], file[PATH_MAX];

  if (!is_of_slurm(path))
    return;
  if (!find_mount(mounts, controllers, point) ||
      !text_join(file, sizeof(file), point, "/cgroup.procs", NULL)) {
    keeper_log("stays in cgroup ", path, ": no mount of [", controllers, "]", NULL);
    return;
  }
  /* "0" is the writer itself. */
  if (text_write_file(file, "0") < 0)
    keeper_log("stays in cgroup ", path, ": ", file, ": ", text_errno(errno), NULL);
}

void ungroup(void) {
  cleanup_free char *mounts = malloc(MOUNTS_BYTES_MAX);
  cleanup_free char *groups = malloc(CGROUPS_BYTES_MAX);

  if (!mounts || !groups || text_read_file("/proc/self/cgroup", groups, CGROUPS_BYTES_MAX) < 0 ||
      text_read_file("/proc/self/mounts", mounts, MOUNTS_BYTES_MAX) < 0)
    return;
  char *rest = groups;
  for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
    /* ID:CONTROLLERS:PATH */
    char *path = line;
    (void)strsep(&path, ":");
    char *controllers = strsep(&path, ":");
    if (controllers && path)
      leave(mounts, controllers, path);
  }
}
