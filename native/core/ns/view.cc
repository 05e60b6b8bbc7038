// SPDX-License-Identifier: Apache-2.0
#include "view.hh"

#include "filesystem.hh"
#include "kernel.hh"

#include <sched.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

namespace berth {

/** State files of engines are small; a user's own program may run in it too. */
constexpr const char *kViewBytesMax = "64m";

Result<Fd> openProgram(const ViewSpec &view) {
  if (view.program.empty())
    return Fd();
  Fd program(open(view.program.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program)
    return fail("open", view.program);
  return program;
}

static Result<> copyProgram(int root, const ViewSpec &view, int program) {
  if (program < 0)
    return Nothing{};
  // To be run and not to be read: nobody traces it, and it is no door to what the step's cgroup forbids.
  const Fd copy(openat(root, view.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0111));
  if (!copy)
    return fail("openat", view.name);
  off_t offset = 0;
  ssize_t got = 0;
  while ((got = sendfile(copy.get(), program, &offset, kernel::kSendfileMax)) > 0)
    ;
  return got < 0 ? Result<>(fail("sendfile", view.name)) : Nothing{};
}

/** One of the user's own. */
static Result<Fd> makeDirectory(int parent, const char *name, const Identity &user) {
  if (mkdirat(parent, name, 0700) < 0)
    return fail("mkdirat", name);
  Fd directory(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory || fchown(directory.get(), user.uid, user.gid) < 0)
    return fail("fchown", name);
  return directory;
}

static Result<> writeFiles(int work, const ViewSpec &view, const Identity &user) {
  for (const ViewSpec::File &file : view.files) {
    const Fd fd(openat(work, file.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd || fchown(fd.get(), user.uid, user.gid) < 0)
      return fail("openat", file.name);
    const auto size = static_cast<ssize_t>(file.content.size());
    if (TEMP_FAILURE_RETRY(write(fd.get(), file.content.data(), file.content.size())) != size)
      return fail("write", file.name);
  }
  return Nothing{};
}

static Result<> enterCopy(int job) {
  if (setns(job, CLONE_NEWNS) < 0)
    return fail("setns", "mount namespace of the job");
  if (unshare(CLONE_NEWNS) < 0)
    return fail("unshare", "mount namespace");
  if (mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) < 0)
    return fail("mount", "/");
  return Nothing{};
}

static Result<> hide(const std::string &path) {
  auto empty = makeFilesystem("tmpfs", {{"mode", "0555"}, {"size", "4k"}},
                              kernel::kAttrReadOnly | kernel::kAttrNoSuid | kernel::kAttrNoDev);
  if (!empty)
    return empty.error();
  if (kernel::moveMount(empty->get(), AT_FDCWD, path.c_str()) < 0 && errno != ENOENT)
    return fail("move_mount", path);
  return Nothing{};
}

Result<> makeView(const NamespaceSpec &spec, const Fd &root, int job, int program, ParentLink &parent) {
  if (auto copied = copyProgram(root.get(), *spec.view, program); !copied)
    return copied;
  if (auto entered = enterCopy(job); !entered)
    return entered;
  auto stage = makeFilesystem("tmpfs", {{"mode", "0755"}, {"size", kViewBytesMax}},
                              kernel::kAttrNoSuid | kernel::kAttrNoDev);
  if (!stage)
    return stage.error();
  if (kernel::moveMount(stage->get(), AT_FDCWD, spec.staging.c_str()) < 0)
    return fail("move_mount", spec.staging);
  if (mkdirat(stage->get(), "root", 0755) < 0)
    return fail("mkdirat", "root");
  if (kernel::moveMount(root.get(), stage->get(), "root") < 0)
    return fail("move_mount", "root");
  const auto work = makeDirectory(stage->get(), "work", spec.user);
  if (!work)
    return work.error();
  if (auto run = makeDirectory(stage->get(), "run", spec.user); !run)
    return run.error();
  if (auto written = writeFiles(work->get(), *spec.view, spec.user); !written)
    return written;
  for (const std::string &path : spec.view->hidden)
    if (auto hidden = hide(path); !hidden)
      return hidden;
  // In no namespace, so that the worker can mount it where a daemon sees it.
  const Fd copy = kernel::cloneTree(root.get(), false);
  if (!copy)
    return fail("open_tree", "root");
  parent.send(Report::kPrepared, copy.get());
  return Nothing{};
}

} // namespace berth
