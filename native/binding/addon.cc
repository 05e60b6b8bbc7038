// SPDX-License-Identifier: Apache-2.0
/** What `require('./berth.node')` gives: every function of `interface Native` in src/native.ts. */
#include "init.hh"

#include "instance.hh"

namespace berth::binding {

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Instance());
  InitIpc(env, exports);
  InitNs(env, exports);
#ifdef BERTH_HAVE_SQUASH
  InitSquash(env, exports);
#endif
#ifdef BERTH_HAVE_READER
  InitReader(env, exports);
  InitSave(env, exports);
  InitElf(env, exports);
#endif
  return exports;
}

NODE_API_MODULE(berth, Init)

} // namespace berth::binding
