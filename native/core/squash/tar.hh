// SPDX-License-Identifier: Apache-2.0
/**
 * Reads tar as layers come: ustar, PAX (pax(1) of POSIX.1-2008), GNU long names and numbers, and the four
 * spellings of sparse files (GNU tar manual, "Storing Sparse Files"). Pull-based: the source is asked for
 * bytes when needed.
 */
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../result.hh"
#include "tar_pax.hh"

namespace berth::squash {

class ByteSource {
public:
  virtual ~ByteSource() = default;
  /** Next bytes of the layer, valid until the next call; empty at its end. */
  virtual std::span<const uint8_t> more() = 0;
};

/** Takes the content of one file from front to end. */
class ContentSink {
public:
  virtual ~ContentSink() = default;
  virtual Result<> data(std::span<const uint8_t> bytes) = 0;
  virtual Result<> hole(uint64_t size) = 0;
};

enum class Kind : uint8_t { file, dir, symlink, link, character, block, fifo };

struct TarEntry {
  Kind kind = Kind::file;
  /** As in the archive: may be absolute, hold `..`, end in a slash. No NUL, never empty for links' targets.
   */
  std::string name;
  std::string target;
  /** Permission bits, 07777. */
  uint16_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;
  /** Of the file once extracted, holes included. */
  uint64_t size = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  std::vector<Xattr> xattrs;
};

/** Where the content of an entry is: to be read now, somewhere from where it gets to its inode later, or
 * nowhere. */
enum class Content : uint8_t { here, kept, lost };

/** The entries of a layer, in its order. */
class EntryReader {
public:
  virtual ~EntryReader() = default;
  /** False at the layer's end. */
  virtual Result<bool> next(TarEntry &entry) = 0;
  /** Asked once for each file that is not empty and that the image needs. */
  virtual Result<Content> place(uint32_t inode) = 0;
  /** Content of the entry that next() gave, once, when it is here. */
  virtual Result<> content(ContentSink &sink) = 0;
  virtual void drain() = 0;
};

class TarReader final : public EntryReader {
public:
  explicit TarReader(ByteSource &source) : source_(source) {}

  /** False at the archive's end. Content of the previous entry that was not read is skipped. EBADMSG on
   * damage. */
  Result<bool> next(TarEntry &entry) override;
  Result<Content> place(uint32_t) override { return Content::here; }
  Result<> content(ContentSink &sink) override;
  /** Reads on to the layer's last byte: what follows the archive counts for the digest only. */
  void drain() override;

private:
  static constexpr size_t BLOCK = 512;
  using Header = std::array<uint8_t, BLOCK>;

  Result<bool> readHeader(Header &header);
  Result<bool> readBlock(Header &block);
  template <typename Take> Result<> pass(uint64_t size, Take take);
  Result<> skipRest();
  Result<std::string> readSpecial(uint64_t size);
  Result<bool> readExtension(const Header &header, char type, int64_t size);
  Result<> readPax(std::string_view text);
  Result<> fill(TarEntry &entry, const Header &header, char type, int64_t size);
  Result<> fillOwner(TarEntry &entry, const Header &header);
  Result<> readSparse(TarEntry &entry, const Header &header, char type);
  Result<> readOldSparse(TarEntry &entry, const Header &header);
  Result<> readSparseMap();
  Result<> checkSparse(const TarEntry &entry) const;

  ByteSource &source_;
  std::span<const uint8_t> rest_;
  /** Content bytes of the current entry not yet read, and the padding behind them. */
  uint64_t left_ = 0;
  uint64_t padding_ = 0;
  bool sparse_ = false;
  std::vector<SparsePart> parts_;
  PaxValues pax_;
  /** Of the extended headers whose values are in pax_. */
  uint64_t paxSize_ = 0;
  std::string longName_, longTarget_;
};

} // namespace berth::squash
