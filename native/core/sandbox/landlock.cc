// SPDX-License-Identifier: Apache-2.0
#include "landlock.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace berth {

/* Numbers and bits of linux/landlock.h, which older distributions lack. */
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr uint64_t kReadFile = 1u << 2, kReadDirectory = 1u << 3;
constexpr uint64_t kBindTcp = 1, kConnectTcp = 2;

struct RulesetAttributes {
  uint64_t files;
  uint64_t network;
};

struct __attribute__((packed)) PathRule {
  uint64_t allowed;
  int32_t parent;
};

/** Every access a version knows is handled, that is: refused unless a rule allows it. */
static uint64_t fileAccesses(long version) {
  return version >= 5 ? 0xffff : version >= 3 ? 0x7fff : version == 2 ? 0x3fff : 0x1fff;
}

static Result<> allow(int ruleset, const std::string &path) {
  const Fd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd)
    return errno == ENOENT ? Result<>(Nothing{}) : fail("open", path);
  struct stat status;
  if (fstat(fd.get(), &status) < 0)
    return fail("fstat", path);
  const PathRule rule{S_ISDIR(status.st_mode) ? kReadFile | kReadDirectory : kReadFile, fd.get()};
  constexpr int kPathBeneath = 1;
  if (syscall(kAddRule, ruleset, kPathBeneath, &rule, 0) < 0)
    return fail("landlock_add_rule", path);
  return Nothing{};
}

Result<Fd> makeRuleset(const Sandbox &sandbox) {
  constexpr unsigned kVersion = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
  const long version = syscall(kCreateRuleset, nullptr, 0, kVersion);
  if (version < 1)
    return Fd();
  RulesetAttributes attributes{fileAccesses(version), 0};
  if (version >= 4)
    attributes.network = sandbox.network ? kBindTcp : kBindTcp | kConnectTcp;
  Fd ruleset(static_cast<int>(syscall(kCreateRuleset, &attributes, sizeof attributes, 0)));
  if (!ruleset)
    return fail("landlock_create_ruleset");
  for (const std::string &path : sandbox.read)
    if (auto allowed = allow(ruleset.get(), path); !allowed)
      return allowed.error();
  return ruleset;
}

int restrictThread(int ruleset) { return syscall(kRestrictSelf, ruleset, 0) < 0 ? errno : 0; }

} // namespace berth
