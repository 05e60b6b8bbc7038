// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/squash/reader.hh"

/** Prints each difference between the image and the kernel's mount of it; answers their number, at most 1
 * (exit code). */
int compareWithMount(berth::unsquash::Image &image, const std::string &mountPoint);
