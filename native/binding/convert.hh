// SPDX-License-Identifier: Apache-2.0
/** Between core/ and JavaScript: errors out, plain values in, work on libuv's pool as promises. */
#pragma once

#include "core/ns/identity.hh"
#include "core/result.hh"

#include <memory>
#include <napi.h>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace berth::binding {

/** NativeError of src/native.ts: code (errno name), errno, syscall, path. */
Napi::Error toError(Napi::Env env, const Error &error);

/** Throws into JavaScript; for `return raise(env, error)`. */
Napi::Value raise(Napi::Env env, const Error &error);

/** Absent and undefined give the default. */
std::string textOf(const Napi::Object &object, const char *name, const char *otherwise = "");
bool flagOf(const Napi::Object &object, const char *name, bool otherwise = false);
/** Empty when it is no array. */
std::vector<std::string> textsOf(const Napi::Value &value);
int64_t numberOf(const Napi::Object &object, const char *name, int64_t otherwise = 0);
/** uid, gid, gids. */
Identity identityOf(const Napi::Object &object);

/** A copy: a promise runs later, and what it works on must not be closed or reused by then. Empty: EBADF. */
std::shared_ptr<Fd> keep(int fd);

/** Runs `work` on the pool and `settle(env, deferred, answer)` on JavaScript's thread. */
template <typename Work, typename Settle> class Task final : public Napi::AsyncWorker {
  using Answer = std::invoke_result_t<Work &>;

public:
  static Napi::Promise start(Napi::Env env, Work work, Settle settle) {
    auto *task = new Task(env, std::move(work), std::move(settle));
    Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

private:
  Task(Napi::Env env, Work work, Settle settle)
      : Napi::AsyncWorker(env, "berth"), work_(std::move(work)), settle_(std::move(settle)),
        deferred_(Napi::Promise::Deferred::New(env)) {}
  void Execute() override { answer_.emplace(work_()); }
  void OnOK() override { settle_(Env(), deferred_, *answer_); }

  Work work_;
  Settle settle_;
  Napi::Promise::Deferred deferred_;
  std::optional<Answer> answer_;
};

/** A promise for a Result: rejects with its error, else resolves with convert(env, value). */
template <typename Work, typename Convert> Napi::Promise promise(Napi::Env env, Work work, Convert convert) {
  auto settle = [convert = std::move(convert)](Napi::Env where, Napi::Promise::Deferred &deferred,
                                               auto &answer) {
    if (answer.ok())
      deferred.Resolve(convert(where, answer.value()));
    else
      deferred.Reject(toError(where, answer.error()).Value());
  };
  return Task<Work, decltype(settle)>::start(env, std::move(work), std::move(settle));
}

} // namespace berth::binding
