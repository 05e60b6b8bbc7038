// SPDX-License-Identifier: Apache-2.0
#include "poll.hh"

namespace berth::binding {

int Poll::open(Napi::Env env, int fd, Ready ready) {
  uv_loop_t *loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok)
    return UV_EINVAL;
  auto *inner = new Inner{};
  if (const int code = uv_poll_init(loop, &inner->handle, fd); code < 0) {
    delete inner;
    return code;
  }
  inner->handle.data = inner;
  inner->ready = std::move(ready);
  inner_ = inner;
  return 0;
}

void Poll::onReady(uv_poll_t *handle, int status, int events) {
  static_cast<Inner *>(handle->data)->ready(status, events);
}

void Poll::want(int events) {
  if (inner_ == nullptr || events == wanted_)
    return;
  wanted_ = events;
  if (events == 0)
    uv_poll_stop(&inner_->handle);
  else
    uv_poll_start(&inner_->handle, events, onReady);
}

void Poll::close(std::function<void()> closed) {
  Inner *inner = std::exchange(inner_, nullptr);
  if (inner == nullptr)
    return;
  inner->closed = std::move(closed);
  uv_close(reinterpret_cast<uv_handle_t *>(&inner->handle), [](uv_handle_t *handle) {
    auto *done = static_cast<Inner *>(handle->data);
    if (done->closed)
      done->closed();
    delete done;
  });
}

void Poll::unref() {
  if (inner_ != nullptr)
    uv_unref(reinterpret_cast<uv_handle_t *>(&inner_->handle));
}

static Napi::Value settle(Napi::Env env, napi_status status, napi_value answer) {
  if (status == napi_ok)
    return Napi::Value(env, answer);
  napi_value exception = nullptr;
  if (env.IsExceptionPending() && napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);
  return Napi::Value();
}

static Napi::Value call(Napi::Env env, napi_value self, napi_value function,
                        const std::vector<napi_value> &arguments) {
  napi_value answer = nullptr;
  // No async context of its own: the sockets are internal, nothing traces them.
  const napi_status status =
      napi_make_callback(env, nullptr, self, function, arguments.size(), arguments.data(), &answer);
  return settle(env, status, answer);
}

Napi::Value callFromLoop(const Napi::Object &object, const char *name,
                         const std::vector<napi_value> &arguments) {
  return call(object.Env(), object, object.Get(name), arguments);
}

Napi::Value callFromLoop(const Napi::Function &function, const std::vector<napi_value> &arguments) {
  return call(function.Env(), function.Env().Global(), function, arguments);
}

} // namespace berth::binding
