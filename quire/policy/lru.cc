// SPDX-License-Identifier: Apache-2.0
//
// Least recently used: a list that used() keeps in order. For hosts that see every use, which a
// pager does not: the yardstick of simulations. The note of a page is its place in the list.
//
// Source: Mattson, Gecsei, Slutz, Traiger, "Evaluation techniques for storage hierarchies", IBM
//         Systems Journal 9(2), 1970. Busy pages go back to the head, which is the only deviation.
#include <limits>
#include <vector>

#include "quire/base/check.h"
#include "quire/policy/internal/queue_policy.h"

namespace quire::internal {
namespace {

class Lru final : public Replacement {
 public:
  Lru(std::size_t pages_max, PageHost& host);

  void inserted(PageId page, Arrival arrival) override;
  void used(PageId page) override;
  void erased(PageId page) override;
  void purge(bool (*is_gone)(const void* context, PageId page), const void* context) override;
  std::size_t choose_victims(std::span<PageId> victims) override;
  void kept(PageId page) override;
  std::size_t peek_tail(std::span<PageId> pages) const override;
  [[nodiscard]] std::size_t queued() const noexcept override { return count_; }
  [[nodiscard]] PolicyStats stats() const noexcept override { return stats_; }
  [[nodiscard]] std::string_view name() const noexcept override {
    return name_of(PolicyKind::kLru);
  }
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept override {
    return sizeof(*this) + nodes_.capacity() * sizeof(Node);
  }
  void check_invariants() const override;

 private:
  // Nodes form two rings: the list, through node 0, which no page has; and a chain of free ones.
  struct Node {
    PageId page = 0;
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
  };
  static constexpr std::uint32_t kEnds = 0;  // newer: the oldest; older: the newest.

  void insert(PageId page) noexcept;
  void remove(std::uint32_t index) noexcept;
  void link_newest(std::uint32_t index) noexcept;
  void unlink(std::uint32_t index) noexcept;

  PageHost& host_;
  std::vector<Node> nodes_;
  std::uint32_t free_ = kEnds;
  std::size_t count_ = 0;
  PolicyStats stats_;
};

Lru::Lru(std::size_t pages_max, PageHost& host) : host_(host), nodes_(pages_max + 1) {
  QUIRE_CHECK_LT(pages_max, std::size_t{std::numeric_limits<std::uint32_t>::max()});
  for (auto index = static_cast<std::uint32_t>(pages_max); index > 0; --index) {
    nodes_[index].newer = free_;
    free_ = index;
  }
}

void Lru::link_newest(std::uint32_t index) noexcept {
  Node& node = nodes_[index];
  node.newer = kEnds;
  node.older = nodes_[kEnds].older;
  nodes_[node.older].newer = index;
  nodes_[kEnds].older = index;
}

void Lru::unlink(std::uint32_t index) noexcept {
  const Node& node = nodes_[index];
  nodes_[node.newer].older = node.older;
  nodes_[node.older].newer = node.newer;
}

void Lru::insert(PageId page) noexcept {
  QUIRE_CHECK(free_ != kEnds);
  const std::uint32_t index = free_;
  free_ = nodes_[index].newer;
  nodes_[index].page = page;
  link_newest(index);
  host_.set_note(page, index);
  ++count_;
}

void Lru::remove(std::uint32_t index) noexcept {
  unlink(index);
  nodes_[index].newer = free_;
  free_ = index;
  --count_;
}

void Lru::inserted(PageId page, Arrival /*arrival*/) {
  QUIRE_CHECK_EQ(host_.note(page), 0U);
  ++stats_.inserted;
  insert(page);
}

void Lru::used(PageId page) {
  if (const PageNote index = host_.note(page); index != kEnds) {
    unlink(index);
    link_newest(index);
  }
}

void Lru::erased(PageId page) {
  if (const PageNote index = host_.note(page); index != kEnds) {
    remove(index);
    host_.set_note(page, 0);
  }
}

void Lru::purge(bool (*is_gone)(const void* context, PageId page), const void* context) {
  for (std::uint32_t index = nodes_[kEnds].newer; index != kEnds;) {
    const std::uint32_t newer = nodes_[index].newer;
    if (is_gone(context, nodes_[index].page)) {
      remove(index);
    }
    index = newer;
  }
}

std::size_t Lru::choose_victims(std::span<PageId> victims) {
  std::size_t found = 0;
  for (std::size_t left = count_; left > 0 && found < victims.size(); --left) {
    const std::uint32_t index = nodes_[kEnds].newer;
    const PageId page = nodes_[index].page;
    if (host_.standing(page) == PageHost::Standing::kBusy) {
      unlink(index);
      link_newest(index);
      continue;
    }
    const bool is_gone = host_.standing(page) == PageHost::Standing::kGone;
    remove(index);
    host_.set_note(page, 0);
    if (!is_gone) {
      victims[found++] = page;
      ++stats_.evicted;
    }
  }
  return found;
}

void Lru::kept(PageId page) {
  --stats_.evicted;
  insert(page);
}

std::size_t Lru::peek_tail(std::span<PageId> pages) const {
  std::size_t found = 0;
  for (std::uint32_t index = nodes_[kEnds].newer; index != kEnds && found < pages.size();
       index = nodes_[index].newer) {
    if (host_.standing(nodes_[index].page) == PageHost::Standing::kEvictable) {
      pages[found++] = nodes_[index].page;
    }
  }
  return found;
}

void Lru::check_invariants() const {
  std::size_t listed = 0;
  for (std::uint32_t index = nodes_[kEnds].newer; index != kEnds; index = nodes_[index].newer) {
    QUIRE_CHECK_EQ(nodes_[nodes_[index].newer].older, index);
    QUIRE_CHECK_EQ(host_.note(nodes_[index].page), index);
    ++listed;
  }
  std::size_t free = 0;
  for (std::uint32_t index = free_; index != kEnds; index = nodes_[index].newer) {
    ++free;
  }
  QUIRE_CHECK_EQ(listed, count_);
  QUIRE_CHECK_EQ(listed + free + 1, nodes_.size());
}

}  // namespace

std::unique_ptr<Replacement> make_lru(std::size_t pages_max, PageHost& host) {
  return std::make_unique<Lru>(pages_max, host);
}

}  // namespace quire::internal
