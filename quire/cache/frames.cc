// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/frames.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/file.h"
#include "quire/sys/memfd.h"

namespace quire {
namespace {

// What one page table covers, where an OS page has 4 KiB.
constexpr PageSize kPageTable{2_MiB};

// The kernel's limit for the name of a memfd.
constexpr std::size_t kNameLengthMax = 249;

// The shortest stretch of address space that mmap can give.
std::uint64_t reservation(const FramesOptions& options) noexcept {
  const PageSize page = sys::os_page_size();
  return std::max(round_up(options.reserve_bytes, page), page.bytes());
}

// Maps all of the memfd at a multiple of kPageTable. mmap itself promises no alignment: a larger
// stretch is reserved, the view goes into it, and what is left on both sides is given back.
sys::Outcome<sys::Address> map_aligned(const sys::MapRequest& wanted) noexcept {
  const std::uint64_t room_bytes = wanted.length_bytes + kPageTable.bytes();
  const sys::Address room = QUIRE_TRY(sys::map_pages({.length_bytes = room_bytes,
                                                      .protection = sys::Protection::kNone,
                                                      .visibility = sys::Visibility::kPrivate,
                                                      .no_reserve = true}));
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(room);
  const std::uint64_t before_bytes = round_up(address, kPageTable) - address;
  sys::MapRequest request = wanted;
  request.fixed_address = room + before_bytes;
  const sys::Outcome<sys::Address> view = sys::map_pages(request);
  if (!view) {
    static_cast<void>(sys::unmap_pages(room, room_bytes));
    return view;
  }
  if (before_bytes > 0) {
    static_cast<void>(sys::unmap_pages(room, before_bytes));
  }
  static_cast<void>(
      sys::unmap_pages(*view + wanted.length_bytes, kPageTable.bytes() - before_bytes));
  return view;
}

// Whether a page written into a memfd brings its neighbours along. Tried out, because the settings
// that decide it are many, and more with each kernel.
sys::Outcome<bool> write_takes_huge_page() noexcept {
  const sys::Descriptor memfd =
      QUIRE_TRY(sys::create_memfd({.name = "quire_probe", .allow_sealing = false}));
  QUIRE_TRY(sys::truncate_file(memfd.get(), 2 * kPageTable.bytes()));
  const std::byte byte{1};
  QUIRE_TRY(sys::write_at(memfd.get(), {&byte, 1}, 0));
  const sys::FileStatus status = QUIRE_TRY(sys::file_status(memfd.get()));
  return status.allocated_bytes > sys::os_page_size().bytes();
}

// Fills `length_bytes` from where `fill(done)` says how far it came, punching what is in the way.
template <typename Fill, typename Clear>
sys::Outcome<void> fill_all(std::uint64_t length_bytes, Fill&& fill, Clear&& clear) noexcept {
  std::uint64_t done_bytes = 0;
  bool was_cleared = false;
  while (done_bytes < length_bytes) {
    const std::uint64_t filled_bytes = QUIRE_TRY(fill(done_bytes));
    done_bytes += filled_bytes;
    if (filled_bytes == 0 && was_cleared) {
      return sys::refuse(EEXIST);
    }
    was_cleared = done_bytes < length_bytes;
    if (was_cleared) {
      QUIRE_TRY(clear(done_bytes));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Frames>> Frames::make(const FramesOptions& options) {
  QUIRE_CHECK(std::has_single_bit(options.granule_bytes));
  QUIRE_CHECK_GE(options.granule_bytes, sys::os_page_size().bytes());
  QUIRE_CHECK_GE(options.reserve_bytes, options.size_bytes);
  std::unique_ptr<Frames> frames(new Frames(options));
  frames->faults_ = QUIRE_TRY(sys::open_user_fault({.delivery = options.delivery}));
  const sys::Outcome<void> mapped = frames->map(options);
  if (!mapped) {
    return fail(sys::to_error(mapped.error(), "frames",
                              options.name + ", " + human_bytes(reservation(options))));
  }
  return frames;
}

Frames::Frames(const FramesOptions& options)
    : granule_bytes_(options.granule_bytes), is_writable_(options.is_writable) {}

Frames::~Frames() {
  close();
}

sys::Outcome<void> Frames::map(const FramesOptions& options) {
  QUIRE_TRY(ForkMark::prepare());
  const std::string name = options.name.substr(0, kNameLengthMax);
  memfd_ = QUIRE_TRY(sys::create_memfd({.name = name.c_str(), .allow_sealing = false}));
  reserved_bytes_ = reservation(options);
  view_ = QUIRE_TRY(map_aligned(
      {.length_bytes = reserved_bytes_,
       .protection = options.is_writable ? sys::Protection::kReadWrite : sys::Protection::kRead,
       .visibility = sys::Visibility::kShared,
       .fd = memfd_.get(),
       .no_reserve = true}));
  is_mapped_.store(true);
  // Where it cannot be found out, the way that is right everywhere.
  places_by_copy_ = write_takes_huge_page().value_or(true);
  // Refused by a kernel without huge pages. It keeps others from being made behind our back.
  static_cast<void>(sys::advise_pages(view_, reserved_bytes_, sys::MemoryAdvice::kNoHugePage));
  QUIRE_TRY(sys::advise_pages(view_, reserved_bytes_, sys::MemoryAdvice::kDontFork));
  QUIRE_TRY(sys::advise_pages(view_, reserved_bytes_, sys::MemoryAdvice::kDontDump));
  QUIRE_TRY(faults_.watch(view_, reserved_bytes_));
  // Not before: under mlockall(MCL_FUTURE) the kernel fills a new mapping as far as its file goes,
  // with zeros that nobody would be asked for.
  QUIRE_TRY(sys::truncate_file(memfd_.get(), round_up(options.size_bytes, sys::os_page_size())));
  size_bytes_ = options.size_bytes;
  return {};
}

sys::Address Frames::at(std::uint64_t offset_bytes) const noexcept {
  QUIRE_DCHECK_EQ(offset_bytes % sys::os_page_size().bytes(), 0U);
  return view_ + offset_bytes;
}

// --- From absent to resident ---------------------------------------------------------------------

sys::Outcome<void> Frames::install(std::uint64_t offset_bytes, std::span<const std::byte> from,
                                   sys::Installed installed) const noexcept {
  QUIRE_DCHECK_EQ(offset_bytes % granule_bytes_, 0U);
  return fill_all(
      from.size(),
      [&](std::uint64_t done_bytes) {
        return faults_.copy_in(at(offset_bytes + done_bytes), from.subspan(done_bytes), installed);
      },
      [&](std::uint64_t done_bytes) {
        return punch(offset_bytes + done_bytes, sys::os_page_size().bytes());
      });
}

sys::Outcome<void> Frames::install_zeros(std::uint64_t offset_bytes,
                                         std::uint64_t length_bytes) const noexcept {
  return fill_all(
      length_bytes,
      [&](std::uint64_t done_bytes) {
        return faults_.zero_in(at(offset_bytes + done_bytes), length_bytes - done_bytes);
      },
      [&](std::uint64_t done_bytes) {
        return punch(offset_bytes + done_bytes, sys::os_page_size().bytes());
      });
}

sys::Outcome<void> Frames::place(std::uint64_t offset_bytes,
                                 std::span<const std::byte> from) const noexcept {
  QUIRE_DCHECK_EQ(offset_bytes % granule_bytes_, 0U);
  // A write past the end would make the memfd longer, and with it what the view shows.
  if (offset_bytes + from.size() > round_up(size_bytes_, sys::os_page_size())) {
    return sys::refuse(EFAULT);
  }
  const sys::Outcome<void> placed =
      places_by_copy_ ? place_by_copy(offset_bytes, from) : place_by_write(offset_bytes, from);
  if (!placed) {
    static_cast<void>(punch(offset_bytes, from.size()));
  }
  return placed;
}

sys::Outcome<void> Frames::place_by_write(std::uint64_t offset_bytes,
                                          std::span<const std::byte> from) const noexcept {
  // The protection first: a page that is there before its marker could be stored to unseen.
  if (is_writable_) {
    QUIRE_TRY(protect(offset_bytes, from.size()));
  }
  QUIRE_TRY(sys::write_at(memfd_.get(), from, offset_bytes));
  // Nobody sleeps for a signal.
  return faults_.delivery() == sys::FaultDelivery::kMessages ? wake(offset_bytes, from.size())
                                                             : sys::Outcome<void>();
}

sys::Outcome<void> Frames::place_by_copy(std::uint64_t offset_bytes,
                                         std::span<const std::byte> from) const noexcept {
  QUIRE_TRY(install(offset_bytes, from, sys::Installed::kProtected));
  const std::span<std::byte> installed(at(offset_bytes), from.size());
  return sys::unmap_from_view({&installed, 1});
}

// --- From resident to absent ---------------------------------------------------------------------

sys::Outcome<void> Frames::fetch(std::uint64_t offset_bytes,
                                 std::span<std::byte> into) const noexcept {
  const std::size_t read_bytes = QUIRE_TRY(sys::read_at(memfd_.get(), into, offset_bytes));
  // While set_size() is under way the memfd ends inside its last page, and zeros are behind that.
  if (round_up(offset_bytes + read_bytes, sys::os_page_size()) < offset_bytes + into.size()) {
    return sys::refuse(EFAULT);
  }
  std::ranges::fill(into.subspan(read_bytes), std::byte{0});
  return {};
}

sys::Outcome<void> Frames::punch(std::uint64_t offset_bytes,
                                 std::uint64_t length_bytes) const noexcept {
  return sys::punch_hole(memfd_.get(), {offset_bytes, length_bytes});
}

sys::Outcome<void> Frames::forget_page_tables(std::uint64_t offset_bytes,
                                              std::uint64_t length_bytes) const noexcept {
  // Markers outlive an unmapping: they are the promise that a store will be seen.
  QUIRE_TRY(allow_writes(offset_bytes, length_bytes));
  return sys::advise_pages(at(offset_bytes), length_bytes, sys::MemoryAdvice::kDontNeed);
}

// --- Protection ----------------------------------------------------------------------------------

sys::Outcome<void> Frames::protect(std::uint64_t offset_bytes,
                                   std::uint64_t length_bytes) const noexcept {
  return faults_.protect(at(offset_bytes), length_bytes);
}

sys::Outcome<void> Frames::allow_writes(std::uint64_t offset_bytes,
                                        std::uint64_t length_bytes) const noexcept {
  return faults_.allow_writes(at(offset_bytes), length_bytes);
}

sys::Outcome<void> Frames::wake(std::uint64_t offset_bytes,
                                std::uint64_t length_bytes) const noexcept {
  return faults_.wake(at(offset_bytes), length_bytes);
}

sys::Outcome<void> Frames::poison(std::uint64_t offset_bytes,
                                  std::uint64_t length_bytes) const noexcept {
  if (!faults_.can_poison()) {
    return sys::refuse(ENOSYS);
  }
  // The kernel refuses to poison where a marker of protection is.
  QUIRE_TRY(allow_writes(offset_bytes, length_bytes));
  return faults_.poison(at(offset_bytes), length_bytes);
}

// --- Size and end --------------------------------------------------------------------------------

sys::Outcome<void> Frames::set_size(std::uint64_t size_bytes) noexcept {
  QUIRE_CHECK_LE(size_bytes, reserved_bytes_);
  const PageSize page = sys::os_page_size();
  // To the exact byte first: the kernel fills the rest of that page with zeros.
  QUIRE_TRY(sys::truncate_file(memfd_.get(), std::min(size_bytes_.load(), size_bytes)));
  const sys::Outcome<void> sized = sys::truncate_file(memfd_.get(), round_up(size_bytes, page));
  if (!sized) {
    // Only growth is refused, and the way back to whole pages is none.
    static_cast<void>(sys::truncate_file(memfd_.get(), round_up(size_bytes_, page)));
    return sized;
  }
  size_bytes_ = size_bytes;
  return {};
}

void Frames::unmap_view() noexcept {
  if (is_mapped_.exchange(false) && !fork_mark_.is_in_child()) {
    static_cast<void>(sys::unmap_pages(view_, reserved_bytes_));
  }
}

void Frames::close() noexcept {
  unmap_view();
  // Now who waits is woken, looks again, and finds nothing mapped.
  faults_ = sys::UserFault();
  static_cast<void>(memfd_.close());
}

Result<std::uint64_t> Frames::resident_bytes() const {
  const sys::Outcome<sys::FileStatus> status = sys::file_status(memfd_.get());
  if (!status) {
    return fail(sys::to_error(status.error(), "fstat", "memfd"));
  }
  return status->allocated_bytes;
}

}  // namespace quire
