// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/fork.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "quire/base/mutex.h"
#include "quire/sys/call.h"

namespace quire::sys {
namespace {

// Filled from the front, never emptied. Written under the mutex; read in the child without it,
// where whoever held it is gone.
std::array<std::atomic<ForkHook>, kForkHooksMax> g_hooks{};
Mutex g_mutex;
bool g_is_registered QUIRE_GUARDED_BY(g_mutex) = false;

static_assert(std::atomic<ForkHook>::is_always_lock_free, "the child must not meet a lock");

void run_hooks() {
  for (const std::atomic<ForkHook>& slot : g_hooks) {
    if (const ForkHook hook = slot.load()) {
      hook();
    }
  }
}

Outcome<void> register_once() noexcept QUIRE_REQUIRES(g_mutex) {
  if (g_is_registered) {
    return {};
  }
  const CallSite site = CallSite::enter(Call::kProcess);
  const int error = site.error != 0 ? site.error : ::pthread_atfork(nullptr, nullptr, run_hooks);
  g_is_registered = error == 0;
  return error == 0 ? Outcome<void>() : refuse(error);
}

}  // namespace

Outcome<void> on_fork_in_child(ForkHook hook) noexcept {
  const MutexLock lock(g_mutex);
  QUIRE_TRY(register_once());
  for (std::atomic<ForkHook>& slot : g_hooks) {
    if (slot.load() == nullptr) {
      slot.store(hook);
    }
    if (slot.load() == hook) {
      return {};
    }
  }
  return refuse(ENOSPC);
}

// --- Descriptors ---------------------------------------------------------------------------------

namespace {

// Descriptors, plus one: 0 is free.
std::array<std::atomic<int>, kUnsharedDescriptorsMax> g_unshared{};
static_assert(std::atomic<int>::is_always_lock_free, "the child must not meet a lock");

void close_unshared() {
  for (std::atomic<int>& slot : g_unshared) {
    if (const int fd = slot.exchange(0) - 1; fd >= 0) {
      ::close(fd);
    }
  }
}

}  // namespace

Outcome<UnsharedDescriptor> UnsharedDescriptor::adopt(Descriptor descriptor) noexcept {
  QUIRE_TRY(on_fork_in_child(close_unshared));
  for (std::size_t i = 0; i < g_unshared.size(); ++i) {
    int free = 0;
    if (g_unshared[i].compare_exchange_strong(free, descriptor.get() + 1)) {
      static_cast<void>(descriptor.release());
      return UnsharedDescriptor(i);
    }
  }
  return refuse(ENOSPC);
}

UnsharedDescriptor& UnsharedDescriptor::operator=(UnsharedDescriptor&& other) noexcept {
  if (this != &other) {
    close();
    slot_ = std::exchange(other.slot_, kNone);
  }
  return *this;
}

int UnsharedDescriptor::get() const noexcept {
  return slot_ == kNone ? -1 : g_unshared[slot_].load() - 1;
}

void UnsharedDescriptor::close() noexcept {
  if (slot_ != kNone) {
    // Taken by a Descriptor, which closes it; in a forked child there is none any more.
    const Descriptor closed(g_unshared[std::exchange(slot_, kNone)].exchange(0) - 1);
  }
}

}  // namespace quire::sys
