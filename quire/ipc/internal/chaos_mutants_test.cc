// SPDX-License-Identifier: Apache-2.0
//
// Structures that break a promise, each in its own way: chaos must catch every one of them.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/ipc/internal/chaos_channel.h"
#include "quire/ipc/internal/chaos_lock.h"
#include "quire/ipc/internal/chaos_news.h"
#include "quire/ipc/internal/chaos_referee.h"
#include "quire/ipc/internal/chaos_turns.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/seed.h"

namespace quire::ipc::internal {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// A limit: each mutant is caught within a second or so.
constexpr double kMutantSeconds = 60;

AssertionResult has_no_children() {
  return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? AssertionSuccess()
                                                                : AssertionFailure();
}

struct Object {
  std::array<std::byte, 200> bytes;
};
using Ring = SpscRing<Object>;

class GoodWriter : public ChaosWriter {
 public:
  explicit GoodWriter(Ring::Writer opened) : writer(std::move(opened)) {}
  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    QUIRE_TRY(writer.wait(options));
    message.write_to(writer.reserve().front().bytes);
    writer.commit();
    return {};
  }

  Ring::Writer writer;
};

class GoodReader : public ChaosReader {
 public:
  explicit GoodReader(Ring::Reader opened) : reader(std::move(opened)) {}
  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    QUIRE_TRY(reader.wait(options));
    return reader.peek().front().bytes;
  }
  void release() override { reader.release(); }
  bool is_idle() override { return reader.peek().empty(); }
  bool is_sound() override { return !reader.is_corrupt(); }

  Ring::Reader reader;
};

template <typename Writer, typename Reader>
ChaosChannel channel_of() {
  return {.name = "mutant",
          .object = [](const std::string& name) { return Ring::object(name, {.capacity = 8}); },
          .open_writer = [](const Segment& segment,
                            const std::string& name) -> Result<std::unique_ptr<ChaosWriter>> {
            return std::make_unique<Writer>(QUIRE_TRY(Ring::writer(segment, name)));
          },
          .open_reader = [](const Segment& segment,
                            const std::string& name) -> Result<std::unique_ptr<ChaosReader>> {
            return std::make_unique<Reader>(QUIRE_TRY(Ring::reader(segment, name)));
          }};
}

ChaosOptions mutant_options() {
  return {.seconds = kMutantSeconds,
          .seed = testing::test_seed(),
          .pause = std::chrono::milliseconds(1)};
}

// The first violation; "" when there was none.
template <typename Game, typename... Arguments>
std::string caught(const ChaosOptions& options, Arguments&&... arguments) {
  ChaosGames games;
  games.push_back(std::make_unique<Game>(std::forward<Arguments>(arguments)...));
  const ChaosReport report = ChaosReferee::make(options, std::move(games)).value().run().value();
  EXPECT_TRUE(has_no_children());
  return report.violations.empty() ? "" : report.violations.front();
}

template <typename Writer, typename Reader>
std::string caught_channel() {
  return caught<ChannelGame>(mutant_options(), channel_of<Writer, Reader>());
}

void expect_says(const std::string& text, const char* part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(ChaosMutantTest, TheRingThatTheMutantsAreMadeOfIsGood) {
  ChaosOptions options = mutant_options();
  options.seconds = 1;
  const auto good = channel_of<GoodWriter, GoodReader>();
  EXPECT_EQ(caught<ChannelGame>(options, good), "");
}

class PublishesBeforeTheCopy : public GoodWriter {
 public:
  using GoodWriter::GoodWriter;
  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    QUIRE_TRY(writer.wait(options));
    const std::span<std::byte> bytes = writer.reserve().front().bytes;
    writer.commit();
    message.write_to(bytes);
    return {};
  }
};

TEST(ChaosMutantTest, AMessageThatIsPublishedBeforeItIsCopiedIsNoticed) {
  const std::string said = caught_channel<PublishesBeforeTheCopy, GoodReader>();
  expect_says(said, "mutant: ");  // Torn, or still the one that was there before.
}

class ReleasesBeforeUse : public GoodReader {
 public:
  using GoodReader::GoodReader;
  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    QUIRE_TRY(reader.wait(options));
    copy_ = reader.peek().front();
    reader.release();
    std::this_thread::yield();
    return copy_.bytes;
  }
  void release() override {}

 private:
  Object copy_;
};

TEST(ChaosMutantTest, AMessageThatIsReleasedBeforeItIsUsedIsLostWithItsReader) {
  const std::string said = caught_channel<GoodWriter, ReleasesBeforeUse>();
  expect_says(said, "was acknowledged");
}

class DropsWhenFull : public GoodWriter {
 public:
  using GoodWriter::GoodWriter;
  Result<void> send(const ChaosMessage& message, const WaitOptions& /*options*/) override {
    if (auto room = writer.reserve(); !room.empty()) {
      message.write_to(room.front().bytes);
      writer.commit();
    }
    return {};
  }
};

TEST(ChaosMutantTest, AnAcknowledgedMessageThatNeverComesIsALoss) {
  const std::string said = caught_channel<DropsWhenFull, GoodReader>();
  expect_says(said, "was acknowledged");
}

class SendsTwice : public GoodWriter {
 public:
  using GoodWriter::GoodWriter;
  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    QUIRE_TRY(GoodWriter::send(message, options));
    return message.number % 100 == 0 ? GoodWriter::send(message, options) : Result<void>();
  }
};

TEST(ChaosMutantTest, AMessageThatComesTwiceIsNoticed) {
  const std::string said = caught_channel<SendsTwice, GoodReader>();
  expect_says(said, "had come and been released");
}

class Crashes : public GoodReader {
 public:
  using GoodReader::GoodReader;
  void release() override {
    std::signal(SIGSEGV, SIG_DFL);
    static_cast<void>(std::raise(SIGSEGV));
  }
};

TEST(ChaosMutantTest, ACrashIsTold) {
  const std::string said = caught_channel<GoodWriter, Crashes>();
  expect_says(said, "reader was ended by SIGSEGV, which we did not send");
}

class SleepsForEver : public GoodReader {
 public:
  using GoodReader::GoodReader;
  Result<std::span<const std::byte>> receive(const WaitOptions& /*options*/) override {
    for (;;) {
      pause();
    }
  }
};

TEST(ChaosMutantTest, WhoHangsIsNamedWithWhoIsWaitingBesideHim) {
  ChaosOptions options = mutant_options();
  options.hang_after = std::chrono::milliseconds(500);
  options.pause = std::chrono::hours(1);  // A process that is replaced has not hung for long.
  const auto channel = channel_of<GoodWriter, SleepsForEver>();
  const std::string said = caught<ChannelGame>(options, channel);
  expect_says(said, "writer 0 (pid ");
  expect_says(said, "is sending, or waiting for room since");
  expect_says(said, "reader (pid ");
  expect_says(said, "is waiting for a message since");
}

// Recovery left out: a word that a dead owner leaves behind.
class ForgetsTheDead : public ChaosLock {
 public:
  explicit ForgetsTheDead(const ObjectRef& object)
      : object_(object), word_(*reinterpret_cast<std::atomic<int>*>(object_.bytes().data())) {}
  Result<Ownership> lock(const WaitOptions& /*options*/) override {
    for (int free = 0; !word_.compare_exchange_strong(free, 1); free = 0) {
      std::this_thread::yield();
    }
    return Ownership::kClean;
  }
  Result<void> mark_consistent() override { return {}; }
  Result<void> unlock() override {
    word_ = 0;
    return {};
  }

 private:
  ObjectRef object_;
  std::atomic<int>& word_;
};

class KeepsNobodyOut : public ForgetsTheDead {
 public:
  using ForgetsTheDead::ForgetsTheDead;
  Result<Ownership> lock(const WaitOptions& /*options*/) override { return Ownership::kClean; }
};

template <typename Lock>
ChaosLockKind word_lock() {
  return {.name = "mutant",
          .object =
              [](const std::string& name) {
                return ObjectSpec{.name = name, .signature = "word", .size_bytes = 64};
              },
          .open = [](const Segment& segment,
                     const std::string& name) -> Result<std::unique_ptr<ChaosLock>> {
            return std::make_unique<Lock>(QUIRE_TRY(segment.find(name, ObjectKind::kUser, "word")));
          }};
}

TEST(ChaosMutantTest, ALockThatADeadOwnerKeepsHangsTheOthers) {
  ChaosOptions options = mutant_options();
  options.hang_after = std::chrono::milliseconds(500);
  // All of them are replaced now and then, but far from every half second.
  options.pause = std::chrono::milliseconds(400);
  const std::string said = caught<LockGame>(options, word_lock<ForgetsTheDead>());
  expect_says(said, "is waiting for the lock since");
}

TEST(ChaosMutantTest, ALockThatKeepsNobodyOutIsNoticed) {
  const std::string said = caught<LockGame>(mutant_options(), word_lock<KeepsNobodyOut>());
  EXPECT_FALSE(said.empty());
}

// The library's, but for what it says after a death.
class HidesTheDeath : public ChaosLock {
 public:
  explicit HidesTheDeath(Mutex mutex) : mutex_(std::move(mutex)) {}
  Result<Ownership> lock(const WaitOptions& options) override {
    if (QUIRE_TRY(mutex_.lock(options)) == Ownership::kOwnerDied) {
      QUIRE_TRY(mutex_.mark_consistent());
    }
    return Ownership::kClean;
  }
  Result<void> mark_consistent() override { return {}; }
  Result<void> unlock() override { return mutex_.unlock(); }

 private:
  Mutex mutex_;
};

TEST(ChaosMutantTest, ADeathInsideThatNobodyIsToldOfIsNoticed) {
  ChaosLockKind kind = chaos_mutex();
  kind.open = [](const Segment& segment,
                 const std::string& name) -> Result<std::unique_ptr<ChaosLock>> {
    return std::make_unique<HidesTheDeath>(QUIRE_TRY(Mutex::open(segment, name)));
  };
  const std::string said = caught<LockGame>(mutant_options(), kind);
  expect_says(said, "was not told of a death");
}

// Forgets what it skipped.
class TellsOfNoMisses : public ChaosViewer {
 public:
  explicit TellsOfNoMisses(std::unique_ptr<ChaosViewer> viewer) : viewer_(std::move(viewer)) {}
  Result<ChaosSight> look(const WaitOptions& options) override {
    ChaosSight sight = QUIRE_TRY(viewer_->look(options));
    sight.missed = 0;
    sight.number = number_++;
    return sight;
  }
  bool is_sound() override { return viewer_->is_sound(); }

 private:
  std::unique_ptr<ChaosViewer> viewer_;
  std::uint64_t number_ = 0;
};

TEST(ChaosMutantTest, WhatAViewerMissedAndWasNotToldOfIsNoticed) {
  ChaosNewsKind kind = chaos_news().front();
  kind.open_viewer = [open = kind.open_viewer](
                         const Segment& segment, const std::string& name,
                         bool from_oldest) -> Result<std::unique_ptr<ChaosViewer>> {
    return std::make_unique<TellsOfNoMisses>(QUIRE_TRY(open(segment, name, from_oldest)));
  };
  const std::string said = caught<NewsGame>(mutant_options(), kind);
  expect_says(said, "nobody told that");
}

// A value that is kept to be shown again.
class ShowsTheValueBefore : public ChaosViewer {
 public:
  explicit ShowsTheValueBefore(std::unique_ptr<ChaosViewer> viewer) : viewer_(std::move(viewer)) {}
  Result<ChaosSight> look(const WaitOptions& options) override {
    ChaosSight sight = QUIRE_TRY(viewer_->look(options));
    before_.swap(now_);
    now_.assign(sight.bytes.begin(), sight.bytes.end());
    if (!before_.empty()) {
      sight.bytes = before_;
    }
    return sight;
  }
  bool is_sound() override { return viewer_->is_sound(); }

 private:
  std::unique_ptr<ChaosViewer> viewer_;
  std::vector<std::byte> before_;
  std::vector<std::byte> now_;
};

TEST(ChaosMutantTest, AValueThatIsOlderThanWhatWasAcknowledgedIsNoticed) {
  ChaosNewsKind kind = chaos_news().back();
  kind.open_viewer = [open = kind.open_viewer](
                         const Segment& segment, const std::string& name,
                         bool from_oldest) -> Result<std::unique_ptr<ChaosViewer>> {
    return std::make_unique<ShowsTheValueBefore>(QUIRE_TRY(open(segment, name, from_oldest)));
  };
  const std::string said = caught<NewsGame>(mutant_options(), kind);
  expect_says(said, "blackboard: message ");
}

TEST(ChaosMutantTest, AnEventThatIsNotSetNowAndThenIsNoticed) {
  ChaosEventKind kind = chaos_event();
  kind.set = [](Event& event, std::uint64_t turn) {
    if (turn % 1000 != 999) {
      event.set();
    }
  };
  ChaosOptions options = mutant_options();
  options.hang_after = std::chrono::seconds(1);
  options.pause = std::chrono::seconds(10);  // A successor would set it.
  const std::string said = caught<TurnsGame>(options, kind);
  expect_says(said, "is waiting for its event since");
  expect_says(said, "'s turn");
}

}  // namespace
}  // namespace quire::ipc::internal
