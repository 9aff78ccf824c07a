// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/committer.h"

#include <algorithm>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

// Images copied in one go: some 20 us, for which a fault that comes meanwhile waits.
constexpr std::uint64_t kSliceBytes = 64_KiB;

}  // namespace

Committer::Committer(PagerCore& core, IoQueue& queue) : core_(core), queue_(queue), cut_(core) {
  for (Chunk& chunk : chunks_) {
    chunk.owner = this;
  }
}

Committer::~Committer() {
  const sys::FutexLockGuard guard(lock_);
  QUIRE_CHECK(step_ == Step::kIdle && waiting_.empty() && driver_ == nullptr);
}

bool Committer::await_idle() {
  const sys::FutexLockGuard guard(lock_);
  const bool is_idle = step_ == Step::kIdle;
  is_awaited_ = !is_idle || is_awaited_;
  return is_idle;
}

void Committer::add(CommitRequest request) {
  const sys::FutexLockGuard guard(lock_);
  waiting_.push_back(std::move(request));
}

std::vector<Committer::Answer> Committer::take_answers() {
  const sys::FutexLockGuard guard(lock_);
  return std::exchange(answers_, {});
}

void Committer::deliver() {
  for (Answer& answer : take_answers()) {
    if (answer.turn != nullptr) {
      answer.turn->answer(std::move(answer.outcome));  // It waits without a lock.
    } else {
      core_.service->deliver(std::move(*answer.source), std::move(answer.outcome));
    }
  }
}

bool Committer::step() {
  bool got_further = false;
  for (bool goes_on = true; goes_on;) {
    const sys::FutexLockGuard guard(lock_);
    has_paused_ = false;
    const bool has_stepped = driver_ == nullptr && step_once();
    got_further = got_further || has_stepped;
    goes_on = has_stepped && !has_paused_;
  }
  deliver();
  return got_further;
}

bool Committer::step_once() {
  switch (step_) {
    case Step::kIdle:
      if (waiting_.empty() || !try_shut_updates()) {
        return false;
      }
      begin();
      return true;
    case Step::kQuiesce: return cut();
    case Step::kImages: return take_images();
    case Step::kLast:
      if (under_way_ > 0) {
        return false;
      }
      if (error_) {
        end();
        return true;
      }
      step_ = Step::kJournal;
      submit(*last_, call_commit);
      return true;
    case Step::kJournal: break;
  }
  return false;
}

// --- The cut ------------------------------------------------------------------------------------

// Before anything is held up: what an update needs until it ends may be written meanwhile.
bool Committer::try_shut_updates() {
  if (!std::exchange(are_updates_shut_, true)) {
    core_.updates.begin_shut();
  }
  return core_.updates.is_empty_or_wakes();
}

void Committer::open_updates() {
  if (std::exchange(are_updates_shut_, false)) {
    core_.updates.open();
  }
}

void Committer::begin() {
  journal_ = waiting_.front().areas.front()->commit()->journal.get();
  step_ = Step::kQuiesce;
  begun_ = Company::Clock::now();
  join();
}

void Committer::join() {
  std::deque<CommitRequest> others;
  for (CommitRequest& request : waiting_) {
    if (request.areas.front()->commit()->journal.get() != journal_) {
      others.push_back(std::move(request));
      continue;
    }
    for (AreaState* const area : request.areas) {
      if (std::ranges::find(areas_, area) == areas_.end()) {
        areas_.push_back(area);
        area->commit()->is_committing.store(true);
      }
    }
    requests_.push_back(std::move(request));
  }
  waiting_.swap(others);
}

bool Committer::cut() {
  join();
  const bool is_quiet =
      std::ranges::all_of(areas_, [](AreaState* area) { return !area->commit()->has_writes(); });
  if (!is_quiet || core_.windows->free_count() == 0) {
    return false;
  }
  refuse_unfit();
  if (areas_.empty()) {
    step_ = Step::kIdle;
    open_updates();
    pass_on();
    return true;
  }
  step_ = Step::kImages;
  if (!cut_.begin(areas_)) {
    error_ = make_error(Errc::kFailed, "commit", areas_.front()->store->name(),
                        "its memory could not be protected");
  }
  open_updates();  // What they store belongs to the next commit.
  return true;
}

std::optional<Error> Committer::unfitness(AreaState& area) {
  if (const Result<void> allowed = area.check_zeros(); !allowed) {
    return allowed.error();
  }
  if (const std::optional<ByteRange> pinned = area.commit()->try_shut_gate()) {
    return make_error(Errc::kFailed, "commit", area.store->name() + ", " + describe(*pinned),
                      "the range is pinned for writing: a store to it cannot be seen",
                      "release the WritablePin first");
  }
  return std::nullopt;
}

void Committer::refuse_unfit() {
  for (AreaState* const area : std::vector<AreaState*>(areas_)) {
    // Refusing one may have made others go, too.
    if (std::ranges::find(areas_, area) == areas_.end()) {
      continue;
    }
    if (const std::optional<Error> error = unfitness(*area)) {
      refuse(*area, *error);
    }
  }
}

// Whoever asked for this area, too, is refused; others are not.
void Committer::refuse(AreaState& area, const Error& error) {
  const auto names = [](const CommitRequest& request, const AreaState* which) {
    return std::ranges::find(request.areas, which) != request.areas.end();
  };
  std::vector<CommitRequest> refused;
  for (CommitRequest& request : std::exchange(requests_, {})) {
    (names(request, &area) ? refused : requests_).push_back(std::move(request));
  }
  for (AreaState* const other : std::vector<AreaState*>(areas_)) {
    const bool is_wanted = std::ranges::any_of(
        requests_, [&](const CommitRequest& request) { return names(request, other); });
    if (!is_wanted) {
      leave(*other);
      std::erase(areas_, other);
    }
  }
  for (CommitRequest& request : refused) {
    answer(request, fail(error));
  }
}

void Committer::leave(AreaState& area) {
  area.commit()->open_gate();
  is_awaited_ = area.commit()->end_commit() || is_awaited_;
}

// No other cut begins while the lock is held; a rollback, which does not take it, is kept out by
// the gate.
Filler::Store Committer::let_in(AreaState& area, std::uint64_t index) {
  const Filler::Store store = core_.filler.let_in(area, index);
  if (store != Filler::Store::kHeldUp) {
    return store;
  }
  AreaCommit& commit = *area.commit();
  const sys::FutexLockGuard guard(lock_);
  const InsideGate inside(&commit.stores);
  if (commit.is_frozen.load()) {
    return store;
  }
  if (!cut_.take_aside(area, index)) {
    is_awaited_ = true;
    return store;
  }
  return core_.filler.lift(area, index) ? Filler::Store::kLetIn : Filler::Store::kLookAgain;
}

// --- Images -------------------------------------------------------------------------------------

bool Committer::take_images() {
  if (error_) {
    drop_chunk();
    step_ = Step::kLast;
    return true;
  }
  if (filling_ == nullptr && !begin_chunk()) {
    return false;
  }
  if (!take_slice(*filling_)) {
    error_ = make_error(Errc::kFailed, "commit", areas_.front()->store->name(),
                        "its memory could not be copied");
    return true;
  }
  const bool has_room =
      filling_->used_bytes + core_.geometry.granule.bytes() <= core_.geometry.window_bytes;
  if (cut_.left() > 0 && has_room) {
    has_paused_ = true;
  } else {
    end_chunk();
  }
  return true;
}

bool Committer::begin_chunk() {
  const auto chunk =
      std::ranges::find_if(chunks_, [](const Chunk& some) { return !some.slot.has_value(); });
  const std::optional<std::uint32_t> slot =
      chunk == chunks_.end() ? std::nullopt : core_.windows->try_take();
  if (!slot) {
    return false;
  }
  chunk->slot = slot;
  chunk->used_bytes = 0;
  chunk->images.assign(areas_.size(), {});
  filling_ = &*chunk;
  return true;
}

bool Committer::take_slice(Chunk& chunk) {
  const std::span<std::byte> window = core_.windows->bytes(*chunk.slot).subspan(chunk.used_bytes);
  const std::uint64_t most = std::max(kSliceBytes, core_.geometry.granule.bytes());
  const std::optional<std::uint64_t> used_bytes =
      cut_.take(window.first(std::min<std::uint64_t>(window.size(), most)), chunk.images);
  chunk.used_bytes += used_bytes.value_or(0);
  return used_bytes.has_value();
}

void Committer::end_chunk() {
  Chunk& chunk = *std::exchange(filling_, nullptr);
  chunk.parts.clear();
  for (std::size_t i = 0; i < areas_.size(); ++i) {
    if (cut_.left() == 0 || !chunk.images[i].empty()) {
      chunk.parts.push_back({.file = areas_[i]->commit()->file, .images = chunk.images[i]});
    }
  }
  if (cut_.left() > 0) {
    has_staged_ = true;
    submit(chunk, call_stage);
    return;
  }
  for (AreaState* const area : areas_) {
    area->commit()->open_gate();
  }
  last_ = &chunk;
  step_ = Step::kLast;
}

void Committer::drop_chunk() {
  if (filling_ != nullptr) {
    give_back(*std::exchange(filling_, nullptr));
  }
}

void Committer::submit(Chunk& chunk, void (*call)(IoRequest& request)) {
  ++under_way_;
  chunk.journal = journal_;
  chunk.request = {
      .operation = IoOperation::kCall, .call = call, .on_done = on_done, .context = &chunk};
  queue_.submit(chunk.request);
}

void Committer::call_stage(IoRequest& request) {
  Chunk& chunk = *static_cast<Chunk*>(request.context);
  chunk.outcome = chunk.journal->stage(chunk.parts);
}

void Committer::call_commit(IoRequest& request) {
  Chunk& chunk = *static_cast<Chunk*>(request.context);
  const Result<std::uint64_t> committed = chunk.journal->commit(chunk.parts);
  chunk.outcome = committed ? Result<void>() : fail(committed.error());
}

void Committer::on_done(IoRequest& request) {
  Chunk& chunk = *static_cast<Chunk*>(request.context);
  {
    const sys::FutexLockGuard guard(chunk.owner->lock_);
    chunk.owner->done(chunk);
  }
  chunk.owner->deliver();
}

void Committer::done(Chunk& chunk) {
  --under_way_;
  if (!chunk.outcome && !error_) {
    error_ = chunk.outcome.error();
  }
  if (step_ == Step::kJournal) {
    end();
  } else {
    give_back(chunk);
  }
}

void Committer::give_back(Chunk& chunk) {
  core_.windows->give_back(*chunk.slot);
  chunk.slot.reset();
}

// --- The end ------------------------------------------------------------------------------------

void Committer::end() {
  cut_.finish(!error_.has_value());
  for (AreaState* const area : areas_) {
    if (error_) {
      area->note_write_error(*error_);
    } else {
      area->clear_write_error();
      area->counters.commits.add();
    }
    const bool was_staged = error_ && has_staged_;
    const bool has_more = error_ && area->commit()->has_uncommitted.load();
    area->commit()->has_uncommitted.store(was_staged || has_more);
    leave(*area);
  }
  if (!error_) {
    core_.is_write_back_failing.store(false);  // What it could not write is written.
  }
  if (last_ != nullptr) {
    give_back(*last_);
    last_ = nullptr;
  }
  const Result<void> outcome = error_ ? Result<void>(fail(*error_)) : Result<void>();
  error_.reset();
  has_staged_ = false;
  areas_.clear();
  step_ = Step::kIdle;
  const auto waited = std::ranges::count_if(
      requests_, [](const CommitRequest& request) { return request.turn != nullptr; });
  company_.note(static_cast<std::size_t>(waited), Company::Clock::now() - begun_);
  for (CommitRequest& request : std::exchange(requests_, {})) {
    answer(request, outcome);
  }
  pass_on();
}

void Committer::answer(CommitRequest& request, const Result<void>& outcome) {
  for (AreaState* const area : request.areas) {
    area->commit()->pending_commits.fetch_sub(1);
  }
  core_.written.advance();
  answers_.push_back({request.turn, std::move(request.source), outcome});
  for (AreaState* const area : request.areas) {
    area->end_service();
  }
}

}  // namespace quire::internal
