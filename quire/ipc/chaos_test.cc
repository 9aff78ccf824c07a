// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/chaos.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "quire/ipc/internal/chaos_channel.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using internal::ChaosMessage;
using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

AssertionResult has_no_children() {
  return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? AssertionSuccess()
                                                                : AssertionFailure();
}

TEST(ChaosTest, EveryStructureKeepsItsPromises) {
  const std::size_t descriptors = open_descriptors();
  const ChaosReport report = run_chaos({.seconds = 3, .seed = testing::test_seed()}).value();
  for (const std::string& violation : report.violations) {
    ADD_FAILURE() << violation;
  }
  ASSERT_EQ(report.structures.size(), chaos_structures().size());
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  for (const ChaosTally& tally : report.structures) {
    EXPECT_GT(tally.finished, 0U) << tally.name;
    EXPECT_GE(tally.starts, tally.kills) << tally.name;
    kills += tally.kills;
    stops += tally.stops;
  }
  EXPECT_GT(kills, 0U);
  EXPECT_GT(stops, 0U);
  EXPECT_FALSE(report.was_stopped);
  EXPECT_TRUE(has_no_children());
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(ChaosTest, OnlyWhatIsNamedIsTriedAndAnUnknownNameIsRefused) {
  const ChaosReport report = run_chaos({.seconds = 0.1, .only = {"mutex"}}).value();
  ASSERT_EQ(report.structures.size(), 1U);
  EXPECT_EQ(report.structures.front().name, "mutex");
  const auto refused = run_chaos({.only = {"abacus"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kOutOfRange);
  EXPECT_NE(refused.error().remedy().find("mpsc-ring"), std::string::npos);
}

TEST(ChaosTest, AStopEndsItEarlyAndTheBooksAreAuditedAllTheSame) {
  bool has_told = false;
  const ChaosReport report =
      run_chaos(
          {.seconds = 3600,
           .only = {"spsc-ring"},
           .should_stop = [&] { return has_told; },
           .tell = [&](const ChaosProgress& progress) { has_told = progress.finished > 100; }})
          .value();
  EXPECT_TRUE(report.was_stopped);
  EXPECT_TRUE(report.violations.empty());
  EXPECT_GT(report.structures.front().finished, 100U);
  EXPECT_TRUE(has_no_children());
}

// --- Messages ------------------------------------------------------------------------------------

TEST(ChaosMessageTest, EveryByteOfAMessageCounts) {
  const ChaosMessage message{.writer = 3, .number = 77, .acknowledged_before = 75};
  for (const std::size_t length : {32U, 33U, 39U, 40U, 100U}) {
    std::vector<std::byte> bytes(length);
    message.write_to(bytes);
    const auto read = ChaosMessage::read_from(bytes);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->writer, 3U);
    EXPECT_EQ(read->number, 77U);
    EXPECT_EQ(read->acknowledged_before, 75U);
    for (std::size_t at = 0; at < length; ++at) {
      bytes[at] ^= std::byte{1};
      EXPECT_FALSE(ChaosMessage::read_from(bytes)) << at;
      bytes[at] ^= std::byte{1};
    }
    bytes.pop_back();
    EXPECT_FALSE(ChaosMessage::read_from(bytes));
  }
}

}  // namespace
}  // namespace quire::ipc
