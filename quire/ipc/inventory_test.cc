// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/inventory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "quire/ipc/segment.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::Child;
using testing::Signal;

Layout one_word() {
  return Layout().add({.name = "word", .signature = "word v7", .size_bytes = 8});
}

class InventoryTest : public ::testing::Test {
 protected:
  [[nodiscard]] Segment open(const std::string& name) const {
    return Segment::open(name, one_word(), {.directory = dir_.path()}).value();
  }
  [[nodiscard]] SegmentInfo inspect(const std::string& name) const {
    return inspect_segment(name, dir_.path()).value();
  }
  [[nodiscard]] bool is_there(const std::string& name) const {
    return access(dir_.file(name).c_str(), F_OK) == 0;
  }
  // Overwrites bytes of a segment's file.
  void scribble(const std::string& name, off_t offset, const std::string& bytes) const {
    const sys::Descriptor file(::open(dir_.file(name).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(pwrite(file.get(), bytes.data(), bytes.size(), offset),
              static_cast<ssize_t>(bytes.size()));
  }

  testing::TempDir dir_;
};

TEST_F(InventoryTest, ListsByNameWhatMayBeASegment) {
  {
    const Segment b = open("b");
  }
  {
    const Segment a = open("a");
  }
  ASSERT_EQ(mkdir(dir_.file("directory").c_str(), 0700), 0);
  ASSERT_EQ(symlink("a", dir_.file("link").c_str()), 0);
  dir_.write(".hidden", "");
  EXPECT_EQ(list_segments(dir_.path()).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(list_segments(dir_.file("none")).value().empty());
}

TEST_F(InventoryTest, TellsWhatIsInASegmentAndWhoIsAttached) {
  const Segment segment = open("a");
  const SegmentInfo info = inspect("a");
  EXPECT_EQ(info.condition, SegmentCondition::kReady);
  EXPECT_EQ(info.signature, one_word().signature());
  EXPECT_EQ(info.segment_id, segment.participants().segment_id());
  EXPECT_EQ(info.file_bytes, segment.size_bytes());
  EXPECT_EQ(info.mode, 0600U);
  EXPECT_EQ(info.creator_pid, getpid());
  EXPECT_TRUE(info.is_creator_alive);
  ASSERT_EQ(info.participants.size(), 1U);
  EXPECT_EQ(info.participants[0].id, segment.participants().self());
  EXPECT_EQ(info.living(), 1U);
  ASSERT_EQ(info.objects.size(), 1U);
  EXPECT_EQ(info.objects[0].name, "word");
  EXPECT_EQ(info.objects[0].kind, "user");
  EXPECT_EQ(info.objects[0].signature, "word v7");
  EXPECT_EQ(info.objects[0].offset_bytes, one_word().places()[0].offset_bytes);
}

TEST_F(InventoryTest, TheDeadAreToldUntilTheirSlotIsTaken) {
  Child child([&] {
    const Segment segment = open("a");
    kill(getpid(), SIGKILL);
    return 0;
  });
  const pid_t pid = child.pid();
  child.join();
  const SegmentInfo info = inspect("a");
  ASSERT_EQ(info.participants.size(), 1U);
  EXPECT_EQ(info.participants[0].pid, pid);
  EXPECT_EQ(info.participants[0].liveness, Liveness::kDead);
  EXPECT_EQ(info.living(), 0U);
  EXPECT_FALSE(info.is_creator_alive);
}

TEST_F(InventoryTest, WhatIsNoSegmentIsDamagedAndNeverRemovedUnforced) {
  {
    const Segment a = open("version");
  }
  scribble("version", 8, std::string("\x09\0\0\0", 4));
  {
    const Segment a = open("objects");
  }
  scribble("objects", 46, "\xff\xff");
  {
    const Segment a = open("size");
  }
  scribble("size", 37, "\xff");
  {
    const Segment a = open("cut");
  }
  ASSERT_EQ(truncate(dir_.file("cut").c_str(), 5000), 0);
  dir_.write("text", std::string(5000, 'x'));
  dir_.write("short", "x");
  for (const char* name : {"version", "objects", "size", "cut", "text", "short"}) {
    const SegmentInfo info = inspect(name);
    EXPECT_EQ(info.condition, SegmentCondition::kDamaged) << name;
    EXPECT_FALSE(info.problem.empty()) << name;
    EXPECT_EQ(remove_segment(name, {.directory = dir_.path()}).error().code(), Errc::kWrongKind);
  }
  EXPECT_TRUE(remove_stale_segments(dir_.path()).value().empty());
  EXPECT_TRUE(remove_segment("text", {.directory = dir_.path(), .force = true}));
  EXPECT_FALSE(is_there("text"));
}

TEST_F(InventoryTest, OneFromBeforeTheMachineStartedIsOldAndRefusedAndRemoved) {
  {
    const Segment a = open("a");
  }
  scribble("a", 88, "another boot");
  EXPECT_EQ(inspect("a").condition, SegmentCondition::kOld);
  const auto opened = Segment::open("a", one_word(), {.directory = dir_.path()});
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kChanged);
  EXPECT_TRUE(remove_segment("a", {.directory = dir_.path()}));
}

TEST_F(InventoryTest, OneOfAnotherPidNamespaceIsLeftAlone) {
  {
    const Segment a = open("a");
  }
  scribble("a", 104, "elsewhere");
  EXPECT_EQ(inspect("a").condition, SegmentCondition::kElsewhere);
  const auto opened = Segment::open("a", one_word(), {.directory = dir_.path()});
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kUnsupported);
  EXPECT_EQ(remove_segment("a", {.directory = dir_.path()}).error().code(), Errc::kUnsupported);
  EXPECT_TRUE(remove_segment("a", {.directory = dir_.path(), .force = true}));
}

TEST_F(InventoryTest, OneInUseIsNotRemovedAndTheErrorSaysByWhom) {
  const Segment segment = open("a");
  const auto refused = remove_segment("a", {.directory = dir_.path()});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
  EXPECT_NE(refused.error().message().find(std::to_string(getpid())), std::string::npos);
  EXPECT_EQ(inspect("a").condition, SegmentCondition::kReady) << "and it goes on";
  EXPECT_EQ(open("a").participants().segment_id(), segment.participants().segment_id());
}

TEST_F(InventoryTest, AForcedOneLosesItsNameAndKeepsItsUsers) {
  const Segment segment = open("a");
  EXPECT_TRUE(remove_segment("a", {.directory = dir_.path(), .force = true}));
  EXPECT_FALSE(is_there("a"));
  EXPECT_TRUE(segment.participants().is_alive(segment.participants().self()));
}

TEST_F(InventoryTest, RemovesWhatNobodyLivesInAndNothingElse) {
  const Segment used = open("used");
  {
    const Segment left = open("left");
  }
  Child child([&] {
    const Segment segment = open("dead");
    kill(getpid(), SIGKILL);
    return 0;
  });
  child.join();
  dir_.write("blank", "");
  dir_.write("zeros", std::string(8192, '\0'));
  dir_.write("text", std::string(8192, 'x'));
  EXPECT_EQ(remove_stale_segments(dir_.path()).value(),
            (std::vector<std::string>{"blank", "dead", "left", "zeros"}));
  EXPECT_TRUE(is_there("used"));
  EXPECT_TRUE(is_there("text"));
  EXPECT_EQ(remove_segment("left", {.directory = dir_.path()}).error().code(),
            std::errc::no_such_file_or_directory);
}

// Goal:   a stopped user is a user.
TEST_F(InventoryTest, AStoppedProcessKeepsItsSegment) {
  Signal attached;
  Child child([&] {
    const Segment segment = open("a");
    attached.raise();
    return pause();
  });
  attached.wait();
  child.kill(SIGSTOP);
  EXPECT_TRUE(remove_stale_segments(dir_.path()).value().empty());
  EXPECT_TRUE(is_there("a"));
}

TEST_F(InventoryTest, ThousandsOfSegmentsAreListedAndRemoved) {
  constexpr int kSegments = 2000;
  for (int i = 0; i < kSegments; ++i) {
    static_cast<void>(open("s" + std::to_string(i)));
  }
  EXPECT_EQ(list_segments(dir_.path()).value().size(), 2000U);
  EXPECT_EQ(remove_stale_segments(dir_.path()).value().size(), 2000U);
  EXPECT_TRUE(list_segments(dir_.path()).value().empty());
}

}  // namespace
}  // namespace quire::ipc
