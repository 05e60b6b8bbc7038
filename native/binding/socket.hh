// SPDX-License-Identifier: Apache-2.0
/** NativeSocket of src/native.ts. */
#pragma once

#include "core/ipc/endpoint.hh"
#include "core/ipc/fds.hh"
#include "poll.hh"

#include <deque>
#include <napi.h>
#include <optional>

namespace berth::binding {

class Socket : public Napi::ObjectWrap<Socket> {
public:
  static Napi::Function define(Napi::Env env);
  /** Takes the descriptor; throws into JavaScript and answers an empty value when it is no unix socket. */
  static Napi::Object make(Napi::Env env, Fd fd);
  explicit Socket(const Napi::CallbackInfo &info);
  ~Socket() override;

  /** Reading starts here, so that no byte comes before there is somebody to take it. */
  void begin(const Napi::Object &handler);
  void finish(std::optional<Error> error);

private:
  struct Piece {
    std::string bytes;
    size_t done = 0;
    std::vector<Fd> fds;
  };

  void send(const Napi::CallbackInfo &info);
  void pause(const Napi::CallbackInfo &info);
  void resume(const Napi::CallbackInfo &info);
  void end(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);
  void unref(const Napi::CallbackInfo &info);
  Napi::Value peer(const Napi::CallbackInfo &info);

  void ready(int status, int events);
  void readSome();
  void deliver(const char *bytes, size_t length, std::vector<Fd> fds);
  bool queue(const char *bytes, size_t length, const std::vector<int> &fds);
  void flush();
  void watch();
  void told(const std::optional<Error> &error);

  Fd fd_;
  Peer peer_;
  Poll poll_;
  Napi::ObjectReference handler_;
  std::deque<Piece> queue_;
  size_t queuedBytes_ = 0;
  /** Only root's and our own: no message of other users has any. */
  bool takesFds_ = false;
  bool reading_ = true;
  bool ending_ = false;
  bool finished_ = false;
  /** The peer takes nothing more; what it sent before is still read. */
  bool deaf_ = false;
};

} // namespace berth::binding
