// SPDX-License-Identifier: Apache-2.0
//
// guarded: code over mapped memory whose faults are Errors.
//
//   Result<std::uint64_t> sum = quire::guarded(map.bytes(), [&] {
//     std::uint64_t total = 0;
//     for (std::byte byte : map.bytes()) total += std::to_integer<std::uint64_t>(byte);
//     return total;
//   });
//   // guarded(offset 8192 of 65536 mapped bytes): a load found no page behind the mapping
//   // (SIGBUS): the file became shorter, or the device could not read it; compare its size with
//   // the one that was mapped
//
// A Mapping has a guarded() of its own, which names the file and the offset in it; this one serves
// any mapped bytes. sys/bus_guard.h has the mechanism, its nesting and its rules for signals.
//
// What fn may be: a fault leaves fn by a jump, not by unwinding. Destructors of what lives inside
// fn do not run, so fn must own nothing there: no lock, no container, no open file. Copy out,
// compute, return. Results are trivially copyable values; that much is checked by the compiler, and
// so are references, which may not be returned. A fn that returns Result<T> is flattened: guarded()
// then returns Result<T>, not Result<Result<T>>. (Build the Error last: one that is alive while the
// memory faults is leaked.) Exceptions pass through. After a fault, what fn had stored before stays
// stored.
//
// Only faults inside `region` are turned into Errors. A system call inside fn that meets such a
// page returns EFAULT by itself, without a signal.
//
// Thread-safety: any thread, any number at once, nested to any depth.
// Errors:        kFault for a fault; kFailed when SIGBUS is blocked in this thread; those of fn.
// Cost:          about ten nanoseconds without a fault (bench/guarded_bench); no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "quire/base/result.h"
#include "quire/sys/bus_guard.h"

namespace quire {

// Where in a guarded region an access failed, and how.
struct GuardFault {
  std::uint64_t offset_bytes = 0;  // From the region's first byte.
  sys::BusCause cause = sys::BusCause::kOther;
  sys::BusAccess access = sys::BusAccess::kUnknown;
};

// "a store found no page behind the mapping (SIGBUS): the file became shorter, the disk is full
// behind a hole, or the device reported an error". The signal does not say which of these it was:
// what the cause and the kind of access rule out is left out.
[[nodiscard]] std::string describe(const GuardFault& fault);
// What to look at to find out.
[[nodiscard]] std::string remedy_for(const GuardFault& fault);

namespace internal {

// What guarded() returns for a function that returns Raw.
template <typename Raw>
struct GuardedValue {
  using Type = Raw;
};
template <typename T>
struct GuardedValue<tl::expected<T, Error>> {
  using Type = T;
};
template <>
struct GuardedValue<VoidResult> {
  using Type = void;
};

template <typename Fn>
using RawResultOf = std::invoke_result_t<Fn&>;
template <typename Fn>
using GuardedValueOf = typename GuardedValue<RawResultOf<Fn>>::Type;

template <typename T>
inline constexpr bool kMayLeaveGuard =
    std::is_void_v<T> || (std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

[[nodiscard]] Error region_error(std::uint64_t region_bytes, const GuardFault& fault);

}  // namespace internal

// Runs fn(); on a fault in `region` returns explain(GuardFault), which makes the Error.
template <typename Fn, typename Explain>
auto guarded_with(std::span<const std::byte> region, Fn&& fn, Explain&& explain)
    -> Result<internal::GuardedValueOf<std::remove_reference_t<Fn>>> {
  using Function = std::remove_reference_t<Fn>;
  using Raw = internal::RawResultOf<Function>;
  static_assert(!std::is_reference_v<Raw>, "return a value: a reference cannot be checked");
  static_assert(internal::kMayLeaveGuard<internal::GuardedValueOf<Function>>,
                "a fault would skip the destructor of such a result: return plain data");
  QUIRE_TRY(sys::prepare_guard());
  // What fn returns is kept out here, where the jump does not skip its destructor.
  using KeptValue = std::conditional_t<std::is_void_v<Raw>, bool, Raw>;
  struct Call {
    Function* function;
    std::optional<KeptValue> kept;
  } call{std::addressof(fn), std::nullopt};
  const auto run = [](void* argument) {
    auto& self = *static_cast<Call*>(argument);
    if constexpr (std::is_void_v<Raw>) {
      (*self.function)();
    } else {
      self.kept.emplace((*self.function)());
    }
  };
  const std::optional<sys::BusFault> fault =
      sys::run_guarded(region, {.run = run, .argument = &call});
  if (fault) [[unlikely]] {
    return fail(explain(
        GuardFault{.offset_bytes = fault->address - reinterpret_cast<std::uintptr_t>(region.data()),
                   .cause = fault->cause,
                   .access = fault->access}));
  }
  if constexpr (std::is_void_v<Raw>) {
    return {};
  } else {
    return *std::move(call.kept);
  }
}

// Runs fn() and returns what it returns, or the Error of the first access in `region` that failed.
template <typename Fn>
auto guarded(std::span<const std::byte> region, Fn&& fn) {
  return guarded_with(region, std::forward<Fn>(fn), [region](const GuardFault& fault) {
    return internal::region_error(region.size(), fault);
  });
}

}  // namespace quire
