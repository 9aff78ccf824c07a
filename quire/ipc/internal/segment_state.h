// SPDX-License-Identifier: Apache-2.0
//
// segment_state: the word that says what a segment is at, and whose turn it is; what is written
// while initialising; and whether what stands there is what a joiner expects.
//
//   who          changes                              what a death right after it leaves
//   -----------  -----------------------------------  -------------------------------------------
//   (open)       file exists, 0 bytes                  blank: the next one goes on
//   (allocate)   header has memory, all zero           blank
//   initialiser  blank -> initialising (me)            claimed by the dead: the next one claims it,
//                                                      zeroes everything but the state, and begins
//                                                      anew; so after each of the following:
//                memory for all, magic, facts,
//                directory, objects one by one
//                initialising (me) -> ready            a segment without participants
//   remover      ready -> removing (me)                the next one looks whether it has its name:
//                                                      yes: -> ready; no: like removed
//                somebody lives: -> ready
//                unlink                                no name: whoever holds it opens anew
//                removing (me) -> removed              the same
//
// A joiner takes its slot first and then looks at the word again; a remover changes the word first
// and then looks at the slots. Both are seq_cst, so at least one of them sees the other.
//
// Invariants:    ready is stored once for each generation, with release: who loads it (acquire)
//                sees all of the generation's bytes. Only a dead process is ever replaced.
// Thread-safety: any thread of any process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/ipc/internal/process_tag.h"
#include "quire/ipc/internal/segment_header.h"
#include "quire/ipc/internal/segment_memory.h"
#include "quire/ipc/layout.h"

namespace quire::ipc::internal {

enum class SegmentPhase : std::uint8_t {
  kBlank = 0,
  kInitialising = 1,
  kReady = 2,
  kRemoving = 3,  // Owned by nobody: removed.
};

[[nodiscard]] inline SegmentPhase phase_of(OwnedState word) noexcept {
  return static_cast<SegmentPhase>(word.state());
}
[[nodiscard]] inline OwnedState make_phase(SegmentPhase phase, const ProcessTag& owner) noexcept {
  return {static_cast<unsigned>(phase), owner};
}

// What tells one running kernel, and one set of process numbers, from others.
struct Domain {
  std::array<std::uint8_t, 16> boot_id{};
  std::uint64_t pid_namespace = 0;
  std::uint64_t time_namespace = 0;

  friend constexpr bool operator==(const Domain&, const Domain&) = default;
};
// What this kernel does not have, or hides, is zero; what could not be asked is an error, since
// zero would be believed for as long as the segment lives. Errors: EMFILE and its like.
[[nodiscard]] Result<Domain> own_domain();

// Everything but the state word; `was_used` when somebody began before.
// REQUIRES: the state says that we initialise.
[[nodiscard]] Result<void> write_segment(SegmentMemory& memory, const Layout& layout,
                                         const ProcessTag& self, bool was_used);

// Whether it is a segment of this format at all, or one that is being made.
// Errors: kWrongKind, kNewerVersion.
[[nodiscard]] Result<void> check_form(const SegmentHeader& header, const std::string& path);

// Whether it is the segment of this layout and of this kernel. `file_bytes` is how long it is.
// Errors: kChanged with both layouts; kUnsupported; kTruncated; kCorrupt.
[[nodiscard]] Result<void> check_match(int fd, const SegmentHeader& header, const Layout& layout,
                                       const std::string& path);

// A copy of what can change under our eyes.
[[nodiscard]] SegmentFacts copy_facts(const SegmentHeader& header) noexcept;
// Text up to the first zero, printable: bytes that are not become '?'.
[[nodiscard]] std::string text_in(const char* bytes, std::size_t bytes_max);

}  // namespace quire::ipc::internal
