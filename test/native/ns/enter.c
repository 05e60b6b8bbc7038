// SPDX-License-Identifier: Apache-2.0
/*
 * enter [-c] COUNT UID GID GIDS -- COMMAND [ARG...]
 *
 * What the launcher does, for tests: becomes the user, joins the COUNT namespaces on descriptors 3, 4, … and
 * executes. GIDS is a comma list or "-". With -c the command keeps every capability that the joined user
 * namespace gives (ambient), the strongest that a task could have. Exit 125: could not enter (the reason is
 * on stderr).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUPS_MAX 1024

static void die(const char *what) {
  fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
  exit(125);
}

static void become_user(uid_t uid, gid_t gid, char *list) {
  gid_t groups[GROUPS_MAX];
  size_t count = 0;

  for (char *rest = NULL, *part = strtok_r(list, ",", &rest); part && count < GROUPS_MAX;
       part = strtok_r(NULL, ",", &rest))
    if (strcmp(part, "-") != 0)
      groups[count++] = (gid_t)strtoul(part, NULL, 10);
  if (setgroups(count, groups) < 0)
    die("setgroups");
  if (setresgid(gid, gid, gid) < 0)
    die("setresgid");
  if (setresuid(uid, uid, uid) < 0)
    die("setresuid");
}

static void keep_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];

  if (syscall(SYS_capget, &header, data) < 0)
    die("capget");
  for (int i = 0; i < 2; i++)
    data[i].inheritable = data[i].permitted;
  if (syscall(SYS_capset, &header, data) < 0)
    die("capset");
  for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

int main(int argc, char **argv) {
  int keep = argc > 1 && strcmp(argv[1], "-c") == 0;

  argv += keep;
  argc -= keep;
  if (argc < 7) {
    fprintf(stderr, "enter: usage: enter [-c] COUNT UID GID GIDS -- COMMAND\n");
    return 125;
  }
  become_user((uid_t)strtoul(argv[2], NULL, 10), (gid_t)strtoul(argv[3], NULL, 10), argv[4]);
  for (int fd = 3; fd < 3 + atoi(argv[1]); fd++) {
    if (setns(fd, 0) < 0)
      die("setns");
    close(fd);
  }
  if (chdir("/") < 0)
    die("chdir");
  if (keep)
    keep_capabilities();
  execvp(argv[6], argv + 6);
  die(argv[6]);
}
