// SPDX-License-Identifier: Apache-2.0
#include "quire/c/map.h"

#include <algorithm>
#include <string>

#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"

namespace quire::c {
namespace {

static_assert(static_cast<std::uint32_t>(Advice::kRandom) == QUIRE_ADVICE_RANDOM &&
              static_cast<std::uint32_t>(Advice::kCold) == QUIRE_ADVICE_COLD &&
              static_cast<std::uint32_t>(Advice::kDontDump) == QUIRE_ADVICE_DONT_DUMP);
static_assert(static_cast<std::uint32_t>(Space::kSparse) == QUIRE_SPACE_SPARSE);
static_assert(static_cast<std::uint32_t>(HugePages::kReserved) == QUIRE_HUGE_PAGES_RESERVED);
static_assert(static_cast<std::uint32_t>(StopReason::kMemory) == QUIRE_STOPPED_MEMORY);

const Mapping& any(const quire_mapping& handle) {
  const auto* writable = std::get_if<WritableMapping>(&handle.mapping);
  return writable != nullptr ? *writable : std::get<Mapping>(handle.mapping);
}
Mapping& any(quire_mapping& handle) {
  auto* writable = std::get_if<WritableMapping>(&handle.mapping);
  return writable != nullptr ? *writable : std::get<Mapping>(handle.mapping);
}

// Errors: kReadOnly.
template <typename Handle>
auto writable(Handle& handle, const char* operation)
    -> Result<decltype(std::get_if<WritableMapping>(&handle.mapping))> {
  auto* mapping = std::get_if<WritableMapping>(&handle.mapping);
  if (mapping == nullptr) {
    return fail(make_error(Errc::kReadOnly, operation, any(handle).path(), {},
                           "map it with QUIRE_ACCESS_READ_WRITE"));
  }
  return mapping;
}

Result<Sharing> to_sharing(const char* operation, std::uint32_t sharing, Sharing otherwise) {
  QUIRE_TRY(check_constant(operation, "sharing", sharing, QUIRE_SHARING_PRIVATE));
  if (sharing == QUIRE_SHARING_DEFAULT) {
    return otherwise;
  }
  return sharing == QUIRE_SHARING_SHARED ? Sharing::kShared : Sharing::kPrivate;
}

// Into options of either kind: those for writing have no default, so that no Result can hold them.
template <typename Options>
Result<void> fill(const char* operation, const quire_map_options& given, Options& options) {
  QUIRE_TRY(fill_file(operation, given, options));
  options.sharing = QUIRE_TRY(to_sharing(operation, given.sharing, Sharing::kShared));
  options.offset_bytes = given.offset_bytes;
  set_unless_zero(options.length_bytes, given.length_bytes);
  set_unless_zero(options.stream_bytes_max, given.stream_bytes_max);
  return {};
}

// Maps what `map` maps with options of either kind.
template <typename Map>
Result<quire_mapping> map_with(const char* operation, const quire_map_options* given,
                               const Map& map) {
  const quire_map_options options = QUIRE_TRY(read_options(operation, "options", given));
  QUIRE_TRY(check_constant(operation, "access", options.access, QUIRE_ACCESS_READ_WRITE));
  if (options.access == QUIRE_ACCESS_READ_ONLY) {
    MapOptions chosen;
    QUIRE_TRY(fill(operation, options, chosen));
    return quire_mapping{QUIRE_TRY(map(chosen))};
  }
  WritableMapOptions chosen{.access = Access::kReadWrite};
  QUIRE_TRY(fill(operation, options, chosen));
  return quire_mapping{QUIRE_TRY(map(chosen))};
}

Result<AnonymousOptions> to_anonymous(const char* operation, std::uint64_t size_bytes,
                                      const quire_memory_options& given) {
  QUIRE_TRY(check_constant(operation, "reserved", given.reserved, 0));
  AnonymousOptions options{
      .size_bytes = size_bytes,
      .sharing = QUIRE_TRY(to_sharing(operation, given.sharing, Sharing::kPrivate)),
      .reserve_bytes = to_reserve(given.reserve_bytes),
      .huge_pages =
          QUIRE_TRY(to_enum(operation, "huge_pages", given.huge_pages, HugePages::kReserved)),
      .space = QUIRE_TRY(to_enum(operation, "space", given.space, Space::kSparse)),
      .secret = QUIRE_TRY(to_bool(operation, "secret", given.secret))};
  if (given.name != nullptr) {
    options.name = given.name;
  }
  return options;
}

quire_residency to_c(const Residency& from) noexcept {
  return {.struct_size = 0,
          .known = from.resident_known ? 1U : 0U,
          .dirty_known = from.dirty_known ? 1U : 0U,
          .reserved = 0,
          .size_bytes = from.size_bytes,
          .resident_bytes = from.resident_bytes,
          .dirty_bytes = from.dirty_bytes,
          .writeback_bytes = from.writeback_bytes,
          .evicted_bytes = from.evicted_bytes,
          .recently_evicted_bytes = from.recently_evicted_bytes};
}

quire_prefetch_report to_c(const WarmReport& from) noexcept {
  return {.struct_size = 0,
          .stopped = static_cast<std::uint32_t>(from.stopped),
          .size_bytes = from.size_bytes,
          .resident_before_bytes = from.bytes_resident_before,
          .resident_after_bytes = from.bytes_resident_after,
          .read_bytes = from.bytes_read,
          .left_out_bytes = from.bytes_left_out};
}

quire_eviction_report to_c(const EvictionReport& from) {
  quire_eviction_report report{.struct_size = 0,
                               .known = from.known ? 1U : 0U,
                               .before_bytes = from.bytes_before,
                               .after_bytes = from.bytes_after,
                               .remaining = {}};
  std::string remaining = from.why_unknown;
  for (const Kept& kept : from.remaining) {
    remaining += (remaining.empty() ? "" : ", ") + describe(kept);
  }
  copy_text(remaining, report.remaining);
  return report;
}

}  // namespace
}  // namespace quire::c

using namespace quire::c;
using quire::ByteRange;
using quire::Result;

quire_code quire_map_file(const char* path, const quire_map_options* options,
                          quire_mapping** mapping, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_mapping> {
    QUIRE_TRY(require(operation, {{"path", path}}));
    return map_with(operation, options,
                    [&](const auto& chosen) { return quire::map(path, chosen); });
  };
  return make_handle(__func__, "mapping", mapping, error, make);
}

quire_code quire_map_descriptor(int descriptor, const quire_map_options* options,
                                quire_mapping** mapping, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_mapping> {
    return map_with(operation, options,
                    [&](const auto& chosen) { return quire::map_borrowed(descriptor, chosen); });
  };
  return make_handle(__func__, "mapping", mapping, error, make);
}

quire_code quire_map_memory(uint64_t size_bytes, const quire_memory_options* options,
                            quire_mapping** mapping, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_mapping> {
    const quire_memory_options given = QUIRE_TRY(read_options(operation, "options", options));
    return quire_mapping{
        QUIRE_TRY(quire::map_anonymous(QUIRE_TRY(to_anonymous(operation, size_bytes, given))))};
  };
  return make_handle(__func__, "mapping", mapping, error, make);
}

const void* quire_mapping_bytes(const quire_mapping* mapping) noexcept {
  return mapping != nullptr ? any(*mapping).bytes().data() : nullptr;
}

void* quire_mapping_writable_bytes(quire_mapping* mapping) noexcept {
  auto* const writable =
      mapping != nullptr ? std::get_if<quire::WritableMapping>(&mapping->mapping) : nullptr;
  return writable != nullptr ? writable->bytes().data() : nullptr;
}

uint64_t quire_mapping_size(const quire_mapping* mapping) noexcept {
  return mapping != nullptr ? any(*mapping).size_bytes() : 0;
}

int quire_mapping_descriptor(const quire_mapping* mapping) noexcept {
  return mapping != nullptr ? any(*mapping).descriptor() : -1;
}

size_t quire_mapping_explain(const quire_mapping* mapping, char* text, size_t text_bytes) noexcept {
  return give_text(text, text_bytes,
                   [&] { return mapping != nullptr ? any(*mapping).explain() : std::string(); });
}

quire_code quire_mapping_read(const quire_mapping* mapping, uint64_t offset_bytes, void* into,
                              size_t length_bytes, quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    const std::span<std::byte> memory = QUIRE_TRY(to_span(operation, "into", into, length_bytes));
    return any(*mapping).guarded(
        {.offset_bytes = offset_bytes, .length_bytes = length_bytes},
        [memory](std::span<const std::byte> bytes) { std::ranges::copy(bytes, memory.begin()); });
  });
}

quire_code quire_mapping_write(quire_mapping* mapping, uint64_t offset_bytes, const void* from,
                               size_t length_bytes, quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    const std::span memory = QUIRE_TRY(to_span(operation, "from", from, length_bytes));
    return QUIRE_TRY(writable(*mapping, operation))
        ->guarded(
            {.offset_bytes = offset_bytes, .length_bytes = length_bytes},
            [memory](std::span<std::byte> bytes) { std::ranges::copy(memory, bytes.begin()); });
  });
}

quire_code quire_mapping_advise(const quire_mapping* mapping, uint64_t offset_bytes,
                                uint64_t length_bytes, uint32_t advice,
                                quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    return any(*mapping).advise(
        {.offset_bytes = offset_bytes, .length_bytes = length_bytes},
        QUIRE_TRY(to_enum(operation, "advice", advice, quire::Advice::kDontDump)));
  });
}

quire_code quire_mapping_prefetch(const quire_mapping* mapping, uint64_t offset_bytes,
                                  uint64_t length_bytes, quire_prefetch_report* report,
                                  quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_optional_results(operation, "report", report));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    write_results(to_c(QUIRE_TRY(any(*mapping).prefetch(range))), report);
    return {};
  });
}

quire_code quire_mapping_get_residency(const quire_mapping* mapping, uint64_t offset_bytes,
                                       uint64_t length_bytes, quire_residency* residency,
                                       quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "residency", residency));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    write_results(to_c(QUIRE_TRY(any(*mapping).resident(range))), residency);
    return {};
  });
}

quire_code quire_mapping_evict(const quire_mapping* mapping, uint64_t offset_bytes,
                               uint64_t length_bytes, quire_eviction_report* report,
                               quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_optional_results(operation, "report", report));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    write_results(to_c(QUIRE_TRY(any(*mapping).evict(range))), report);
    return {};
  });
}

quire_code quire_mapping_resize(quire_mapping* mapping, uint64_t size_bytes,
                                quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(writable(*mapping, operation))->resize(size_bytes);
  });
}

quire_code quire_mapping_append(quire_mapping* mapping, const void* data, size_t length_bytes,
                                quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    const std::span bytes = QUIRE_TRY(to_span(operation, "data", data, length_bytes));
    return QUIRE_TRY(writable(*mapping, operation))->append(bytes);
  });
}

quire_code quire_mapping_flush(const quire_mapping* mapping, uint64_t offset_bytes,
                               uint64_t length_bytes, uint32_t durability,
                               quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    const quire::Durability chosen = QUIRE_TRY(to_durability(operation, durability));
    return QUIRE_TRY(writable(*mapping, operation))
        ->flush({.offset_bytes = offset_bytes, .length_bytes = length_bytes}, chosen);
  });
}

quire_code quire_mapping_flush_async(const quire_mapping* mapping, uint64_t offset_bytes,
                                     uint64_t length_bytes, uint32_t durability,
                                     quire_ticket** ticket, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_ticket> {
    QUIRE_TRY(require(operation, {{"mapping", mapping}}));
    const quire::Durability chosen = QUIRE_TRY(to_durability(operation, durability));
    const ByteRange range{.offset_bytes = offset_bytes, .length_bytes = length_bytes};
    return quire_ticket{
        QUIRE_TRY(QUIRE_TRY(writable(*mapping, operation))->flush_async(range, chosen))};
  };
  return make_handle(__func__, "ticket", ticket, error, make);
}

quire_code quire_mapping_acknowledge_error(const quire_mapping* mapping,
                                           quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(writable(*mapping, operation))->acknowledge_error();
    return {};
  });
}

quire_code quire_mapping_close(quire_mapping* mapping, quire_error* error) noexcept {
  return run(__func__, {{"mapping", mapping}}, error, [&](const char* operation) -> Result<void> {
    if (!any(*mapping).is_open()) {
      return fail(make_error(quire::Errc::kClosed, operation, "mapping"));
    }
    return any(*mapping).close();
  });
}

void quire_mapping_free(quire_mapping* mapping) noexcept {
  delete mapping;
}
