// SPDX-License-Identifier: Apache-2.0
#include "socket.hh"

#include "convert.hh"
#include "instance.hh"

#include <array>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace berth::binding {

constexpr size_t kReadBytes = 65536;
/** Reads per event: one fast sender may not keep all others waiting. */
constexpr int kReadsPerEvent = 8;
/** Sixteen of the largest frames; a peer that takes nothing for so long is dropped instead of filling memory.
 */
constexpr size_t kQueueBytesMax = 16u << 20;

Napi::Function Socket::define(Napi::Env env) {
  return DefineClass(env, "NativeSocket",
                     {
                         InstanceAccessor<&Socket::peer>("peer"),
                         InstanceMethod<&Socket::send>("send"),
                         InstanceMethod<&Socket::pause>("pause"),
                         InstanceMethod<&Socket::resume>("resume"),
                         InstanceMethod<&Socket::end>("end"),
                         InstanceMethod<&Socket::close>("close"),
                         InstanceMethod<&Socket::unref>("unref"),
                     });
}

Napi::Object Socket::make(Napi::Env env, Fd fd) {
  auto credentials = peerOf(fd.get());
  if (!credentials) {
    raise(env, credentials.error());
    return {};
  }
  Napi::Object object = env.GetInstanceData<Instance>()->socket.New({});
  if (env.IsExceptionPending())
    return {};
  Socket *socket = Unwrap(object);
  socket->fd_ = std::move(fd);
  socket->peer_ = *credentials;
  socket->takesFds_ = credentials->uid == 0 || credentials->uid == geteuid();
  const int code = socket->poll_.open(env, socket->fd_.get(),
                                      [socket](int status, int events) { socket->ready(status, events); });
  if (code < 0) {
    raise(env, fail(-code, "uv_poll_init"));
    return {};
  }
  socket->Ref();
  return object;
}

Socket::Socket(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Socket>(info) {}

/** Open sockets hold a reference to themselves, so this is the end of the environment: nobody is told any
 * more. */
Socket::~Socket() { poll_.close(nullptr); }

void Socket::begin(const Napi::Object &handler) {
  handler_ = Napi::Persistent(handler);
  if (!finished_)
    watch();
}

void Socket::watch() {
  poll_.want((reading_ && !handler_.IsEmpty() ? UV_READABLE : 0) | (queue_.empty() ? 0 : UV_WRITABLE));
}

void Socket::ready(int status, int events) {
  const Napi::HandleScope scope(Env());
  // EBADF from libuv is EPOLLERR: recvmsg tells what it was.
  if (status < 0 || (events & UV_READABLE) != 0)
    readSome();
  if (!finished_ && (events & UV_WRITABLE) != 0)
    flush();
  if (!finished_)
    watch();
}

void Socket::readSome() {
  static thread_local std::array<char, kReadBytes> buffer;
  for (int i = 0; i < kReadsPerEvent && reading_ && !finished_; i++) {
    Received got = receiveWithFds(fd_.get(), buffer.data(), buffer.size(), takesFds_);
    if (got.length < 0 && errno == EAGAIN)
      return;
    if (got.length < 0)
      return finish(fail("recvmsg"));
    if (got.length == 0)
      return finish(std::nullopt);
    deliver(buffer.data(), static_cast<size_t>(got.length), std::move(got.fds));
  }
}

void Socket::deliver(const char *bytes, size_t length, std::vector<Fd> fds) {
  const Napi::HandleScope scope(Env());
  auto list = Napi::Array::New(Env(), fds.size());
  for (uint32_t i = 0; i < fds.size(); i++)
    list.Set(i, fds[i].release());
  callFromLoop(handler_.Value(), "data", {Napi::Buffer<char>::Copy(Env(), bytes, length), list});
}

void Socket::send(const Napi::CallbackInfo &info) {
  std::vector<int> fds;
  if (info.Length() > 1 && info[1].IsArray()) {
    const auto list = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++)
      fds.push_back(list.Get(i).ToNumber().Int32Value());
  }
  if (!info[0].IsTypedArray() || fds.size() > kFdsPerMessageMax) {
    raise(info.Env(), fail(EINVAL, "sendmsg"));
    return;
  }
  if (finished_ || ending_ || deaf_)
    return;
  const auto data = info[0].As<Napi::Uint8Array>();
  if (!queue(reinterpret_cast<const char *>(data.Data()), data.ByteLength(), fds))
    raise(info.Env(), fail("sendmsg"));
}

/** What the kernel does not take at once is copied, and its descriptors duplicated: the caller may reuse
 * both. */
bool Socket::queue(const char *bytes, size_t length, const std::vector<int> &fds) {
  size_t done = 0;
  if (queue_.empty() && poll_.isOpen()) {
    const ssize_t sent = sendWithFds(fd_.get(), bytes, length, fds.data(), fds.size());
    if (sent < 0 && errno == EBADF)
      return false;
    if (sent < 0 && errno != EAGAIN) {
      deaf_ = true;
      return true;
    }
    done = sent < 0 ? 0 : static_cast<size_t>(sent);
    if (done == length)
      return true;
  }
  Piece piece{std::string(bytes + done, length - done), 0, {}};
  for (size_t i = 0; done == 0 && i < fds.size(); i++) {
    piece.fds.emplace_back(fcntl(fds[i], F_DUPFD_CLOEXEC, 3));
    if (!piece.fds.back())
      return false;
  }
  queuedBytes_ += piece.bytes.size();
  queue_.push_back(std::move(piece));
  if (queuedBytes_ > kQueueBytesMax)
    finish(fail(ENOBUFS, "sendmsg"));
  else
    watch();
  return true;
}

void Socket::flush() {
  while (!queue_.empty()) {
    Piece &piece = queue_.front();
    std::vector<int> fds;
    for (const Fd &fd : piece.fds)
      fds.push_back(fd.get());
    const ssize_t sent = sendWithFds(fd_.get(), piece.bytes.data() + piece.done,
                                     piece.bytes.size() - piece.done, fds.data(), fds.size());
    if (sent < 0 && errno == EAGAIN)
      return;
    if (sent < 0) {
      deaf_ = true;
      queue_.clear();
      break;
    }
    piece.fds.clear();
    piece.done += static_cast<size_t>(sent);
    queuedBytes_ -= static_cast<size_t>(sent);
    if (piece.done == piece.bytes.size())
      queue_.pop_front();
  }
  if (ending_)
    finish(std::nullopt);
}

void Socket::pause(const Napi::CallbackInfo &) {
  reading_ = false;
  watch();
}

void Socket::resume(const Napi::CallbackInfo &) {
  reading_ = true;
  watch();
}

void Socket::end(const Napi::CallbackInfo &) {
  ending_ = true;
  if (queue_.empty())
    finish(std::nullopt);
}

void Socket::close(const Napi::CallbackInfo &) { finish(std::nullopt); }
void Socket::unref(const Napi::CallbackInfo &) { poll_.unref(); }

Napi::Value Socket::peer(const Napi::CallbackInfo &info) {
  auto object = Napi::Object::New(info.Env());
  object.Set("pid", peer_.pid);
  object.Set("uid", peer_.uid);
  object.Set("gid", peer_.gid);
  return object;
}

void Socket::finish(std::optional<Error> error) {
  if (std::exchange(finished_, true))
    return;
  queue_.clear();
  poll_.close([this, error = std::move(error)] { told(error); });
  // A child forked meanwhile may hold a copy for some milliseconds: the peer must see the end now.
  shutdown(fd_.get(), SHUT_RDWR);
  fd_.reset();
}

void Socket::told(const std::optional<Error> &error) {
  const Napi::HandleScope scope(Env());
  const napi_value reason =
      error ? napi_value(toError(Env(), *error).Value()) : napi_value(Env().Undefined());
  if (!handler_.IsEmpty())
    callFromLoop(handler_.Value(), "closed", {reason});
  handler_.Reset();
  Unref();
}

} // namespace berth::binding
