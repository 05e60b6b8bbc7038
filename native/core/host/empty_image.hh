// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace berth {

/** A whole squashfs 4.0 image (zstd) that holds nothing but a root directory of root's. */
std::string emptyImage();

} // namespace berth
