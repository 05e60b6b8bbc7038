// SPDX-License-Identifier: Apache-2.0
#include "endpoint.hh"

#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

namespace berth {

/** Every task of a fat node may connect at once; the kernel caps it at net.core.somaxconn. */
constexpr int kBacklog = 4096;
/** sun_path holds 108 bytes; the temporary name needs a few more than the path. */
constexpr size_t kPathBytesMax = 100;
constexpr int kConnectSecondsMax = 5;

static Result<sockaddr_un> addressOf(const std::string &path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(ENAMETOOLONG, "bind", path);
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

static Result<Fd> newSocket(int type) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type, 0));
  if (!fd)
    return fail("socket");
  return fd;
}

static Error dropping(const std::string &name, Error error) {
  unlink(name.c_str());
  return error;
}

/** Whoever finds the name may connect: the peer's credentials decide. */
static Result<Fd> listenAbstract(const std::string &name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() > kPathBytesMax)
    return fail(ENAMETOOLONG, "bind", name);
  memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
  auto fd = newSocket(SOCK_NONBLOCK);
  if (!fd)
    return fd.error();
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (bind(fd->get(), reinterpret_cast<sockaddr *>(&address), size) < 0)
    return fail("bind", name);
  if (listen(fd->get(), kBacklog) < 0)
    return fail("listen", name);
  return fd;
}

Result<Fd> listenAt(const std::string &path, mode_t mode) {
  if (path.starts_with('@'))
    return listenAbstract(path);
  if (path.size() > kPathBytesMax)
    return fail(ENAMETOOLONG, "bind", path);
  const std::string early = path + ".new";
  auto address = addressOf(early);
  if (!address)
    return address.error();
  auto fd = newSocket(SOCK_NONBLOCK);
  if (!fd)
    return fd.error();
  unlink(early.c_str());
  if (bind(fd->get(), reinterpret_cast<sockaddr *>(&*address), sizeof(sockaddr_un)) < 0)
    return fail("bind", path);
  if (chmod(early.c_str(), mode) < 0)
    return dropping(early, fail("chmod", path));
  if (listen(fd->get(), kBacklog) < 0)
    return dropping(early, fail("listen", path));
  if (rename(early.c_str(), path.c_str()) < 0)
    return dropping(early, fail("rename", path));
  return fd;
}

Result<Fd> connectTo(const std::string &path) {
  auto address = addressOf(path);
  if (!address)
    return address.error();
  auto fd = newSocket(0);
  if (!fd)
    return fd.error();
  // SO_SNDTIMEO also bounds connect(2) on a listener whose queue is full.
  const timeval limit{kConnectSecondsMax, 0};
  if (setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
    return fail("setsockopt", path);
  if (connect(fd->get(), reinterpret_cast<sockaddr *>(&*address), sizeof(sockaddr_un)) < 0)
    return fail("connect", path);
  if (auto ready = prepareSocket(fd->get()); !ready)
    return ready.error();
  return fd;
}

Result<std::pair<Fd, Fd>> socketPair() {
  int pair[2];
  // Blocking at first: a child that gets one end expects that. adopt() makes its own non-blocking.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fail("socketpair");
  return std::pair<Fd, Fd>(Fd(pair[0]), Fd(pair[1]));
}

Result<Peer> peerOf(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
    return fail("getsockopt");
  return Peer{credentials.pid, credentials.uid, credentials.gid};
}

Result<> prepareSocket(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
    return fail("fcntl");
  return Nothing{};
}

Acceptor::Acceptor(Fd listener)
    : listener_(std::move(listener)), reserve_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

Result<Fd> Acceptor::accept() {
  Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd)
    return fd;
  const int code = errno;
  if (code != EMFILE && code != ENFILE)
    return fail("accept4");
  dropOne();
  return fail(ECONNABORTED, "accept4");
}

void Acceptor::dropOne() {
  reserve_.reset();
  { const Fd dropped(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  reserve_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

} // namespace berth
