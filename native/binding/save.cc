// SPDX-License-Identifier: Apache-2.0
/** Saving a container: assembleSquash in the saver's process, startSaver and changeAs in the worker's. */
#include "attend.hh"
#include "convert.hh"
#include "core/host/change_as.hh"
#include "core/host/files.hh"
#include "core/host/saver.hh"
#include "core/squash/assemble.hh"
#include "init.hh"

namespace berth::binding {
namespace {

using Action = ChangeRequest::Action;

template <typename Row>
std::vector<Row> rowsOf(const Napi::Object &object, const char *name, Row (*rowOf)(const Napi::Object &)) {
  std::vector<Row> rows;
  const Napi::Value value = object.Get(name);
  if (!value.IsArray())
    return rows;
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++)
    rows.push_back(rowOf(list.Get(i).ToObject()));
  return rows;
}

assemble::Own ownOf(const Napi::Object &row) { return {textOf(row, "path"), textOf(row, "digest")}; }

assemble::Added addedOf(const Napi::Object &row) {
  return {textOf(row, "path"), textOf(row, "content"), flagOf(row, "replace", false)};
}

assemble::Options assembleOptions(const Napi::Object &object) {
  assemble::Options options;
  const std::string compressor = textOf(object, "compressor", "zstd");
  options.compressor = compressor == "none"   ? squash::Compressor::none
                       : compressor == "gzip" ? squash::Compressor::gzip
                       : compressor == "lz4"  ? squash::Compressor::lz4
                                              : squash::Compressor::zstd;
  options.level = static_cast<int>(numberOf(object, "level", options.level));
  options.threads = static_cast<unsigned>(numberOf(object, "threads", options.threads));
  options.bytesMax =
      static_cast<uint64_t>(numberOf(object, "bytesMax", static_cast<int64_t>(options.bytesMax)));
  options.entriesMax =
      static_cast<uint64_t>(numberOf(object, "entriesMax", static_cast<int64_t>(options.entriesMax)));
  options.durable = flagOf(object, "durable", options.durable);
  options.opaque = textsOf(object.Get("opaque"));
  options.own = rowsOf(object, "own", ownOf);
  options.add = rowsOf(object, "add", addedOf);
  return options;
}

Napi::Value AssembleSquash(const Napi::CallbackInfo &info) {
  const auto object = info[0].ToObject();
  const auto image = keep(static_cast<int>(numberOf(object, "image", -1)));
  const auto upper = keep(static_cast<int>(numberOf(object, "upper", -1)));
  const auto out = keep(static_cast<int>(numberOf(object, "out", -1)));
  if (!*image || !*upper || !*out)
    return raise(info.Env(), fail(EBADF, "fcntl"));
  auto options = assembleOptions(object);
  options.image = image->get();
  options.upper = upper->get();
  options.out = out->get();
  return promise(
      info.Env(),
      [options = std::move(options), image, upper, out] { return assemble::assembleImage(options); },
      [](Napi::Env env, const assemble::Assembled &done) {
        auto answer = Napi::Object::New(env);
        answer.Set("size", static_cast<double>(done.size));
        answer.Set("copied", static_cast<double>(done.copied));
        answer.Set("fresh", static_cast<double>(done.fresh));
        return answer;
      });
}

Napi::Value Change(const Napi::CallbackInfo &info) {
  const auto object = info[0].ToObject();
  const std::string action = textOf(object, "action");
  const auto directory = keep(static_cast<int>(numberOf(object, "directory", -1)));
  if (!*directory)
    return raise(info.Env(), fail("fcntl"));
  ChangeRequest request;
  request.action = action == "create"   ? Action::create
                   : action == "exists" ? Action::exists
                   : action == "rename" ? Action::rename
                   : action == "remove" ? Action::remove
                                        : Action::probe;
  request.directory = directory->get();
  // Closed by the caller only when this is over.
  request.nameless = static_cast<int>(numberOf(object, "nameless", -1));
  request.name = textOf(object, "name");
  request.other = textOf(object, "other");
  request.user = identityOf(object);
  request.durable = flagOf(object, "durable", request.durable);
  request.mode = static_cast<mode_t>(numberOf(object, "mode", 0600));
  return promiseFd(info.Env(), kOpenWaitMsMax,
                   [request, directory](FdFromChild &change) { return startChange(request, change); });
}

/** Kills and reaps on the pool. */
void endSaver(Napi::Env env, std::shared_ptr<Child> child) {
  auto work = [child = std::move(child)]() mutable {
    child.reset();
    return Nothing{};
  };
  auto settle = [](Napi::Env where, Napi::Promise::Deferred &deferred, Nothing &) {
    deferred.Resolve(where.Undefined());
  };
  Task<decltype(work), decltype(settle)>::start(env, std::move(work), std::move(settle));
}

/** { close() }: ends and reaps the process, whether it runs or not. */
Napi::Value saverToObject(Napi::Env env, Child &started) {
  auto child = std::make_shared<std::shared_ptr<Child>>(std::make_shared<Child>(std::move(started)));
  auto object = Napi::Object::New(env);
  object.Set("close", Napi::Function::New(env, [child](const Napi::CallbackInfo &info) {
               if (*child)
                 endSaver(info.Env(), std::exchange(*child, nullptr));
             }));
  return object;
}

Napi::Value StartSaver(const Napi::CallbackInfo &info) {
  const auto object = info[0].ToObject();
  SaverProgram program;
  program.argv = textsOf(object.Get("argv"));
  program.uid = static_cast<uid_t>(numberOf(object, "uid"));
  program.gid = static_cast<gid_t>(numberOf(object, "gid"));
  program.upper = static_cast<size_t>(numberOf(object, "upper"));
  std::vector<std::shared_ptr<Fd>> kept;
  const auto fds = object.Get("fds").As<Napi::Array>();
  for (uint32_t i = 0; i < fds.Length(); i++) {
    kept.push_back(keep(fds.Get(i).ToNumber().Int32Value()));
    if (!*kept.back())
      return raise(info.Env(), fail("fcntl"));
    program.fds.push_back(kept.back()->get());
  }
  return promise(
      info.Env(), [program, kept] { return startSaver(program); }, saverToObject);
}

} // namespace

void InitSave(Napi::Env env, Napi::Object exports) {
  exports.Set("assembleSquash", Napi::Function::New<AssembleSquash>(env));
  exports.Set("changeAs", Napi::Function::New<Change>(env));
  exports.Set("startSaver", Napi::Function::New<StartSaver>(env));
}

} // namespace berth::binding
