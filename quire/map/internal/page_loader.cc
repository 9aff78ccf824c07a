// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/page_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::internal {

// A temporary mapping of a piece. When there can be none, every advice fails with the reason.
class PieceMapping {
 public:
  PieceMapping(const CachedFile& file, ByteRange piece)
      : start_bytes_(round_down(piece.offset_bytes, sys::os_page_size())),
        length_bytes_(round_up(end_of(piece), sys::os_page_size()) - start_bytes_),
        address_(sys::map_pages(
            {.length_bytes = length_bytes_, .fd = file.fd, .offset_bytes = start_bytes_})) {}
  ~PieceMapping() {
    if (address_) {
      static_cast<void>(sys::unmap_pages(*address_, length_bytes_));
    }
  }
  PieceMapping(const PieceMapping&) = delete;
  PieceMapping& operator=(const PieceMapping&) = delete;

  [[nodiscard]] sys::Outcome<void> advise(sys::MemoryAdvice advice) const {
    return advise(advice, {start_bytes_, length_bytes_});
  }
  // REQUIRES: `pages` begins on a page.
  [[nodiscard]] sys::Outcome<void> advise(sys::MemoryAdvice advice, ByteRange pages) const {
    std::byte* const address = QUIRE_TRY(sys::Outcome<sys::Address>(address_));
    return sys::advise_pages(address + (pages.offset_bytes - start_bytes_), pages.length_bytes,
                             advice);
  }

 private:
  std::uint64_t start_bytes_;
  std::uint64_t length_bytes_;
  sys::Outcome<sys::Address> address_;
};

namespace {

// Below this, mapping and unmapping cost more than copying the bytes.
constexpr std::uint64_t kFaultBytesMin = std::uint64_t{64} << 10;
// Large enough that the copy into it, not the system call, is what pread costs.
constexpr std::uint64_t kScratchBytes = std::uint64_t{256} << 10;

// The kernel cuts a readahead(2) at the larger of read_ahead_kb and the device's best request
// size, and does not say so; 128 KiB is the smallest default of either.
constexpr std::uint64_t kReadAheadBytes = std::uint64_t{128} << 10;

// A part that the file no longer has. A size that was never true (/sys) is not that.
Result<void> check_size(const CachedFile& file, std::uint64_t end_bytes, ByteRange part) {
  const sys::Outcome<sys::FileStatus> now = sys::file_status(file.fd);
  if (!now) {
    return fail(file.error(now.error(), part));
  }
  if (now->kind == sys::FileKind::kRegular && now->size_bytes < file.status.size_bytes) {
    return fail(
        file.error(Errc::kTruncated, {end_bytes, end_of(part) - end_bytes},
                   fmt::format("the file had {} bytes and has {}, and the part ends after that",
                               file.status.size_bytes, now->size_bytes)));
  }
  return {};
}

// The first page of `piece` that cannot be read; none when the trouble has passed.
// A large folio with one bad page fails as a whole, so what failed is dropped first, and then each
// page is brought in by a fault of its own, into a folio of its own, and read.
Result<void> find_bad_page(const CachedFile& file, ByteRange piece) {
  const PageSize page = sys::os_page_size();
  static_cast<void>(sys::advise_file(file.fd, piece, sys::FileAdvice::kDontNeed));
  const PieceMapping mapping(file, piece);
  static_cast<void>(mapping.advise(sys::MemoryAdvice::kRandom));
  std::vector<std::byte> scratch(page.bytes());
  for (std::uint64_t at = piece.offset_bytes; at < end_of(piece);) {
    const ByteRange one = next_step(piece, at, page);
    const ByteRange whole{round_down(at, page), page.bytes()};
    static_cast<void>(mapping.advise(sys::MemoryAdvice::kPopulateRead, whole));
    const std::span<std::byte> into = std::span(scratch).first(one.length_bytes);
    if (const sys::Outcome<std::size_t> got = sys::read_at(file.fd, into, at); !got) {
      return fail(file.error(got.error(), one));
    }
    at = end_of(one);
  }
  return {};
}

Result<void> read_in(const CachedFile& file, ByteRange piece) {
  std::vector<std::byte> scratch(std::min(kScratchBytes, piece.length_bytes));
  for (std::uint64_t at = piece.offset_bytes; at < end_of(piece);) {
    const ByteRange part = next_step(piece, at, PageSize(kScratchBytes));
    const std::span<std::byte> into(scratch.data(), part.length_bytes);
    const sys::Outcome<std::size_t> got = sys::read_at(file.fd, into, part.offset_bytes);
    if (!got) {
      return find_bad_page(file, piece);
    }
    if (*got < part.length_bytes) {
      return check_size(file, part.offset_bytes + *got, part);
    }
    at = end_of(part);
  }
  return {};
}

}  // namespace

Result<LoadedBy> PieceLoader::load(ByteRange piece) {
  if (piece.length_bytes >= kFaultBytesMin && fault_in(piece)) {
    return LoadedBy::kFault;
  }
  QUIRE_TRY(read_in(file_, piece));
  return LoadedBy::kRead;
}

sys::Outcome<void> PieceLoader::fault_in(ByteRange piece) {
  const PieceMapping mapping(file_, piece);
  // Random: no read-ahead into the next piece.
  QUIRE_TRY(mapping.advise(sys::MemoryAdvice::kRandom));
  const bool is_whole =
      piece.offset_bytes % kPieceBytes == 0 &&
      (piece.length_bytes == kPieceBytes || end_of(piece) == file_.status.size_bytes);
  if (!is_whole || !mapping.advise(sys::MemoryAdvice::kHugePage) ||
      !reads_whole_units(mapping, piece)) {
    announce(piece);
  }
  return mapping.advise(sys::MemoryAdvice::kPopulateRead);
}

// Tried with the first page of the piece: did the rest come along? Several threads may try at once
// and find the same.
bool PieceLoader::reads_whole_units(const PieceMapping& mapping, ByteRange piece) {
  if (units_.load() == Units::kNotTried) {
    const PageSize page = sys::os_page_size();
    const ByteRange first{piece.offset_bytes, page.bytes()};
    const bool has_first = mapping.advise(sys::MemoryAdvice::kPopulateRead, first).has_value();
    const sys::Outcome<sys::CacheStatus> arrived = sys::cache_status(file_.fd, piece);
    const bool is_whole = has_first && arrived && arrived->cached == pages_touched(piece, page);
    units_.store(is_whole ? Units::kWhole : Units::kPages);
  }
  return units_.load() == Units::kWhole;
}

// Starts the reads of the piece without waiting. What does not come by this comes by the fault.
void PieceLoader::announce(ByteRange piece) const {
  for (std::uint64_t at = piece.offset_bytes; at < end_of(piece);) {
    const ByteRange part = next_step(piece, at, PageSize(kReadAheadBytes));
    static_cast<void>(sys::read_ahead(file_.fd, part));
    at = end_of(part);
  }
}

LoaderPool::LoaderPool(const CachedFile& file, int threads) : loader_(file) {
  try {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { work(); });
    }
  } catch (const std::system_error&) {
    // RLIMIT_NPROC or a pids cgroup: as many as there are, down to none, do the same work.
  }
}

LoaderPool::~LoaderPool() {
  {
    const MutexLock lock(mutex_);
    is_closing_ = true;
  }
  has_work_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void LoaderPool::submit(ByteRange step, std::uint64_t weight_bytes) {
  std::vector<Piece> pieces;
  for (std::uint64_t at = step.offset_bytes; at < end_of(step);) {
    const ByteRange piece = next_step(step, at, PageSize(kPieceBytes));
    pieces.push_back({piece, step.offset_bytes});
    at = end_of(piece);
  }
  {
    const MutexLock lock(mutex_);
    outstanding_bytes_ += weight_bytes;
    unfinished_[step.offset_bytes] = {weight_bytes, pieces.size()};
    if (!threads_.empty()) {
      queue_.insert(queue_.end(), pieces.begin(), pieces.end());
    }
  }
  has_work_.notify_all();
  if (threads_.empty()) {
    for (const Piece& piece : pieces) {
      load(piece);
    }
  }
}

void LoaderPool::wait_until_at_most(std::size_t steps) {
  const MutexLock lock(mutex_);
  while (unfinished_.size() > steps) {
    has_finished_.wait(mutex_);
  }
}

std::uint64_t LoaderPool::outstanding_bytes() {
  const MutexLock lock(mutex_);
  return outstanding_bytes_;
}

std::uint64_t LoaderPool::done_up_to() {
  const MutexLock lock(mutex_);
  return unfinished_.empty() ? kToEnd : unfinished_.begin()->first;
}

std::optional<Error> LoaderPool::failure() {
  const MutexLock lock(mutex_);
  return failure_;
}

std::uint64_t LoaderPool::pieces_reread() {
  const MutexLock lock(mutex_);
  return pieces_reread_;
}

void LoaderPool::work() {
  for (;;) {
    Piece piece;
    {
      const MutexLock lock(mutex_);
      while (queue_.empty() && !is_closing_) {
        has_work_.wait(mutex_);
      }
      if (queue_.empty()) {
        return;
      }
      piece = queue_.front();
      queue_.pop_front();
    }
    load(piece);
  }
}

void LoaderPool::load(const Piece& piece) {
  const Result<LoadedBy> loaded = loader_.load(piece.range);
  bool is_step_done = false;
  {
    const MutexLock lock(mutex_);
    if (!loaded && piece.range.offset_bytes < failed_at_bytes_) {
      failed_at_bytes_ = piece.range.offset_bytes;
      failure_ = loaded.error();
    } else if (loaded && *loaded == LoadedBy::kRead && piece.range.length_bytes >= kFaultBytesMin) {
      ++pieces_reread_;
    }
    const auto step = unfinished_.find(piece.step_offset_bytes);
    QUIRE_CHECK(step != unfinished_.end());
    is_step_done = --step->second.pieces_left == 0;
    if (is_step_done) {
      outstanding_bytes_ -= step->second.weight_bytes;
      unfinished_.erase(step);
    }
  }
  if (is_step_done) {
    has_finished_.notify_all();
  }
}

}  // namespace quire::internal
