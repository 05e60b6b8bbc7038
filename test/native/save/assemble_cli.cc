// SPDX-License-Identifier: Apache-2.0
/** assemble_cli IMAGE UPPER OUT [OPAQUE…]: the assembler under sanitizers. 0: done; 1: refused, and it says
 * why. */
#include "core/squash/assemble.hh"

#include <cstdio>
#include <fcntl.h>

int main(int count, char **arguments) {
  if (count < 4)
    return 2;
  berth::assemble::Options options;
  options.image = open(arguments[1], O_RDONLY);
  options.upper = open(arguments[2], O_RDONLY | O_DIRECTORY);
  options.out = open(arguments[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
  for (int i = 4; i < count; i++)
    options.opaque.push_back(arguments[i]);
  if (options.image < 0 || options.upper < 0 || options.out < 0)
    return 2;
  auto done = berth::assemble::assembleImage(options);
  if (!done) {
    printf("%d %s %s %s\n", done.error().code, done.error().syscall.c_str(), done.error().path.c_str(),
           done.error().message.c_str());
    return 1;
  }
  printf("%llu\n", static_cast<unsigned long long>(done->size));
  return 0;
}
