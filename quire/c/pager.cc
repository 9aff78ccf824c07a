// SPDX-License-Identifier: Apache-2.0
#include "quire/c/pager.h"

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"

namespace quire::c {
namespace {

static_assert(static_cast<std::uint32_t>(FaultPath::kHandler) == QUIRE_FAULT_PATH_HANDLER &&
              static_cast<std::uint32_t>(FaultPath::kInline) == QUIRE_FAULT_PATH_INLINE);
static_assert(static_cast<std::uint32_t>(PagingEngine::kPaged) == QUIRE_ENGINE_PAGED);
static_assert(static_cast<std::uint32_t>(OnFillError::kZeros) == QUIRE_ON_FILL_ERROR_ZEROS);
static_assert(static_cast<std::uint32_t>(CommitMode::kAtomic) == QUIRE_COMMIT_ATOMIC);

// Position: the constant, which has another zero.
constexpr std::array kPolicies = {PolicyKind::kS3Fifo, PolicyKind::kClock, PolicyKind::kFifo};

Result<PagerOptions> to_pager_options(const char* operation, const quire_pager_options* given) {
  const quire_pager_options options = QUIRE_TRY(read_options(operation, "options", given));
  using Milliseconds = std::chrono::milliseconds;
  QUIRE_TRY(check_constant(operation, "policy", options.policy, QUIRE_POLICY_FIFO));
  PagerOptions chosen;
  chosen.policy = kPolicies.at(options.policy);
  chosen.fault_path =
      QUIRE_TRY(to_enum(operation, "fault_path", options.fault_path, FaultPath::kInline));
  chosen.survive_kill = QUIRE_TRY(to_bool(operation, "survive_kill", options.survive_kill))
                            ? SurviveKill::kYes
                            : SurviveKill::kNo;
  set_unless_zero(chosen.memory_bytes, options.memory_bytes);
  set_unless_zero(chosen.granule_bytes, options.granule_bytes);
  set_unless_zero(chosen.read_ahead_bytes_max, options.read_ahead_bytes_max);
  set_unless_zero(chosen.read_ahead_windows, options.read_ahead_windows);
  set_unless_zero(chosen.dirty_start_percent, options.dirty_start_percent);
  set_unless_zero(chosen.dirty_max_percent, options.dirty_max_percent);
  set_unless_zero(chosen.write_back_time_max, options.write_back_time_ms);
  set_unless_zero(chosen.dirty_age_max, options.dirty_age_ms);
  set_unless_zero(chosen.slow_fault_report, options.slow_fault_ms);
  if (options.slow_fault_ms == QUIRE_MS_NONE) {
    chosen.slow_fault_report = Milliseconds(0);
  }
  return chosen;
}

// Into options of either kind: those for writing have no default, so that no Result can hold them.
template <typename Options>
Result<void> fill(const char* operation, const quire_area_options& given, Options& options) {
  QUIRE_TRY(fill_file(operation, given, options));
  const JournalChoice journal = QUIRE_TRY(to_journal_part(operation, given.journal));
  options.engine = QUIRE_TRY(to_enum(operation, "engine", given.engine, PagingEngine::kPaged));
  options.on_fill_error =
      QUIRE_TRY(to_enum(operation, "on_fill_error", given.on_fill_error, OnFillError::kZeros));
  options.commit = QUIRE_TRY(to_enum(operation, "commit", given.commit, CommitMode::kAtomic));
  options.journal_path = journal.path;
  options.journal = journal.options;
  return {};
}

Result<quire_area> map_path(const std::shared_ptr<Pager>& pager, const char* operation,
                            const char* path, const quire_area_options* given) {
  const quire_area_options options = QUIRE_TRY(read_options(operation, "options", given));
  QUIRE_TRY(check_constant(operation, "access", options.access, QUIRE_ACCESS_READ_WRITE));
  const auto box = std::make_shared<AreaBox>();
  box->pager = pager;
  if (options.access == QUIRE_ACCESS_READ_ONLY) {
    PagedOptions chosen;
    QUIRE_TRY(fill(operation, options, chosen));
    box->area = QUIRE_TRY(pager->map(path, chosen));
  } else {
    WritablePagedOptions chosen{.access = Access::kReadWrite};
    QUIRE_TRY(fill(operation, options, chosen));
    box->area = QUIRE_TRY(pager->map(path, chosen));
  }
  return quire_area{box};
}

quire_pager_stats to_c(const PagerStats& from) noexcept {
  return {.struct_size = 0,
          .areas = from.areas,
          .memory_bytes = from.memory_bytes,
          .taken_bytes = from.taken_bytes,
          .taken_bytes_max = from.taken_bytes_max,
          .page_bytes = from.page_bytes,
          .buffer_bytes = from.buffer_bytes,
          .metadata_bytes = from.metadata_bytes,
          .dirty_bytes = from.dirty_bytes,
          .evicted = from.evicted,
          .direct_reclaims = from.direct_reclaims,
          .credit_waits = from.credit_waits,
          .dirty_waits = from.dirty_waits,
          .write_errors = from.write_errors,
          .ghost_hits = from.ghost_hits,
          .watched = from.watched,
          .slow_faults = from.slow_faults};
}

}  // namespace
}  // namespace quire::c

using namespace quire::c;
using quire::Result;

quire_code quire_pager_create(const quire_pager_options* options, quire_pager** pager,
                              quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_pager> {
    return quire_pager{
        std::make_shared<quire::Pager>(QUIRE_TRY(to_pager_options(operation, options)))};
  };
  return make_handle(__func__, "pager", pager, error, make);
}

void quire_pager_free(quire_pager* pager) noexcept {
  delete pager;
}

quire_code quire_pager_get_stats(const quire_pager* pager, quire_pager_stats* stats,
                                 quire_error* error) noexcept {
  return run(__func__, {{"pager", pager}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "stats", stats));
    write_results(to_c(pager->pager->stats()), stats);
    return {};
  });
}

size_t quire_pager_explain(const quire_pager* pager, char* text, size_t text_bytes) noexcept {
  return give_text(text, text_bytes,
                   [&] { return pager != nullptr ? pager->pager->explain() : std::string(); });
}

quire_code quire_pager_map(quire_pager* pager, const char* path, const quire_area_options* options,
                           quire_area** area, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_area> {
    QUIRE_TRY(require(operation, {{"pager", pager}, {"path", path}}));
    return map_path(pager->pager, operation, path, options);
  };
  return make_handle(__func__, "area", area, error, make);
}

quire_code quire_pager_map_journal(quire_pager* pager, quire_journal* journal, size_t file,
                                   const quire_area_options* options, quire_area** area,
                                   quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_area> {
    QUIRE_TRY(require(operation, {{"pager", pager}, {"journal", journal}}));
    const quire_area_options given = QUIRE_TRY(read_options(operation, "options", options));
    quire::WritablePagedOptions chosen{.access = quire::Access::kReadWrite};
    QUIRE_TRY(fill(operation, given, chosen));
    const auto box = std::make_shared<AreaBox>();
    box->pager = pager->pager;
    box->area =
        QUIRE_TRY(pager->pager->map(QUIRE_TRY(open_journal_of(*journal, operation)), file, chosen));
    return quire_area{box};
  };
  return make_handle(__func__, "area", area, error, make);
}

quire_code quire_pager_commit(quire_pager* pager, quire_area* const* areas, size_t area_count,
                              quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"pager", pager}, {"areas", static_cast<const void*>(areas)}}));
    std::vector<quire::WritablePagedArea*> chosen;
    for (quire_area* const area : std::span(areas, area_count)) {
      QUIRE_TRY(require(operation, {{"areas", area}}));
      chosen.push_back(QUIRE_TRY(writable(*area, operation)));
    }
    return pager->pager->commit(chosen);
  });
}
