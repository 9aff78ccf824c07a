// SPDX-License-Identifier: Apache-2.0
//
// The fixture of the tests of Frames: sixteen pages on the real kernel, and the accesses that
// fault.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "quire/base/units.h"
#include "quire/cache/frames.h"
#include "quire/sys/bus_guard.h"
#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/testing/watched_memory.h"

namespace quire {

inline constexpr std::uint64_t kPage = 4_KiB;
inline constexpr std::byte kA{0xa5};
inline constexpr std::byte kB{0x5b};
inline constexpr std::byte kZero{0};

// Sixteen pages, the last of them half beyond the size; as much again is reserved.
inline constexpr std::uint64_t kSize = 15 * kPage + 100;
inline const FramesOptions kOptions = {.name = "frames_test",
                                       .size_bytes = kSize,
                                       .reserve_bytes = 32 * kPage,
                                       .granule_bytes = kPage,
                                       .is_writable = true};

class FramesTest : public ::testing::Test {
 protected:
  void SetUp() override { make(kOptions); }

  void make(const FramesOptions& options) {
    Result<std::unique_ptr<Frames>> frames = Frames::make(options);
    if (!frames) {
      GTEST_SKIP() << "userfaultfd: " << frames.error().message();
    }
    frames_ = std::move(*frames);
  }

  // As where the machine gives shared memory huge pages: the trial of make() does not tell.
  void make_placing_by_copy() {
    const sys::FaultPlan plan({.call = sys::Call::kWrite, .error = ENOSPC});
    make(kOptions);
    ASSERT_TRUE(frames_ != nullptr && frames_->places_by_copy());
  }

  // The accesses that may fault.
  [[nodiscard]] std::byte load(std::uint64_t offset) const {
    return *static_cast<volatile std::byte*>(frames_->view() + offset);
  }
  void store(std::uint64_t offset, std::byte value) const {
    *static_cast<volatile std::byte*>(frames_->view() + offset) = value;
  }
  // What a load meets, where the kernel refuses it.
  [[nodiscard]] std::optional<sys::BusFault> fault_of_load(std::uint64_t offset) const {
    EXPECT_TRUE(sys::prepare_guard().has_value());
    std::byte* const at = frames_->view() + offset;
    return sys::run_guarded(
        {at, 1},
        {.run = [](void* argument) { static_cast<void>(*static_cast<volatile char*>(argument)); },
         .argument = at});
  }
  [[nodiscard]] std::size_t waiting_messages() const {
    std::array<sys::FaultMessage, 8> messages;
    return frames_->faults().read_messages(messages).value();
  }
  [[nodiscard]] bool is_mapped(std::uint64_t page_index) const {
    bool present = false;
    const auto scan = sys::PageScan::open().value();
    EXPECT_TRUE(scan.present(frames_->view() + page_index * kPage, kPage, {&present, 1}));
    return present;
  }
  [[nodiscard]] std::uint64_t resident_pages() const {
    return frames_->resident_bytes().value() / kPage;
  }
  // A page in the memfd that no state knows of.
  void plant_stray(std::uint64_t page_index) const {
    ASSERT_TRUE(sys::write_at(frames_->memfd(), testing::filled_pages(1, kB), page_index * kPage));
  }

  std::unique_ptr<Frames> frames_;
};

}  // namespace quire
