// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/ipc_steps.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <memory>

#include "quire/base/check.h"
#include "quire/ipc/step.h"

namespace quire::testing {
namespace {

// A word that the parent and its children share.
class SharedWord {
 public:
  SharedWord() {
    void* memory = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    word_ = new (memory) std::atomic<int>(0);
  }
  ~SharedWord() { ::munmap(word_, sizeof(std::atomic<int>)); }
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;

  std::atomic<int>& operator*() const { return *word_; }

 private:
  std::atomic<int>* word_;
};

// Three operations that others can see.
int count_to_three(std::atomic<int>& word) {
  QUIRE_IPC_STEP("count.begin");
  word = 1;
  QUIRE_IPC_STEP("count.one");
  word = 2;
  QUIRE_IPC_STEP("count.two");
  word = 3;
  return 0;
}

const std::vector<std::string> kSteps{"count.begin", "count.one", "count.two"};

TEST(IpcStepsTest, TheBodyIsKilledAtEachStepInTurnAndThenEnds) {
  std::vector<int> seen;
  const std::vector<std::string> names = at_every_step(AtStep::kKill, [&] {
    auto word = std::make_shared<SharedWord>();
    return StepRound{.body = [word] { return count_to_three(**word); },
                     .check = [word, &seen](SteppedChild&) { seen.push_back(**word); }};
  });
  EXPECT_EQ(names, kSteps);
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3}));
}

TEST(IpcStepsTest, AStoppedBodyGoesOnWhenItIsToldTo) {
  std::vector<int> seen;
  at_every_step(AtStep::kStop, [&] {
    auto word = std::make_shared<SharedWord>();
    return StepRound{.body = [word] { return count_to_three(**word); },
                     .check =
                         [word, &seen](SteppedChild& child) {
                           seen.push_back(**word);
                           if (child.was_reached()) {
                             child.resume();
                           }
                           EXPECT_EQ(child.end().exit_code, 0);
                           EXPECT_EQ(**word, 3);
                         }};
  });
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3}));
}

TEST(IpcStepsTest, AStoppedBodyThatNobodyResumesIsKilledWithItsObject) {
  const SharedWord word;
  {
    const SteppedChild child(AtStep::kStop, 2, [&] { return count_to_three(*word); });
    EXPECT_EQ(child.step(), "count.one");
    EXPECT_EQ(::kill(child.pid(), 0), 0);
  }
  EXPECT_EQ(*word, 1);
}

TEST(IpcStepsTest, StepsAreSeenInOrderByAVisitorAndNotAfterIt) {
  const SharedWord word;
  std::vector<int> seen;
  {
    const StepVisitor visitor([&](const char*) { seen.push_back(*word); });
    count_to_three(*word);
  }
  count_to_three(*word);
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(steps_of([&] { count_to_three(*word); }), kSteps);
}

}  // namespace
}  // namespace quire::testing
