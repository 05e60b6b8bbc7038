// SPDX-License-Identifier: Apache-2.0
/** Extended attributes: every set of the id table, every pair in it, and the values that pairs share. */
#pragma once

#include "read_layout.hh"

namespace berth::unsquash {

void verifyXattrs(const Source &source, const Layout &layout, const Limits &limits);

} // namespace berth::unsquash
