// SPDX-License-Identifier: Apache-2.0
#include "target.hh"

#include "core/squash/sha256.hh"
#include "kernel.hh"

#include <climits>
#include <deque>
#include <memory>
#include <sys/mount.h>

namespace berth {

/** As the kernel's own bound on links in one look-up (path_resolution(7)). */
constexpr int kLinksMax = 40;
constexpr uint64_t kInside = kernel::kResolveInRoot | kernel::kResolveNoMagicLinks;

using Parts = std::deque<std::string>;

static Parts split(const std::string &path) {
  Parts parts;
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    std::string part = path.substr(start, end - start);
    if (!part.empty() && part != ".")
      parts.push_back(std::move(part));
    start = end + 1;
  }
  return parts;
}

/** The kernel would stop at the root silently; pyxis users expect "Invalid cross-device link". */
static Result<> refuseEscape(const std::string &target) {
  int depth = 0;
  for (const std::string &part : split(target)) {
    depth += part == ".." ? -1 : 1;
    if (depth < 0)
      return fail(EXDEV, "openat2", target);
  }
  if (target.empty() || target.front() != '/' || depth == 0)
    return fail(EINVAL, "openat2", target, "a mount target is an absolute path below /");
  return Nothing{};
}

Result<Root> Root::at(int fd, int own, const Identity &user) {
  struct stat status;
  if (fstatat(own, "", &status, AT_EMPTY_PATH) < 0)
    return fail("fstatat", "/");
  return Root(fd, user, status.st_dev);
}

/** Directories of an overlay all carry its own device number, and no other mount has that. */
bool Root::owns(int directory) const {
  struct stat status;
  return fstatat(directory, "", &status, AT_EMPTY_PATH) == 0 && status.st_dev == device_;
}

Result<Fd> Root::find(const std::string &target) const {
  if (auto inside = refuseEscape(target); !inside)
    return inside.error();
  Fd fd = kernel::openAt(fd_, target.c_str(), {O_PATH | O_CLOEXEC, 0, kInside});
  if (!fd)
    return fail("openat2", target);
  return fd;
}

Result<Fd> Root::ensure(const std::string &target, mode_t type, mode_t mode) const {
  auto found = find(target);
  if (found || found.error().code != ENOENT)
    return found;
  return walk(target, type, mode);
}

/** ".." in it leads up from real directories: all links were followed before. */
void Root::record(const std::string &path, std::string_view content) const {
  if (made_ == nullptr)
    return;
  Parts real;
  for (const std::string &part : split(path)) {
    if (part != "..")
      real.push_back(part);
    else if (!real.empty())
      real.pop_back();
  }
  std::string joined;
  for (const std::string &part : real)
    joined += (joined.empty() ? "" : "/") + part;
  squash::Sha256 sum;
  sum.update({reinterpret_cast<const uint8_t *>(content.data()), content.size()});
  made_->push_back({joined, content.empty() ? "" : squash::toHex(sum.finish())});
}

Result<> Root::make(int parent, const std::string &name, mode_t type, mode_t mode,
                    const std::string &path) const {
  const bool own = owns(parent);
  const auto asUser = own ? nullptr : std::make_unique<FileIdentity>(*user_);
  if (asUser && asUser->error() != 0)
    return fail(asUser->error(), "setfsuid", name);
  const int made = type == S_IFDIR ? mkdirat(parent, name.c_str(), mode)
                                   : mknodat(parent, name.c_str(), S_IFREG | mode, 0);
  if (made < 0 && errno != EEXIST)
    return fail(type == S_IFDIR ? "mkdirat" : "mknodat", name);
  if (made == 0 && own && fchownat(parent, name.c_str(), user_->uid, user_->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail("fchownat", name);
  if (made == 0 && own)
    record(path, {});
  return Nothing{};
}

Result<Fd> Root::walk(const std::string &target, mode_t type, mode_t mode, std::string *found) const {
  Parts todo = split(target);
  std::string done;
  Fd here = kernel::openAt(fd_, ".", {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, kInside});
  for (int links = 0; here && !todo.empty();) {
    const std::string name = todo.front();
    todo.pop_front();
    const std::string next = done + "/" + name;
    Fd there = kernel::openAt(fd_, next.c_str(), {O_PATH | O_CLOEXEC, 0, kInside});
    if (!there && errno != ENOENT)
      return fail("openat2", target);
    char link[PATH_MAX];
    const ssize_t length = there ? -1 : readlinkat(here.get(), name.c_str(), link, sizeof link);
    if (length > 0) {
      if (++links > kLinksMax)
        return fail(ELOOP, "openat2", target);
      const Parts through = split(std::string(link, static_cast<size_t>(length)));
      todo.insert(todo.begin(), through.begin(), through.end());
      if (link[0] == '/') {
        done.clear();
        here = kernel::openAt(fd_, ".", {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, kInside});
      }
      continue;
    }
    if (!there) {
      if (auto made = make(here.get(), name, todo.empty() ? type : S_IFDIR, todo.empty() ? mode : 0755, next);
          !made)
        return fail(made.error().code, made.error().syscall.c_str(), target);
      there = kernel::openAt(
          here.get(), name.c_str(),
          {O_PATH | O_CLOEXEC | O_NOFOLLOW, 0, kernel::kResolveBeneath | kernel::kResolveNoMagicLinks});
      if (!there)
        return fail("openat2", target);
    }
    done = next;
    here = std::move(there);
  }
  if (!here)
    return fail("openat2", target);
  if (found != nullptr)
    *found = done;
  return here;
}

Result<Root::Place> Root::placeOf(const std::string &target) const {
  if (auto inside = refuseEscape(target); !inside)
    return inside.error();
  Parts parts = split(target);
  Place place;
  place.name = parts.back();
  if (place.name == "..")
    return fail(EINVAL, "openat2", target);
  parts.pop_back();
  std::string directory;
  for (const std::string &part : parts)
    directory += "/" + part;
  if (parts.empty())
    place.parent = kernel::openAt(fd_, ".", {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, kInside});
  else if (auto parent = made_ == nullptr ? ensure(directory, S_IFDIR, 0755)
                                          : walk(directory, S_IFDIR, 0755, &place.path);
           parent)
    place.parent = std::move(*parent);
  else
    return parent.error();
  if (!place.parent)
    return fail("openat2", target);
  place.path += "/" + place.name;
  return place;
}

Result<> Root::removeLink(const std::string &target) const {
  auto place = placeOf(target);
  if (!place)
    return place.error();
  struct stat status;
  const int parent = place->parent.get();
  if (fstatat(parent, place->name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(status.st_mode) ||
      !owns(parent))
    return Nothing{};
  if (unlinkat(parent, place->name.c_str(), 0) < 0)
    return fail("unlinkat", target);
  return Nothing{};
}

Result<Fd> Root::replaceFile(const std::string &target, mode_t mode, const std::string &content) const {
  auto place = placeOf(target);
  if (!place)
    return place.error();
  const int parent = place->parent.get();
  const char *name = place->name.c_str();
  const bool own = owns(parent);
  const auto asUser = own ? nullptr : std::make_unique<FileIdentity>(*user_);
  if (asUser && asUser->error() != 0)
    return fail(asUser->error(), "setfsuid", target);
  int unlinked = unlinkat(parent, name, 0);
  // An engine may have mounted a file of its own there.
  if (unlinked < 0 && errno == EBUSY) {
    if (auto uncovered = uncover(target); !uncovered)
      return uncovered.error();
    unlinked = unlinkat(parent, name, 0);
  }
  if (unlinked < 0 && errno != ENOENT)
    return fail("unlinkat", target);
  Fd file(openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file)
    return fail("openat", target);
  if (own && fchown(file.get(), user_->uid, user_->gid) < 0)
    return fail("fchown", target);
  if (own)
    record(place->path, content);
  return file;
}

Result<> Root::uncover(const std::string &target) const {
  auto place = placeOf(target);
  if (!place)
    return place.error();
  if (fchdir(place->parent.get()) < 0)
    return fail("fchdir", target);
  if (umount2(place->name.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
    return fail("umount2", target);
  return Nothing{};
}

Result<> Root::makeLink(const std::string &target, const std::string &to) const {
  auto place = placeOf(target);
  if (!place)
    return place.error();
  const int parent = place->parent.get();
  const char *name = place->name.c_str();
  if (!owns(parent)) {
    const FileIdentity asUser(*user_);
    if (asUser.error() != 0)
      return fail(asUser.error(), "setfsuid", target);
    if (symlinkat(to.c_str(), parent, name) < 0)
      return fail("symlinkat", target);
    return Nothing{};
  }
  // One that is right already may be in use by another container on the same root.
  char there[PATH_MAX];
  const ssize_t length = readlinkat(parent, name, there, sizeof there);
  if (length >= 0 && std::string_view(there, static_cast<size_t>(length)) == to) {
    record(place->path, to);
    return Nothing{};
  }
  int linked = symlinkat(to.c_str(), parent, name);
  if (linked < 0 && errno == EEXIST && unlinkat(parent, name, 0) == 0)
    linked = symlinkat(to.c_str(), parent, name);
  if (linked < 0)
    return fail("symlinkat", target);
  if (fchownat(parent, name, user_->uid, user_->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail("fchownat", target);
  record(place->path, to);
  return Nothing{};
}

} // namespace berth
