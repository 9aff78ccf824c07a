// SPDX-License-Identifier: Apache-2.0
//
// WritableMapping: a Mapping whose bytes may be stored to, and what follows from that: growth,
// durability, seals.
//
//   size_bytes   what bytes() shows; for a shared file also what stat(2) shows, exactly
//
//   file   |=========== size ===========|.... secured ahead by append() ....|
//   space  |=========== backed pages ======|........ reserved ..............|
//
// A moved WritableMapping can become a Mapping (`Mapping m = std::move(w)`): that gives the right
// to store away and keeps everything else.
//
// Durability is a state of the mapping, too:
//
//   sound --a write-back fails--> failed --acknowledge_error()--> sound
//   failed   every flush and close() return the first error: pages that could not be written are no
//            longer marked dirty, so trying again would call lost bytes durable (fsyncgate, 2018)
//
// Invariants:    as Mapping; a failed resize or append leaves size, file and view as they were.
// Thread-safety: flush, flush_async, seal and acknowledge_error from any thread; resize, append,
//                secure, punch and close need the object for themselves, and no other thread may
//                touch bytes that shrinking takes away.
// Errors:        Result, as Mapping. EBUSY of map() for a file whose last commits may be in its
//                journal: quire/sys/journal_mark.h.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "quire/base/durability.h"
#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/base/units.h"
#include "quire/map/map_options.h"
#include "quire/map/mapping.h"
#include "quire/sys/memfd.h"

namespace quire {

class WritableMapping : public Mapping {
 public:
  // --- What it shows: the same, to store through -------------------------------------------------

  using Mapping::bytes;
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {state_.first, state_.size_bytes}; }
  [[nodiscard]] Result<std::span<std::byte>> bytes(ByteRange range);
  template <typename T>
  [[nodiscard]] Result<std::span<T>> as(ByteRange range = kWholeFile) {
    return typed_view<T>(QUIRE_TRY(bytes(range)), state_.path);
  }
  using Mapping::as;

  using Mapping::guarded;
  template <typename Function>
  auto guarded(ByteRange range, Function&& fn) {
    return run_guarded(bytes(range), std::forward<Function>(fn));
  }

  // --- Growth ------------------------------------------------------------------------------------

  // Makes the view, and the file, exactly this long; pointers into what remains stay valid. Growth
  // reads as zeros and, with Space::kSecured, has disk space behind it when this returns.
  // Errors: ENOSPC with the size unchanged; kLimit past the reserved addresses; kUnsupported for
  //         private views of files, block devices, views that end before the file does.
  Result<void> resize(std::uint64_t size_bytes);
  // Adds bytes at the end: one pwrite(2), so the file's size is exact at every instant and a crash
  // leaves no tail of zeros. Space is reserved ahead in steps; close() trims it.
  // Errors: as resize(). Cost: a system call; no page fault.
  Result<void> append(std::span<const std::byte> data);
  // Puts disk space behind a range of a sparse file. Errors: ENOSPC; EOPNOTSUPP.
  Result<void> secure(ByteRange range);
  // Frees the space behind a range, which then reads as zeros.
  // Errors: EOPNOTSUPP; kUnsupported for private views of files.
  Result<void> punch(ByteRange range);

  // --- Durability --------------------------------------------------------------------------------

  // Blocks until the range is as durable as asked. Any offset, any length.
  // Errors: the first error of the device sticks: this and every later flush, and close(), return
  //         it until acknowledge_error(); pages that failed are no longer dirty, so trying again
  //         would report success for bytes that are lost (the fsync lesson of 2018).
  //         kUnsupported for anonymous memory and private views, which have no disk.
  Result<void> flush(ByteRange range = kWholeFile, Durability durability = Durability::kData) const;
  // The same in the background. The ticket outlives the mapping.
  // Errors: kLimit when too many are under way.
  [[nodiscard]] Result<Ticket> flush_async(ByteRange range = kWholeFile,
                                           Durability durability = Durability::kData) const;
  // Forgets the sticky error: for a caller who has dealt with it (rewritten the range elsewhere).
  void acknowledge_error() const;

  // --- Memory to share ---------------------------------------------------------------------------

  // Makes promises about a memfd that nobody can take back. Errors: kUnsupported on anything else.
  Result<void> seal(sys::Seals seals) const;

 private:
  // The range in the view. Errors: kClosed, kOutOfRange, kUnsupported, the sticky error.
  [[nodiscard]] Result<ByteRange> require_flushable(ByteRange range, const char* operation) const;
  [[nodiscard]] Result<void> require_resizable(const char* operation) const;
  Result<void> grow(std::uint64_t size_bytes);
  Result<void> shrink(std::uint64_t size_bytes);
  Result<void> extend_view(std::uint64_t size_bytes, std::uint64_t ahead_bytes);
  // Why the addresses for `size_bytes` are not to be had.
  [[nodiscard]] Error addresses_error(sys::Errno cause, std::uint64_t size_bytes) const;
  Result<void> secure_ahead(std::uint64_t file_end_bytes);
  Result<void> append_anonymous(std::span<const std::byte> data);
};

namespace internal {
// What the templates below call. Compilers do not spell the symbol of a constrained template alike;
// theirs never reaches the library, so that gcc's can be used from clang.
[[nodiscard]] Result<WritableMapping> map_writable(PathArgument path,
                                                   const WritableMapOptions& options);
[[nodiscard]] Result<WritableMapping> map_writable_adopted(int fd,
                                                           const WritableMapOptions& options);
[[nodiscard]] Result<WritableMapping> map_writable_borrowed(int fd,
                                                            const WritableMapOptions& options);
}  // namespace internal

// Chosen by {.access = Access::kReadWrite}; a template only so that lists without .access choose
// the other one.
template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
[[nodiscard]] Result<WritableMapping> map(PathArgument path, const BasicMapOptions<A>& options) {
  return internal::map_writable(std::move(path), options);
}

// For a descriptor that is open for writing (for reading, with Sharing::kPrivate); see mapping.h.
template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
[[nodiscard]] Result<WritableMapping> map_adopted(int fd, const BasicMapOptions<A>& options) {
  return internal::map_writable_adopted(fd, options);
}
template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
[[nodiscard]] Result<WritableMapping> map_borrowed(int fd, const BasicMapOptions<A>& options) {
  return internal::map_writable_borrowed(fd, options);
}

// Memory of its own. Errors: ENOMEM; kLimit naming what is short; kUnsupported.
[[nodiscard]] Result<WritableMapping> map_anonymous(const AnonymousOptions& options);

}  // namespace quire
