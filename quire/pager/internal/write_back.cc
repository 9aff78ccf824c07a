// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/write_back.h"

#include <algorithm>
#include <cerrno>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

// Batches under way: the other windows are for reads.
constexpr std::uint32_t kBatches = 4;
// A store that refuses writes is not asked again and again.
constexpr std::chrono::milliseconds kPause{1000};

// A fault is just making it writable: others may have stored to it already, and their flush() must
// not pass it by. It is soon over.
bool may_become_dirty(GranuleWord word) noexcept {
  return word.state() == GranuleState::kFilling ||
         (word.state() == GranuleState::kClean && word.has(GranuleWord::kLocked));
}

}  // namespace

WriteBack::WriteBack(PagerCore& core, IoQueue& queue)
    : core_(core),
      queue_(queue),
      batch_granules_(core.geometry.granules_in(core.geometry.window_bytes)),
      pace_({.dirty_start_bytes = core.geometry.dirty_start_bytes,
             .dirty_max_bytes = core.geometry.dirty_max_bytes,
             .dirty_least_bytes = kBatches * core.geometry.window_bytes,
             .backlog_time_max = core.options.write_back_time_max}) {
  runs_.resize(batch_granules_);
  collected_.resize(batch_granules_);
  for (std::uint32_t i = 0; i < kBatches; ++i) {
    batches_.push_back(std::make_unique<Batch>());
    batches_.back()->owner = this;
    batches_.back()->runs.reserve(batch_granules_);
    idle_.push_back(batches_.back().get());
  }
}

WriteBack::~WriteBack() {
  QUIRE_CHECK(is_idle());
}

std::uint64_t WriteBack::all_done_up_to() const noexcept {
  return under_way_.empty() ? last_started_ : under_way_.front()->number - 1;
}

bool WriteBack::is_pausing() const noexcept {
  return failed_at_ && std::chrono::steady_clock::now() - *failed_at_ < kPause;
}

// --- Beginning ----------------------------------------------------------------------------------

std::size_t WriteBack::start(std::span<PageId> pages, AfterWrite after) {
  const std::optional<std::uint32_t> slot = core_.windows->try_take();
  if (!slot) {
    return 0;
  }
  Batch& batch = *idle_.back();
  idle_.pop_back();
  batch.slot = *slot;
  batch.number = ++last_started_;
  batch.after = after;
  batch.pending = 1;  // Until everything is begun.
  batch.used_bytes = 0;
  batch.runs.clear();
  under_way_.push_back(&batch);
  const std::size_t count =
      make_runs(pages.first(std::min(pages.size(), batch_granules_)), batch_granules_, runs_);
  for (std::size_t i = 0; i < count; ++i) {
    begin_run(batch, runs_[i]);
  }
  std::size_t began = 0;
  for (const Run& run : batch.runs) {
    began += run.count;
  }
  end_batch(batch);
  return began;
}

// Page numbers that follow each other may still be of two areas: never, since an area's numbers end
// far before the next one's begin.
void WriteBack::begin_run(Batch& batch, GranuleRun pages) {
  AreaState* area = core_.evictor.enter_area(pages.first);
  if (area == nullptr) {
    return;
  }
  const bool is_entered = area->commit() != nullptr && area != collecting_;
  if (is_entered && !area->commit()->try_begin_write()) {
    area->end_service();
    return;
  }
  const std::uint64_t first = AreaState::index_of(pages.first);
  GranuleSpan part{first, 0};
  bool protects = false;
  for (std::uint64_t i = first; i <= first + pages.count; ++i) {
    const auto begun =
        i == first + pages.count ? GranuleTable::BeginWrite::kRefused : area->table.begin_write(i);
    const bool protects_this = begun == GranuleTable::BeginWrite::kProtect;
    const bool goes_on =
        begun != GranuleTable::BeginWrite::kRefused && part.count > 0 && protects_this == protects;
    if (goes_on) {
      ++part.count;
      continue;
    }
    if (part.count > 0) {
      begin_part(batch, *area, part, protects);
    }
    part = {i, begun == GranuleTable::BeginWrite::kRefused ? 0U : 1U};
    protects = protects_this;
  }
  if (is_entered) {
    area->commit()->end_write();
  }
  area->end_service();
}

// Granules that are in kWriting now.
void WriteBack::begin_part(Batch& batch, AreaState& area, GranuleSpan part, bool protects) {
  const ByteRange stored = area.stored_of(part.first, part.count);
  const std::uint64_t inside = (stored.length_bytes + area.granule.mask()) >> area.granule.shift();
  if (inside < part.count) {
    put_back(area, {part.first + inside, part.count - inside}, protects);
    part.count = inside;
  }
  if (part.count == 0) {
    return;
  }
  area.begin_service();
  if (area.commit() != nullptr) {
    area.commit()->begin_another_write();
  }
  batch.runs.push_back(
      {.batch = &batch, .area = &area, .first = part.first, .count = part.count, .request = {}});
  ++batch.pending;
  Run& run = batch.runs.back();
  if (copy_out(run, protects)) {
    submit(run);
  } else {
    fail(run, make_error(Errc::kFailed, "write back", area.store->name(),
                         "its memory could not be protected and copied"));
  }
}

// Dirty again: a resize() has cut them off, and is about to drop them unless the store refuses.
void WriteBack::put_back(AreaState& area, GranuleSpan part, bool protects) {
  for (std::uint64_t i = part.first; i < part.end(); ++i) {
    if (protects) {
      area.table.written_protected(i);
    }
    area.table.finish_write(i, false);
  }
  core_.written.advance();
}

bool WriteBack::copy_out(Run& run, bool protects) {
  AreaState& area = *run.area;
  const ByteRange memory = area.memory_of(run.first, run.count);
  bool is_protected = true;
  if (protects) {
    is_protected = area.frames->protect(memory.offset_bytes, memory.length_bytes).has_value();
    for (std::uint64_t i = run.first; i < run.first + run.count; ++i) {
      area.table.written_protected(i);
    }
  }
  const std::span<std::byte> buffer =
      core_.windows->bytes(run.batch->slot).subspan(run.batch->used_bytes, memory.length_bytes);
  run.batch->used_bytes += run.count << area.granule.shift();
  // Without the protection a store would go unseen: the granules stay dirty.
  if (!is_protected || !area.frames->fetch(memory.offset_bytes, buffer)) {
    return false;
  }
  const ByteRange stored = area.stored_of(run.first, run.count);
  run.request = {
      .store = area.store.get(),
      .operation = IoOperation::kWrite,
      .offset_bytes = stored.offset_bytes,
      .memory = buffer.first(std::min<std::uint64_t>(stored.length_bytes, buffer.size())),
      .on_done = on_done,
      .context = &run};
  return true;
}

void WriteBack::submit(Run& run) {
  AreaState& area = *run.area;
  if (const Result<void> allowed = area.check_zeros(); !allowed) {
    fail(run, allowed.error());
    return;
  }
  area.note_written(run.request.offset_bytes + run.request.memory.size());
  area.counters.writes.add();
  area.counters.write_bytes.add(run.request.memory.size());
  if (area.commit() != nullptr) {
    area.commit()->has_uncommitted.store(true);
    area.counters.spilled_bytes.add(run.request.memory.size());
  }
  (area.commit() != nullptr ? ready_spills_ : ready_).push_back(&run);
  pump();
}

void WriteBack::pump() {
  while (!ready_spills_.empty() && spills_under_way_ < kSpillsMax && pace_.may_begin()) {
    ++spills_under_way_;
    hand_over_first(ready_spills_);
  }
  while (!ready_.empty() && pace_.may_begin()) {
    hand_over_first(ready_);
  }
}

void WriteBack::hand_over_first(std::deque<Run*>& runs) {
  Run& run = *runs.front();
  runs.pop_front();
  run.began = std::chrono::steady_clock::now();
  pace_.begun(run.began);
  queue_.submit(run.request);
}

void WriteBack::keep_pace(const Run& run, std::uint64_t written_bytes) {
  const WritePace::Moment now = std::chrono::steady_clock::now();
  pace_.completed(written_bytes, now - run.began, now);
  core_.dirty_start_bytes.store(pace_.dirty_start_bytes(), std::memory_order_relaxed);
  core_.dirty_max_bytes.store(pace_.dirty_max_bytes(), std::memory_order_relaxed);
}

// --- Ending -------------------------------------------------------------------------------------

void WriteBack::on_done(IoRequest& request) {
  Run& run = *static_cast<Run*>(request.context);
  WriteBack& self = *run.batch->owner;
  const Result<std::uint64_t> result = request.result();
  self.keep_pace(run, result.value_or(0));
  self.spills_under_way_ -= run.area->commit() != nullptr ? 1 : 0;
  self.pump();
  if (result) {
    self.finish(run, true);
  } else {
    self.fail(run, cause_of(run, result.error()));
  }
}

// A journal that has failed has more to say than a request's code does.
Error WriteBack::cause_of(const Run& run, const Error& error) {
  if (run.area->commit() != nullptr && error.code() == Errc::kFailed) {
    if (const Result<void> usable = run.area->store->sync(Durability::kStarted); !usable) {
      return usable.error();
    }
  }
  return error;
}

// The granules stay dirty, and may be stored to: what is dirty is not protected.
void WriteBack::fail(Run& run, const Error& error) {
  AreaState& area = *run.area;
  area.note_write_error(error);
  for (FlushJob* job : flushes_) {
    const bool is_meant =
        job->area == &area && run.first < job->end && run.first + run.count > job->first;
    if (is_meant && !job->error) {
      job->error = error;
    }
  }
  core_.write_back_errno.store(
      error.code().category() == std::system_category() ? error.code().value() : EIO);
  const ByteRange memory = area.memory_of(run.first, run.count);
  // Where this is refused the view is going, and nobody stores to it any more.
  static_cast<void>(area.frames->allow_writes(memory.offset_bytes, memory.length_bytes));
  finish(run, false);
}

void WriteBack::finish(Run& run, bool was_written) {
  AreaState& area = *run.area;
  Batch& batch = *run.batch;
  for (std::uint64_t i = run.first; i < run.first + run.count; ++i) {
    const GranuleState state = area.table.finish_write(i, was_written);
    if (state == GranuleState::kDirty && was_written) {
      area.counters.redirtied.add();
    } else if (state == GranuleState::kClean && batch.after == AfterWrite::kEvict &&
               area.table.begin_evict(i)) {
      area.core->evictor.evict_one(area, i);
    }
  }
  if (was_written) {
    failed_at_.reset();
    core_.is_write_back_failing.store(false);
  } else {
    failed_at_ = std::chrono::steady_clock::now();
    core_.counters.write_errors.add();
    core_.is_write_back_failing.store(true);
  }
  if (area.commit() != nullptr) {
    area.commit()->end_write();
  }
  area.end_service();
  core_.written.advance();
  end_batch(batch);
}

void WriteBack::end_batch(Batch& batch) {
  if (--batch.pending > 0) {
    return;
  }
  core_.windows->give_back(batch.slot);
  under_way_.erase(std::ranges::find(under_way_, &batch));
  idle_.push_back(&batch);
}

// --- What to write ------------------------------------------------------------------------------

std::size_t WriteBack::sweep(std::span<PageId> into, Evictor::Reason reason) {
  return core_.evictor.collect_dirty(sweep_from_, into, reason);
}

bool WriteBack::collect(FlushJob& job) {
  if (!has_room()) {
    return false;
  }
  if (job.area->commit() == nullptr) {
    return collect_now(job);
  }
  if (!job.area->commit()->try_begin_write()) {
    return false;  // The end of the commit is a reason to look again.
  }
  collecting_ = job.area;
  const bool has_collected = collect_now(job);
  collecting_ = nullptr;
  job.area->commit()->end_write();
  return has_collected;
}

bool WriteBack::collect_now(FlushJob& job) {
  AreaState& area = *job.area;
  std::size_t count = 0;
  std::uint64_t i = job.cursor;
  while (i < job.end && count < batch_granules_) {
    i = area.table.next_in_use(i);
    if (i >= job.end) {
      break;
    }
    if (area.table.dirty_in_leaf(i) == 0) {
      i = (i / GranuleTable::kLeafGranules + 1) * GranuleTable::kLeafGranules;
      continue;
    }
    const GranuleWord word = area.table.word(i);
    if (may_become_dirty(word)) {
      if (count > 0) {
        break;  // What was found goes out first.
      }
      if (area.table.mark_awaited(i)) {
        job.cursor = i;
        return false;
      }
      continue;
    }
    job.saw_writing = job.saw_writing || word.state() == GranuleState::kWriting;
    if (word.state() == GranuleState::kDirty) {
      collected_[count++] = area.page_id(i);
    }
    ++i;
  }
  if (count > 0 && start(std::span(collected_).first(count), AfterWrite::kKeep) == 0 &&
      !core_.windows->free_count()) {
    return false;  // No window was free: the same granules again, later.
  }
  job.cursor = std::min(i, job.end);
  if (job.cursor >= job.end) {
    job.awaited_batch = last_started_;
    job.step = FlushJob::Step::kAwait;
  }
  return true;
}

bool WriteBack::step(FlushJob& job) {
  switch (job.step) {
    case FlushJob::Step::kCollect: return collect(job);
    case FlushJob::Step::kAwait:
      if (all_done_up_to() < job.awaited_batch) {
        return false;
      }
      if (job.pass == 1 && job.saw_writing) {
        job.pass = 2;
        job.cursor = job.first;
        job.step = FlushJob::Step::kCollect;
      } else {
        job.step = FlushJob::Step::kSync;
      }
      return true;
    case FlushJob::Step::kSync: {
      if (const Result<void> allowed = job.area->check_zeros(); !allowed && !job.error) {
        job.error = allowed.error();
      }
      if (!job.error && job.area->table.dirty_count() == 0) {
        job.area->clear_write_error();  // What could not be written once has been by now.
      }
      if (job.error || !job.syncs) {
        core_.service->deliver(job.source,
                               job.error ? Result<void>(quire::fail(*job.error)) : Result<void>());
        job.step = FlushJob::Step::kDone;
        return true;
      }
      job.sync_request = {
          .store = job.area->store.get(),
          .operation = IoOperation::kSync,
          .durability = job.durability,
          .on_done =
              [](IoRequest& request) {
                auto& self = *static_cast<FlushJob*>(request.context);
                const Result<std::uint64_t> synced = request.result();
                if (!synced) {
                  self.area->note_write_error(synced.error());
                }
                self.source.resolve(synced ? Result<void>() : quire::fail(synced.error()));
                self.step = FlushJob::Step::kDone;
              },
          .context = &job};
      job.step = FlushJob::Step::kAwaitSync;
      queue_.submit(job.sync_request);
      return true;
    }
    case FlushJob::Step::kAwaitSync:
    case FlushJob::Step::kDone: break;
  }
  return false;
}

}  // namespace quire::internal
