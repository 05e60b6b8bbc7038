// SPDX-License-Identifier: Apache-2.0
/** One layer's bytes to its tar bytes: gzip, zstd or plain, told by the first bytes since media types lie. */
#pragma once

#include <memory>
#include <span>

#include "../result.hh"

namespace berth::squash {

class Inflater {
public:
  /** First bytes that sniff() wants to see, fewer only at the end of a layer. */
  static constexpr size_t MAGIC_SIZE = 6;
  /** Readable bytes behind the input: isa-l loads 8 at a time and looks too far on damaged streams. */
  static constexpr size_t INPUT_SLACK = 16;

  virtual ~Inflater() = default;
  /**
   * Decodes from the front of `in` to the front of `out` and shortens both. Leaves `out` unfilled only when
   * it has used all of `in`, which has INPUT_SLACK readable bytes behind it. Fails with EBADMSG and a
   * message.
   */
  virtual Result<> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) = 0;
  /** Whether the layer may end here; false in the middle of a gzip member or zstd frame. */
  virtual bool complete() const = 0;

  /** ENOTSUP for compressions that no OCI layer may have (bzip2, xz). */
  static Result<std::unique_ptr<Inflater>> sniff(std::span<const uint8_t> magic);
};

/** inflate_gzip.cc */
std::unique_ptr<Inflater> makeGzipInflater();
/** inflate_zstd.cc */
Result<std::unique_ptr<Inflater>> makeZstdInflater();

} // namespace berth::squash
