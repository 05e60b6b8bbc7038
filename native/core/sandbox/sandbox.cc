// SPDX-License-Identifier: Apache-2.0
#include "sandbox.hh"

#include "landlock.hh"
#include "seccomp.hh"
#include "threads.hh"

#include <csignal>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

namespace berth {

/** Layers fetched in parallel, the output and Node's own need about fifty. */
constexpr rlim_t kFilesMax = 1024;

static int rulesetFd = -1;
static uint32_t keptCaps = 0;

/** Per thread, as the kernel keeps all of it per thread; only system calls, since it runs in a signal
 * handler. */
static int confineThread() {
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); // EPERM without CAP_SETPCAP: then there is none to lose
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
    return errno;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct kept[2]{{keptCaps, keptCaps, 0}, {}};
  if (syscall(SYS_capset, &header, kept) < 0)
    return errno;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return errno;
  return rulesetFd < 0 ? 0 : restrictThread(rulesetFd);
}

static Result<> setLimit(int which, rlim_t value) {
  const rlimit limit{value, value};
  if (setrlimit(static_cast<__rlimit_resource_t>(which), &limit) < 0)
    return fail("setrlimit");
  return Nothing{};
}

static Result<> setLimits(const Sandbox &sandbox) {
  // The default action of SIGXFSZ would end the process; EFBIG can be reported.
  signal(SIGXFSZ, SIG_IGN);
  if (auto set = setLimit(RLIMIT_FSIZE, sandbox.fileBytesMax); !set)
    return set;
  if (auto set = setLimit(RLIMIT_CORE, 0); !set)
    return set;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) < 0)
    return fail("getrlimit");
  return files.rlim_max > kFilesMax ? setLimit(RLIMIT_NOFILE, kFilesMax) : Nothing{};
}

Result<> enterSandbox(const Sandbox &sandbox) {
  auto ruleset = makeRuleset(sandbox);
  if (!ruleset)
    return ruleset.error();
  if (auto limited = setLimits(sandbox); !limited)
    return limited;
  // Importers of different users share one uid: none may read another's memory or descriptors.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fail("prctl");
  rulesetFd = ruleset->get();
  keptCaps = sandbox.readAny ? 1u << CAP_DAC_READ_SEARCH : 0;
  auto confined = onEveryThread(confineThread);
  rulesetFd = -1;
  if (!confined)
    return confined;
  return filterSystemCalls(sandbox.network);
}

} // namespace berth
