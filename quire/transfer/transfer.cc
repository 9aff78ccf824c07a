// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/file.h"
#include "quire/sys/signals.h"
#include "quire/transfer/internal/choice.h"
#include "quire/transfer/internal/ends.h"
#include "quire/transfer/internal/extents.h"
#include "quire/transfer/internal/job.h"
#include "quire/transfer/internal/mover.h"
#include "quire/transfer/internal/receive_batching.h"
#include "quire/transfer/internal/source_cache.h"

namespace quire {
namespace {

using internal::Fault;
using internal::Job;
using internal::Step;

constexpr std::array<const char*, kTransferMethodCount> kNames{
    "automatic", "read_write",      "direct",  "mmap_write",   "sendfile",
    "splice",    "copy_file_range", "reflink", "msg_zerocopy", "send_zc"};

std::string describe(const Fault& fault) {
  const Error error = fault.error != 0 ? sys::to_error(sys::Errno{fault.error}, fault.operation, "")
                                       : make_error(fault.code, fault.operation, "");
  return fmt::format("{}: {}", fault.operation, error.cause());
}

// One transfer from its first byte to its last.
class Driver {
 public:
  Driver(Job& job, internal::Choice choice)
      : job_(job), methods_(std::move(choice.methods)), extents_(job), cache_(job), batching_(job) {
    job_.report().reason = std::move(choice.reason);
    start_method();
  }

  Result<void> run() {
    Result<void> outcome = move_all();
    // Whatever happened, nothing of ours may stay in the kernel's hands.
    const Step finished = mover_->finish();
    if (outcome && !finished.is_moved()) {
      outcome = fail(error_of(finished.fault));
    }
    if (outcome) {
      if (const Step settled = extents_.settle_size(); !settled.is_moved()) {
        outcome = fail(error_of(settled.fault));
      }
    }
    return outcome;
  }

 private:
  void start_method() {
    job_.report().method = methods_.front();
    mover_ = internal::make_mover(methods_.front(), job_);
  }

  [[nodiscard]] bool is_complete() const {
    return job_.source().length_bytes && job_.report().bytes == *job_.source().length_bytes;
  }

  Result<void> move_all() {
    bool has_ended = false;
    while (!has_ended && !is_complete()) {
      if (job_.is_stopped()) {
        return fail(error_of({.code = Errc::kCancelled}));
      }
      batching_.before_step();
      const std::uint64_t before_bytes = job_.report().bytes;
      const Step step = next_step();
      switch (step.end) {
        case Step::End::kMoved:
          QUIRE_CHECK_GT(job_.report().bytes, before_bytes);
          tell_progress();
          break;
        case Step::End::kSourceEnded: has_ended = QUIRE_TRY(confirm_end()); break;
        case Step::End::kRefused: QUIRE_TRY(fall_back(step.fault)); break;
        case Step::End::kFailed: return fail(error_of(step.fault));
      }
    }
    return {};
  }

  Step next_step() {
    const std::uint64_t end_bytes =
        end_of({job_.source().start_bytes, job_.source().length_bytes.value_or(kToEnd)});
    // Sharing blocks shares the holes, too.
    if (methods_.front() == TransferMethod::kReflink || !job_.source().is_sized) {
      return mover_->move(std::min(end_bytes - job_.source_offset(), step_limit()));
    }
    const auto extent = extents_.next(end_bytes);
    if (!extent) {
      return Step::source_ended();
    }
    const std::uint64_t length_bytes = extent->end_bytes - job_.source_offset();
    if (extent->is_hole) {
      return extents_.leave_out(length_bytes);
    }
    if (methods_.front() == TransferMethod::kDirect) {
      return mover_->move(std::min(length_bytes, step_limit()));
    }
    cache_.before_step();
    const Step step = mover_->move(std::min(length_bytes, step_limit()));
    cache_.after_step();
    return step;
  }

  // Where the end is not known, a step is what one call may be asked for.
  [[nodiscard]] std::uint64_t step_limit() const {
    const std::uint64_t step_bytes = mover_->step_bytes();
    return job_.source().is_sized ? step_bytes : std::min(step_bytes, kTransferStepBytes);
  }

  // Whether the source has really ended, as the method says. True: it has, and that is right so.
  Result<bool> confirm_end() {
    if (is_shorter_than_promised()) {
      return fail(truncated());
    }
    if (job_.source().is_placed()) {
      std::array<std::byte, 1> probe{};
      std::size_t got = 0;
      if (const Step read = job_.read_piece(probe, 0, got); !read.is_moved()) {
        return fail(error_of(read.fault));
      }
      if (got > 0) {
        QUIRE_TRY(fall_back(
            {.operation = "it moved nothing although the source goes on", .error = EOPNOTSUPP}));
        return false;
      }
    }
    if (job_.source().length_bytes) {
      return fail(truncated());
    }
    return true;
  }

  [[nodiscard]] bool is_shorter_than_promised() {
    if (!job_.source().is_sized || !job_.source().is_regular()) {
      return false;
    }
    job_.count_call();
    const auto status = sys::file_status(job_.source().fd);
    return status && status->size_bytes < job_.source().start_bytes + *job_.source().length_bytes;
  }

  Result<void> fall_back(const Fault& fault) {
    if (const Step finished = mover_->finish(); !finished.is_moved()) {
      return fail(error_of(finished.fault));
    }
    const std::string cause = describe(fault);
    if (methods_.size() == 1) {
      return fail(make_error(Errc::kUnsupported, operation(), subject(), cause,
                             "leave the method to quire"));
    }
    job_.report().fallbacks.push_back(
        {.method = methods_.front(), .at_bytes = job_.report().bytes, .cause = cause});
    job_.report().reason = internal::reason_after(methods_.front(), cause);
    methods_.erase(methods_.begin());
    start_method();
    return {};
  }

  void tell_progress() const {
    if (job_.options().on_progress) {
      job_.options().on_progress(
          {.done_bytes = job_.report().bytes, .total_bytes = job_.source().length_bytes});
    }
  }

  [[nodiscard]] std::string operation() const {
    return fmt::format("transfer by {}", name_of(methods_.front()));
  }

  [[nodiscard]] std::string subject() const {
    const std::string ends = internal::describe(job_.source(), job_.target());
    return job_.source().is_placed() ? fmt::format("{}, offset {}", ends, job_.source_offset())
                                     : fmt::format("{}, after {} bytes", ends, job_.report().bytes);
  }

  [[nodiscard]] Error error_of(const Fault& fault) const {
    if (fault.error == 0) {
      return make_error(fault.code, operation(), subject());
    }
    return sys::to_error(sys::Errno{fault.error},
                         fmt::format("{}: {}", operation(), fault.operation), subject());
  }

  [[nodiscard]] Error truncated() const {
    const std::uint64_t wanted_bytes = *job_.source().length_bytes;
    if (!job_.source().is_placed()) {
      return make_error(
          Errc::kTruncated, operation(), subject(),
          fmt::format("the source ended after {} of {} bytes", job_.report().bytes, wanted_bytes));
    }
    const auto status = sys::file_status(job_.source().fd);
    const bool has_size = job_.source().is_sized && status;
    const std::uint64_t size_bytes = has_size ? status->size_bytes : job_.source_offset();
    return make_error(
        Errc::kTruncated, operation(), subject(),
        fmt::format("the source ends at {} now, before offset {}, where it was to be read to",
                    size_bytes, job_.source().start_bytes + wanted_bytes),
        "somebody truncated it under way; start again");
  }

  Job& job_;
  std::vector<TransferMethod> methods_;  // The one in use first.
  internal::Extents extents_;
  internal::SourceCacheCare cache_;
  internal::ReceiveBatching batching_;
  std::unique_ptr<internal::Mover> mover_;
};

Result<void> run(Job& job) {
  std::optional<sys::HeldBrokenPipe> no_signal;
  if (job.target().is_pipe() || job.target().is_socket()) {
    no_signal.emplace();
  }
  auto choice = QUIRE_TRY(internal::choose_methods(job.source(), job.target(), job.options()));
  Result<void> outcome = Driver(job, std::move(choice)).run();
  if (job.target().moves_position) {
    job.count_call();
    const auto moved = sys::set_file_position(job.target().fd, job.target_offset());
    if (outcome && !moved) {
      outcome =
          fail(sys::to_error(moved.error(), "transfer: lseek", sys::path_of(job.target().fd)));
    }
  }
  return outcome;
}

}  // namespace

const char* name_of(TransferMethod method) noexcept {
  const auto index = static_cast<std::size_t>(method);
  QUIRE_CHECK_LT(index, kNames.size());
  return kNames[index];
}

std::optional<TransferMethod> transfer_method_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) {
      return static_cast<TransferMethod>(i);
    }
  }
  return std::nullopt;
}

Result<TransferReport> transfer(const TransferSource& source, const TransferTarget& target,
                                const TransferOptions& options) {
  TransferReport own;
  TransferReport& report = options.so_far != nullptr ? *options.so_far : own;
  report = {};
  auto from = QUIRE_TRY(internal::look_at_source(source, report.system_calls));
  auto to = QUIRE_TRY(internal::look_at_target(target, report.system_calls));
  QUIRE_TRY(internal::check_overlap(from, to));
  Job job(std::move(from), std::move(to), options, report);
  QUIRE_TRY(run(job));
  return report;
}

}  // namespace quire
