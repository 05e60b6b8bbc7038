// SPDX-License-Identifier: Apache-2.0
/** What the forked child of a build does, in order: see run(). */
#pragma once

#include "child.hh"
#include "mounts.hh"
#include "rootfs.hh"
#include "userns.hh"

#include <fcntl.h>

namespace berth {

/** The child: tells every failure to the parent once and returns. */
class Builder {
public:
  Builder(const NamespaceSpec &spec, const IdMaps &maps, int idmap, int voidNs, ParentLink &parent)
      : spec_(spec), maps_(maps), idmap_(idmap), voidNs_(voidNs), parent_(parent), parentPid_(getppid()),
        plan_(spec.mounts, spec.user, (spec.unshareFlags & CLONE_NEWIPC) != 0) {}

  void run();

private:
  Result<Rootfs> makeRoot(const Layers &layers);
  bool applyOn(const Rootfs &rootfs, std::vector<Made> &made);
  void report(const std::vector<Made> &made, int upper);
  Result<> enterJob();
  struct Mapper {
    pid_t pid = -1;
    Fd go;
  };
  bool nested() const;
  Fd ownMounts() const { return Fd(openat(proc_.get(), "ns/mnt", O_RDONLY | O_CLOEXEC)); }
  Result<> startMapper(Mapper &mapper);
  static Result<> finishMapper(Mapper &mapper);
  Result<> becomeOwner();
  bool tell(const Result<> &done);
  bool tell(const std::optional<StepFailure> &failure);

  const NamespaceSpec &spec_;
  const IdMaps &maps_;
  int idmap_;
  int voidNs_;
  ParentLink &parent_;
  pid_t parentPid_;
  Fd proc_;
  MountPlan plan_;
};

} // namespace berth
