// SPDX-License-Identifier: Apache-2.0
#include "builder.hh"

#include "loopback.hh"
#include "mounts.hh"
#include "rootfs.hh"
#include "view.hh"
#include "void.hh"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

namespace berth {

bool Builder::tell(const Result<> &done) {
  if (!done)
    parent_.failed(done.error(), -1);
  return done.ok();
}

bool Builder::tell(const std::optional<StepFailure> &failure) {
  if (failure)
    parent_.failed(failure->error, failure->step);
  return !failure;
}

void Builder::run() {
  umask(0);
  const bool own = spec_.rootNs < 0 && !spec_.engine;
  auto layers = own ? openLayers(spec_, idmap_) : Result<Layers>(Layers{});
  if (!layers)
    return parent_.failed(layers.error(), -1);
  auto program = spec_.view ? openProgram(*spec_.view) : Result<Fd>(Fd());
  if (!program)
    return parent_.failed(program.error(), -1);
  if (!tell(enterJob()))
    return;
  const Fd job = ownMounts();
  if (!tell(own ? openUserDirectory(spec_, *layers) : Nothing{}) ||
      !tell(plan_.openSources([this](const std::string &text) { parent_.note(text); })))
    return;
  // Leaving a mount namespace for the last time waits for RCU: its descriptor puts that off until after the
  // answer.
  if (!tell(enterVoid(voidNs_)))
    return;
  const Fd assembly = ownMounts();
  auto rootfs = makeRoot(*layers);
  if (!rootfs)
    return parent_.failed(rootfs.error(), -1);
  if (spec_.keepRoot && !spec_.engine)
    parent_.send(Report::kRoot, assembly.get());
  const Fd upper(own && spec_.keepUpper && spec_.upperDir.empty()
                     ? openat(rootfs->stage.get(), upperIn(spec_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                     : -1);
  std::vector<Made> made;
  if (spec_.view) {
    if (applyOn(*rootfs, made) && tell(makeView(spec_, rootfs->root, job.get(), program->get(), parent_)))
      report(made, upper.get());
    return;
  }
  if (!tell(plan_.writeFiles(rootfs->stage.get())) || !tell(enterVoid(voidNs_)) ||
      !tell(attachRoot(rootfs->root)))
    return;
  const Fd unlocked = ownMounts();
  if (!applyOn(*rootfs, made) || !tell(enterRoot(rootfs->root, spec_.readonly)))
    return;
  const bool ownPids = (spec_.unshareFlags & CLONE_NEWPID) != 0;
  PidSpace pids;
  if (ownPids && !tell(pids.prepare(proc_.get(), plan_.procTarget())))
    return;
  if (!tell(becomeOwner()) || (ownPids && !tell(beginPids(pids))))
    return;
  if ((spec_.unshareFlags & CLONE_NEWNET) != 0 && !tell(raiseLoopback()))
    return;
  if (plan_.hasLateSteps() && !tell(plan_.applyLate()))
    return;
  report(made, upper.get());
}

Result<> Builder::beginPids(PidSpace &pids) {
  auto lease = pids.begin({program_, spec_.insideUid, spec_.insideGid});
  if (!lease)
    return lease.error();
  parent_.first(pids.first(), lease->get());
  return Nothing{};
}

Result<Rootfs> Builder::makeRoot(const Layers &layers) {
  if (spec_.engine)
    return adoptRoot(spec_, voidNs_);
  return spec_.rootNs >= 0 ? shareRoot(spec_, voidNs_) : assembleRoot(spec_, layers);
}

bool Builder::applyOn(const Rootfs &rootfs, std::vector<Made> &made) {
  // Only what is certainly berth's own is changed with root's rights: in an engine's namespace its user may
  // have put anything at "/".
  auto root =
      Root::at(rootfs.root.get(), spec_.engine ? spec_.engine->prepared : rootfs.root.get(), spec_.user);
  if (!root) {
    parent_.failed(root.error(), -1);
    return false;
  }
  if (spec_.keepUpper)
    root->recordTo(made);
  return tell(plan_.apply(root.value()));
}

void Builder::report(const std::vector<Made> &made, int upper) {
  for (const Made &one : made)
    parent_.made(one.path, one.digest);
  parent_.send(Report::kDone, upper);
  parent_.waitForEnd();
}

Result<> Builder::enterJob() {
  // The job's /proc may not show this process, or not be mounted at the end.
  proc_ = Fd(open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_)
    return fail("open", "/proc/self");
  if (spec_.mountNs >= 0 && setns(spec_.mountNs, CLONE_NEWNS) < 0)
    return fail("setns", "mount namespace of the job");
  return Nothing{};
}

bool Builder::nested() const {
  struct stat own, other;
  return spec_.userNs >= 0 && fstatat(proc_.get(), "ns/user", &own, 0) == 0 &&
         fstat(spec_.userNs, &other) == 0 && own.st_ino != other.st_ino;
}

/**
 * A second mount namespace, owned by the new user namespace: copying into a less privileged one locks every
 * mount and its flags (mount_namespaces(7)), so a task with all capabilities inside can neither unmount nor
 * remount them.
 */
Result<> Builder::becomeOwner() {
  const bool below = nested();
  // Maps of a namespace below the job's user namespace can only be written from inside that one
  // (user_namespaces(7)), by one who is still root there.
  Standby mapper;
  if (below && setns(spec_.userNs, CLONE_NEWUSER) < 0)
    return fail("setns", "user namespace of the job");
  if (auto started = below ? mapper.start([this] { return writeMaps(proc_.get(), maps_); }) : Nothing{};
      !started)
    return started;
  if (auto became = actAsOwner(spec_.user); !became)
    return became;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS | spec_.unshareFlags) < 0)
    return fail("unshare", "user namespace");
  dieWithParent(parentPid_);
  if (below)
    return mapper.finish("write", "uid_map");
  parent_.waitForParent();
  return Nothing{};
}

} // namespace berth
