// SPDX-License-Identifier: Apache-2.0
/** Squashfs files that berth did not just write: copied, verified and read without the kernel. */
#include "convert.hh"
#include "init.hh"

#include "core/squash/reader.hh"
#include "core/squash/rewrite_owners.hh"
#include "core/squash/verify.hh"
#include "core/squash/verify_copy.hh"

#include <fcntl.h>
#include <map>
#include <memory>

namespace berth::binding {
namespace {

/** As in SquashOptions.capture: files that berth wants to know are small. */
constexpr uint64_t kFileBytesMax = 256 << 10;

/** JavaScript may close its descriptor while the pool still reads. */
Result<std::shared_ptr<Fd>> own(const Napi::Value &value) {
  const int fd = fcntl(value.ToNumber().Int32Value(), F_DUPFD_CLOEXEC, 3);
  if (fd < 0)
    return fail("dup");
  return std::make_shared<Fd>(fd);
}

Napi::Object optionsOf(const Napi::CallbackInfo &info, size_t index) {
  return info[index].IsObject() ? info[index].As<Napi::Object>() : Napi::Object::New(info.Env());
}

/** verifySquashfs(fd, {entriesMax, bytesMax, threads, offset}) */
Napi::Value Verify(const Napi::CallbackInfo &info) {
  const auto fd = own(info[0]);
  if (!fd)
    return raise(info.Env(), fd.error());
  const Napi::Object options = optionsOf(info, 1);
  unsquash::Limits limits;
  limits.entriesMax =
      static_cast<uint64_t>(numberOf(options, "entriesMax", static_cast<int64_t>(limits.entriesMax)));
  limits.bytesMax =
      static_cast<uint64_t>(numberOf(options, "bytesMax", static_cast<int64_t>(limits.bytesMax)));
  limits.threads = static_cast<unsigned>(numberOf(options, "threads", 1));
  const auto offset = static_cast<uint64_t>(numberOf(options, "offset"));
  return promise(
      info.Env(),
      [fd = fd.value(), limits, offset] { return unsquash::verifySquashfs(fd->get(), limits, offset); },
      [](Napi::Env env, const unsquash::Verified &verified) {
        Napi::Object object = Napi::Object::New(env);
        object["entries"] = static_cast<double>(verified.entries);
        object["bytes"] = static_cast<double>(verified.bytes);
        object["size"] = static_cast<double>(verified.bytesUsed);
        object["compressor"] = verified.compressor;
        object["blockSize"] = verified.blockSize;
        return object;
      });
}

/** copySquashfs(from, to, {sizeMax, offset, owners}) */
Napi::Value Copy(const Napi::CallbackInfo &info) {
  const auto from = own(info[0]);
  if (!from)
    return raise(info.Env(), from.error());
  const auto to = own(info[1]);
  if (!to)
    return raise(info.Env(), to.error());
  const Napi::Object options = optionsOf(info, 2);
  const auto sizeMax = static_cast<uint64_t>(numberOf(options, "sizeMax", INT64_MAX));
  const auto offset = static_cast<uint64_t>(numberOf(options, "offset"));
  const bool toRoot = textOf(options, "owners", "keep") == "root";
  return promise(
      info.Env(),
      [from = from.value(), to = to.value(), sizeMax, offset, toRoot]() -> Result<uint64_t> {
        auto copied = unsquash::copySquashfs(from->get(), to->get(), sizeMax, offset);
        return copied && toRoot ? unsquash::giveToRoot(to->get()) : copied;
      },
      [](Napi::Env env, uint64_t size) { return Napi::Number::New(env, static_cast<double>(size)); });
}

/** giveToRoot(fd) */
Napi::Value GiveToRoot(const Napi::CallbackInfo &info) {
  const auto fd = own(info[0]);
  if (!fd)
    return raise(info.Env(), fd.error());
  return promise(
      info.Env(), [fd = fd.value()] { return unsquash::giveToRoot(fd->get()); },
      [](Napi::Env env, uint64_t size) { return Napi::Number::New(env, static_cast<double>(size)); });
}

using Files = std::map<std::string, std::string>;

/** What is not there, no regular file or too large is left out; damage is an error. */
Result<Files> readFiles(int fd, const std::vector<std::string> &paths) {
  auto image = unsquash::Image::open(fd);
  if (!image)
    return image.error();
  Files files;
  for (const std::string &path : paths) {
    auto content = (*image)->readFile(path, kFileBytesMax);
    if (content)
      files[path] = std::move(content).value();
    else if (content.error().code == EUCLEAN || content.error().code == EIO)
      return content.error();
  }
  return files;
}

/** readSquashfs(fd, paths) */
Napi::Value Read(const Napi::CallbackInfo &info) {
  const auto fd = own(info[0]);
  if (!fd)
    return raise(info.Env(), fd.error());
  std::vector<std::string> paths;
  if (info[1].IsArray()) {
    const auto list = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++)
      paths.push_back(Napi::Value(list[i]).ToString().Utf8Value());
  }
  return promise(
      info.Env(), [fd = fd.value(), paths = std::move(paths)] { return readFiles(fd->get(), paths); },
      [](Napi::Env env, const Files &files) {
        Napi::Object object = Napi::Object::New(env);
        for (const auto &[path, content] : files)
          object[path] = Napi::Buffer<char>::Copy(env, content.data(), content.size());
        return object;
      });
}

} // namespace

void InitReader(Napi::Env env, Napi::Object exports) {
  exports["verifySquashfs"] = Napi::Function::New(env, Verify, "verifySquashfs");
  exports["copySquashfs"] = Napi::Function::New(env, Copy, "copySquashfs");
  exports["giveToRoot"] = Napi::Function::New(env, GiveToRoot, "giveToRoot");
  exports["readSquashfs"] = Napi::Function::New(env, Read, "readSquashfs");
}

} // namespace berth::binding
