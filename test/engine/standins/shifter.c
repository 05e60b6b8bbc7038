/* SPDX-License-Identifier: Apache-2.0
 *
 * Stand-in for NERSC's shifter, which Debian does not have: setuid root, made so by the test for the one user
 * given as USER. It takes what shifter documents, refuses everything else by exit code 2 and the offending
 * word, and then builds its root as the real one does: a tmpfs into which the directories of the image are
 * bound.
 */
#define _GNU_SOURCE
#include <dirent.h>
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

/* The real one's is a setting; here one that every node has. */
#define UDI "/mnt"

static const char *image, *workdir = "/", *modules = "";

static void must(bool done, const char *what) {
  if (done)
    return;
  fprintf(stderr, "FAILED to set up %s: %s\n", what, strerror(errno));
  exit(1);
}

static const char *value_of(const char *word, const char *name) {
  const size_t length = strlen(name);
  return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static void take(char *word) {
  const char *value;

  if ((value = value_of(word, "--image")) && strncmp(value, "local:/", 7) == 0)
    image = value + 6;
  else if ((value = value_of(word, "--workdir")))
    workdir = value;
  else if ((value = value_of(word, "--module")))
    modules = value;
  else if ((value = value_of(word, "--env")) && strchr(value, '='))
    must(putenv((char *)value) == 0, value);
  else {
    fprintf(stderr, "shifter stand-in: not in the documented command line: %s\n", word);
    exit(2);
  }
}

static void bind(const char *from, const char *name, unsigned long flags) {
  char to[PATH_MAX];

  (void)snprintf(to, sizeof(to), UDI "/%s", name);
  must(mkdir(to, 0755) == 0 || errno == EEXIST, to);
  must(mount(from, to, NULL, MS_BIND | flags, NULL) == 0, to);
}

static void bind_image(void) {
  DIR *all = opendir(image);
  char from[PATH_MAX];

  must(all != NULL, image);
  for (const struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.')
      continue;
    (void)snprintf(from, sizeof(from), "%s/%s", image, entry->d_name);
    bind(from, entry->d_name, 0);
  }
  (void)closedir(all);
}

static void build(void) {
  must(unshare(CLONE_NEWNS) == 0, "namespace");
  must(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0, "/");
  must(mount("tmpfs", UDI, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0, UDI);
  must(mkdir(UDI "/proc", 0755) == 0 && mount("proc", UDI "/proc", "proc", 0, NULL) == 0, "/proc");
  for (const char *const *tree = (const char *const[]){"/sys", "/dev", "/tmp", NULL}; *tree; tree++)
    bind(*tree, *tree + 1, 0);
  bind_image();
  must(mount(NULL, UDI, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0, "read-only root");
}

int main(int argc, char **argv) {
  int first = 1;

  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    puts("Usage:\n    shifter [options] -- <command>");
    return 0;
  }
  if (getuid() != USER)
    return 1;
  for (; first < argc && argv[first][0] == '-'; first++)
    take(argv[first]);
  errno = EINVAL;
  must(image != NULL && first < argc, "image or command");
  build();
  must(chroot(UDI) == 0 && chdir(workdir) == 0, "root");
  must(setresuid(USER, USER, USER) == 0, "identity");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "privileges");
  must(setenv("SHIFTER_RUNTIME", "1", 1) == 0, "variable");
  must(*modules == '\0' || setenv("STANDIN_MODULES", modules, 1) == 0, "variable");
  (void)execvp(argv[first], argv + first);
  perror(argv[first]);
  return 127;
}
