// SPDX-License-Identifier: Apache-2.0
//
// What happens to a segment when a process dies, stops, or meets others at each step of opening,
// leaving and removing it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quire/ipc/inventory.h"
#include "quire/ipc/segment.h"
#include "quire/testing/ipc_steps.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::AtStep;
using testing::Child;
using testing::Signal;
using testing::SteppedChild;
using testing::StepRound;

// Two objects that can only be initialised from zeros, and each its own way.
ObjectSpec counter(const std::string& name, unsigned value) {
  return {.name = name,
          .signature = "counter v1",
          .size_bytes = 6000,
          .initialise = [value](std::span<std::byte> bytes) {
            for (std::byte& byte : bytes) {
              byte = static_cast<std::byte>(std::to_integer<unsigned>(byte) + value);
            }
          }};
}

Layout two_counters() {
  return Layout().add(counter("a", 3)).add(counter("b", 5)).set_participants_max(3);
}

struct Fixture {
  testing::TempDir dir;

  [[nodiscard]] Result<Segment> try_open(
      std::chrono::milliseconds timeout = std::chrono::seconds(10)) const {
    return Segment::open("s", two_counters(), {.directory = dir.path(), .timeout = timeout});
  }
  [[nodiscard]] Segment open() const { return try_open().value(); }
  [[nodiscard]] Result<void> remove() const {
    return remove_segment("s", {.directory = dir.path()});
  }
};

void expect_whole(const Segment& segment) {
  const auto is_all = [&](const char* name, unsigned value) {
    const ObjectRef object = segment.find(name, ObjectKind::kUser, "counter v1").value();
    return std::all_of(object.bytes().begin(), object.bytes().end(),
                       [&](std::byte byte) { return std::to_integer<unsigned>(byte) == value; });
  };
  EXPECT_TRUE(is_all("a", 3));
  EXPECT_TRUE(is_all("b", 5));
}

// Whether the segment is the one that its name leads to.
bool has_name(const Fixture& fixture, const Segment& segment) {
  struct stat ours{};
  struct stat named{};
  return fstat(segment.descriptor(), &ours) == 0 &&
         stat(fixture.dir.file("s").c_str(), &named) == 0 && ours.st_ino == named.st_ino;
}

// Others can use the segment as if the dead had never been: all slots, and remove it at last.
void expect_usable(const Fixture& fixture) {
  {
    std::vector<Segment> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(fixture.open());
      expect_whole(all.back());
      EXPECT_TRUE(has_name(fixture, all.back()));
      EXPECT_EQ(all.back().participants().segment_id(), all.front().participants().segment_id());
    }
    EXPECT_FALSE(fixture.remove()) << "it is in use";
    expect_whole(all.front());
  }
  EXPECT_TRUE(fixture.remove());
  EXPECT_TRUE(list_segments(fixture.dir.path()).value().empty());
}

int open_and_leave(const Fixture& fixture) {
  const Segment segment = fixture.open();
  return 0;
}

bool has_step(const std::vector<std::string>& steps, const std::string& name) {
  return std::find(steps.begin(), steps.end(), name) != steps.end();
}

TEST(SegmentSteps, WhoeverCreatesMayDieAnywhere) {
  const auto steps = testing::at_every_step(AtStep::kKill, [] {
    auto fixture = std::make_shared<Fixture>();
    return StepRound{.body = [=] { return open_and_leave(*fixture); },
                     .check = [=](SteppedChild&) { expect_usable(*fixture); }};
  });
  for (const char* step :
       {"segment.open.file", "segment.open.header_allocated", "segment.initialise.claimed",
        "segment.initialise.allocated", "segment.initialise.magic", "segment.initialise.facts",
        "segment.initialise.object", "segment.initialise.ready", "participants.attach.claimed",
        "participants.attach.numbered", "participants.attach.live", "participants.leave.free"}) {
    EXPECT_TRUE(has_step(steps, step)) << step;
  }
}

TEST(SegmentSteps, WhoeverTakesOverMayDieAnywhereToo) {
  for (const unsigned first_dies_at : {4U, 6U, 8U, 10U}) {
    const auto steps = testing::at_every_step(AtStep::kKill, [=] {
      auto fixture = std::make_shared<Fixture>();
      const SteppedChild first(AtStep::kKill, first_dies_at,
                               [&] { return open_and_leave(*fixture); });
      EXPECT_EQ(first.step().rfind("segment.initialise.", 0), 0U) << first.step();
      return StepRound{.body = [=] { return open_and_leave(*fixture); },
                       .check = [=](SteppedChild&) { expect_usable(*fixture); }};
    });
    EXPECT_TRUE(has_step(steps, "segment.initialise.zeroed"));
  }
}

// Goal:   a takeover begins from zeros, and says that it was one.
TEST(SegmentSteps, ATakeoverIsAnotherGeneration) {
  const Fixture fixture;
  unsigned deaths = 0;
  for (const unsigned step : {6U, 6U, 9U}) {
    const SteppedChild child(AtStep::kKill, step, [&] { return open_and_leave(fixture); });
    ASSERT_EQ(child.step().rfind("segment.initialise.", 0), 0U) << child.step();
    ++deaths;
  }
  const Segment segment = fixture.open();
  EXPECT_TRUE(segment.was_made_here());
  EXPECT_EQ(segment.generation(), deaths + 1);
  expect_whole(segment);
}

TEST(SegmentSteps, WhoeverJoinsMayDieAnywhereBesideTheLiving) {
  testing::at_every_step(AtStep::kKill, [] {
    auto fixture = std::make_shared<Fixture>();
    auto living = std::make_shared<Segment>(fixture->open());
    return StepRound{.body = [=] { return open_and_leave(*fixture); },
                     .check =
                         [=](SteppedChild&) {
                           for (const Participant& one : living->participants().list()) {
                             EXPECT_EQ(one.liveness == Liveness::kAlive, one.pid == getpid())
                                 << one.pid;
                           }
                           {
                             const Segment second = fixture->open();
                             const Segment third = fixture->open();
                             expect_whole(third);
                             EXPECT_EQ(living->participants().list().size(), 3U);
                           }
                           EXPECT_FALSE(fixture->remove());
                         }};
  });
}

TEST(SegmentSteps, WhoeverRemovesMayDieAnywhere) {
  const auto steps = testing::at_every_step(AtStep::kKill, [] {
    auto fixture = std::make_shared<Fixture>();
    open_and_leave(*fixture);
    return StepRound{.body = [=] { return fixture->remove() ? 0 : 1; },
                     .check = [=](SteppedChild&) { expect_usable(*fixture); }};
  });
  for (const char* step : {"segment.remove.claimed", "segment.remove.unlinked"}) {
    EXPECT_TRUE(has_step(steps, step)) << step;
  }
}

TEST(SegmentSteps, WhoeverRemovesAnUnfinishedOneMayDieAnywhere) {
  for (const unsigned maker_dies_at : {1U, 2U, 4U, 8U}) {
    testing::at_every_step(AtStep::kKill, [=] {
      auto fixture = std::make_shared<Fixture>();
      const SteppedChild maker(AtStep::kKill, maker_dies_at,
                               [&] { return open_and_leave(*fixture); });
      return StepRound{.body = [=] { return fixture->remove() ? 0 : 1; },
                       .check = [=](SteppedChild&) { expect_usable(*fixture); }};
    });
  }
}

TEST(SegmentSteps, WhoeverFailsToRemoveOneInUseMayDieAnywhere) {
  const auto steps = testing::at_every_step(AtStep::kKill, [] {
    auto fixture = std::make_shared<Fixture>();
    auto living = std::make_shared<Segment>(fixture->open());
    return StepRound{.body = [=] { return fixture->remove() ? 1 : 0; },
                     .check =
                         [=](SteppedChild&) {
                           const Segment other = fixture->open();
                           EXPECT_EQ(other.participants().segment_id(),
                                     living->participants().segment_id());
                           EXPECT_TRUE(has_name(*fixture, other));
                         }};
  });
  EXPECT_TRUE(has_step(steps, "segment.remove.withdrawn"));
}

// Goal:   the living are waited for and never robbed, however long they take.
TEST(SegmentSteps, WhoeverCreatesMayStopAnywhere) {
  testing::at_every_step(AtStep::kStop, [] {
    auto fixture = std::make_shared<Fixture>();
    return StepRound{.body = [=] { return open_and_leave(*fixture); },
                     .check =
                         [=](SteppedChild& child) {
                           const auto joined = fixture->try_open(std::chrono::milliseconds(20));
                           const bool holds_it =
                               child.step().rfind("segment.initialise.", 0) == 0 &&
                               child.step() != "segment.initialise.ready";
                           EXPECT_EQ(joined.has_value(), !holds_it);
                           if (holds_it) {
                             EXPECT_EQ(joined.error().code(), std::errc::timed_out);
                             EXPECT_NE(joined.error().message().find(std::to_string(child.pid())),
                                       std::string::npos);
                             EXPECT_FALSE(remove_segment(
                                 "s", {.directory = fixture->dir.path(), .timeout = {}}));
                           }
                           if (child.was_reached()) {
                             child.resume();
                           }
                           EXPECT_EQ(child.end().exit_code, 0);
                           expect_whole(fixture->open());
                         }};
  });
}

// Goal:   whatever somebody else does between two steps of opening, who opens has the segment that
//         has the name, or the other one was told that it is in use.
TEST(SegmentSteps, RemovingBetweenAnyTwoStepsOfOpeningLosesNobody) {
  const Fixture counted;
  const std::size_t steps = testing::steps_of([&] { open_and_leave(counted); }).size();
  for (const bool is_there_before : {false, true}) {
    for (std::size_t at = 0; at < steps; ++at) {
      const Fixture fixture;
      if (is_there_before) {
        open_and_leave(fixture);
      }
      std::size_t now = 0;
      std::optional<Segment> segment;
      {
        const testing::StepVisitor visitor([&](const char*) {
          if (now++ == at) {  // The remover's own steps come here, too, and are later ones.
            static_cast<void>(
                remove_segment("s", {.directory = fixture.dir.path(), .timeout = {}}));
          }
        });
        segment = fixture.open();
      }
      EXPECT_TRUE(has_name(fixture, *segment)) << at;
      expect_whole(*segment);
      EXPECT_EQ(fixture.open().participants().segment_id(), segment->participants().segment_id());
    }
  }
}

// The same with the roles exchanged.
TEST(SegmentSteps, OpeningBetweenAnyTwoStepsOfRemovingLosesNobody) {
  const Fixture counted;
  open_and_leave(counted);
  const std::size_t steps = testing::steps_of([&] { EXPECT_TRUE(counted.remove()); }).size();
  for (std::size_t at = 0; at < steps; ++at) {
    const Fixture fixture;
    open_and_leave(fixture);
    std::size_t now = 0;
    std::optional<Segment> segment;
    bool was_removed = false;
    {
      const testing::StepVisitor visitor([&](const char*) {
        if (now++ == at) {
          auto opened = fixture.try_open(std::chrono::milliseconds(5));
          if (opened) {
            segment = std::move(*opened);
          } else {
            EXPECT_EQ(opened.error().code(), std::errc::timed_out) << "it is being removed";
          }
        }
      });
      was_removed = fixture.remove().has_value();
    }
    if (segment) {
      EXPECT_TRUE(has_name(fixture, *segment)) << at;
      expect_whole(*segment);
    }
    EXPECT_TRUE(was_removed || segment) << at;
    expect_whole(fixture.open());
  }
}

// Goal:   however many open at once, one initialises and all have the same.
// Method: processes that begin together, some of them killed on their way, some removing.
TEST(SegmentSteps, ManyWhoOpenAtOnceHaveTheSame) {
  for (int round = 0; round < 30; ++round) {
    const Fixture fixture;
    const Signal go;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 3; ++i) {
      children.push_back(std::make_unique<Child>([&] {
        go.wait();
        const Segment segment = fixture.open();
        return has_name(fixture, segment) ? static_cast<int>(segment.generation()) : 100;
      }));
    }
    for (int i = 0; i < 3; ++i) {
      go.raise();
    }
    for (const auto& child : children) {
      EXPECT_EQ(child->join().exit_code, 1);
    }
    expect_whole(fixture.open());
  }
}

TEST(SegmentSteps, OpenersAndRemoversInDisorderNeverSplit) {
  constexpr int kRounds = 300;
  const Fixture fixture;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      for (int round = 0; round < kRounds; ++round) {
        const Segment segment = fixture.open();
        // Nobody can have taken the name away while we are attached.
        if (!has_name(fixture, segment)) {
          return 1;
        }
      }
      return 0;
    }));
  }
  children.push_back(std::make_unique<Child>([&] {
    for (int round = 0; round < kRounds; ++round) {
      static_cast<void>(fixture.remove());
    }
    return 0;
  }));
  for (const auto& child : children) {
    EXPECT_EQ(child->join().exit_code, 0);
  }
}

}  // namespace
}  // namespace quire::ipc
