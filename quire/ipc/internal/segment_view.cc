// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/segment_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "quire/ipc/internal/object_gauges.h"
#include "quire/ipc/internal/participant_table.h"
#include "quire/ipc/internal/segment_state.h"
#include "quire/ipc/layout.h"

namespace quire::ipc::internal {
namespace {

// A header as plain bytes: no peer can change it any more.
struct HeaderCopy {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t byte_order;
  std::uint64_t state;
  SegmentFacts facts;
};
static_assert(sizeof(HeaderCopy) == offsetof(SegmentHeader, zero));

struct SlotCopy {
  std::uint64_t state;
  std::uint32_t generation;
  std::uint32_t user;
  std::int64_t attached_ns;
  std::array<std::byte, 40> zero;
};
static_assert(sizeof(SlotCopy) == sizeof(ParticipantSlot));

template <typename T>
std::vector<T> read_array(const ReadBytes& read, std::size_t count, std::uint64_t offset_bytes) {
  std::vector<T> all(count);
  all.resize(read(std::as_writable_bytes(std::span(all)), offset_bytes) / sizeof(T));
  return all;
}

SegmentCondition condition_of(const HeaderCopy& header, const Domain& own) noexcept {
  const SegmentPhase phase = phase_of(OwnedState(header.state));
  if (phase == SegmentPhase::kBlank || phase == SegmentPhase::kInitialising) {
    return SegmentCondition::kUnfinished;
  }
  if (header.facts.boot_id != own.boot_id) {
    return SegmentCondition::kOld;
  }
  if (header.facts.pid_namespace != own.pid_namespace ||
      header.facts.time_namespace != own.time_namespace) {
    return SegmentCondition::kElsewhere;
  }
  return phase == SegmentPhase::kReady ? SegmentCondition::kReady : SegmentCondition::kRemoving;
}

// "" for a header that has its form.
std::string problem_of(const HeaderCopy& header, const SegmentInfo& info) {
  if (header.magic != kMagic) {
    return fmt::format("it begins with '{}', and a segment with 'QUIREIPC'",
                       text_in(header.magic.data(), header.magic.size()));
  }
  if (header.byte_order != kByteOrderMark || header.version != kFormatVersion) {
    return fmt::format("its format is {}, and this build knows {}", header.version, kFormatVersion);
  }
  const SegmentFacts& facts = header.facts;
  if (facts.participants == 0 || facts.participants > kParticipantsMax || facts.objects == 0 ||
      facts.objects > kObjectsMax || facts.size_bytes > info.file_bytes) {
    return fmt::format("it claims {} participants, {} objects and {} bytes, and has {}",
                       facts.participants, facts.objects, facts.size_bytes, info.file_bytes);
  }
  return {};
}

Participant participant_of(const SlotCopy& slot, std::size_t index, const AskProcess& is_alive) {
  const OwnedState state(slot.state);
  const auto phase = static_cast<SlotState>(state.state());
  const bool is_taken = phase == SlotState::kJoining || phase == SlotState::kLive;
  return {.id = MemberId(static_cast<std::uint16_t>(index), slot.generation),
          .pid = static_cast<int>(state.owner().pid),
          .start_ticks = state.owner().start_ticks,
          .user = slot.user,
          .attached_ns = slot.attached_ns,
          .liveness = is_taken && is_alive(state.owner()) ? Liveness::kAlive : Liveness::kDead};
}

ObjectInfo object_of(const ReadBytes& read, const DirectoryEntry& entry) {
  return {.name = text_in(entry.name.data(), entry.name.size()),
          .kind = name_of(static_cast<ObjectKind>(entry.kind)),
          .signature = text_in(entry.signature_text.data(), entry.signature_text.size()),
          .offset_bytes = entry.offset_bytes,
          .size_bytes = entry.size_bytes,
          .mirrored_offset_bytes = entry.mirrored_offset_bytes,
          .mirrored_bytes = entry.mirrored_bytes,
          .gauges = read_gauges(read, static_cast<ObjectKind>(entry.kind), entry.offset_bytes)};
}

void view_facts(const SegmentFacts& facts, const AskProcess& is_alive, SegmentInfo& info) {
  info.signature = facts.signature;
  info.segment_id = facts.segment_id;
  info.generation = facts.generation;
  info.page_bytes = facts.page_bytes;
  info.participants_max = facts.participants;
  info.creator_pid = static_cast<int>(facts.creator_pid);
  info.is_creator_alive =
      is_alive({.pid = facts.creator_pid, .start_ticks = facts.creator_start_ticks});
  info.created_ns = facts.created_ns;
}

void view_slots(const ReadBytes& read, const AskProcess& is_alive, SegmentInfo& info) {
  const auto slots = read_array<SlotCopy>(read, info.participants_max, kHeaderBytes);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (static_cast<SlotState>(OwnedState(slots[i].state).state()) != SlotState::kFree) {
      info.participants.push_back(participant_of(slots[i], i, is_alive));
    }
  }
}

}  // namespace

void view_segment(const ReadBytes& read, const AskProcess& is_alive, const Domain& own,
                  SegmentInfo& info) {
  const auto headers = read_array<HeaderCopy>(read, 1, 0);
  const bool is_empty = info.file_bytes == 0;
  if (headers.empty() || info.file_bytes < kHeaderBytes) {
    info.condition = is_empty ? SegmentCondition::kUnfinished : SegmentCondition::kDamaged;
    info.problem = is_empty ? "" : "it is shorter than a header";
    return;
  }
  const HeaderCopy& header = headers.front();
  const bool has_form = header.magic == kMagic || header.magic == std::array<char, 8>{};
  const bool is_unfinished = condition_of(header, own) == SegmentCondition::kUnfinished;
  if (has_form && is_unfinished) {
    info.condition = SegmentCondition::kUnfinished;
    return;
  }
  info.problem = problem_of(header, info);
  if (!info.problem.empty()) {
    info.condition = SegmentCondition::kDamaged;
    return;
  }
  info.condition = condition_of(header, own);
  const AskProcess ask = info.condition == SegmentCondition::kElsewhere
                             ? [](const ProcessTag&) { return true; }
                             : is_alive;
  view_facts(header.facts, ask, info);
  view_slots(read, ask, info);
  for (const DirectoryEntry& entry : read_array<DirectoryEntry>(
           read, header.facts.objects,
           kHeaderBytes + std::uint64_t{header.facts.participants} * sizeof(ParticipantSlot))) {
    info.objects.push_back(object_of(read, entry));
  }
}

}  // namespace quire::ipc::internal
