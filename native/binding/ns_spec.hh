// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/ns/spec.hh"

#include <napi.h>

namespace berth::binding {

/** NamespaceSpec of src/native.ts; throws TypeError into JavaScript for an unknown kind and answers nothing
 * then. */
std::optional<NamespaceSpec> specOf(const Napi::Object &object);

} // namespace berth::binding
