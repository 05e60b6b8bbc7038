// SPDX-License-Identifier: Apache-2.0
#include "content_hash.hh"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/random.h>

namespace berth::squash {
namespace {

using Wide = unsigned __int128;
constexpr uint64_t PRIME = (uint64_t{1} << 61) - 1;

uint64_t load(const uint8_t *bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t reduce(Wide value) {
  const uint64_t once = uint64_t(value & PRIME) + uint64_t(value >> 61 & PRIME) + uint64_t(value >> 122);
  const uint64_t twice = (once & PRIME) + (once >> 61);
  return twice >= PRIME ? twice - PRIME : twice;
}

uint64_t extend(uint64_t sum, uint64_t point, uint64_t word) { return reduce(Wide(sum) * point + word); }

} // namespace

HashKey::HashKey() {
  // Both calls are below 256 bytes or early in boot at worst short: getrandom then is asked again.
  const auto draw = [](void *to, size_t size) {
    auto *bytes = static_cast<uint8_t *>(to);
    while (size > 0) {
      const ssize_t got = getrandom(bytes, size, 0);
      if (got < 0)
        abort();
      bytes += got;
      size -= size_t(got);
    }
  };
  draw(key_.data(), sizeof key_);
  draw(point_.data(), sizeof point_);
  for (auto &point : point_)
    point = reduce(point);
}

ContentHash HashKey::hash(std::span<const uint8_t> bytes) const {
  uint64_t low = bytes.size(), high = bytes.size();
  std::array<uint8_t, WORDS * 8> last;
  while (!bytes.empty()) {
    const uint8_t *from = bytes.data();
    size_t size = std::min(bytes.size(), last.size());
    bytes = bytes.subspan(size);
    if (size % 32 != 0) {
      // Zero padding is safe: the length went into the sums first.
      std::memcpy(last.data(), from, size);
      const size_t padded = (size + 31) / 32 * 32;
      std::memset(last.data() + size, 0, padded - size);
      from = last.data();
      size = padded;
    }
    Wide even = 0, odd = 0;
    for (size_t i = 0; i < size / 8; i += 4) {
      even += Wide(load(from + 8 * i) + key_[i]) * (load(from + 8 * i + 8) + key_[i + 1]);
      odd += Wide(load(from + 8 * i + 16) + key_[i + 2]) * (load(from + 8 * i + 24) + key_[i + 3]);
    }
    const Wide sum = even + odd;
    for (int shift = 0; shift < 128; shift += 32) {
      const auto word = uint32_t(sum >> shift);
      low = extend(low, point_[0], word);
      high = extend(high, point_[1], word);
    }
  }
  return {low, high};
}

uint64_t HashKey::name(uint64_t salt, std::string_view text) const {
  const auto mix = [](uint64_t a, uint64_t b) {
    const Wide product = Wide(a) * b;
    return uint64_t(product) ^ uint64_t(product >> 64);
  };
  uint64_t sum = mix(salt ^ key_[0], text.size() ^ key_[1]);
  const auto *from = reinterpret_cast<const uint8_t *>(text.data());
  size_t left = text.size(), i = 2;
  for (; left >= 8; left -= 8, from += 8, i = i == WORDS - 2 ? 2 : i + 1)
    sum = mix(sum ^ key_[i], load(from) ^ key_[i + 1]);
  uint64_t word = 0;
  std::memcpy(&word, from, left);
  return mix(sum ^ key_[i], word ^ key_[WORDS - 1]);
}

bool allZero(std::span<const uint8_t> bytes) {
  if (bytes.empty() || bytes.front() != 0)
    return bytes.empty();
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

} // namespace berth::squash
