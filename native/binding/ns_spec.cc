// SPDX-License-Identifier: Apache-2.0
#include "ns_spec.hh"

#include "convert.hh"

#include <sched.h>

namespace berth::binding {

using Kind = MountStep::Kind;
using Create = MountStep::Create;

static std::optional<Kind> kindOf(const std::string &name) {
  constexpr std::pair<const char *, Kind> kRows[] = {
      {"bind", Kind::bind},     {"tmpfs", Kind::tmpfs},     {"mqueue", Kind::mqueue},
      {"file", Kind::file},     {"symlink", Kind::symlink}, {"dir", Kind::dir},
      {"umount", Kind::umount}, {"devpts", Kind::devpts},   {"proc", Kind::proc},
  };
  for (const auto &[word, kind] : kRows)
    if (name == word)
      return kind;
  return std::nullopt;
}

static std::vector<std::string> listOf(const Napi::Object &object, const char *name) {
  std::vector<std::string> list;
  const Napi::Value value = object.Get(name);
  if (!value.IsArray())
    return list;
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++)
    list.push_back(array.Get(i).ToString().Utf8Value());
  return list;
}

static std::string bytesOf(const Napi::Object &object, const char *name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsTypedArray())
    return {};
  const auto bytes = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char *>(bytes.Data()), bytes.ByteLength());
}

static Create createOf(const std::string &word) {
  return word == "file"  ? Create::file
         : word == "dir" ? Create::dir
         : word == "no"  ? Create::no
                         : Create::any;
}

static std::optional<MountStep> stepOf(const Napi::Object &object) {
  const auto kind = kindOf(textOf(object, "kind"));
  if (!kind) {
    Napi::TypeError::New(object.Env(), "unknown mount kind: " + textOf(object, "kind"))
        .ThrowAsJavaScriptException();
    return std::nullopt;
  }
  MountStep step;
  step.kind = *kind;
  step.source = textOf(object, "source");
  step.target = textOf(object, "target");
  step.flags = listOf(object, "flags");
  step.recursive = flagOf(object, "recursive");
  step.create = createOf(textOf(object, "create", "auto"));
  step.trusted = flagOf(object, "trusted");
  step.optional = flagOf(object, "optional");
  step.replaceLink = flagOf(object, "replaceLink");
  step.plain = flagOf(object, "plain");
  step.writable = flagOf(object, "writable");
  step.options = textOf(object, "options");
  step.mode = static_cast<mode_t>(numberOf(object, "mode", 0755));
  step.content = *kind == Kind::symlink ? textOf(object, "to") : bytesOf(object, "content");
  return step;
}

static int unshareOf(const Napi::Object &object) {
  constexpr std::pair<const char *, int> kRows[] = {
      {"net", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"pid", CLONE_NEWPID}};
  int flags = 0;
  for (const std::string &name : listOf(object, "unshare"))
    for (const auto &[word, flag] : kRows)
      flags |= name == word ? flag : 0;
  return flags;
}

static std::optional<ViewSpec> viewOf(const Napi::Object &object) {
  if (!object.Get("view").IsObject())
    return std::nullopt;
  const auto from = object.Get("view").ToObject();
  ViewSpec view{textOf(from, "program"), textOf(from, "name"), {}, listOf(from, "hidden")};
  const auto files = from.Get("files").As<Napi::Array>();
  for (uint32_t i = 0; i < files.Length(); i++) {
    const auto file = files.Get(i).ToObject();
    view.files.push_back({textOf(file, "name"), textOf(file, "content")});
  }
  return view;
}

static std::optional<EngineRoot> engineOf(const Napi::Object &object) {
  if (!object.Get("engine").IsObject())
    return std::nullopt;
  const auto from = object.Get("engine").ToObject();
  EngineRoot engine;
  engine.mountNs = static_cast<int>(numberOf(from, "mountNs", -1));
  engine.root = static_cast<int>(numberOf(from, "root", -1));
  engine.prepared = static_cast<int>(numberOf(from, "prepared", -1));
  engine.name = textOf(from, "name");
  engine.inside = textOf(from, "inside", "/");
  return engine;
}

std::optional<NamespaceSpec> specOf(const Napi::Object &object) {
  NamespaceSpec spec;
  const auto image = object.Get("image").ToObject();
  spec.imageDevice = textOf(image, "device");
  spec.imageDirectory = textOf(image, "directory");
  spec.imageTrusted = flagOf(image, "trusted");
  spec.readonly = flagOf(object, "readonly");
  spec.upperSize = textOf(object, "upperSize");
  spec.upperDir = textOf(object, "upperDir");
  spec.upperDevice = textOf(object, "upperDevice");
  spec.keepRoot = flagOf(object, "keepRoot");
  spec.rootNs = static_cast<int>(numberOf(object, "rootNs", -1));
  spec.keepUpper = flagOf(object, "keepUpper");
  spec.user = identityOf(object);
  spec.insideUid = static_cast<uid_t>(numberOf(object, "insideUid", spec.user.uid));
  spec.insideGid = static_cast<gid_t>(numberOf(object, "insideGid", spec.user.gid));
  spec.idmap = flagOf(object, "idmap", true);
  spec.unshareFlags = unshareOf(object);
  spec.init = textOf(object, "init");
  spec.mountNs = static_cast<int>(numberOf(object, "mountNs", -1));
  spec.userNs = static_cast<int>(numberOf(object, "userNs", -1));
  spec.staging = textOf(object, "staging");
  spec.view = viewOf(object);
  spec.engine = engineOf(object);
  const auto mounts = object.Get("mounts").As<Napi::Array>();
  for (uint32_t i = 0; i < mounts.Length(); i++) {
    auto step = stepOf(mounts.Get(i).ToObject());
    if (!step)
      return std::nullopt;
    spec.mounts.push_back(std::move(*step));
  }
  return spec;
}

} // namespace berth::binding
