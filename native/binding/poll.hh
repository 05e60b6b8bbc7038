// SPDX-License-Identifier: Apache-2.0
/** One descriptor on libuv's loop, and calls from there into JavaScript. */
#pragma once

#include <functional>
#include <napi.h>
#include <uv.h>

namespace berth::binding {

/** Outlives its owner until libuv has let go of the handle; the owner only keeps this door to it. */
class Poll {
public:
  using Ready = std::function<void(int status, int events)>;
  /** Borrows `fd`, which must stay open until close(). Answers a libuv error, 0 if all is well. */
  int open(Napi::Env env, int fd, Ready ready);
  /** UV_READABLE | UV_WRITABLE; 0 stops. */
  void want(int events);
  /** `closed` runs later, once. Nothing happens on a second call. */
  void close(std::function<void()> closed);
  void unref();
  bool isOpen() const { return inner_ != nullptr; }

private:
  struct Inner {
    uv_poll_t handle;
    Ready ready;
    std::function<void()> closed;
  };
  static void onReady(uv_poll_t *handle, int status, int events);
  Inner *inner_ = nullptr;
  int wanted_ = 0;
};

/** Calls `object.name(...)` from the loop; an exception there becomes an uncaught one, as for any event of
 * Node's. */
Napi::Value callFromLoop(const Napi::Object &object, const char *name,
                         const std::vector<napi_value> &arguments);
Napi::Value callFromLoop(const Napi::Function &function, const std::vector<napi_value> &arguments);

} // namespace berth::binding
