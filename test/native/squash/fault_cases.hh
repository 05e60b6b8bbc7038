// SPDX-License-Identifier: Apache-2.0
/** Everything in native/core/squash that writes an image, each over inputs that need all its kinds of calls.
 */
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.hh"

namespace faults {

struct Case {
  std::string name;
  /** Writes into an empty file, opened read-write; answers its size. */
  std::function<berth::Result<uint64_t>(int out)> run;
  /** What `out` holds before; empty: nothing. */
  std::vector<uint8_t> before;
  bool byHand = false;
};

/** Inputs are made in `directory`, which is empty. */
std::vector<Case> makeCases(const std::string &directory);

} // namespace faults
