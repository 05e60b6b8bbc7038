// SPDX-License-Identifier: Apache-2.0
/**
 * What the dynamic loader would read of an ELF file (gABI, and the GNU symbol versions of the LSB): never
 * more than the limits below, whatever the file says, and nothing of it is run. 64-bit little-endian files
 * only; of others just class and machine are told.
 */
#pragma once

#include "bytes.hh"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::elf {

/** libtorch has 20 MiB of names, the largest that was seen; symbols are 24 bytes each. */
constexpr uint64_t kStringsMax = uint64_t{64} << 20;
constexpr uint64_t kSymbolsMax = 2'000'000;
/** The loader's own stack of libraries ends earlier. */
constexpr size_t kNeededMax = 512;
constexpr size_t kVersionsMax = 4096;
constexpr size_t kNameMax = 1024;

struct Library {
  /** 32 or 64. */
  unsigned bits = 0;
  /** EM_… of elf.h. */
  uint16_t machine = 0;
  bool executable = false;
  std::string soname;
  std::vector<std::string> needed;
  /** As they stand, with $ORIGIN. */
  std::string rpath;
  std::string runpath;
  /** Names of versions it wants of others and has itself: GLIBC_2.34, GLIBCXX_3.4.30. */
  std::vector<std::string> versionsNeeded;
  std::vector<std::string> versionsProvided;
};

class File {
public:
  /** How much is read: `needed` for needsOne(), which costs the fewest places of the file. */
  enum class Part : uint8_t { needed, all };

  /** Borrows `bytes`. Nothing: no ELF file, or one whose headers contradict each other. */
  static std::optional<File> open(Bytes &bytes, Part part = Part::all);

  const Library &library() const { return library_; }
  /** Whether it asks for a library whose name begins with one of these. */
  bool needsOne(const std::vector<std::string> &prefixes) const;

  /** Every named dynamic symbol; false when the table cannot be read. `take` gets views that die with the
   * call. */
  bool symbols(const std::function<void(std::string_view name, bool defined)> &take);

private:
  struct Segment {
    uint64_t offset, address, size;
  };
  struct Versions {
    uint64_t address = 0, count = 0;
  };

  File(Bytes &bytes, Part part) : bytes_(bytes), part_(part) {}
  bool readHead();
  bool readSegments(uint64_t offset, unsigned count, unsigned size);
  bool readDynamic(uint64_t offset, uint64_t size);
  void take(uint64_t tag, uint64_t value);
  void readVersions();
  void readNeeds();
  void readDefinitions();
  std::optional<uint64_t> offsetOf(uint64_t address) const;
  std::string stringAt(uint64_t index);
  template <typename T> bool get(uint64_t offset, T &value);

  Bytes &bytes_;
  const Part part_;
  Library library_;
  std::vector<Segment> segments_;
  std::vector<uint64_t> neededAt_;
  /** Addresses of all tables: the one behind the symbols ends them. */
  std::vector<uint64_t> tables_;
  uint64_t strings_ = 0, stringsSize_ = 0, symbols_ = 0;
  uint64_t sonameAt_ = 0, rpathAt_ = 0, runpathAt_ = 0;
  Versions needs_, definitions_;
};

} // namespace berth::elf
