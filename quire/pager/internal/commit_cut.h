// SPDX-License-Identifier: Apache-2.0
//
// CommitCut: what one commit takes: the bytes that the dirty granules of its areas have at one
// instant, while threads go on to store to them.
//
//             begin()               take()                     finish(written)
//   kDirty ------------> kWriting ----------> kWriting ------------------------> kClean
//   stores free          protected,           protected,      |
//                        no image yet         image taken     '- redirtied, or not written: kDirty
//                            |                     |
//                            | a store:            | a store: lifted at once, redirtied
//                            '- take_aside() ------'
//                               a copy first
//
//   no image yet   a store must not be let in: its bytes would be part of the commit
//   image taken    the bytes at the cut are in a buffer; a store belongs to the next commit
//
// begin() is the cut. The areas' gates are shut while it protects everything, so nobody lets a
// store in: a thread that waits in a fault cannot have made another store, and nothing that depends
// on a store outside of the cut is inside of it. It is one system call for each stretch; gaps of a
// few granules are bridged: what lies there is absent or protected already.
//
// Invariants:    between begin() and finish() the granules in kWriting of the areas are those of
//                the cut; left() of them have no image yet; those before the place that take() has
//                reached, and those aside, have one.
// Thread-safety: one thread at a time: Committer locks. REQUIRES throughout: the areas are
//                committing, the gates of their pins shut until left() is 0.
// Cost:          one copy of each granule; one more of those aside. begin() looks at the granules
//                of leaves that have dirty ones, up to the last of these; the rest goes by what it
//                found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "quire/journal/journal.h"
#include "quire/pager/internal/area_state.h"

namespace quire::internal {

class CommitCut {
 public:
  explicit CommitCut(PagerCore& core) : core_(core) {}

  // REQUIRES: the one before is finished; no granule of the areas is kWriting. False: the kernel
  // refused to protect something: finish(false).
  [[nodiscard]] bool begin(std::span<AreaState* const> areas);
  // Granules whose images are not taken.
  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }
  // Copies the next images into `window`, as many as fit, and adds where to `images[i]` for area i.
  // Returns the bytes used. REQUIRES: as many as areas. Nothing: the kernel refused a copy:
  // finish(false).
  [[nodiscard]] std::optional<std::uint64_t> take(std::span<std::byte> window,
                                                  std::span<std::vector<PageImages>> images);
  // Before a store to a protected granule is let in, also where a fault is served: allocates
  // nothing. False: no buffer is free: later.
  [[nodiscard]] bool take_aside(AreaState& area, std::uint64_t index);
  void finish(bool was_written);

 private:
  // Neighbours in the cut.
  struct Run {
    std::size_t area = 0;  // Its number.
    GranuleSpan span;
  };

  struct Aside {
    PageId page = 0;
    std::span<const std::byte> image{};
  };

  [[nodiscard]] bool sweep(std::size_t number);
  void add(std::size_t number, std::uint64_t index);
  [[nodiscard]] bool protect(AreaState& area, GranuleSpan run);
  // What one copy brings, of the run at which images are taken.
  [[nodiscard]] GranuleSpan next_span(const AreaState& area, std::uint64_t count_max) const;
  [[nodiscard]] bool copy(AreaState& area, GranuleSpan run, std::span<std::byte> into,
                          std::vector<PageImages>& images) const;
  void end_imaging();
  // The first that is not before it.
  [[nodiscard]] std::vector<Aside>::const_iterator aside_from(PageId page) const;
  [[nodiscard]] bool is_aside(PageId page) const;
  [[nodiscard]] bool has_image(const AreaState& area, std::uint64_t index) const;
  // A buffer of one granule; empty: none is free.
  [[nodiscard]] std::span<std::byte> take_place();
  void end_run(AreaState& area, GranuleSpan run, bool was_written);

  PagerCore& core_;
  std::vector<AreaState*> areas_;
  std::vector<Run> runs_;  // In the order of areas and granules.
  std::uint64_t left_ = 0;
  std::size_t at_ = 0;        // Images are taken up to this run ...
  std::uint64_t cursor_ = 0;  // ... and this granule of its area.
  // In the order of pages. There is memory for all of them since begin(): threads that serve a
  // fault add to it.
  std::vector<Aside> aside_;
  std::vector<std::uint32_t> slots_;  // Demand buffers that hold them ...
  std::uint64_t last_slot_used_bytes_ = 0;
};

}  // namespace quire::internal
