// SPDX-License-Identifier: Apache-2.0
/**
 * The decoder beside zlib's: streams of every kind, whole and damaged, in parts of random sizes. Both must
 * come to the same bytes or both refuse, and each match that the decoder tells must be one. Usage:
 * deflate_main ROUNDS SEED; prints how many streams were read, damaged ones, and matches; what is wrong to
 * stderr, with exit code 1.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include <zlib.h>

#include "core/squash/inflate.hh"

using namespace berth::squash;
using Buffer = std::vector<uint8_t>;

static std::mt19937 source;
static size_t below(size_t limit) { return limit == 0 ? 0 : source() % limit; }

/** Noise, few symbols, words that come back from near and far, and runs of one pattern. */
static Buffer content() {
  Buffer out;
  const size_t size = below(4) == 0 ? below(900'000) : below(20'000);
  while (out.size() < size) {
    const size_t part = 1 + below(below(3) == 0 ? 70'000 : 600);
    const size_t kind = below(4), symbols = 1 + below(below(2) == 0 ? 256 : 9);
    const size_t distance = 1 + below(std::min<size_t>(out.size(), below(2) == 0 ? 20 : 40'000));
    for (size_t i = 0; i < part; i++)
      out.push_back(kind != 0 && distance <= out.size() && (kind < 3 || below(90) != 0)
                        ? out[out.size() - distance]
                        : uint8_t(below(symbols)));
  }
  return out;
}

static Buffer compressed(const Buffer &in) {
  z_stream stream{};
  static constexpr int STRATEGIES[] = {
      Z_DEFAULT_STRATEGY, Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
  deflateInit2(&stream, int(below(10)), Z_DEFLATED, 9 + int(below(7)) + 16, 1 + int(below(9)),
               STRATEGIES[below(6)]);
  gz_header header{};
  Buffer extra(below(300), 'e'), name(1 + below(40), 'n');
  name.back() = 0;
  header.extra = below(2) == 0 ? extra.data() : nullptr;
  header.extra_len = uInt(extra.size());
  header.name = below(2) == 0 ? name.data() : nullptr;
  header.comment = below(4) == 0 ? name.data() : nullptr;
  if (below(2) == 0)
    deflateSetHeader(&stream, &header);
  Buffer out(deflateBound(&stream, uLong(in.size())) + 70'000);
  stream.next_out = out.data();
  stream.avail_out = uInt(out.size());
  for (size_t at = 0; at < in.size();) {
    const size_t part = below(8) == 0 ? std::min(in.size() - at, 1 + below(50'000)) : in.size() - at;
    stream.next_in = const_cast<Bytef *>(in.data() + at);
    stream.avail_in = uInt(part);
    at += part;
    static constexpr int FLUSHES[] = {Z_NO_FLUSH, Z_PARTIAL_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH};
    deflate(&stream, FLUSHES[below(4)]);
  }
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/** False when zlib refuses, or wants more. */
static bool byZlib(const Buffer &in, Buffer &out) {
  z_stream stream{};
  inflateInit2(&stream, 15 + 16);
  stream.next_in = const_cast<Bytef *>(in.data());
  stream.avail_in = uInt(in.size());
  int answer = Z_OK;
  size_t size = 0;
  do {
    out.resize(size + 200'000);
    stream.next_out = out.data() + size;
    stream.avail_out = 200'000;
    answer = inflate(&stream, Z_NO_FLUSH);
    size = out.size() - stream.avail_out;
    if (answer == Z_STREAM_END && stream.avail_in > 0)
      answer = inflateReset(&stream);
  } while (answer == Z_OK);
  out.resize(size);
  inflateEnd(&stream);
  return answer == Z_STREAM_END;
}

static uint64_t matches, wrong;

static void take(const Piece &piece, Buffer &out) {
  const size_t begin = out.size();
  out.insert(out.end(), piece.span().begin(), piece.span().end());
  size_t last = 0;
  for (const Match &match : piece.matches.all()) {
    const uint8_t *at = out.data() + begin + match.at;
    wrong += match.at < last || match.at + match.size > piece.size || match.distance > begin + match.at ||
             std::memcmp(at, at - match.distance, match.size) != 0;
    last = match.at + match.size;
    matches++;
  }
}

static bool byOwn(const Buffer &in, Buffer &out) {
  static Piece pieces[3];
  auto inflater = Inflater::sniff(in);
  if (!inflater)
    return false;
  unsigned current = 0;
  pieces[0].clear();
  const size_t most = 1 + (below(3) == 0 ? below(8) : below(30'000));
  for (size_t at = 0; at < in.size();) {
    // Of its own, so that a byte too far is seen.
    const Buffer part(in.begin() + long(at), in.begin() + long(std::min(in.size(), at + 1 + below(most))));
    at += part.size();
    std::span<const uint8_t> rest(part);
    for (;;) {
      Piece &piece = pieces[current];
      if (!(*inflater)->step(rest, piece))
        return false;
      if (piece.size < Piece::SIZE)
        break;
      take(piece, out);
      current = (current + 1) % 3;
      pieces[current].clear();
    }
    if (!rest.empty())
      return wrong++, false;
  }
  take(pieces[current], out);
  return (*inflater)->complete();
}

int main(int, char **arguments) {
  source.seed(unsigned(std::atoi(arguments[2])));
  uint64_t whole = 0, damaged = 0;
  for (int round = std::atoi(arguments[1]); round > 0; round--) {
    Buffer stream;
    for (size_t members = 1 + (below(4) == 0 ? below(4) : 0); members > 0; members--) {
      const Buffer member = compressed(content());
      stream.insert(stream.end(), member.begin(), member.end());
    }
    const bool harm = below(2) == 0;
    for (size_t times = harm ? below(4) : 0; times > 0; times--)
      stream[2 + below(stream.size() - 2)] ^= uint8_t(1u << below(8));
    if (harm && below(3) == 0)
      stream.resize(6 + below(stream.size() - 6));
    Buffer expected, seen;
    const bool good = byZlib(stream, expected), read = byOwn(stream, seen);
    (good ? whole : damaged)++;
    if (good == read && (!good || expected == seen) && wrong == 0)
      continue;
    fprintf(stderr, "round -%d: zlib %d with %zu bytes, own %d with %zu, %ju wrong\n", round, good,
            expected.size(), read, seen.size(), uintmax_t(wrong));
    return 1;
  }
  printf("%ju whole, %ju damaged, %ju matches\n", uintmax_t(whole), uintmax_t(damaged), uintmax_t(matches));
}
