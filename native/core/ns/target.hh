// SPDX-License-Identifier: Apache-2.0
/**
 * Targets of mounts inside the container's root: found and made without ever leaving it. Names come from
 * users and links from images, so every look-up is openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) from the
 * root's own fd.
 */
#pragma once

#include "spec.hh"

#include <string>
#include <sys/stat.h>

namespace berth {

class Root {
public:
  /**
   * Borrows `fd` (the root directory) and `user`. Root's own file system, which is changed with root's
   * rights, is the one that `own` is on.
   */
  static Result<Root> at(int fd, int own, const Identity &user);
  /** From now on what is made on the root's own file system is remembered there. */
  void recordTo(std::vector<Made> &made) { made_ = &made; }

  int fd() const { return fd_; }
  /** Whether that directory is on the root's own file system. */
  bool owns(int directory) const;
  /** O_PATH of what is at `target` (the mount on top), links followed. EXDEV when ".." leads above the root.
   */
  Result<Fd> find(const std::string &target) const;
  /**
   * As find, and makes what is missing: directories on the way, the last part as `type` (S_IFDIR or S_IFREG).
   * What lies on the root's own file system is made by root and given to the user; below other mounts (a
   * user's home, say) it is made with the user's own rights. A dangling link is followed and its end made.
   */
  Result<Fd> ensure(const std::string &target, mode_t type, mode_t mode) const;
  /** Removes a symbolic link at `target` itself, if there is one on the root's own file system. */
  Result<> removeLink(const std::string &target) const;
  /** A new empty file of the user's at `target`, in place of a file or link; opened to write `content`. */
  Result<Fd> replaceFile(const std::string &target, mode_t mode, const std::string &content) const;
  /** symlink(to, target): replaces a link or a file of the image, not a directory. */
  Result<> makeLink(const std::string &target, const std::string &to) const;

  /** Detaches the mount at `target`; EINVAL when there is none. */
  Result<> uncover(const std::string &target) const;

private:
  Root(int fd, const Identity &user, dev_t device) : fd_(fd), user_(&user), device_(device) {}
  struct Place {
    Fd parent;
    std::string name;
    /** Without links; only known while things are recorded. */
    std::string path;
  };
  Result<Place> placeOf(const std::string &target) const;
  Result<> make(int parent, const std::string &name, mode_t type, mode_t mode, const std::string &path) const;
  /** `found`: the path without links. */
  Result<Fd> walk(const std::string &target, mode_t type, mode_t mode, std::string *found = nullptr) const;
  void record(const std::string &path, std::string_view content) const;

  int fd_;
  const Identity *user_;
  dev_t device_;
  std::vector<Made> *made_ = nullptr;
};

} // namespace berth
