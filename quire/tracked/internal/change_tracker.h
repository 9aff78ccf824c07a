// SPDX-License-Identifier: Apache-2.0
//
// ChangeTracker: which pages of a private mapping were stored to since it was asked last.
//
//   kNoted      the kernel notes stores (sys/private_pages.h): asking costs a walk over the page
//               tables, and the first store to a page afterwards a fault
//   kCompared   it does not: every private page is read, and its checksum (XXH3, 128 bits) compared
//               with the one it had when it was asked last. A page not seen before counts as
//               changed
//
// Invariants:    a store that comes while changes are taken is found then or the next time; after
//                an error, the next answer holds every private page.
// Thread-safety: one thread at a time; stores to the memory at any time.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/private_pages.h"

namespace quire::internal {

class ChangeTracker {
 public:
  // `view`: where offsets count from. Errors: kUnsupported when /proc/self/pagemap cannot be read.
  [[nodiscard]] static Result<ChangeTracker> open(sys::Address view);

  // What was mapped there just now, privately. Where it cannot be watched, all is kCompared from
  // here on.
  void watch(ByteRange pages);
  // Runs of whole OS pages, in order and apart; none of them counts as changed any more.
  // `length_bytes` is that of the view, in whole pages.
  [[nodiscard]] Result<std::vector<ByteRange>> take_changes(std::uint64_t length_bytes);
  // In memory.
  [[nodiscard]] Result<std::uint64_t> count_private_bytes(ByteRange pages) const;
  // Pages from there on are not what they were.
  void forget_from(std::uint64_t offset_bytes);

  [[nodiscard]] std::uint64_t compared_pages() const noexcept { return compared_pages_; }
  [[nodiscard]] const std::string& explain() const noexcept { return explanation_; }

 private:
  using Checksum = std::array<std::uint64_t, 2>;

  ChangeTracker(sys::Address view, sys::PrivatePages pages) noexcept
      : view_(view), pages_(std::move(pages)) {}
  enum class Pages : std::uint8_t { kStored, kOwn, kOwnInMemory };
  [[nodiscard]] sys::Outcome<std::vector<ByteRange>> walk(ByteRange range, Pages which) const;
  [[nodiscard]] sys::Outcome<sys::PageWalk> step(ByteRange range, Pages which,
                                                 std::span<sys::PageRun> into) const;
  void compare_from_now(const std::string& cause);
  [[nodiscard]] std::vector<ByteRange> compare(std::span<const ByteRange> runs);

  sys::Address view_;
  sys::PrivatePages pages_;
  sys::StoreNotes notes_;
  bool has_notes_ = false;
  bool has_failed_ = false;  // Notes may have been taken that nobody has got.
  std::unordered_map<std::uint64_t, Checksum> checksums_;  // Of pages, by offset; kCompared only.
  std::uint64_t compared_pages_ = 0;
  std::string explanation_;
};

// Adds a run behind those that are there, joined with the last one where they touch.
void append_run(std::vector<ByteRange>& runs, ByteRange run);
// Both, in order and apart.
[[nodiscard]] std::vector<ByteRange> merge_runs(std::span<const ByteRange> a,
                                                std::span<const ByteRange> b);

}  // namespace quire::internal
