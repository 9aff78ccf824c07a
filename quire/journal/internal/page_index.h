// SPDX-License-Identifier: Apache-2.0
//
// PageIndex: of one file, which images of its pages are in the log, and what size it has: for the
// newest view, for any view that a snapshot holds, and for a checkpoint.
//
//   page --> version, version, ...       newest first
//             |  lsn     in which record the image is: the order of everything
//             |  commit  which commit made it visible; 0: uncommitted, seen by the newest view
//             alone
//             '- place, checksum
//   resizes:  (lsn, commit, size) in order; one that makes the file shorter cuts what is older
//
//   A version is visible to view N when it is committed and its commit <= N. The newest visible one
//   counts, masked by the visible cuts that came after it; with none, the bytes of the file count,
//   masked by all visible cuts. What lies beyond the mask is zeros.
//
// Invariants:    versions of a page and resizes are in the order of LSNs, and so of commits;
//                uncommitted ones are the newest; each holds its record in the LogSpace.
// Thread-safety: one thread at a time: the journal's mutex.
// Cost:          see bytes_per_page(); memory is bounded by the pages that fit into the log.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "quire/journal/internal/log_space.h"

namespace quire::internal {

// View N: the bytes as of commit N. kNewestView: uncommitted changes, too.
inline constexpr std::uint64_t kNewestView = ~std::uint64_t{0};

struct ImagePlace {
  std::uint64_t position = 0;  // As LogSpace counts.
  std::uint64_t checksum = 0;
};

// Where the bytes of a page are.
struct PageSource {
  std::optional<ImagePlace> image;  // Nothing: in the file.
  std::uint64_t valid_bytes = 0;    // The rest of the page is zeros.
};

// What a checkpoint has to do to a file.
struct CheckpointPlan {
  struct Page {
    std::uint64_t offset_bytes = 0;
    ImagePlace image;
    std::uint64_t valid_bytes = 0;
  };
  std::uint64_t cut_bytes = 0;   // First cut the file to this if it is longer, ...
  std::uint64_t size_bytes = 0;  // ... then give it this size, then write the pages.
  std::vector<Page> pages;       // In no order.
  bool has_changes = false;
};

class PageIndex {
 public:
  PageIndex(std::uint64_t page_bytes, std::uint64_t size_bytes, LogSpace& space)
      : page_bytes_(page_bytes), base_size_bytes_(size_bytes), space_(space) {}

  // --- Uncommitted changes, in the order of their records ---------------------------------------

  void add_image(std::uint64_t offset_bytes, std::uint64_t lsn, ImagePlace place);
  void add_resize(std::uint64_t size_bytes, std::uint64_t lsn);
  // Versions that neither the newest view nor one of these views (in order) needs are let go.
  void commit(std::uint64_t number, const std::multiset<std::uint64_t>& views);
  void rollback();
  [[nodiscard]] bool has_uncommitted() const noexcept {
    return !uncommitted_pages_.empty() || (!resizes_.empty() && resizes_.back().commit == 0);
  }

  // --- Views ------------------------------------------------------------------------------------

  [[nodiscard]] std::uint64_t size_bytes(std::uint64_t view) const;
  // REQUIRES: offset is that of a page.
  [[nodiscard]] PageSource find(std::uint64_t offset_bytes, std::uint64_t view) const;
  // False: the file's own bytes are the answer to every read.
  [[nodiscard]] bool may_differ_from_file() const noexcept {
    return !pages_.empty() || !resizes_.empty();
  }

  [[nodiscard]] bool has_resizes() const noexcept { return !resizes_.empty(); }

  // --- Checkpoints ------------------------------------------------------------------------------

  [[nodiscard]] CheckpointPlan plan_checkpoint(std::uint64_t commit) const;
  // What the plan of that commit said is in the file now.
  void forget(std::uint64_t commit);
  // The size that the file itself has.
  [[nodiscard]] std::uint64_t base_size_bytes() const noexcept { return base_size_bytes_; }

  [[nodiscard]] std::uint64_t version_count() const noexcept { return version_count_; }
  // Roughly what the index of a page costs: a node of the table, its versions, its slot.
  [[nodiscard]] static constexpr std::uint64_t bytes_per_page() noexcept {
    return sizeof(std::pair<std::uint64_t, std::vector<Version>>) + sizeof(Version) + 32;
  }
  void check_invariants() const;

 private:
  struct Version {
    std::uint64_t lsn = 0;
    std::uint64_t commit = 0;
    ImagePlace place;
  };
  struct Resize {
    std::uint64_t lsn = 0;
    std::uint64_t commit = 0;
    std::uint64_t size_bytes = 0;
    bool is_cut = false;
  };
  using Versions = std::vector<Version>;  // Newest first.

  // Whether somebody who looks at a view sees what this commit made.
  [[nodiscard]] static bool is_visible(std::uint64_t commit, std::uint64_t view) noexcept {
    return view == kNewestView || (commit != 0 && commit <= view);
  }
  // `versions`: of the page; may be null.
  [[nodiscard]] PageSource find_among(const Versions* versions, std::uint64_t offset_bytes,
                                      std::uint64_t view) const;
  // How many bytes of a file cuts after a record leave, for a view.
  [[nodiscard]] std::uint64_t mask_after(std::uint64_t lsn, std::uint64_t view) const;
  void prune(Versions& versions, const std::multiset<std::uint64_t>& views);
  void drop(Versions& versions, Versions::iterator from, Versions::iterator to);

  const std::uint64_t page_bytes_;
  std::uint64_t base_size_bytes_;
  LogSpace& space_;
  std::unordered_map<std::uint64_t, Versions> pages_;  // By offset.
  std::vector<std::uint64_t> uncommitted_pages_;       // Offsets; each once.
  std::vector<Resize> resizes_;
  std::uint64_t cut_count_ = 0;
  std::uint64_t version_count_ = 0;
};

}  // namespace quire::internal
