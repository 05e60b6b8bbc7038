// SPDX-License-Identifier: Apache-2.0
#include "flags.hh"

#include "kernel.hh"

#include <algorithm>
#include <sys/mount.h>

namespace berth {

struct Word {
  const char *name;
  uint64_t value;
};

/** Words that would widen what the host's mount allows are accepted and do nothing. */
constexpr Word kAttributeWords[] = {
    {"ro", kernel::kAttrReadOnly},
    {"nosuid", kernel::kAttrNoSuid},
    {"nodev", kernel::kAttrNoDev},
    {"noexec", kernel::kAttrNoExec},
    {"rw", 0},
    {"suid", 0},
    {"dev", 0},
    {"exec", 0},
    {"defaults", 0},
};

constexpr Word kPropagationWords[] = {
    {"private", MS_PRIVATE},  {"slave", MS_SLAVE},  {"shared", MS_SHARED},  {"unbindable", MS_UNBINDABLE},
    {"rprivate", MS_PRIVATE}, {"rslave", MS_SLAVE}, {"rshared", MS_SHARED}, {"runbindable", MS_UNBINDABLE},
};

bool addAttribute(const std::string &word, uint64_t &attributes) {
  const auto *found = std::find_if(std::begin(kAttributeWords), std::end(kAttributeWords),
                                   [&](const Word &row) { return word == row.name; });
  if (found == std::end(kAttributeWords))
    return false;
  attributes |= found->value;
  return true;
}

Result<MountFlags> parseFlags(const std::vector<std::string> &words, bool device) {
  MountFlags flags{kernel::kAttrNoSuid, MS_PRIVATE};
  if (!device && std::find(words.begin(), words.end(), "dev") == words.end())
    flags.attributes |= kernel::kAttrNoDev;
  for (const std::string &word : words) {
    if (addAttribute(word, flags.attributes))
      continue;
    const auto *found = std::find_if(std::begin(kPropagationWords), std::end(kPropagationWords),
                                     [&](const Word &row) { return word == row.name; });
    if (found == std::end(kPropagationWords))
      return fail(EINVAL, "mount_setattr", word, "unknown mount flag");
    flags.propagation = found->value;
  }
  return flags;
}

} // namespace berth
