// SPDX-License-Identifier: Apache-2.0
/** NativeSquash of src/native.ts: promises for the converter's answers, which come from its own threads. */
#include "convert.hh"
#include "core/elf/needed_watch.hh"
#include "core/squash/convert.hh"
#include "core/squash/inflate.hh"
#include "core/squash/stored_layers.hh"
#include "init.hh"
#include "marks.hh"

#include <memory>
#include <thread>

namespace berth::binding {
namespace {

using squash::Converter;
using squash::ConvertOptions;
using squash::ConvertResult;

/** One conversion. Lives while JavaScript holds its object or waits for an answer; made and destroyed there.
 */
class Session : public std::enable_shared_from_this<Session> {
public:
  Session(Napi::Env env, std::unique_ptr<Converter> converter)
      : env_(env), converter_(std::move(converter)), thread_(std::this_thread::get_id()) {
    const auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo &) {});
    wake_ = Napi::ThreadSafeFunction::New(env, nothing, "squash", 0, 1);
    wake_.Unref(env);
    // Runs before Node takes the thread-safe function away, since it was registered later.
    hook_ = env.AddCleanupHook(&Session::closeAtExit, this);
  }
  ~Session() {
    if (closed_)
      return;
    hook_.Remove(env_);
    close();
  }

  Converter &converter() { return *converter_; }
  /** For who waits for its threads, which may be after the end of this. */
  std::shared_ptr<Converter> keepConverter() { return converter_; }

  /** Calls `start(done)`; the promise settles with what `done` is given, from whichever thread. */
  template <typename T, typename Start, typename Convert>
  Napi::Value ask(Napi::Env env, Start start, Convert convert) {
    auto *question = new Question<T, Convert>{
        shared_from_this(), Napi::Promise::Deferred::New(env), std::move(convert), {}};
    const Napi::Promise promise = question->deferred.Promise();
    if (asked_++ == 0)
      wake_.Ref(env);
    start([this, question, env](Result<T> answer) {
      question->answer.emplace(std::move(answer));
      if (std::this_thread::get_id() == thread_)
        return settle(env, question);
      wake_.NonBlockingCall(question, [](Napi::Env where, Napi::Function, Question<T, Convert> *answered) {
        const auto session = answered->session;
        session->settle(where, answered);
      });
    });
    return promise;
  }

private:
  template <typename T, typename Convert> struct Question {
    std::shared_ptr<Session> session;
    Napi::Promise::Deferred deferred;
    Convert convert;
    std::optional<Result<T>> answer;
  };

  template <typename T, typename Convert> void settle(Napi::Env env, Question<T, Convert> *question) {
    // The question may hold the last reference to this session.
    const std::unique_ptr<Question<T, Convert>> answered(question);
    const auto session = answered->session;
    // While the environment shuts down nobody is left to be told.
    if (closed_ || static_cast<napi_env>(env) == nullptr)
      return;
    Napi::HandleScope scope(env);
    if (--asked_ == 0)
      wake_.Unref(env);
    auto &answer = *answered->answer;
    if (answer.ok())
      answered->deferred.Resolve(answered->convert(env, *answer));
    else
      answered->deferred.Reject(toError(env, answer.error()).Value());
  }

  static void closeAtExit(Session *self) { self->close(); }

  /** Joins the converter's threads; from then on answers are dropped. */
  void close() {
    const auto self = weak_from_this().lock();
    closed_ = true;
    converter_.reset();
    wake_.Release();
  }

  Napi::Env env_;
  std::shared_ptr<Converter> converter_;
  std::thread::id thread_;
  bool closed_ = false;
  Napi::Env::CleanupHook<void (*)(Session *), Session> hook_;
  Napi::ThreadSafeFunction wake_;
  unsigned asked_ = 0;
};

squash::Compressor compressorOf(const std::string &name) {
  return name == "none"   ? squash::Compressor::none
         : name == "gzip" ? squash::Compressor::gzip
         : name == "lz4"  ? squash::Compressor::lz4
                          : squash::Compressor::zstd;
}

/** Numbers that JavaScript cannot hold exactly, and Infinity, mean no limit. */
uint64_t limitOf(const Napi::Object &object, const char *name) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  return number >= 0 && number < 9e15 ? uint64_t(number) : UINT64_MAX;
}

ConvertOptions optionsOf(const Napi::Object &object) {
  ConvertOptions options;
  options.fd = int(numberOf(object, "fd", -1));
  options.layers = unsigned(numberOf(object, "layers"));
  options.compressor = compressorOf(textOf(object, "compressor", "zstd"));
  options.level = int(numberOf(object, "level", options.level));
  options.blockSize = uint32_t(numberOf(object, "blockSize", options.blockSize));
  options.threads = unsigned(numberOf(object, "threads", options.threads));
  options.bytesMax = limitOf(object, "bytesMax");
  options.entriesMax = limitOf(object, "entriesMax");
  options.ownersToRoot = textOf(object, "owners", "keep") == "root";
  options.capture = textsOf(object.Get("capture"));
  if (const auto names = textsOf(object.Get("markNeeded")); !names.empty())
    options.watch = std::make_shared<elf::NeededWatch>(names);
  return options;
}

/** `reuse` of SquashOptions; nothing when there is none. */
Result<std::shared_ptr<squash::Stored>> storedOf(const Napi::Object &object, const ConvertOptions &options) {
  const Napi::Value value = object.Get("reuse");
  if (!value.IsObject())
    return std::shared_ptr<squash::Stored>();
  const auto reuse = value.As<Napi::Object>();
  assemble::StoredOptions stored;
  stored.out = options.fd;
  stored.compressor = options.compressor;
  stored.blockSize = options.blockSize;
  stored.entriesMax = options.entriesMax;
  stored.bytesMax = options.bytesMax;
  const auto images = reuse.Get("images").As<Napi::Array>();
  for (uint32_t i = 0; i < images.Length(); i++)
    stored.images.push_back(images.Get(i).ToNumber().Int32Value());
  const auto layers = reuse.Get("layers").As<Napi::Array>();
  for (uint32_t i = 0; i < layers.Length(); i++) {
    const auto layer = layers.Get(i).ToObject();
    stored.layers.push_back({unsigned(numberOf(layer, "layer")), unsigned(numberOf(layer, "image")),
                             unsigned(numberOf(layer, "at"))});
  }
  return assemble::openStored(std::move(stored));
}

Napi::Value resultOf(Napi::Env env, const ConvertResult &result) {
  auto object = Napi::Object::New(env);
  object.Set("size", double(result.size));
  object.Set("entries", double(result.entries));
  object.Set("bytes", double(result.bytes));
  object.Set("copied", double(result.copied));
  auto digests = Napi::Array::New(env, result.diffIds.size());
  for (uint32_t i = 0; i < result.diffIds.size(); i++)
    digests.Set(i, squash::toHex(result.diffIds[i]));
  object.Set("diffIds", digests);
  auto captured = Napi::Object::New(env);
  for (const auto &[path, content] : result.captured)
    captured.Set(path, Napi::Buffer<uint8_t>::Copy(env, content.data(), content.size()));
  object.Set("captured", captured);
  if (result.marks != nullptr)
    object.Set("marks", marksToJs(env, result.marks));
  return object;
}

Napi::Value none(Napi::Env env, const Nothing &) { return env.Undefined(); }

Napi::Value layersOf(Napi::Env env, const std::vector<unsigned> &layers) {
  auto list = Napi::Array::New(env, layers.size());
  for (uint32_t i = 0; i < layers.size(); i++)
    list.Set(i, layers[i]);
  return list;
}

unsigned layerOf(const Napi::CallbackInfo &info) {
  return info[0].IsNumber() ? info[0].As<Napi::Number>().Uint32Value() : UINT32_MAX;
}

Napi::Value write(Session &session, const Napi::CallbackInfo &info) {
  if (!info[1].IsTypedArray())
    return raise(info.Env(), fail(EINVAL, "squash", {}, "data is not a Uint8Array"));
  const auto view = info[1].As<Napi::TypedArray>();
  const auto *from = static_cast<const uint8_t *>(view.ArrayBuffer().Data()) + view.ByteOffset();
  squash::Bytes bytes;
  // What the inflater would add otherwise, by a second copy.
  bytes.reserve(view.ByteLength() + squash::Inflater::INPUT_SLACK);
  bytes.assign(from, from + view.ByteLength());
  return session.ask<Nothing>(
      info.Env(),
      [&](squash::Done done) { session.converter().write(layerOf(info), std::move(bytes), std::move(done)); },
      none);
}

Napi::Value make(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject())
    return raise(env, fail(EINVAL, "squash", {}, "no options"));
  auto options = optionsOf(info[0].As<Napi::Object>());
  auto stored = storedOf(info[0].As<Napi::Object>(), options);
  if (!stored)
    return raise(env, stored.error());
  options.stored = std::move(*stored);
  auto started = Converter::start(std::move(options));
  if (!started)
    return raise(env, started.error());
  const auto session = std::make_shared<Session>(env, std::move(*started));
  auto object = Napi::Object::New(env);
  const auto method = [&](const char *name, auto body) {
    object.Set(
        name,
        Napi::Function::New(
            env, [session, body](const Napi::CallbackInfo &call) { return body(*session, call); }, name));
  };
  method("write", write);
  method("end", [](Session &self, const Napi::CallbackInfo &call) {
    return self.ask<Nothing>(
        call.Env(), [&](squash::Done done) { self.converter().end(layerOf(call), std::move(done)); }, none);
  });
  method("missing", [](Session &self, const Napi::CallbackInfo &call) {
    return self.ask<std::vector<unsigned>>(
        call.Env(), [&](auto done) { self.converter().missing(std::move(done)); }, layersOf);
  });
  method("finish", [](Session &self, const Napi::CallbackInfo &call) {
    return self.ask<ConvertResult>(
        call.Env(), [&](auto done) { self.converter().finish(std::move(done)); }, resultOf);
  });
  method("abort", [](Session &self, const Napi::CallbackInfo &call) -> Napi::Value {
    self.converter().abort();
    auto work = [converter = self.keepConverter()] {
      converter->join();
      return Result<>(Nothing{});
    };
    return promise(call.Env(), std::move(work), none);
  });
  method("progress", [](Session &self, const Napi::CallbackInfo &call) -> Napi::Value {
    const auto progress = self.converter().progress();
    auto answer = Napi::Object::New(call.Env());
    answer.Set("compressed", double(progress.compressed));
    answer.Set("uncompressed", double(progress.uncompressed));
    return answer;
  });
  return object;
}

} // namespace

void InitSquash(Napi::Env env, Napi::Object exports) {
  exports.Set("squash", Napi::Function::New(env, make, "squash"));
}

} // namespace berth::binding
