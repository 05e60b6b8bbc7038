// SPDX-License-Identifier: Apache-2.0
/**
 * How functions of core/ answer: a value, or the failed system call with errno and the object it failed on.
 * No exceptions cross core/'s functions. Also the owner of a file descriptor, since most results are one.
 */
#pragma once

#include <cerrno>
#include <string>
#include <unistd.h>
#include <utility>
#include <variant>

namespace berth {

struct Error {
  /** errno value, never 0. */
  int code = EIO;
  /** The system call, or the step of ours that failed ("tar", "inflate"). */
  std::string syscall;
  /** The object: a path, "layer 2", may be empty. */
  std::string path;
  /** One sentence for failures whose errno says too little (EBADMSG); empty: strerror is enough. */
  std::string message;
};

/** Takes errno now: later calls may change it. */
inline Error fail(const char *syscall, std::string path = {}) {
  return Error{errno, syscall, std::move(path), {}};
}

inline Error fail(int code, const char *syscall, std::string path = {}, std::string message = {}) {
  return Error{code, syscall, std::move(path), std::move(message)};
}

struct Nothing {};

template <typename T = Nothing> class [[nodiscard]] Result {
public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T &value() & { return std::get<0>(state_); }
  const T &value() const & { return std::get<0>(state_); }
  T &&value() && { return std::get<0>(std::move(state_)); }
  T &operator*() & { return value(); }
  const T &operator*() const & { return value(); }
  T *operator->() { return &value(); }
  const T *operator->() const { return &value(); }
  Error &error() & { return std::get<1>(state_); }
  const Error &error() const & { return std::get<1>(state_); }
  Error &&error() && { return std::get<1>(std::move(state_)); }

private:
  std::variant<T, Error> state_;
};

/** Owns a file descriptor; -1 is empty. */
class Fd {
public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd &&other) noexcept : fd_(other.release()) {}
  Fd &operator=(Fd &&other) noexcept {
    if (this != &other)
      reset(other.release());
    return *this;
  }
  Fd(const Fd &) = delete;
  Fd &operator=(const Fd &) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  int release() { return std::exchange(fd_, -1); }
  /** Keeps errno: it is called on the way out of failures. */
  void reset(int fd = -1) {
    if (fd_ >= 0) {
      const int saved = errno;
      ::close(fd_);
      errno = saved;
    }
    fd_ = fd;
  }

private:
  int fd_ = -1;
};

} // namespace berth
