// SPDX-License-Identifier: Apache-2.0
//
// The ladder of permissions, and every ioctl that fails.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/user_fault.h"
#include "quire/testing/process.h"
#include "quire/testing/watched_memory.h"

namespace quire::sys {
namespace {

using testing::filled_pages;
using testing::WatchedMemory;

constexpr std::size_t kPage = testing::kWatchedPageBytes;
constexpr std::size_t kPages = 4;
constexpr std::byte kA{0xa5};

class UserFaultOpenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result<UserFault> faults = open_user_fault({});
    if (!faults || faults->access() != FaultAccess::kFull) {
      GTEST_SKIP() << "userfaultfd: " << (faults ? faults->explain() : faults.error().message());
    }
  }
};

TEST_F(UserFaultOpenTest, TheFirstWayThatWorksIsTakenAndTheOthersAreExplained) {
  {
    const FaultPlan plan({.call = Call::kOpen, .error = ENOENT});  // No such device.
    const Result<UserFault> faults = open_user_fault({});
    ASSERT_TRUE(faults.has_value());
    EXPECT_EQ(faults->access(), FaultAccess::kFull);
    EXPECT_EQ(faults->explain(), "userfaultfd(2) (/dev/userfaultfd: ENOENT)");
  }
  const FaultPlan plan({.call = Call::kUserFault, .times = 2, .error = EPERM});
  const Result<UserFault> faults = open_user_fault({});
  ASSERT_TRUE(faults.has_value());
  EXPECT_EQ(faults->access(), FaultAccess::kUserMode);
  EXPECT_NE(faults->explain().find("user mode only"), std::string::npos);
  EXPECT_NE(faults->explain().find("userfaultfd(2): EPERM"), std::string::npos);
}

TEST_F(UserFaultOpenTest, AnOrdinaryUserGetsFaultsOfUserCode) {
  testing::Child child([] {
    constexpr unsigned kNobody = 65534;
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) {
      return 1;
    }
    const Result<UserFault> faults = open_user_fault({.delivery = FaultDelivery::kSignals});
    if (!faults) {
      return 2;
    }
    if (faults->access() == FaultAccess::kFull) {
      return 3;  // Somebody opened the device, or set the sysctl.
    }
    return faults->explain().find("EACCES") == std::string::npos &&
                   faults->explain().find("ENOENT") == std::string::npos
               ? 4
               : 7;
  });
  const testing::ChildEnd end = child.join();
  if (end.exit_code == 3) {
    GTEST_SKIP() << "userfaultfd: allowed to everybody here";
  }
  EXPECT_EQ(end.exit_code, 7);
}

TEST_F(UserFaultOpenTest, WhereItIsForbiddenTheErrorNamesEveryWayAndTheRemedy) {
  const FaultPlan plan({.call = Call::kUserFault, .times = UINT64_MAX, .error = EPERM});
  const Result<UserFault> faults = open_user_fault({});
  ASSERT_FALSE(faults.has_value());
  EXPECT_EQ(faults.error().code(), Errc::kUnsupported);
  const std::string message = faults.error().message();
  for (const char* part : {"/dev/userfaultfd: EPERM", "userfaultfd(2): EPERM",
                           "user mode only: EPERM", "vm.unprivileged_userfaultfd", "seccomp"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
}

TEST_F(UserFaultOpenTest, AnOldKernelIsNamedAsSuch) {
  // Every handshake fails, after the opening of each rung.
  const FaultPlan plan({.call = Call::kUserFault, .times = UINT64_MAX, .error = EINVAL});
  const Result<UserFault> faults = open_user_fault({});
  ASSERT_FALSE(faults.has_value());
  EXPECT_EQ(faults.error().code(), Errc::kUnsupported);
  EXPECT_NE(faults.error().message().find("5.19"), std::string::npos);
}

TEST_F(UserFaultOpenTest, AShortageIsNoPermission) {
  for (const int error : {EMFILE, ENOMEM}) {
    const FaultPlan plan({.call = Call::kUserFault, .error = error});
    const Result<UserFault> faults = open_user_fault({});
    ASSERT_FALSE(faults.has_value());
    EXPECT_EQ(faults.error().code().value(), error);
    EXPECT_EQ(plan.count(Call::kUserFault), 1U);
  }
}

TEST_F(UserFaultOpenTest, WithoutPoisonTheSameDescriptorShakesHandsAgain) {
  const FaultPlan plan({.call = Call::kUserFault, .nth = 2, .error = EINVAL});
  Result<UserFault> faults = open_user_fault({});
  ASSERT_TRUE(faults.has_value());
  EXPECT_FALSE(faults->can_poison());
  EXPECT_EQ(faults->explain(), "/dev/userfaultfd");
  EXPECT_EQ(plan.count(Call::kUserFault), 3U);
  const WatchedMemory memory(std::move(*faults), kPages);
  EXPECT_EQ(memory.faults().copy_in(memory.page(0), filled_pages(1, kA), Installed::kProtected),
            kPage);
}

TEST_F(UserFaultOpenTest, AFailedStepLeadsToAWorkingDescriptorAllTheSame) {
  for (const std::uint64_t nth : {1U, 2U}) {
    for (const int error : {EPERM, EINVAL}) {
      std::optional<FaultPlan> plan;
      plan.emplace(FaultRule{.call = Call::kUserFault, .nth = nth, .error = error});
      Result<UserFault> faults = open_user_fault({});
      plan.reset();
      ASSERT_TRUE(faults.has_value()) << nth << " " << error << faults.error().message();
      const WatchedMemory memory(std::move(*faults), kPages);
      EXPECT_EQ(memory.faults().zero_in(memory.page(0), kPage), kPage);
    }
  }
}

// --- The calls -----------------------------------------------------------------------------------

struct CallRow {
  const char* name;
  Call call;
  bool may_be_again;  // EAGAIN is tried again.
  std::function<Outcome<void>(const WatchedMemory&)> run;
};

template <typename T>
Outcome<void> forget_value(const Outcome<T>& outcome) {
  return outcome.map([](const auto&) {});
}

std::vector<CallRow> all_calls() {
  return {
      {"watch", Call::kUserFault, true,
       [](const WatchedMemory& m) { return m.faults().watch(m.page(0), kPages * kPage); }},
      {"unwatch", Call::kUserFault, true,
       [](const WatchedMemory& m) { return m.faults().unwatch(m.page(0), kPages * kPage); }},
      {"copy_in", Call::kUserFault, true,
       [](const WatchedMemory& m) {
         return forget_value(
             m.faults().copy_in(m.page(0), filled_pages(2, kA), Installed::kProtected));
       }},
      {"zero_in", Call::kUserFault, true,
       [](const WatchedMemory& m) { return forget_value(m.faults().zero_in(m.page(0), kPage)); }},
      {"protect", Call::kUserFault, true,
       [](const WatchedMemory& m) { return m.faults().protect(m.page(0), kPage); }},
      {"allow_writes", Call::kUserFault, true,
       [](const WatchedMemory& m) { return m.faults().allow_writes(m.page(0), kPage); }},
      {"wake", Call::kUserFaultWake, true,
       [](const WatchedMemory& m) { return m.faults().wake(m.page(0), kPage); }},
      {"poison", Call::kUserFault, true,
       [](const WatchedMemory& m) { return m.faults().poison(m.page(0), kPage); }},
      {"read_messages", Call::kUserFaultMessage, false,
       [](const WatchedMemory& m) {
         std::array<FaultMessage, 1> messages;
         return forget_value(m.faults().read_messages(messages));
       }},
  };
}

WatchedMemory make_memory() {
  return WatchedMemory(open_user_fault({}).value(), kPages);
}

TEST_F(UserFaultOpenTest, EveryCallPassesTheDoorOnceAndWorks) {
  for (const CallRow& row : all_calls()) {
    const WatchedMemory memory = make_memory();
    const FaultPlan plan({});
    const Outcome<void> outcome = row.run(memory);
    EXPECT_TRUE(outcome.has_value()) << row.name << ": " << errno_name(outcome.error().value);
    EXPECT_EQ(plan.count(row.call), 1U) << row.name;
  }
}

TEST_F(UserFaultOpenTest, EveryErrorComesBackAsItIs) {
  for (const CallRow& row : all_calls()) {
    const WatchedMemory memory = make_memory();
    const FaultPlan plan({.call = row.call, .times = UINT64_MAX, .error = EIO});
    EXPECT_EQ(row.run(memory), tl::unexpected<Errno>(Errno{EIO})) << row.name;
    EXPECT_EQ(plan.count(row.call), 1U) << row.name;
  }
}

TEST_F(UserFaultOpenTest, WhatClearsUpIsTriedAgainAndWhatDoesNotEnds) {
  for (const CallRow& row : all_calls()) {
    for (const int error : {EINTR, EAGAIN}) {
      const WatchedMemory memory = make_memory();
      const FaultPlan plan({.call = row.call, .times = 3, .error = error});
      EXPECT_TRUE(row.run(memory).has_value()) << row.name;
      EXPECT_EQ(plan.count(row.call), error == EAGAIN && !row.may_be_again ? 1U : 4U) << row.name;
    }
    const WatchedMemory memory = make_memory();
    const FaultPlan plan({.call = row.call, .times = UINT64_MAX, .error = EAGAIN});
    EXPECT_EQ(row.run(memory).has_value(), !row.may_be_again) << row.name;
  }
}

TEST_F(UserFaultOpenTest, AFailedScanIsAnError) {
  const WatchedMemory memory = make_memory();
  const PageScan scan = PageScan::open().value();
  std::array<bool, kPages> found{};
  {
    const FaultPlan plan({.call = Call::kPageScan, .error = EIO});
    EXPECT_EQ(scan.present(memory.page(0), kPages * kPage, found),
              tl::unexpected<Errno>(Errno{EIO}));
  }
  {
    const FaultPlan plan({.call = Call::kOpen, .error = EMFILE});
    EXPECT_EQ(PageScan::open().error(), Errno{EMFILE});
  }
}

}  // namespace
}  // namespace quire::sys
