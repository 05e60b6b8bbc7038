// SPDX-License-Identifier: Apache-2.0
/** State per JavaScript environment; set once by addon.cc, `env.GetInstanceData<Instance>()`. */
#pragma once

#include <napi.h>

namespace berth::binding {

struct Instance {
  Napi::FunctionReference socket;
  Napi::FunctionReference listener;
  Napi::FunctionReference watch;
};

} // namespace berth::binding
