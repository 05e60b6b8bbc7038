// SPDX-License-Identifier: Apache-2.0
/** Unix stream sockets: made, accepted, and whom they lead to. All non-blocking and CLOEXEC. */
#pragma once

#include "core/result.hh"

#include <string>
#include <sys/types.h>
#include <utility>

namespace berth {

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

/**
 * Binds under a temporary name, sets the mode and renames: clients never find a socket that is not ready or
 * has the wrong mode, and what an earlier worker left behind is replaced. ENAMETOOLONG beyond 100 bytes.
 */
Result<Fd> listenAt(const std::string &path, mode_t mode);

/** Waits a bounded time while the listener's queue is full. */
Result<Fd> connectTo(const std::string &path);

Result<std::pair<Fd, Fd>> socketPair();

/** SO_PEERCRED: who connected (or, on the client's side, who listened). ENOTSOCK for anything else. */
Result<Peer> peerOf(int socket);

/** Makes a descriptor from elsewhere fit for the event loop. */
Result<> prepareSocket(int fd);

/** accept4, and whether more may be waiting. Without descriptors left the connection is dropped, not left to
 * spin. */
class Acceptor {
public:
  explicit Acceptor(Fd listener);
  int fd() const { return listener_.get(); }
  /** EAGAIN when nobody waits; ECONNABORTED when one was dropped. */
  Result<Fd> accept();

private:
  void dropOne();
  Fd listener_;
  /** Given up for a moment to accept and close when the table is full (EMFILE). */
  Fd reserve_;
};

} // namespace berth
