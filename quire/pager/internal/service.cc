// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/service.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/sys/event.h"
#include "quire/sys/fork.h"
#include "quire/sys/process.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kEventTag = ~std::uint64_t{0};
constexpr std::uint64_t kTimerTag = kEventTag - 1;
constexpr std::uint64_t kGuardianTag = kEventTag - 2;

// What many requests together keep a device busy with; more only wait in its queue.
constexpr std::uint32_t kQueueDepth = 128;
// For stores that the kernel cannot read by itself; made only when there are such. Spills may wait
// for room in a journal: faults and the commit that makes room must find a thread beside them.
constexpr std::uint32_t kStoreThreads = 12;
static_assert(kStoreThreads >= WriteBack::kSpillsMax + 4);
// How often whoever is parked, or a failed write-back, is looked at again.
constexpr std::chrono::milliseconds kRetry{100};

std::atomic<bool> g_is_forked_child{false};
std::atomic<bool> g_has_service{false};

}  // namespace

bool Service::is_in_forked_child() noexcept {
  return g_is_forked_child.load();
}

Service::Service(PagerCore& core) : core_(core) {}

Result<std::unique_ptr<Service>> Service::start(PagerCore& core) {
  std::unique_ptr<Service> service(new Service(core));
  QUIRE_TRY(service->open());
  try {
    service->thread_ = std::thread([raw = service.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return fail(Error({.code = error.code(), .operation = "pager", .subject = "its thread"}));
  }
  return service;
}

Result<void> Service::open() {
  const auto to_result = [](const auto& outcome, const char* what) -> Result<void> {
    return outcome ? Result<void>()
                   : Result<void>(fail(sys::to_error(outcome.error(), "pager", what)));
  };
  g_has_service.store(true);
  QUIRE_TRY(to_result(sys::on_fork_in_child([] { g_is_forked_child.store(g_has_service.load()); }),
                      "pthread_atfork"));
  queue_ = QUIRE_TRY(IoQueue::make({.depth = kQueueDepth, .thread_count = kStoreThreads}));
  sys::Outcome<sys::Poller> poller = sys::Poller::open();
  QUIRE_TRY(to_result(poller, "epoll"));
  poller_.emplace(std::move(*poller));
  sys::Outcome<sys::Descriptor> event = sys::create_event(sys::EventReads::kNeverBlock);
  QUIRE_TRY(to_result(event, "eventfd"));
  event_ = std::move(*event);
  sys::Outcome<sys::Descriptor> timer = sys::create_timer();
  QUIRE_TRY(to_result(timer, "timerfd"));
  timer_ = std::move(*timer);
  QUIRE_TRY(to_result(poller_->add(event_.get(), kEventTag), "epoll"));
  QUIRE_TRY(to_result(poller_->add(timer_.get(), kTimerTag), "epoll"));
  write_back_ = std::make_unique<WriteBack>(core_, *queue_);
  read_ahead_ = std::make_unique<ReadAhead>(core_, *queue_);
  committer_ = std::make_unique<Committer>(core_, *queue_);
  messages_ = std::make_unique<MessageDelivery>(core_, *read_ahead_, *committer_);
  return {};
}

Service::~Service() {
  if (thread_.joinable()) {
    is_ending_.store(true);
    sys::signal_event(event_);
    thread_.join();
  }
}

// --- From other threads -------------------------------------------------------------------------

void Service::wake() noexcept {
  if (!is_signalled_.exchange(true)) {
    sys::signal_event(event_);
  }
}

void Service::note_dirty() noexcept {
  // The first dirty page sets the clock; many want write-back now.
  if (!is_timer_wanted_.exchange(true) || core_.dirty_bytes() > core_.dirty_start_bytes.load()) {
    wake();
  }
}

void Service::serve_handed_over(PageId page, Need need) noexcept {
  HandedFault fault{.page = page, .need = need};
  handed_.push(fault);
  wake();
  fault.await_end();
}

void Service::offer(AreaState& area, const FillPlan& plan) noexcept {
  if (plan.ahead_count == 0) {
    return;
  }
  const bool is_sure = plan.windows().front().span.count * 2 >=
                       core_.geometry.granules_in(core_.geometry.window_bytes);
  for (const AheadWindow& window : plan.windows()) {
    if (!read_ahead_->offer(area, window, is_sure)) {
      break;
    }
  }
  wake();
}

Result<void> Service::add_area(AreaState& area) {
  if (area.is_inline()) {
    return {};
  }
  const sys::Outcome<void> added = poller_->add(area.frames->faults().fd(), area.page_id(0));
  return added ? Result<void>() : fail(sys::to_error(added.error(), "epoll", area.store->name()));
}

void Service::remove_area(AreaState& area) noexcept {
  if (!area.is_inline()) {
    static_cast<void>(poller_->remove(area.frames->faults().fd()));
  }
}

Result<void> Service::watch_guardian() {
  const int end = core_.guardian.end_descriptor();
  const sys::Outcome<void> added = end < 0 ? sys::Outcome<void>() : poller_->add(end, kGuardianTag);
  return added || added.error().value == EEXIST
             ? Result<void>()
             : fail(sys::to_error(added.error(), "epoll", "guardian process"));
}

void Service::unwatch_guardian() noexcept {
  static_cast<void>(poller_->remove(core_.guardian.end_descriptor()));
}

// --- The thread ---------------------------------------------------------------------------------

void Service::run() noexcept {
  sys::block_signals_in_this_thread();
  sys::name_this_thread("quire-pager");
  arm_await();
  while (!is_ending_.load()) {
    if (round()) {
      static_cast<void>(queue_->poll());
    } else if (!is_ending_.load()) {  // Looked at again: this round may have taken its signal.
      be_inspected();
      await_work();
    }
  }
  while (!deliveries_.empty()) {
    deliver_all();
    std::this_thread::yield();
  }
  // The await is made to end: what it waits for is there.
  sys::signal_event(event_);
  queue_->drain();
}

// What one look around finds to do. True: look again before sleeping.
bool Service::round() {
  if (was_readable_) {
    on_readable();
    arm_await();  // Rounds may follow each other for long, and faults come in between.
  }
  take_jobs();
  core_.recorder.drain();
  bool is_busy = messages_->has_parked() && messages_->serve_parked();
  is_busy = messages_->serve_handed(handed_.take_all()) || is_busy;
  is_busy = keep_room() || is_busy;
  is_busy = write_back() || is_busy;
  is_busy = step_flushes() || is_busy;
  is_busy = committer_->step() || is_busy;
  is_busy = read_ahead_->step() || is_busy;
  deliver_all();
  return set_timer() || is_busy;
}

void Service::note_poison(PageId page) {
  const MutexLock lock(poison_mutex_);
  poisoned_.push_back(page);
  has_poison_.store(true);
}

// The next access tries again, as it would with the kernel.
void Service::end_poison() {
  std::vector<PageId> pages;
  {
    const MutexLock lock(poison_mutex_);
    pages.swap(poisoned_);
    has_poison_.store(false);
  }
  for (const PageId page : pages) {
    if (AreaState* area = core_.evictor.enter_area(page)) {
      core_.filler.unpoison(*area, AreaState::index_of(page));
      area->end_service();
    }
  }
}

void Service::be_inspected() {
  if (!read_ahead_->is_idle() || !write_back_->is_idle() || !flushes_.empty() ||
      !committer_->await_idle()) {
    return;
  }
  for (Inspection& inspection : inspections_) {
    inspection.look();
    deliver(std::move(inspection.source), {});
  }
  inspections_.clear();
  deliver_all();
  static_cast<void>(set_timer());
}

void Service::deliver(Ticket::Source source, Result<void> outcome) {
  deliveries_.push_back({std::move(source), std::move(outcome)});
}

void Service::deliver_all() {
  std::erase_if(deliveries_,
                [](Delivery& delivery) { return delivery.source.try_resolve(delivery.outcome); });
}

void Service::arm_await() {
  await_ = {.operation = IoOperation::kAwaitReadable,
            .fd = poller_->fd(),
            .on_done =
                [](IoRequest& request) {
                  auto& self = *static_cast<Service*>(request.context);
                  self.was_readable_ = true;
                },
            .context = this};
  queue_->submit(await_);
}

void Service::await_work() {
  if (!was_readable_) {
    static_cast<void>(queue_->wait(1));
  }
}

void Service::on_readable() {
  was_readable_ = false;
  std::array<std::uint64_t, sys::Poller::kReadyMax> tags{};
  const sys::Outcome<std::size_t> count = poller_->ready(tags);
  for (std::size_t i = 0; count && i < *count; ++i) {
    if (tags[i] == kEventTag) {
      // Taken before it is looked around: what comes after this line signals again.
      sys::clear_signals(event_);
      is_signalled_.store(false);
    } else if (tags[i] == kTimerTag) {
      sys::clear_signals(timer_);
      is_timer_set_ = false;
      is_age_due_ = true;
      end_poison();
    } else if (tags[i] == kGuardianTag) {
      core_.guardian.note_end();
      static_cast<void>(poller_->remove(core_.guardian.end_descriptor()));
    } else if (AreaState* area = core_.evictor.enter_area(tags[i])) {
      static_cast<void>(messages_->serve(*area));
      area->end_service();
    }
  }
}

void Service::take_jobs() {
  std::vector<std::unique_ptr<PrefetchJob>> prefetches;
  {
    const MutexLock lock(jobs_mutex_);
    for (auto& job : new_flushes_) {
      write_back_->begin(*job);
      flushes_.push_back(std::move(job));
    }
    new_flushes_.clear();
    prefetches.swap(new_prefetches_);
    std::ranges::move(new_inspections_, std::back_inserter(inspections_));
    new_inspections_.clear();
    for (CommitRequest& request : new_commits_) {
      committer_->add(std::move(request));
    }
    new_commits_.clear();
    for (Ticket::Source& passed : new_passages_) {
      deliver(std::move(passed), {});
    }
    new_passages_.clear();
  }
  for (auto& job : prefetches) {
    read_ahead_->add(std::move(job));
  }
}

// Room ahead of time, so that faults find credits. One batch a round: others wait, too.
bool Service::keep_room() {
  if (core_.credits.free_bytes() >= core_.geometry.low_bytes && !is_making_room_) {
    return false;
  }
  is_making_room_ = core_.credits.free_bytes() < core_.geometry.high_bytes;
  if (!is_making_room_) {
    return false;
  }
  const Evictor::Room room = core_.evictor.make_room(Evictor::kBatch);
  is_making_room_ = room.evicted > 0;
  return room.evicted > 0;
}

bool Service::write_back() {
  bool began = false;
  std::array<PageId, 512> pages;
  const auto most = std::min<std::size_t>(pages.size(), write_back_->batch_granules());
  const auto batch = std::span(pages).first(most);
  // What stands in the way of a fault first.
  while (write_back_->has_room() && !write_back_->is_pausing()) {
    const std::size_t count = core_.evictor.take_dirty(batch);
    if (count == 0 || write_back_->start(batch.first(count), AfterWrite::kEvict) == 0) {
      break;
    }
    began = true;
  }
  if (is_age_due_ && sweep_left_ == 0) {
    sweep_left_ = core_.dirty_granules.load();
  }
  is_age_due_ = false;
  while (write_back_->has_room() && !write_back_->is_pausing() &&
         (sweep_left_ > 0 || core_.dirty_bytes() > core_.dirty_start_bytes.load())) {
    const bool is_much = core_.dirty_bytes() > core_.dirty_start_bytes.load();
    const std::size_t count =
        write_back_->sweep(batch, is_much ? Evictor::Reason::kMuch : Evictor::Reason::kOld);
    if (count == 0 || write_back_->start(batch.first(count), AfterWrite::kKeep) == 0) {
      sweep_left_ = count == 0 ? 0 : sweep_left_;
      break;
    }
    sweep_left_ -= std::min<std::uint64_t>(sweep_left_, count);
    began = true;
  }
  return began;
}

bool Service::step_flushes() {
  bool got_further = false;
  // Before a granule is marked: whoever ends its transition after that wakes this thread.
  is_flush_awaiting_.store(!flushes_.empty());
  for (auto& job : flushes_) {
    while (write_back_->step(*job)) {
      got_further = true;
    }
  }
  std::erase_if(flushes_, [&](const std::unique_ptr<FlushJob>& job) {
    if (job->step != FlushJob::Step::kDone) {
      return false;
    }
    write_back_->end(*job);
    job->area->end_service();
    return true;
  });
  return got_further;
}

// Armed only while there is something to come back for. True: somebody has just been parked; who
// makes progress says so from now on, and what was made before is to be looked at.
bool Service::set_timer() {
  const bool is_stuck = messages_->has_parked() || write_back_->is_pausing() ||
                        has_poison_.load() || !deliveries_.empty();
  const bool was_retrying = is_retrying_.exchange(is_stuck);
  if (is_stuck != was_retrying) {
    is_timer_set_ = false;
  }
  if (core_.dirty_granules.load() == 0) {
    is_timer_wanted_.store(false);
    // A page that became dirty before this line was counted, or wants the timer again.
    if (core_.dirty_granules.load() > 0) {
      is_timer_wanted_.store(true);
    }
  }
  const bool is_wanted = is_stuck || is_timer_wanted_.load();
  if (is_wanted == is_timer_set_) {
    return is_stuck && !was_retrying;
  }
  const std::chrono::nanoseconds interval =
      is_stuck ? std::chrono::nanoseconds(kRetry)
               : std::chrono::nanoseconds(core_.options.dirty_age_max);
  const std::chrono::nanoseconds least = std::chrono::milliseconds(1);
  is_timer_set_ = is_wanted;
  static_cast<void>(
      sys::set_timer(timer_, is_wanted ? std::max(interval, least) : std::chrono::nanoseconds(0)));
  return is_stuck && !was_retrying;
}

}  // namespace quire::internal
