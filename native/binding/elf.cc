// SPDX-License-Identifier: Apache-2.0
/** ELF files of an image and of the host, as plain objects. */
#include "convert.hh"
#include "init.hh"
#include "marks.hh"

#include "core/elf/scan.hh"

#include <memory>
#include <sys/stat.h>

namespace berth::binding {
namespace {

using elf::Found;
using elf::Scan;
using elf::ScanOptions;

ScanOptions optionsOf(const Napi::Value &value) {
  ScanOptions options;
  if (!value.IsObject())
    return options;
  const auto object = value.As<Napi::Object>();
  options.prefixes = textsOf(object.Get("prefixes"));
  options.exporters = textsOf(object.Get("exporters"));
  options.told = textsOf(object.Get("told"));
  options.threads = static_cast<unsigned>(numberOf(object, "threads", 1));
  options.marks = marksOf(object.Get("marks"));
  if (const Napi::Value texts = object.Get("texts"); texts.IsObject()) {
    const auto pairs = texts.As<Napi::Object>();
    for (const std::string &prefix : textsOf(pairs.GetPropertyNames()))
      options.texts.push_back({prefix, textOf(pairs, prefix.c_str())});
  }
  return options;
}

Napi::Array listOf(Napi::Env env, const std::vector<std::string> &texts) {
  auto list = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); i++)
    list[i] = texts[i];
  return list;
}

Napi::Object objectOf(Napi::Env env, const Found &found) {
  auto object = Napi::Object::New(env);
  const elf::Library &library = found.library;
  object["path"] = found.path;
  object["bits"] = library.bits;
  object["machine"] = library.machine;
  object["executable"] = library.executable;
  object["soname"] = library.soname;
  object["needed"] = listOf(env, library.needed);
  object["rpath"] = library.rpath;
  object["runpath"] = library.runpath;
  object["versionsNeeded"] = listOf(env, library.versionsNeeded);
  object["versionsProvided"] = listOf(env, library.versionsProvided);
  object["exporter"] = found.exporter;
  object["defines"] = listOf(env, found.defines);
  object["wants"] = listOf(env, found.wants);
  object["text"] = found.text;
  return object;
}

Napi::Value scanOf(Napi::Env env, const Scan &scan) {
  auto object = Napi::Object::New(env);
  auto names = Napi::Array::New(env, scan.names.size());
  for (uint32_t i = 0; i < scan.names.size(); i++) {
    auto name = Napi::Object::New(env);
    name["path"] = scan.names[i].path;
    name["target"] = scan.names[i].target;
    names[i] = name;
  }
  auto found = Napi::Array::New(env, scan.found.size());
  for (uint32_t i = 0; i < scan.found.size(); i++)
    found[i] = objectOf(env, scan.found[i]);
  object["names"] = names;
  object["found"] = found;
  object["truncated"] = scan.truncated;
  return object;
}

/** scanImage(fd, options) */
Napi::Value ScanImage(const Napi::CallbackInfo &info) {
  return promise(
      info.Env(),
      [fd = keep(info[0].ToNumber().Int32Value()), options = optionsOf(info[1])] {
        return elf::scanImage(fd->get(), options);
      },
      scanOf);
}

Result<std::optional<Found>> readHost(int fd, const std::string &path, const ScanOptions &options) {
  struct stat status;
  if (fstat(fd, &status) < 0)
    return fail("fstat", path);
  if (!S_ISREG(status.st_mode))
    return std::optional<Found>();
  elf::FileBytes bytes(fd, static_cast<uint64_t>(status.st_size));
  return elf::readFile(bytes, path, options);
}

/** readElf(fd, path, options) */
Napi::Value ReadElf(const Napi::CallbackInfo &info) {
  return promise(
      info.Env(),
      [fd = keep(info[0].ToNumber().Int32Value()), path = info[1].ToString().Utf8Value(),
       options = optionsOf(info[2])] { return readHost(fd->get(), path, options); },
      [](Napi::Env env, const std::optional<Found> &found) -> Napi::Value {
        return found ? objectOf(env, *found) : env.Undefined();
      });
}

} // namespace

void InitElf(Napi::Env env, Napi::Object exports) {
  exports["scanImage"] = Napi::Function::New(env, ScanImage, "scanImage");
  exports["readElf"] = Napi::Function::New(env, ReadElf, "readElf");
}

} // namespace berth::binding
