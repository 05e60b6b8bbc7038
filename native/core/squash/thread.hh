// SPDX-License-Identifier: Apache-2.0
/** A joined thread whose start may fail (RLIMIT_NPROC) without an exception. */
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <new>
#include <pthread.h>

#include "gate.hh"

namespace berth::squash {

class Thread {
public:
  Thread() = default;
  Thread(Thread &&other) noexcept : running_(std::exchange(other.running_, false)), id_(other.id_) {}
  Thread &operator=(Thread &&) = delete;
  ~Thread() { join(); }

  /**
   * Signals stay blocked in it: they belong to the caller's threads, and SIGXFSZ (file size limit, sent to
   * the thread that writes) must arrive as EFBIG instead of ending the process.
   */
  Result<> start(Gate &gate, std::function<void()> body) {
    auto task = std::make_unique<Task>(Task{&gate, std::move(body)});
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&id_, nullptr, &Thread::run, task.get());
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failed != 0)
      return fail(failed, "pthread_create");
    task.release();
    running_ = true;
    return Nothing{};
  }

  void join() {
    if (std::exchange(running_, false))
      pthread_join(id_, nullptr);
  }

private:
  struct Task {
    Gate *gate;
    std::function<void()> body;
  };

  static void *run(void *argument) {
    std::unique_ptr<Task> task(static_cast<Task *>(argument));
#if defined(__cpp_exceptions)
    try {
      task->body();
    } catch (const std::bad_alloc &) {
      task->gate->stop(fail(ENOMEM, "malloc"));
    }
#else
    task->body();
#endif
    return nullptr;
  }

  bool running_ = false;
  pthread_t id_{};
};

} // namespace berth::squash
