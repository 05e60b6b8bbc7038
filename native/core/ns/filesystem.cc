// SPDX-License-Identifier: Apache-2.0
#include "filesystem.hh"

#include "kernel.hh"

#include <algorithm>
#include <array>

namespace berth {

/** The kernel keeps its last lines of complaint in the context; each read gives one, "e overlay: …". */
static std::string readLog(int context) {
  std::string log;
  std::array<char, 512> line{};
  for (;;) {
    const ssize_t length = read(context, line.data(), line.size());
    if (length <= 2)
      return log;
    const size_t skip = line[1] == ' ' ? 2 : 0;
    log += (log.empty() ? "" : "; ") + std::string(line.data() + skip, static_cast<size_t>(length) - skip);
    while (!log.empty() && log.back() == '\n')
      log.pop_back();
  }
}

static Error refused(const char *call, int context, std::string object) {
  const int code = errno;
  return fail(code, call, std::move(object), readLog(context));
}

static int configure(int context, const FsOption &option) {
  const bool flag = option.value.empty();
  return static_cast<int>(syscall(kernel::kFsconfig, context,
                                  flag ? kernel::kConfigFlag : kernel::kConfigString, option.key.c_str(),
                                  flag ? nullptr : option.value.c_str(), 0));
}

Result<Fd> makeFilesystem(const char *type, const std::vector<FsOption> &options, uint64_t attributes) {
  constexpr unsigned kCloexec = 1; /* FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC */
  Fd context(static_cast<int>(syscall(kernel::kFsopen, type, kCloexec)));
  if (!context)
    return fail("fsopen", type);
  // The first column of /proc/self/mounts would else read "none".
  const bool named = std::any_of(options.begin(), options.end(),
                                 [](const FsOption &option) { return option.key == "source"; });
  if (!named && configure(context.get(), {"source", type}) < 0)
    return refused("fsconfig", context.get(), type);
  for (const FsOption &option : options)
    if (configure(context.get(), option) < 0 && !(option.optional && errno == EINVAL))
      return refused("fsconfig", context.get(),
                     option.value.empty() ? option.key : option.key + "=" + option.value);
  if (syscall(kernel::kFsconfig, context.get(), kernel::kConfigCreate, nullptr, nullptr, 0) < 0)
    return refused("fsconfig", context.get(), type);
  Fd mount(static_cast<int>(syscall(kernel::kFsmount, context.get(), kCloexec, attributes)));
  if (!mount)
    return refused("fsmount", context.get(), type);
  return mount;
}

std::vector<FsOption> splitOptions(const std::string &text) {
  std::vector<FsOption> options;
  for (size_t start = 0; start < text.size();) {
    size_t end = text.find(',', start);
    if (end == std::string::npos)
      end = text.size();
    const std::string part = text.substr(start, end - start);
    const size_t equals = part.find('=');
    if (equals != std::string::npos)
      options.push_back({part.substr(0, equals), part.substr(equals + 1)});
    else if (!part.empty())
      options.push_back({part, ""});
    start = end + 1;
  }
  return options;
}

} // namespace berth
