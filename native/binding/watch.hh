// SPDX-License-Identifier: Apache-2.0
/** watchProcess of src/native.ts: a pidfd on the loop. */
#pragma once

#include "core/result.hh"
#include "poll.hh"

#include <napi.h>

namespace berth::binding {

class Watch : public Napi::ObjectWrap<Watch> {
public:
  static Napi::Function define(Napi::Env env);
  /** watchProcess(pid, ended) */
  static Napi::Value start(const Napi::CallbackInfo &info);
  explicit Watch(const Napi::CallbackInfo &info);
  ~Watch() override;

private:
  void close(const Napi::CallbackInfo &info);
  void unref(const Napi::CallbackInfo &info);
  void stop();
  void tell();

  Fd pidfd_;
  Poll poll_;
  Napi::FunctionReference ended_;
};

} // namespace berth::binding
