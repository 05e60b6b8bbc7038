// SPDX-License-Identifier: Apache-2.0
/** One layer's bytes to its tar bytes: gzip, zstd or plain, told by the first bytes since media types lie. */
#pragma once

#include <memory>
#include <span>

#include "../result.hh"
#include "pieces.hh"

namespace berth::squash {

class Inflater {
public:
  /** First bytes that sniff() wants to see, fewer only at the end of a layer. */
  static constexpr size_t MAGIC_SIZE = 6;

  virtual ~Inflater() = default;
  /**
   * Decodes from the front of `in`, which it shortens, to the end of `piece`. Leaves it unfilled only when
   * all of `in` is used. Fails with EBADMSG and a message.
   */
  virtual Result<> step(std::span<const uint8_t> &in, Piece &piece) = 0;
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
