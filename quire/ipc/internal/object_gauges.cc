// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/object_gauges.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "quire/ipc/core/broadcast_core.h"
#include "quire/ipc/core/mpsc_control.h"
#include "quire/ipc/core/spsc_core.h"

namespace quire::ipc::internal {
namespace {

// The control words of any kind, and zeros behind the end of the file.
class Words {
 public:
  Words(const ReadBytes& read, std::uint64_t offset_bytes) {
    static_cast<void>(read(std::as_writable_bytes(std::span(bytes_)), offset_bytes));
  }
  [[nodiscard]] std::uint64_t number(std::size_t offset_bytes) const noexcept {
    return at<std::uint64_t>(offset_bytes);
  }
  [[nodiscard]] MemberId member(std::size_t offset_bytes) const noexcept {
    return MemberId::from_word(at<std::uint32_t>(offset_bytes));
  }

 private:
  template <typename T>
  [[nodiscard]] T at(std::size_t offset_bytes) const noexcept {
    T value;
    std::memcpy(&value, bytes_.data() + offset_bytes, sizeof value);
    return value;
  }

  std::array<std::byte, sizeof(MpscControl)> bytes_{};
};
static_assert(sizeof(SpscControl) <= sizeof(MpscControl) &&
              sizeof(BroadcastControl) <= sizeof(MpscControl));

// mutex.h: the owner's word, and how often an owner died.
constexpr std::size_t kMutexOwner = 0;
constexpr std::size_t kMutexDeaths = 8;

void add_holder(ObjectGauges& gauges, const char* role, MemberId member) {
  if (!member.is_nobody()) {
    gauges.holders.push_back({.role = role, .member = member});
  }
}

ObjectGauges spsc_gauges(const Words& words) {
  ObjectGauges gauges{.written = words.number(offsetof(SpscControl, tail)),
                      .released = words.number(offsetof(SpscControl, head)),
                      .deaths = {},
                      .holders = {}};
  add_holder(gauges, "writer", words.member(offsetof(SpscControl, writer)));
  add_holder(gauges, "reader", words.member(offsetof(SpscControl, reader)));
  return gauges;
}

ObjectGauges mpsc_gauges(const Words& words) {
  ObjectGauges gauges{.written = words.number(offsetof(MpscControl, tail)),
                      .released = words.number(offsetof(MpscControl, head)),
                      .deaths = words.number(offsetof(MpscControl, abandoned)),
                      .holders = {}};
  add_holder(gauges, "reader", words.member(offsetof(MpscControl, reader)));
  return gauges;
}

ObjectGauges broadcast_gauges(const Words& words) {
  ObjectGauges gauges{.written = words.number(offsetof(BroadcastControl, tail)),
                      .released = {},
                      .deaths = {},
                      .holders = {}};
  add_holder(gauges, "writer", words.member(offsetof(BroadcastControl, writer)));
  return gauges;
}

ObjectGauges mutex_gauges(const Words& words) {
  ObjectGauges gauges{
      .written = {}, .released = {}, .deaths = words.number(kMutexDeaths), .holders = {}};
  add_holder(gauges, "owner", words.member(kMutexOwner));
  return gauges;
}

}  // namespace

ObjectGauges read_gauges(const ReadBytes& read, ObjectKind kind, std::uint64_t offset_bytes) {
  const Words words(read, offset_bytes);
  switch (kind) {
    case ObjectKind::kSpscRing:
    case ObjectKind::kSpscBytes: return spsc_gauges(words);
    case ObjectKind::kMpscRing:
    case ObjectKind::kMpscBytes: return mpsc_gauges(words);
    case ObjectKind::kBroadcast:
    case ObjectKind::kBlackboard: return broadcast_gauges(words);
    case ObjectKind::kMutex: return mutex_gauges(words);
    case ObjectKind::kEvent:
    case ObjectKind::kSemaphore:
    case ObjectKind::kUser: break;
  }
  return {};
}

}  // namespace quire::ipc::internal
