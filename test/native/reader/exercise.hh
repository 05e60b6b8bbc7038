// SPDX-License-Identifier: Apache-2.0
/** What the fuzzer and the mutation test ask of any bytes: refuse them, or be able to read all that was
 * promised. */
#pragma once

#include <cstdint>
#include <span>
#include <string>

struct Exercise {
  bool verified = false;
  /** Not empty: verified, and yet not readable. */
  std::string contradiction;
};

/** Verifies, then reads everything, verified or not; small limits bound time and memory. */
Exercise exerciseImage(std::span<const uint8_t> image, unsigned threads);
