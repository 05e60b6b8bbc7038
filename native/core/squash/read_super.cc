// SPDX-License-Identifier: Apache-2.0
#include "read_super.hh"

#include <array>
#include <bit>

namespace berth::unsquash {
namespace {

constexpr uint32_t kBlockMin = 4096;
constexpr uint32_t kBlockMax = 1 << 20;
/** lz4 is the one compressor whose options the kernel insists on (fs/squashfs/lz4_wrapper.c): version 1,
 * flags. */
constexpr uint32_t kLz4Legacy = 1;

[[noreturn]] void refuseField(size_t offset, std::string_view problem) {
  refuse("superblock", offset, problem);
}

size_t optionsLength(Compressor compressor) { return compressor == Compressor::zstd ? 4 : 8; }

/** End of the options block: one metadata block that is always stored as it is. */
uint64_t readOptions(const Source &source, const Super &super) {
  if ((super.flags & kFlagOptions) == 0) {
    if (super.compressor == Compressor::lz4)
      refuseField(24, "lz4 without compressor options");
    return kSuperSize;
  }
  const size_t length = optionsLength(super.compressor);
  std::array<uint8_t, 2 + 8> block;
  source.read(kSuperSize, std::span(block).first(2 + length));
  if (le16(block.data()) != (kMetaStored | length))
    refuse("compressor options", kSuperSize, "not one stored block of " + std::to_string(length) + " bytes");
  if (super.compressor == Compressor::lz4 && le32(&block[2]) != kLz4Legacy)
    refuse("compressor options", kSuperSize + 2, "unknown lz4 version");
  return kSuperSize + 2 + length;
}

void checkTable(size_t field, uint64_t position, const Super &super, bool optional) {
  if (optional && position == kNoTable)
    return;
  if (position < super.dataStart || position >= super.bytesUsed)
    refuseField(field, "table position " + std::to_string(position) + " is outside the image");
}

} // namespace

Super readSuper(const Source &source) {
  std::array<uint8_t, kSuperSize> raw;
  if (source.size() < raw.size())
    refuseField(0, "the file is too short for a squashfs");
  source.read(0, raw);
  if (le32(&raw[0]) != kMagic)
    refuseField(0, "not a squashfs");
  if (le16(&raw[28]) != 4 || le16(&raw[30]) != 0)
    throw Fault{EOPNOTSUPP, "squashfs version " + std::to_string(le16(&raw[28])) + "." +
                                std::to_string(le16(&raw[30])) + ", 4.0 is needed"};
  Super super{.inodes = le32(&raw[4]),
              .blockSize = le32(&raw[12]),
              .fragments = le32(&raw[16]),
              .compressor = static_cast<Compressor>(le16(&raw[20])),
              .flags = le16(&raw[24]),
              .ids = le16(&raw[26]),
              .root = le64(&raw[32]),
              .bytesUsed = le64(&raw[40]),
              .idTable = le64(&raw[48]),
              .xattrTable = le64(&raw[56]),
              .inodeTable = le64(&raw[64]),
              .directoryTable = le64(&raw[72]),
              .fragmentTable = le64(&raw[80]),
              .exportTable = le64(&raw[88]),
              .dataStart = kSuperSize};
  if (super.inodes == 0)
    refuseField(4, "no inodes");
  if (super.blockSize < kBlockMin || super.blockSize > kBlockMax || !std::has_single_bit(super.blockSize))
    refuseField(12, "block size " + std::to_string(super.blockSize));
  if (std::countr_zero(super.blockSize) != le16(&raw[22]))
    refuseField(22, "block size and its logarithm differ");
  if (le16(&raw[20]) < 1 || le16(&raw[20]) > 6)
    refuseField(20, "unknown compressor " + std::to_string(le16(&raw[20])));
  if ((super.flags & ~kFlagsKnown) != 0)
    refuseField(24, "unknown flags");
  if (super.ids == 0)
    refuseField(26, "no ids");
  if (super.bytesUsed > source.size())
    refuseField(40, "the image has " + std::to_string(super.bytesUsed) + " bytes, its file " +
                        std::to_string(source.size()));
  super.dataStart = readOptions(source, super);
  checkTable(48, super.idTable, super, false);
  checkTable(56, super.xattrTable, super, true);
  checkTable(64, super.inodeTable, super, false);
  checkTable(72, super.directoryTable, super, false);
  checkTable(88, super.exportTable, super, true);
  // Without fragments the kernel never looks at the position, and writers leave odd ones there.
  if (super.fragments != 0)
    checkTable(80, super.fragmentTable, super, false);
  if (super.inodeTable >= super.directoryTable)
    refuseField(72, "the directory table does not follow the inode table");
  return super;
}

} // namespace berth::unsquash
