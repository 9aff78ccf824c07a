// SPDX-License-Identifier: Apache-2.0
//
// Owners that are killed while they store, flush, resize, evict and close: nothing that was stored
// is lost, and nothing else has changed.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/pager/survive_kill.h"
#include "quire/testing/process.h"
#include "quire/testing/soak.h"
#include "quire/testing/survive_kill_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Child;
using testing::guardian_of;
using testing::kGranule;
using testing::kPaged;
using testing::SharedMemory;
using testing::store_byte;
using testing::SurviveKillTest;
using testing::surviving;

constexpr std::uint64_t kThreads = 3;
constexpr std::uint64_t kGranules = 1024;  // Four times the budget.
constexpr std::uint64_t kFileBytes = kGranules * kGranule;
constexpr std::uint64_t kMarkOffset = kGranule - sizeof(std::uint64_t);

// What the writers did. Thread t has the t-th word of each granule for itself.
struct Book {
  struct Intention {
    std::atomic<std::uint64_t> granule{0};
    std::atomic<std::uint64_t> value{0};
  };
  std::array<std::array<std::atomic<std::uint64_t>, kGranules>, kThreads> done{};
  std::array<Intention, kThreads> next{};
  std::atomic<std::uint64_t> stores{0};
  std::atomic<int> guardian{0};
  std::atomic<bool> has_failed{false};
};

// What goes on beside the stores.
enum class Beside : std::uint8_t { kNothing, kFlushing, kResizing, kEvicting, kClosing };

struct KillRow {
  FaultPath path;
  Beside beside;
};

std::string name_of_row(const ::testing::TestParamInfo<KillRow>& info) {
  static constexpr std::array kNames{"stores", "flushing", "resizing", "evicting", "closing"};
  return std::string(name_of(info.param.path)) + "_" +
         kNames[static_cast<std::size_t>(info.param.beside)];
}

std::uint64_t mark_of(std::uint64_t granule) {
  return granule * 0x9e37'79b9'7f4a'7c15 + 1;
}

std::string marked_file() {
  std::string text(kFileBytes, '\0');
  for (std::uint64_t granule = 0; granule < kGranules; ++granule) {
    const std::uint64_t mark = mark_of(granule);
    std::memcpy(text.data() + granule * kGranule + kMarkOffset, &mark, sizeof mark);
  }
  return text;
}

std::uint64_t word_at(const std::string& text, std::uint64_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, text.data() + offset, sizeof word);
  return word;
}

void write_words(std::span<std::byte> bytes, Book& book, std::uint64_t thread, Prng prng,
                 std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t granule = prng.below(kGranules);
    const std::uint64_t value = book.done[thread][granule].load() + 1;
    book.next[thread].granule.store(granule);
    book.next[thread].value.store(value);
    *reinterpret_cast<volatile std::uint64_t*>(bytes.data() + granule * kGranule +
                                               thread * sizeof value) = value;
    book.done[thread][granule].store(value);
    book.stores.fetch_add(1);
  }
}

constexpr std::uint64_t kForEver = ~std::uint64_t{0};

[[noreturn]] void do_beside(WritablePagedArea& area, Beside beside, Prng prng) {
  for (;;) {
    const ByteRange range{prng.below(kFileBytes / 2), kFileBytes / 4};
    switch (beside) {
      case Beside::kFlushing: static_cast<void>(area.flush(range)); break;
      case Beside::kResizing:
        static_cast<void>(area.resize(kFileBytes + 1 + prng.below(64) * 1000));
        store_byte(area.bytes().data() + area.size_bytes() - 1, std::byte{0});
        break;
      case Beside::kEvicting: static_cast<void>(area.evict(range)); break;
      default: ::pause();
    }
  }
}

int store_until_killed(const std::string& path, const KillRow& row, Book& book, Prng prng) {
  Pager pager(surviving(row.path));
  for (;;) {
    auto mapped = pager.map(path, kPaged);
    if (!mapped) {
      std::fprintf(stderr, "%s\n", mapped.error().message().c_str());
      book.has_failed.store(true);
      ::pause();
    }
    WritablePagedArea area = std::move(*mapped);
    book.guardian.store(guardian_of(area));
    const std::span<std::byte> bytes = area.bytes();
    const std::uint64_t count = row.beside == Beside::kClosing ? 200 : kForEver;
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < kThreads; ++i) {
      threads.emplace_back(
          [&, i, seed = prng()] { write_words(bytes, book, i, Prng(seed), count); });
    }
    if (row.beside != Beside::kClosing) {
      do_beside(area, row.beside, Prng(prng()));
    }
    threads.clear();
    static_cast<void>(area.close());
  }
}

// "" when the file has everything.
std::string finding(const std::string& text, const Book& book) {
  std::ostringstream out;
  for (std::uint64_t granule = 0; granule < kGranules; ++granule) {
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      const std::uint64_t word = word_at(text, granule * kGranule + thread * sizeof word);
      const std::uint64_t done = book.done[thread][granule].load();
      const Book::Intention& next = book.next[thread];
      const bool is_next = granule == next.granule.load() && word == next.value.load();
      if (word != done && !is_next) {
        out << "granule " << granule << ", thread " << thread << ": " << word << " instead of "
            << done << "; ";
      }
    }
    if (word_at(text, granule * kGranule + kMarkOffset) != mark_of(granule)) {
      out << "granule " << granule << ": its mark is gone; ";
    }
  }
  return out.str();
}

class KilledOwnerTest : public SurviveKillTest, public ::testing::WithParamInterface<KillRow> {
 protected:
  void kill_once(std::uint64_t seed) {
    Prng prng(seed);
    const std::string path = directory_.write("data", marked_file());
    const SharedMemory<Book> book;
    const std::uint64_t enough = 1 + prng.below(6000);
    Child child([&] { return store_until_killed(path, GetParam(), *book, Prng(prng())); });
    while (book->stores.load() < enough && !book->has_failed.load()) {
      ASSERT_FALSE(child.has_ended()) << "it died before it was killed";
      std::this_thread::yield();
    }
    child.kill(SIGKILL);
    child.join();
    ASSERT_FALSE(book->has_failed.load());
    const Result<void> awaited = await_guardian(path);
    ASSERT_TRUE(awaited.has_value()) << awaited.error().message();
    ASSERT_EQ(finding(testing::read_file(path), *book), "");
  }
};

// Goal:   whatever the owner is doing when it is killed, each store that it saw done is in the
//         file when its guardian is done, and nothing else has changed.
// Method: writers acknowledge each store in shared memory; kill after a random number of them.
TEST_P(KilledOwnerTest, LosesNoStore) {
  testing::soak(6, [this](std::uint64_t seed) { kill_once(seed); });
}

INSTANTIATE_TEST_SUITE_P(Rows, KilledOwnerTest,
                         ::testing::Values(KillRow{FaultPath::kInline, Beside::kNothing},
                                           KillRow{FaultPath::kInline, Beside::kFlushing},
                                           KillRow{FaultPath::kInline, Beside::kResizing},
                                           KillRow{FaultPath::kInline, Beside::kEvicting},
                                           KillRow{FaultPath::kInline, Beside::kClosing},
                                           KillRow{FaultPath::kHandler, Beside::kNothing},
                                           KillRow{FaultPath::kHandler, Beside::kFlushing},
                                           KillRow{FaultPath::kHandler, Beside::kResizing},
                                           KillRow{FaultPath::kHandler, Beside::kEvicting},
                                           KillRow{FaultPath::kHandler, Beside::kClosing}),
                         name_of_row);

}  // namespace
}  // namespace quire
