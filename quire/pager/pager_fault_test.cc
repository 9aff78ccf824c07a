// SPDX-License-Identifier: Apache-2.0
//
// The pager when things fail: every operation of the store and every system call of a fixed
// workload, each once; a full disk; a file that is cut under the area.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "quire/map/guarded.h"
#include "quire/pager/pager.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/pager_workload.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::PagerWorkload;
using testing::StoreOperation;
using Health = PagerWorkload::Health;

const WritablePagedOptions kPaged{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 16_MiB};

#if defined(__SANITIZE_THREAD__)
constexpr bool kHasInline = false;  // Its signals are delivered late under ThreadSanitizer.
#else
constexpr bool kHasInline = true;
#endif

struct Stores {
  explicit Stores(std::vector<std::byte> image = PagerWorkload::image(),
                  const testing::SlowStoreOptions& options = {})
      : memory(std::make_shared<testing::MemoryStore>(std::move(image))),
        slow(std::make_shared<testing::SlowStore>(memory, options)) {}

  [[nodiscard]] testing::PagerGround ground() const {
    return {.map = [slow = slow](Pager& pager) { return pager.map(slow, kPaged); },
            .read = [memory = memory](std::uint64_t offset,
                                      std::span<std::byte> into) { memory->read(offset, into); },
            .size_bytes = [memory = memory] { return memory->size_bytes().value(); }};
  }

  std::shared_ptr<testing::MemoryStore> memory;
  std::shared_ptr<testing::SlowStore> slow;
};

testing::PagerGround ground_of_file(const std::string& path) {
  return {.map = [path](Pager& pager) { return pager.map(path, kPaged); },
          .read =
              [path](std::uint64_t offset, std::span<std::byte> into) {
                std::ifstream file(path, std::ios::binary);
                file.seekg(static_cast<std::streamoff>(offset));
                file.read(reinterpret_cast<char*>(into.data()),
                          static_cast<std::streamsize>(into.size()));
              },
          .size_bytes = [path] { return std::filesystem::file_size(path); }};
}

std::string image_text() {
  const std::vector<std::byte> image = PagerWorkload::image();
  return {reinterpret_cast<const char*>(image.data()), image.size()};
}

// --- The n-th operation of the store -------------------------------------------------------------

struct StoreRow {
  StoreOperation operation;
  FaultPath path;
  bool do_errors_stick;
  std::uint64_t times;
};

std::ostream& operator<<(std::ostream& out, const StoreRow& row) {
  return out << testing::name_of(row.operation) << ", " << name_of(row.path);
}

std::string name_of_row(const ::testing::TestParamInfo<StoreRow>& info) {
  return std::string(testing::name_of(info.param.operation)) + "_" + name_of(info.param.path) +
         (info.param.do_errors_stick ? "_sticks" : "") +
         (info.param.times > 1 ? "_" + std::to_string(info.param.times) + "_times" : "");
}

class NthStoreOperationFailsTest : public ::testing::TestWithParam<StoreRow> {};

// Goal:   whichever operation of the store fails: no wrong byte, no hang, and once it is healthy
//         again everything that was stored is there and gets to it.
// Method: fail operation n of the kind, for growing n, until a run meets no fault.
TEST_P(NthStoreOperationFailsTest, NoByteIsWrongOrLost) {
  const StoreRow row = GetParam();
  if (row.path == FaultPath::kInline && !kHasInline) {
    GTEST_SKIP() << "inline delivery: not under ThreadSanitizer";
  }
  const auto run = [&row](testing::NthFault& fault) {
    Stores stores(PagerWorkload::image(), {.do_errors_stick = row.do_errors_stick});
    stores.slow->fail({.operation = row.operation, .nth = fault.nth, .times = row.times});
    PagerWorkload workload(row.path, stores.ground());
    const bool has_area = workload.run();
    fault.was_hit = stores.slow->fault_count() > 0;
    if (!row.do_errors_stick || !fault.was_hit) {
      stores.slow->heal();
    }
    if (has_area) {
      workload.finish(row.do_errors_stick ? Health::kCannotWrite : Health::kHealthy);
    }
    EXPECT_EQ(workload.finding(), "");
    EXPECT_TRUE(fault.was_hit || workload.error_count() == 0);
  };
  testing::fail_each_nth(testing::name_of(row.operation), run, testing::NthChoice::kFewerLater);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, NthStoreOperationFailsTest,
    ::testing::Values(StoreRow{StoreOperation::kRead, FaultPath::kInline, false, 1},
                      StoreRow{StoreOperation::kRead, FaultPath::kHandler, false, 1},
                      StoreRow{StoreOperation::kRead, FaultPath::kInline, false, 5},
                      StoreRow{StoreOperation::kRead, FaultPath::kHandler, false, 5},
                      StoreRow{StoreOperation::kWrite, FaultPath::kInline, false, 1},
                      StoreRow{StoreOperation::kWrite, FaultPath::kHandler, false, 1},
                      StoreRow{StoreOperation::kWrite, FaultPath::kInline, false, 5},
                      StoreRow{StoreOperation::kWrite, FaultPath::kHandler, false, 5},
                      StoreRow{StoreOperation::kWrite, FaultPath::kInline, true, 1},
                      StoreRow{StoreOperation::kWrite, FaultPath::kHandler, true, 1},
                      StoreRow{StoreOperation::kResize, FaultPath::kInline, false, 1},
                      StoreRow{StoreOperation::kResize, FaultPath::kHandler, false, 1},
                      StoreRow{StoreOperation::kAllocate, FaultPath::kInline, false, 1},
                      StoreRow{StoreOperation::kAllocate, FaultPath::kHandler, false, 1},
                      StoreRow{StoreOperation::kSync, FaultPath::kInline, false, 1},
                      StoreRow{StoreOperation::kSync, FaultPath::kHandler, false, 1},
                      StoreRow{StoreOperation::kSync, FaultPath::kInline, true, 1},
                      StoreRow{StoreOperation::kSync, FaultPath::kHandler, true, 1}),
    name_of_row);

// --- The n-th system call ------------------------------------------------------------------------

struct CallRow {
  sys::Call call;
  int error;
};

enum class Ground : std::uint8_t { kStore, kFile };

using CallParam = std::tuple<CallRow, FaultPath, Ground>;

class NthCallFailsTest : public ::testing::TestWithParam<CallParam> {
 protected:
  // One life with the n-th call of the kind failing. True: the call was made.
  bool run_once(std::uint64_t nth) {
    const auto [row, path, ground] = GetParam();
    const Stores stores;
    if (ground == Ground::kFile) {
      directory_.write("file", image_text());
    }
    const sys::FaultPlan plan({.call = row.call, .nth = nth, .error = row.error});
    PagerWorkload workload(
        path, ground == Ground::kFile ? ground_of_file(directory_.file("file")) : stores.ground());
    if (workload.run()) {
      const bool is_failed = ground == Ground::kFile && is_change_of_file(row.call);
      workload.finish(plan.hits() == 0 ? Health::kUnknown
                      : is_failed      ? Health::kCannotWrite
                                       : Health::kHealthy);
    }
    EXPECT_EQ(workload.finding(), "");
    return plan.hits() > 0;
  }

 private:
  // After these the file is failed for good: nobody can know what is on the disk.
  static bool is_change_of_file(sys::Call call) {
    return call == sys::Call::kWrite || call == sys::Call::kSyncData ||
           call == sys::Call::kSyncAll || call == sys::Call::kRingCompletion;
  }

  testing::TempDir directory_;
};

// Goal:   whichever system call fails: no wrong byte, no hang, nothing lost that flush() confirmed,
//         and the area works on.
// Method: fail call n of the kind, for growing n, until a life of the area meets no fault.
TEST_P(NthCallFailsTest, NoByteIsWrongOrLost) {
  if (std::get<FaultPath>(GetParam()) == FaultPath::kInline && !kHasInline) {
    GTEST_SKIP() << "inline delivery: not under ThreadSanitizer";
  }
  const std::uint64_t calls = testing::fail_each_nth(
      sys::name_of(std::get<CallRow>(GetParam()).call),
      [this](testing::NthFault& fault) { fault.was_hit = run_once(fault.nth); },
      testing::NthChoice::kFewerLater);
  EXPECT_GT(calls, 0U) << "the workload never makes this call";
}

std::string name_of_call(const ::testing::TestParamInfo<CallParam>& info) {
  const auto [row, path, ground] = info.param;
  std::string name = std::string(sys::name_of(row.call)) + "_" + errno_name(row.error) + "_" +
                     name_of(path) + (ground == Ground::kFile ? "_file" : "_store");
  std::ranges::replace_if(
      name, [](char letter) { return std::isalnum(static_cast<unsigned char>(letter)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Rows, NthCallFailsTest,
    ::testing::Combine(
        ::testing::Values(CallRow{sys::Call::kUserFault, ENOMEM},
                          CallRow{sys::Call::kUserFault, EAGAIN},
                          CallRow{sys::Call::kPunch, ENOMEM}, CallRow{sys::Call::kMemfd, EMFILE},
                          CallRow{sys::Call::kTruncate, EIO}, CallRow{sys::Call::kMap, ENOMEM},
                          CallRow{sys::Call::kUnmap, ENOMEM},
                          CallRow{sys::Call::kAdviseMemory, ENOMEM},
                          CallRow{sys::Call::kPageScan, EINTR}, CallRow{sys::Call::kRead, EIO},
                          CallRow{sys::Call::kWrite, ENOMEM}, CallRow{sys::Call::kEvent, EMFILE}),
        ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
        ::testing::Values(Ground::kStore)),
    name_of_call);

// Inline faults have no messages.
INSTANTIATE_TEST_SUITE_P(
    HandlerRows, NthCallFailsTest,
    ::testing::Combine(::testing::Values(CallRow{sys::Call::kUserFaultMessage, EAGAIN}),
                       ::testing::Values(FaultPath::kHandler), ::testing::Values(Ground::kStore)),
    name_of_call);

INSTANTIATE_TEST_SUITE_P(
    FileRows, NthCallFailsTest,
    ::testing::Combine(
        ::testing::Values(
            CallRow{sys::Call::kOpen, EMFILE}, CallRow{sys::Call::kStatus, EIO},
            CallRow{sys::Call::kRead, EIO}, CallRow{sys::Call::kWrite, EIO},
            CallRow{sys::Call::kSyncData, EIO}, CallRow{sys::Call::kTruncate, EIO},
            CallRow{sys::Call::kAllocate, ENOSPC}, CallRow{sys::Call::kRingSetup, ENOMEM},
            CallRow{sys::Call::kRingRegister, ENOMEM}, CallRow{sys::Call::kRingSubmit, EAGAIN},
            CallRow{sys::Call::kRingWait, EINTR}, CallRow{sys::Call::kRingCompletion, EIO}),
        ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
        ::testing::Values(Ground::kFile)),
    name_of_call);

// --- What a failure looks like -------------------------------------------------------------------

class PagerFaultTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (GetParam() == FaultPath::kInline && !kHasInline) {
      GTEST_SKIP() << "inline delivery: not under ThreadSanitizer";
    }
  }
  [[nodiscard]] static PagerOptions options() {
    return {.memory_bytes = 1_MiB, .fault_path = GetParam()};
  }
  [[nodiscard]] static Result<std::byte> load(const PagedArea& area, std::uint64_t offset) {
    const volatile std::byte* place = area.bytes().data() + offset;
    return guarded(area.bytes(), [place] { return std::byte{*place}; });
  }
  [[nodiscard]] static Result<void> store(WritablePagedArea& area, std::uint64_t offset,
                                          std::byte value) {
    volatile std::byte* place = area.bytes().data() + offset;
    return guarded(std::as_const(area).bytes(), [place, value] { *place = value; });
  }
};

// Goal:   a granule that cannot be read is SIGBUS for a pointer, an Error with the cause for a
//         pin, and nothing at all for its neighbours; it is read when the store can again.
TEST_P(PagerFaultTest, UnreadableGranuleIsASignalAndAnErrorUntilTheStoreRecovers) {
  Stores stores;
  Pager pager(options());
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  ASSERT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
  stores.slow->fail({.operation = StoreOperation::kRead, .times = 1000});
  const Result<std::byte> loaded = load(area, 5 * 4096 + 17);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code(), Errc::kFault);
  EXPECT_FALSE(area.check().has_value());
  const Result<Pin> pinned = area.pin({5 * 4096, 1});
  ASSERT_FALSE(pinned.has_value());
  EXPECT_EQ(pinned.error().code(), std::errc::io_error) << pinned.error().message();
  stores.slow->heal();
  EXPECT_EQ(load(area, 6 * 4096).value(), PagerWorkload::image()[6 * 4096]);
  EXPECT_EQ(load(area, 5 * 4096 + 17).value(), PagerWorkload::image()[5 * 4096 + 17]);
  area.check_invariants();
}

// Goal:   kZeros: a plain load of an unreadable granule gives zeros, and from then on check(),
//         flush() and close() say so; the zeros never get to the store.
TEST_P(PagerFaultTest, ZerosInsteadOfASignalStickAsAnError) {
  Stores stores;
  Pager pager(options());
  WritablePagedOptions zeros = kPaged;
  zeros.on_fill_error = OnFillError::kZeros;
  WritablePagedArea area = pager.map(stores.slow, zeros).value();
  stores.slow->fail({.operation = StoreOperation::kRead, .times = 1000});
  EXPECT_EQ(load(area, 5 * 4096 + 17).value(), std::byte{0});
  stores.slow->heal();
  EXPECT_EQ(area.check().error().code(), std::errc::io_error);
  EXPECT_FALSE(area.flush().has_value());
  EXPECT_FALSE(area.close().has_value());
  EXPECT_EQ(stores.memory->image(), PagerWorkload::image());
}

// Goal:   what could not be written stays in memory and is written by the next flush().
TEST_P(PagerFaultTest, FailedWriteBackKeepsTheBytesForTheNextFlush) {
  Stores stores;
  Pager pager(options());
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  ASSERT_TRUE(store(area, 4096, std::byte{7}).has_value());
  stores.slow->fail({.operation = StoreOperation::kWrite, .times = 1000, .error = EIO});
  EXPECT_EQ(area.flush().error().code(), std::errc::io_error);
  EXPECT_EQ(area.check().error().code(), std::errc::io_error);
  EXPECT_EQ(load(area, 4096).value(), std::byte{7});
  EXPECT_EQ(area.resident({4096, 4096}).value().dirty_bytes, 4096u);
  EXPECT_FALSE(area.evict({4096, 1}).has_value());
  EXPECT_EQ(load(area, 4096).value(), std::byte{7});
  const std::uint64_t faults = area.stats().faults;
  ASSERT_TRUE(store(area, 4097, std::byte{8}).has_value());
  EXPECT_LT(area.stats().faults, faults + 10) << "the store faulted again and again";
  stores.slow->heal();
  static_cast<void>(area.flush());  // May give the error of an attempt that was under way.
  const Result<void> flushed = area.flush();
  EXPECT_TRUE(flushed.has_value()) << flushed.error().message();
  EXPECT_TRUE(area.check().has_value());
  EXPECT_EQ(stores.memory->image()[4096], std::byte{7});
  EXPECT_EQ(stores.memory->image()[4097], std::byte{8});
  EXPECT_TRUE(area.close().has_value());
}

// Goal:   the error of the last write-back is not lost in a destructor: close() returns it.
TEST_P(PagerFaultTest, CloseReturnsTheErrorOfTheLastWriteBack) {
  Stores stores;
  Pager pager(options());
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  ASSERT_TRUE(store(area, 0, std::byte{7}).has_value());
  stores.slow->fail({.operation = StoreOperation::kWrite, .times = 1000, .error = ENOSPC});
  EXPECT_EQ(area.close().error().code(), std::errc::no_space_on_device);
  EXPECT_FALSE(area.is_open());
}

// Goal:   dirty pages that nobody can write do not end in a hang: when they fill the memory,
//         accesses fail, and all goes on when there is space again, with nothing lost.
TEST_P(PagerFaultTest, FullDiskFailsAccessesAndLosesNothing) {
  Stores stores;
  Pager pager(options());
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  stores.memory->set_capacity(PagerWorkload::kFileBytes / 4);
  std::vector<std::byte> expected = PagerWorkload::image();
  std::uint64_t refused = 0;
  for (std::uint64_t offset = 0; offset < expected.size(); offset += 4096) {
    if (store(area, offset, std::byte{9}).has_value()) {
      expected[offset] = std::byte{9};
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(area.flush().error().code(), std::errc::no_space_on_device);
  stores.memory->set_capacity(kToEnd);
  (void)area.flush();
  ASSERT_TRUE(area.flush().has_value());
  EXPECT_EQ(stores.memory->image(), expected);
  for (std::uint64_t offset = 0; offset < expected.size(); offset += 4096) {
    ASSERT_EQ(load(area, offset).value(), expected[offset]) << "granule " << offset / 4096;
  }
}

// Goal:   a device that was seen to be slow is not given a backlog of megabytes.
// Method: 32 pages that are no neighbours, written by 8 threads in up to 200 ms each.
TEST_P(PagerFaultTest, ASlowDeviceShrinksWhatMayBeDirty) {
  Stores stores(std::vector<std::byte>(1_MiB),
                {.seed = 1, .write_latency_max = std::chrono::milliseconds(200)});
  Pager pager({.memory_bytes = 16_MiB,
               .fault_path = GetParam(),
               .write_back_time_max = std::chrono::milliseconds(100)});
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  const std::string as_configured = "stores wait at 8.0 MiB";
  EXPECT_NE(pager.explain().find(as_configured), std::string::npos) << pager.explain();
  for (std::uint64_t offset = 0; offset < 1_MiB; offset += 32_KiB) {
    ASSERT_TRUE(store(area, offset, std::byte{1}).has_value());
  }
  ASSERT_TRUE(area.flush().has_value());
  EXPECT_EQ(pager.explain().find(as_configured), std::string::npos) << pager.explain();
}

// Goal:   growing into a full disk is an Error of resize(), and the area is what it was.
TEST_P(PagerFaultTest, ResizeIntoAFullDiskChangesNothing) {
  Stores stores;
  Pager pager(options());
  WritablePagedArea area = pager.map(stores.slow, kPaged).value();
  stores.memory->set_capacity(PagerWorkload::kFileBytes);
  const Result<void> resized = area.resize(PagerWorkload::kFileBytes + 4096);
  ASSERT_FALSE(resized.has_value());
  EXPECT_EQ(resized.error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(area.size_bytes(), PagerWorkload::kFileBytes);
  EXPECT_EQ(stores.memory->image(), PagerWorkload::image());
  EXPECT_TRUE(store(area, area.size_bytes() - 1, std::byte{3}).has_value());
  EXPECT_TRUE(area.close().has_value());
  EXPECT_EQ(stores.memory->image().back(), std::byte{3});
}

// Goal:   bytes that the file no longer has are a signal and an Error, not zeros; those that it
//         has, or that are in memory, stay readable; the area can be closed.
TEST_P(PagerFaultTest, FileCutUnderTheAreaIsASignalWhereItIsMissing) {
  const testing::TempDir directory;
  const std::string path = directory.write("file", image_text());
  Pager pager(options());
  PagedArea area = pager.map(path, PagedOptions{.engine = PagingEngine::kPaged}).value();
  constexpr std::uint64_t kCut = PagerWorkload::kFileBytes / 2 + 100;
  std::filesystem::resize_file(path, kCut);
  EXPECT_EQ(load(area, kCut - 1).value(), PagerWorkload::image()[kCut - 1]);
  const Result<std::byte> beyond = load(area, kCut + 3 * 4096);
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().code(), Errc::kFault);
  EXPECT_FALSE(area.pin({kCut + 4096, 10}).has_value());
  EXPECT_EQ(load(area, 0).value(), PagerWorkload::image()[0]);
  (void)area.close();
  EXPECT_FALSE(area.is_open());
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerFaultTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         [](const auto& path) { return std::string(name_of(path.param)); });

}  // namespace
}  // namespace quire
