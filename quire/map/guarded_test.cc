// SPDX-License-Identifier: Apache-2.0
#include "quire/map/guarded.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::size_t kPageBytes = 4096;

// A file of its own with a shared writable mapping, whose pages can be taken away.
class MappedFile {
 public:
  MappedFile(const testing::TempDir& directory, const std::string& name, std::size_t pages)
      : length_bytes_(pages * kPageBytes) {
    const std::string path = directory.write(name, testing::pattern(length_bytes_));
    file_ = sys::open_file(path.c_str(), {.write = true}).value();
    void* address =
        mmap(nullptr, length_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    QUIRE_CHECK(address != MAP_FAILED);
    first_ = static_cast<std::byte*>(address);
  }
  ~MappedFile() { munmap(first_, length_bytes_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  void truncate(std::size_t pages) const {
    QUIRE_CHECK(sys::truncate_file(file_.get(), pages * kPageBytes).has_value());
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {first_, length_bytes_}; }
  [[nodiscard]] std::byte load(std::size_t offset) const {
    return *static_cast<volatile std::byte*>(first_ + offset);
  }
  void store(std::size_t offset, std::byte value) const {
    *static_cast<volatile std::byte*>(first_ + offset) = value;
  }

 private:
  sys::Descriptor file_;
  std::size_t length_bytes_;
  std::byte* first_ = nullptr;
};

class GuardedTest : public ::testing::Test {
 protected:
  testing::TempDir directory_;
};

TEST_F(GuardedTest, AValueComesBackAndNothingElseHappens) {
  const MappedFile file(directory_, "a", 2);
  const Result<int> value = guarded(file.bytes(), [] { return 42; });
  EXPECT_EQ(value.value(), 42);
  bool ran = false;
  const Result<void> nothing = guarded(file.bytes(), [&] { ran = true; });
  EXPECT_TRUE(nothing.has_value());
  EXPECT_TRUE(ran);
}

TEST_F(GuardedTest, AFaultNamesTheOffsetInTheRegion) {
  const MappedFile file(directory_, "a", 4);
  file.truncate(1);
  const auto region = file.bytes().subspan(100);
  EXPECT_TRUE(guarded(region, [&] { return file.load(kPageBytes - 1); }).has_value());
  const auto value = guarded(region, [&] { return file.load(2 * kPageBytes); });
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code(), Errc::kFault);
  EXPECT_EQ(value.error().operation(), "guarded");
  EXPECT_EQ(value.error().subject(), "offset 8092 of 16284 mapped bytes");
}

// The signal does not say why; the message lists what is possible, and no more than that.
TEST_F(GuardedTest, TheMessageListsTheCandidatesForALoadAndForAStore) {
  const MappedFile file(directory_, "a", 1);
  file.truncate(0);
  const auto load = guarded(file.bytes(), [&] { return file.load(0); });
  const auto store = guarded(file.bytes(), [&] { file.store(0, std::byte{1}); });
  for (const std::string& text : {load.error().message(), store.error().message()}) {
    EXPECT_NE(text.find("the file became shorter"), std::string::npos) << text;
    EXPECT_NE(text.find("the device reported an error"), std::string::npos) << text;
    EXPECT_NE(text.find("dmesg"), std::string::npos) << text;
  }
  EXPECT_NE(store.error().message().find("no space"), std::string::npos);
#if defined(__x86_64__)
  EXPECT_EQ(load.error().message().find("no space"), std::string::npos);
#endif
}

TEST_F(GuardedTest, EveryCauseHasASentence) {
  for (const auto cause : {sys::BusCause::kNoBacking, sys::BusCause::kMisaligned,
                           sys::BusCause::kHardware, sys::BusCause::kOther}) {
    const GuardFault fault{.cause = cause};
    EXPECT_NE(describe(fault).find("SIGBUS"), std::string::npos);
    EXPECT_FALSE(remedy_for(fault).empty());
  }
}

TEST_F(GuardedTest, GuardedWithLetsTheCallerMakeTheError) {
  const MappedFile file(directory_, "a", 3);
  file.truncate(0);
  const auto value = guarded_with(
      file.bytes(), [&] { return file.load(kPageBytes + 7); },
      [](const GuardFault& fault) {
        return make_error(Errc::kTruncated, "read", std::to_string(fault.offset_bytes));
      });
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code(), Errc::kTruncated);
  EXPECT_EQ(value.error().subject(), "4103");
}

TEST_F(GuardedTest, AResultIsFlattened) {
  const MappedFile file(directory_, "a", 1);
  const auto refuse = [](bool refuses) -> Result<int> {
    if (refuses) {
      return fail(make_error(Errc::kCorrupt, "parse", "header"));
    }
    return 5;
  };
  const Result<int> good = guarded(file.bytes(), [&] { return refuse(false); });
  EXPECT_EQ(good.value(), 5);
  const Result<int> bad = guarded(file.bytes(), [&] { return refuse(true); });
  EXPECT_EQ(bad.error().code(), Errc::kCorrupt);
  const Result<void> nothing = guarded(file.bytes(), []() -> Result<void> {
    return fail(make_error(Errc::kCancelled, "parse", "header"));
  });
  EXPECT_EQ(nothing.error().code(), Errc::kCancelled);
}

struct Owner {
  std::string text;
};
static_assert(internal::kMayLeaveGuard<int> && internal::kMayLeaveGuard<void>);
static_assert(internal::kMayLeaveGuard<std::span<const std::byte>>);
static_assert(!internal::kMayLeaveGuard<std::string> && !internal::kMayLeaveGuard<Owner>);

TEST_F(GuardedTest, AnExceptionPassesThroughAndTheGuardStillWorks) {
  const MappedFile file(directory_, "a", 1);
  file.truncate(0);
  EXPECT_THROW(static_cast<void>(guarded(file.bytes(), [] { throw 42; })), int);
  EXPECT_FALSE(guarded(file.bytes(), [&] { return file.load(0); }).has_value());
}

TEST_F(GuardedTest, NestedGuardsOnDifferentFilesKeepTheirFaultsApart) {
  const MappedFile whole(directory_, "whole", 2);
  const MappedFile cut(directory_, "cut", 2);
  cut.truncate(0);
  const Result<std::byte> value = guarded(whole.bytes(), [&] {
    const bool failed = !guarded(cut.bytes(), [&] { return cut.load(kPageBytes); }).has_value();
    return failed ? whole.load(1) : std::byte{0};
  });
  EXPECT_EQ(value.value(), testing::pattern_at(1));
}

// Goal:   a fault in the outer file, met while the inner guard runs, ends both.
TEST_F(GuardedTest, AFaultOfTheOuterRegionEndsTheInnerGuardToo) {
  const MappedFile whole(directory_, "whole", 2);
  const MappedFile cut(directory_, "cut", 2);
  cut.truncate(0);
  bool inner_returned = false;
  const Result<void> outer = guarded(cut.bytes(), [&] {
    static_cast<void>(guarded(whole.bytes(), [&] { return cut.load(5); }));
    inner_returned = true;
  });
  ASSERT_FALSE(outer.has_value());
  EXPECT_EQ(outer.error().subject(), "offset 5 of 8192 mapped bytes");
  EXPECT_FALSE(inner_returned);
}

// Goal:   whoever truncates while a loop reads, or stores, the loop ends with an Error.
// Method: the loop runs until its first fault; another thread cuts the file once it is running.
TEST_F(GuardedTest, TruncationUnderARunningReaderIsAnError) {
  constexpr std::size_t kPages = 64;
  const MappedFile file(directory_, "a", kPages);
  std::atomic<std::uint64_t> rounds{0};
  Result<void> outcome;
  std::thread reader([&] {
    while (outcome) {
      outcome = guarded(file.bytes(), [&] {
        for (std::size_t offset = 0; offset < file.bytes().size(); offset += 64) {
          static_cast<void>(file.load(offset));
        }
      });
      ++rounds;
    }
  });
  while (rounds < 3) {
    std::this_thread::yield();
  }
  file.truncate(kPages / 2);
  reader.join();
  EXPECT_EQ(outcome.error().code(), Errc::kFault);
}

TEST_F(GuardedTest, TruncationUnderARunningWriterIsAnErrorAndKeepsWhatWasStoredBefore) {
  constexpr std::size_t kPages = 64;
  const MappedFile file(directory_, "a", kPages);
  std::atomic<std::uint64_t> rounds{0};
  Result<void> outcome;
  std::thread writer([&] {
    while (outcome) {
      outcome = guarded(file.bytes(), [&] {
        for (std::size_t offset = 0; offset < file.bytes().size(); offset += 64) {
          file.store(offset, std::byte{0x5a});
        }
      });
      ++rounds;
    }
  });
  while (rounds < 3) {
    std::this_thread::yield();
  }
  file.truncate(kPages / 2);
  writer.join();
  EXPECT_EQ(outcome.error().code(), Errc::kFault);
  const std::string kept = testing::read_file(directory_.file("a"));
  ASSERT_EQ(kept.size(), kPages / 2 * kPageBytes);
  for (std::size_t offset = 0; offset < kept.size(); offset += 64) {
    ASSERT_EQ(kept[offset], 0x5a) << offset;
  }
}

// Goal: threads do not meet each other's frames: each fault gives the offset its own thread chose.
TEST_F(GuardedTest, EightThreadsFaultAtOnceEachInItsOwnFile) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 500;
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const MappedFile file(directory_, "file" + std::to_string(i), 4);
      file.truncate(1);
      ++ready;
      while (ready < kThreads) {
        std::this_thread::yield();
      }
      for (int round = 0; round < kRounds; ++round) {
        const std::size_t offset = kPageBytes + static_cast<std::size_t>(i * kRounds + round);
        const auto fault_at = guarded_with(
            file.bytes(), [&] { return file.load(offset); },
            [](const GuardFault& fault) {
              return make_error(Errc::kFault, "", std::to_string(fault.offset_bytes));
            });
        ASSERT_FALSE(fault_at.has_value());
        ASSERT_EQ(fault_at.error().subject(), std::to_string(offset));
        ASSERT_EQ(guarded(file.bytes(), [&] { return file.load(9); }).value(),
                  testing::pattern_at(9));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(GuardedTest, AfterTheFileGrewBackTheSameAccessWorks) {
  const MappedFile file(directory_, "a", 2);
  file.truncate(0);
  EXPECT_FALSE(guarded(file.bytes(), [&] { return file.load(10); }).has_value());
  file.truncate(2);
  EXPECT_EQ(guarded(file.bytes(), [&] { return file.load(10); }).value(), std::byte{0});
}

TEST_F(GuardedTest, ASystemCallOnALostPageFailsWithEfaultAndTheGuardReturnsItsResult) {
  const MappedFile file(directory_, "a", 1);
  file.truncate(0);
  const Result<int> error = guarded(file.bytes(), [&] {
    int ends[2];
    QUIRE_CHECK_EQ(pipe(ends), 0);
    const bool failed = write(ends[1], file.bytes().data(), 1) < 0;
    const int value = failed ? errno : 0;
    close(ends[0]);
    close(ends[1]);
    return value;
  });
  EXPECT_EQ(error.value(), EFAULT);
}

TEST_F(GuardedTest, WithoutAFaultAGuardMakesNoSystemCall) {
  const MappedFile file(directory_, "a", 1);
  static_cast<void>(guarded(file.bytes(), [] {}));
  const sys::FaultPlan plan({});
  for (int i = 0; i < 100; ++i) {
    static_cast<void>(guarded(file.bytes(), [&] { return file.load(0); }));
  }
  EXPECT_EQ(plan.count(sys::Call::kSignal), 0U);
}

TEST_F(GuardedTest, ABlockedSignalIsAnErrorAndTheFunctionDoesNotRun) {
  std::thread([] {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    bool ran = false;
    const Result<void> outcome = guarded({}, [&] { ran = true; });
    EXPECT_FALSE(outcome.has_value());
    EXPECT_FALSE(ran);
  }).join();
}

}  // namespace
}  // namespace quire
