// SPDX-License-Identifier: Apache-2.0
//
// AddressSpace: a range of addresses that this object owns, of which a prefix is backed.
//
//   |<-------------------- reserved -------------------->|
//   |========= backed =========|.......... PROT_NONE ....|
//   ^ address
//
// A reservation costs one VMA and no memory. Backing it later, in place, is what lets a mapping
// grow without moving: pointers into the backed prefix stay valid through grow and shrink.
//
// Invariants:    backed <= reserved; both are page multiples; nobody else maps into the range.
// Thread-safety: one thread at a time; other threads may touch the backed bytes meanwhile.
// Errors:        Outcome; a failed call leaves the range as it was.
// Cost:          release is one munmap, in the destructor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "quire/sys/memory.h"

namespace quire {

class AddressSpace {
 public:
  // What the backed part shows.
  struct Backing {
    int fd = -1;                     // -1: anonymous memory.
    std::uint64_t offset_bytes = 0;  // Of the first reserved byte in the file.
    sys::Protection protection = sys::Protection::kRead;
    sys::Visibility visibility = sys::Visibility::kShared;
    bool no_reserve = false;
    bool huge_pages = false;
  };

  AddressSpace() = default;
  AddressSpace(AddressSpace&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        reserved_bytes_(std::exchange(other.reserved_bytes_, 0)),
        backed_bytes_(std::exchange(other.backed_bytes_, 0)) {}
  AddressSpace& operator=(AddressSpace&& other) noexcept;
  ~AddressSpace() { static_cast<void>(release()); }

  // Maps `backed_bytes`, and reserves the rest of `reserved_bytes` behind them.
  // REQUIRES: both are page multiples, backed_bytes <= reserved_bytes, reserved_bytes > 0.
  [[nodiscard]] static sys::Outcome<AddressSpace> map(const Backing& backing,
                                                      std::uint64_t backed_bytes,
                                                      std::uint64_t reserved_bytes) noexcept;

  // Backs more or fewer bytes, in place. Beyond the reservation it asks the kernel for the
  // addresses that follow. Shrinking gives the pages back and keeps the addresses. Errors: ENOMEM
  // when the following addresses are taken.
  sys::Outcome<void> set_backed(const Backing& backing, std::uint64_t backed_bytes) noexcept;

  // Gives back the addresses past `keep_bytes`, backed or not. A refusal keeps them.
  // REQUIRES: keep_bytes is a page multiple, > 0.
  void trim(std::uint64_t keep_bytes) noexcept;

  sys::Outcome<void> release() noexcept;

  [[nodiscard]] std::byte* address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t reserved_bytes() const noexcept { return reserved_bytes_; }
  [[nodiscard]] std::uint64_t backed_bytes() const noexcept { return backed_bytes_; }
  [[nodiscard]] bool is_open() const noexcept { return address_ != nullptr; }
  void check_invariants() const;

 private:
  std::byte* address_ = nullptr;
  std::uint64_t reserved_bytes_ = 0;
  std::uint64_t backed_bytes_ = 0;
};

}  // namespace quire
