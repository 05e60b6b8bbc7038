// SPDX-License-Identifier: Apache-2.0
/** Each file of binding/ that exports functions has one Init; addon.cc calls them all. */
#pragma once

#include <napi.h>

namespace berth::binding {

/** Sockets, listeners and process watches: socket.cc, watch.cc. */
void InitIpc(Napi::Env env, Napi::Object exports);
/** Images, namespaces, identities and the sandbox: ns.cc, host.cc. */
void InitNs(Napi::Env env, Napi::Object exports);
/** The streaming squashfs writer: squash.cc. */
void InitSquash(Napi::Env env, Napi::Object exports);
/** The squashfs validator and reader: reader.cc. */
void InitReader(Napi::Env env, Napi::Object exports);

/** Saving containers: save.cc. */
void InitSave(Napi::Env env, Napi::Object exports);
void InitElf(Napi::Env env, Napi::Object exports);

} // namespace berth::binding
