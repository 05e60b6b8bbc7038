// SPDX-License-Identifier: Apache-2.0
#include "process.hh"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <vector>

namespace berth {

/** Groups with ten thousands of members exist; beyond this the answer is broken. */
constexpr size_t kEntryBytesMax = 16u << 20;
constexpr size_t kEntryBytesFirst = 4096;
/** PF_EXITING of the kernel's sched.h. */
constexpr unsigned long long kExiting = 0x4;

/** Of /proc/PID/stat, by its number in proc(5), 4 or more. Nothing: there is no such process. */
static std::optional<unsigned long long> statField(pid_t pid, int wanted) {
  const Fd file(open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> text{};
  const ssize_t length = file ? read(file.get(), text.data(), text.size() - 1) : -1;
  if (length <= 0)
    return std::nullopt;
  // Field 2 is the name and may hold anything, also ") ": the last bracket ends it. Field 3 follows.
  const char *field = strrchr(text.data(), ')');
  for (int number = 2; field != nullptr && number < wanted; number++)
    field = strchr(field + 1, ' ');
  if (field == nullptr)
    return std::nullopt;
  return strtoull(field + 1, nullptr, 10);
}

unsigned long long processStart(pid_t pid) {
  constexpr int kStartField = 22;
  return statField(pid, kStartField).value_or(0);
}

bool isEnding(pid_t pid) {
  constexpr int kFlagsField = 9;
  const auto flags = statField(pid, kFlagsField);
  return !flags || (*flags & kExiting) != 0;
}

/** Calls a getXXX_r function with growing buffers. `ask` answers errno; entry is nullptr when there is none.
 */
template <typename Entry, typename Ask>
static Result<const Entry *> lookUp(std::vector<char> &buffer, Ask ask, const char *call) {
  for (buffer.resize(kEntryBytesFirst);; buffer.resize(buffer.size() * 2)) {
    const Entry *entry = nullptr;
    const int code = ask(buffer, &entry);
    // glibc documents these as further ways to say "not found" (getpwnam(3)).
    if (code == 0 || code == ENOENT || code == ESRCH || code == EBADF || code == EPERM)
      return entry;
    if (code != ERANGE || buffer.size() >= kEntryBytesMax)
      return fail(code, call);
  }
}

static std::optional<Account> toAccount(const passwd *entry) {
  if (entry == nullptr)
    return std::nullopt;
  return Account{entry->pw_name, entry->pw_uid, entry->pw_gid, entry->pw_dir, entry->pw_shell};
}

Result<std::optional<Account>> accountByUid(uid_t uid) {
  std::vector<char> buffer;
  passwd space;
  auto entry = lookUp<passwd>(
      buffer,
      [&](std::vector<char> &bytes, const passwd **into) {
        return getpwuid_r(uid, &space, bytes.data(), bytes.size(), const_cast<passwd **>(into));
      },
      "getpwuid_r");
  if (!entry)
    return entry.error();
  return toAccount(*entry);
}

Result<std::optional<Account>> accountByName(const std::string &name) {
  std::vector<char> buffer;
  passwd space;
  auto entry = lookUp<passwd>(
      buffer,
      [&](std::vector<char> &bytes, const passwd **into) {
        return getpwnam_r(name.c_str(), &space, bytes.data(), bytes.size(), const_cast<passwd **>(into));
      },
      "getpwnam_r");
  if (!entry)
    return entry.error();
  return toAccount(*entry);
}

Result<std::optional<std::string>> groupName(gid_t gid) {
  std::vector<char> buffer;
  group space;
  auto entry = lookUp<group>(
      buffer,
      [&](std::vector<char> &bytes, const group **into) {
        return getgrgid_r(gid, &space, bytes.data(), bytes.size(), const_cast<group **>(into));
      },
      "getgrgid_r");
  if (!entry)
    return entry.error();
  return *entry == nullptr ? std::optional<std::string>() : std::optional<std::string>((*entry)->gr_name);
}

} // namespace berth
