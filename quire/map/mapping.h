// SPDX-License-Identifier: Apache-2.0
//
// Mapping: a file, or memory, as a span of bytes. WritableMapping (writable_mapping.h) is one that
// may be stored to.
//
//   auto map = quire::map("data.bin").value();
//   std::span<const Record> records = map.as<Record>().value();    // checked, never a cut tail
//
//   auto log = quire::map("log.bin", {.access = Access::kReadWrite, .create = true,
//                                     .reserve_bytes = 1_TiB}).value();
//   log.append(bytes).value();                     // a full disk is an error here
//   log.flush().value();                           // on disk when it returns
//
//        address space                                   file
//   |<- skew ->|<---- bytes() ---->|....reserved....|    [offset_bytes, offset_bytes + size_bytes)
//   ^ page                         ^ page
//
// What becomes of each kind of file:
//   regular file          mapped
//   block device          mapped; its size is the device's
//   /proc, /sys and other files that claim size 0, or that the file system will not map
//                         read into memory; explain() says so
//   pipe, FIFO            read to its end into memory; a FIFO without a writer is an error
//   empty file            an empty view; nothing is mapped
//   directory, socket, character device
//                         Errc::kWrongKind
//
// What of it is in memory, and how much, is the kernel's choice. A budget, and the choice between a
// paged area and a kernel mapping, are pager.map()'s: quire/pager/pager.h, PagingEngine.
//
// Life:   empty --map()--> open --close() or destructor--> empty
//   open   bytes() is valid until close, destruction or shrinking past it; growing never moves it.
//   empty  size 0; every operation that needs the file returns Errc::kClosed.
// The destructor releases and does nothing else: it never writes, waits or throws. close() also
// trims preallocated space and returns what the destructor would swallow.
//
// Invariants:    size, kind and mapping come from one descriptor, which is close-on-exec;
//                skew + size_bytes <= backed bytes, a multiple of the OS page.
// Thread-safety: const members may be called from any number of threads at once, with loads and
//                stores of the bytes going on; the others need the object for themselves.
// Safety:        whoever may truncate the file can turn a load into SIGBUS; guarded() makes an
//                Error of that. A sealed memfd (Seals::kShrink) cannot be truncated.
// Errors:        Result; the operation, the path and range, the cause, a remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/map/address_space.h"
#include "quire/map/eviction.h"
#include "quire/map/guarded.h"
#include "quire/map/map_options.h"
#include "quire/map/page_lock.h"
#include "quire/map/residency.h"
#include "quire/map/typed_view.h"
#include "quire/map/warming.h"
#include "quire/sys/descriptor.h"

namespace quire {

namespace internal {
class FlushState;
class MappingBuilder;
}  // namespace internal

// What stands behind the bytes.
enum class Origin : std::uint8_t {
  kFile,       // Pages of the page cache.
  kAnonymous,  // Private memory.
  kMemfd,      // Shared memory with a descriptor.
  kCopy,       // Memory that a stream or an unmappable file was read into.
};

// What to expect of the accesses to come. Covers whole pages; it never changes bytes.
enum class Advice : std::uint8_t {
  kNormal,      // The kernel's read-ahead, as configured for the device.
  kRandom,      // No read-ahead: one page per fault.
  kSequential,  // Twice the read-ahead; pages behind may go early.
  kWillNeed,    // Start reading now, as far as the kernel cares to. prefetch() makes sure.
  kCold,        // First to be reclaimed when memory is short.
  kPageOut,     // Reclaim now what nobody else uses.
  kHugePages,   // Ask for transparent huge pages. EINVAL where files cannot have them.
  kNoHugePages,
  kDontFork,  // A forked child does not get these addresses.
  kDontDump,  // Left out of core dumps.
};

class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept : state_(std::move(other.state_)) { other.forget(); }
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() = default;

  // --- What it shows -----------------------------------------------------------------------------

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {state_.first, state_.size_bytes};
  }
  // A part of it. Errors: kOutOfRange.
  [[nodiscard]] Result<std::span<const std::byte>> bytes(ByteRange range) const;
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(state_.first), state_.size_bytes};
  }
  // The bytes of `range` as whole objects of T.
  // Errors: kMisaligned when the address does not fit T, or the length is no multiple of its size;
  //         kOutOfRange. Does not compile for a T that is not trivially copyable.
  template <typename T>
  [[nodiscard]] Result<std::span<const T>> as(ByteRange range = kWholeFile) const {
    return typed_view<const T>(QUIRE_TRY(bytes(range)), state_.path);
  }
  // The view in pieces of `window_bytes`, the last one shorter.
  // To map a huge file piece by piece instead, see open_windows().
  [[nodiscard]] ViewWindows windows(std::uint64_t window_bytes) const noexcept {
    return {bytes(), window_bytes};
  }

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return state_.size_bytes; }
  [[nodiscard]] bool is_empty() const noexcept { return state_.size_bytes == 0; }
  [[nodiscard]] bool is_open() const noexcept { return state_.is_open; }
  // Of the first byte in the file.
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept { return state_.offset_bytes; }
  [[nodiscard]] std::uint64_t reserved_bytes() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept { return state_.path; }
  [[nodiscard]] Origin origin() const noexcept { return state_.origin; }
  [[nodiscard]] Sharing sharing() const noexcept { return state_.sharing; }
  // Borrowed, for system calls of the caller's own; -1 where there is none.
  [[nodiscard]] int descriptor() const noexcept { return state_.file.get(); }
  // What was chosen and why, in a sentence.
  [[nodiscard]] std::string explain() const;

  // --- Advice and residency ----------------------------------------------------------------------

  // Errors: what the kernel said; kUnsupported where the advice cannot have an effect.
  Result<void> advise(ByteRange range, Advice advice) const;
  // Reads the range into memory in paced steps: progress, cancellation and a memory guard are in
  // WarmOptions. Blocks.
  Result<WarmReport> prefetch(ByteRange range = kWholeFile, const WarmOptions& options = {}) const;
  // Prefetches and also fills the page tables, so that loads do not fault. Fails where a load would
  // raise SIGBUS. Kernel: 5.14. Blocks.
  Result<PopulateReport> populate(ByteRange range = kWholeFile,
                                  const WarmOptions& options = {}) const;
  // What is in memory; `resident_known` is false where the kernel will not tell.
  [[nodiscard]] Result<Residency> resident(ByteRange range = kWholeFile) const;
  // Keeps the range in memory until the PageLock dies. The limit is checked before.
  [[nodiscard]] Result<PageLock> lock(ByteRange range = kWholeFile,
                                      LockMode mode = LockMode::kNow) const;
  // Drops the range from memory and reports what stayed and why. Only whole pages inside the range.
  // Errors: kUnsupported where memory is the only copy, or private changes would be lost.
  Result<EvictionReport> evict(ByteRange range = kWholeFile) const;

  // Runs fn(std::span<const std::byte>) over the range; a fault becomes an Error with the file
  // offset. See guarded.h for what fn may do.
  template <typename Function>
  auto guarded(ByteRange range, Function&& fn) const {
    return run_guarded(bytes(range), std::forward<Function>(fn));
  }

  // Releases everything; the object is empty afterwards, whatever is returned.
  // Errors: a failed asynchronous flush; trimming; munmap; close.
  Result<void> close();

  void check_invariants() const;

 protected:
  friend class internal::MappingBuilder;
  friend Result<void> send_mapping(int socket, const Mapping& mapping);

  struct State {
    // The descriptor goes last, after the pages: the other way round the kernel has to end the file
    // from inside munmap, which costs half a microsecond more.
    sys::Descriptor file;
    AddressSpace space;
    std::byte* first = nullptr;       // bytes().data()
    std::uint64_t size_bytes = 0;     // bytes().size()
    std::uint64_t offset_bytes = 0;   // Of `first` in the file.
    std::uint64_t secured_bytes = 0;  // append(): disk space is reserved up to here in the file.
    std::string path;
    std::shared_ptr<internal::FlushState> flush_state;  // Writable shared files only.
    Origin origin = Origin::kFile;
    Sharing sharing = Sharing::kShared;
    Space space_policy = Space::kSecured;
    HugePages huge_pages = HugePages::kNone;
    bool is_open = false;
    bool is_writable = false;
    bool reaches_end = false;  // The view ends where the file ends: only then it can be resized.
    bool is_device = false;    // A block device: a fixed size.
    bool is_secret = false;
    bool wrote_zeros = false;  // The file system cannot reserve space: it was secured by writing.
  };

  // What is left of an object that was moved from: empty. The owning members are so already.
  void forget() noexcept {
    state_.first = nullptr;
    state_.size_bytes = 0;
    state_.is_open = false;
  }

  // A fault at an offset in `region` as an Error with path and file offset; says when the file was
  // truncated.
  [[nodiscard]] Error fault_error(const GuardFault& fault, const std::byte* region) const;

  template <typename T, typename Function>
  auto run_guarded(const tl::expected<std::span<T>, Error>& region, Function&& fn) const {
    const std::span<T> view = region ? *region : std::span<T>{};
    const auto call = [&fn, view] { return fn(view); };
    const auto explain = [this, view](const GuardFault& fault) {
      return fault_error(fault, view.data());
    };
    using Guarded = decltype(guarded_with(view, call, explain));
    return region ? guarded_with(view, call, explain) : Guarded(fail(region.error()));
  }

  [[nodiscard]] Error error_on(Errc code, const char* operation, ByteRange range,
                               std::string cause = {}, std::string remedy = {}) const;
  [[nodiscard]] std::string subject(ByteRange range) const;
  [[nodiscard]] AddressSpace::Backing backing() const noexcept;
  // What `range` means in this view. Errors: kClosed, kOutOfRange, under `operation`.
  [[nodiscard]] Result<ByteRange> resolve(ByteRange range, const char* operation) const;
  // The whole pages that cover a resolved range.
  [[nodiscard]] std::span<std::byte> pages_of(ByteRange range) const noexcept;
  // A resolved range of the view as a range of the file.
  [[nodiscard]] ByteRange in_file(ByteRange range) const noexcept {
    return {state_.offset_bytes + range.offset_bytes, range.length_bytes};
  }
  // Whether the page cache of a file or memfd stands behind the bytes.
  [[nodiscard]] bool has_page_cache() const noexcept {
    return state_.origin == Origin::kFile || state_.origin == Origin::kMemfd;
  }
  [[nodiscard]] Result<Residency> resident_in_memory(ByteRange range) const;

  State state_;
};

// Maps the file at `path`.
// Errors: the open(2) errors; kWrongKind; kOutOfRange when the range is not in the file;
//         kUnsupported for a writable view of a stream.
// Blocks: while a pipe or FIFO is read to its end.
[[nodiscard]] Result<Mapping> map(PathArgument path, const MapOptions& options = {});

// The same for a descriptor. adopt: it is owned from here on, also when mapping fails. borrow: the
// caller's stays the caller's; a duplicate is kept.
[[nodiscard]] Result<Mapping> map_adopted(int fd, const MapOptions& options = {});
[[nodiscard]] Result<Mapping> map_borrowed(int fd, const MapOptions& options = {});

}  // namespace quire
