// SPDX-License-Identifier: Apache-2.0
#include "mounts.hh"

#include "filesystem.hh"
#include "flags.hh"
#include "kernel.hh"

#include <memory>
#include <sys/mount.h>
#include <sys/stat.h>

namespace berth {

using Kind = MountStep::Kind;
using Create = MountStep::Create;

/** Files of /etc are far smaller, time zones are a few KiB. */
constexpr off_t kCopySizeMax = 1 << 20;

static bool isDevice(const std::string &source, mode_t mode) {
  return S_ISCHR(mode) || S_ISBLK(mode) || source == "/dev" || source.starts_with("/dev/");
}

/** Copying a mount namespace makes shared mounts slaves and forgets unbindable ones: MS_… to set again, or 0.
 */
static uint64_t latePropagation(const MountStep &step) {
  const auto flags = parseFlags(step.flags, false);
  const uint64_t wanted = step.kind == Kind::bind && flags ? flags.value().propagation : 0;
  return wanted == MS_SHARED || wanted == MS_UNBINDABLE ? wanted : 0;
}

/** A target in the finished namespace: "/" is the container's root, links of the image cannot lead out of it.
 */
static Fd openFinished(const std::string &target) {
  return kernel::openAt(AT_FDCWD, target.c_str(), {O_PATH | O_CLOEXEC, 0, kernel::kResolveNoMagicLinks});
}

std::optional<StepFailure> MountPlan::openSources(const Note &note) {
  sources_.resize(steps_.size());
  for (size_t i = 0; i < steps_.size(); i++) {
    if (steps_[i].kind != Kind::bind)
      continue;
    auto source = openSource(steps_[i], note);
    if (!source)
      return StepFailure{source.error(), static_cast<int>(i)};
    sources_[i] = std::move(*source);
  }
  return std::nullopt;
}

/** A small file, opened anew for reading: by now the step may live without /proc. */
Result<MountPlan::Source> MountPlan::readSource(const MountStep &step, int found) const {
  struct stat before, now;
  const auto asUser = step.trusted ? nullptr : std::make_unique<FileIdentity>(user_);
  if (asUser && asUser->error() != 0)
    return fail(asUser->error(), "setfsuid", step.source);
  const Fd fd = kernel::openAt(AT_FDCWD, step.source.c_str(),
                               {O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, kernel::kResolveNoMagicLinks});
  if (!fd || fstat(fd.get(), &now) < 0 || fstat(found, &before) < 0)
    return fail("openat2", step.source);
  if (!S_ISREG(now.st_mode) || now.st_dev != before.st_dev || now.st_ino != before.st_ino ||
      now.st_size > kCopySizeMax)
    return fail(EINVAL, "openat2", step.source, "only a small file can be copied");
  Source source;
  source.content.resize(static_cast<size_t>(now.st_size));
  const ssize_t got = TEMP_FAILURE_RETRY(read(fd.get(), source.content.data(), source.content.size()));
  if (got < 0)
    return fail("read", step.source);
  source.content.resize(static_cast<size_t>(got));
  return source;
}

/** Magic links are refused: through /proc/self/fd a user could name the descriptors of the worker itself. */
Result<MountPlan::Source> MountPlan::openSource(const MountStep &step, const Note &note) const {
  Fd fd;
  {
    const auto asUser = step.trusted ? nullptr : std::make_unique<FileIdentity>(user_);
    if (asUser && asUser->error() != 0)
      return fail(asUser->error(), "setfsuid", step.source);
    fd = kernel::openAt(AT_FDCWD, step.source.c_str(), {O_PATH | O_CLOEXEC, 0, kernel::kResolveNoMagicLinks});
  }
  if (!fd && errno == ENOENT && step.optional) {
    note("mount skipped: " + step.source + " does not exist");
    return Source{Fd(), {}, false, true};
  }
  if (!fd)
    return fail("openat2", step.source);
  struct stat status;
  if (fstatat(fd.get(), "", &status, AT_EMPTY_PATH) < 0)
    return fail("fstatat", step.source);
  const auto flags = parseFlags(step.flags, isDevice(step.source, status.st_mode));
  if (!flags)
    return flags.error();
  if (step.plain)
    return readSource(step, fd.get());
  Source source;
  source.directory = S_ISDIR(status.st_mode);
  source.mount = kernel::cloneTree(fd.get(), step.recursive);
  if (!source.mount)
    return fail("open_tree", step.source);
  kernel::MountAttributes attributes;
  attributes.set = flags.value().attributes;
  // The copy of a shared mount is its peer: what is mounted in the container must never appear on the host.
  // Slaves still see what the host mounts later (autofs, Lustre). The rest is set at the end.
  const uint64_t wanted = flags.value().propagation;
  attributes.propagation = wanted == MS_SLAVE || wanted == MS_SHARED ? MS_SLAVE : MS_PRIVATE;
  if (kernel::setAttributes(source.mount.get(), attributes, step.recursive) < 0)
    return fail("mount_setattr", step.source);
  return source;
}

std::optional<StepFailure> MountPlan::apply(const Root &root) {
  for (size_t i = 0; i < steps_.size(); i++)
    if (auto done = applyStep(i, root); !done)
      return StepFailure{done.error(), static_cast<int>(i)};
  return std::nullopt;
}

Result<> MountPlan::makeDirectory(const MountStep &step, const Root &root) {
  auto directory = root.ensure(step.target, S_IFDIR, step.mode);
  Result<> done = Nothing{};
  if (!directory)
    done = directory.error();
  else if (step.writable)
    done = apart_.set(*directory, step.target, root);
  return step.optional ? Result<>(Nothing{}) : done;
}

Result<> MountPlan::applyStep(size_t index, const Root &root) {
  const MountStep &step = steps_[index];
  switch (step.kind) {
  case Kind::bind:
    return sources_[index].skipped ? Result<>(Nothing{}) : bind(step, sources_[index], root);
  case Kind::tmpfs:
    return mountTmpfs(step, root);
  case Kind::file:
    return placeFile(index, root);
  case Kind::symlink:
    return root.makeLink(step.target, step.content);
  case Kind::mqueue:
    // The queue file system belongs to the ipc namespace that its maker is in: a new one exists only at the
    // end.
    return newIpc_ ? makeDirectory(step, root) : mountQueue(step, &root);
  case Kind::devpts:
    return mountTerminals(step, root);
  case Kind::dir:
  case Kind::proc:
    return makeDirectory(step, root);
  case Kind::umount:
    return root.uncover(step.target);
  }
  return fail(EINVAL, "mount", step.target);
}

Result<> MountPlan::attach(const Fd &mount, const MountStep &step, mode_t type, const Root &root) const {
  if (step.replaceLink)
    if (auto removed = root.removeLink(step.target); !removed)
      return removed;
  auto target = step.create == Create::no ? root.find(step.target)
                                          : root.ensure(step.target, type, type == S_IFDIR ? 0755 : 0644);
  if (!target)
    return target.error();
  // The kernel says EINVAL for a directory on a file and for a file on a directory, as it does for much else.
  struct stat there {};
  if (fstat(target->get(), &there) == 0 && S_ISDIR(there.st_mode) != (type == S_IFDIR))
    return fail(type == S_IFDIR ? ENOTDIR : EISDIR, "move_mount", step.target);
  if (kernel::moveMount(mount.get(), target->get()) < 0)
    return fail("move_mount", step.target);
  return Nothing{};
}

Result<> MountPlan::bind(const MountStep &step, Source &source, const Root &root) const {
  if (step.plain)
    return writePlain(step, source.content, root);
  const bool directory =
      step.create == Create::any || step.create == Create::no ? source.directory : step.create == Create::dir;
  return attach(source.mount, step, directory ? S_IFDIR : S_IFREG, root);
}

static std::string octal(mode_t mode) {
  char text[8];
  snprintf(text, sizeof text, "%o", mode & 07777);
  return text;
}

Result<> MountPlan::mountTmpfs(const MountStep &step, const Root &root) const {
  const auto flags = parseFlags(step.flags, false);
  if (!flags)
    return flags.error();
  uint64_t attributes = flags.value().attributes;
  // The user's own options come after ours and win.
  std::vector<FsOption> options = {
      {"mode", octal(step.mode)}, {"uid", std::to_string(user_.uid)}, {"gid", std::to_string(user_.gid)}};
  for (FsOption &option : splitOptions(step.options))
    if (!option.value.empty() || !addAttribute(option.key, attributes))
      options.push_back(std::move(option));
  auto mount = makeFilesystem("tmpfs", options, attributes);
  if (!mount)
    return mount.error();
  return attach(*mount, step, S_IFDIR, root);
}

static Result<> writeAll(int fd, const std::string &content, const std::string &object) {
  for (size_t done = 0; done < content.size();) {
    const ssize_t wrote = TEMP_FAILURE_RETRY(write(fd, content.data() + done, content.size() - done));
    if (wrote < 0)
      return fail("write", object);
    done += static_cast<size_t>(wrote);
  }
  return Nothing{};
}

Result<Fd> MountPlan::writeFile(const MountStep &step, size_t index, int stage) const {
  const std::string name = "file" + std::to_string(index);
  const Fd file(openat(stage, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, step.mode));
  if (!file)
    return fail("openat", step.target);
  if (auto written = writeAll(file.get(), step.content, step.target); !written)
    return written.error();
  if (fchown(file.get(), user_.uid, user_.gid) < 0)
    return fail("fchown", step.target);
  Fd mount = kernel::cloneTree(file.get(), false);
  if (!mount)
    return fail("open_tree", step.target);
  kernel::MountAttributes attributes;
  attributes.set = kernel::kAttrReadOnly | kernel::kAttrNoSuid | kernel::kAttrNoDev;
  if (kernel::setAttributes(mount.get(), attributes, false) < 0)
    return fail("mount_setattr", step.target);
  return mount;
}

/** A file that packages replace by rename(2) cannot be a mount point: that one is of the root itself. */
Result<> MountPlan::placeFile(size_t index, const Root &root) const {
  const MountStep &step = steps_[index];
  const std::string directory = step.target.substr(0, step.target.rfind('/'));
  if (step.optional && !root.find(directory))
    return Nothing{};
  if (!step.plain)
    return attach(sources_[index].mount, step, S_IFREG, root);
  return writePlain(step, step.content, root);
}

Result<> MountPlan::writePlain(const MountStep &step, const std::string &content, const Root &root) const {
  auto file = root.replaceFile(step.target, step.kind == Kind::file ? step.mode : 0644, content);
  if (!file)
    return file.error();
  return writeAll(file->get(), content, step.target);
}

/** Terminals of its own: the host's instance would be found by way of its ptmx. */
Result<> MountPlan::mountTerminals(const MountStep &step, const Root &root) const {
  const auto flags = parseFlags(step.flags, true);
  if (!flags)
    return flags.error();
  auto mount = makeFilesystem("devpts", {{"ptmxmode", "0666"}, {"mode", "0620"}}, flags.value().attributes);
  if (!mount)
    return mount.error();
  return attach(*mount, step, S_IFDIR, root);
}

std::optional<StepFailure> MountPlan::writeFiles(int stage) {
  for (size_t i = 0; i < steps_.size(); i++) {
    if (steps_[i].kind != Kind::file || steps_[i].plain)
      continue;
    auto mount = writeFile(steps_[i], i, stage);
    if (!mount)
      return StepFailure{mount.error(), static_cast<int>(i)};
    sources_[i].mount = std::move(*mount);
  }
  return std::nullopt;
}

Result<> MountPlan::mountQueue(const MountStep &step, const Root *root) const {
  const auto flags = parseFlags(step.flags, false);
  if (!flags)
    return flags.error();
  auto mount = makeFilesystem("mqueue", {}, flags.value().attributes);
  if (!mount)
    return mount.error();
  if (root != nullptr)
    return attach(*mount, step, S_IFDIR, *root);
  const Fd target = openFinished(step.target);
  if (!target || kernel::moveMount(mount->get(), target.get()) < 0)
    return fail("move_mount", step.target);
  return Nothing{};
}

Result<> MountPlan::propagate(const MountStep &step) const {
  const Fd target = openFinished(step.target);
  kernel::MountAttributes attributes;
  attributes.propagation = latePropagation(step);
  if (!target || kernel::setAttributes(target.get(), attributes, step.recursive) < 0)
    return fail("mount_setattr", step.target);
  return Nothing{};
}

bool MountPlan::hasLateSteps() const {
  for (size_t i = 0; i < steps_.size(); i++)
    if ((steps_[i].kind == Kind::mqueue && newIpc_) || latePropagation(steps_[i]) != 0)
      return true;
  return false;
}

std::string MountPlan::procTarget() const {
  for (const MountStep &step : steps_)
    if (step.kind == Kind::proc)
      return step.target;
  return "/proc";
}

std::optional<StepFailure> MountPlan::applyLate() {
  for (size_t i = 0; i < steps_.size(); i++) {
    Result<> done = Nothing{};
    if (steps_[i].kind == Kind::mqueue && newIpc_)
      done = mountQueue(steps_[i], nullptr);
    else if (latePropagation(steps_[i]) != 0 && !sources_[i].skipped)
      done = propagate(steps_[i]);
    if (!done)
      return StepFailure{done.error(), static_cast<int>(i)};
  }
  return std::nullopt;
}

} // namespace berth
