// SPDX-License-Identifier: Apache-2.0
//
// Pin: a promise that a range stays in memory: neither eviction nor a system call can break it.
//
//   auto pin = area.pin({.offset_bytes = 0, .length_bytes = 4096}).value();
//   ::write(fd, pin.bytes().data(), pin.bytes().size());      // no EFAULT, no fault at all
//
// Invariants:    every granule of the range carries one count of it; the area lives.
// Thread-safety: one thread at a time; pins of the same bytes are independent.
// Cost:          giving back is one atomic subtraction a granule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "quire/base/units.h"

namespace quire {

namespace internal {
class AreaState;
}

class Pin {
 public:
  Pin() noexcept = default;
  Pin(Pin&& other) noexcept
      : area_(std::move(other.area_)),
        bytes_(std::exchange(other.bytes_, {})),
        offset_bytes_(other.offset_bytes_),
        is_for_stores_(other.is_for_stores_) {}
  Pin& operator=(Pin&& other) noexcept;
  ~Pin() { release(); }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool is_held() const noexcept { return area_ != nullptr; }
  // Gives it back early.
  void release() noexcept;

 protected:
  friend class PagedArea;
  Pin(std::shared_ptr<internal::AreaState> area, std::span<std::byte> bytes,
      std::uint64_t offset_bytes, bool is_for_stores = false) noexcept
      : area_(std::move(area)),
        bytes_(bytes),
        offset_bytes_(offset_bytes),
        is_for_stores_(is_for_stores) {}

  std::shared_ptr<internal::AreaState> area_;
  std::span<std::byte> bytes_;
  std::uint64_t offset_bytes_ = 0;
  bool is_for_stores_ = false;
};

class WritablePin : public Pin {
 public:
  WritablePin() noexcept = default;
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  friend class WritablePagedArea;
  WritablePin(std::shared_ptr<internal::AreaState> area, std::span<std::byte> bytes,
              std::uint64_t offset_bytes) noexcept
      : Pin(std::move(area), bytes, offset_bytes, true) {}
};

}  // namespace quire
