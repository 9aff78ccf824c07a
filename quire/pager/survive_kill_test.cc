// SPDX-License-Identifier: Apache-2.0
//
// The guardian process: when it comes and goes, who waits for it, what it keeps, what it costs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "quire/pager/pager.h"
#include "quire/pager/survive_kill.h"
#include "quire/sys/call.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/survive_kill_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Child;
using testing::guardian_of;
using testing::has_ended;
using testing::kPaged;
using testing::SharedMemory;
using testing::store_byte;
using testing::SurviveKillTest;
using testing::surviving;

// Stores one byte, and says so, then does `end`.
struct OneStore {
  std::atomic<int> guardian{0};
};

int store_one(const std::string& path, std::uint64_t offset, OneStore& told,
              const std::function<void(WritablePagedArea&)>& end) {
  Pager pager(surviving());
  WritablePagedArea area = pager.map(path, kPaged).value();
  store_byte(area.bytes().data() + offset, std::byte{'!'});
  told.guardian.store(guardian_of(area));
  end(area);
  return 0;
}

// Goal:   other ends than SIGKILL: exit without close(), a crash, another program in its place.
TEST_F(SurviveKillTest, StoresSurviveExitAbortAndExec) {
  const std::vector<std::function<void(WritablePagedArea&)>> ends{
      [](auto&) { ::_exit(0); },
      [](auto&) {
        ::signal(SIGABRT, SIG_DFL);
        std::abort();
      },
      [](auto&) { ::execl("/bin/true", "true", nullptr); }};
  for (std::size_t i = 0; i < ends.size(); ++i) {
    SCOPED_TRACE(i);
    const std::string path = directory_.write("data", std::string(5000, '.'));
    const SharedMemory<OneStore> told;
    Child([&] { return store_one(path, 4500, *told, ends[i]); }).join();
    ASSERT_TRUE(await_guardian(path).has_value());
    EXPECT_GT(told->guardian.load(), 0);
    EXPECT_TRUE(has_ended(told->guardian.load()) || await_guardian(path).has_value());
    EXPECT_EQ(testing::read_file(path), std::string(4500, '.') + "!" + std::string(499, '.'));
  }
}

// Goal:   what the guardian cannot write is said in one line, and the rest is written all the same.
// Method: its limit of file sizes is lowered, as a full disk would stop it half-way.
TEST_F(SurviveKillTest, WhatCannotBeWrittenIsSaid) {
  const std::string path = directory_.write("data", std::string(9000, '.'));
  const std::string said = directory_.write("said", "");
  const SharedMemory<OneStore> told;
  Child([&] {
    ::dup2(::open(said.c_str(), O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    return store_one(path, 8500, *told, [&](WritablePagedArea& area) {
      store_byte(area.bytes().data(), std::byte{'!'});
      const rlimit limit{.rlim_cur = 8192, .rlim_max = 8192};
      EXPECT_EQ(::prlimit(guardian_of(area), RLIMIT_FSIZE, &limit, nullptr), 0);
      ::_exit(0);
    });
  }).join();
  ASSERT_TRUE(await_guardian(path).has_value());
  const std::string content = testing::read_file(path);
  EXPECT_EQ(content[0], '!');
  EXPECT_EQ(content[8500], '.');
  const std::string line = testing::read_file(said);
  EXPECT_NE(line.find("EFBIG"), std::string::npos) << line;
  EXPECT_NE(line.find("808 bytes that were stored are lost\n"), std::string::npos) << line;
  EXPECT_EQ(std::ranges::count(line, '\n'), 1) << line;
}

// --- Who waits -----------------------------------------------------------------------------------

// Goal:   a guardian that has something to write is waited for, by name, and no longer than said.
// Method: it is stopped before its owner is killed.
TEST_F(SurviveKillTest, AGuardianAtWorkIsAwaited) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  const SharedMemory<OneStore> told;
  Child child([&] { return store_one(path, 0, *told, [](auto&) { ::pause(); }); });
  while (told->guardian.load() == 0) {
    std::this_thread::yield();
  }
  const int guardian = told->guardian.load();
  EXPECT_TRUE(await_guardian(path).has_value()) << "while its owner lives nobody waits";
  ::kill(guardian, SIGSTOP);
  child.kill(SIGKILL);
  child.join();
  const Result<void> awaited = await_guardian(path, std::chrono::milliseconds(1));
  ASSERT_FALSE(awaited.has_value());
  EXPECT_EQ(awaited.error().code(), Errc::kFailed);
  EXPECT_NE(awaited.error().message().find(std::to_string(guardian)), std::string::npos);
  EXPECT_EQ(testing::read_file(path)[0], '.');
  ::kill(guardian, SIGCONT);
  // map() waits by itself.
  expect_success([&] {
    Pager pager(surviving());
    return pager.map(path).value().bytes()[0] == std::byte{'!'} ? 0 : 1;
  });
  EXPECT_EQ(testing::read_file(path)[0], '!');
}

TEST_F(SurviveKillTest, NobodyIsAwaitedWhereNobodyIs) {
  EXPECT_TRUE(await_guardian(directory_.write("data", "x")).has_value());
  EXPECT_FALSE(await_guardian(directory_.file("none")).has_value());
}

// Goal:   a forked child does not keep its parent's guardian waiting, and cannot harm it.
TEST_F(SurviveKillTest, AForkedChildDoesNotKeepTheOwnerAlive) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  const SharedMemory<OneStore> told;
  std::array<int, 2>
      life{};  // Its writing end is the test's alone: the child's child ends with it.
  ASSERT_EQ(::pipe2(life.data(), O_CLOEXEC), 0);
  Child child([&] {
    ::close(life[1]);
    return store_one(path, 7, *told, [&](WritablePagedArea& area) {
      auto pin = area.pin_for_writing({0, 10});
      if (::fork() == 0) {
        pin = fail(make_error(Errc::kClosed, "", ""));  // Gives back the copy of the pin.
        told->guardian.store(-told->guardian.load());
        char end = 0;
        static_cast<void>(::read(life[0], &end, 1));
        ::_exit(0);
      }
      ::pause();
    });
  });
  while (told->guardian.load() >= 0) {
    std::this_thread::yield();
  }
  child.kill(SIGKILL);
  child.join();
  EXPECT_TRUE(await_guardian(path).has_value());
  EXPECT_EQ(testing::read_file(path)[7], '!');
  ::close(life[0]);
  ::close(life[1]);
}

// --- The process ---------------------------------------------------------------------------------

TEST_F(SurviveKillTest, TheGuardianEndsWithTheLastArea) {
  const std::string first = directory_.write("first", std::string(5000, '.'));
  const std::string second = directory_.write("second", std::string(5000, '.'));
  expect_success([&] {
    Pager pager(surviving());
    WritablePagedArea a = pager.map(first, kPaged).value();
    WritablePagedArea b = pager.map(second, kPaged).value();
    const int guardian = guardian_of(a);
    EXPECT_EQ(guardian_of(b), guardian);
    EXPECT_TRUE(a.close().has_value());
    EXPECT_FALSE(has_ended(guardian));
    EXPECT_TRUE(b.close().has_value());
    EXPECT_TRUE(has_ended(guardian));
    a = pager.map(first, kPaged).value();
    EXPECT_GT(guardian_of(a), 0);
    EXPECT_FALSE(has_ended(guardian_of(a)));
    a = WritablePagedArea();
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
}

// Goal:   two areas of one file: closing one leaves the other one's mark and memory alone.
TEST_F(SurviveKillTest, TwoAreasOfOneFileAreApart) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  const SharedMemory<OneStore> told;
  Child child([&] {
    Pager pager(surviving());
    WritablePagedArea a = pager.map(path, kPaged).value();
    return store_one(path, 4200, *told, [&](WritablePagedArea&) {
      static_cast<void>(a.close());
      told->guardian.store(-1);
      ::pause();
    });
  });
  while (told->guardian.load() >= 0) {
    std::this_thread::yield();
  }
  child.kill(SIGKILL);
  child.join();
  EXPECT_TRUE(await_guardian(path).has_value());
  EXPECT_EQ(testing::read_file(path)[4200], '!');
}

// Goal:   an owner whose guardian was killed says so, works on, and gets a new one with new areas.
TEST_F(SurviveKillTest, ALostGuardianIsNoticed) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  expect_success([&] {
    Pager pager(surviving());
    WritablePagedArea area = pager.map(path, kPaged).value();
    EXPECT_TRUE(area.check().has_value());
    const int guardian = guardian_of(area);
    ::kill(guardian, SIGKILL);
    while (area.check()) {
      std::this_thread::yield();
    }
    EXPECT_EQ(area.check().error().code(), Errc::kFailed);
    EXPECT_NE(area.explain().find("has died"), std::string::npos);
    EXPECT_FALSE(pager.map(path, kPaged).has_value());
    store_byte(area.bytes().data(), std::byte{'!'});
    EXPECT_TRUE(area.flush().has_value());
    EXPECT_TRUE(area.close().has_value());
    area = pager.map(path, kPaged).value();
    EXPECT_TRUE(area.check().has_value());
    EXPECT_NE(guardian_of(area), guardian);
    EXPECT_TRUE(area.close().has_value());
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(testing::read_file(path)[0], '!');
}

// Goal:   what its maker had in memory is not kept by it: neither by page count, nor by copies.
TEST_F(SurviveKillTest, TheGuardianKeepsNoMemoryOfItsMaker) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  expect_success([&] {
    const std::vector<char> heap(64_MiB, 'x');
    const std::vector<std::vector<char>> small(1000, std::vector<char>(10'000, 'x'));
    Pager pager(surviving());
    WritablePagedArea area = pager.map(path, kPaged).value();
    std::ifstream status("/proc/" + std::to_string(guardian_of(area)) + "/status");
    std::string line;
    std::uint64_t anonymous_kib = ~std::uint64_t{0};
    while (std::getline(status, line)) {
      if (line.starts_with("RssAnon:")) {
        anonymous_kib = std::strtoull(line.c_str() + 8, nullptr, 10);
      }
    }
    EXPECT_LT(anonymous_kib, 4096u);
    EXPECT_TRUE(area.close().has_value());
    return ::testing::Test::HasFailure() || heap.size() + small.size() == 0 ? 1 : 0;
  });
}

// Goal:   a guardian that cannot be had is an Error of map(), and the next map() may have one.
TEST_F(SurviveKillTest, AGuardianThatCannotBeStartedIsAnError) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  for (const sys::Call call : {sys::Call::kSocket, sys::Call::kSend, sys::Call::kProcess}) {
    SCOPED_TRACE(sys::name_of(call));
    expect_success([&] {
      Pager pager(surviving());
      {
        const sys::FaultPlan plan({.call = call, .times = 1000, .error = EAGAIN});
        const auto refused = pager.map(path, kPaged);
        EXPECT_FALSE(refused.has_value());
        EXPECT_GT(plan.hits(), 0u);
      }
      WritablePagedArea area = pager.map(path, kPaged).value();
      EXPECT_TRUE(area.close().has_value());
      return ::testing::Test::HasFailure() ? 1 : 0;
    });
  }
}

TEST_F(SurviveKillTest, StoresThatAreNoFilesAreRefused) {
  expect_success([] {
    Pager pager(surviving());
    const auto refused =
        pager.map(std::make_shared<testing::MemoryStore>(testing::pattern_bytes(0, 5000)), kPaged);
    EXPECT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
}

// Goal:   who does not ask for it pays nothing: no process, no socket, no message.
TEST_F(SurviveKillTest, ItCostsNothingWhenItIsOff) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  expect_success([&] {
    Pager pager({.memory_bytes = 1_MiB});
    const sys::FaultPlan plan({});
    WritablePagedArea area = pager.map(path, kPaged).value();
    EXPECT_EQ(plan.count(sys::Call::kSocket), 0u);
    EXPECT_EQ(guardian_of(area), 0);
    store_byte(area.bytes().data(), std::byte{'!'});
    EXPECT_TRUE(area.close().has_value());
    EXPECT_EQ(plan.count(sys::Call::kSend), 0u);
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
}

// Goal:   read-only areas have nothing to lose, and need no guardian.
TEST_F(SurviveKillTest, ReadingNeedsNoGuardian) {
  const std::string path = directory_.write("data", std::string(5000, '.'));
  expect_success([&] {
    Pager pager(surviving());
    const PagedArea area = pager.map(path).value();
    return guardian_of(area);
  });
}

}  // namespace
}  // namespace quire
