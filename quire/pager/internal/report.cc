// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/report.h"

#include <fmt/format.h>

#include <array>

#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/sys/file.h"

namespace quire::internal {

void report_slow_fault(const SlowFault& fault, const AreaState& area, PagerCore& core) noexcept {
  constexpr int kStandardError = 2;
  std::array<char, 400> line{};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(fault.waited).count();
  char* end = fmt::format_to_n(line.data(), line.size() - 1,
                               "quire: {:.80}: ", fmt::string_view(area.store->name()))
                  .out;
  const auto room = [&] { return static_cast<std::size_t>(line.data() + line.size() - 1 - end); };
  if (fault.index != kNoGranule) {
    const GranuleWord word = area.table.word(fault.index);
    end = fmt::format_to_n(end, room(), "a fault of granule {} ({}{}, {} pins)", fault.index,
                           name_of(word.state()), word.has(GranuleWord::kLocked) ? " locked" : "",
                           word.pins())
              .out;
  } else {
    end = fmt::format_to_n(end, room(), "a fault").out;
  }
  end = fmt::format_to_n(end, room(),
                         " has waited for {} s: {}; free {} of {} bytes, {} dirty, {} buffers free",
                         seconds, fault.what, core.credits.free_bytes(),
                         core.credits.budget_bytes(), core.dirty_bytes(), core.demand->free_count())
            .out;
  *end++ = '\n';
  const std::span<const char> text(line.data(), static_cast<std::size_t>(end - line.data()));
  // Nobody to tell if this fails.
  static_cast<void>(sys::write_all(kStandardError, std::as_bytes(text)));
}

}  // namespace quire::internal
