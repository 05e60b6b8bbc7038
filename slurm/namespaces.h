/* SPDX-License-Identifier: Apache-2.0
 *
 * A step may run in a mount, pid or user namespace of its job (namespace/linux, EntireStepInNS of
 * job_container/tmpfs). The worker serves the node, so it goes back to those of process 1.
 */
#ifndef BERTH_NAMESPACES_H
#define BERTH_NAMESPACES_H

#include <stdbool.h>

#include "keeper.h"

/**
 * Joins the namespaces of process 1 that differ, as far as berth's own directories are the same there. The
 * pid namespace counts from the next fork. False (and logged) when left in a user namespace, where no worker
 * can mount.
 */
bool namespaces_leave(const struct keeper *keeper);

#endif
