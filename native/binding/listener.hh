// SPDX-License-Identifier: Apache-2.0
/** NativeListener of src/native.ts. */
#pragma once

#include "core/ipc/endpoint.hh"
#include "poll.hh"

#include <napi.h>
#include <optional>

namespace berth::binding {

class Listener : public Napi::ObjectWrap<Listener> {
public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value make(Napi::Env env, Fd fd, const Napi::Function &accepted);
  explicit Listener(const Napi::CallbackInfo &info);
  ~Listener() override;

private:
  void close(const Napi::CallbackInfo &info);
  void unref(const Napi::CallbackInfo &info);
  void acceptSome();
  void welcome(Fd fd);

  std::optional<Acceptor> acceptor_;
  Poll poll_;
  Napi::FunctionReference accepted_;
};

} // namespace berth::binding
