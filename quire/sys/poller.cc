// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/poller.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

using internal::run;
using internal::run_void;

Outcome<Poller> Poller::open() noexcept {
  return run(Call::kPoller, [](const CallSite&) { return ::epoll_create1(EPOLL_CLOEXEC); })
      .map([](int fd) { return Poller(Descriptor(fd)); });
}

Outcome<void> Poller::add(int fd, std::uint64_t tag) noexcept {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = tag}};
  return run_void(Call::kPoller,
                  [&] { return ::epoll_ctl(this->fd(), EPOLL_CTL_ADD, fd, &event); });
}

Outcome<void> Poller::remove(int fd) noexcept {
  return run_void(Call::kPoller,
                  [&] { return ::epoll_ctl(this->fd(), EPOLL_CTL_DEL, fd, nullptr); });
}

Outcome<std::size_t> Poller::ready(std::span<std::uint64_t> tags) noexcept {
  std::array<epoll_event, kReadyMax> events;
  const std::size_t count_max = std::min(tags.size(), events.size());
  if (count_max == 0) {
    return 0;
  }
  const int count = QUIRE_TRY(run(Call::kPoller, [&](const CallSite&) {
    return ::epoll_wait(fd(), events.data(), static_cast<int>(count_max), 0);
  }));
  const auto told = std::span(events).first(static_cast<std::size_t>(count));
  std::ranges::transform(told, tags.begin(), [](const epoll_event& one) { return one.data.u64; });
  return told.size();
}

Outcome<Descriptor> create_timer() noexcept {
  return run(Call::kTimer,
             [](const CallSite&) {
               return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
             })
      .map([](int fd) { return Descriptor(fd); });
}

Outcome<void> set_timer(const Descriptor& timer, std::chrono::nanoseconds from_now) noexcept {
  constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
  const std::int64_t wanted_ns = from_now.count() < 0 ? 1 : from_now.count();
  const itimerspec time{.it_interval = {},
                        .it_value = {.tv_sec = wanted_ns / kNanosecondsPerSecond,
                                     .tv_nsec = wanted_ns % kNanosecondsPerSecond}};
  return run_void(Call::kTimer, [&] { return ::timerfd_settime(timer.get(), 0, &time, nullptr); });
}

}  // namespace quire::sys
