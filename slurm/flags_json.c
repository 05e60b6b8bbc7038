/* SPDX-License-Identifier: Apache-2.0
 *
 * Build tool: prints the table of flags as JSON (dist/flags.json), so that docs, tests and TypeScript read
 * the very rows that srun registers.
 */
#include <stdio.h>

#include "flags.h"

static void print_member(const char *name, const char *value) {
  printf(", \"%s\": ", name);
  if (!value) {
    fputs("null", stdout);
    return;
  }
  putchar('"');
  for (; *value; value++) {
    if (*value == '"' || *value == '\\')
      putchar('\\');
    putchar(*value);
  }
  putchar('"');
}

/* Whose word it is, and the plugstack argument that makes it known. */
static const char *group_name(enum flag_group group) {
  switch (group) {
  case FLAG_SHIFTER_SHORT:
    return "shifter_flags=short";
  case FLAG_SHIFTER_LONG:
    return "shifter_flags=long";
  case FLAG_GSI:
    return "gsi_flags=yes";
  case FLAG_OURS:
    break;
  }
  return NULL;
}

int main(void) {
  static const char *const kinds[] = {
      [FLAG_SINGLE] = "single",
      [FLAG_LIST] = "list",
      [FLAG_BOOL] = "bool",
  };
  char variable[FLAG_VARIABLE_MAX];

  puts("[");
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    const struct flag *flag = &flags[i];
    printf("  { \"name\": \"%s\", \"kind\": \"%s\"", flag->name, kinds[flag->kind]);
    print_member("argument", flag->argument);
    print_member("help", flag->help);
    print_member("opposite", flag->opposite);
    print_member("needs", group_name(flag->group));
    flag_variable(flag, "SLURM_BERTH_", variable);
    print_member("carrier", variable);
    flag_variable(flag, "BERTH_", variable);
    print_member("variable", flag->group == FLAG_OURS ? variable : flag->variable);
    flag_variable(flag, "PYXIS_", variable);
    print_member("pyxis", flag->pyxis ? variable : NULL);
    printf(" }%s\n", i + 1 < FLAG_COUNT ? "," : "");
  }
  puts("]");
  return fflush(stdout) == 0 ? 0 : 1;
}
