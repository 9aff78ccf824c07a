// SPDX-License-Identifier: Apache-2.0
//
// Pager: plain pointers over files larger than memory, with a hard budget.
//
//   quire::Pager pager({.memory_bytes = 256_MiB});        // several areas share one budget
//   auto index = pager.map("index.ann").value();
//   query(index.bytes().data());                          // never more than 256 MiB in memory
//
// Before anything else:
//   * System calls. A buffer that lies in an area may be absent when the kernel looks at it. With
//     FaultPath::kInline the call then fails with EFAULT: take a pin() first; it is cheap, and it
//     gives an Error where a pointer would give a signal.
//     A thread that blocks SIGBUS is killed at its first fault: do not block it.
//   * SIGKILL. Stores live in this process until they are written back: a process that is killed
//     loses what flush() had not confirmed, unlike with mmap, where the kernel keeps dirty pages.
//     After flush() has returned, they are as durable as after fdatasync. With
//     PagerOptions::survive_kill another process writes them: pager/survive_kill.h.
//   * Commits. With .commit = Commit::kAtomic stores reach the file by commit() alone: all since
//     the last one together, or none, whatever happens. See WritablePagedArea.
//   * fork. A child does not inherit the areas: touching one raises SIGSEGV there, and every
//     function fails with kClosed. exec and posix_spawn are fine.
//
//   application        load / store          pin()          flush() evict() prefetch()
//        |                  |                  |                        |
//        |              a fault                |                        |
//        v                  v                  v                        v
//   [ view: MAP_SHARED of a memfd ]     [ granule states ]     [ service thread: read-ahead,
//        ^                                     |                 write-back, room ahead of time ]
//        '----------- install <--- fill <------'                        |
//                                    ^                                  |
//                                    '---------------- Store -----------'  direct I/O
//
// The life of a fault, of a dirty page and of an eviction: docs/pager.md.
//
// Threads:       one for the pager, none for an area; it sleeps when there is nothing to do.
// Thread-safety: Pager: every member from any thread. Areas: every member, and loads and stores of
//                the bytes, from any thread; but resize(), close() and moving need the object for
//                themselves, though others may touch bytes that stay.
// Errors:        Result; the operation, the file and range, the cause, a remedy. A failed
//                write-back sticks to its area until a flush() of it succeeds for that range.
// Kernel:        5.19.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "quire/base/durability.h"
#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/base/units.h"
#include "quire/io/store.h"
#include "quire/journal/journal.h"
#include "quire/journal/update.h"
#include "quire/map/typed_view.h"
#include "quire/pager/pager_options.h"
#include "quire/pager/pager_stats.h"
#include "quire/pager/pin.h"

namespace quire {

namespace internal {
class AreaState;
class KernelArea;
class PagerState;
struct OpenedArea;
}  // namespace internal

// A store as a span of bytes of which a bounded part is in memory.
//
// Life:   empty --Pager::map()--> open --close() or destructor--> empty
// The destructor drops what is in memory and writes nothing: close() writes, and says what failed.
// Pointers stay valid until then, or until a resize() below them.
class PagedArea {
 public:
  PagedArea() noexcept;
  PagedArea(PagedArea&& other) noexcept;
  PagedArea& operator=(PagedArea&& other) noexcept;
  ~PagedArea();

  // --- What it shows -----------------------------------------------------------------------------

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {first_, size_bytes_}; }
  // Errors: kOutOfRange.
  [[nodiscard]] Result<std::span<const std::byte>> bytes(ByteRange range) const;
  // Errors: kMisaligned, kOutOfRange.
  template <typename T>
  [[nodiscard]] Result<std::span<const T>> as(ByteRange range = kWholeFile) const {
    return typed_view<const T>(QUIRE_TRY(bytes(range)), name());
  }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] bool is_open() const noexcept { return state_ != nullptr || kernel_ != nullptr; }
  [[nodiscard]] bool is_paged() const noexcept;  // False: a kernel mapping; explain() says why.
  // How its faults arrive: kInline or kHandler; kAutomatic where the kernel serves them.
  [[nodiscard]] FaultPath fault_path() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;
  // What was chosen and why: budget, delivery, granule, direct or not, what was not to be had; and
  // whether the file is behind its journal (a system call).
  [[nodiscard]] std::string explain() const;

  // --- Residency ---------------------------------------------------------------------------------

  // Keeps the range in memory, readable by system calls too, until the Pin goes. Reads what is
  // absent: an Error where a pointer would give a signal. Errors: EIO of the store; kLimit when the
  // range does not fit into the budget beside what is pinned already.
  // Cost: one compare-and-swap a granule when it is in memory. Blocks: for what is not.
  [[nodiscard]] Result<Pin> pin(ByteRange range) const;

  // Reads ranges in the background, many at a time; those that find no memory are left out. The
  // ticket is done when everything that could be read was.
  [[nodiscard]] Ticket prefetch(std::span<const ByteRange> ranges) const;
  [[nodiscard]] Ticket prefetch(ByteRange range) const { return prefetch(std::span(&range, 1)); }
  // Errors: kReadOnly for kOverwrite on a read-only area; kLimit for more than kAdvicesMax ranges.
  Result<void> advise(ByteRange range, Pattern pattern) const;
  [[nodiscard]] Result<PagedResidency> resident(ByteRange range = kWholeFile) const;
  // Writes what is dirty and drops the range. Blocks. Errors: of write-back.
  Result<PagedEviction> evict(ByteRange range = kWholeFile) const;

  [[nodiscard]] AreaStats stats() const;
  // The error that sticks, or nothing: of a write-back, of a fill that a plain access met, or that
  // stores do not survive a kill any more.
  Result<void> check() const;

  // Writes what is dirty (without forcing it to the device), then releases everything; the object
  // is empty afterwards, whatever is returned. Threads that touch the bytes during or after it get
  // SIGSEGV, as with munmap; those that wait for a fault are woken into it.
  // Errors: what check() has; of write-back; kFailed while a Pin is left (nothing happens).
  Result<void> close();

  // Walks everything, once the pager has finished what it does by itself. REQUIRES: nobody uses the
  // area meanwhile.
  void check_invariants() const;

  static constexpr std::size_t kAdvicesMax = 256;

 protected:
  friend class Pager;
  friend class WritablePagedArea;
  explicit PagedArea(internal::OpenedArea opened) noexcept;
  [[nodiscard]] Result<ByteRange> resolve(ByteRange range, const char* operation) const;

  std::shared_ptr<internal::AreaState> state_;  // One of these two while it is open.
  std::shared_ptr<internal::KernelArea> kernel_;
  std::byte* first_ = nullptr;
  std::uint64_t size_bytes_ = 0;
};

// Atomic, with .commit = Commit::kAtomic, the area is a file of a journal (journal/journal.h):
//
//   stores --> [ memory ] --commit()------------------------> [ journal ] --later--> [ file ]
//                  '------ memory is short: uncommitted ---------^
//
// A commit is a consistent cut, whatever other threads store meanwhile: when a store is in it, so
// is every store that came before it, and when one of an Update is, so are the others. They go on;
// a store to a page that is being committed costs a fault, and sometimes a copy. Dirty pages that
// do not fit into the budget go to the journal as uncommitted, never to the file. What is not
// committed when the area is closed or destroyed is dropped. One area for each file of a journal at
// a time.
class WritablePagedArea : public PagedArea {
 public:
  WritablePagedArea() noexcept = default;

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {first_, size_bytes_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return PagedArea::bytes(); }
  [[nodiscard]] Result<std::span<std::byte>> bytes(ByteRange range);
  [[nodiscard]] Result<std::span<const std::byte>> bytes(ByteRange range) const {
    return PagedArea::bytes(range);
  }
  template <typename T>
  [[nodiscard]] Result<std::span<T>> as(ByteRange range = kWholeFile) {
    return typed_view<T>(QUIRE_TRY(bytes(range)), name());
  }
  template <typename T>
  [[nodiscard]] Result<std::span<const T>> as(ByteRange range = kWholeFile) const {
    return PagedArea::as<T>(range);
  }

  // Like pin(), and the bytes may be stored to by system calls. They count as dirty while the pin
  // lasts.
  [[nodiscard]] Result<WritablePin> pin_for_writing(ByteRange range);

  // When it returns, what was stored to the range before the call is as durable as asked for.
  // Errors: ENOSPC, EIO of the store, also of an earlier write-back of the range; the granules that
  // could not be written stay dirty and in memory, and the next flush() tries again, unless the
  // store itself is failed. Blocks.
  // Of an atomic area it is a commit, of everything.
  Result<void> flush(ByteRange range = kWholeFile, Durability durability = Durability::kData);
  [[nodiscard]] Ticket flush_async(ByteRange range = kWholeFile,
                                   Durability durability = Durability::kData);

  // Grows or shrinks area and store. Growing never moves the bytes. What is added reads as zeros.
  // Errors: kLimit beyond reserve_bytes; ENOSPC; kFailed when something beyond is pinned.
  // Of an atomic area it is part of the next commit.
  Result<void> resize(std::uint64_t size_bytes);

  // --- Atomic areas. Errors, of all: kUnsupported when it is not atomic --------------------------

  // While it lives no commit of an atomic area of this pager takes its cut: see Update. Of an area
  // that is not atomic it holds up nothing.
  [[nodiscard]] Update begin_update() noexcept;
  // When it returns, every store that came before it is durable, with all other changes since the
  // last commit, or none of them is. Threads that ask at about the same time share one.
  // Errors: those of Journal::commit(): then nothing is committed and nothing lost, and the next
  // commit takes it all, unless the journal has failed; kFailed while a WritablePin is held, and
  // inside of an Update.
  // Blocks, also for updates under way; commit() with this thread's signals blocked from its cut
  // on, for it may write the journal itself.
  Result<void> commit();
  [[nodiscard]] Ticket commit_async();
  // The bytes and the size of the last commit. REQUIRES: as resize(); and nobody uses the bytes.
  // Errors: kFailed when something is pinned (nothing has happened then), or the journal has.
  Result<void> rollback();
  // The last commit, to read while writing goes on; paged, of the same budget. What it needs stays
  // in the journal: held for long while much is committed, it fills it.
  [[nodiscard]] Result<PagedArea> snapshot() const;

 private:
  friend class Pager;
  explicit WritablePagedArea(internal::OpenedArea opened) noexcept;
};

class Pager {
 public:
  // Takes no memory and starts nothing: the first map() does, and returns what goes wrong.
  explicit Pager(const PagerOptions& options = {});
  // REQUIRES: its areas are closed or destroyed (checked).
  ~Pager();
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  // Errors: those of open_file(); kUnsupported with PagingEngine::kPaged where userfaultfd is not
  // to be had; kLimit when the budget is too small for another area; kOutOfRange for options.
  [[nodiscard]] Result<PagedArea> map(PathArgument path, const PagedOptions& options = {});
  // Chosen by {.access = Access::kReadWrite}; templates only so that lists without .access choose
  // the other ones.
  template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
  [[nodiscard]] Result<WritablePagedArea> map(PathArgument path,
                                              const BasicPagedOptions<A>& options) {
    return map_writable(std::move(path), options);
  }
  // Bytes from anywhere. A Store without a kernel_target() is called from the service thread, or,
  // with FaultPath::kInline asked for by name, from the faulting thread in a signal handler.
  [[nodiscard]] Result<PagedArea> map(std::shared_ptr<Store> store,
                                      const PagedOptions& options = {});
  template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
  [[nodiscard]] Result<WritablePagedArea> map(std::shared_ptr<Store> store,
                                              const BasicPagedOptions<A>& options) {
    return map_store_writable(std::move(store), options);
  }

  // A file of a journal that several areas share, for commits of all of them together. The options'
  // commit is kAtomic, whatever it says; the journal is the caller's to close, after the area.
  // Errors: kUnsupported with SurviveKill::kYes, or granules smaller than the journal's pages;
  // kOutOfRange when it has no such file; EBUSY when the file is mapped already.
  [[nodiscard]] Result<WritablePagedArea> map(const std::shared_ptr<Journal>& journal,
                                              std::size_t file,
                                              const WritablePagedOptions& options);

  // What was stored to all of these areas of one journal becomes durable together, or nothing of
  // it. Errors: as WritablePagedArea::commit(); EINVAL when they have different journals or pagers.
  Result<void> commit(std::span<WritablePagedArea* const> areas);
  Result<void> commit(std::initializer_list<WritablePagedArea*> areas) {
    return commit(std::span(areas.begin(), areas.size()));
  }

  // Records every fault from now on, of all areas, into a trace that `quire simulate` replays
  // (docs/formats.md), until stop_trace(). What traps nowhere is not in it: hits.
  // Errors: those of opening the file; EBUSY while another one is being recorded.
  Result<void> start_trace(PathArgument path);
  // Errors: of writing, since the beginning: then the file is no trace. kClosed: none is recorded.
  Result<TraceReport> stop_trace();

  [[nodiscard]] const PagerOptions& options() const noexcept;
  [[nodiscard]] PagerStats stats() const;
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

 private:
  // Not templates: their symbols are spelt alike by every compiler.
  [[nodiscard]] Result<WritablePagedArea> map_writable(PathArgument path,
                                                       const WritablePagedOptions& options);
  [[nodiscard]] Result<WritablePagedArea> map_store_writable(std::shared_ptr<Store> store,
                                                             const WritablePagedOptions& options);

  std::unique_ptr<internal::PagerState> state_;
};

}  // namespace quire
