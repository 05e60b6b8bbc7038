// SPDX-License-Identifier: Apache-2.0
#include "watch.hh"

#include "convert.hh"
#include "core/ns/kernel.hh"
#include "instance.hh"

namespace berth::binding {

Napi::Function Watch::define(Napi::Env env) {
  return DefineClass(env, "NativeWatch",
                     {
                         InstanceMethod<&Watch::close>("close"),
                         InstanceMethod<&Watch::unref>("unref"),
                     });
}

Napi::Value Watch::start(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  Fd pidfd = kernel::openPidfd(info[0].ToNumber().Int32Value());
  if (!pidfd)
    return raise(env, fail("pidfd_open", std::to_string(info[0].ToNumber().Int32Value())));
  const Napi::Object object = env.GetInstanceData<Instance>()->watch.New({});
  if (env.IsExceptionPending())
    return env.Undefined();
  Watch *watch = Unwrap(object);
  watch->pidfd_ = std::move(pidfd);
  watch->ended_ = Napi::Persistent(info[1].As<Napi::Function>());
  const int code = watch->poll_.open(env, watch->pidfd_.get(), [watch](int, int) { watch->tell(); });
  if (code < 0)
    return raise(env, fail(-code, "uv_poll_init"));
  watch->Ref();
  watch->poll_.want(UV_READABLE);
  return object;
}

Watch::Watch(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Watch>(info) {}
Watch::~Watch() { poll_.close(nullptr); }

void Watch::tell() {
  const Napi::HandleScope scope(Env());
  const Napi::Function ended = ended_.Value();
  stop();
  callFromLoop(ended, {});
}

void Watch::stop() {
  if (!poll_.isOpen())
    return;
  poll_.close([this] { Unref(); });
  pidfd_.reset();
  ended_.Reset();
}

void Watch::close(const Napi::CallbackInfo &) { stop(); }
void Watch::unref(const Napi::CallbackInfo &) { poll_.unref(); }

} // namespace berth::binding
