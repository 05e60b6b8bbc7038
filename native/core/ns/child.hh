// SPDX-License-Identifier: Apache-2.0
/**
 * A forked child that does what a thread cannot (enter mount namespaces, become a user) and reports over a
 * socket pair. It dies with its parent and is reaped by its owner. The child may use the heap: glibc's and
 * musl's fork() leave the allocator usable in a threaded process.
 */
#pragma once

#include "core/result.hh"

#include <csignal>
#include <functional>
#include <string>
#include <sys/types.h>

namespace berth {

struct Report {
  enum Kind : uint32_t { kNote, kFailed, kRoot, kPrepared, kFirst, kReady, kMade, kDone };
  Kind kind = kDone;
  /** Failure: what and where; `step` is the index of the mount step, -1 outside of them. Note: error.message.
   */
  Error error;
  int step = -1;
  /** Descriptor that came with the report. */
  Fd fd;
};

/** The child's end. Every call ends the child when the parent has gone. */
class ParentLink {
public:
  explicit ParentLink(Fd socket) : socket_(std::move(socket)) {}
  void note(const std::string &text);
  void made(const std::string &path, const std::string &digest);
  void send(Report::Kind kind, int fd = -1);
  /** Of a pid namespace: the first process, in Report::step, and its lease. */
  void first(pid_t pid, int lease);
  /** Tells the failure; the caller returns from the child's function after it. */
  void failed(const Error &error, int step);
  /** Sends kReady and waits until the parent calls proceed(). */
  void waitForParent();
  /** Blocks until the parent closes its end or kills. */
  void waitForEnd();

private:
  void sendReport(Report::Kind kind, const Error &error, int step, int fd);
  Fd socket_;
};

class Child {
public:
  /** Forks; `work` runs in the child with all signals blocked, then the child exits without cleanup. */
  static Result<Child> start(const std::function<void(ParentLink &)> &work);
  Child(Child &&) noexcept;
  Child &operator=(Child &&) = delete;
  /** Kills the child if it still runs and reaps it. */
  ~Child();

  pid_t pid() const { return pid_; }
  /** Readable when receive() will not wait. */
  int fd() const { return socket_.get(); }
  /** Next report; ETIMEDOUT after `waitMsMax`, ECHILD when the child ended without one. */
  Result<Report> receive(int waitMsMax);
  Result<> proceed();

private:
  Child(pid_t pid, Fd socket) : pid_(pid), socket_(std::move(socket)) {}
  pid_t pid_;
  Fd socket_;
  bool stuck_ = false;
};

/**
 * No Child starts while it is alive. For who makes descriptors for a program that it starts (uv_spawn): a
 * Child that inherited them would keep them open, and the starter wait for their end.
 */
class ForksHeld {
public:
  ForksHeld();
  ~ForksHeld();
};

/** Signals off while alive; forked children inherit that, so that no handler of Node's runs in them. */
class SignalsBlocked {
public:
  SignalsBlocked();
  ~SignalsBlocked();

private:
  sigset_t before_;
};

/** The calling process is killed when the thread that forked it ends; to be repeated after each change of
 * ids. */
void dieWithParent(pid_t parent);

} // namespace berth
