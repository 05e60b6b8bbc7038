// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace berth::binding {

/** Files, processes, accounts, kernel features and the sandbox; called by InitNs. */
void InitHost(Napi::Env env, Napi::Object exports);

} // namespace berth::binding
