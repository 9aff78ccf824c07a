// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/fork_mark.h"

#include <atomic>

#include "quire/sys/fork.h"

namespace quire {
namespace {

std::atomic<std::uint32_t> g_forks{0};

}  // namespace

sys::Outcome<void> ForkMark::prepare() noexcept {
  return sys::on_fork_in_child([] { g_forks.fetch_add(1); });
}

std::uint32_t ForkMark::forks_so_far() noexcept {
  return g_forks.load();
}

}  // namespace quire
