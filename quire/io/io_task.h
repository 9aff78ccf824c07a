// SPDX-License-Identifier: Apache-2.0
//
// IoTask: a coroutine of requests, written like blocking code and run by an IoQueue.
//
//   IoTask copy(IoQueue& queue, Store& from, Store& to, std::span<std::byte> buffer) {
//     for (std::uint64_t at = 0;; at += buffer.size()) {
//       const Result<std::uint64_t> bytes = co_await queue.read(from, at, buffer);
//       if (!bytes) co_return fail(bytes.error());
//       ...
//     }
//   }
//   std::vector<IoTask> tasks = ...;               // all of them have begun
//   for (IoTask& task : tasks) QUIRE_TRY(task.wait(queue));
//
//   started at once --> waiting for a request <--> running --> done (the result stays)
//
// The awaitables of IoQueue work with every coroutine type; this is the plain one for who has none.
//
// Invariants:    the frame lives as long as the IoTask; a task is done before it goes (checked:
//                the kernel writes into its memory).
// Thread-safety: the queue's thread.
// Cost:          one allocation, the coroutine's frame.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/result.h"
#include "quire/io/io_queue.h"

namespace quire {

class [[nodiscard]] IoTask {
 public:
  struct promise_type {  // NOLINT(readability-identifier-naming): the name the language wants.
    [[nodiscard]] IoTask get_return_object() {
      return IoTask(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_always final_suspend() const noexcept { return {}; }
    void return_value(Result<void> result) { outcome = std::move(result); }
    // No exception crosses the API; one that escapes a task is a bug of the task.
    void unhandled_exception() const noexcept { std::terminate(); }

    std::optional<Result<void>> outcome;
  };

  IoTask(IoTask&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  IoTask& operator=(IoTask&&) = delete;
  ~IoTask() {
    if (frame_) {
      QUIRE_CHECK(frame_.done());
      frame_.destroy();
    }
  }

  [[nodiscard]] bool is_done() const noexcept { return frame_.done(); }
  // Runs the queue until this task is done. Blocks. Errors: what the task returned.
  // REQUIRES: the task waits for this queue.
  Result<void> wait(IoQueue& queue) {
    while (!frame_.done()) {
      queue.wait();
    }
    return *frame_.promise().outcome;
  }

 private:
  explicit IoTask(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

}  // namespace quire
