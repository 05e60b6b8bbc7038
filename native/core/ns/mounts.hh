// SPDX-License-Identifier: Apache-2.0
/**
 * The mount steps of a plan, in two passes: all sources are opened while the host's tree is still whole (and
 * with the user's rights), then all targets are made and covered in order.
 */
#pragma once

#include "apart.hh"
#include "spec.hh"
#include "target.hh"

#include <functional>

namespace berth {

using Note = std::function<void(const std::string &)>;

/** A failure of one step; `step` is its index. */
struct StepFailure {
  Error error;
  int step = -1;
};

class MountPlan {
public:
  /** Borrows both. */
  MountPlan(const std::vector<MountStep> &steps, const Identity &user, bool newIpc)
      : steps_(steps), user_(user), newIpc_(newIpc) {}

  /** Detached copies of all bind sources. Missing optional sources become notes. */
  std::optional<StepFailure> openSources(const Note &note);
  /** Writes the contents of files to the directory `stage`, which the user never sees, and copies of its
   * mount. */
  std::optional<StepFailure> writeFiles(int stage);
  /** Mounts everything on `root`, in order. */
  std::optional<StepFailure> apply(const Root &root);
  /** What only the finished namespace can have: a queue file system of a new ipc namespace, shared
   * propagation. */
  std::optional<StepFailure> applyLate();
  bool hasLateSteps() const;
  /** Where a /proc of the container's own pid namespace goes, which is mounted at the end (pid_space.hh). */
  std::string procTarget() const;

private:
  struct Source {
    Fd mount;
    /** Of a source that is copied. */
    std::string content;
    bool directory = false;
    bool skipped = false;
  };
  Result<Source> openSource(const MountStep &step, const Note &note) const;
  Result<Source> readSource(const MountStep &step, int found) const;
  Result<> applyStep(size_t index, const Root &root);
  Result<> makeDirectory(const MountStep &step, const Root &root);
  Result<> bind(const MountStep &step, Source &source, const Root &root) const;
  Result<> attach(const Fd &mount, const MountStep &step, mode_t type, const Root &root) const;
  Result<> mountTmpfs(const MountStep &step, const Root &root) const;
  Result<> mountTerminals(const MountStep &step, const Root &root) const;
  Result<> placeFile(size_t index, const Root &root) const;
  Result<> writePlain(const MountStep &step, const std::string &content, const Root &root) const;
  Result<Fd> writeFile(const MountStep &step, size_t index, int stage) const;
  Result<> mountQueue(const MountStep &step, const Root *root) const;
  Result<> propagate(const MountStep &step) const;

  const std::vector<MountStep> &steps_;
  const Identity &user_;
  bool newIpc_;
  std::vector<Source> sources_;
  Apart apart_;
};

} // namespace berth
