// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/message_delivery.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/committer.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/read_ahead.h"
#include "quire/pager/internal/report.h"

namespace quire::internal {
namespace {

// Read in one go: what 64 threads have to say.
constexpr std::size_t kMessages = 64;

}  // namespace

bool MessageDelivery::serve(AreaState& area) {
  std::array<sys::FaultMessage, kMessages> messages;
  std::array<std::pair<std::uint64_t, Need>, kMessages> faults;
  const sys::Outcome<std::size_t> count = area.frames->faults().read_messages(messages);
  if (!count || *count == 0) {
    return false;
  }
  for (std::size_t i = 0; i < *count; ++i) {
    const auto offset = static_cast<std::uint64_t>(messages[i].address - area.frames->view());
    faults[i] = {offset >> area.granule.shift(), messages[i].is_store ? Need::kStore : Need::kLoad};
  }
  // Neighbours in order, so that windows join; each granule once, as the strongest need.
  const std::span<std::pair<std::uint64_t, Need>> sorted(faults.data(), *count);
  std::ranges::sort(sorted);
  area.counters.faults.add(*count);
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i + 1 < sorted.size() && sorted[i + 1].first == sorted[i].first) {
      continue;
    }
    const auto [index, need] = sorted[i];
    static_cast<void>(core_.recorder.note(area.page_id(index), need));
    if (serve_one(area, index, need) == Done::kPark) {
      parked_.push_back({.page = area.page_id(index), .need = need});
    }
  }
  return true;
}

bool MessageDelivery::serve_handed(HandedFault* faults) {
  const bool had_some = faults != nullptr;
  while (faults != nullptr) {
    HandedFault& fault = *faults;
    faults = fault.next;
    parked_.push_back({.page = fault.page, .need = fault.need, .fault = &fault});
  }
  return had_some && serve_parked();
}

bool MessageDelivery::serve_parked() {
  bool got_further = false;
  std::vector<Parked> again;
  again.swap(parked_);
  for (Parked& parked : again) {
    AreaState* area = core_.evictor.enter_area(parked.page);
    if (area == nullptr) {
      end(parked);  // The area is closing.
      continue;
    }
    if (serve_one(*area, AreaState::index_of(parked.page), parked.need) == Done::kPark) {
      complain(parked, *area);
      parked_.push_back(parked);
    } else {
      end(parked);
      got_further = true;
    }
    area->end_service();
  }
  return got_further;
}

// Threads that wait in the kernel are woken by what was done, or by the end of their area.
void MessageDelivery::end(Parked& parked) noexcept {
  if (parked.fault != nullptr) {
    parked.fault->end();
  }
}

void MessageDelivery::wake(AreaState& area, std::uint64_t index) {
  if (area.is_inline()) {
    return;  // Nobody waits in the kernel.
  }
  const ByteRange memory = area.memory_of(index, 1);
  static_cast<void>(area.frames->wake(memory.offset_bytes, memory.length_bytes));
}

// The kernel tells the thread by SIGBUS, as soon as the memfd is shorter.
void MessageDelivery::serve_cut_off(AreaState& area, std::uint64_t index) {
  if (area.memory_of(index, 1).length_bytes > 0) {
    refuse(area, index, make_error_code(Errc::kTruncated));
  } else {
    wake(area, index);
  }
}

bool MessageDelivery::is_too_much_dirty() noexcept {
  const bool is_much =
      core_.dirty_bytes() >= core_.dirty_max_bytes.load() && !core_.is_write_back_failing.load();
  core_.counters.dirty_waits.add(is_much ? 1 : 0);
  return is_much;
}

MessageDelivery::Done MessageDelivery::serve_one(AreaState& area, std::uint64_t index, Need need) {
  if (index >= area.granule_count()) {
    serve_cut_off(area, index);
    return Done::kDone;
  }
  if (area.commit() != nullptr && area.commit()->is_frozen.load()) {
    return Done::kPark;
  }
  for (;;) {
    const GranuleWord word = area.table.word(index);
    if (word.is_in_transition()) {
      if (area.table.mark_awaited(index)) {
        area.counters.waits.add();
        return Done::kDone;
      }
      continue;
    }
    switch (word.state()) {
      case GranuleState::kAbsent: return serve_absent(area, index, need);
      case GranuleState::kHeld:
        if (core_.filler.install_held(area, index, need)) {
          return Done::kDone;
        }
        continue;
      case GranuleState::kClean:
      case GranuleState::kWriting:
        if (need == Need::kLoad) {
          break;
        }
        if (is_too_much_dirty()) {
          return Done::kPark;
        }
        switch (commits_.let_in(area, index)) {
          case Filler::Store::kLetIn: return Done::kDone;
          case Filler::Store::kHeldUp: return Done::kPark;
          case Filler::Store::kLookAgain: break;
        }
        continue;
      default: break;
    }
    wake(area, index);
    return Done::kDone;
  }
}

MessageDelivery::Done MessageDelivery::serve_absent(AreaState& area, std::uint64_t index,
                                                    Need need) {
  switch (reads_.demand(area, index, need)) {
    case Filler::Claim::kClaimed: return Done::kDone;
    case Filler::Claim::kTaken:
      if (!area.table.mark_awaited(index)) {
        wake(area, index);
      }
      return Done::kDone;
    case Filler::Claim::kNoCredit: break;
  }
  core_.counters.credit_waits.add();
  if (reads_.is_idle() && core_.is_write_back_failing.load()) {
    const Evictor::LastRoom last = core_.evictor.make_last_room();
    if (last == Evictor::LastRoom::kMade) {
      return serve_absent(area, index, need);
    }
    if (last == Evictor::LastRoom::kNone) {
      refuse(area, index, {core_.write_back_errno.load(), std::system_category()});
      return Done::kDone;
    }
  }
  if (reads_.is_idle() && core_.evictor.is_all_pinned()) {
    refuse(area, index, make_error_code(Errc::kLimit));
    return Done::kDone;
  }
  return Done::kPark;
}

// No memory will come: whoever waits gets a signal where that can be had.
void MessageDelivery::refuse(AreaState& area, std::uint64_t index, std::error_code cause) {
  area.counters.failed_fills.add();
  area.note_fill_error(index, cause);
  if (!area.is_inline() && !core_.filler.poison(area, index)) {
    wake(area, index);
  }
}

void MessageDelivery::complain(Parked& parked, const AreaState& area) {
  const auto limit = core_.options.slow_fault_report;
  const auto waited = Clock::now() - parked.since;
  if (parked.was_reported || limit.count() == 0 || waited < limit) {
    return;
  }
  parked.was_reported = true;
  core_.counters.slow_faults.add();
  report_slow_fault({.what = "neither memory nor a buffer is free",
                     .index = AreaState::index_of(parked.page),
                     .waited = waited},
                    area, core_);
}

}  // namespace quire::internal
