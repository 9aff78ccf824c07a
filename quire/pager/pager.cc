// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/pager.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/base/check.h"
#include "quire/io/file.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/explain.h"
#include "quire/pager/internal/pager_state.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire {
namespace {

using internal::AreaCommit;
using internal::AreaOptions;
using internal::JournalOwner;
using internal::KernelArea;
using internal::OpenedArea;
using internal::PagerState;

// What opening a journal may take while other areas have the budget: less than what a process needs
// beside it.
constexpr std::uint64_t kRecoveryMemoryBytesMax = 32_MiB;

template <typename AccessType>
AreaOptions area_options(const BasicPagedOptions<AccessType>& options, std::uint64_t size_bytes) {
  constexpr bool kIsWritable = std::is_same_v<AccessType, ReadWriteAccess>;
  std::uint64_t reserve_bytes = kIsWritable ? options.reserve_bytes : 0;
  if (reserve_bytes == kReserveAutomatic) {
    reserve_bytes = size_bytes + kReserveAheadBytes;
  }
  return {.is_writable = kIsWritable,
          .on_fill_error = options.on_fill_error,
          .reserve_bytes = reserve_bytes,
          .space = options.space};
}

Result<void> grow_to_minimum(Store& store, const WritablePagedOptions& options) {
  const std::uint64_t size_bytes = QUIRE_TRY(store.size_bytes());
  if (size_bytes >= options.minimum_bytes) {
    return {};
  }
  if (options.space == Space::kSecured) {
    const Result<void> secured = store.allocate({size_bytes, options.minimum_bytes - size_bytes});
    if (secured || secured.error().code() != Errc::kUnsupported) {
      return secured;
    }
  }
  return store.resize(options.minimum_bytes);
}

FileOptions file_options(const PagedOptions&) {
  return {.cache = CacheUse::kBypass, .read_ahead = ReadAhead::kNone};
}

FileOptions file_options(const WritablePagedOptions& options) {
  return {.writable = true,
          .create = options.create,
          .exclusive = options.exclusive,
          .create_mode = options.create_mode,
          .cache = CacheUse::kBypass,
          .read_ahead = ReadAhead::kNone};
}

Result<KernelArea> map_by_kernel(const std::string& path, const PagedOptions&,
                                 const Error& reason) {
  return KernelArea(QUIRE_TRY(quire::map(path)), reason.message());
}

Result<KernelArea> map_by_kernel(const std::string& path, const WritablePagedOptions& options,
                                 const Error& reason) {
  return KernelArea(QUIRE_TRY(quire::map(path, {.access = Access::kReadWrite,
                                                .minimum_bytes = options.minimum_bytes,
                                                .reserve_bytes = options.reserve_bytes,
                                                .space = options.space})),
                    reason.message());
}

Result<void> prepare(Store&, const PagedOptions&) {
  return {};
}
Result<void> prepare(Store& store, const WritablePagedOptions& options) {
  return grow_to_minimum(store, options);
}

template <typename AccessType>
Result<OpenedArea> open_store(PagerState& state, std::shared_ptr<Store> store,
                              const BasicPagedOptions<AccessType>& options) {
  if (options.commit == CommitMode::kAtomic) {
    return fail(make_error(Errc::kUnsupported, "map for commits", store->name(),
                           "a store has no journal", "map it as a file of a Journal"));
  }
  QUIRE_TRY(prepare(*store, options));
  const std::uint64_t size_bytes = QUIRE_TRY(store->size_bytes());
  return state.open(std::move(store), area_options(options, size_bytes));
}

// What minimum_bytes adds is there, and not only when the first commit is.
Result<void> prepare_commits(Store& store, const WritablePagedOptions& options) {
  QUIRE_TRY(grow_to_minimum(store, options));
  return store.sync(Durability::kData);
}

Result<OpenedArea> open_journaled(PagerState& state, const std::shared_ptr<Journal>& journal,
                                  std::size_t file, JournalOwner owner,
                                  const WritablePagedOptions& options) {
  const std::shared_ptr<Store> store(journal, &journal->file(file));
  std::shared_ptr<AreaCommit> commit = QUIRE_TRY(AreaCommit::make(journal, file, owner));
  QUIRE_TRY(prepare_commits(*store, options));
  AreaOptions chosen = area_options(options, QUIRE_TRY(store->size_bytes()));
  chosen.commit = std::move(commit);
  return state.open(store, std::move(chosen));
}

Result<OpenedArea> open_atomic(PagerState&, const std::string& path, const PagedOptions&) {
  return fail(make_error(Errc::kUnsupported, "map for commits", path,
                         "what is mapped read-only has nothing to commit",
                         "map it with .access = Access::kReadWrite"));
}

Result<OpenedArea> open_atomic(PagerState& state, const std::string& path,
                               const WritablePagedOptions& options) {
  if (options.create) {
    FileOptions created = file_options(options);
    created.behind_journal = BehindJournal::kAllowed;
    QUIRE_TRY(open_file(path, created));  // With its mode, or only if it is new.
  }
  JournalFileOptions chosen{.path = options.journal_path, .journal = options.journal};
  if (!chosen.journal.recovery_memory_bytes) {
    chosen.journal.recovery_memory_bytes =
        std::min(state.options.memory_bytes, kRecoveryMemoryBytesMax);
  }
  const std::shared_ptr<Journal> journal = QUIRE_TRY(open_journal({path}, chosen));
  Result<OpenedArea> opened = open_journaled(state, journal, 0, JournalOwner::kArea, options);
  if (!opened) {
    static_cast<void>(journal->close());  // Why it failed counts.
  }
  return opened;
}

template <typename AccessType>
Result<OpenedArea> open_path(PagerState& state, const std::string& path,
                             const BasicPagedOptions<AccessType>& options) {
  if (options.commit == CommitMode::kAtomic) {
    return open_atomic(state, path, options);
  }
  std::shared_ptr<File> file = QUIRE_TRY(open_file(path, file_options(options)));
  std::shared_ptr<Store> store = std::move(file);
  Result<OpenedArea> opened = open_store(state, store, options);
  const bool falls_back = !opened && options.engine == PagingEngine::kAutomatic &&
                          opened.error().code() == Errc::kUnsupported;
  if (!falls_back) {
    return opened;
  }
  store.reset();
  return OpenedArea{.kernel = std::make_shared<KernelArea>(
                        QUIRE_TRY(map_by_kernel(path, options, opened.error())))};
}

}  // namespace

const char* name_of(FaultPath path) noexcept {
  switch (path) {
    case FaultPath::kAutomatic: return "automatic";
    case FaultPath::kHandler: return "handler";
    case FaultPath::kInline: break;
  }
  return "inline";
}

Pager::Pager(const PagerOptions& options) : state_(std::make_unique<PagerState>(options)) {}

Pager::~Pager() {
  if (internal::Service::is_in_forked_child()) {
    static_cast<void>(state_.release());  // Nothing of it works here, its end included.
    return;
  }
  const std::shared_ptr<internal::PagerCore> core = state_->core_if_any();
  QUIRE_CHECK(core == nullptr || core->areas.load() == 0);
}

Result<PagedArea> Pager::map(PathArgument path, const PagedOptions& options) {
  return PagedArea(QUIRE_TRY(open_path(*state_, path.take(), options)));
}

Result<WritablePagedArea> Pager::map_writable(PathArgument path,
                                              const WritablePagedOptions& options) {
  return WritablePagedArea(QUIRE_TRY(open_path(*state_, path.take(), options)));
}

Result<PagedArea> Pager::map(std::shared_ptr<Store> store, const PagedOptions& options) {
  return PagedArea(QUIRE_TRY(open_store(*state_, std::move(store), options)));
}

Result<WritablePagedArea> Pager::map_store_writable(std::shared_ptr<Store> store,
                                                    const WritablePagedOptions& options) {
  return WritablePagedArea(QUIRE_TRY(open_store(*state_, std::move(store), options)));
}

Result<WritablePagedArea> Pager::map(const std::shared_ptr<Journal>& journal, std::size_t file,
                                     const WritablePagedOptions& options) {
  if (file >= journal->file_count()) {
    return fail(make_error(Errc::kOutOfRange, "map for commits", fmt::format("file {}", file),
                           fmt::format("the journal has {} files", journal->file_count())));
  }
  return WritablePagedArea(
      QUIRE_TRY(open_journaled(*state_, journal, file, JournalOwner::kUser, options)));
}

Result<void> Pager::start_trace(PathArgument path) {
  const std::shared_ptr<internal::PagerCore> core = QUIRE_TRY(state_->core());
  return core->recorder.start(std::move(path), core->geometry.granule.bytes());
}

Result<TraceReport> Pager::stop_trace() {
  return QUIRE_TRY(state_->core())->recorder.stop();
}

const PagerOptions& Pager::options() const noexcept {
  return state_->options;
}

PagerStats Pager::stats() const {
  const std::shared_ptr<internal::PagerCore> core = state_->core_if_any();
  if (core == nullptr || internal::Service::is_in_forked_child()) {
    PagerStats stats;
    stats.memory_bytes = state_->options.memory_bytes;
    return stats;
  }
  const sys::BlockedSignals blocked;
  return core->stats();
}

std::string Pager::explain() const {
  const std::shared_ptr<internal::PagerCore> core = state_->core_if_any();
  if (core == nullptr || internal::Service::is_in_forked_child()) {
    return fmt::format("{} of memory, nothing mapped yet",
                       human_bytes(state_->options.memory_bytes));
  }
  return internal::explain(*core);
}

void Pager::check_invariants() const {
  const std::shared_ptr<internal::PagerCore> core = state_->core_if_any();
  if (core != nullptr) {
    core->service->inspect([&] { core->check_invariants(); });
  }
}

}  // namespace quire
