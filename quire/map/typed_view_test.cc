// SPDX-License-Identifier: Apache-2.0
#include "quire/map/typed_view.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "quire/map/writable_mapping.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

struct Record {
  std::uint64_t key;
  std::uint32_t value;
  std::uint32_t flags;
};

TEST(TypedViewTest, WholeRecordsAreShown) {
  const testing::TempDir dir;
  std::string file(3 * sizeof(Record), '\0');
  file[sizeof(Record)] = 42;
  const Mapping map = quire::map(dir.write("f", file)).value();
  const std::span<const Record> records = map.as<Record>().value();
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[1].key, 42U);
  EXPECT_EQ(map.as<const Record>().value().size(), 3U);
}

TEST(TypedViewTest, CutRecordIsAnErrorNeverAShorterSpan) {
  const testing::TempDir dir;
  const Mapping map = quire::map(dir.write("f", std::string(3 * sizeof(Record) + 5, 'x'))).value();
  const Error error = map.as<Record>().error();
  EXPECT_EQ(error.code(), Errc::kMisaligned);
  EXPECT_NE(error.message().find("53 bytes are no multiple of the type's 16"), std::string::npos)
      << error.message();
  EXPECT_EQ(map.as<Record>({0, 48}).value().size(), 3U);
}

TEST(TypedViewTest, MisalignedAddressIsAnError) {
  const testing::TempDir dir;
  const std::string path = dir.write("f", std::string(100, 'x'));
  const Mapping map = quire::map(path, {.offset_bytes = 4, .length_bytes = 16}).value();
  EXPECT_EQ(map.as<Record>().error().code(), Errc::kMisaligned);
  EXPECT_TRUE(map.as<std::uint32_t>());
  EXPECT_TRUE(map.as<char>());
}

TEST(TypedViewTest, RangeOutsideTheViewIsAnError) {
  const testing::TempDir dir;
  const Mapping map = quire::map(dir.write("f", std::string(32, 'x'))).value();
  EXPECT_EQ(map.as<Record>({16, 32}).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(map.as<Record>({kToEnd, kToEnd}).error().code(), Errc::kOutOfRange);
}

TEST(TypedViewTest, WritableViewStoresIntoTheMapping) {
  WritableMapping memory = map_anonymous({.size_bytes = 2 * sizeof(Record)}).value();
  memory.as<Record>().value()[1].value = 7;
  EXPECT_EQ(std::as_const(memory).as<Record>().value()[1].value, 7U);
}

TEST(ViewWindowsTest, EmptyViewHasNoWindows) {
  const ViewWindows windows({}, 10);
  EXPECT_EQ(windows.begin(), windows.end());
}

}  // namespace
}  // namespace quire
