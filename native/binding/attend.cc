// SPDX-License-Identifier: Apache-2.0
#include "attend.hh"

#include "convert.hh"
#include "poll.hh"

namespace berth::binding {

static void endChild(Napi::Env env, std::shared_ptr<Child> child) {
  auto work = [child = std::move(child)]() mutable {
    child.reset();
    return Result<>(Nothing{});
  };
  promise(env, std::move(work), [](Napi::Env where, Nothing &) { return where.Undefined(); });
}

/** Frees itself when both handles have been let go of. */
class Attendance {
public:
  Attendance(Napi::Env env, std::function<bool()> step, std::function<std::shared_ptr<Child>()> takeChild)
      : env_(env), context_(env, "berth"), step_(std::move(step)), takeChild_(std::move(takeChild)) {}

  void begin(int fd, int waitMsMax) {
    uv_loop_t *loop = nullptr;
    napi_get_uv_event_loop(env_, &loop);
    uv_timer_init(loop, &timer_);
    timer_.data = this;
    // Again and again: a report that came just before the end of the first time lets the child go on.
    uv_timer_start(
        &timer_, [](uv_timer_t *timer) { static_cast<Attendance *>(timer->data)->call(); },
        static_cast<uint64_t>(waitMsMax), static_cast<uint64_t>(waitMsMax));
    if (poll_.open(env_, fd, [this](int, int) { call(); }) < 0)
      return call();
    poll_.want(UV_READABLE);
  }

private:
  void call() {
    const Napi::HandleScope scope(env_);
    const Napi::CallbackScope callbacks(env_,
                                        context_); // promises settled inside run their callbacks at its end
    if (!step_())
      return;
    // First: the pool closes the descriptor, and its number may be another child's before epoll forgets this
    // one.
    poll_.close(nullptr);
    endChild(env_, takeChild_());
    uv_close(reinterpret_cast<uv_handle_t *>(&timer_),
             [](uv_handle_t *handle) { delete static_cast<Attendance *>(handle->data); });
  }

  Napi::Env env_;
  Napi::AsyncContext context_;
  std::function<bool()> step_;
  std::function<std::shared_ptr<Child>()> takeChild_;
  Poll poll_;
  uv_timer_t timer_{};
};

void attend(Napi::Env env, int fd, int waitMsMax, std::function<bool()> step,
            std::function<std::shared_ptr<Child>()> takeChild) {
  (new Attendance(env, std::move(step), std::move(takeChild)))->begin(fd, waitMsMax);
}

static void attendFd(Napi::Env env, int waitMsMax, Napi::Promise::Deferred deferred,
                     std::shared_ptr<FdFromChild> answer) {
  auto step = [env, deferred, answer] {
    auto fd = answer->finish(0);
    if (fd)
      deferred.Resolve(Napi::Number::New(env, fd->release()));
    else
      deferred.Reject(toError(env, fd.error()).Value());
    return true;
  };
  attend(env, answer->fd(), waitMsMax, step, [answer] { return answer->takeChild(); });
}

Napi::Value promiseFd(Napi::Env env, int waitMsMax,
                      std::function<std::optional<Error>(FdFromChild &)> start) {
  auto answer = std::make_shared<FdFromChild>();
  auto work = [start = std::move(start), answer] { return start(*answer); };
  auto settle = [answer, waitMsMax](Napi::Env where, Napi::Promise::Deferred &deferred,
                                    std::optional<Error> &error) {
    if (error)
      deferred.Reject(toError(where, *error).Value());
    else
      attendFd(where, waitMsMax, deferred, answer);
  };
  return Task<decltype(work), decltype(settle)>::start(env, std::move(work), std::move(settle));
}

} // namespace berth::binding
