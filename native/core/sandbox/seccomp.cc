// SPDX-License-Identifier: Apache-2.0
#include "seccomp.hh"

#include <cstddef>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vector>

namespace berth {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
constexpr uint32_t kArchitecture = AUDIT_ARCH_PPC64LE;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr uint32_t kArchitecture = AUDIT_ARCH_RISCV64;
#elif defined(__s390x__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_S390X;
#else
#error "no seccomp architecture known for this machine"
#endif

/** Calls beyond number 423 are alike everywhere and newer than some distributions' headers. */
constexpr int kSince424[] = {
    424, // pidfd_send_signal
    425, // io_uring_setup
    426, // io_uring_enter
    427, // io_uring_register
    428, // open_tree
    429, // move_mount
    430, // fsopen
    431, // fsconfig
    432, // fsmount
    433, // fspick
    438, // pidfd_getfd
    440, // process_madvise
    442, // mount_setattr
    443, // quotactl_fd
    447, // memfd_secret
    448, // process_mrelease
    452, // fchmodat2
    463, // setxattrat
    466, // removexattrat
    467, // open_tree_attr
    469, // file_setattr
};

constexpr int kRefused[] = {
    // Programs and other processes.
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_perf_event_open,
    // The machine's and the namespaces' state.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_userfaultfd,
    SYS_fanotify_init,
    SYS_open_by_handle_at,
    SYS_personality,
    SYS_vhangup,
    SYS_kexec_load,
    SYS_migrate_pages,
    SYS_move_pages,
    SYS_mbind,
    SYS_set_mempolicy,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
#endif
    // Names and attributes of files: what is written comes in by descriptor.
    SYS_mkdirat,
    SYS_mknodat,
    SYS_unlinkat,
    SYS_linkat,
    SYS_symlinkat,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_truncate,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_renameat2,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_mkdir
    SYS_mkdir,
    SYS_mknod,
    SYS_rmdir,
    SYS_unlink,
    SYS_link,
    SYS_symlink,
    SYS_rename,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_creat,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
#endif
// Processes without clone's flags to look at.
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    SYS_tkill,
};

class Program {
public:
  void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  /** Low half of argument `index`: flags, domains and pids fit it (little-endian; s390x keeps it in the
   * second). */
  void loadArgument(int index) {
    constexpr size_t kLow = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4;
    load(offsetof(seccomp_data, args) + 8 * static_cast<size_t>(index) + kLow);
  }
  void loadCall() { load(offsetof(seccomp_data, nr)); }
  void refuseWith(int code) { add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(code)); }
  void allow() { add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW); }
  /** The next `count` instructions run only when the loaded word is (not) `value`. */
  void whenEqual(uint32_t value, uint8_t count) { add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count); }
  void unlessEqual(uint32_t value, uint8_t count) { add(BPF_JMP | BPF_JEQ | BPF_K, value, count, 0); }
  void whenAnyBit(uint32_t bits, uint8_t count) { add(BPF_JMP | BPF_JSET | BPF_K, bits, 0, count); }
  void unlessAnyBit(uint32_t bits, uint8_t count) { add(BPF_JMP | BPF_JSET | BPF_K, bits, count, 0); }
  void whenAtLeast(uint32_t value, uint8_t count) { add(BPF_JMP | BPF_JGE | BPF_K, value, 0, count); }
  void refuse(int call, int code = EPERM) {
    whenEqual(static_cast<uint32_t>(call), 1);
    refuseWith(code);
  }
  sock_fprog get() { return {static_cast<unsigned short>(code_.size()), code_.data()}; }

private:
  void add(int code, uint32_t k, uint8_t yes = 0, uint8_t no = 0) {
    code_.push_back({static_cast<uint16_t>(code), yes, no, k});
  }
  std::vector<sock_filter> code_;
};

/** Foreign system call tables (i386, x32) would make every number mean something else. */
static void refuseForeign(Program &program) {
  program.load(offsetof(seccomp_data, arch));
  program.unlessEqual(kArchitecture, 1);
  program.refuseWith(EPERM);
  program.loadCall();
#if defined(__x86_64__)
  constexpr uint32_t kX32 = 0x40000000;
  program.whenAtLeast(kX32, 1);
  program.refuseWith(EPERM);
#endif
}

/** Threads yes, processes and namespaces no. clone3 hides its flags: "unknown" sends the C library back to
 * clone. */
static void limitClone(Program &program) {
  constexpr int kClone3 = 435;
  program.refuse(kClone3, ENOSYS);
  program.whenEqual(SYS_clone, 4);
#if defined(__s390x__)
  program.loadArgument(1);
#else
  program.loadArgument(0);
#endif
  program.unlessAnyBit(CLONE_THREAD, 1);
  program.refuseWith(EPERM);
  program.allow();
}

static void limitOpen(Program &program) {
  constexpr uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  constexpr int kOpenat2 = 437;
  program.refuse(kOpenat2, ENOSYS);
  const auto check = [&](int call, int flags) {
    program.whenEqual(static_cast<uint32_t>(call), 4);
    program.loadArgument(flags);
    program.whenAnyBit(kWriting, 1);
    program.refuseWith(EPERM);
    program.allow();
  };
  check(SYS_openat, 2);
#ifdef SYS_open
  check(SYS_open, 1);
#endif
}

static void limitSignals(Program &program) {
  const auto check = [&](int call) {
    program.whenEqual(static_cast<uint32_t>(call), 4);
    program.loadArgument(0);
    program.unlessEqual(static_cast<uint32_t>(getpid()), 1);
    program.refuseWith(EPERM);
    program.allow();
  };
  for (const int call : {SYS_kill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo})
    check(call);
}

/** Unix sockets would reach the worker, nscd or sssd; they need no path permission that Landlock could
 * withhold. */
static void limitSockets(Program &program, bool network) {
  program.refuse(SYS_listen);
  if (!network) {
    program.refuse(SYS_socket);
    program.refuse(SYS_connect);
    return;
  }
  program.whenEqual(SYS_socket, 5);
  program.loadArgument(0);
  program.unlessEqual(AF_INET, 2);
  program.unlessEqual(AF_INET6, 1);
  program.refuseWith(EPERM);
  program.allow();
}

Result<> filterSystemCalls(bool network) {
  Program program;
  refuseForeign(program);
  for (const int call : kRefused)
    program.refuse(call);
  for (const int call : kSince424)
    program.refuse(call);
  limitClone(program);
  limitOpen(program);
  limitSignals(program);
  limitSockets(program, network);
  program.allow();
  sock_fprog filter = program.get();
  constexpr unsigned kFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail("prctl");
  const long done = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &filter);
  if (done > 0)
    return fail(EBUSY, "seccomp", "", "a thread has a filter of its own");
  if (done < 0)
    return fail("seccomp");
  return Nothing{};
}

} // namespace berth
