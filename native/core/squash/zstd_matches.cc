// SPDX-License-Identifier: Apache-2.0
#include "zstd_matches.hh"

#include <algorithm>
#include <cstring>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

namespace berth::squash {

/** ZSTD_compressSequences is older, but not as sure of what it is given. */
static constexpr unsigned VERSION_MIN = 10504;

#if ZSTD_VERSION_NUMBER >= 10504

static bool holds(std::span<const uint8_t> in, const Match &match) {
  const bool same = std::memcmp(&in[match.at], &in[match.at - match.distance], match.size) == 0;
#if defined(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
  if (!same)
    __builtin_trap();
#endif
  return same;
}

/** What zstd is to code: literals and the match behind them, each of its own blocks closed by literals. */
struct ZstdMatches::Sequences {
  /** RFC 8878, 3.1.1.3.2.1: a match has no fewer bytes; parts of those that are cut may. */
  static constexpr size_t SIZE_MIN = 3;

  std::vector<ZSTD_Sequence> all;
  size_t count = 0, done = 0, blockEnd = 0;

  void begin(size_t size, size_t matches) {
    // A match that crosses the end of a block of zstd's is cut there, and each block has its end.
    all.resize(std::max(all.size(), matches + 2 * (size / ZSTD_BLOCKSIZE_MAX + 1)));
    count = done = 0;
    blockEnd = std::min<size_t>(size, ZSTD_BLOCKSIZE_MAX);
  }
  void match(size_t at, size_t size, size_t distance) {
    if (size < SIZE_MIN)
      return;
    if (at == done && count > 0 && all[count - 1].offset == distance)
      all[count - 1].matchLength += uint32_t(size);
    else
      all[count++] = {uint32_t(distance), uint32_t(at - done), uint32_t(size), 0};
    done = at + size;
  }
  void close(size_t size) {
    all[count++] = {0, uint32_t(blockEnd - done), 0, 0};
    done = blockEnd;
    blockEnd = std::min<size_t>(size, done + ZSTD_BLOCKSIZE_MAX);
  }
};

bool ZstdMatches::available() { return ZSTD_versionNumber() >= VERSION_MIN; }

std::unique_ptr<ZstdMatches> ZstdMatches::make() {
  ZSTD_CCtx *context = ZSTD_createCCtx();
  if (context == nullptr)
    return nullptr;
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_blockDelimiters, ZSTD_sf_explicitBlockDelimiters);
#if ZSTD_VERSION_NUMBER >= 10505
  // Earlier ones always look whether a distance is one of the last three, which are coded in less.
  ZSTD_CCtx_setParameter(context, ZSTD_c_searchForExternalRepcodes, ZSTD_ps_enable);
#endif
  return std::unique_ptr<ZstdMatches>(new ZstdMatches(context));
}

ZstdMatches::ZstdMatches(ZSTD_CCtx *context) : context_(context), sequences_(new Sequences) {}

std::optional<size_t> ZstdMatches::compress(std::span<const uint8_t> in, std::span<uint8_t> out,
                                            std::span<const Match> matches) {
  Sequences &to = *sequences_;
  to.begin(in.size(), matches.size());
  for (size_t i = 0; i < matches.size(); i++) {
    const Match match = matches[i];
    size_t at = match.at;
    const size_t end = at + match.size;
    if (end > in.size() || at < to.done || match.distance > at || match.distance == 0 ||
        (i % CHECKED == 0 && !holds(in, match))) [[unlikely]]
      return std::nullopt;
    while (end > to.blockEnd) {
      if (at < to.blockEnd)
        to.match(at, to.blockEnd - at, match.distance);
      at = std::max(at, to.blockEnd);
      to.close(in.size());
    }
    to.match(at, end - at, match.distance);
  }
  do
    to.close(in.size());
  while (to.done < in.size());
  const size_t size =
      ZSTD_compressSequences(context_, out.data(), out.size(), to.all.data(), to.count, in.data(), in.size());
  return ZSTD_isError(size) ? 0 : size;
}

#else

struct ZstdMatches::Sequences {};

bool ZstdMatches::available() { return false; }
std::unique_ptr<ZstdMatches> ZstdMatches::make() { return nullptr; }
ZstdMatches::ZstdMatches(ZSTD_CCtx *context) : context_(context) {}
std::optional<size_t> ZstdMatches::compress(std::span<const uint8_t>, std::span<uint8_t>,
                                            std::span<const Match>) {
  return std::nullopt;
}

#endif

ZstdMatches::~ZstdMatches() { ZSTD_freeCCtx(context_); }

} // namespace berth::squash
