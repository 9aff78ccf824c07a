// SPDX-License-Identifier: Apache-2.0
#include "quire/c/journal.h"

#include <chrono>
#include <string>
#include <vector>

#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"

namespace quire::c {
namespace {

static_assert(static_cast<std::uint32_t>(Checkpointing::kOnDemand) ==
              QUIRE_CHECKPOINTING_ON_DEMAND);

Result<void> check_file(const char* operation, std::size_t file, std::size_t file_count) {
  if (file >= file_count) {
    return fail(make_error(Errc::kOutOfRange, operation, "file " + std::to_string(file),
                           "there are " + std::to_string(file_count) + " files"));
  }
  return {};
}

Result<JournaledStore*> file_of(const quire_journal* handle, std::size_t file,
                                const char* operation) {
  QUIRE_TRY(require(operation, {{"journal", handle}}));
  const std::shared_ptr<Journal> journal = QUIRE_TRY(open_journal_of(*handle, operation));
  QUIRE_TRY(check_file(operation, file, journal->file_count()));
  return &journal->file(file);
}

// The C handle is not const when something is to be done, the C++ object behind it never is.
Result<std::shared_ptr<Journal>> require_journal(const quire_journal* handle,
                                                 const char* operation) {
  QUIRE_TRY(require(operation, {{"journal", handle}}));
  return open_journal_of(*handle, operation);
}

Result<void> check_snapshot(const quire_snapshot* handle, std::size_t file, const char* operation) {
  QUIRE_TRY(require(operation, {{"snapshot", handle}}));
  return check_file(operation, file, handle->file_count);
}

Result<std::uint64_t> read_snapshot(const quire_snapshot& handle, std::size_t file,
                                    std::uint64_t offset_bytes, std::span<std::byte> into) {
  if (const auto* journal = std::get_if<JournalSnapshot>(&handle.snapshot)) {
    return journal->read(file, offset_bytes, into);
  }
  return std::get<TrackedSnapshot>(handle.snapshot).read(offset_bytes, into);
}

}  // namespace

Result<JournalChoice> to_journal_choice(const char* operation, const quire_journal_options* given) {
  const quire_journal_options options =
      QUIRE_TRY(read_options(operation, "journal options", given));
  JournalChoice choice;
  set_unless_zero(choice.options.page_bytes, options.page_bytes);
  set_unless_zero(choice.options.log_bytes, options.log_bytes);
  choice.options.checkpointing = QUIRE_TRY(
      to_enum(operation, "checkpointing", options.checkpointing, Checkpointing::kOnDemand));
  if (options.full_wait_ms != 0) {
    choice.options.full_wait_max =
        std::chrono::milliseconds(options.full_wait_ms == QUIRE_MS_NONE ? 0 : options.full_wait_ms);
  }
  choice.creation = QUIRE_TRY(to_creation(operation, options.create));
  choice.path = options.path != nullptr ? options.path : "";
  return choice;
}

Result<JournalChoice> to_journal_part(const char* operation, const quire_journal_options* given) {
  JournalChoice choice = QUIRE_TRY(to_journal_choice(operation, given));
  if (choice.creation.create) {
    return fail(misuse(operation, "journal options", "they say that files are to be created",
                       "say it in the options of what is opened"));
  }
  return choice;
}

Result<std::shared_ptr<Journal>> open_journal_of(const quire_journal& journal,
                                                 const char* operation) {
  if (journal.journal == nullptr) {
    return fail(make_error(Errc::kClosed, operation, "journal"));
  }
  return journal.journal;
}

quire_journal_stats to_c(const JournalStats& from) noexcept {
  return {.struct_size = 0,
          .reserved = 0,
          .last_commit = from.last_commit,
          .checkpointed_commit = from.checkpointed_commit,
          .commit_calls = from.commit_calls,
          .commits = from.commits,
          .log_writes = from.log_writes,
          .log_bytes_written = from.log_bytes_written,
          .images = from.images,
          .uncommitted_images = from.uncommitted_images,
          .full_waits = from.full_waits,
          .checkpoints = from.checkpoints,
          .checkpoint_pages = from.checkpoint_pages,
          .used_bytes = from.used_bytes,
          .log_bytes = from.log_bytes,
          .index_bytes = from.index_bytes,
          .snapshots = from.snapshots,
          .recovered_commits = from.recovered_commits,
          .recovered_pages = from.recovered_pages};
}

}  // namespace quire::c

using namespace quire::c;
using quire::Result;

quire_code quire_journal_open(const char* const* paths, size_t path_count,
                              const quire_journal_options* options, quire_journal** journal,
                              quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_journal> {
    QUIRE_TRY(require(operation, {{"paths", static_cast<const void*>(paths)}}));
    std::vector<std::string> names;
    for (const char* path : std::span(paths, path_count)) {
      QUIRE_TRY(require(operation, {{"paths", path}}));
      names.emplace_back(path);
    }
    if (names.empty() || names.size() > quire::kJournalFilesMax) {
      return fail(
          misuse(operation, "path_count", "it is " + std::to_string(path_count),
                 "a journal has 1 to " + std::to_string(quire::kJournalFilesMax) + " files"));
    }
    const JournalChoice choice = QUIRE_TRY(to_journal_choice(operation, options));
    QUIRE_TRY(check_constant(operation, "create", choice.creation.exclusive ? 2 : 0,
                             QUIRE_CREATE_IF_MISSING));
    return quire_journal{QUIRE_TRY(quire::open_journal(
        names,
        {.path = choice.path, .create = choice.creation.create, .journal = choice.options}))};
  };
  return make_handle(__func__, "journal", journal, error, make);
}

size_t quire_journal_file_count(const quire_journal* journal) noexcept {
  return journal != nullptr && journal->journal != nullptr ? journal->journal->file_count() : 0;
}

quire_code quire_journal_get_size(const quire_journal* journal, size_t file, uint64_t* size_bytes,
                                  quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"size_bytes", size_bytes}}));
    *size_bytes = QUIRE_TRY(QUIRE_TRY(file_of(journal, file, operation))->size_bytes());
    return {};
  });
}

quire_code quire_journal_read(const quire_journal* journal, size_t file, uint64_t offset_bytes,
                              void* into, size_t length_bytes, size_t* read_bytes,
                              quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"read_bytes", read_bytes}}));
    const std::span<std::byte> memory = QUIRE_TRY(to_span(operation, "into", into, length_bytes));
    quire::JournaledStore* const store = QUIRE_TRY(file_of(journal, file, operation));
    *read_bytes = QUIRE_TRY(store->read(offset_bytes, memory));
    return {};
  });
}

quire_code quire_journal_write(quire_journal* journal, size_t file, uint64_t offset_bytes,
                               const void* from, size_t length_bytes, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    const std::span memory = QUIRE_TRY(to_span(operation, "from", from, length_bytes));
    return QUIRE_TRY(file_of(journal, file, operation))->write(offset_bytes, memory);
  });
}

quire_code quire_journal_resize(quire_journal* journal, size_t file, uint64_t size_bytes,
                                quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(file_of(journal, file, operation))->resize(size_bytes);
  });
}

quire_code quire_journal_commit(quire_journal* journal, uint64_t* number,
                                quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    const uint64_t committed = QUIRE_TRY(QUIRE_TRY(require_journal(journal, operation))->commit());
    if (number != nullptr) {
      *number = committed;
    }
    return {};
  });
}

quire_code quire_journal_rollback(quire_journal* journal, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    const std::shared_ptr<quire::Journal> open = QUIRE_TRY(require_journal(journal, operation));
    std::vector<std::size_t> files(open->file_count());
    for (std::size_t i = 0; i < files.size(); ++i) {
      files[i] = i;
    }
    return open->rollback(files);
  });
}

quire_code quire_journal_checkpoint(quire_journal* journal, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    return QUIRE_TRY(require_journal(journal, operation))->checkpoint();
  });
}

quire_code quire_journal_get_stats(const quire_journal* journal, quire_journal_stats* stats,
                                   quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_results(operation, "stats", stats));
    write_results(to_c(QUIRE_TRY(require_journal(journal, operation))->stats()), stats);
    return {};
  });
}

size_t quire_journal_explain(const quire_journal* journal, char* text, size_t text_bytes) noexcept {
  return give_text(text, text_bytes, [&] {
    const bool is_open = journal != nullptr && journal->journal != nullptr;
    return is_open ? journal->journal->explain() : std::string();
  });
}

quire_code quire_journal_close(quire_journal* journal, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    const std::shared_ptr<quire::Journal> open = QUIRE_TRY(require_journal(journal, operation));
    journal->journal.reset();
    return open->close();
  });
}

void quire_journal_free(quire_journal* journal) noexcept {
  delete journal;
}

quire_code quire_journal_snapshot(quire_journal* journal, quire_snapshot** snapshot,
                                  quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_snapshot> {
    const std::shared_ptr<quire::Journal> open = QUIRE_TRY(require_journal(journal, operation));
    return quire_snapshot{.file_count = open->file_count(), .snapshot = open->snapshot()};
  };
  return make_handle(__func__, "snapshot", snapshot, error, make);
}

uint64_t quire_snapshot_commit_number(const quire_snapshot* snapshot) noexcept {
  const auto number = [](const auto& kind) { return kind.commit_number(); };
  return snapshot != nullptr ? std::visit(number, snapshot->snapshot) : 0;
}

quire_code quire_snapshot_get_size(const quire_snapshot* snapshot, size_t file,
                                   uint64_t* size_bytes, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"size_bytes", size_bytes}}));
    QUIRE_TRY(check_snapshot(snapshot, file, operation));
    const auto* journal = std::get_if<quire::JournalSnapshot>(&snapshot->snapshot);
    *size_bytes = journal != nullptr
                      ? journal->size_bytes(file)
                      : std::get<quire::TrackedSnapshot>(snapshot->snapshot).size_bytes();
    return {};
  });
}

quire_code quire_snapshot_read(const quire_snapshot* snapshot, size_t file, uint64_t offset_bytes,
                               void* into, size_t length_bytes, size_t* read_bytes,
                               quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"read_bytes", read_bytes}}));
    const std::span<std::byte> memory = QUIRE_TRY(to_span(operation, "into", into, length_bytes));
    QUIRE_TRY(check_snapshot(snapshot, file, operation));
    *read_bytes = QUIRE_TRY(read_snapshot(*snapshot, file, offset_bytes, memory));
    return {};
  });
}

void quire_snapshot_free(quire_snapshot* snapshot) noexcept {
  delete snapshot;
}
