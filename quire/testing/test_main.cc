// SPDX-License-Identifier: Apache-2.0
//
// main() of every test program: prints the seed, and when a test does not end in time dumps the
// stack of every thread (with gdb where there is one) and aborts. A hang is a failure with
// evidence.
//
//   --seed=N, QUIRE_SEED=N   replay a run
//   --soak=N, QUIRE_SOAK_S=N go on for N seconds (soak.h)
//   QUIRE_TEST_TIMEOUT_S=N   how long a test, or a round of one, may take
//   QUIRE_NO_SKIP=1          a skipped test is a failure
//
// TempDirs of a run lie in a directory that goes with everything in it when the run ends: a child
// that dies, as in a death test, never comes to the end of its own.
//
// The watchdog is a thread, and forked children have none of their parent's threads: a child that
// hangs is found by the parent, who waits for it (process.h sees to it that both then end). Death
// tests re-run the program, and so bring a watchdog of their own.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"
#include "quire/testing/watchdog.h"

namespace quire::testing {
namespace {

constexpr int kTimeoutDefaultSeconds = 120;
// gdb reads symbols for a few seconds; when it is stuck itself, the test must still end.
constexpr unsigned kDebuggerSecondsMax = 25;

std::uint64_t g_seed = 0;

// No stdio here: the thread that hangs may hold its locks.
void dump_stacks() {
  const std::string pid = std::to_string(getpid());
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(kDebuggerSecondsMax);  // Survives exec.
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execlp("gdb", "gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", pid.c_str(),
           "-ex", "thread apply all backtrace", static_cast<char*>(nullptr));
    dprintf(STDERR_FILENO, "no gdb here: no stacks\n");
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
}

// Waits in a thread of its own; the end of the run wakes it.
class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  // Returns when the thread has nothing left to do but wait: a test that forks must not meet it
  // inside malloc, whose locks a sanitizer's child would inherit taken.
  explicit Watchdog(std::chrono::seconds limit) : thread_([this, limit] { watch(limit); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_watching_; });
  }
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      is_done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Does not wake the thread, for whatever forks next: it looks when its time is over.
  void feed() {
    const std::lock_guard lock(mutex_);
    fed_at_ = Clock::now();
  }

 private:
  void watch(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    is_watching_ = true;
    changed_.notify_all();
    for (Clock::time_point end = fed_at_ + limit; Clock::now() < end; end = fed_at_ + limit) {
      if (changed_.wait_until(lock, end, [this] { return is_done_; })) {
        return;
      }
    }
    dprintf(STDERR_FILENO, "\nhang: no end after %lld s; stacks of every thread:\n",
            static_cast<long long>(limit.count()));
    dump_stacks();
    std::abort();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_watching_ = false;
  bool is_done_ = false;
  Clock::time_point fed_at_ = Clock::now();
  std::thread thread_;  // Last: it uses the members above.
};

std::atomic<Watchdog*> g_watchdog = nullptr;  // There is one while tests run.

class FedByTests : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& /*test*/) override { feed_watchdog(); }
};

class NoSkips : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (test.result()->Skipped()) {
      ADD_FAILURE() << "skipped, and QUIRE_NO_SKIP allows none";
    }
  }
};

// What follows `option`, as in --seed=; nullptr: it is not there.
const char* find_option(int argc, char** argv, const std::string& option) {
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], option.c_str(), option.size()) == 0) {
      return argv[i] + option.size();
    }
  }
  return nullptr;
}

// The value of --seed=N, else QUIRE_SEED, else a fresh one.
std::uint64_t choose_seed(int argc, char** argv) {
  if (const char* text = find_option(argc, argv, "--seed=")) {
    return std::strtoull(text, nullptr, 0);
  }
  if (const char* text = std::getenv("QUIRE_SEED")) {
    return std::strtoull(text, nullptr, 0);
  }
  return std::random_device{}();
}

std::chrono::seconds choose_timeout() {
  const char* text = std::getenv("QUIRE_TEST_TIMEOUT_S");
  const int seconds = text != nullptr ? std::atoi(text) : 0;
  return std::chrono::seconds(seconds > 0 ? seconds : kTimeoutDefaultSeconds);
}

bool is_set(const char* variable) {
  const char* text = std::getenv(variable);
  return text != nullptr && std::strcmp(text, "") != 0 && std::strcmp(text, "0") != 0;
}

// From now on TempDir, also of children, makes its directories in here.
void make_temp_dirs_in(const TempDir& directory) {
  using std::filesystem::perms;
  // For tests that become another user.
  std::filesystem::permissions(directory.path(), perms::group_exec | perms::others_exec,
                               std::filesystem::perm_options::add);
  setenv("QUIRE_TEST_DIR", directory.path().c_str(), 1);
}

int run_tests(int argc, char** argv) {
  g_seed = choose_seed(argc, argv);
  const std::string seed = std::to_string(g_seed);
  setenv("QUIRE_SEED", seed.c_str(), 1);  // Death tests re-run the program: with the same seed.
  std::printf("seed: %s (replay with --seed=)\n", seed.c_str());
  std::fflush(stdout);
  if (const char* seconds = find_option(argc, argv, "--soak=")) {
    setenv("QUIRE_SOAK_S", seconds, 0);  // Which it does not override.
  }
  // The other style forks in the middle of a program with threads.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (is_set("QUIRE_NO_SKIP")) {
    ::testing::UnitTest::GetInstance()->listeners().Append(new NoSkips);  // Owned by the list.
  }
  ::testing::UnitTest::GetInstance()->listeners().Append(new FedByTests);  // So is this.
  const TempDir directory;
  make_temp_dirs_in(directory);
  Watchdog watchdog(choose_timeout());
  g_watchdog.store(&watchdog);
  const int exit_code = RUN_ALL_TESTS();
  g_watchdog.store(nullptr);
  return exit_code;
}

}  // namespace

std::uint64_t test_seed() noexcept {
  return g_seed;
}

void feed_watchdog() noexcept {
  if (Watchdog* const watchdog = g_watchdog.load()) {
    watchdog->feed();
  }
}

}  // namespace quire::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return GTEST_FLAG_GET(list_tests) ? RUN_ALL_TESTS() : quire::testing::run_tests(argc, argv);
}
