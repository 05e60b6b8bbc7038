// SPDX-License-Identifier: Apache-2.0
/**
 * A tree is removed while its user swaps a directory for something else: before each call of the removal
 * once. Prints a line for each kind of swap; "wrong: ..." where something outside is gone or something inside
 * stays. Then somebody writes and writes.
 */
#include "core/host/remove_tree.hh"

#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

namespace fs = std::filesystem;

/** What the user does, and before which call. */
static std::function<void()> swap;
static std::function<void()> swapBack;
static unsigned calls, swapAt;
/** Somebody writes into this directory whenever it is empty. */
static fs::path stubborn;

static void called() {
  const int before = errno;
  calls++;
  if (calls == swapAt)
    swap();
  if (calls == swapAt + 1 && swapBack)
    swapBack();
  errno = before;
}

extern "C" {
DIR *__real_fdopendir(int fd);
dirent *__real_readdir(DIR *entries);
int __real_unlinkat(int fd, const char *name, int flags);
int __real_renameat(int from, const char *name, int to, const char *other);
long __real_syscall(long number, ...);

DIR *__wrap_fdopendir(int fd) {
  called();
  return __real_fdopendir(fd);
}

dirent *__wrap_readdir(DIR *entries) {
  called();
  return __real_readdir(entries);
}

int __wrap_unlinkat(int fd, const char *name, int flags) {
  called();
  if (!stubborn.empty() && name == stubborn.filename())
    std::ofstream(stubborn / "one more") << "x";
  return __real_unlinkat(fd, name, flags);
}

int __wrap_renameat(int from, const char *name, int to, const char *other) {
  called();
  return __real_renameat(from, name, to, other);
}

long __wrap_syscall(long number, ...) {
  called();
  va_list list;
  va_start(list, number);
  long words[4];
  for (long &word : words)
    word = va_arg(list, long);
  va_end(list);
  return __real_syscall(number, words[0], words[1], words[2], words[3]);
}
}

static void fill(const fs::path &directory) {
  fs::create_directories(directory / "below");
  for (const char *name : {"one", "two", "below/three"})
    std::ofstream(directory / name) << "x";
}

static bool isWhole(const fs::path &directory) {
  return fs::exists(directory / "one") && fs::exists(directory / "two") &&
         fs::exists(directory / "below/three");
}

/** Quiet: who swaps twice finds less than there was. */
static void move(const fs::path &from, const fs::path &to) {
  std::error_code ignored;
  fs::rename(from, to, ignored);
}

static void link(const fs::path &to, const fs::path &at) {
  std::error_code ignored;
  fs::create_directory_symlink(to, at, ignored);
}

struct Kind {
  const char *name;
  /** Of the directory that is swapped, below the top. */
  unsigned depth;
  std::function<void(const fs::path &directory, const fs::path &outside)> swap;
  bool back = false;
};

/** Below what the removal opens at once; not each of so many calls is worth its time. */
constexpr unsigned kDeep = 36;
constexpr unsigned kDeepStride = 4;

static const auto toLink = [](const fs::path &directory, const fs::path &outside) {
  move(directory, directory.string() + "-aside");
  link(outside, directory);
};

static const auto toOther = [](const fs::path &directory, const fs::path &) {
  move(directory, directory.string() + "-aside");
  std::error_code ignored;
  if (fs::create_directory(directory, ignored))
    std::ofstream(directory / "new") << "x";
};

static const Kind kinds[] = {
    {"link", 1, toLink},
    {"link and back", 1, toLink, true},
    {"other directory", 1, toOther},
    {"deep link", kDeep, toLink},
    {"deep link and back", kDeep, toLink, true},
    {"deep directory", kDeep, toOther},
};

/** False: all calls had their turn. */
static bool tryAt(const Kind &kind, unsigned at, const fs::path &folder) {
  const fs::path outside = folder / "outside", top = folder / "top";
  fs::path directory = top;
  for (unsigned level = 1; level < kind.depth; level++)
    directory /= "l";
  directory /= "d";
  fs::remove_all(folder);
  fill(outside);
  fill(directory);
  fill(top / "sibling");
  swap = [&] { kind.swap(directory, outside); };
  swapBack = nullptr;
  if (kind.back)
    swapBack = [&] {
      std::error_code ignored;
      if (fs::is_symlink(directory))
        fs::remove(directory, ignored);
      move(directory.string() + "-aside", directory);
    };
  calls = 0;
  swapAt = at;
  berth::TreeRemoval removal(top);
  berth::Result<bool> done = false;
  while (done && !*done)
    done = removal.work();
  if (!done)
    printf("wrong: %s at %u: %s %s: %d\n", kind.name, at, done.error().syscall.c_str(),
           done.error().path.c_str(), done.error().code);
  else if (fs::exists(fs::symlink_status(top)))
    printf("wrong: %s at %u: it is still there\n", kind.name, at);
  if (!isWhole(outside))
    printf("wrong: %s at %u: files outside are gone\n", kind.name, at);
  return calls >= at;
}

static void tryStubborn(const fs::path &folder) {
  fs::remove_all(folder);
  fill(folder / "top/d");
  swapAt = 0;
  stubborn = folder / "top/d";
  berth::TreeRemoval removal(folder / "top");
  berth::Result<bool> done = false;
  while (done && !*done)
    done = removal.work();
  if (done || done.error().code != ENOTEMPTY || done.error().path != stubborn)
    printf("wrong: there was an end to it\n");
  else
    printf("stubborn: %s\n", done.error().message.c_str());
}

int main(int, char **argv) {
  for (const Kind &kind : kinds) {
    unsigned at = 1;
    while (tryAt(kind, at, argv[1]))
      at += kind.depth == kDeep ? kDeepStride : 1;
    printf("%s: %u calls\n", kind.name, calls);
  }
  tryStubborn(argv[1]);
  return 0;
}
