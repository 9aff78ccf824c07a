// SPDX-License-Identifier: Apache-2.0
//
// send_zc: the source is mapped, and io_uring sends from its pages, piece after piece.
//
//   window 8 MiB = [ 2 MiB | 2 MiB | ... ]
//   each piece: a result (how much TCP took), later a notification (the pages are free; copied?)
//
// Nobody waits for a notification before the next piece: what is sent are the file's own pages,
// which the kernel holds; waiting made others five times slower (rsync #7600).
//
// Pieces are not linked: a linked send that is cancelled because the one before it was short gives
// a completion without "more", and a notification all the same (seen on 6.18).
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <unordered_map>

#include "quire/base/check.h"
#include "quire/sys/ring.h"
#include "quire/transfer/internal/mover.h"

namespace quire::internal {
namespace {

// The most that one send pins, a quarter of what an unprivileged user may lock by default; and the
// least that is worth a notification.
constexpr std::size_t kPieceBytesMost = 2 << 20;
constexpr std::size_t kPieceBytesLeast = 64 << 10;
// Notifications that may be on their way; both results and notifications must fit the queue.
constexpr std::size_t kNoticesMax = 64;
constexpr std::uint32_t kCompletionEntries = 256;
static_assert(kCompletionEntries >= 2 * (kNoticesMax + 1));
// How often a wait looks whether it should stop.
constexpr std::chrono::milliseconds kTick(50);

class RingSend final : public Mover {
 public:
  explicit RingSend(Job& job) : job_(job) {}

  ~RingSend() override {
    // After a failure: the peer may never take what it was given, and nobody waits for it.
    if (ring_ && ring_->in_flight() > 0) {
      ring_->abandon();
    }
  }

  Step move(std::uint64_t length_bytes) override {
    if (!ring_) {
      if (const Step opened = open_ring(); !opened.is_moved()) {
        return opened;
      }
    }
    return move_window(job_, length_bytes,
                       [this](std::span<const std::byte> bytes) { return send_window(bytes); });
  }

  Step finish() override {
    while (ring_ && ring_->in_flight() > 0) {
      if (const Step waited = wait_for_completions(); !waited.is_moved()) {
        return waited;
      }
    }
    return Step::moved();
  }

 private:
  Step open_ring() {
    job_.count_call();
    auto opened =
        sys::Ring::open({.submission_entries = 1, .completion_entries = kCompletionEntries});
    if (!opened) {
      return Step::refused({.operation = "io_uring_setup", .error = opened.error().value});
    }
    if (!opened->supports(sys::RingOperation::kSendZeroCopy)) {
      return Step::refused({.operation = "io_uring send_zc", .error = EOPNOTSUPP});
    }
    ring_.emplace(std::move(*opened));
    return Step::moved();
  }

  Step send_window(std::span<const std::byte> left) {
    Step sent = Step::moved();
    while (!left.empty() && sent.is_moved()) {
      const std::uint64_t before_bytes = job_.report().bytes;
      sent = send_piece(left.first(std::min(left.size(), piece_bytes_)));
      left = left.subspan(static_cast<std::size_t>(job_.report().bytes - before_bytes));
    }
    return sent;
  }

  Step send_piece(std::span<const std::byte> from) {
    while (sizes_.size() >= kNoticesMax) {
      if (const Step waited = wait_for_completions(); !waited.is_moved()) {
        return waited;
      }
    }
    ++tag_;
    result_.reset();
    const bool is_prepared = ring_->prepare_send_zero_copy(sys::ring_file(job_.target().fd), from,
                                                           std::nullopt, report_, {.tag = tag_});
    QUIRE_CHECK(is_prepared);  // The submission queue is empty here.
    while (!result_) {
      if (const Step waited = wait_for_completions(); !waited.is_moved()) {
        return waited;
      }
    }
    if (*result_ > 0) {
      count_sent(static_cast<std::uint64_t>(*result_));
      return Step::moved();
    }
    return after_refusal(-*result_);
  }

  // At least one completion, or a reason to give up.
  Step wait_for_completions() {
    std::chrono::milliseconds waited_for(0);
    for (;;) {
      job_.count_call();
      const auto ready = ring_->submit_and_wait(1, kTick);
      if (!ready) {
        return Step::failed({.operation = "io_uring_enter", .error = ready.error().value});
      }
      const auto taken =
          ring_->drain([this](const sys::Completion& completion) { take(completion); });
      if (!taken) {
        return Step::failed({.operation = "io_uring_enter", .error = taken.error().value});
      }
      if (*taken > 0) {
        return Step::moved();
      }
      waited_for += kTick;
      if (job_.is_stopped()) {
        return Step::failed({.code = Errc::kCancelled});
      }
      const int limit_ms = job_.options().stall_timeout_ms;
      if (limit_ms >= 0 && waited_for.count() >= limit_ms) {
        return Step::failed({.operation = "waiting for the target", .error = ETIMEDOUT});
      }
    }
  }

  void take(const sys::Completion& completion) {
    if (completion.is_notification) {
      if (const auto found = sizes_.find(completion.tag); found != sizes_.end()) {
        job_.add_copied(completion.was_copied ? found->second : 0);
        sizes_.erase(found);
      }
      return;
    }
    result_ = completion.result;
    if (completion.more && completion.result > 0) {
      sizes_.emplace(completion.tag, static_cast<std::size_t>(completion.result));
    }
  }

  void count_sent(std::uint64_t bytes) {
    if (report_ == sys::CopyReport::kAsked) {
      job_.moved(bytes, 0);
      is_report_proven_ = true;
    } else {
      job_.moved_with_unknown_copies(bytes);
    }
  }

  // kMoved: try again with what is left.
  Step after_refusal(int error) {
    if (error == EAGAIN) {
      return job_.wait_for_target();
    }
    if (error == EINTR) {
      return Step::moved();
    }
    if (error == EINVAL && report_ == sys::CopyReport::kAsked && !is_report_proven_) {
      report_ = sys::CopyReport::kNone;  // Before 6.2 the kernel cannot be asked.
      return Step::moved();
    }
    const bool is_short_of_memory = error == ENOBUFS || error == ENOMEM;
    if (is_short_of_memory && !sizes_.empty()) {
      return wait_for_completions();
    }
    if (is_short_of_memory && piece_bytes_ > kPieceBytesLeast) {
      piece_bytes_ /= 2;
      return Step::moved();
    }
    return refused_or_failed("io_uring send_zc", sys::Errno{error});
  }

  Job& job_;
  std::optional<sys::Ring> ring_;
  std::size_t piece_bytes_ = kPieceBytesMost;
  std::uint64_t tag_ = 0;  // Of the piece whose result is waited for.
  std::optional<std::int32_t> result_;
  std::unordered_map<std::uint64_t, std::size_t> sizes_;  // Sent, notification still to come.
  sys::CopyReport report_ = sys::CopyReport::kAsked;
  bool is_report_proven_ = false;
};

}  // namespace

std::unique_ptr<Mover> make_ring_send(Job& job) {
  return std::make_unique<RingSend>(job);
}

}  // namespace quire::internal
