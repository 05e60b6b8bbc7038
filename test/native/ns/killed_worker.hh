// SPDX-License-Identifier: Apache-2.0
#pragma once

/** For a process with one thread: whether a worker's death in the middle of an idmap ends its helper too. */
bool leavesNobodyBehind();
