// SPDX-License-Identifier: Apache-2.0
#include "fds.hh"

#include <cstring>
#include <sys/socket.h>

namespace berth {

ssize_t sendWithFds(int socket, const void *data, size_t length, const int *fds, size_t fdCount) {
  if (fdCount > kFdsPerMessageMax) {
    errno = EMSGSIZE;
    return -1;
  }
  iovec piece{const_cast<void *>(data), length};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsPerMessageMax * sizeof(int))];
  if (fdCount > 0) {
    memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fdCount * sizeof(int));
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fdCount * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fdCount * sizeof(int));
  }
  return TEMP_FAILURE_RETRY(sendmsg(socket, &message, MSG_NOSIGNAL));
}

static void takeFds(msghdr &message, std::vector<Fd> &fds) {
  for (cmsghdr *header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

Received receiveWithFds(int socket, void *buffer, size_t length, bool wanted) {
  iovec piece{buffer, length};
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsPerMessageMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = wanted ? control : nullptr;
  message.msg_controllen = wanted ? sizeof control : 0;
  Received got;
  got.length = TEMP_FAILURE_RETRY(recvmsg(socket, &message, MSG_CMSG_CLOEXEC));
  if (got.length < 0)
    return got;
  takeFds(message, got.fds);
  if (message.msg_flags & MSG_CTRUNC) {
    got.fds.clear();
    got.length = -1;
    errno = EMSGSIZE;
  }
  return got;
}

} // namespace berth
