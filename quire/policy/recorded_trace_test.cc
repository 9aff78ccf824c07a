// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/recorded_trace.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

TraceReader reader_of(std::string bytes) {
  return TraceReader::open(
             [bytes = std::move(bytes),
              at = std::size_t{0}](std::span<std::byte> into) mutable -> Result<std::size_t> {
               const std::size_t count = std::min(bytes.size() - at, into.size());
               std::memcpy(into.data(), bytes.data() + at, count);
               at += count;
               return count;
             },
             "input")
      .value();
}

std::string write(const TraceHeader& header, const std::vector<TraceRecord>& records) {
  std::string bytes;
  TraceWriter writer(header, [&bytes](std::span<const std::byte> more) {
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
    return std::error_code{};
  });
  for (const TraceRecord& record : records) {
    writer.record(record);
  }
  EXPECT_FALSE(writer.finish());
  return bytes;
}

RecordedTrace load(const std::string& bytes, std::uint32_t granule_bytes = 0) {
  TraceReader reader = reader_of(bytes);
  TraceLoader loader = TraceLoader::make(reader, granule_bytes).value();
  while (loader.step().value()) {
  }
  return loader.finish();
}

std::vector<PageAccess> all_of(RecordedTrace& trace) {
  std::vector<PageAccess> accesses(trace.access_count());
  EXPECT_EQ(trace.next(accesses), trace.access_count());
  PageAccess more;
  EXPECT_EQ(trace.next({&more, 1}), 0U);
  return accesses;
}

TEST(RecordedTraceTest, PagesAreNumberedInTheirOrderWithoutGaps) {
  RecordedTrace trace =
      load(write({.page_bytes = 4096, .area_count = 4}, {{.page = 1'000'000, .is_store = true},
                                                         {.page = 2, .area = 3},
                                                         {.page = 8},
                                                         {.page = 7},
                                                         {.page = 8, .is_store = true}}));
  EXPECT_EQ(trace.page_span(), 4U);
  EXPECT_EQ(all_of(trace),
            (std::vector<PageAccess>{{2, true}, {3, false}, {1, false}, {0, false}, {1, true}}));
}

TEST(RecordedTraceTest, PositionsTellWhatLiesBesideWhat) {
  const RecordedTrace trace = load(write({.page_bytes = 4096, .area_count = kTraceAreasMax},
                                         {{.page = 7},
                                          {.page = 8},
                                          {.page = 1'000'000},
                                          {.page = kTracePageMax, .area = kTraceAreasMax - 1}}));
  EXPECT_EQ(trace.position_of(1), trace.position_of(0) + 1);
  EXPECT_EQ(trace.page_at(trace.position_of(0) + 1), 1U);
  EXPECT_EQ(trace.page_at(trace.position_of(1) + 1), std::nullopt);  // 9 is never accessed.
  EXPECT_EQ(trace.page_at(trace.position_of(3)), 3U);
  EXPECT_EQ(trace.page_at(trace.position_of(3) + 1), std::nullopt);
  EXPECT_EQ(trace.end_of_area(0), trace.position_of(2) + 1);
  EXPECT_EQ(trace.end_of_area(3), trace.position_of(3) + 1);
  EXPECT_LT(trace.position_of(3), std::uint64_t{1} << 63);
}

TEST(RecordedTraceTest, AGranuleTakesSeveralPagesTogether) {
  const std::string bytes = write({.page_bytes = 4096}, {{.page = 15}, {.page = 16}, {.page = 17}});
  RecordedTrace trace = load(bytes, 65'536);
  EXPECT_EQ(trace.page_span(), 2U);
  EXPECT_EQ(all_of(trace), (std::vector<PageAccess>{{0, false}, {1, false}, {1, false}}));
  TraceReader reader = reader_of(bytes);
  for (const std::uint32_t granule_bytes : {2048U, 4097U}) {
    const auto loader = TraceLoader::make(reader, granule_bytes);
    ASSERT_FALSE(loader.has_value());
    EXPECT_EQ(loader.error().code(), Errc::kOutOfRange);
  }
}

TEST(RecordedTraceTest, AnErrorOfTheReaderComesThrough) {
  TraceReader reader = reader_of("1\n2\nthree\n");
  TraceLoader loader = TraceLoader::make(reader, 0).value();
  EXPECT_EQ(loader.step().error().code(), Errc::kCorrupt);
}

// Goal:   the numbering is that of an ordered map, whatever the pages.
// Method: enough random ones, many of them twice, for the hash table to grow ten times and the
//         blocks to be more than one.
TEST(RecordedTraceTest, NumbersAgreeWithAnOrderedMap) {
  Prng random(testing::test_seed());
  std::vector<TraceRecord> records(600'000);
  std::map<std::pair<std::uint16_t, std::uint64_t>, std::uint32_t> numbers;
  for (TraceRecord& record : records) {
    const std::uint64_t range = std::uint64_t{1} << (8 + 20 * random.below(3));
    record = {.page = random.below(range),
              .area = static_cast<std::uint16_t>(random.below(5)),
              .is_store = random.below(4) == 0};
    numbers[{record.area, record.page}] = 0;
  }
  std::uint32_t next = 0;
  for (auto& [key, number] : numbers) {
    number = next++;
  }
  RecordedTrace trace = load(write({.page_bytes = 4096, .area_count = 5}, records));
  ASSERT_EQ(trace.page_span(), numbers.size());
  const std::vector<PageAccess> accesses = all_of(trace);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PageAccess expected(numbers.at({records[i].area, records[i].page}), records[i].is_store);
    ASSERT_EQ(accesses[i], expected) << i;
  }
  trace.rewind();
  EXPECT_EQ(all_of(trace), accesses);
}

}  // namespace
}  // namespace quire
