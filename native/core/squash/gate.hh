// SPDX-License-Identifier: Apache-2.0
/**
 * One lock and one verdict for all queues of a conversion. Hand-overs happen per 128 KiB or more, a few
 * thousand a second, so that a single mutex costs nothing and no lock order can be got wrong.
 */
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "../result.hh"

namespace berth::squash {

class Gate {
public:
  std::mutex mutex;

  /** Before any thread runs: a stop wakes those who wait on `condition`. */
  void watch(std::condition_variable &condition) { conditions_.push_back(&condition); }
  /** Before any thread runs: called once with the first error, without the lock. */
  void whenStopped(std::function<void(const Error &)> hook) { hook_ = std::move(hook); }

  /** With the lock held: waits for `ready`; false when the conversion was stopped. */
  template <typename Ready>
  bool wait(std::unique_lock<std::mutex> &lock, std::condition_variable &condition, Ready ready) {
    condition.wait(lock, [&] { return error_.has_value() || ready(); });
    return !error_.has_value();
  }

  /** The first error stays; everyone who waits or will wait gets it. */
  void stop(Error error) {
    {
      std::lock_guard lock(mutex);
      if (error_)
        return;
      error_ = std::move(error);
      for (auto *condition : conditions_)
        condition->notify_all();
    }
    if (hook_)
      hook_(*error_);
  }

  bool stoppedLocked() const { return error_.has_value(); }
  bool stopped() {
    std::lock_guard lock(mutex);
    return error_.has_value();
  }
  /** The verdict, ECANCELED when there is none yet. */
  Error error() {
    std::lock_guard lock(mutex);
    return errorLocked();
  }
  Error errorLocked() const { return error_ ? *error_ : berth::fail(ECANCELED, "squash"); }

private:
  std::optional<Error> error_;
  std::vector<std::condition_variable *> conditions_;
  std::function<void(const Error &)> hook_;
};

} // namespace berth::squash
