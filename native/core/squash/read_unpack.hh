// SPDX-License-Identifier: Apache-2.0
/** Decompresses one squashfs block at a time. */
#pragma once

#include "read_format.hh"

#include <memory>
#include <span>

namespace berth::unsquash {

/** Name as in mksquashfs -comp; "unknown" for numbers that the format does not have. */
const char *compressorName(Compressor compressor);

/** Keeps the state of one decompressor, so that it is made once a thread; not for two threads at once. */
class Unpacker {
public:
  struct State;
  /** Throws Fault EOPNOTSUPP for compressors not built in. `blockSize` bounds the window as the kernel does.
   */
  Unpacker(Compressor compressor, uint32_t blockSize);
  ~Unpacker();
  Unpacker(Unpacker &&) noexcept;

  /**
   * Length of the output; 0 when `in` is not exactly one well-formed compressed block or does not fit `out`
   * (an empty block does not exist in the format).
   */
  size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out);

private:
  std::unique_ptr<State> state_;
};

} // namespace berth::unsquash
