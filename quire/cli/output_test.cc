// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/temp_dir.h"

namespace quire::cli {
namespace {

sys::Descriptor new_file(const testing::TempDir& dir) {
  auto file = sys::open_file(dir.file("out").c_str(), {.write = true, .create = true});
  EXPECT_TRUE(file);
  return std::move(*file);
}

TEST(OutputTest, BytesArriveInOrderWhateverTheirSizes) {
  const testing::TempDir dir;
  const sys::Descriptor file = new_file(dir);
  Output output(file.get());
  std::string expected;
  for (const std::size_t size : {std::size_t{1}, Output::kBufferBytes - 1, std::size_t{0},
                                 Output::kBufferBytes + 1, std::size_t{7}}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
    output.write(piece);
    expected += piece;
  }
  EXPECT_TRUE(output.flush());
  EXPECT_EQ(testing::read_file(dir.file("out")), expected);
}

TEST(OutputTest, SmallPiecesShareASystemCall) {
  const testing::TempDir dir;
  const sys::Descriptor file = new_file(dir);
  Output output(file.get());
  const sys::FaultPlan counting({});
  for (int line = 0; line < 1000; ++line) {
    output.write("0123456789");
  }
  EXPECT_TRUE(output.flush());
  EXPECT_EQ(counting.count(sys::Call::kWrite), 1u);
}

TEST(OutputTest, TheFirstErrorStaysAndNothingIsWrittenAfterIt) {
  const testing::TempDir dir;
  const sys::Descriptor file = new_file(dir);
  Output output(file.get());
  output.write("lost");
  {
    const sys::FaultPlan plan({.call = sys::Call::kWrite, .error = ENOSPC});
    EXPECT_FALSE(output.flush());
  }
  output.write("late");
  const auto flushed = output.flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().value, ENOSPC);
  EXPECT_EQ(testing::read_file(dir.file("out")), "");
}

}  // namespace
}  // namespace quire::cli
