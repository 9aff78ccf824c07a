// SPDX-License-Identifier: Apache-2.0
#include "quire/c/area.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"

namespace quire::c {
namespace {

static_assert(static_cast<std::uint32_t>(Pattern::kRandom) == QUIRE_PATTERN_RANDOM &&
              static_cast<std::uint32_t>(Pattern::kSequential) == QUIRE_PATTERN_SEQUENTIAL &&
              static_cast<std::uint32_t>(Pattern::kWillNotReuse) == QUIRE_PATTERN_WILL_NOT_REUSE &&
              static_cast<std::uint32_t>(Pattern::kOverwrite) == QUIRE_PATTERN_OVERWRITE);

PagedArea& any(const quire_area& handle) {
  auto* writable = std::get_if<WritablePagedArea>(&handle.box->area);
  return writable != nullptr ? *writable : std::get<PagedArea>(handle.box->area);
}

const Pin& any(const quire_pin& handle) {
  const auto* writable = std::get_if<WritablePin>(&handle.pin);
  return writable != nullptr ? *writable : std::get<Pin>(handle.pin);
}

// The ticket of an area carries the errors of asking, too.
Result<quire_ticket> to_ticket(Ticket ticket) {
  if (ticket.is_done()) {
    QUIRE_TRY(ticket.wait());
  }
  return quire_ticket{std::move(ticket)};
}

quire_area_stats to_c(const AreaStats& from) noexcept {
  return {.struct_size = 0,
          .reserved = 0,
          .faults = from.faults,
          .load_misses = from.load_misses,
          .store_misses = from.store_misses,
          .store_upgrades = from.store_upgrades,
          .waits = from.waits,
          .tripwires = from.tripwires,
          .failed_fills = from.failed_fills,
          .reads = from.reads,
          .read_bytes = from.read_bytes,
          .read_ahead_bytes = from.read_ahead_bytes,
          .zero_fills = from.zero_fills,
          .writes = from.writes,
          .write_bytes = from.write_bytes,
          .evicted = from.evicted,
          .redirtied = from.redirtied,
          .commits = from.commits,
          .committed_bytes = from.committed_bytes,
          .commit_conflicts = from.commit_conflicts,
          .spilled_bytes = from.spilled_bytes,
          .resident_bytes = from.resident_bytes,
          .dirty_bytes = from.dirty_bytes};
}

}  // namespace

Result<WritablePagedArea*> writable(const quire_area& handle, const char* operation) {
  auto* const area = std::get_if<WritablePagedArea>(&handle.box->area);
  if (area == nullptr) {
    return fail(make_error(Errc::kReadOnly, operation, any(handle).name(), {},
                           "map it with QUIRE_ACCESS_READ_WRITE"));
  }
  return area;
}

}  // namespace quire::c

using namespace quire::c;
using quire::ByteRange;
using quire::Result;

const void* quire_area_bytes(const quire_area* area) noexcept {
  return area != nullptr ? any(*area).bytes().data() : nullptr;
}

void* quire_area_writable_bytes(quire_area* area) noexcept {
  auto* const writable =
      area != nullptr ? std::get_if<quire::WritablePagedArea>(&area->box->area) : nullptr;
  return writable != nullptr ? writable->bytes().data() : nullptr;
}

uint64_t quire_area_size(const quire_area* area) noexcept {
  return area != nullptr ? any(*area).size_bytes() : 0;
}

int32_t quire_area_is_paged(const quire_area* area) noexcept {
  return area != nullptr && any(*area).is_paged() ? 1 : 0;
}

uint32_t quire_area_fault_path(const quire_area* area) noexcept {
  return area != nullptr ? static_cast<uint32_t>(any(*area).fault_path())
                         : QUIRE_FAULT_PATH_AUTOMATIC;
}

size_t quire_area_explain(const quire_area* area, char* text, size_t text_bytes) noexcept {
  return give_text(text, text_bytes,
                   [&] { return area != nullptr ? any(*area).explain() : std::string(); });
}

quire_code quire_area_pin(quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                          uint32_t access, quire_pin** pin, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_pin> {
    QUIRE_TRY(require(operation, {{"area", area}}));
    QUIRE_TRY(check_constant(operation, "access", access, QUIRE_ACCESS_READ_WRITE));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    // Not in one expression: gcc 12 leaks the box when QUIRE_TRY leaves a half-made aggregate.
    if (access == QUIRE_ACCESS_READ_ONLY) {
      quire::Pin taken = QUIRE_TRY(any(*area).pin(range));
      return quire_pin{area->box, std::move(taken)};
    }
    quire::WritablePin taken =
        QUIRE_TRY(QUIRE_TRY(writable(*area, operation))->pin_for_writing(range));
    return quire_pin{area->box, std::move(taken)};
  };
  return make_handle(__func__, "pin", pin, error, make);
}

const void* quire_pin_bytes(const quire_pin* pin) noexcept {
  return pin != nullptr ? any(*pin).bytes().data() : nullptr;
}

void* quire_pin_writable_bytes(quire_pin* pin) noexcept {
  auto* const writable = pin != nullptr ? std::get_if<quire::WritablePin>(&pin->pin) : nullptr;
  return writable != nullptr ? writable->bytes().data() : nullptr;
}

uint64_t quire_pin_size(const quire_pin* pin) noexcept {
  return pin != nullptr ? any(*pin).bytes().size() : 0;
}

void quire_pin_free(quire_pin* pin) noexcept {
  delete pin;
}

quire_code quire_area_prefetch(const quire_area* area, const quire_range* ranges,
                               size_t range_count, quire_ticket** ticket,
                               quire_error* error) noexcept {
  const auto begin = [&](const char* operation) -> Result<quire_ticket> {
    QUIRE_TRY(require(operation, {{"area", area}, {"ranges", ranges}}));
    std::vector<ByteRange> chosen;
    for (const quire_range& range : std::span(ranges, range_count)) {
      chosen.push_back({.offset_bytes = range.offset_bytes, .length_bytes = range.length_bytes});
    }
    return to_ticket(any(*area).prefetch(chosen));
  };
  if (ticket != nullptr) {
    return make_handle(__func__, "ticket", ticket, error, begin);
  }
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(begin(operation));
    return {};
  });
}

quire_code quire_area_advise(const quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                             uint32_t pattern, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    return any(*area).advise(
        {.offset_bytes = offset_bytes, .length_bytes = length_bytes},
        QUIRE_TRY(to_enum(operation, "pattern", pattern, quire::Pattern::kOverwrite)));
  });
}

quire_code quire_area_get_residency(const quire_area* area, uint64_t offset_bytes,
                                    uint64_t length_bytes, quire_area_residency* residency,
                                    quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "residency", residency));
    const quire::PagedResidency found = QUIRE_TRY(
        any(*area).resident({.offset_bytes = offset_bytes, .length_bytes = length_bytes}));
    write_results(quire_area_residency{.struct_size = 0,
                                       .reserved = 0,
                                       .resident_bytes = found.resident_bytes,
                                       .dirty_bytes = found.dirty_bytes,
                                       .pinned_bytes = found.pinned_bytes},
                  residency);
    return {};
  });
}

quire_code quire_area_evict(const quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                            uint64_t* evicted_bytes, uint64_t* kept_bytes,
                            quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&]() -> Result<void> {
    const quire::PagedEviction done =
        QUIRE_TRY(any(*area).evict({.offset_bytes = offset_bytes, .length_bytes = length_bytes}));
    if (evicted_bytes != nullptr) {
      *evicted_bytes = done.evicted_bytes;
    }
    if (kept_bytes != nullptr) {
      *kept_bytes = done.kept_bytes;
    }
    return {};
  });
}

quire_code quire_area_get_stats(const quire_area* area, quire_area_stats* stats,
                                quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "stats", stats));
    if (!any(*area).is_open()) {
      return fail(make_error(quire::Errc::kClosed, operation, "area"));
    }
    write_results(to_c(any(*area).stats()), stats);
    return {};
  });
}

quire_code quire_area_check(const quire_area* area, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&] { return any(*area).check(); });
}

quire_code quire_area_flush(quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                            uint32_t durability, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    const quire::Durability chosen = QUIRE_TRY(to_durability(operation, durability));
    return QUIRE_TRY(writable(*area, operation))
        ->flush({.offset_bytes = offset_bytes, .length_bytes = length_bytes}, chosen);
  });
}

quire_code quire_area_flush_async(quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                                  uint32_t durability, quire_ticket** ticket,
                                  quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_ticket> {
    QUIRE_TRY(require(operation, {{"area", area}}));
    const quire::Durability chosen = QUIRE_TRY(to_durability(operation, durability));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    return to_ticket(QUIRE_TRY(writable(*area, operation))->flush_async(range, chosen));
  };
  return make_handle(__func__, "ticket", ticket, error, make);
}

quire_code quire_area_resize(quire_area* area, uint64_t size_bytes, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(writable(*area, operation))->resize(size_bytes);
  });
}

quire_code quire_area_begin_update(quire_area* area, quire_update** update,
                                   quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<std::unique_ptr<quire_update>> {
    QUIRE_TRY(require(operation, {{"area", area}}));
    quire::WritablePagedArea& stored_to = *QUIRE_TRY(writable(*area, operation));
    if (!stored_to.is_open()) {
      return fail(make_error(quire::Errc::kClosed, operation, "area"));
    }
    return begin_update(area->box, stored_to);
  };
  return make_handle(__func__, "update", update, error, make);
}

quire_code quire_area_commit(quire_area* area, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(writable(*area, operation))->commit();
  });
}

quire_code quire_area_commit_async(quire_area* area, quire_ticket** ticket,
                                   quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_ticket> {
    QUIRE_TRY(require(operation, {{"area", area}}));
    return to_ticket(QUIRE_TRY(writable(*area, operation))->commit_async());
  };
  return make_handle(__func__, "ticket", ticket, error, make);
}

quire_code quire_area_rollback(quire_area* area, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(writable(*area, operation))->rollback();
  });
}

quire_code quire_area_snapshot(const quire_area* area, quire_area** snapshot,
                               quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_area> {
    QUIRE_TRY(require(operation, {{"area", area}}));
    const auto box = std::make_shared<AreaBox>();
    box->pager = area->box->pager;
    box->area = QUIRE_TRY(QUIRE_TRY(writable(*area, operation))->snapshot());
    return quire_area{box};
  };
  return make_handle(__func__, "snapshot", snapshot, error, make);
}

quire_code quire_area_close(quire_area* area, quire_error* error) noexcept {
  return run(__func__, {{"area", area}}, error, [&] { return any(*area).close(); });
}

void quire_area_free(quire_area* area) noexcept {
  delete area;
}
