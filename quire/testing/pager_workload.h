// SPDX-License-Identifier: Apache-2.0
//
// PagerWorkload: a short, fixed life of an area that uses all of it, written so that any step may
// fail: what it stored and what it did not is known byte for byte, whatever fails.
//
//   map, load, store, scan, prefetch, pin, flush, evict, grow, shrink, verify, flush, verify, close
//
// A load that fails is an Error (the access is guarded); one that succeeds must give the right
// bytes. After a resize that failed, what is beyond the smaller size counts as unknown.
//
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "quire/pager/pager.h"
#include "quire/testing/pager_model.h"

namespace quire::testing {

class PagerWorkload {
 public:
  static constexpr std::uint64_t kGranuleBytes = 4096;
  static constexpr std::uint64_t kGranules = 400;  // Half as much again as the budget.
  static constexpr std::uint64_t kFileBytes = kGranules * kGranuleBytes;
  static constexpr std::uint64_t kGrownBytes = kFileBytes + 100 * kGranuleBytes;

  // What the ground must hold: no byte of it is zero.
  [[nodiscard]] static const std::vector<std::byte>& image();

  PagerWorkload(FaultPath path, PagerGround ground);

  // Everything but the end. False: there is no area, because map() failed.
  bool run();
  // What still fails from here on.
  enum class Health : std::uint8_t {
    kHealthy,      // Nothing: what was stored must all be there, and get to the store.
    kCannotWrite,  // The store refuses changes for good; what was stored must be there.
    kUnknown,      // A fault is to come.
  };
  // The end of the life; whatever the health, no byte may be wrong.
  void finish(Health health);

  // What was wrong first; "" when nothing was.
  [[nodiscard]] const std::string& finding() const { return finding_; }
  // How many steps gave an Error.
  [[nodiscard]] std::uint64_t error_count() const { return errors_; }

 private:
  void report(const std::string& finding);
  bool note(const Result<void>& result);
  [[nodiscard]] std::uint64_t word_at(std::uint64_t offset_bytes) const;

  void load(std::uint64_t offset_bytes);
  void store(std::uint64_t offset_bytes, std::uint64_t value);
  void verify();
  void prefetch_and_pin();
  void pin_for_writing();
  void resize(std::uint64_t size_bytes);
  void check_image(const char* after);

  const PagerGround ground_;
  Pager pager_;
  WritablePagedArea area_;
  std::vector<std::byte> expected_;
  std::uint64_t known_bytes_ = kFileBytes;
  std::uint64_t errors_ = 0;
  bool must_load_ = false;  // Nothing fails any more.
  std::string finding_;
};

}  // namespace quire::testing
