// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/cache/granule_table.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using State = GranuleState;
using Entry = GranuleTable::Entry;
using BeginWrite = GranuleTable::BeginWrite;

constexpr std::uint64_t kLeaf = GranuleTable::kLeafGranules;
constexpr std::uint64_t kLeaves = 3;
constexpr std::uint64_t kPerLeaf = 4;  // Few, so that threads meet.
// Long enough that only a wake that was lost lets it run out.
constexpr std::uint64_t kForeverMs = 60'000;

// A page, as the hardware sees it: present, writable or not, and how often it was stored to. One
// atomic, because the hardware checks the permission and stores in one step.
class ModelPage {
 public:
  void map(std::uint64_t version, bool is_writable) {
    word_ = kPresent | (is_writable ? kWritable : 0) | version;
  }
  void unmap() { word_ = 0; }
  void protect() { word_.fetch_and(~kWritable); }
  void lift() { word_.fetch_or(kWritable); }
  // False: it would fault.
  bool store() {
    std::uint64_t seen = word_;
    do {
      if ((seen & kWritable) == 0) {
        return false;
      }
    } while (!word_.compare_exchange_weak(seen, seen + 1));
    return true;
  }
  [[nodiscard]] bool is_present() const { return (word_ & kPresent) != 0; }
  [[nodiscard]] bool is_writable() const { return (word_ & kWritable) != 0; }
  [[nodiscard]] std::uint64_t version() const { return word_ & ~(kPresent | kWritable); }

 private:
  static constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kWritable = std::uint64_t{1} << 62;
  std::atomic<std::uint64_t> word_{0};
};

// What belongs to a granule beside its cell. `disk` and `mark` are plain on purpose: only the state
// says who may touch them, and ThreadSanitizer sees whether it orders them.
struct ModelGranule {
  ModelPage page;
  std::uint64_t disk = 0;  // The version that was written out last.
  int mark = 0;            // 1 while the granule is in memory: read under a pin.
};

// Goal:   the states keep their promises: one owner of each transition; a store is never lost by an
//         eviction; a pinned granule stays in memory; a leaf in use is charged exactly once; nobody
//         who waits is forgotten.
// Method: several threads do random steps of faults, stores, write-back, eviction, pins and give-
//         backs on few granules, against pages whose protection is modelled.
class GranuleModel {
 public:
  explicit GranuleModel(GranuleTable& table) : table_(table) {
    table_.set_on_awaited(
        [](void* self, std::uint64_t) noexcept {
          static_cast<GranuleModel*>(self)->awaited_ends_.fetch_add(1);
        },
        this);
  }

  void run(std::uint64_t seed, int steps) {
    Prng prng(seed);
    for (int step = 0; step < steps; ++step) {
      const std::uint64_t granule = prng.below(kLeaves) * kLeaf + prng.below(kPerLeaf);
      switch (prng.below(10)) {
        case 0:
        case 1: fill(granule, prng); break;
        case 2:
        case 3: store(granule); break;
        case 4: write_back(granule, prng.below(8) != 0); break;
        case 5: evict(granule); break;
        case 6: discard(granule); break;
        case 7: pin(granule); break;
        case 8: wait(granule); break;
        default: give_back(granule); break;
      }
    }
  }

  void drain() {
    for (std::uint64_t granule = 0; granule < kLeaves * kLeaf; ++granule) {
      write_back(granule, true);
      discard(granule);
      give_back(granule);
    }
  }

  [[nodiscard]] std::uint64_t charged() const { return charged_; }
  [[nodiscard]] std::uint64_t lost_wakes() const { return lost_wakes_; }
  [[nodiscard]] std::uint64_t fills() const { return fills_; }
  [[nodiscard]] std::uint64_t evictions() const { return evictions_; }
  [[nodiscard]] std::uint64_t awaited_ends() const { return awaited_ends_; }

 private:
  [[nodiscard]] ModelGranule& at(std::uint64_t granule) {
    return granules_[granule / kLeaf * kPerLeaf + granule % kLeaf];
  }

  bool enter(std::uint64_t granule) {
    switch (table_.enter(granule)) {
      case Entry::kEntered: return true;
      case Entry::kLeaving: return false;
      case Entry::kMustCharge: charged_.fetch_add(table_.enter_charged(granule) ? 1 : 0); break;
    }
    return true;
  }

  void fill(std::uint64_t granule, Prng& prng) {
    if (!enter(granule)) {
      return;
    }
    if (table_.begin_fill(granule) || table_.take_held(granule)) {
      fills_.fetch_add(1);
      ModelGranule& model = at(granule);
      EXPECT_FALSE(model.page.is_present());
      EXPECT_EQ(model.mark, 0);
      constexpr std::array<State, 6> kEnds = {State::kClean, State::kClean, State::kClean,
                                              State::kDirty, State::kHeld,  State::kAbsent};
      const State to = kEnds[prng.below(kEnds.size())];
      if (to == State::kClean || to == State::kDirty) {
        model.mark = 1;
        model.page.map(model.disk, to == State::kDirty);
      }
      table_.finish_fill(granule, to);
    }
    table_.leave(granule);
  }

  // As a thread of the application, and the handler of its fault.
  void store(std::uint64_t granule) {
    ModelGranule& model = at(granule);
    if (!model.page.store() && table_.begin_store(granule)) {
      EXPECT_TRUE(model.page.is_present());
      model.page.lift();
      table_.finish_store(granule);
      model.page.store();
    }
  }

  void write_back(std::uint64_t granule, bool succeeds) {
    const BeginWrite begun = table_.begin_write(granule);
    if (begun == BeginWrite::kRefused) {
      return;
    }
    ModelGranule& model = at(granule);
    if (begun == BeginWrite::kProtect) {
      model.page.protect();
      table_.written_protected(granule);
    }
    EXPECT_TRUE(model.page.is_present());
    const std::uint64_t version = model.page.version();
    if (succeeds) {
      model.disk = version;
    }
    const State became = table_.finish_write(granule, succeeds);
    EXPECT_TRUE(became == State::kDirty || (succeeds && begun == BeginWrite::kProtect));
  }

  void evict(std::uint64_t granule) {
    if (table_.begin_evict(granule)) {
      ModelGranule& model = at(granule);
      EXPECT_FALSE(model.page.is_writable());
      EXPECT_EQ(model.page.version(), model.disk) << "a store was lost";
      end_eviction(granule);
    }
  }

  void discard(std::uint64_t granule) {
    if (table_.begin_discard(granule)) {
      end_eviction(granule);
    }
  }

  void end_eviction(std::uint64_t granule) {
    ModelGranule& model = at(granule);
    model.mark = 0;
    model.page.unmap();
    evictions_.fetch_add(1);
    table_.finish_evict(granule);
  }

  void pin(std::uint64_t granule) {
    if (table_.try_pin(granule)) {
      EXPECT_EQ(at(granule).mark, 1);
      std::this_thread::yield();
      EXPECT_TRUE(at(granule).page.is_present());
      EXPECT_EQ(at(granule).mark, 1);
      table_.unpin(granule);
    }
  }

  void wait(std::uint64_t granule) {
    const GranuleWord seen = table_.word(granule);
    if (seen.is_in_transition()) {
      lost_wakes_.fetch_add(table_.await_change(granule, seen, kForeverMs) ? 0 : 1);
    } else {
      static_cast<void>(table_.mark_awaited(granule));
    }
  }

  void give_back(std::uint64_t granule) {
    if (table_.begin_give_back(granule)) {
      const std::uint64_t first = granule / kLeaf * kPerLeaf;
      for (std::uint64_t i = 0; i < kPerLeaf; ++i) {
        EXPECT_FALSE(granules_[first + i].page.is_present());
      }
      table_.finish_give_back(granule);
      charged_.fetch_sub(1);
    }
  }

  GranuleTable& table_;
  std::array<ModelGranule, kLeaves * kPerLeaf> granules_;
  std::atomic<std::uint64_t> charged_{0};
  std::atomic<std::uint64_t> lost_wakes_{0};
  std::atomic<std::uint64_t> fills_{0};
  std::atomic<std::uint64_t> evictions_{0};
  std::atomic<std::uint64_t> awaited_ends_{0};
};

TEST(GranuleTableModelTest, TheStatesKeepTheirPromisesAmongThreads) {
  constexpr int kThreads = 4;
  constexpr int kSteps = 60'000;
  GranuleTable table = GranuleTable::make(kLeaves * kLeaf).value();
  GranuleModel model(table);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { model.run(testing::test_seed() + i, kSteps); });
  }
  std::ranges::for_each(threads, &std::thread::join);
  table.check_invariants();
  EXPECT_EQ(model.charged(), table.leaves_in_use());
  EXPECT_EQ(model.lost_wakes(), 0U);
  EXPECT_GT(model.fills(), 1000U);
  EXPECT_GT(model.evictions(), 1000U);
  model.drain();
  EXPECT_EQ(table.leaves_in_use(), 0U);
  EXPECT_EQ(table.dirty_count(), 0U);
  EXPECT_EQ(model.charged(), 0U);
  RecordProperty("awaited_ends", static_cast<int>(model.awaited_ends()));
}

}  // namespace
}  // namespace quire
