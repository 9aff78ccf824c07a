// SPDX-License-Identifier: Apache-2.0
//
// fork_mark: whether an object was made by this process, or copied into it by fork().
//
// Memory that is not inherited (MADV_DONTFORK) leaves free addresses in a child, where other things
// come to lie: the copy of the object must not unmap them. What other threads of the parent had
// taken at that instant never comes back in the child, either.
//
// Thread-safety: prepare() and the constructor from any thread; the rest is a plain value.
#pragma once

#include <cstdint>

#include "quire/sys/outcome.h"

namespace quire {

class ForkMark {
 public:
  // To be called before the first object with a mark is made. Errors: those of on_fork_in_child().
  static sys::Outcome<void> prepare() noexcept;

  ForkMark() noexcept : forks_(forks_so_far()) {}
  [[nodiscard]] bool is_in_child() const noexcept { return forks_ != forks_so_far(); }

 private:
  // Between the first process of all and this one.
  [[nodiscard]] static std::uint32_t forks_so_far() noexcept;

  std::uint32_t forks_;
};

}  // namespace quire
