// SPDX-License-Identifier: Apache-2.0
#include "listener.hh"

#include "convert.hh"
#include "instance.hh"
#include "socket.hh"

namespace berth::binding {

/** Connections taken per event; the rest wait in the kernel's queue while those taken are served. */
constexpr int kAcceptsPerEvent = 32;

Napi::Function Listener::define(Napi::Env env) {
  return DefineClass(env, "NativeListener",
                     {
                         InstanceMethod<&Listener::close>("close"),
                         InstanceMethod<&Listener::unref>("unref"),
                     });
}

Napi::Value Listener::make(Napi::Env env, Fd fd, const Napi::Function &accepted) {
  const Napi::Object object = env.GetInstanceData<Instance>()->listener.New({});
  if (env.IsExceptionPending())
    return env.Undefined();
  Listener *listener = Unwrap(object);
  listener->acceptor_.emplace(std::move(fd));
  listener->accepted_ = Napi::Persistent(accepted);
  const int code =
      listener->poll_.open(env, listener->acceptor_->fd(), [listener](int, int) { listener->acceptSome(); });
  if (code < 0)
    return raise(env, fail(-code, "uv_poll_init"));
  listener->Ref();
  listener->poll_.want(UV_READABLE);
  return object;
}

Listener::Listener(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Listener>(info) {}
Listener::~Listener() { poll_.close(nullptr); }

void Listener::acceptSome() {
  const Napi::HandleScope scope(Env());
  for (int i = 0; i < kAcceptsPerEvent && poll_.isOpen(); i++) {
    auto fd = acceptor_->accept();
    if (fd)
      welcome(std::move(*fd));
    else if (fd.error().code != ECONNABORTED)
      return;
  }
}

void Listener::welcome(Fd fd) {
  const Napi::HandleScope scope(Env());
  const Napi::Object object = Socket::make(Env(), std::move(fd));
  if (object.IsEmpty()) {
    Env().GetAndClearPendingException();
    return;
  }
  const Napi::Value handler = callFromLoop(accepted_.Value(), {object});
  if (!handler.IsEmpty() && handler.IsObject())
    Socket::Unwrap(object)->begin(handler.As<Napi::Object>());
  else
    Socket::Unwrap(object)->finish(std::nullopt);
}

void Listener::close(const Napi::CallbackInfo &) {
  if (!poll_.isOpen())
    return;
  poll_.close([this] { Unref(); });
  acceptor_.reset();
  accepted_.Reset();
}

void Listener::unref(const Napi::CallbackInfo &) { poll_.unref(); }

} // namespace berth::binding
