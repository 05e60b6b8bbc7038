// SPDX-License-Identifier: Apache-2.0
#include "sha256.hh"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace berth::squash {
namespace {

constexpr std::array<uint32_t, 64> ROUND = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::array<uint32_t, 8> START = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

uint32_t readBig32(const uint8_t *bytes) {
  return uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3];
}

void compressPortable(std::array<uint32_t, 8> &state, const uint8_t *block, size_t count) {
  for (; count > 0; count--, block += 64) {
    std::array<uint32_t, 64> w;
    for (size_t i = 0; i < 16; i++)
      w[i] = readBig32(block + 4 * i);
    for (size_t i = 16; i < 64; i++) {
      const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (size_t i = 0; i < 64; i++) {
      const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
      const uint32_t first = h + s1 + ((e & f) ^ (~e & g)) + ROUND[i] + w[i];
      const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
      const uint32_t second = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    const std::array<uint32_t, 8> add = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; i++)
      state[i] += add[i];
  }
}

#if defined(__x86_64__)
/** Intel SHA extensions: the state lives in two registers as ABEF and CDGH, sha256rnds2 does two rounds. */
__attribute__((target("sha,sse4.1"))) void compressShaNi(std::array<uint32_t, 8> &state, const uint8_t *block,
                                                         size_t count) {
  const __m128i bigEndian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i *>(state.data()));
  const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i *>(state.data() + 4));
  const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);

  for (; count > 0; count--, block += 64) {
    const __m128i abefBefore = abef, cdghBefore = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; i++)
      w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(block) + i), bigEndian);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
      const __m128i k = _mm_loadu_si128(reinterpret_cast<const __m128i *>(ROUND.data() + 4 * i));
      const __m128i sum = _mm_add_epi32(w[i & 3], k);
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
      if (i < 12) {
        const __m128i older = w[i & 3], old = w[(i + 1) & 3], recent = w[(i + 2) & 3], last = w[(i + 3) & 3];
        const __m128i mixed =
            _mm_add_epi32(_mm_sha256msg1_epu32(older, old), _mm_alignr_epi8(last, recent, 4));
        w[i & 3] = _mm_sha256msg2_epu32(mixed, last);
      }
    }
    abef = _mm_add_epi32(abef, abefBefore);
    cdgh = _mm_add_epi32(cdgh, cdghBefore);
  }

  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state.data()), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state.data() + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/** CPUID leaf 7, EBX bit 29; __builtin_cpu_supports does not know the name in older compilers. */
bool hasShaNi() {
  uint32_t a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return (b >> 29 & 1) != 0 && __builtin_cpu_supports("sse4.1");
}
#endif

} // namespace

std::string toHex(const Digest &digest) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += DIGITS[byte >> 4];
    text += DIGITS[byte & 15];
  }
  return text;
}

void Sha256::reset() {
  state_ = START;
  length_ = 0;
}

void Sha256::compress(const uint8_t *blocks, size_t count) {
#if defined(__x86_64__)
  static const bool fast = hasShaNi();
  if (fast)
    return compressShaNi(state_, blocks, count);
#endif
  compressPortable(state_, blocks, count);
}

void Sha256::update(std::span<const uint8_t> bytes) {
  const size_t held = length_ % 64;
  length_ += bytes.size();
  if (held > 0) {
    const size_t take = std::min(bytes.size(), 64 - held);
    std::copy_n(bytes.begin(), take, rest_.begin() + held);
    bytes = bytes.subspan(take);
    if (held + take < 64)
      return;
    compress(rest_.data(), 1);
  }
  compress(bytes.data(), bytes.size() / 64);
  const auto tail = bytes.last(bytes.size() % 64);
  std::copy(tail.begin(), tail.end(), rest_.begin());
}

Digest Sha256::finish() {
  const uint64_t bits = length_ * 8;
  std::array<uint8_t, 72> padding{0x80};
  const size_t zeros = (119 - length_ % 64) % 64 + 1;
  for (size_t i = 0; i < 8; i++)
    padding[zeros + i] = uint8_t(bits >> (56 - 8 * i));
  update(std::span(padding).first(zeros + 8));
  Digest digest;
  for (size_t i = 0; i < 8; i++)
    for (size_t j = 0; j < 4; j++)
      digest[4 * i + j] = uint8_t(state_[i] >> (24 - 8 * j));
  return digest;
}

} // namespace berth::squash
