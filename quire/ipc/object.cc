// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/object.h"

#include <fmt/format.h>

namespace quire::ipc {

std::string name_of(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kSpscRing: return "spsc_ring";
    case ObjectKind::kSpscBytes: return "spsc_bytes";
    case ObjectKind::kMpscRing: return "mpsc_ring";
    case ObjectKind::kMpscBytes: return "mpsc_bytes";
    case ObjectKind::kBroadcast: return "broadcast";
    case ObjectKind::kBlackboard: return "blackboard";
    case ObjectKind::kMutex: return "mutex";
    case ObjectKind::kEvent: return "event";
    case ObjectKind::kSemaphore: return "semaphore";
    case ObjectKind::kUser: return "user";
  }
  return fmt::format("kind {}", static_cast<std::uint32_t>(kind));
}

}  // namespace quire::ipc
