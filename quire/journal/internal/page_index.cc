// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/page_index.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire::internal {

void PageIndex::add_image(std::uint64_t offset_bytes, std::uint64_t lsn, ImagePlace place) {
  Versions& versions = pages_[offset_bytes];
  space_.retain(lsn);
  const Version added{.lsn = lsn, .commit = 0, .place = place};
  if (!versions.empty() && versions.front().commit == 0) {
    space_.release(versions.front().lsn);
    versions.front() = added;
    return;
  }
  versions.insert(versions.begin(), added);
  ++version_count_;
  uncommitted_pages_.push_back(offset_bytes);
}

void PageIndex::add_resize(std::uint64_t size_bytes, std::uint64_t lsn) {
  space_.retain(lsn);
  const bool is_cut = size_bytes < this->size_bytes(kNewestView);
  resizes_.push_back({.lsn = lsn, .commit = 0, .size_bytes = size_bytes, .is_cut = is_cut});
  cut_count_ += is_cut ? 1 : 0;
}

void PageIndex::drop(Versions& versions, Versions::iterator from, Versions::iterator to) {
  for (auto version = from; version != to; ++version) {
    space_.release(version->lsn);
    --version_count_;
  }
  versions.erase(from, to);
}

// A version stays when a view lies between its commit and the next newer one's.
void PageIndex::prune(Versions& versions, const std::multiset<std::uint64_t>& views) {
  std::uint64_t newer = versions.front().commit;
  for (auto version = versions.begin() + 1; version != versions.end();) {
    const auto view = views.lower_bound(version->commit);
    if (view != views.end() && *view < newer) {
      newer = version->commit;
      ++version;
    } else {
      space_.release(version->lsn);
      --version_count_;
      version = versions.erase(version);
    }
  }
}

void PageIndex::commit(std::uint64_t number, const std::multiset<std::uint64_t>& views) {
  for (const std::uint64_t offset : uncommitted_pages_) {
    Versions& versions = pages_[offset];
    versions.front().commit = number;
    prune(versions, views);
  }
  uncommitted_pages_.clear();
  for (auto resize = resizes_.rbegin(); resize != resizes_.rend() && resize->commit == 0;
       ++resize) {
    resize->commit = number;
  }
}

void PageIndex::rollback() {
  for (const std::uint64_t offset : uncommitted_pages_) {
    const auto found = pages_.find(offset);
    drop(found->second, found->second.begin(), found->second.begin() + 1);
    if (found->second.empty()) {
      pages_.erase(found);
    }
  }
  uncommitted_pages_.clear();
  while (!resizes_.empty() && resizes_.back().commit == 0) {
    space_.release(resizes_.back().lsn);
    cut_count_ -= resizes_.back().is_cut ? 1 : 0;
    resizes_.pop_back();
  }
}

std::uint64_t PageIndex::size_bytes(std::uint64_t view) const {
  for (auto resize = resizes_.rbegin(); resize != resizes_.rend(); ++resize) {
    if (is_visible(resize->commit, view)) {
      return resize->size_bytes;
    }
  }
  return base_size_bytes_;
}

std::uint64_t PageIndex::mask_after(std::uint64_t lsn, std::uint64_t view) const {
  std::uint64_t mask = kToEnd;
  if (cut_count_ == 0) {
    return mask;
  }
  for (auto resize = resizes_.rbegin(); resize != resizes_.rend() && resize->lsn > lsn; ++resize) {
    if (resize->is_cut && is_visible(resize->commit, view)) {
      mask = std::min(mask, resize->size_bytes);
    }
  }
  return mask;
}

PageSource PageIndex::find(std::uint64_t offset_bytes, std::uint64_t view) const {
  const auto found = pages_.find(offset_bytes);
  return find_among(found == pages_.end() ? nullptr : &found->second, offset_bytes, view);
}

PageSource PageIndex::find_among(const Versions* versions, std::uint64_t offset_bytes,
                                 std::uint64_t view) const {
  PageSource source;
  std::uint64_t lsn = 0;
  if (versions != nullptr) {
    const auto version = std::ranges::find_if(
        *versions, [view](const Version& candidate) { return is_visible(candidate.commit, view); });
    if (version != versions->end()) {
      source.image = version->place;
      lsn = version->lsn;
    }
  }
  const std::uint64_t mask = mask_after(lsn, view);
  source.valid_bytes = mask <= offset_bytes ? 0 : std::min(page_bytes_, mask - offset_bytes);
  return source;
}

CheckpointPlan PageIndex::plan_checkpoint(std::uint64_t commit) const {
  CheckpointPlan plan{.cut_bytes = mask_after(0, commit),
                      .size_bytes = size_bytes(commit),
                      .pages = {},
                      .has_changes = !resizes_.empty() && resizes_.front().commit != 0 &&
                                     resizes_.front().commit <= commit};
  plan.pages.reserve(pages_.size());
  for (const auto& [offset, versions] : pages_) {
    const PageSource source = find_among(&versions, offset, commit);
    if (!source.image) {
      continue;
    }
    plan.has_changes = true;
    const std::uint64_t room = plan.size_bytes > offset ? plan.size_bytes - offset : 0;
    const std::uint64_t valid = std::min(source.valid_bytes, room);
    if (valid > 0) {
      plan.pages.push_back({.offset_bytes = offset, .image = *source.image, .valid_bytes = valid});
    }
  }
  return plan;
}

void PageIndex::forget(std::uint64_t commit) {
  base_size_bytes_ = size_bytes(commit);
  for (auto page = pages_.begin(); page != pages_.end();) {
    Versions& versions = page->second;
    const auto from = std::ranges::find_if(
        versions, [commit](const Version& version) { return is_visible(version.commit, commit); });
    drop(versions, from, versions.end());
    page = versions.empty() ? pages_.erase(page) : std::next(page);
  }
  std::erase_if(resizes_, [&](const Resize& resize) {
    if (!is_visible(resize.commit, commit)) {
      return false;
    }
    space_.release(resize.lsn);
    cut_count_ -= resize.is_cut ? 1 : 0;
    return true;
  });
}

void PageIndex::check_invariants() const {
  std::uint64_t count = 0;
  std::uint64_t uncommitted = 0;
  for (const auto& [offset, versions] : pages_) {
    QUIRE_CHECK(!versions.empty() && offset % page_bytes_ == 0);
    uncommitted += versions.front().commit == 0 ? 1 : 0;
    for (std::size_t i = 1; i < versions.size(); ++i) {
      QUIRE_CHECK_LT(versions[i].lsn, versions[i - 1].lsn);
      QUIRE_CHECK(versions[i].commit != 0 &&
                  (versions[i - 1].commit == 0 || versions[i].commit < versions[i - 1].commit));
    }
    count += versions.size();
  }
  QUIRE_CHECK_EQ(count, version_count_);
  QUIRE_CHECK_EQ(uncommitted, uncommitted_pages_.size());
  for (std::size_t i = 1; i < resizes_.size(); ++i) {
    QUIRE_CHECK_LE(resizes_[i - 1].lsn, resizes_[i].lsn);
    QUIRE_CHECK(resizes_[i].commit == 0 || resizes_[i - 1].commit <= resizes_[i].commit);
  }
}

}  // namespace quire::internal
