// SPDX-License-Identifier: Apache-2.0
/** Reads small files back from the image just written: what /etc/passwd says after all layers, links and
 * whiteouts. */
#pragma once

#include <optional>
#include <string_view>

#include "tables.hh"

namespace berth::squash {

/** Follows symlinks within the image; nothing when the path is no file of up to `sizeMax` bytes. */
Result<std::optional<Bytes>> captureFile(const Tables::Parts &parts, std::string_view path, size_t sizeMax);

} // namespace berth::squash
