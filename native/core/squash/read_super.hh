// SPDX-License-Identifier: Apache-2.0
/** The superblock: the first 96 bytes, which say where every table is. */
#pragma once

#include "read_format.hh"
#include "read_source.hh"

namespace berth::unsquash {

/** An image's file ends at a multiple: what a loop device and the kernel's reader want. */
constexpr uint64_t kPadding = 4096;

struct Super {
  uint32_t inodes;
  uint32_t blockSize;
  uint32_t fragments;
  Compressor compressor;
  uint16_t flags;
  uint16_t ids;
  /** Position of the root's inode: metadata block << 16 | offset inside it. */
  uint64_t root;
  uint64_t bytesUsed;
  uint64_t idTable;
  /** kNoTable when absent, as the next three. */
  uint64_t xattrTable;
  uint64_t inodeTable;
  uint64_t directoryTable;
  uint64_t fragmentTable;
  uint64_t exportTable;
  /** First byte that data may have: after the superblock and the compressor's options. */
  uint64_t dataStart;
};

/** Reads and checks the superblock and the compressor's options; table positions are only checked against the
 * end. */
Super readSuper(const Source &source);

} // namespace berth::unsquash
