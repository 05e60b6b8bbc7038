// SPDX-License-Identifier: Apache-2.0
/** SHA-256 (FIPS 180-4) without a library: the addon must not carry a second OpenSSL beside Node's. */
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace berth::squash {

using Digest = std::array<uint8_t, 32>;

std::string toHex(const Digest &digest);

class Sha256 {
public:
  Sha256() { reset(); }
  void reset();
  void update(std::span<const uint8_t> bytes);
  Digest finish();

private:
  void compress(const uint8_t *blocks, size_t count);

  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> rest_;
  uint64_t length_;
};

} // namespace berth::squash
