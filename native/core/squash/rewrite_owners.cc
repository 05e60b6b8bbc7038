// SPDX-License-Identifier: Apache-2.0
#include "rewrite_owners.hh"

#include "read_layout.hh"

#include <algorithm>
#include <vector>

namespace berth::unsquash {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kPointer = sizeof(uint64_t);
constexpr uint32_t kIdBytes = 4;
/** Bit of a metadata block's length: stored as it is (fs/squashfs/squashfs_fs.h). */
constexpr uint16_t kPlainBlock = 0x8000;
/** Extended attributes that are moved at once: more are no image of this world. */
constexpr uint64_t kRestMax = 256 << 20;
/** Fields of the superblock. */
constexpr uint64_t kBytesUsedAt = 40, kIdTableAt = 48, kXattrTableAt = 56;
/** The xattr id table begins with where the xattr table is, a count and four bytes of nothing. */
constexpr uint64_t kXattrHeader = 16;

void put64(uint8_t *at, uint64_t value) {
  for (int i = 0; i < 8; i++)
    at[i] = static_cast<uint8_t>(value >> (8 * i));
}

void add64(uint8_t *at, uint64_t delta) { put64(at, le64(at) + delta); }

void writeAt(int fd, uint64_t position, const Bytes &bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote =
        pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(position + done));
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote <= 0)
      throw Fault{wrote < 0 ? errno : EIO, "write at byte " + std::to_string(position + done)};
    done += static_cast<size_t>(wrote);
  }
}

Bytes readAt(const Source &source, uint64_t position, uint64_t end) {
  Bytes bytes(end - position);
  source.read(position, bytes);
  return bytes;
}

/** The blocks and, behind them, the index: all of the table for `count` owners that starts at `start`. */
Bytes zeroTable(uint64_t start, uint32_t count) {
  Bytes blocks, index;
  for (uint64_t left = uint64_t{count} * kIdBytes; left > 0;) {
    const uint64_t size = std::min<uint64_t>(left, kMetaSize);
    const auto word = static_cast<uint16_t>(size | kPlainBlock);
    index.resize(index.size() + kPointer);
    put64(&index[index.size() - kPointer], start + blocks.size());
    blocks.push_back(static_cast<uint8_t>(word));
    blocks.push_back(static_cast<uint8_t>(word >> 8));
    blocks.resize(blocks.size() + size);
    left -= size;
  }
  blocks.insert(blocks.end(), index.begin(), index.end());
  return blocks;
}

uint64_t finish(int fd, uint64_t bytesUsed) {
  const uint64_t padded = (bytesUsed + kPadding - 1) / kPadding * kPadding;
  // Cut first: what follows an image is zeros, not the rest of a longer one.
  if (ftruncate(fd, static_cast<off_t>(bytesUsed)) < 0 || ftruncate(fd, static_cast<off_t>(padded)) < 0)
    throw Fault{errno, "ftruncate"};
  return padded;
}

} // namespace

Result<uint64_t> giveToRoot(int fd) {
  return guarded([&] {
    const Source source(fd);
    const Layout layout = readLayout(source, Limits{});
    const Super &super = layout.super;
    if (std::ranges::all_of(layout.ids, [](uint32_t id) { return id == 0; }))
      return finish(fd, super.bytesUsed);
    const uint64_t blocks = (uint64_t{super.ids} * kIdBytes + kMetaSize - 1) / kMetaSize;
    const uint64_t oldEnd = super.idTable + blocks * kPointer;
    const uint64_t start = le64(readAt(source, super.idTable, super.idTable + kPointer).data());
    const Bytes table = zeroTable(start, super.ids);
    // Modulo 2^64, so that tables may also move towards the front.
    const uint64_t delta = start + table.size() - oldEnd;

    if (super.bytesUsed - oldEnd > kRestMax)
      overLimit("extended attributes (bytes)", super.bytesUsed - oldEnd, kRestMax);
    Bytes rest = readAt(source, oldEnd, super.bytesUsed);
    Bytes head = readAt(source, 0, kXattrTableAt + kPointer);
    add64(&head[kBytesUsedAt], delta);
    add64(&head[kIdTableAt], delta);
    if (super.xattrTable != kNoTable) {
      add64(&head[kXattrTableAt], delta);
      add64(&rest[super.xattrTable - oldEnd], delta);
      for (uint64_t at = super.xattrTable + kXattrHeader - oldEnd; at < rest.size(); at += kPointer)
        add64(&rest[at], delta);
    }
    writeAt(fd, start, table);
    writeAt(fd, start + table.size(), rest);
    writeAt(fd, 0, head);
    return finish(fd, super.bytesUsed + delta);
  });
}

} // namespace berth::unsquash
