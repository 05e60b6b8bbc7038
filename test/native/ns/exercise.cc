// SPDX-License-Identifier: Apache-2.0
/**
 * The core without Node, under sanitizers: an image made in memory, namespaces built well and badly in
 * several threads, descriptors over sockets. Exits 0 and prints "ok"; needs root.
 */
#include "core/host/empty_image.hh"
#include "core/host/features.hh"
#include "core/host/files.hh"
#include "core/ipc/endpoint.hh"
#include "core/ipc/fds.hh"
#include "core/ns/build.hh"
#include "core/ns/filesystem.hh"
#include "core/ns/flags.hh"
#include "core/ns/image_mount.hh"
#include "core/ns/pid_space.hh"
#include "killed_worker.hh"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>

using namespace berth;

static void check(bool good, const char *what) {
  if (good)
    return;
  fprintf(stderr, "failed: %s (errno %d)\n", what, errno);
  exit(1);
}

static MountStep step(MountStep::Kind kind, const char *target, const char *source = "",
                      const char *content = "") {
  MountStep made;
  made.kind = kind;
  made.target = target;
  made.source = source;
  made.content = content;
  made.recursive = true;
  return made;
}

static NamespaceSpec specOn(const std::string &device) {
  NamespaceSpec spec;
  spec.imageDevice = device;
  spec.upperSize = "1m";
  spec.user = {4321, 4321, {4321, 1, 2, 3, 7}};
  spec.insideUid = spec.insideGid = 4321;
  spec.staging = "/tmp";
  using Kind = MountStep::Kind;
  spec.mounts = {step(Kind::bind, "/proc", "/proc"),
                 step(Kind::bind, "/a/b", "/usr"),
                 step(Kind::tmpfs, "/tmp"),
                 step(Kind::file, "/etc/passwd", "", "x\n"),
                 step(Kind::symlink, "/etc/mtab", "", "/proc/mounts"),
                 step(Kind::dir, "/opt/x"),
                 step(Kind::umount, "/a/b")};
  return spec;
}

static void buildMany(const std::string &device) {
  for (int i = 0; i < 10; i++) {
    NamespaceSpec spec = specOn(device);
    spec.user.uid = spec.insideUid = static_cast<uid_t>(4000 + i);
    BuiltNamespace built;
    check(!buildNamespace(spec, built), "build");
    check(built.userNs.valid() && built.mountNs.valid(), "descriptors");
    spec.mounts.push_back(step(MountStep::Kind::bind, "/x", "/no/such/source"));
    const auto failure = buildNamespace(spec, built);
    check(failure && failure->step == 7 && failure->error.code == ENOENT, "failure names its step");
    spec.mounts.back() = step(MountStep::Kind::bind, "/../x", "/usr");
    check(buildNamespace(spec, built)->error.code == EXDEV, "escape");
  }
}

static void exerciseNamespaces() {
  const Fd memory(memfd_create("exercise", MFD_CLOEXEC));
  const std::string bytes = emptyImage();
  check(write(memory.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "memfd");
  const auto image = attachImage(memory.get(), "exercise", 0);
  check(image.ok(), "attach");
  std::thread threads[4];
  for (auto &thread : threads)
    thread = std::thread(buildMany, image.value().device);
  for (auto &thread : threads)
    thread.join();
}

static void exerciseMaps() {
  NamespaceSpec spec;
  spec.user = {5, 100, {101, 102, 200, 100, 200}};
  spec.insideUid = 5;
  spec.insideGid = 100;
  check(containerMaps(spec).gids == "100 100 3\n200 200 1\n", "group ranges");
  for (gid_t gid = 1000; gid < 3000; gid += 2)
    spec.user.groups.push_back(gid);
  check(containerMaps(spec).groupsLeftOut > 0 && containerMaps(spec).gids.starts_with("100 "), "many groups");
  spec.insideUid = spec.insideGid = 0;
  check(containerMaps(spec).gids.starts_with("0 100 1\n") && containerMaps(spec).uids == "0 5 1\n",
        "remapped");
}

static void exerciseWords() {
  check(splitOptions("size=1g,,noexec,huge=always").size() == 3 && splitOptions("").empty(), "options");
  check(!parseFlags({"ro", "nonsense"}, false).ok(), "unknown flag");
  check(parseFlags({"ro", "rslave"}, true).ok(), "flags");
}

static void exerciseSockets() {
  auto pair = socketPair();
  check(pair.ok(), "socketpair");
  const int fd = pair->first.get();
  const std::vector<int> many(kFdsPerMessageMax + 1, fd);
  check(sendWithFds(fd, "x", 1, many.data(), many.size()) < 0 && errno == EMSGSIZE, "too many to send");
  check(sendWithFds(fd, "x", 1, many.data(), kFdsPerMessageMax) == 1, "send");
  char byte = 0;
  const Received got = receiveWithFds(pair->second.get(), &byte, 1);
  check(got.length == 1 && got.fds.size() == kFdsPerMessageMax, "receive");
  check(peerOf(fd)->pid == getpid(), "peer");
}

static void exerciseFiles() {
  FdFromChild opening;
  check(!startOpening({"/etc/passwd", "/", {4321, 4321, {}}, -1, O_RDONLY}, opening), "start");
  auto opened = opening.finish(kOpenWaitMsMax);
  check(opened && onlyRootWrote(opened->get()).value(), "only root wrote");
  FdFromChild refused;
  check(!startOpening({"shadow", "/etc", {4321, 4321, {}}, -1, O_RDONLY}, refused), "start");
  check(refused.finish(kOpenWaitMsMax).error().code == EACCES, "refused");
}

/** Its copy runs, whatever other threads fork meanwhile: each try in a process of its own, for it is kept. */
static void tryFirstProgram() {
  std::thread([] {
    for (;;)
      if (fork() == 0) {
        usleep(200'000);
        _exit(0);
      }
  }).detach();
  const auto program = unreadableProgram("/bin/busybox");
  check(program.ok(), "copy of a program");
  char name[] = "true";
  char *const argv[] = {name, nullptr};
  execveat(program.value()->get(), "", argv, environ, AT_EMPTY_PATH);
  check(false, "execveat of the copy");
}

static void exerciseFirstProgram() {
  for (int i = 0; i < 10; i++) {
    const pid_t child = fork();
    if (child == 0)
      tryFirstProgram();
    int status = 0;
    check(waitpid(child, &status, 0) == child && status == 0, "first program");
  }
}

int main() {
  check(leavesNobodyBehind(), "a helper ends with its worker");
  exerciseFirstProgram();
  exerciseMaps();
  exerciseWords();
  exerciseSockets();
  exerciseFiles();
  exerciseNamespaces();
  check(probeKernel().mountApi, "probe");
  printf("ok\n");
  return 0;
}
