// SPDX-License-Identifier: Apache-2.0
/** listen, listenFd, connect, adopt, socketPair, watchProcess. */
#include "init.hh"

#include "convert.hh"
#include "instance.hh"
#include "listener.hh"
#include "socket.hh"
#include "watch.hh"

namespace berth::binding {

static Napi::Value Listen(const Napi::CallbackInfo &info) {
  auto fd = listenAt(info[0].ToString(), info[1].ToNumber().Uint32Value());
  if (!fd)
    return raise(info.Env(), fd.error());
  return Listener::make(info.Env(), std::move(*fd), info[2].As<Napi::Function>());
}

static Napi::Value ListenFd(const Napi::CallbackInfo &info) {
  Fd fd(info[0].ToNumber().Int32Value());
  if (auto ready = prepareSocket(fd.get()); !ready)
    return raise(info.Env(), ready.error());
  return Listener::make(info.Env(), std::move(fd), info[1].As<Napi::Function>());
}

static Napi::Value start(Napi::Env env, Fd fd, const Napi::Object &handler) {
  const Napi::Object object = Socket::make(env, std::move(fd));
  if (object.IsEmpty())
    return env.Undefined();
  Socket::Unwrap(object)->begin(handler);
  return object;
}

static Napi::Value Connect(const Napi::CallbackInfo &info) {
  auto fd = connectTo(info[0].ToString());
  if (!fd)
    return raise(info.Env(), fd.error());
  return start(info.Env(), std::move(*fd), info[1].ToObject());
}

static Napi::Value Adopt(const Napi::CallbackInfo &info) {
  Fd fd(info[0].ToNumber().Int32Value());
  if (auto ready = prepareSocket(fd.get()); !ready)
    return raise(info.Env(), ready.error());
  return start(info.Env(), std::move(fd), info[1].ToObject());
}

static Napi::Value SocketPair(const Napi::CallbackInfo &info) {
  auto pair = socketPair();
  if (!pair)
    return raise(info.Env(), pair.error());
  auto list = Napi::Array::New(info.Env(), 2);
  list.Set(0u, pair->first.release());
  list.Set(1u, pair->second.release());
  return list;
}

void InitIpc(Napi::Env env, Napi::Object exports) {
  auto *instance = env.GetInstanceData<Instance>();
  instance->socket = Napi::Persistent(Socket::define(env));
  instance->listener = Napi::Persistent(Listener::define(env));
  instance->watch = Napi::Persistent(Watch::define(env));
  exports.Set("listen", Napi::Function::New<Listen>(env));
  exports.Set("listenFd", Napi::Function::New<ListenFd>(env));
  exports.Set("connect", Napi::Function::New<Connect>(env));
  exports.Set("adopt", Napi::Function::New<Adopt>(env));
  exports.Set("socketPair", Napi::Function::New<SocketPair>(env));
  exports.Set("watchProcess", Napi::Function::New<Watch::start>(env));
}

} // namespace berth::binding
