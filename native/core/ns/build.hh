// SPDX-License-Identifier: Apache-2.0
/** One user and one mount namespace for a step, built by a forked child and kept alive by descriptors only.
 */
#pragma once

#include "child.hh"
#include "userns.hh"

#include <memory>
#include <optional>

namespace berth {

/** A mount source may sit on a file server that answers late; a dead one must not hold the step for ever. */
constexpr int kBuildWaitMsMax = 60'000;

struct BuildFailure {
  Error error;
  /** Index of the mount step that failed; -1: none of them. */
  int step = -1;
};

/**
 * The parent's side: notes, then maps when asked for, then the descriptors. Waiting is the caller's, on an
 * event loop: a user's dead file server then costs a child process and no thread. Needs real root.
 */
class Build {
public:
  /** Forks; milliseconds. Several may run at once. */
  std::optional<BuildFailure> start(const NamespaceSpec &spec);
  /** Readable when advance() has something to do. */
  int fd() const { return child_->fd(); }
  /** Takes one report; true when all is done: failure(), or built(). ETIMEDOUT when none comes in time. */
  bool advance(int waitMsMax);

  const std::optional<BuildFailure> &failure() const { return failure_; }
  BuiltNamespace &built() { return built_; }
  /** Dropping it kills and reaps the child, which takes about as long as the building did. */
  std::shared_ptr<Child> takeChild() { return std::move(child_); }

private:
  bool finish(Error error, int step = -1);

  NamespaceSpec spec_;
  IdMaps maps_;
  std::shared_ptr<Child> child_;
  Fd proc_;
  BuiltNamespace built_;
  std::optional<BuildFailure> failure_;
};

/** All of it at once, blocking. */
std::optional<BuildFailure> buildNamespace(const NamespaceSpec &spec, BuiltNamespace &built);

} // namespace berth
