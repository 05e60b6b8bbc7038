// SPDX-License-Identifier: Apache-2.0
/**
 * Equality of file contents at memory speed. Universal hashing with a key drawn per process: NH over 64-bit
 * words (Black et al., "UMAC", CRYPTO 1999: two different messages of one length collide with probability
 * 2^-64), its results folded by polynomials modulo 2^61-1. Who made an image cannot know the key, so cannot
 * build a collision; the key never reaches the output, where only equal/unequal shows.
 */
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace berth::squash {

struct ContentHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const ContentHash &) const = default;
};

class HashKey {
public:
  HashKey();
  ContentHash hash(std::span<const uint8_t> bytes) const;
  /** For table lookups of names, salted so that a hostile list of names cannot make them slow. */
  uint64_t name(uint64_t salt, std::string_view text) const;

private:
  /** 2 KiB of message a key: long enough that folding costs nothing, short enough for the first cache. */
  static constexpr size_t WORDS = 256;
  std::array<uint64_t, WORDS> key_;
  std::array<uint64_t, 2> point_;
};

/** True when all bytes are zero. */
bool allZero(std::span<const uint8_t> bytes);

} // namespace berth::squash
