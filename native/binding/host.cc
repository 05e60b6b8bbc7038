// SPDX-License-Identifier: Apache-2.0
/** Files as the user or root sees them, processes and accounts. */
#include "host.hh"

#include "attend.hh"
#include "convert.hh"
#include "core/host/cgroup.hh"
#include "core/host/environment.hh"
#include "core/host/features.hh"
#include "core/host/files.hh"
#include "core/host/lock.hh"
#include "core/host/probe.hh"
#include "core/host/process.hh"
#include "core/host/remove_tree.hh"
#include "core/host/tree_size.hh"
#include "core/sandbox/sandbox.hh"

#include <fcntl.h>
#include <unistd.h>

namespace berth::binding {

static Napi::Value nothing(Napi::Env env, const Nothing &) { return env.Undefined(); }

static Napi::Value CloseFd(const Napi::CallbackInfo &info) {
  if (close(info[0].ToNumber().Int32Value()) < 0 && errno == EBADF)
    return raise(info.Env(), fail("close"));
  return info.Env().Undefined();
}

static Napi::Value OpenFor(const Napi::CallbackInfo &info) {
  const auto options = info[0].ToObject();
  OpenRequest request;
  request.path = textOf(options, "path");
  request.cwd = textOf(options, "cwd", "/");
  request.user = identityOf(options);
  request.flags = static_cast<int>(numberOf(options, "flags", O_RDONLY));
  request.copyMax = static_cast<size_t>(numberOf(options, "copyMax", 0));
  std::shared_ptr<Fd> mountNs;
  if (const int64_t ns = numberOf(options, "mountNs", -1); ns >= 0) {
    mountNs = keep(static_cast<int>(ns));
    request.mountNs = mountNs->get();
    if (!*mountNs)
      return raise(info.Env(), fail("fcntl"));
  }
  return promiseFd(info.Env(), kOpenWaitMsMax,
                   [request, mountNs](FdFromChild &opening) { return startOpening(request, opening); });
}

static Napi::Value OnlyRootWrote(const Napi::CallbackInfo &info) {
  const auto file = keep(info[0].ToNumber().Int32Value());
  if (!*file)
    return raise(info.Env(), fail("fcntl"));
  return promise(
      info.Env(), [file] { return onlyRootWrote(file->get()); },
      [](Napi::Env env, bool answer) { return Napi::Boolean::New(env, answer); });
}

static Napi::Value OpenTemporary(const Napi::CallbackInfo &info) {
  auto temporary = openTemporary(info[0].ToString());
  if (!temporary)
    return raise(info.Env(), temporary.error());
  auto object = Napi::Object::New(info.Env());
  object.Set("fd", temporary->fd.release());
  if (!temporary->name.empty())
    object.Set("name", temporary->name);
  return object;
}

static Napi::Value Publish(const Napi::CallbackInfo &info) {
  const auto file = keep(info[0].ToNumber().Int32Value());
  if (!*file)
    return raise(info.Env(), fail("fcntl"));
  const std::string path = info[1].ToString();
  const std::string name = info[2].IsString() ? info[2].ToString().Utf8Value() : "";
  return promise(
      info.Env(), [file, path, name] { return publish(file->get(), path, name); }, nothing);
}

/** Each piece waits its turn on the pool, behind what others want of it. */
template <typename Walk, typename Convert>
static Napi::Promise walkOn(Napi::Env env, std::shared_ptr<Walk> walk, Convert convert,
                            std::optional<Napi::Promise::Deferred> first = {}) {
  auto settle = [walk, convert, first](Napi::Env where, Napi::Promise::Deferred &own, Result<bool> &done) {
    const Napi::Promise::Deferred deferred = first.value_or(own);
    if (!done)
      deferred.Reject(toError(where, done.error()).Value());
    else if (*done)
      deferred.Resolve(convert(where, *walk));
    else
      (void)walkOn(where, walk, convert, deferred);
  };
  auto work = [walk] { return walk->work(); };
  return Task<decltype(work), decltype(settle)>::start(env, std::move(work), std::move(settle));
}

static Napi::Value RemoveTree(const Napi::CallbackInfo &info) {
  return walkOn(info.Env(), std::make_shared<TreeRemoval>(info[0].ToString().Utf8Value()),
                [](Napi::Env env, const TreeRemoval &) { return env.Undefined(); });
}

static Napi::Value TreeSizeOf(const Napi::CallbackInfo &info) {
  return walkOn(info.Env(), std::make_shared<TreeSize>(info[0].ToString().Utf8Value()),
                [](Napi::Env env, const TreeSize &size) {
                  return Napi::Number::New(env, static_cast<double>(size.bytes()));
                });
}

static Napi::Value LockFile(const Napi::CallbackInfo &info) {
  auto taken = lockFile(info[0].ToNumber().Int32Value());
  if (!taken)
    return raise(info.Env(), taken.error());
  return Napi::Boolean::New(info.Env(), taken.value());
}

static Napi::Value ProcessStart(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), static_cast<double>(processStart(info[0].ToNumber().Int32Value())));
}

/** A reading that takes for ever keeps no process alive. */
static Napi::Value ReadEnvironment(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const pid_t pid = info[0].ToNumber().Int32Value();
  const auto bytesMax = static_cast<size_t>(info[1].ToNumber().Int64Value());
  const auto deferred = Napi::Promise::Deferred::New(env);
  const auto nobody = Napi::Function::New(env, [](const Napi::CallbackInfo &) {});
  auto wake = Napi::ThreadSafeFunction::New(env, nobody, "environment", 0, 1);
  wake.Unref(env);
  auto settle = [deferred](Napi::Env where, Napi::Function, Result<std::string> *answer) {
    const std::unique_ptr<Result<std::string>> text(answer);
    if (*text)
      deferred.Resolve(Napi::Buffer<char>::Copy(where, (*text)->data(), (*text)->size()));
    else
      deferred.Reject(toError(where, text->error()).Value());
  };
  auto done = [wake, settle](Result<std::string> text) {
    auto answer = std::make_unique<Result<std::string>>(std::move(text));
    if (wake.NonBlockingCall(answer.get(), settle) == napi_ok)
      (void)answer.release();
    wake.Release();
  };
  if (auto started = readEnvironment(pid, bytesMax, done); !started) {
    wake.Release();
    return raise(env, started.error());
  }
  return deferred.Promise();
}

static Napi::Value ShareCgroups(const Napi::CallbackInfo &info) {
  const pid_t pid = info[0].ToNumber().Int32Value();
  const pid_t like = info[1].ToNumber().Int32Value();
  return promise(
      info.Env(), [pid, like] { return shareCgroups(pid, like); }, nothing);
}

static Napi::Value ProbeDevices(const Napi::CallbackInfo &info) {
  const pid_t pid = info[0].ToNumber().Int32Value();
  const auto list = info[1].As<Napi::Array>();
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < list.Length(); i++)
    paths.push_back(list.Get(i).ToString());
  return promise(
      info.Env(), [pid, paths] { return probeDevices(pid, paths); },
      [](Napi::Env env, const std::vector<int> &codes) {
        auto array = Napi::Array::New(env, codes.size());
        for (size_t i = 0; i < codes.size(); i++)
          array.Set(static_cast<uint32_t>(i), codes[i]);
        return array;
      });
}

static Napi::Value accountToObject(Napi::Env env, const std::optional<Account> &account) {
  if (!account)
    return env.Undefined();
  auto object = Napi::Object::New(env);
  object.Set("name", account->name);
  object.Set("uid", account->uid);
  object.Set("gid", account->gid);
  object.Set("home", account->home);
  object.Set("shell", account->shell);
  return object;
}

static Napi::Value UserByUid(const Napi::CallbackInfo &info) {
  const uid_t uid = info[0].ToNumber().Uint32Value();
  return promise(
      info.Env(), [uid] { return accountByUid(uid); }, accountToObject);
}

static Napi::Value UserByName(const Napi::CallbackInfo &info) {
  const std::string name = info[0].ToString();
  return promise(
      info.Env(), [name] { return accountByName(name); }, accountToObject);
}

static Napi::Value GroupName(const Napi::CallbackInfo &info) {
  const gid_t gid = info[0].ToNumber().Uint32Value();
  return promise(
      info.Env(), [gid] { return groupName(gid); },
      [](Napi::Env env, const std::optional<std::string> &name) -> Napi::Value {
        return name ? Napi::Value(Napi::String::New(env, *name)) : env.Undefined();
      });
}

static Napi::Value KernelFeaturesOf(const Napi::CallbackInfo &info) {
  // Every step asks; the answer changes with a reboot.
  static const KernelFeatures features = probeKernel();
  auto object = Napi::Object::New(info.Env());
  object.Set("release", features.release);
  object.Set("mountApi", features.mountApi);
  object.Set("squashfs", features.squashfs);
  object.Set("squashfsIdmap", features.squashfsIdmap);
  object.Set("overlay", features.overlay);
  object.Set("loop", features.loop);
  object.Set("userNamespaces", features.userNamespaces);
  object.Set("landlock", features.landlock);
  object.Set("pidfd", features.pidfd);
  return object;
}

static Napi::Value EnterSandbox(const Napi::CallbackInfo &info) {
  const auto options = info[0].ToObject();
  Sandbox sandbox;
  const auto paths = options.Get("read").As<Napi::Array>();
  for (uint32_t i = 0; i < paths.Length(); i++)
    sandbox.read.push_back(paths.Get(i).ToString());
  sandbox.fileBytesMax = static_cast<uint64_t>(numberOf(options, "fileSizeMax"));
  sandbox.network = flagOf(options, "network");
  sandbox.readAny = flagOf(options, "readAny");
  if (auto entered = enterSandbox(sandbox); !entered)
    return raise(info.Env(), entered.error());
  return info.Env().Undefined();
}

void InitHost(Napi::Env env, Napi::Object exports) {
  exports.Set("closeFd", Napi::Function::New<CloseFd>(env));
  exports.Set("openAs", Napi::Function::New<OpenFor>(env));
  exports.Set("onlyRootWrote", Napi::Function::New<OnlyRootWrote>(env));
  exports.Set("openTemporary", Napi::Function::New<OpenTemporary>(env));
  exports.Set("publish", Napi::Function::New<Publish>(env));
  exports.Set("removeTree", Napi::Function::New<RemoveTree>(env));
  exports.Set("treeSize", Napi::Function::New<TreeSizeOf>(env));
  exports.Set("lockFile", Napi::Function::New<LockFile>(env));
  exports.Set("processStart", Napi::Function::New<ProcessStart>(env));
  exports.Set("readEnvironment", Napi::Function::New<ReadEnvironment>(env));
  exports.Set("shareCgroups", Napi::Function::New<ShareCgroups>(env));
  exports.Set("probeDevices", Napi::Function::New<ProbeDevices>(env));
  exports.Set("userByUid", Napi::Function::New<UserByUid>(env));
  exports.Set("userByName", Napi::Function::New<UserByName>(env));
  exports.Set("groupName", Napi::Function::New<GroupName>(env));
  exports.Set("kernelFeatures", Napi::Function::New<KernelFeaturesOf>(env));
  exports.Set("sandbox", Napi::Function::New<EnterSandbox>(env));
}

} // namespace berth::binding
