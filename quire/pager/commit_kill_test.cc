// SPDX-License-Identifier: Apache-2.0
//
// Processes that are killed while several threads store and one commits: what is found is a
// consistent cut, in one file and across two. Soaks (testing/soak.h) kill on and on.
//
// Each thread counts in a pair of words that lie in different granules, or files: first a, then b,
// so that at every instant b <= a <= b + 1. A cut that had b's store without the a's before it, or
// a commit that was torn, shows as a pair apart.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/pager/pager.h"
#include "quire/testing/commit_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/soak.h"
#include "quire/testing/survive_kill_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Child;
using testing::kGranule;

constexpr std::uint64_t kThreads = 3;
constexpr std::uint64_t kGranules = 384;  // More than the budget's 256, with two files three times.
constexpr std::uint64_t kFileBytes = kGranules * kGranule;

// Thread t's pairs are spread over the file, so that a cut is made of many stretches.
constexpr std::uint64_t kPairs = 24;

std::uint64_t place_of(std::uint64_t thread, std::uint64_t pair, bool is_second) {
  const std::uint64_t granule = (pair * 2 + (is_second ? 1 : 0)) * (kGranules / (2 * kPairs));
  return granule * kGranule + thread * sizeof(std::uint64_t);
}

// What was promised.
struct Book {
  std::atomic<std::uint64_t> commits{0};
  std::array<std::array<std::atomic<std::uint64_t>, kPairs>, kThreads> done{};          // b's ...
  std::array<std::array<std::atomic<std::uint64_t>, kPairs>, kThreads> acknowledged{};  // ... then.
  std::atomic<bool> has_failed{false};
};

class CommitKillTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
#endif
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  void make(std::size_t files) {
    for (std::size_t i = 0; i < files; ++i) {
      paths_.push_back(directory_.write("file" + std::to_string(i), std::string(kFileBytes, '\0')));
    }
  }

  [[nodiscard]] Result<std::unique_ptr<Journal>> open() const {
    return open_journal(paths_, {.journal = {.log_bytes = 16_MiB}});
  }

  static std::uint64_t load(const WritablePagedArea& area, std::uint64_t at) {
    return *reinterpret_cast<const volatile std::uint64_t*>(area.bytes().data() + at);
  }
  static void store(WritablePagedArea& area, std::uint64_t at, std::uint64_t value) {
    *reinterpret_cast<volatile std::uint64_t*>(area.bytes().data() + at) = value;
  }

  // Never comes back.
  int live(Book& book) const {
    const std::shared_ptr<Journal> journal = open().value();
    Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
    std::vector<WritablePagedArea> areas;
    std::vector<WritablePagedArea*> all;
    areas.reserve(paths_.size());
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      areas.push_back(pager.map(journal, i, testing::kAtomic).value());
      all.push_back(&areas.back());
    }
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        if (has_updates_) {
          update(pager, all, t, book);
        } else {
          count(areas.front(), areas.back(), t, book);
        }
      });
    }
    // Makes memory short: pages come, are dirty and go.
    threads.emplace_back([&] {
      for (std::uint64_t i = 0;; i = (i + 1) % kGranules) {
        store(areas.front(), i * kGranule + kGranule - sizeof(i), i);
      }
    });
    commit_for_ever(pager, all, book);
    book.has_failed.store(true);
    std::_Exit(1);
  }

  static void count(WritablePagedArea& first, WritablePagedArea& second, std::uint64_t t,
                    Book& book) {
    for (std::uint64_t pair = 0;; pair = (pair + 1) % kPairs) {
      // From b: where the cut was between the two, a has this value already.
      const std::uint64_t value = load(second, place_of(t, pair, true)) + 1;
      store(first, place_of(t, pair, false), value);
      store(second, place_of(t, pair, true), value);
      book.done[t][pair].store(value);
    }
  }

  // In the other order, with commits of its own now and then: only whole updates leave pairs alike.
  static void update(Pager& pager, std::span<WritablePagedArea* const> all, std::uint64_t t,
                     Book& book) {
    WritablePagedArea& first = *all.front();
    WritablePagedArea& second = *all.back();
    for (std::uint64_t pair = 0;; pair = (pair + 1) % kPairs) {
      const std::uint64_t value = load(second, place_of(t, pair, true)) + 1;
      {
        const Update update = first.begin_update();
        store(second, place_of(t, pair, true), value);
        store(first, place_of(t, pair, false), value);
      }
      book.done[t][pair].store(value);
      if (pair % 8 == t && !pager.commit(all)) {
        return;  // The one who commits for ever says why.
      }
    }
  }

  static void commit_for_ever(Pager& pager, std::span<WritablePagedArea* const> all, Book& book) {
    for (;;) {
      std::array<std::array<std::uint64_t, kPairs>, kThreads> before{};
      for (std::uint64_t t = 0; t < kThreads; ++t) {
        for (std::uint64_t pair = 0; pair < kPairs; ++pair) {
          before[t][pair] = book.done[t][pair].load();
        }
      }
      if (const Result<void> committed = pager.commit(all); !committed) {
        std::fprintf(stderr, "%s\n", committed.error().message().c_str());
        return;
      }
      for (std::uint64_t t = 0; t < kThreads; ++t) {
        for (std::uint64_t pair = 0; pair < kPairs; ++pair) {
          book.acknowledged[t][pair].store(before[t][pair]);
        }
      }
      book.commits.fetch_add(1);
    }
  }

  static std::uint64_t word_at(Journal& journal, std::size_t file, std::uint64_t at) {
    std::uint64_t word = 0;
    const auto bytes = std::as_writable_bytes(std::span(&word, 1));
    EXPECT_EQ(journal.file(file).read(at, bytes).value(), bytes.size());
    return word;
  }

  // Closes the journal now and then, so that the next one has to begin anew.
  void check(Book& book, bool closes) const {
    const std::unique_ptr<Journal> journal = open().value();
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      for (std::uint64_t pair = 0; pair < kPairs; ++pair) {
        const std::uint64_t a = word_at(*journal, 0, place_of(t, pair, false));
        const std::uint64_t b = word_at(*journal, paths_.size() - 1, place_of(t, pair, true));
        EXPECT_TRUE(a == b || (!has_updates_ && a == b + 1)) << a << " and " << b << " are apart";
        EXPECT_GE(b, book.acknowledged[t][pair].load()) << "was acknowledged";
        // The next process goes on from here.
        book.done[t][pair].store(b);
        book.acknowledged[t][pair].store(b);
      }
    }
    if (closes) {
      EXPECT_TRUE(journal->close().has_value());
    }
  }

  void kill_one(Book& book, Prng random) const {
    const std::uint64_t target = book.commits.load() + random.below(12);
    Child child([&] { return live(book); });
    while (book.commits.load() < target && !book.has_failed.load()) {
      ASSERT_FALSE(child.has_ended()) << "it died before it was killed";
      std::this_thread::yield();
    }
    testing::kill_soon(child, random, 20'000);  // Somewhere in the next one.
    child.join();
    ASSERT_FALSE(book.has_failed.load());
    check(book, random.below(3) == 0);
  }

  void run(std::uint64_t kills) const {
    const testing::SharedMemory<Book> book;
    testing::soak(kills, [&](std::uint64_t seed) { kill_one(*book, Prng(seed)); });
    EXPECT_GT(book->commits.load(), 0U);
    RecordProperty("commits", std::to_string(book->commits.load()));
  }

  const testing::TempDir directory_;
  std::vector<std::string> paths_;
  bool has_updates_ = false;
};

TEST_P(CommitKillTest, AProcessThatIsKilledLeavesAConsistentCut) {
  make(1);
  run(50);
}

TEST_P(CommitKillTest, TwoFilesAreCommittedTogetherOrNotAtAll) {
  make(2);
  run(25);
}

TEST_P(CommitKillTest, UpdatesOfSeveralThreadsAreWholeInEachOfTheFiles) {
  has_updates_ = true;
  make(2);
  run(25);
}

// Goal:   a child of a process with atomic areas can let go of them: nothing of them works there.
TEST_P(CommitKillTest, AForkedChildHasNoCommits) {
  make(1);
  const testing::ChildEnd end =
      Child([this] {
        Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
        WritablePagedArea area = pager.map(open().value(), 0, testing::kAtomic).value();
        store(area, 0, 1);
        PagedArea view = area.snapshot().value();
        const testing::ChildEnd inner = Child([&] {
                                          const bool is_refused =
                                              area.commit().error().code() == Errc::kClosed &&
                                              area.rollback().error().code() == Errc::kClosed &&
                                              area.snapshot().error().code() == Errc::kClosed;
                                          {
                                            const Update update = area.begin_update();
                                          }
                                          area = WritablePagedArea();
                                          view = PagedArea();
                                          return is_refused ? 0 : 1;
                                        }).join();
        view.close().value();
        return inner.exit_code == 0 && area.commit() && area.close() ? 0 : 1;
      }).join();
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.exit_code, 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, CommitKillTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
