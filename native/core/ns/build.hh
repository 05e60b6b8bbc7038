// SPDX-License-Identifier: Apache-2.0
/** One user and one mount namespace for a step, built by a forked child and kept alive by descriptors only.
 */
#pragma once

#include "spec.hh"

#include <optional>

namespace berth {

struct BuildFailure {
  Error error;
  /** Index of the mount step that failed; -1: none of them. */
  int step = -1;
};

/**
 * Fills `built`. Blocks for milliseconds (a dead file server below a user's source: up to a minute, then
 * ETIMEDOUT); may run in several threads at once. Needs real root.
 */
std::optional<BuildFailure> buildNamespace(const NamespaceSpec &spec, BuiltNamespace &built);

} // namespace berth
