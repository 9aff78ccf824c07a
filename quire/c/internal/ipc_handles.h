// SPDX-License-Identifier: Apache-2.0
//
// ipc_handles: what the sources of the C API's shared memory have in common: segments, doorbells,
// and how timeouts and objects are said.
//
// Thread-safety: that of what they hold.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quire/c/internal/boundary.h"
#include "quire/c/ipc.h"
#include "quire/ipc/doorbell.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/wait_point.h"

namespace quire::c {

// What the caller said of an object, with the defaults put in.
struct ObjectChoice {
  std::string name;
  std::uint32_t kind = 0;
  std::uint32_t units = 0;
  std::uint64_t record_bytes = 0;
};

}  // namespace quire::c

struct quire_segment {
  quire::ipc::Segment segment;
  std::vector<quire::c::ObjectChoice> objects;

  // Nothing stands for a name that it has not, which is found out by who looks for the object.
  [[nodiscard]] quire::c::ObjectChoice choice(std::string_view name) const {
    for (const quire::c::ObjectChoice& object : objects) {
      if (object.name == name) {
        return object;
      }
    }
    return {};
  }
};

struct quire_doorbell {
  quire::ipc::Doorbell bell;
  const quire::ipc::Participants* participants;
};

namespace quire::c {

[[nodiscard]] inline ipc::WaitOptions to_wait(std::uint32_t timeout_ms) noexcept {
  return {.timeout = timeout_ms == QUIRE_MS_FOREVER
                         ? ipc::kForever
                         : std::chrono::nanoseconds(std::chrono::milliseconds(timeout_ms))};
}

// What an object that is opened by name begins with: open(operation) returns a Result<Handle>.
template <typename Handle, typename Open>
quire_code open_object(const char* operation, const quire_segment* segment, const char* name,
                       const char* argument, Handle** handle, quire_error* error,
                       Open&& open) noexcept {
  const auto make = [&](const char* called) -> Result<Handle> {
    QUIRE_TRY(require(called, {{"segment", segment}, {"name", name}}));
    return open(called);
  };
  return make_handle(operation, argument, handle, error, make);
}

// REQUIRES: Handle has `participants`; arm() says whether the bell will ring.
template <typename Handle, typename Arm>
quire_code arm_bell(const char* operation, const char* argument, Handle* handle,
                    const quire_doorbell* bell, std::int32_t* is_armed, quire_error* error,
                    Arm&& arm) noexcept {
  return run(operation, {{argument, handle}, {"bell", bell}, {"is_armed", is_armed}}, error,
             [&](const char* called) -> Result<void> {
               // A peer rings by the number that the bell's owner has in its segment.
               if (bell->participants != handle->participants) {
                 return fail(misuse(called, "bell", "it was opened with another quire_segment",
                                    "open both with one"));
               }
               *is_armed = arm(bell->bell) ? 1 : 0;
               return {};
             });
}

}  // namespace quire::c
