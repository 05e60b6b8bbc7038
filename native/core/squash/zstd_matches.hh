// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "match.hh"

struct ZSTD_CCtx_s;

namespace berth::squash {

/**
 * zstd by matches that somebody else has found: nothing is searched, only coded, which takes half of the time
 * of level 1.
 */
class ZstdMatches {
public:
  /** Whether the library can do it: since 1.5.4. */
  static bool available();
  /** nullptr for lack of memory. */
  static std::unique_ptr<ZstdMatches> make();
  ~ZstdMatches();
  ZstdMatches(const ZstdMatches &) = delete;
  ZstdMatches &operator=(const ZstdMatches &) = delete;

  /**
   * Bytes written to `out`, 0 when they would not fit; nothing when the matches are not in order, look back
   * beyond `in`, or are found wrong: one in CHECKED is compared, since an error in bookkeeping makes most
   * wrong.
   */
  std::optional<size_t> compress(std::span<const uint8_t> in, std::span<uint8_t> out,
                                 std::span<const Match> matches);

private:
#if defined(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
  /** There a wrong one ends the program. */
  static constexpr size_t CHECKED = 1;
#else
  static constexpr size_t CHECKED = 16;
#endif
  struct Sequences;
  explicit ZstdMatches(ZSTD_CCtx_s *context);

  ZSTD_CCtx_s *context_;
  std::unique_ptr<Sequences> sequences_;
};

} // namespace berth::squash
