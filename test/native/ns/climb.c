// SPDX-License-Identifier: Apache-2.0
/*
 * The classic way out of a chroot: keep a working directory above the new root, climb from there, and list
 * what is at the top. Needs CAP_SYS_CHROOT, which a task has in its own user namespace. Prints "top:" and the
 * names.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 64

int main(void) {
  if (chdir("/") < 0 || (mkdir("/jail", 0755) < 0 && access("/jail", F_OK) < 0) || chroot("/jail") < 0) {
    perror("climb");
    return 1;
  }
  for (int i = 0; i < STEPS; i++)
    if (chdir("..") < 0)
      return 1;
  DIR *top = opendir(".");

  printf("top:");
  for (struct dirent *entry = top ? readdir(top) : NULL; entry; entry = readdir(top))
    if (entry->d_name[0] != '.')
      printf(" %s", entry->d_name);
  printf("\n");
  return 0;
}
