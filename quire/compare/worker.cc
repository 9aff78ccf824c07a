// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/worker.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <exception>
#include <span>

#include "quire/compare/internal/wire.h"
#include "quire/sys/child.h"
#include "quire/sys/file.h"
#include "quire/sys/transfer_calls.h"

namespace quire::compare {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kOperation = "measure";
// How often a stop is asked for; also how late it is noticed.
constexpr int kPollMs = 100;
// Time for a killed process to go. One that waits for a device that does not answer cannot.
constexpr double kGoneWithinS = 5;
// The report is a page or so of text; it fits whole, so the child never waits for its reader.
constexpr std::size_t kPipeBytes = std::size_t{64} << 10;

struct ChildJob {
  const RoundWork* work;
  int report_fd;
};

Result<RoundReport> run_work(const RoundWork& work) {
  try {
    return work();
  } catch (const std::exception& error) {  // std::bad_alloc under the memory limit, above all.
    return fail(make_error(Errc::kFailed, kOperation, "round", error.what()));
  }
}

int run_job(void* argument) {
  const ChildJob& job = *static_cast<const ChildJob*>(argument);
  const std::string report = internal::to_wire(run_work(*job.work));
  return sys::write_all(job.report_fd, std::as_bytes(std::span(report))) ? 0 : 1;
}

enum class WatchEnd : std::uint8_t { kEnded, kStopped, kTimedOut };

// Collects what the child reports until it closes its end.
sys::Outcome<WatchEnd> watch(int fd, const std::function<bool()>& should_stop, double timeout_s,
                             std::string& report) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(timeout_s);
  std::array<std::byte, 4096> piece;
  for (;;) {
    if (should_stop && should_stop()) {
      return WatchEnd::kStopped;
    }
    if (Clock::now() >= deadline) {
      return WatchEnd::kTimedOut;
    }
    const sys::PollResult ready = QUIRE_TRY(sys::wait_readable(fd, kPollMs));
    if (ready == sys::PollResult::kTimedOut) {
      continue;
    }
    const std::size_t count = QUIRE_TRY(sys::read_some(fd, piece));
    if (count == 0) {
      return WatchEnd::kEnded;
    }
    report.append(reinterpret_cast<const char*>(piece.data()), count);
  }
}

// Kills it and reaps it, or gives it up when even that does not end it.
void end_child(sys::Child& child, int fd) {
  static_cast<void>(child.kill());
  std::string ignored;
  const auto end = watch(fd, {}, kGoneWithinS, ignored);
  if (end && *end == WatchEnd::kEnded) {
    static_cast<void>(child.wait());
  } else {
    child.abandon();
  }
}

Error death_error(const sys::ChildEnd& end, const WorkerOptions& options,
                  std::optional<std::uint64_t> killed_before) {
  std::string cause = end.exit_code ? fmt::format("its process ended with code {}", *end.exit_code)
                                    : "its process was ended by " + sys::signal_name(end.signal);
  std::string remedy;
  if (options.bound != nullptr && killed_before &&
      options.bound->killed_processes() > killed_before) {
    cause = fmt::format("its process was killed: {} were not enough memory for it",
                        human_bytes(options.bound->limit_bytes()));
    remedy = "allow more with --memory";
  } else if (end.signal != 0 && sys::signal_name(end.signal) == "SIGBUS") {
    cause =
        "a mapped page could not be had (SIGBUS): the file became shorter, the disk is full "
        "behind a hole, or the device failed";
  }
  return make_error(Errc::kFailed, kOperation, options.subject, std::move(cause),
                    std::move(remedy));
}

}  // namespace

Result<RoundReport> run_in_worker(const RoundWork& work, const WorkerOptions& options) {
  auto pipe = sys::create_pipe(kPipeBytes, false);
  if (!pipe) {
    return fail(to_error(pipe.error(), kOperation, options.subject));
  }
  const auto killed_before =
      options.bound == nullptr ? std::nullopt : options.bound->killed_processes();
  ChildJob job{.work = &work, .report_fd = pipe->write_end.get()};
  auto child = sys::Child::start(run_job, &job);
  if (!child) {
    return fail(to_error(child.error(), "start a process", options.subject));
  }
  static_cast<void>(pipe->write_end.close());  // Or its end would not be the end.
  std::string report;
  const auto watched = watch(pipe->read_end.get(), options.should_stop, options.timeout_s, report);
  if (!watched || *watched != WatchEnd::kEnded) {
    end_child(*child, pipe->read_end.get());
  }
  if (!watched) {
    return fail(to_error(watched.error(), kOperation, options.subject));
  }
  if (*watched == WatchEnd::kStopped) {
    return fail(make_error(Errc::kCancelled, kOperation, options.subject));
  }
  if (*watched == WatchEnd::kTimedOut) {
    return fail(Error({.code = std::make_error_code(std::errc::timed_out),
                       .operation = kOperation,
                       .subject = options.subject,
                       .cause = fmt::format("no answer within {:.0f} s", options.timeout_s)}));
  }
  const auto end = child->wait();
  if (!end) {
    return fail(to_error(end.error(), "wait for a process", options.subject));
  }
  if (end->exit_code != 0) {
    return fail(death_error(*end, options, killed_before));
  }
  return internal::from_wire(report);
}

}  // namespace quire::compare
