// SPDX-License-Identifier: Apache-2.0
//
// Whether a thread of this process sleeps: for tests of those that wait for each other.
//
// Thread-safety: any thread.
#pragma once

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

namespace quire::testing {

// The number of a thread, told by itself just before it does what puts it to sleep.
class ThreadNumber {
 public:
  void tell() { number_ = gettid(); }
  // Blocks until the thread has told it, and sleeps.
  void await_asleep() const {
    while (number_ == 0 || state() != 'S') {
      std::this_thread::yield();
    }
  }

 private:
  // The letter behind the name, which is in parentheses.
  [[nodiscard]] char state() const {
    std::ifstream file("/proc/self/task/" + std::to_string(number_) + "/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t end = line.rfind(')');
    return end == std::string::npos || end + 2 >= line.size() ? '?' : line[end + 2];
  }

  std::atomic<pid_t> number_{0};
};

}  // namespace quire::testing
