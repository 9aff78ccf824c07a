// SPDX-License-Identifier: Apache-2.0
//
// Whichever system call fails, an operation of a mapping returns an Error that says so, leaks no
// descriptor and no address, and leaves file and view as they were.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>

#include "quire/map/file_windows.h"
#include "quire/map/transfer_mapping.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::read_file;
using testing::TempDir;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::size_t count_mappings() {
  const std::string maps = read_file("/proc/self/maps");
  std::size_t count = 0;
  for (std::size_t at = maps.find("quire-test-"); at != std::string::npos;
       at = maps.find("quire-test-", at + 1)) {
    ++count;
  }
  return count;
}

struct Scenario {
  const char* name;
  // Returns the error, if any. Everything it opens is closed when it returns.
  std::function<Result<void>(const std::string& path)> run;
};

std::ostream& operator<<(std::ostream& out, const Scenario& scenario) {
  return out << scenario.name;
}

Result<void> map_and_read(const std::string& path) {
  Mapping map = QUIRE_TRY(quire::map(path, {.offset_bytes = 100}));
  return map.close();
}

Result<void> grow_and_shrink(const std::string& path) {
  WritableMapping map = QUIRE_TRY(quire::map(
      path, {.access = Access::kReadWrite, .minimum_bytes = 10'000, .reserve_bytes = 1_MiB}));
  QUIRE_TRY(map.resize(200'000));
  QUIRE_TRY(map.append(as_bytes("record")));
  QUIRE_TRY(map.punch({0, 4096}));
  QUIRE_TRY(map.resize(5));
  return map.close();
}

Result<void> create(const std::string& path) {
  WritableMapping map = QUIRE_TRY(quire::map(
      path + ".new", {.access = Access::kReadWrite, .create = true, .minimum_bytes = 4096}));
  const Result<void> closed = map.close();
  std::filesystem::remove(path + ".new");
  return closed;
}

Result<void> flush_every_level(const std::string& path) {
  WritableMapping map = QUIRE_TRY(quire::map(path, {.access = Access::kReadWrite}));
  map.bytes()[0] = std::byte{'d'};
  for (const Durability level : {Durability::kStarted, Durability::kData, Durability::kAll}) {
    QUIRE_TRY(map.flush(kWholeFile, level));
    QUIRE_TRY(QUIRE_TRY(map.flush_async(kWholeFile, level)).wait());
  }
  return map.close();
}

Result<void> share_memory(const std::string&) {
  WritableMapping memory =
      QUIRE_TRY(map_anonymous({.size_bytes = 8192, .sharing = Sharing::kShared}));
  QUIRE_TRY(memory.seal(sys::Seals::kShrink));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return fail(sys::to_error({errno}, "socketpair", ""));
  }
  const Result<void> sent = send_mapping(ends[0], memory);
  const Result<Mapping> received = receive_mapping(ends[1], {.minimum_bytes = 8192});
  close(ends[0]);
  close(ends[1]);
  QUIRE_TRY(Result<void>(sent));
  return received ? Result<void>{} : fail(received.error());
}

Result<void> walk_windows(const std::string& path) {
  FileWindows windows = QUIRE_TRY(open_windows(path, {.window_bytes = 4096}));
  while (QUIRE_TRY(windows.next())) {
  }
  return {};
}

Result<void> copy_proc_file(const std::string&) {
  Mapping map = QUIRE_TRY(quire::map("/proc/self/stat"));
  return map.close();
}

Result<void> borrow(const std::string& path) {
  const sys::Outcome<sys::Descriptor> file = sys::open_file(path.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "open", path));
  }
  Mapping map = QUIRE_TRY(map_borrowed(file->get()));
  return map.close();
}

class MappingFaultTest : public ::testing::TestWithParam<Scenario> {};

// Goal:   see above.
// Method: for every kind of call, fail the 1st, 2nd, ... until a run meets no fault.
TEST_P(MappingFaultTest, EveryFailingCallIsReportedAndLeaksNothing) {
  const TempDir dir;
  for (std::uint8_t kind = 0; kind < static_cast<std::uint8_t>(sys::Call::kCount); ++kind) {
    const auto call = static_cast<sys::Call>(kind);
    testing::fail_each_nth(name_of(call), [&](testing::NthFault& fault) {
      const std::string path = dir.write("f", pattern(9000));
      const int descriptors = testing::count_open_descriptors();
      const std::size_t mappings = count_mappings();
      Result<void> result;
      {
        const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
        result = GetParam().run(path);
        fault.was_hit = plan.hits() > 0;
      }
      EXPECT_EQ(testing::count_open_descriptors(), descriptors);
      if (call != sys::Call::kUnmap) {  // An munmap that fails leaves what it should have taken.
        EXPECT_EQ(count_mappings(), mappings);
      }
      EXPECT_FALSE(std::filesystem::exists(path + ".new")) << "half-made file left behind";
      if (!result) {
        EXPECT_TRUE(fault.was_hit) << result.error().message();
        EXPECT_EQ(result.error().code(), std::errc::io_error) << result.error().message();
        EXPECT_FALSE(result.error().operation().empty());
        EXPECT_FALSE(result.error().subject().empty());
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Operations, MappingFaultTest,
    ::testing::Values(Scenario{"MapAndRead", map_and_read},
                      Scenario{"GrowAndShrink", grow_and_shrink}, Scenario{"Create", create},
                      Scenario{"FlushEveryLevel", flush_every_level},
                      Scenario{"ShareMemory", share_memory}, Scenario{"WalkWindows", walk_windows},
                      Scenario{"CopyProcFile", copy_proc_file}, Scenario{"Borrow", borrow}),
    ::testing::PrintToStringParamName());

// Goal:   a resize or append that fails, at any call, leaves file and view as they were.
TEST(GrowthFaultTest, FailedGrowthChangesNothing) {
  const TempDir dir;
  for (const sys::Call call : {sys::Call::kAllocate, sys::Call::kMap, sys::Call::kWrite,
                               sys::Call::kTruncate, sys::Call::kStatus}) {
    const std::string content = pattern(5000);
    const std::string path = dir.write("f", content);
    WritableMapping map =
        quire::map(path, {.access = Access::kReadWrite, .reserve_bytes = 1_MiB}).value();
    const sys::FaultPlan plan({.call = call, .times = 3, .error = ENOSPC});
    if (!map.resize(50'000)) {
      EXPECT_EQ(map.text(), content);
      EXPECT_EQ(std::filesystem::file_size(path), call == sys::Call::kTruncate ? 50'000U : 5000U);
    }
    map.check_invariants();
  }
}

TEST(GrowthFaultTest, FailedAppendChangesNothing) {
  const TempDir dir;
  const std::string content = pattern(5000);
  const std::string path = dir.write("f", content);
  WritableMapping map =
      quire::map(path, {.access = Access::kReadWrite, .reserve_bytes = 1_MiB}).value();
  const std::string record = pattern(30'000);
  {
    // The second write fails after the first moved a part of it.
    const sys::FaultPlan plan({.call = sys::Call::kWrite, .error = ENOSPC});
    const Result<void> appended = map.append(as_bytes(record));
    ASSERT_FALSE(appended);
    EXPECT_EQ(appended.error().code(), std::errc::no_space_on_device);
  }
  EXPECT_EQ(map.text(), content);
  EXPECT_EQ(std::filesystem::file_size(path), content.size());
  ASSERT_TRUE(map.append(as_bytes(record)));
  EXPECT_EQ(map.text(), content + record);
}

TEST(GrowthFaultTest, WithoutFallocateZerosAreWrittenAndExplained) {
  const TempDir dir;
  const std::string path = dir.write("f", "abc");
  WritableMapping map =
      quire::map(path, {.access = Access::kReadWrite, .reserve_bytes = 8_MiB}).value();
  const sys::FaultPlan plan({.call = sys::Call::kAllocate, .times = 100, .error = EOPNOTSUPP});
  ASSERT_TRUE(map.resize(3_MiB));
  EXPECT_GE(sys::file_status(map.descriptor())->allocated_bytes, 3_MiB);
  EXPECT_NE(map.explain().find("zeros were written"), std::string::npos);
  EXPECT_EQ(map.text().substr(0, 4), std::string("abc\0", 4));
}

TEST(ShortTransferTest, PipesAndProcFilesAreReadWholeInSmallPieces) {
  const std::string content = pattern(2000);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], content.data(), content.size()), 2000);
  close(ends[1]);
  const sys::FaultPlan plan({.call = sys::Call::kRead, .times = 1 << 20, .transfer_bytes_max = 3});
  EXPECT_EQ(map_adopted(ends[0])->text(), content);
  EXPECT_NE(map("/proc/self/status")->text().find("VmRSS"), std::string_view::npos);
}

}  // namespace
}  // namespace quire
