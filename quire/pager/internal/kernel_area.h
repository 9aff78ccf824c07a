// SPDX-License-Identifier: Apache-2.0
//
// KernelArea: what PagingEngine::kAutomatic gives where userfaultfd is forbidden: a kernel mapping
// behind the same functions. No budget holds, and explain() says so.
//
// Thread-safety: as Mapping's.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "quire/map/mapping.h"
#include "quire/map/writable_mapping.h"
#include "quire/pager/pager_options.h"
#include "quire/pager/pager_stats.h"

namespace quire::internal {

class KernelArea {
 public:
  KernelArea(Mapping mapping, std::string reason)
      : read_only_(std::move(mapping)), reason_(std::move(reason)) {}
  KernelArea(WritableMapping mapping, std::string reason)
      : writable_(std::move(mapping)), reason_(std::move(reason)) {}

  [[nodiscard]] const Mapping& mapping() const noexcept {
    return writable_.is_open() ? writable_ : read_only_;
  }
  // REQUIRES: it was mapped for writing.
  [[nodiscard]] WritableMapping& writable() noexcept { return writable_; }
  [[nodiscard]] std::byte* first() noexcept;
  [[nodiscard]] std::string explain() const;
  Result<void> prefetch(std::span<const ByteRange> ranges) const;
  Result<void> advise(ByteRange range, Pattern pattern) const;
  [[nodiscard]] Result<PagedResidency> resident(ByteRange range) const;
  Result<PagedEviction> evict(ByteRange range) const;
  Result<void> close();

 private:
  Mapping read_only_;
  WritableMapping writable_;
  std::string reason_;
};

}  // namespace quire::internal
