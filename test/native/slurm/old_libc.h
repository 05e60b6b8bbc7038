/* SPDX-License-Identifier: Apache-2.0
 *
 * Put before a source, the C library looks like glibc 2.31 (SLES 15 SP4, Debian 11) for what berth once took
 * from newer ones.
 */
#include <features.h>
#undef __GLIBC_MINOR__
#define __GLIBC_MINOR__ 31

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#undef SYS_close_range
#undef __NR_close_range
#pragma GCC poison SYS_close_range __NR_close_range close_range
#pragma GCC poison strerrordesc_np strerrorname_np sigabbrev_np sigdescr_np
