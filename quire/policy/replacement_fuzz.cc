// SPDX-License-Identifier: Apache-2.0
//
// Whatever a host does, a policy names pages that are there and can go, each once; holds what it
// may hold; and in the end has lost no page.
//
// Source: our own.
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "quire/base/check.h"
#include "quire/policy/replacement.h"
#include "quire/testing/page_host.h"

namespace quire {
namespace {

constexpr std::size_t kPages = 512;
constexpr PageId kAreaEnd = 64;  // Pages below it are an area that can be closed.

class Run {
 public:
  Run(PolicyKind kind, std::size_t pages_max)
      : host_(kPages),
        pages_max_(pages_max),
        policy_(make_replacement({.kind = kind, .pages_max = pages_max}, host_)) {}

  void step(std::uint8_t operation, PageId page, std::uint8_t argument) {
    switch (operation % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5: access(page, argument); break;
      case 6:
      case 7: choose(1U + argument % 80U, argument); break;
      case 8: erase(page); break;
      case 9: host_.pin(page, argument % 2 == 0); break;
      case 10: peek(1U + argument % 80U); break;
      case 11:  // A host gives back memory of notes.
        if (!host_.is_here(page)) {
          host_.forget_note(page);
        }
        break;
      case 12:
        if (argument < 8) {
          close_area();
        }
        break;
      default:
        if (host_.use(page)) {
          policy_->used(page);
        }
        break;
    }
    policy_->check_invariants();
    QUIRE_CHECK_LE(policy_->queued(), pages_max_ + pages_max_ / 8 + 64);
    QUIRE_CHECK_GE(policy_->queued(), host_.here_count());
  }

  // Everything that is not pinned can be had.
  void drain() {
    for (PageId page = 0; page < kPages; ++page) {
      host_.pin(page, page % 7 == 0 && host_.is_here(page));
    }
    while (choose(50, 1) > 0) {
    }
    for (PageId page = 0; page < kPages; ++page) {
      QUIRE_CHECK(!host_.is_here(page) || page % 7 == 0);
    }
    policy_->check_invariants();
  }

 private:
  void access(PageId page, std::uint8_t argument) {
    if (host_.use(page)) {
      policy_->used(page);
      return;
    }
    if (host_.here_count() == pages_max_ && choose(1, 1) == 0) {
      return;  // Everything is pinned.
    }
    constexpr std::array kArrivals{Arrival::kDemand, Arrival::kReadAhead, Arrival::kStream};
    const Arrival arrival = kArrivals[argument % kArrivals.size()];
    host_.come(page, arrival);
    policy_->inserted(page, arrival);
  }

  // Every `keep_nth` of the victims cannot go after all, from the second on.
  std::size_t choose(std::size_t count, std::size_t keep_nth) {
    std::vector<PageId> victims(count);
    victims.resize(policy_->choose_victims(victims));
    QUIRE_CHECK_EQ(std::set<PageId>(victims.begin(), victims.end()).size(), victims.size());
    for (std::size_t i = 0; i < victims.size(); ++i) {
      QUIRE_CHECK(host_.standing(victims[i]) == PageHost::Standing::kEvictable);
      if (keep_nth > 1 && i % keep_nth == keep_nth - 1) {
        policy_->kept(victims[i]);
      } else {
        host_.go(victims[i]);
      }
    }
    return victims.size();
  }

  void peek(std::size_t count) {
    std::vector<PageId> pages(count);
    pages.resize(policy_->peek_tail(pages));
    for (const PageId page : pages) {
      QUIRE_CHECK(host_.standing(page) == PageHost::Standing::kEvictable);
    }
  }

  void erase(PageId page) {
    if (host_.is_here(page)) {
      host_.pin(page, false);
      host_.go(page);
      policy_->erased(page);
    }
  }

  void close_area() {
    for (PageId page = 0; page < kAreaEnd; ++page) {
      host_.pin(page, false);
      if (host_.is_here(page)) {
        host_.go(page);
      }
    }
    policy_->purge(
        [](const void* end, PageId page) { return page < *static_cast<const PageId*>(end); },
        &kAreaEnd);
    for (PageId page = 0; page < kAreaEnd; ++page) {
      host_.forget_note(page);
    }
  }

  testing::FakePageHost host_;
  const std::size_t pages_max_;
  std::unique_ptr<Replacement> policy_;
};

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  using namespace quire;
  if (size_bytes < 2) {
    return 0;
  }
  constexpr std::array kKinds{PolicyKind::kFifo, PolicyKind::kClock, PolicyKind::kS3Fifo,
                              PolicyKind::kLru};
  Run run(kKinds[data[0] % kKinds.size()], 1U + data[1] % 200U);
  for (std::size_t i = 2; i + 4 <= size_bytes; i += 4) {
    const PageId page = (data[i + 1] | std::size_t{data[i + 2]} << 8) % kPages;
    run.step(data[i], page, data[i + 3]);
  }
  run.drain();
  return 0;
}
