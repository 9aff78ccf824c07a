// SPDX-License-Identifier: Apache-2.0
//
// inventory: what segments there are, who is attached, and how to be rid of those that nobody uses;
// for whoever has no layout of them: `quire ipc`, monitoring, cleaning up after a crash.
//
//   for (const std::string& name : list_segments().value()) {
//     const SegmentInfo info = inspect_segment(name).value();
//     ...
//   }
//   const auto removed = remove_stale_segments().value();
//
// Looking reads the file with read(2), writes nothing and takes no slot: no peer notices, none can
// hurt us, and a file that gets shorter meanwhile is a short read and no SIGBUS. What stands there
// may be anything; what does not have its form is told as SegmentCondition::kDamaged.
//
// Invariants:    no segment is removed in which a living process is attached or attaching, not even
//                one that comes while it is being removed (segment_state.h); `force` alone does.
// Thread-safety: any thread of any process.
// Errors:        Result, about the path. Removing: EBUSY with who is there; ENOENT.
// Cost:          inspecting takes five system calls, and some 20 us for each participant.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/ipc/participants.h"

namespace quire::ipc {

enum class SegmentCondition : std::uint8_t {
  kReady,
  kUnfinished,  // Nobody has finished initialising it; the next one to open it does.
  kRemoving,    // Somebody is about to remove it, or died doing so.
  kElsewhere,   // Of another pid namespace: whether its participants live cannot be told from here.
  kOld,         // Made before the machine was started: nobody can use it.
  kDamaged,     // No segment, or one of another version, or overwritten: see `problem`.
};
// "ready": for people and machines.
[[nodiscard]] const char* name_of(SegmentCondition condition) noexcept;

// Who has a place in an object, as the object has it.
struct ObjectHolder {
  const char* role = "";  // "writer", "reader", "owner".
  MemberId member;
};

// How far an object is; what its kind does not count is empty.
struct ObjectGauges {
  std::optional<std::uint64_t> written;   // Objects or records; bytes for kSpscBytes.
  std::optional<std::uint64_t> released;  // Of those, by the reader.
  std::optional<std::uint64_t> deaths;    // Claims that were abandoned, owners that died.
  std::vector<ObjectHolder> holders;
};

struct ObjectInfo {
  std::string name;
  std::string kind;       // name_of(ObjectKind).
  std::string signature;  // As its maker wrote it; bytes that cannot be printed are '?'.
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t mirrored_offset_bytes = 0;
  std::uint64_t mirrored_bytes = 0;
  ObjectGauges gauges;
};

struct SegmentInfo {
  std::string name;
  std::string path;
  SegmentCondition condition = SegmentCondition::kDamaged;
  std::string problem;  // Of a damaged one.
  std::uint64_t file_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint32_t mode = 0;
  std::uint32_t user = 0;  // Who owns the file.
  // The rest is there for kReady, kRemoving, kElsewhere and kOld alone.
  std::uint64_t signature = 0;
  std::uint64_t segment_id = 0;
  std::uint32_t generation = 0;
  std::uint32_t page_bytes = 0;
  std::uint16_t participants_max = 0;
  int creator_pid = 0;
  bool is_creator_alive = false;
  std::int64_t created_ns = 0;  // Since the epoch.
  // The dead included, until somebody takes their slot. Elsewhere nobody is called dead.
  std::vector<Participant> participants;
  std::vector<ObjectInfo> objects;

  [[nodiscard]] std::size_t living() const noexcept;
};

// Names of the regular files in the directory ("": runtime_directory()), sorted; none when there is
// no directory.
[[nodiscard]] Result<std::vector<std::string>> list_segments(const std::string& directory = {});

// Errors: ENOENT; EACCES. A file that is no segment is no error.
[[nodiscard]] Result<SegmentInfo> inspect_segment(const std::string& name,
                                                  const std::string& directory = {});

struct RemoveOptions {
  std::string directory = {};
  bool force = false;  // The name goes, whoever is attached; those stay attached to what it was.
  std::chrono::milliseconds timeout{1'000};  // For a process that initialises or removes it now.
};
// Errors: ENOENT; EBUSY while a process lives in it; kWrongKind for what is no segment,
// kUnsupported for one of another pid namespace, unless forced.
[[nodiscard]] Result<void> remove_segment(const std::string& name,
                                          const RemoveOptions& options = {});

// Removes every segment in which nobody lives, and returns their names. What is no segment stays.
// Errors: the first of those that could not be removed for another reason than being in use; the
// others are removed all the same.
[[nodiscard]] Result<std::vector<std::string>> remove_stale_segments(
    const std::string& directory = {});

}  // namespace quire::ipc
