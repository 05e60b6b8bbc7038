// SPDX-License-Identifier: Apache-2.0
/**
 * libFuzzer target of the ELF reader: any bytes give facts within the reader's limits, or nothing. The first
 * byte says whether the file is read as an MPI library, all of whose symbols are taken.
 */
#include "core/elf/scan.hh"

#include <cstdlib>

using namespace berth::elf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  MemoryBytes bytes(std::span(data + 1, size - 1));
  ScanOptions options;
  options.prefixes = {"lib"};
  options.exporters = {"libmpi"};
  options.texts = {{"libpmix", "version "}};
  const char *const names[] = {"/l/libmpi.so.12", "/l/libpmix.so.2", "/bin/program"};
  const auto found = readFile(bytes, names[data[0] % 3], options);
  if (!found)
    return 0;
  const Library &library = found->library;
  if (library.needed.size() > kNeededMax || library.versionsNeeded.size() > kVersionsMax ||
      library.versionsProvided.size() > kVersionsMax || library.soname.size() > kNameMax ||
      found->defines.size() > kSymbolsMax)
    std::abort();
  return 0;
}
