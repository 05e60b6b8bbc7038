// SPDX-License-Identifier: Apache-2.0
#include "build.hh"

#include "child.hh"
#include "loopback.hh"
#include "mounts.hh"
#include "rootfs.hh"
#include "userns.hh"
#include "void.hh"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace berth {

/** A mount source may sit on a file server that answers late; a dead one must not hold the step for ever. */
constexpr int kWaitMsMax = 60'000;

/** The child: tells every failure to the parent once and returns. */
class Builder {
public:
  Builder(const NamespaceSpec &spec, const IdMaps &maps, int idmap, int voidNs, ParentLink &parent)
      : spec_(spec), maps_(maps), idmap_(idmap), voidNs_(voidNs), parent_(parent), parentPid_(getppid()),
        plan_(spec.mounts, spec.user, (spec.unshareFlags & CLONE_NEWIPC) != 0) {}

  void run();

private:
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
  auto layers = openLayers(spec_, idmap_);
  if (!layers)
    return parent_.failed(layers.error(), -1);
  if (!tell(enterJob()))
    return;
  if (!tell(openUserDirectory(spec_, idmap_, *layers)) ||
      !tell(plan_.openSources([this](const std::string &text) { parent_.note(text); })))
    return;
  // Leaving a mount namespace for the last time waits for RCU: its descriptor puts that off until after the
  // answer.
  if (!tell(enterVoid(voidNs_)))
    return;
  const Fd assembly = ownMounts();
  auto rootfs = assembleRoot(spec_, *layers);
  if (!rootfs)
    return parent_.failed(rootfs.error(), -1);
  if (!tell(plan_.writeFiles(rootfs->stage.get())) || !tell(enterVoid(voidNs_)) ||
      !tell(attachRoot(rootfs->root)))
    return;
  const Fd unlocked = ownMounts();
  const auto root = Root::at(rootfs->root.get(), spec_.user);
  if (!root)
    return parent_.failed(root.error(), -1);
  if (!tell(plan_.apply(root.value())) || !tell(enterRoot(rootfs->root, spec_.readonly)) ||
      !tell(becomeOwner()))
    return;
  if ((spec_.unshareFlags & CLONE_NEWNET) != 0 && !tell(raiseLoopback()))
    return;
  if (plan_.hasLateSteps() && !tell(plan_.applyLate()))
    return;
  parent_.send(Report::kDone);
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
 * Maps of a namespace below the job's user namespace can only be written from inside that one
 * (user_namespaces(7)): a further child, still root there, does it on the byte "go" and answers with its exit
 * status.
 */
Result<> Builder::startMapper(Mapper &mapper) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return fail("pipe2");
  const Fd reading(ends[0]);
  mapper.go = Fd(ends[1]);
  mapper.pid = fork();
  if (mapper.pid < 0)
    return fail("fork");
  if (mapper.pid > 0)
    return Nothing{};
  mapper.go.reset();
  char go = 0;
  if (TEMP_FAILURE_RETRY(read(reading.get(), &go, 1)) != 1)
    _exit(ECANCELED);
  const auto written = writeMaps(proc_.get(), maps_);
  _exit(written ? 0 : written.error().code);
}

Result<> Builder::finishMapper(Mapper &mapper) {
  int status = 0;
  if (write(mapper.go.get(), "", 1) != 1)
    return fail("write", "uid_map");
  if (TEMP_FAILURE_RETRY(waitpid(mapper.pid, &status, 0)) < 0)
    return fail("waitpid", "uid_map");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD, "write", "uid_map");
  return Nothing{};
}

/**
 * A second mount namespace, owned by the new user namespace: copying into a less privileged one locks every
 * mount and its flags (mount_namespaces(7)), so a task with all capabilities inside can neither unmount nor
 * remount them.
 */
Result<> Builder::becomeOwner() {
  const bool below = nested();
  Mapper mapper;
  if (below && setns(spec_.userNs, CLONE_NEWUSER) < 0)
    return fail("setns", "user namespace of the job");
  if (auto started = below ? startMapper(mapper) : Nothing{}; !started)
    return started;
  if (auto became = becomeUser(spec_.user, true); !became)
    return became;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS | spec_.unshareFlags) < 0)
    return fail("unshare", "user namespace");
  dieWithParent(parentPid_);
  if (below)
    return finishMapper(mapper);
  parent_.waitForParent();
  return Nothing{};
}

static Result<Fd> openNamespace(int proc, const char *name) {
  Fd ns(openat(proc, name, O_RDONLY | O_CLOEXEC));
  if (!ns)
    return fail("openat", name);
  return ns;
}

/** Only while the child lives: from then on the descriptors alone keep the namespaces. */
static Result<> collect(const NamespaceSpec &spec, int proc, BuiltNamespace &built) {
  const struct {
    const char *name;
    bool wanted;
    Fd &into;
  } rows[] = {
      {"ns/user", true, built.userNs},
      {"ns/mnt", true, built.mountNs},
      {"ns/net", (spec.unshareFlags & CLONE_NEWNET) != 0, built.netNs},
      {"ns/ipc", (spec.unshareFlags & CLONE_NEWIPC) != 0, built.ipcNs},
      {"ns/uts", (spec.unshareFlags & CLONE_NEWUTS) != 0, built.utsNs},
  };
  for (const auto &row : rows) {
    if (!row.wanted)
      continue;
    auto ns = openNamespace(proc, row.name);
    if (!ns)
      return ns.error();
    row.into = std::move(*ns);
  }
  return requireOwner(built.userNs.get(), spec.user.uid);
}

/** The parent's side of the talk: notes, then maps when asked for, then the descriptors. */
static std::optional<BuildFailure> supervise(Child &child, const NamespaceSpec &spec, const IdMaps &maps,
                                             BuiltNamespace &built) {
  const std::string path = "/proc/" + std::to_string(child.pid());
  const Fd proc(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc)
    return BuildFailure{fail("open", path)};
  for (;;) {
    auto report = child.receive(kWaitMsMax);
    if (!report)
      return BuildFailure{report.error()};
    switch (report->kind) {
    case Report::kNote:
      built.notes.push_back(report->error.message);
      break;
    case Report::kFailed:
      return BuildFailure{report->error, report->step};
    case Report::kReady:
      if (auto written = writeMaps(proc.get(), maps); !written)
        return BuildFailure{written.error()};
      if (auto went = child.proceed(); !went)
        return BuildFailure{went.error()};
      break;
    case Report::kDone:
      if (auto collected = collect(spec, proc.get(), built); !collected)
        return BuildFailure{collected.error()};
      return std::nullopt;
    }
  }
}

std::optional<BuildFailure> buildNamespace(const NamespaceSpec &spec, BuiltNamespace &built) {
  std::shared_ptr<Fd> idmap;
  if (spec.idmap) {
    auto made = imageIdmap(spec.user.uid, spec.user.gid);
    if (!made)
      return BuildFailure{made.error()};
    idmap = std::move(made).value();
  } else {
    built.notes.push_back(
        "files of root in the image appear as nobody's: this kernel cannot map their owner");
  }
  auto empty = voidNamespace(spec.staging);
  if (!empty)
    return BuildFailure{empty.error()};
  const IdMaps maps = containerMaps(spec);
  if (maps.groupsLeftOut > 0)
    built.notes.push_back(std::to_string(maps.groupsLeftOut) +
                          " groups of the user are not mapped: the kernel takes 340");
  auto child = Child::start([&](ParentLink &parent) {
    Builder(spec, maps, idmap ? idmap->get() : -1, empty.value()->get(), parent).run();
  });
  if (!child)
    return BuildFailure{child.error()};
  auto failure = supervise(*child, spec, maps, built);
  built.builder = std::make_shared<Child>(std::move(*child));
  return failure;
}

} // namespace berth
