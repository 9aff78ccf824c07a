// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/area_commit.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "quire/base/check.h"
#include "quire/journal/journaled_store.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

constexpr std::chrono::milliseconds kNap{100};

}  // namespace

Result<std::shared_ptr<AreaCommit>> AreaCommit::make(std::shared_ptr<Journal> journal,
                                                     std::size_t file, JournalOwner owner) {
  JournaledStore& store = journal->file(file);
  if (!store.try_claim()) {
    return fail(Error({.code = std::make_error_code(std::errc::device_or_resource_busy),
                       .operation = "map for commits",
                       .subject = store.name(),
                       .cause = "it is mapped already: two areas would not see each other's stores",
                       .remedy = "share the area, or map a snapshot() of it"}));
  }
  return std::shared_ptr<AreaCommit>(new AreaCommit(std::move(journal), file, owner));
}

AreaCommit::~AreaCommit() {
  if (Service::is_in_forked_child()) {
    // For good: its thread was not inherited.
    static_cast<void>(new (std::nothrow) std::shared_ptr<Journal>(journal));
    return;
  }
  journal->file(file).give_up_claim();
}

// Whoever begins a commit says so, and then looks for writes; who begins a write does it the other
// way round: one of them sees the other.
bool AreaCommit::try_begin_write() noexcept {
  writes_under_way_.fetch_add(1);
  if (!holds_writes()) {
    return true;
  }
  is_write_waiting_.store(true);
  if (!holds_writes()) {
    return true;  // It has just ended, and may not have seen that.
  }
  writes_under_way_.fetch_sub(1);
  return false;
}

void AreaCommit::freeze() noexcept {
  stores.shut();
  is_frozen.store(true);
  stores.open();
}

// An application's signal handler that faults in here would wait for the service thread, and that
// one for the mutex.
void AreaCommit::enter_pin(ByteRange range) {
  const sys::BlockedSignals blocked;
  const MutexLock lock(mutex_);
  while (is_gate_shut_) {
    opened_.wait(mutex_);
  }
  pinned_.push_back(range);
}

void AreaCommit::leave_pin(ByteRange range) noexcept {
  const sys::BlockedSignals blocked;
  const MutexLock lock(mutex_);
  const auto mine = std::ranges::find(pinned_, range);
  QUIRE_CHECK(mine != pinned_.end());
  *mine = pinned_.back();
  pinned_.pop_back();
}

std::optional<ByteRange> AreaCommit::try_shut_gate() {
  const MutexLock lock(mutex_);
  if (!pinned_.empty()) {
    return pinned_.front();
  }
  is_gate_shut_ = true;
  return std::nullopt;
}

void AreaCommit::open_gate() noexcept {
  const MutexLock lock(mutex_);
  is_gate_shut_ = false;
  opened_.notify_all();
}

void AreaCommit::await_commits(WakePoint& progress) noexcept {
  for (;;) {
    const std::uint32_t seen = progress.generation();
    if (pending_commits.load() == 0) {
      return;
    }
    progress.wait(seen, kNap);
  }
}

void AreaCommit::drop_uncommitted() noexcept {
  static_cast<void>(journal->rollback({&file, 1}));  // Failed: then nothing of it is ever kept.
  has_uncommitted.store(false);
}

Result<void> AreaCommit::close() {
  const bool is_needed = owner == JournalOwner::kUser || journal->stats().snapshots > 0;
  return is_needed ? Result<void>() : journal->close();
}

}  // namespace quire::internal
