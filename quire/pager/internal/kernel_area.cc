// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/kernel_area.h"

namespace quire::internal {

std::byte* KernelArea::first() noexcept {
  // A read-only mapping's bytes are handed out as const again.
  return const_cast<std::byte*>(mapping().bytes().data());
}

std::string KernelArea::explain() const {
  return mapping().explain() + "; not paged, no memory budget holds: " + reason_;
}

Result<void> KernelArea::prefetch(std::span<const ByteRange> ranges) const {
  for (const ByteRange& range : ranges) {
    QUIRE_TRY(mapping().prefetch(range));
  }
  return {};
}

Result<void> KernelArea::advise(ByteRange range, Pattern pattern) const {
  switch (pattern) {
    case Pattern::kNormal: return mapping().advise(range, Advice::kNormal);
    case Pattern::kRandom: return mapping().advise(range, Advice::kRandom);
    case Pattern::kSequential: return mapping().advise(range, Advice::kSequential);
    case Pattern::kWillNotReuse: return mapping().advise(range, Advice::kCold);
    case Pattern::kOverwrite: break;  // The kernel reads what it must; nothing to tell it.
  }
  return {};
}

Result<PagedResidency> KernelArea::resident(ByteRange range) const {
  const Residency residency = QUIRE_TRY(mapping().resident(range));
  return PagedResidency{.resident_bytes = residency.resident_bytes,
                        .dirty_bytes = residency.dirty_bytes};
}

Result<PagedEviction> KernelArea::evict(ByteRange range) const {
  const EvictionReport report = QUIRE_TRY(mapping().evict(range));
  return PagedEviction{.evicted_bytes = report.bytes_before - report.bytes_after,
                       .kept_bytes = report.bytes_after};
}

Result<void> KernelArea::close() {
  return writable_.is_open() ? writable_.close() : read_only_.close();
}

}  // namespace quire::internal
