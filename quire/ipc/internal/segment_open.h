// SPDX-License-Identifier: Apache-2.0
//
// segment_open: the way from an open file to an attached participant, whatever others are doing to
// the segment meanwhile, or were doing when they died. segment_state.h has the steps.
//
// Thread-safety: any thread of any process.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/ipc/internal/participant_table.h"
#include "quire/ipc/internal/segment_file.h"
#include "quire/ipc/internal/segment_memory.h"
#include "quire/ipc/internal/segment_state.h"
#include "quire/ipc/layout.h"
#include "quire/ipc/participants.h"
#include "quire/sys/descriptor.h"

namespace quire::ipc::internal {

// What a Segment and its ObjectRefs share.
struct SegmentState {
  std::string name;
  std::string path;  // For messages.
  Layout layout;
  sys::Descriptor file;
  std::shared_ptr<SegmentMemory> memory;
  std::unique_ptr<Participants> participants;
  std::uint32_t generation = 0;
  bool was_made_here = false;
};

// The name under which a file was opened; a memfd has none.
struct FileName {
  const sys::Descriptor* directory = nullptr;
  std::string name;
};

struct OpenRequest {
  std::string path;  // For messages.
  const Layout* layout = nullptr;
  std::optional<FileName> name;
  std::uint32_t permissions = 0600;
  bool must_be_new = false;
  std::chrono::steady_clock::time_point deadline;
};

// Joins, or initialises first. Nothing: the file was removed meanwhile, open the name again; `file`
// is closed then. Errors: see segment.h.
[[nodiscard]] Result<std::shared_ptr<SegmentState>> open_segment(sys::Descriptor file,
                                                                 const OpenRequest& request);

// Waits for the living owner of the word, a slice. Errors: ETIMEDOUT after the deadline.
[[nodiscard]] Result<void> wait_for_owner(OwnedState word, const std::string& path,
                                          std::chrono::steady_clock::time_point deadline);

// Takes a name away from a segment that nobody uses. `table` is null for one that was never ready.
// REQUIRES: `header` is of `fd`.
// Errors: EBUSY while somebody lives; ETIMEDOUT.
enum class Removal : std::uint8_t {
  kRemoved,
  kWasRemoved,  // By somebody else: the name is gone, or another file's.
  kLookAgain,   // It has become ready meanwhile, and there is no table to ask.
};
[[nodiscard]] Result<Removal> remove_segment(SegmentHeader& header, ParticipantTable* table,
                                             const FileName& name, int fd, const std::string& path,
                                             std::chrono::steady_clock::time_point deadline);

}  // namespace quire::ipc::internal
