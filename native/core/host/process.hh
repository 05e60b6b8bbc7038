// SPDX-License-Identifier: Apache-2.0
/** What the worker asks about processes and accounts. */
#pragma once

#include "core/result.hh"

#include <optional>
#include <string>
#include <sys/types.h>

namespace berth {

/** Clock ticks since boot when the process started (proc(5), stat field 22); 0 when there is none. */
unsigned long long processStart(pid_t pid);

/** Whether a process has ended, or is about to. */
bool isEnding(pid_t pid);

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
  std::string shell;
};

/** Through NSS (files, sssd, LDAP): may block. Absent and "no such user" are the same. */
Result<std::optional<Account>> accountByUid(uid_t uid);
Result<std::optional<Account>> accountByName(const std::string &name);
Result<std::optional<std::string>> groupName(gid_t gid);

} // namespace berth
