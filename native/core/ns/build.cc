// SPDX-License-Identifier: Apache-2.0
#include "build.hh"

#include "builder.hh"
#include "void.hh"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>

namespace berth {

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
      {"ns/user", !spec.view, built.userNs},
      {"ns/mnt", true, built.mountNs},
      {"ns/net", (spec.unshareFlags & CLONE_NEWNET) != 0, built.netNs},
      {"ns/ipc", (spec.unshareFlags & CLONE_NEWIPC) != 0, built.ipcNs},
      {"ns/uts", (spec.unshareFlags & CLONE_NEWUTS) != 0, built.utsNs},
      {"ns/pid_for_children", (spec.unshareFlags & CLONE_NEWPID) != 0, built.pidNs},
  };
  for (const auto &row : rows) {
    if (!row.wanted)
      continue;
    auto ns = openNamespace(proc, row.name);
    if (!ns)
      return ns.error();
    row.into = std::move(*ns);
  }
  return spec.view ? Nothing{} : requireOwner(built.userNs.get(), spec.user.uid);
}

std::optional<BuildFailure> Build::start(const NamespaceSpec &spec) {
  spec_ = spec;
  std::shared_ptr<Fd> idmap;
  if (spec.idmap) {
    auto made = imageIdmap(spec.user.uid, spec.user.gid);
    if (!made)
      return BuildFailure{made.error()};
    idmap = std::move(made).value();
  } else {
    built_.notes.push_back(
        "files of root in the image appear as nobody's: this kernel cannot map their owner");
  }
  auto empty = voidNamespace(spec.staging);
  if (!empty)
    return BuildFailure{empty.error()};
  std::shared_ptr<Fd> init;
  if ((spec.unshareFlags & CLONE_NEWPID) != 0) {
    auto program = unreadableProgram(spec.init);
    if (!program)
      return BuildFailure{program.error()};
    init = std::move(program).value();
  }
  maps_ = containerMaps(spec);
  if (maps_.groupsLeftOut > 0)
    built_.notes.push_back(
        std::to_string(maps_.groupsLeftOut) +
        " groups of the user have no number inside, as the kernel takes no longer map: they still count");
  auto child = Child::start([&](ParentLink &parent) {
    const Builder::Tools tools{idmap ? idmap->get() : -1, empty.value()->get(), init ? init->get() : -1};
    Builder(spec_, maps_, tools, parent).run();
  });
  if (!child)
    return BuildFailure{child.error()};
  child_ = std::make_shared<Child>(std::move(*child));
  const std::string path = "/proc/" + std::to_string(child_->pid());
  proc_ = Fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_)
    return BuildFailure{fail("open", path)};
  return std::nullopt;
}

bool Build::advance(int waitMsMax) {
  auto report = child_->receive(waitMsMax);
  if (!report)
    return finish(report.error());
  switch (report->kind) {
  case Report::kNote:
    built_.notes.push_back(report->error.message);
    return false;
  case Report::kFailed:
    return finish(report->error, report->step);
  case Report::kMade:
    built_.made.push_back({report->error.path, report->error.message});
    return false;
  case Report::kRoot:
    built_.rootNs = std::move(report->fd);
    return false;
  case Report::kPrepared:
    built_.prepared = std::move(report->fd);
    return false;
  case Report::kFirst:
    built_.first = report->step;
    built_.lease = std::move(report->fd);
    return false;
  case Report::kReady:
    if (auto written = writeMaps(proc_.get(), maps_); !written)
      return finish(written.error());
    if (auto went = child_->proceed(); !went)
      return finish(went.error());
    return false;
  case Report::kDone:
    built_.upper = std::move(report->fd);
    break;
  }
  auto collected = collect(spec_, proc_.get(), built_);
  return collected ? true : finish(collected.error());
}

bool Build::finish(Error error, int step) {
  failure_ = BuildFailure{std::move(error), step};
  return true;
}

std::optional<BuildFailure> buildNamespace(const NamespaceSpec &spec, BuiltNamespace &built) {
  Build build;
  if (auto failure = build.start(spec))
    return failure;
  while (!build.advance(kBuildWaitMsMax))
    ;
  built = std::move(build.built());
  return build.failure();
}

} // namespace berth
