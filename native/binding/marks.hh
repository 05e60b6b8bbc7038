// SPDX-License-Identifier: Apache-2.0
/** What a conversion marked, on its way through JavaScript to the scan of its image: a value that cannot be
 * looked into. */
#pragma once

#include "core/squash/content_watch.hh"

#include <memory>
#include <napi.h>

namespace berth::binding {

using SharedMarks = std::shared_ptr<const squash::Marks>;

inline constexpr napi_type_tag kMarksTag{0x6265727468206d61, 0x726b73206f662065};

inline Napi::Value marksToJs(Napi::Env env, const SharedMarks &marks) {
  auto value = Napi::External<SharedMarks>::New(env, new SharedMarks(marks),
                                                [](Napi::Env, SharedMarks *own) { delete own; });
  value.TypeTag(&kMarksTag);
  return value;
}

/** Null for anything else. */
inline SharedMarks marksOf(const Napi::Value &value) {
  if (!value.IsExternal())
    return nullptr;
  const auto external = value.As<Napi::External<SharedMarks>>();
  return external.CheckTypeTag(&kMarksTag) ? *external.Data() : nullptr;
}

} // namespace berth::binding
