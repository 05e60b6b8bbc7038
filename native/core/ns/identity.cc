// SPDX-License-Identifier: Apache-2.0
#include "identity.hh"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace berth {

constexpr uid_t kAsk = static_cast<uid_t>(-1);

static int setGroups(const std::vector<gid_t> &groups) {
  return static_cast<int>(syscall(SYS_setgroups, groups.size(), groups.data()));
}

/** setfsuid(2) reports nothing: only asking again tells whether it worked. */
static bool setFsIds(uid_t uid, gid_t gid) {
  syscall(SYS_setfsgid, gid);
  syscall(SYS_setfsuid, uid);
  return static_cast<gid_t>(syscall(SYS_setfsgid, kAsk)) == gid &&
         static_cast<uid_t>(syscall(SYS_setfsuid, kAsk)) == uid;
}

FileIdentity::FileIdentity(const Identity &identity) {
  if (setGroups(identity.groups) < 0)
    error_ = errno;
  else if (!setFsIds(identity.uid, identity.gid))
    error_ = EPERM;
}

FileIdentity::~FileIdentity() {
  const int saved = errno;
  // A root process that stays half a user would do its next steps wrongly; the child's end is reported as a
  // failure.
  if (!setFsIds(0, 0) || setGroups({}) < 0)
    _exit(125);
  errno = saved;
}

Result<> raiseFileCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) < 0)
    return fail("capget");
  data[0].effective |= data[0].permitted & (1u << CAP_CHOWN | 1u << CAP_FOWNER | 1u << CAP_DAC_OVERRIDE);
  if (syscall(SYS_capset, &header, data) < 0)
    return fail("capset");
  return Nothing{};
}

static int keepOnlyAdmin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].effective = data[0].permitted = 1u << CAP_SYS_ADMIN;
  return static_cast<int>(syscall(SYS_capset, &header, data));
}

Result<> actAsOwner(const Identity &identity) {
  if (setGroups(identity.groups) < 0)
    return fail("setgroups");
  if (syscall(SYS_setresgid, kAsk, identity.gid, kAsk) < 0)
    return fail("setresgid");
  if (syscall(SYS_setresuid, kAsk, identity.uid, kAsk) < 0)
    return fail("setresuid");
  if (keepOnlyAdmin() < 0)
    return fail("capset");
  // The kernel did it already when an id changed; a uid 0 user changes none.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fail("prctl");
  return Nothing{};
}

} // namespace berth
