// SPDX-License-Identifier: Apache-2.0
//
// Service's half that takes jobs from the application's threads.
#include <optional>
#include <utility>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire::internal {

Ticket Service::flush(AreaState& area, ByteRange range, Sync sync, Durability durability) {
  auto job = std::make_unique<FlushJob>();
  const GranuleSpan stretch = area.stretch_of(range);
  area.begin_service();
  job->area = &area;
  job->first = stretch.first;
  job->end = stretch.end();
  job->cursor = job->first;
  job->syncs = sync == Sync::kYes;
  job->durability = durability;
  const Ticket ticket = job->source.ticket();
  {
    // A signal's handler that faults in here would wait for the thread that waits for the mutex.
    const sys::BlockedSignals blocked;
    const MutexLock lock(jobs_mutex_);
    new_flushes_.push_back(std::move(job));
  }
  wake();
  return ticket;
}

Ticket Service::prefetch(AreaState& area, std::span<const ByteRange> ranges) {
  auto job = std::make_unique<PrefetchJob>();
  area.begin_service();
  job->area = &area;
  job->maps = maps_demand(area);  // The reader has time for a minor fault; this thread has none.
  for (const ByteRange& range : ranges) {
    const GranuleSpan stretch = area.stretch_of(range);
    if (stretch.count > 0) {
      job->spans.push_back(stretch);
    }
  }
  const Ticket ticket = job->source.ticket();
  {
    const sys::BlockedSignals blocked;  // As in flush().
    const MutexLock lock(jobs_mutex_);
    new_prefetches_.push_back(std::move(job));
  }
  wake();
  return ticket;
}

namespace {

CommitRequest request_of(std::span<AreaState* const> areas) {
  CommitRequest request;
  for (AreaState* const area : areas) {
    area->begin_service();
    area->commit()->pending_commits.fetch_add(1);
    request.areas.push_back(area);
  }
  return request;
}

}  // namespace

Result<void> Service::commit(std::span<AreaState* const> areas) {
  CommitRequest request = request_of(areas);
  if (const std::optional<Result<void>> outcome = committer_->run(request)) {
    return *outcome;
  }
  return enqueue(std::move(request)).wait();
}

Ticket Service::commit_async(std::span<AreaState* const> areas) {
  return enqueue(request_of(areas));
}

Ticket Service::enqueue(CommitRequest request) {
  Ticket ticket = request.source.emplace().ticket();
  {
    const sys::BlockedSignals blocked;  // As in flush().
    const MutexLock lock(jobs_mutex_);
    new_commits_.push_back(std::move(request));
  }
  wake();
  return ticket;
}

void Service::pass() {
  const sys::BlockedSignals blocked;
  Ticket::Source source;
  const Ticket passed = source.ticket();
  {
    const MutexLock lock(jobs_mutex_);
    new_passages_.push_back(std::move(source));
  }
  wake();
  static_cast<void>(passed.wait());
}

void Service::inspect(std::function<void()> look) {
  const sys::BlockedSignals blocked;
  Ticket::Source source;
  const Ticket seen = source.ticket();
  {
    const MutexLock lock(jobs_mutex_);
    new_inspections_.push_back({std::move(look), std::move(source)});
  }
  wake();
  static_cast<void>(seen.wait());
}

}  // namespace quire::internal
