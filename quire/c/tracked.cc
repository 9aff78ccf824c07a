// SPDX-License-Identifier: Apache-2.0
#include "quire/c/tracked.h"

#include <memory>
#include <string>
#include <utility>

#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"

struct quire_tracked {
  std::shared_ptr<quire::TrackedMapping> mapping;  // Kept by updates, too.
};

namespace quire::c {
namespace {

Result<TrackedOptions> to_tracked_options(const char* operation,
                                          const quire_tracked_options* given) {
  const quire_tracked_options options = QUIRE_TRY(read_options(operation, "options", given));
  QUIRE_TRY(check_constant(operation, "create", options.create, QUIRE_CREATE_IF_MISSING));
  const JournalChoice journal = QUIRE_TRY(to_journal_part(operation, options.journal));
  TrackedOptions chosen{.access = Access::kReadWrite,
                        .commit = Commit::kAtomic,
                        .create = options.create != QUIRE_CREATE_NEVER,
                        .minimum_bytes = options.minimum_bytes,
                        .reserve_bytes = to_reserve(options.reserve_bytes),
                        .journal_path = journal.path,
                        .journal = journal.options};
  set_unless_zero(chosen.drop_past_bytes, options.drop_past_bytes);
  return chosen;
}

quire_tracked_stats to_c(const TrackedStats& from) noexcept {
  return {.struct_size = 0,
          .reserved = 0,
          .commits = from.commits,
          .empty_commits = from.empty_commits,
          .failed_commits = from.failed_commits,
          .committed_pages = from.committed_pages,
          .compared_pages = from.compared_pages,
          .waiting_commits = from.waiting_commits,
          .rollbacks = from.rollbacks,
          .restored_pages = from.restored_pages,
          .drops = from.drops,
          .put_off_drops = from.put_off_drops};
}

}  // namespace
}  // namespace quire::c

using namespace quire::c;
using quire::Result;

quire_code quire_tracked_open(const char* path, const quire_tracked_options* options,
                              quire_tracked** tracked, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_tracked> {
    QUIRE_TRY(require(operation, {{"path", path}}));
    const quire::TrackedOptions chosen = QUIRE_TRY(to_tracked_options(operation, options));
    quire::TrackedMapping mapped = QUIRE_TRY(quire::map(path, chosen));
    return quire_tracked{std::make_shared<quire::TrackedMapping>(std::move(mapped))};
  };
  return make_handle(__func__, "tracked", tracked, error, make);
}

quire_code quire_map_committed(const char* path, const char* journal_path, quire_mapping** mapping,
                               quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_mapping> {
    QUIRE_TRY(require(operation, {{"path", path}}));
    const quire::CommittedOptions options{
        .commit = quire::Commit::kAtomic,
        .journal_path = journal_path != nullptr ? journal_path : ""};
    return quire_mapping{QUIRE_TRY(quire::map(path, options))};
  };
  return make_handle(__func__, "mapping", mapping, error, make);
}

void* quire_tracked_bytes(quire_tracked* tracked) noexcept {
  return tracked != nullptr ? tracked->mapping->bytes().data() : nullptr;
}

uint64_t quire_tracked_size(const quire_tracked* tracked) noexcept {
  return tracked != nullptr ? tracked->mapping->size_bytes() : 0;
}

quire_code quire_tracked_begin_update(quire_tracked* tracked, quire_update** update,
                                      quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<std::unique_ptr<quire_update>> {
    QUIRE_TRY(require(operation, {{"tracked", tracked}}));
    if (!tracked->mapping->is_open()) {
      return fail(make_error(quire::Errc::kClosed, operation, "tracked"));
    }
    return begin_update(tracked->mapping, *tracked->mapping);
  };
  return make_handle(__func__, "update", update, error, make);
}

quire_code quire_tracked_commit(quire_tracked* tracked, quire_commit_receipt* receipt,
                                quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_optional_results(operation, "receipt", receipt));
    const quire::CommitReceipt done = QUIRE_TRY(tracked->mapping->commit());
    write_results(
        quire_commit_receipt{
            .struct_size = 0, .reserved = 0, .number = done.number, .pages = done.pages},
        receipt);
    return {};
  });
}

quire_code quire_tracked_commit_async(quire_tracked* tracked, quire_ticket** ticket,
                                      quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_ticket> {
    QUIRE_TRY(require(operation, {{"tracked", tracked}}));
    return quire_ticket{QUIRE_TRY(tracked->mapping->commit_async())};
  };
  return make_handle(__func__, "ticket", ticket, error, make);
}

quire_code quire_tracked_rollback(quire_tracked* tracked, quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&] { return tracked->mapping->rollback(); });
}

quire_code quire_tracked_snapshot(const quire_tracked* tracked, quire_snapshot** snapshot,
                                  quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_snapshot> {
    QUIRE_TRY(require(operation, {{"tracked", tracked}}));
    return quire_snapshot{.file_count = 1, .snapshot = QUIRE_TRY(tracked->mapping->snapshot())};
  };
  return make_handle(__func__, "snapshot", snapshot, error, make);
}

quire_code quire_tracked_resize(quire_tracked* tracked, uint64_t size_bytes,
                                quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error,
             [&] { return tracked->mapping->resize(size_bytes); });
}

quire_code quire_tracked_check(const quire_tracked* tracked, quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&] { return tracked->mapping->check(); });
}

quire_code quire_tracked_get_residency(const quire_tracked* tracked, uint64_t offset_bytes,
                                       uint64_t length_bytes, quire_tracked_residency* residency,
                                       quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "residency", residency));
    const quire::TrackedResidency found = QUIRE_TRY(
        tracked->mapping->resident({.offset_bytes = offset_bytes, .length_bytes = length_bytes}));
    write_results(quire_tracked_residency{.struct_size = 0,
                                          .reserved = 0,
                                          .size_bytes = found.size_bytes,
                                          .resident_bytes = found.resident_bytes,
                                          .private_bytes = found.private_bytes},
                  residency);
    return {};
  });
}

quire_code quire_tracked_get_stats(const quire_tracked* tracked, quire_tracked_stats* stats,
                                   quire_journal_stats* journal, quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "stats", stats));
    QUIRE_TRY(check_optional_results(operation, "journal", journal));
    if (!tracked->mapping->is_open()) {
      return fail(make_error(quire::Errc::kClosed, operation, "tracked"));
    }
    const quire::TrackedStats counted = tracked->mapping->stats();
    write_results(to_c(counted), stats);
    write_results(to_c(counted.journal), journal);
    return {};
  });
}

size_t quire_tracked_explain(const quire_tracked* tracked, char* text, size_t text_bytes) noexcept {
  return give_text(text, text_bytes, [&] {
    return tracked != nullptr ? tracked->mapping->explain() : std::string();
  });
}

quire_code quire_tracked_close(quire_tracked* tracked, quire_error* error) noexcept {
  return run(__func__, {{"tracked", tracked}}, error, [&] { return tracked->mapping->close(); });
}

void quire_tracked_free(quire_tracked* tracked) noexcept {
  delete tracked;
}
