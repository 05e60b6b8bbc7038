// SPDX-License-Identifier: Apache-2.0
#include "loopback.hh"

#include <cstring>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace berth {

Result<> raiseLoopback() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket)
    return fail("socket", "lo");
  ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0)
    return fail("SIOCSIFFLAGS", "lo");
  return Nothing{};
}

} // namespace berth
