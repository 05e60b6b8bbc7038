// SPDX-License-Identifier: Apache-2.0
/**
 * Why an image is refused. Inside the reader a failed check throws Fault; every public function (reader.hh,
 * verify.hh) catches it and answers a Result, so nothing is thrown out of core/.
 */
#pragma once

#include "../result.hh"

#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

namespace berth::unsquash {

struct Fault {
  /** EUCLEAN: damaged; EOPNOTSUPP: sound perhaps, but not checkable here; EFBIG: over a limit; else what a
   * read said. */
  int code;
  std::string text;
};

/** "<structure> at byte <offset>: <problem>" with EUCLEAN. */
[[noreturn]] inline void refuse(std::string_view structure, uint64_t offset, std::string_view problem) {
  throw Fault{EUCLEAN,
              std::string(structure) + " at byte " + std::to_string(offset) + ": " + std::string(problem)};
}

[[noreturn]] inline void overLimit(std::string_view what, uint64_t found, uint64_t limit) {
  throw Fault{EFBIG, std::string(what) + ": " + std::to_string(found) + ", limit " + std::to_string(limit)};
}

/** Runs `body` and turns whatever it throws into an Error. */
template <typename Body> auto guarded(Body body) -> Result<decltype(body())> {
  try {
    return body();
  } catch (Fault &fault) {
    return Error{fault.code, "squashfs", {}, std::move(fault.text)};
  } catch (const std::bad_alloc &) {
    return Error{ENOMEM, "squashfs", {}, {}};
  } catch (const std::system_error &error) { // std::thread, when no more can be had
    return Error{error.code().value() != 0 ? error.code().value() : EAGAIN, "squashfs", {}, {}};
  }
}

} // namespace berth::unsquash
