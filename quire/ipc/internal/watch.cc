// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/watch.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "quire/sys/event.h"
#include "quire/sys/file.h"
#include "quire/sys/process.h"

namespace quire::ipc::internal {
namespace {

constexpr std::uint64_t kEventTag = 0;
constexpr std::uint64_t kProcessTag = 1;

// The thread of a Watcher, for as long as the process runs.
class WatcherThread {
 public:
  WatcherThread() : watcher_(std::make_shared<Watcher>()), process_id_(sys::process_id()) {
    try {
      thread_ = std::thread([watcher = watcher_] { watcher->run(); });
    } catch (const std::system_error&) {
      // No threads: no news.
    }
  }
  ~WatcherThread() {
    // Not ours to wait for: in a child of fork(), where it is not; and when a hook ends the
    // process.
    if (!is_of_this_process() || thread_.get_id() == std::this_thread::get_id()) {
      static_cast<void>(std::make_unique<std::thread>(std::move(thread_)).release());
      return;
    }
    watcher_->stop();
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  WatcherThread(const WatcherThread&) = delete;
  WatcherThread& operator=(const WatcherThread&) = delete;

  [[nodiscard]] const std::shared_ptr<Watcher>& watcher() const noexcept { return watcher_; }
  [[nodiscard]] bool is_of_this_process() const noexcept {
    return process_id_ == sys::process_id();
  }

 private:
  std::shared_ptr<Watcher> watcher_;
  int process_id_;
  std::thread thread_;
};

}  // namespace

Watch::Watch(std::shared_ptr<ParticipantTable> table, MemberId self)
    : table_(std::move(table)), self_(self) {}

Watch::~Watch() {
  const MutexLock lock(mutex_);
  for (Seen& seen : seen_) {
    forget(seen);
  }
}

// Whoever is dead now was dead before there was a hook, and is no news.
void Watch::begin() {
  watcher_ = Watcher::of_this_process();
  seen_.resize(table_->size());
  last_ids_.resize(table_->size());
  for (std::size_t slot = 0; slot < table_->size(); ++slot) {
    const auto who = table_->look_at(slot);
    if (who && who->liveness == Liveness::kAlive) {
      follow(slot);
    } else if (who) {
      last_ids_[slot] = who->id;
    }
  }
  watcher_->add(weak_from_this());
}

std::uint64_t Watch::add(Order order, Hook hook) {
  const MutexLock lock(mutex_);
  if (watcher_ == nullptr) {
    begin();
  }
  hooks_.push_back({.number = ++last_number_,
                    .order = order,
                    .run = std::make_shared<const Hook>(std::move(hook))});
  return last_number_;
}

void Watch::remove(std::uint64_t number) noexcept {
  const MutexLock lock(mutex_);
  std::erase_if(hooks_, [&](const NumberedHook& hook) { return hook.number == number; });
  while (running_ == number && looker_ != std::this_thread::get_id()) {
    idle_.wait(mutex_);
  }
}

void Watch::forget(Seen& seen) noexcept {
  if (seen.pidfd.is_open()) {
    watcher_->forget(seen.pidfd);
  }
  seen = {};
}

void Watch::follow(std::size_t slot) {
  const auto who = table_->look_at(slot);
  if (!who) {
    return;
  }
  last_ids_[slot] = who->id;
  if (who->id == self_) {
    return;
  }
  ProcessWatch process =
      watch_process({.pid = static_cast<std::uint32_t>(who->pid), .start_ticks = who->start_ticks});
  seen_[slot] = {.who = *who, .pidfd = std::move(process.pidfd)};
  if (seen_[slot].pidfd.is_open()) {
    watcher_->follow(seen_[slot].pidfd);
  }
}

// One who gave the slot back before its process ended has not died. When the slot is somebody
// else's already nobody can tell any more; then a death is told, since recoveries look for
// themselves and missing one would be worse.
bool Watch::has_died(std::size_t slot, const Seen& seen) noexcept {
  const auto state = sys::wait_readable(seen.pidfd.get(), 0);
  const bool has_ended = seen.pidfd.is_open()
                             ? state && *state != sys::PollResult::kTimedOut
                             : !is_alive({.pid = static_cast<std::uint32_t>(seen.who.pid),
                                          .start_ticks = seen.who.start_ticks});
  return has_ended && table_->look_at(slot).has_value();
}

std::vector<Participant> Watch::find_dead(Depth depth) {
  std::vector<Participant> dead;
  for (std::size_t slot = 0; slot < seen_.size(); ++slot) {
    Seen& seen = seen_[slot];
    const MemberId now = table_->last_in(slot);
    const bool is_same = now == seen.who.id;
    const bool is_worth_a_look = depth == Depth::kAll || !is_same || !seen.pidfd.is_open();
    if (!seen.who.id.is_nobody() && is_worth_a_look) {
      if (has_died(slot, seen)) {
        static_cast<void>(table_->liveness(seen.who.id));  // Marks the slot for others.
        dead.push_back(seen.who);
        dead.back().liveness = Liveness::kDead;
        forget(seen);
      } else if (!is_same) {
        forget(seen);
      }
    }
    if (!now.is_nobody() && now != last_ids_[slot]) {
      follow(slot);
    }
  }
  return dead;
}

void Watch::run_hooks(Order order, const Participant& dead) noexcept {
  std::vector<std::uint64_t> numbers;
  for (const NumberedHook& hook : hooks_) {
    if (hook.order == order) {
      numbers.push_back(hook.number);
    }
  }
  for (const std::uint64_t number : numbers) {
    const auto found = std::find_if(hooks_.begin(), hooks_.end(), [&](const NumberedHook& hook) {
      return hook.number == number;
    });
    if (found == hooks_.end()) {
      continue;  // Removed by a hook that ran meanwhile.
    }
    const std::shared_ptr<const Hook> run = found->run;
    running_ = number;
    mutex_.unlock();
    (*run)(dead);
    mutex_.lock();
    running_ = 0;
    idle_.notify_all();
  }
}

std::size_t Watch::look(Depth depth) noexcept {
  const MutexLock lock(mutex_);
  const std::thread::id self = std::this_thread::get_id();
  if (looker_ == self || watcher_ == nullptr) {
    return 0;
  }
  while (looker_ != std::thread::id()) {
    idle_.wait(mutex_);
  }
  looker_ = self;
  const std::vector<Participant> dead = find_dead(depth);
  for (const Order order : {Order::kRecovery, Order::kCallback}) {
    for (const Participant& participant : dead) {
      run_hooks(order, participant);
    }
  }
  looker_ = {};
  idle_.notify_all();
  return dead.size();
}

std::shared_ptr<Watcher> Watcher::of_this_process() {
  static quire::Mutex mutex;
  static std::unique_ptr<WatcherThread> current;
  const MutexLock lock(mutex);
  if (current == nullptr || !current->is_of_this_process()) {
    current = std::make_unique<WatcherThread>();
  }
  return current->watcher();
}

Watcher::Watcher() {
  auto event = sys::create_event(sys::EventReads::kNeverBlock);
  auto poller = sys::Poller::open();
  if (event && poller && poller->add(event->get(), kEventTag)) {
    event_ = std::move(*event);
    poller_ = std::make_unique<sys::Poller>(std::move(*poller));
  }
}

void Watcher::stop() noexcept {
  is_stopping_ = true;
  wake();
}

void Watcher::add(std::weak_ptr<Watch> watch) {
  {
    const MutexLock lock(mutex_);
    watches_.push_back(std::move(watch));
  }
  wake();
}

void Watcher::wake() noexcept {
  if (event_.is_open()) {
    sys::signal_event(event_);
  }
}

void Watcher::follow(const sys::Descriptor& pidfd) noexcept {
  if (poller_ != nullptr) {
    static_cast<void>(poller_->add(pidfd.get(), kProcessTag));
  }
}

// Closing it would not do where a child of fork() has a copy.
void Watcher::forget(const sys::Descriptor& pidfd) noexcept {
  if (poller_ != nullptr) {
    static_cast<void>(poller_->remove(pidfd.get()));
  }
}

void Watcher::look_at_all(Watch::Depth depth) noexcept {
  std::vector<std::shared_ptr<Watch>> all;
  {
    const MutexLock lock(mutex_);
    std::erase_if(watches_, [](const std::weak_ptr<Watch>& watch) { return watch.expired(); });
    for (const std::weak_ptr<Watch>& watch : watches_) {
      if (auto alive = watch.lock()) {
        all.push_back(std::move(alive));
      }
    }
  }
  for (const std::shared_ptr<Watch>& watch : all) {
    watch->look(depth);
  }
}

void Watcher::run() noexcept {
  sys::name_this_thread("quire-ipc-watch");
  while (poller_ != nullptr && !is_stopping_) {
    const auto state = sys::wait_readable(poller_->fd(), static_cast<int>(kLookAgain.count()));
    sys::clear_signals(event_);
    const bool has_news = state && *state != sys::PollResult::kTimedOut;
    look_at_all(has_news ? Watch::Depth::kAll : Watch::Depth::kNewcomers);
  }
}

}  // namespace quire::ipc::internal
