// SPDX-License-Identifier: Apache-2.0
/** Images and namespaces: attachImage, attachImageFd, reserveFor, attachDisk, buildNamespace, namespaceId,
 * showTree, hideTree, endLease. */
#include "host.hh"
#include "init.hh"

#include "attend.hh"
#include "convert.hh"
#include "core/ns/build.hh"
#include "core/ns/child.hh"
#include "core/ns/image_mount.hh"
#include "core/ns/kernel.hh"
#include "core/ns/step_disk.hh"
#include "ns_spec.hh"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace berth::binding {

static Napi::Value imageToObject(Napi::Env env, AttachedImage &image) {
  auto object = Napi::Object::New(env);
  object.Set("loopFd", image.loop.release());
  object.Set("device", image.device);
  object.Set("mountFd", image.mount.release());
  return object;
}

static Napi::Value AttachImage(const Napi::CallbackInfo &info) {
  const std::string path = info[0].ToString();
  auto work = [path]() -> Result<AttachedImage> {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
      return fail("open", path);
    return attachImage(file.get(), path, 0);
  };
  return promise(info.Env(), work, imageToObject);
}

static Napi::Value AttachImageFd(const Napi::CallbackInfo &info) {
  const auto offset = static_cast<uint64_t>(info[1].ToNumber().Int64Value());
  const auto file = keep(info[0].ToNumber().Int32Value());
  if (!*file)
    return raise(info.Env(), fail("fcntl"));
  auto work = [file, offset] { return attachImage(file->get(), "", offset); };
  return promise(info.Env(), work, imageToObject);
}

/** (fd, { uid, bytes }) */
static Napi::Value ReserveFor(const Napi::CallbackInfo &info) {
  const auto options = info[1].ToObject();
  const auto user = static_cast<uid_t>(numberOf(options, "uid"));
  const auto bytes = static_cast<uint64_t>(numberOf(options, "bytes"));
  const auto file = keep(info[0].ToNumber().Int32Value());
  if (!*file)
    return raise(info.Env(), fail("fcntl"));
  return promise(
      info.Env(), [file, user, bytes] { return reserveFor(file->get(), user, bytes); },
      [](Napi::Env env, const Nothing &) { return env.Undefined(); });
}

/** (fd) */
static Napi::Value AttachDisk(const Napi::CallbackInfo &info) {
  const auto file = keep(info[0].ToNumber().Int32Value());
  if (!*file)
    return raise(info.Env(), fail("fcntl"));
  auto work = [file] { return takeLoop({file->get(), "berth-step", 0, true}); };
  return promise(info.Env(), work, [](Napi::Env env, LoopDevice &loop) {
    auto object = Napi::Object::New(env);
    object.Set("loopFd", loop.fd.release());
    object.Set("device", loop.path);
    return object;
  });
}

static Napi::Object builtToObject(Napi::Env env, BuiltNamespace &built) {
  auto object = Napi::Object::New(env);
  if (built.userNs)
    object.Set("userNs", built.userNs.release());
  object.Set("mountNs", built.mountNs.release());
  if (built.netNs)
    object.Set("netNs", built.netNs.release());
  if (built.ipcNs)
    object.Set("ipcNs", built.ipcNs.release());
  if (built.utsNs)
    object.Set("utsNs", built.utsNs.release());
  if (built.pidNs)
    object.Set("pidNs", built.pidNs.release());
  if (built.lease) {
    object.Set("lease", built.lease.release());
    object.Set("first", built.first);
  }
  if (built.rootNs)
    object.Set("rootNs", built.rootNs.release());
  if (built.upper)
    object.Set("upper", built.upper.release());
  if (built.prepared)
    object.Set("prepared", built.prepared.release());
  auto made = Napi::Array::New(env, built.made.size());
  for (uint32_t i = 0; i < built.made.size(); i++) {
    auto one = Napi::Object::New(env);
    one.Set("path", built.made[i].path);
    one.Set("digest", built.made[i].digest);
    made.Set(i, one);
  }
  object.Set("made", made);
  auto notes = Napi::Array::New(env, built.notes.size());
  for (uint32_t i = 0; i < built.notes.size(); i++)
    notes.Set(i, built.notes[i]);
  object.Set("notes", notes);
  return object;
}

static Napi::Value buildError(Napi::Env env, const BuildFailure &failure) {
  Napi::Error error = toError(env, failure.error);
  if (failure.step >= 0)
    error.Set("step", Napi::Number::New(env, failure.step));
  return error.Value();
}

/** Forked on the pool, attended on the loop, reaped on the pool after the step went on. */
static void attendBuild(Napi::Env env, Napi::Promise::Deferred deferred, std::shared_ptr<Build> build) {
  auto step = [env, deferred, build] {
    if (!build->advance(0))
      return false;
    if (build->failure())
      deferred.Reject(buildError(env, *build->failure()));
    else
      deferred.Resolve(builtToObject(env, build->built()));
    return true;
  };
  attend(env, build->fd(), kBuildWaitMsMax, step, [build] { return build->takeChild(); });
}

static Napi::Value BuildNamespace(const Napi::CallbackInfo &info) {
  const auto spec = specOf(info[0].ToObject());
  if (!spec)
    return info.Env().Undefined();
  auto build = std::make_shared<Build>();
  auto work = [spec = std::move(*spec), build] { return build->start(spec); };
  auto settle = [build](Napi::Env env, Napi::Promise::Deferred &deferred,
                        std::optional<BuildFailure> &failure) {
    if (failure)
      deferred.Reject(buildError(env, *failure));
    else
      attendBuild(env, deferred, build);
  };
  return Task<decltype(work), decltype(settle)>::start(info.Env(), std::move(work), std::move(settle));
}

static Napi::Value NamespaceId(const Napi::CallbackInfo &info) {
  struct stat status;
  if (fstat(info[0].ToNumber().Int32Value(), &status) < 0)
    return raise(info.Env(), fail("fstat"));
  return Napi::String::New(info.Env(), std::to_string(status.st_ino));
}

/** showTree(fd, path): the mount of fd, which is in no namespace yet, on a directory of the worker's. */
static Napi::Value ShowTree(const Napi::CallbackInfo &info) {
  const std::string path = info[1].ToString();
  if (kernel::moveMount(info[0].ToNumber().Int32Value(), AT_FDCWD, path.c_str()) < 0)
    return raise(info.Env(), fail("move_mount", path));
  return info.Env().Undefined();
}

static Napi::Value HideTree(const Napi::CallbackInfo &info) {
  const std::string path = info[0].ToString();
  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
    return raise(info.Env(), fail("umount2", path));
  return info.Env().Undefined();
}

/** endLease(fd): the other end reads its end now, whoever else has a copy of this one. */
static Napi::Value EndLease(const Napi::CallbackInfo &info) {
  const Fd lease(info[0].ToNumber().Int32Value());
  if (shutdown(lease.get(), SHUT_RDWR) < 0)
    return raise(info.Env(), fail("shutdown"));
  return info.Env().Undefined();
}

/** (run) => what it gives. */
static Napi::Value WithoutForks(const Napi::CallbackInfo &info) {
  const ForksHeld held;
  return info[0].As<Napi::Function>().Call({});
}

void InitNs(Napi::Env env, Napi::Object exports) {
  exports.Set("attachImage", Napi::Function::New<AttachImage>(env));
  exports.Set("attachImageFd", Napi::Function::New<AttachImageFd>(env));
  exports.Set("reserveFor", Napi::Function::New<ReserveFor>(env));
  exports.Set("attachDisk", Napi::Function::New<AttachDisk>(env));
  exports.Set("buildNamespace", Napi::Function::New<BuildNamespace>(env));
  exports.Set("namespaceId", Napi::Function::New<NamespaceId>(env));
  exports.Set("showTree", Napi::Function::New<ShowTree>(env));
  exports.Set("hideTree", Napi::Function::New<HideTree>(env));
  exports.Set("withoutForks", Napi::Function::New<WithoutForks>(env));
  exports.Set("endLease", Napi::Function::New<EndLease>(env));
  InitHost(env, exports);
}

} // namespace berth::binding
