// SPDX-License-Identifier: Apache-2.0
//
// A pager's faults as a trace.
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "quire/pager/pager.h"
#include "quire/policy/trace.h"
#include "quire/sys/call.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {
namespace {

class PagerTraceTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << "paging: " << why;
    }
  }

  static std::vector<TraceRecord> records_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    auto reader = TraceReader::open(
        [&](std::span<std::byte> into) -> Result<std::size_t> {
          file.read(reinterpret_cast<char*>(into.data()),
                    static_cast<std::streamsize>(into.size()));
          return static_cast<std::size_t>(file.gcount());
        },
        path);
    EXPECT_TRUE(reader) << reader.error().message();
    EXPECT_EQ(reader->header().content, TraceContent::kFaults);
    EXPECT_EQ(reader->header().page_bytes, kGranule);
    std::vector<TraceRecord> records(1000);
    records.resize(reader->read(records).value());
    return records;
  }

  TempDir directory_;
};

TEST_P(PagerTraceTest, HoldsEveryFaultInItsOrderAndNoHit) {
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  {
    auto area = pager
                    .map(directory_.write("data", std::string(32 * kGranule, 'x')),
                         {.access = Access::kReadWrite})
                    .value();
    ASSERT_TRUE(area.advise({}, Pattern::kRandom));
    ASSERT_TRUE(pager.start_trace(directory_.file("trace")));
    std::byte* const bytes = area.bytes().data();
    in_fresh_thread([bytes] {
      static_cast<void>(load_byte(bytes + 9 * kGranule));
      static_cast<void>(load_byte(bytes + 9 * kGranule));  // There: nobody sees it.
      store_byte(bytes + 3 * kGranule, std::byte{1});
      store_byte(bytes + 9 * kGranule, std::byte{1});
    });
    settle(area);
    const TraceReport report = pager.stop_trace().value();
    EXPECT_EQ(report.recorded, 3U);
    EXPECT_EQ(report.lost, 0U);
    static_cast<void>(load_byte(bytes + 20 * kGranule));  // After the end.
  }
  const std::vector<TraceRecord> records = records_of(directory_.file("trace"));
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].page, 9U);
  EXPECT_FALSE(records[0].is_store);
  EXPECT_EQ(records[1].page, 3U);
  EXPECT_TRUE(records[1].is_store);
  EXPECT_EQ(records[2].page, 9U);
  EXPECT_TRUE(records[2].is_store);
}

TEST_P(PagerTraceTest, OneAtATime) {
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  EXPECT_EQ(pager.stop_trace().error().code(), Errc::kClosed);
  ASSERT_TRUE(pager.start_trace(directory_.file("trace")));
  const auto second = pager.start_trace(directory_.file("other"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), std::errc::device_or_resource_busy);
  EXPECT_EQ(pager.stop_trace().value().recorded, 0U);
  EXPECT_EQ(records_of(directory_.file("trace")).size(), 0U);
  EXPECT_TRUE(pager.start_trace(directory_.file("other")));
  EXPECT_TRUE(pager.stop_trace());
}

TEST_P(PagerTraceTest, WhatCannotBeOpenedOrWrittenIsAnError) {
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  EXPECT_EQ(pager.start_trace(directory_.file("missing/trace")).error().code(),
            std::errc::no_such_file_or_directory);
  ASSERT_TRUE(pager.start_trace(directory_.file("trace")));
  const sys::FaultPlan plan({.call = sys::Call::kWrite, .nth = 1, .times = 100, .error = ENOSPC});
  const auto stopped = pager.stop_trace();
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(pager.stop_trace().error().code(), Errc::kClosed);
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerTraceTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler), path_name);

}  // namespace
}  // namespace quire::testing
