// SPDX-License-Identifier: Apache-2.0
/** Compresses (and, to read captured files back, decompresses) single squashfs blocks. One object a thread.
 */
#pragma once

#include <memory>
#include <span>

#include "../result.hh"
#include "format.hh"

namespace berth::squash {

enum class Compressor : uint8_t { none, gzip, lz4, zstd };

class Codec {
public:
  virtual ~Codec() = default;
  /** Bytes written to `out`; 0 when they would not fit: then the block is stored as it is. */
  virtual size_t compress(std::span<const uint8_t> in, std::span<uint8_t> out) = 0;
  /** Bytes written to `out`; 0 on failure. */
  virtual size_t decompress(std::span<const uint8_t> in, std::span<uint8_t> out) = 0;

  static Result<std::unique_ptr<Codec>> make(Compressor compressor, int level);
};

/** The superblock's number; uncompressed images carry gzip's, which every kernel has. */
uint16_t compressorNumber(Compressor compressor);

/** The options block behind the superblock, may be empty (lz4 must have one, the others when not at their
 * default). */
Bytes compressorOptions(Compressor compressor, int level);

/**
 * Room for compressed data: a block that saves less than 5 % is stored raw, since each read of it would pay
 * for decompression.
 */
constexpr size_t compressedMax(size_t size) { return size - size / 20 - (size < 20 ? 1 : 0); }

} // namespace berth::squash
