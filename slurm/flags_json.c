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
    flag_variable(flag, "SLURM_BERTH_", variable);
    print_member("carrier", variable);
    flag_variable(flag, "BERTH_", variable);
    print_member("variable", variable);
    flag_variable(flag, "PYXIS_", variable);
    print_member("pyxis", flag->pyxis ? variable : NULL);
    printf(" }%s\n", i + 1 < FLAG_COUNT ? "," : "");
  }
  puts("]");
  return fflush(stdout) == 0 ? 0 : 1;
}
