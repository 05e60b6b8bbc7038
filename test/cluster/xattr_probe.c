/* SPDX-License-Identifier: Apache-2.0 */
/** "set FILE" sets an attribute of each kind and says what came of it, "get FILE" which of them are there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* cap_net_raw=p, version 2 (linux/capability.h): what setcap(8) and rpm write. */
static const char capability[20] = {1, 0, 0, 2, 0, 0x20};

static const struct {
  const char *name;
  const char *value;
  size_t size;
} attributes[] = {
    {"user.berth", "mine", 4},
    {"security.capability", capability, sizeof(capability)},
    {"security.ima", "x", 1},
    {"trusted.berth", "x", 1},
};

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  const int sets = strcmp(argv[1], "set") == 0;
  for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
    char value[64];
    if (sets && setxattr(argv[2], attributes[i].name, attributes[i].value, attributes[i].size, 0) < 0)
      printf("%s: %s\n", attributes[i].name, strerror(errno));
    else if (getxattr(argv[2], attributes[i].name, value, sizeof(value)) > 0)
      printf("%s\n", attributes[i].name);
  }
  if (sets && mknod("/node", S_IFCHR | 0600, makedev(1, 3)) == 0)
    printf("mknod\n");
  return 0;
}
