// SPDX-License-Identifier: Apache-2.0
//
// Each policy beside a naive one, written from its paper with deques and sets: the same victims in
// the same order, call for call.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "quire/base/prng.h"
#include "quire/policy/replacement.h"
#include "quire/testing/page_host.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using testing::FakePageHost;
using Pages = std::vector<PageId>;

class Model {
 public:
  explicit Model(const FakePageHost& host) : host_(host) {}
  virtual ~Model() = default;
  virtual void insert(PageId page, Arrival arrival) = 0;
  virtual void use(PageId /*page*/) {}
  virtual void keep(PageId page) = 0;
  virtual Pages choose(std::size_t count) = 0;

 protected:
  const FakePageHost& host_;
};

class NaiveFifo : public Model {
 public:
  using Model::Model;
  void insert(PageId page, Arrival /*arrival*/) override { queue_.push_back(page); }
  void keep(PageId page) override { queue_.push_back(page); }
  Pages choose(std::size_t count) override { return sweep(count, false); }

 protected:
  Pages sweep(std::size_t count, bool is_merciful) {
    Pages victims;
    for (std::size_t left = queue_.size(); left > 0 && victims.size() < count; --left) {
      const PageId page = queue_.front();
      queue_.pop_front();
      if (host_.is_pinned(page) || (is_merciful && host_.drawn_bit(page))) {
        queue_.push_back(page);
      } else {
        victims.push_back(page);
      }
    }
    return victims;
  }
  std::deque<PageId> queue_;
};

class NaiveClock final : public NaiveFifo {
 public:
  using NaiveFifo::NaiveFifo;
  Pages choose(std::size_t count) override {
    const Pages victims = sweep(count, true);
    return victims.empty() ? sweep(count, false) : victims;
  }
};

class NaiveLru final : public NaiveFifo {
 public:
  using NaiveFifo::NaiveFifo;
  void use(PageId page) override {
    queue_.erase(std::find(queue_.begin(), queue_.end(), page));
    queue_.push_back(page);
  }
};

class NaiveS3Fifo final : public Model {
 public:
  NaiveS3Fifo(const FakePageHost& host, std::size_t pages_max)
      : Model(host),
        stream_{.share = std::max<std::size_t>(pages_max / 64, 1)},
        small_{.share = std::max<std::size_t>(pages_max / 10, 1)},
        ghosts_max_(pages_max - pages_max / 10) {}

  void insert(PageId page, Arrival arrival) override {
    const bool is_ghost = std::find(ghosts_.begin(), ghosts_.end(), page) != ghosts_.end();
    if (arrival == Arrival::kStream) {
      stream_.pages.push_back(page);
    } else if (is_ghost) {
      main_.pages.push_back(page);
    } else {
      small_.pages.push_back(page);
    }
    std::replace(ghosts_.begin(), ghosts_.end(), page, kNoPage);
    frequencies_[page] = 0;
  }
  void keep(PageId page) override {
    // It had become a ghost, and the entry stays taken.
    std::replace(ghosts_.begin(), ghosts_.end(), page, kNoPage);
    main_.pages.push_back(page);
    frequencies_[page] = 0;
  }
  Pages choose(std::size_t count) override {
    const Pages victims = sweep(count, true);
    return victims.empty() ? sweep(count, false) : victims;
  }

 private:
  static constexpr PageId kNoPage = ~PageId{0};
  struct Queue {
    std::size_t share = 0;
    std::deque<PageId> pages{};
    std::size_t turns = 0;

    [[nodiscard]] bool is_long() const { return turns > 0 && pages.size() > share; }
  };

  Queue* next_queue() {
    for (Queue* queue : {&stream_, &small_}) {
      if (queue->is_long()) {
        return queue;
      }
    }
    for (Queue* queue : {&main_, &small_, &stream_}) {
      if (queue->turns > 0) {
        return queue;
      }
    }
    return nullptr;
  }

  Pages sweep(std::size_t count, bool is_merciful) {
    for (Queue* queue : {&stream_, &small_, &main_}) {
      queue->turns = queue->pages.size();
    }
    Pages victims;
    for (Queue* queue = next_queue(); queue != nullptr && victims.size() < count;
         queue = next_queue()) {
      --queue->turns;
      const PageId page = queue->pages.front();
      queue->pages.pop_front();
      if (host_.is_pinned(page)) {
        queue->pages.push_back(page);
      } else if (Queue* next = is_merciful ? next_of(*queue, page) : nullptr; next != nullptr) {
        next->pages.push_back(page);
      } else {
        victims.push_back(page);
        if (queue == &small_) {
          ghosts_.push_back(page);
          if (ghosts_.size() > ghosts_max_) {
            ghosts_.pop_front();
          }
        }
      }
    }
    return victims;
  }

  Queue* next_of(const Queue& queue, PageId page) {
    int& frequency = frequencies_[page];
    const bool is_used = host_.drawn_bit(page);
    if (&queue == &main_) {
      if (is_used) {
        frequency = std::min(frequency + 1, 3);
        return &main_;
      }
      return frequency-- > 0 ? &main_ : nullptr;
    }
    if (!is_used) {
      return nullptr;
    }
    return &queue == &small_ ? &main_ : &small_;
  }

  Queue stream_;
  Queue small_;
  Queue main_;
  std::deque<PageId> ghosts_;
  const std::size_t ghosts_max_;
  std::map<PageId, int> frequencies_;
};

std::unique_ptr<Model> make_model(PolicyKind kind, const FakePageHost& host,
                                  std::size_t pages_max) {
  switch (kind) {
    case PolicyKind::kFifo: return std::make_unique<NaiveFifo>(host);
    case PolicyKind::kClock: return std::make_unique<NaiveClock>(host);
    case PolicyKind::kLru: return std::make_unique<NaiveLru>(host);
    case PolicyKind::kS3Fifo: break;
  }
  return std::make_unique<NaiveS3Fifo>(host, pages_max);
}

constexpr std::size_t kPages = 1000;

// One run: accesses, pins, calls for one or many victims, some of which are kept.
class Comparison {
 public:
  Comparison(PolicyKind kind, std::size_t pages_max, Prng& random)
      : pages_max_(pages_max),
        random_(random),
        host_(kPages),
        policy_(make_replacement({.kind = kind, .pages_max = pages_max}, host_)),
        model_(make_model(kind, host_, pages_max)) {}

  void step() {
    host_.draw_use_bits(random_(), random_.below(101));
    const std::uint64_t choice = random_.below(100);
    const PageId page = std::min(random_.below(kPages), random_.below(kPages));
    if (choice < 3) {
      host_.pin(page, random_.below(2) == 0);
    } else if (choice < 6) {
      choose(1 + random_.below(pages_max_));
    } else if (host_.use(page)) {
      policy_->used(page);
      model_->use(page);
    } else if (host_.here_count() < pages_max_ || choose(1) > 0) {
      const Arrival arrival = choice < 15 ? Arrival::kStream : Arrival::kDemand;
      host_.come(page, arrival);
      policy_->inserted(page, arrival);
      model_->insert(page, arrival);
    }
    ASSERT_EQ(policy_->queued(), host_.here_count());
  }

 private:
  std::size_t choose(std::size_t count) {
    Pages victims(count);
    victims.resize(policy_->choose_victims(victims));
    EXPECT_EQ(victims, model_->choose(count));
    std::size_t gone = 0;
    for (const PageId page : victims) {
      if (victims.size() > 1 && random_.below(20) == 0) {
        policy_->kept(page);
        model_->keep(page);
      } else {
        host_.go(page);
        ++gone;
      }
    }
    return gone;
  }

  const std::size_t pages_max_;
  Prng& random_;
  FakePageHost host_;
  std::unique_ptr<Replacement> policy_;
  std::unique_ptr<Model> model_;
};

class PolicyModelTest : public ::testing::TestWithParam<PolicyKind> {};
INSTANTIATE_TEST_SUITE_P(All, PolicyModelTest,
                         ::testing::Values(PolicyKind::kFifo, PolicyKind::kClock,
                                           PolicyKind::kS3Fifo, PolicyKind::kLru),
                         [](const auto& param) { return std::string(name_of(param.param)); });

// Goal:   the same victims as the naive policy, in the same order, call for call.
// Method: the use bits are drawn anew for each call, and both see the same.
TEST_P(PolicyModelTest, ChoosesAsTheNaiveOneDoes) {
  Prng random(testing::test_seed());
  for (const std::size_t pages_max : {1U, 2U, 7U, 30U, 100U, 300U}) {
    Comparison comparison(GetParam(), pages_max, random);
    for (int step = 0; step < 6000; ++step) {
      ASSERT_NO_FATAL_FAILURE(comparison.step()) << pages_max << " pages, step " << step;
      ASSERT_FALSE(HasFailure()) << pages_max << " pages, step " << step;
    }
  }
}

}  // namespace
}  // namespace quire
