// SPDX-License-Identifier: Apache-2.0
#include "saver.hh"

#include "core/ns/userns.hh"

#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace berth {

/** Directories inside each other: one descriptor each while the upper is walked. */
constexpr size_t kDepthMax = 2000;
/** Where descriptors wait for their places, beyond all of these. */
constexpr int kFirstSpare = 64;
constexpr int kFirstPlace = 3;
constexpr const char *kOpaque = "trusted.overlay.opaque";

static bool isOpaque(int directory) {
  char value = 0;
  return fgetxattr(directory, kOpaque, &value, sizeof value) == 1 && value == 'y';
}

/** Names and one attribute of directories: no file of the user's is opened. */
class OpaqueWalk {
public:
  explicit OpaqueWalk(int list) : list_(list) {}
  Result<> walk(int directory, const std::string &path, size_t depth);

private:
  int list_;
};

Result<> OpaqueWalk::walk(int directory, const std::string &path, size_t depth) {
  if (depth > kDepthMax)
    return fail(ENAMETOOLONG, "openat", path, "directories are too deep inside each other");
  const int copy = fcntl(directory, F_DUPFD_CLOEXEC, kFirstPlace);
  const std::unique_ptr<DIR, int (*)(DIR *)> names(copy < 0 ? nullptr : fdopendir(copy), closedir);
  if (!names)
    return fail("fdopendir", path);
  for (;;) {
    errno = 0;
    const dirent *entry = readdir(names.get());
    if (entry == nullptr)
      return errno == 0 ? Result<>(Nothing{}) : fail("readdir", path);
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
      continue;
    const std::string below = path.empty() ? name : path + "/" + name;
    const Fd child(openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
      continue; // No directory, or gone meanwhile.
    if (!child) // One that is not seen would show again what was deleted.
      return fail("openat", below);
    if (isOpaque(child.get()) &&
        write(list_, below.c_str(), below.size() + 1) != static_cast<ssize_t>(below.size() + 1))
      return fail("write", "list of opaque directories");
    if (auto walked = walk(child.get(), below, depth + 1); !walked)
      return walked;
  }
}

/** Raw calls: the C library's would signal threads that exist only in the parent. */
static Result<> becomeUser(int userNs) {
  if (syscall(SYS_setgroups, 0, nullptr) < 0)
    return fail("setgroups");
  if (setns(userNs, CLONE_NEWUSER) < 0)
    return fail("setns", "user namespace");
  if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
    return fail("setresuid", "user namespace");
  return Nothing{};
}

static Result<> placeDescriptors(std::vector<int> fds) {
  for (int &fd : fds)
    if ((fd = fcntl(fd, F_DUPFD_CLOEXEC, kFirstSpare)) < 0)
      return fail("fcntl");
  for (size_t i = 0; i < fds.size(); i++)
    if (dup2(fds[i], kFirstPlace + static_cast<int>(i)) < 0)
      return fail("dup2");
  // Whatever else the worker has open: all of it, also what was opened without CLOEXEC.
  const auto first = static_cast<unsigned>(kFirstPlace + fds.size());
  constexpr long kCloseRange = 436;
  if (syscall(kCloseRange, first, ~0u, 0) < 0)
    for (unsigned fd = first; fd < 65536; fd++)
      (void)close(static_cast<int>(fd));
  return Nothing{};
}

static Result<> become(const SaverProgram &program, int userNs, pid_t parent) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  const int list = static_cast<int>(syscall(SYS_memfd_create, "opaque", 0u));
  if (list < 0)
    return fail("memfd_create");
  if (auto walked = OpaqueWalk(list).walk(program.fds[program.upper], "", 0); !walked)
    return walked;
  (void)lseek(list, 0, SEEK_SET);
  if (auto became = becomeUser(userNs); !became)
    return became;
  dieWithParent(parent);
  if (chdir("/") < 0)
    return fail("chdir", "/");
  umask(077);
  std::vector<int> fds = program.fds;
  fds.push_back(list);
  if (auto placed = placeDescriptors(std::move(fds)); !placed)
    return placed;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char *> argv;
  for (const std::string &word : program.argv)
    argv.push_back(const_cast<char *>(word.c_str()));
  argv.push_back(nullptr);
  char path[] = "PATH=/usr/bin:/bin", lang[] = "LANG=C.UTF-8";
  char *environment[] = {path, lang, nullptr};
  execve(argv[0], argv.data(), environment);
  return fail("execve", program.argv[0]);
}

static std::string quoted(const std::string &text) {
  std::string plain;
  for (const char c : text)
    plain += c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' ' ? '?' : c;
  return '"' + plain + '"';
}

Result<Child> startSaver(const SaverProgram &program) {
  auto userNs = imageIdmap(program.uid, program.gid);
  if (!userNs)
    return userNs.error();
  const int ns = (*userNs)->get();
  const pid_t parent = getpid();
  return Child::start([&](ParentLink &) {
    const auto failed = become(program, ns, parent);
    const Error &error = failed.error();
    const std::string text = error.message.empty() ? strerror(error.code) : error.message;
    const std::string answer = "{\"error\":" + std::to_string(error.code) +
                               ",\"syscall\":" + quoted(error.syscall) + ",\"path\":" + quoted(error.path) +
                               ",\"message\":" + quoted(text) + "}";
    // Nothing but execve comes after the descriptors have their places.
    const int socket = error.syscall == "execve" ? kFirstPlace : program.fds[0];
    (void)!write(socket, answer.data(), answer.size());
  });
}

} // namespace berth
