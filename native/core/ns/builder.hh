// SPDX-License-Identifier: Apache-2.0
/** What the forked child of a build does, in order: see run(). */
#pragma once

#include "child.hh"
#include "mounts.hh"
#include "pid_space.hh"
#include "rootfs.hh"
#include "userns.hh"

#include <fcntl.h>

namespace berth {

/** The child: tells every failure to the parent once and returns. */
class Builder {
public:
  /** Borrowed: an id map for the image or -1; an empty mount namespace; the first process of a pid namespace.
   */
  struct Tools {
    int idmap;
    int voidNs;
    int init;
  };
  Builder(const NamespaceSpec &spec, const IdMaps &maps, const Tools &tools, ParentLink &parent)
      : spec_(spec), maps_(maps), idmap_(tools.idmap), voidNs_(tools.voidNs), program_(tools.init),
        parent_(parent), parentPid_(getppid()),
        plan_(spec.mounts, spec.user, (spec.unshareFlags & CLONE_NEWIPC) != 0) {}

  void run();

private:
  Result<Rootfs> makeRoot(const Layers &layers);
  bool applyOn(const Rootfs &rootfs, std::vector<Made> &made);
  void report(const std::vector<Made> &made, int upper);
  Result<> enterJob();
  bool nested() const;
  Fd ownMounts() const { return Fd(openat(proc_.get(), "ns/mnt", O_RDONLY | O_CLOEXEC)); }
  Result<> beginPids(PidSpace &pids);
  Result<> becomeOwner();
  bool tell(const Result<> &done);
  bool tell(const std::optional<StepFailure> &failure);

  const NamespaceSpec &spec_;
  const IdMaps &maps_;
  int idmap_;
  int voidNs_;
  int program_;
  ParentLink &parent_;
  pid_t parentPid_;
  Fd proc_;
  MountPlan plan_;
};

} // namespace berth
