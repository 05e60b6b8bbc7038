// SPDX-License-Identifier: Apache-2.0
/**
 * libFuzzer target of the ELF reader: any bytes give facts within the reader's limits, or nothing. The first
 * byte says whether the file is read as an MPI library, all of whose symbols are taken. Whoever sees the same
 * bytes pass in pieces marks the file if it needs a C library.
 */
#include "core/elf/needed_watch.hh"
#include "core/elf/scan.hh"

#include <cstdlib>

using namespace berth::elf;

namespace {

/** As in a file that is larger than what is kept of it. */
void checkMarked(std::span<const uint8_t> content, size_t head, size_t step) {
  MemoryBytes bytes(content);
  const auto file = File::open(bytes, File::Part::needed);
  NeededWatch watch({"libc"}, head);
  watch.begin(content.size());
  for (size_t at = 0; at < content.size(); at += step)
    watch.data(at, content.subspan(at, std::min(step, content.size() - at)));
  const bool marked = watch.end();
  if (file && file->needsOne({"libc"}) && !marked)
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  MemoryBytes bytes(std::span(data + 1, size - 1));
  const size_t heads[] = {NeededWatch::kHead, 64, 2000};
  checkMarked(std::span(data + 1, size - 1), heads[data[0] / 3 % 3], 60 + data[0] * size_t{37});
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
