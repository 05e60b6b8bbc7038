// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace berth::unsquash {

/**
 * Decompresses one LZO1X stream (kernel: Documentation/staging/lzo.rst, version 0), since enroot's images are
 * made so and liblzo2's licence does not fit. Length of the output; 0 when `in` is not exactly one stream or
 * does not fit.
 */
size_t unpackLzo(std::span<const uint8_t> in, std::span<uint8_t> out);

} // namespace berth::unsquash
