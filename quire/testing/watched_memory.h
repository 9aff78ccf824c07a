// SPDX-License-Identifier: Apache-2.0
//
// WatchedMemory: a memfd, a view of it, and a userfaultfd that watches the view; FaultServer: the
// thread that answers its messages.
//
// Destroyed in the safe order: the view, then the userfaultfd.
#pragma once

#include <poll.h>

#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/check.h"
#include "quire/sys/event.h"
#include "quire/sys/file.h"
#include "quire/sys/memfd.h"
#include "quire/sys/memory.h"
#include "quire/sys/user_fault.h"

namespace quire::testing {

inline constexpr std::size_t kWatchedPageBytes = 4096;

class WatchedMemory {
 public:
  WatchedMemory(sys::UserFault faults, std::size_t page_count)
      : faults_(std::move(faults)),
        length_bytes_(page_count * kWatchedPageBytes),
        memfd_(sys::create_memfd({.name = "watched"}).value()) {
    QUIRE_CHECK(sys::truncate_file(memfd_.get(), length_bytes_).has_value());
    view_ = sys::map_pages({.length_bytes = length_bytes_,
                            .protection = sys::Protection::kReadWrite,
                            .fd = memfd_.get()})
                .value();
    QUIRE_CHECK(faults_.watch(view_, length_bytes_).has_value());
  }
  ~WatchedMemory() {
    unmap();
    faults_ = {};
  }
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  [[nodiscard]] const sys::UserFault& faults() const { return faults_; }
  void close_faults() { faults_ = {}; }
  void unmap() {
    if (view_ != nullptr) {
      static_cast<void>(sys::unmap_pages(std::exchange(view_, nullptr), length_bytes_));
    }
  }

  [[nodiscard]] int memfd() const { return memfd_.get(); }
  [[nodiscard]] std::span<std::byte> view() const { return {view_, length_bytes_}; }
  [[nodiscard]] std::byte* page(std::size_t index) const {
    return view_ + index * kWatchedPageBytes;
  }
  [[nodiscard]] std::span<std::byte> pages(std::size_t index, std::size_t count) const {
    return {page(index), count * kWatchedPageBytes};
  }

  // The accesses that fault.
  [[nodiscard]] std::byte load(std::size_t offset) const {
    return *static_cast<volatile std::byte*>(view_ + offset);
  }
  void store(std::size_t offset, std::byte value) const {
    *static_cast<volatile std::byte*>(view_ + offset) = value;
  }

  // Past the view: through the memfd.
  void write(std::size_t page_index, std::span<const std::byte> bytes) const {
    QUIRE_CHECK(sys::write_at(memfd_.get(), bytes, page_index * kWatchedPageBytes).has_value());
  }
  [[nodiscard]] std::size_t resident_pages() const {
    return sys::file_status(memfd_.get())->allocated_bytes / kWatchedPageBytes;
  }

 private:
  sys::UserFault faults_;
  std::size_t length_bytes_;
  sys::Descriptor memfd_;
  std::byte* view_ = nullptr;
};

// Whole pages of one value.
[[nodiscard]] inline std::vector<std::byte> filled_pages(std::size_t page_count, std::byte value) {
  return std::vector<std::byte>(page_count * kWatchedPageBytes, value);
}

// Answers each message with `answer`, in a thread of its own, and remembers it.
class FaultServer {
 public:
  using Answer = std::function<void(const sys::FaultMessage&)>;

  FaultServer(const sys::UserFault& faults, Answer answer)
      : faults_(faults), answer_(std::move(answer)), thread_([this] { serve(); }) {}
  ~FaultServer() {
    sys::signal_event(stop_);
    thread_.join();
  }
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;

  [[nodiscard]] std::vector<sys::FaultMessage> messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
  }

 private:
  void serve() {
    for (;;) {
      pollfd ready[] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                        {.fd = faults_.fd(), .events = POLLIN, .revents = 0}};
      ::poll(ready, 2, -1);
      if (ready[0].revents != 0) {
        return;
      }
      sys::FaultMessage taken[16];
      const std::size_t count = faults_.read_messages(taken).value();
      for (const sys::FaultMessage& message : std::span(taken).first(count)) {
        {
          const std::lock_guard lock(mutex_);
          messages_.push_back(message);
        }
        answer_(message);
      }
    }
  }

  const sys::UserFault& faults_;
  const Answer answer_;
  mutable std::mutex mutex_;
  std::vector<sys::FaultMessage> messages_;
  sys::Descriptor stop_ = sys::create_event().value();
  std::thread thread_;
};

}  // namespace quire::testing
