// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journaled_store.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/io/io_queue.h"
#include "quire/io/records.h"
#include "quire/journal/internal/journal_state.h"

namespace quire {
namespace {

constexpr std::uint64_t kChunkBytes = 1024 * 1024;

std::uint64_t total_bytes(ConstPieces pieces) {
  std::uint64_t total = 0;
  for (const auto& piece : pieces) {
    total += piece.size();
  }
  return total;
}

// Copies bytes [skip, skip + into.size()) of the pieces.
void gather(ConstPieces pieces, std::uint64_t skip, std::span<std::byte> into) {
  std::uint64_t start = 0;
  for (const auto& piece : pieces) {
    const ByteRange shared = intersect({skip, into.size()}, {start, piece.size()});
    if (shared.length_bytes > 0) {
      std::memcpy(into.data() + (shared.offset_bytes - skip),
                  piece.data() + (shared.offset_bytes - start), shared.length_bytes);
    }
    start += piece.size();
  }
}

}  // namespace

JournaledStore::JournaledStore(internal::JournalState& state, std::size_t file)
    : state_(state), file_(file) {}

const std::string& JournaledStore::name() const noexcept {
  return state_.file_name(file_);
}

Result<std::uint64_t> JournaledStore::size_bytes() const {
  return state_.size_bytes(file_, internal::kNewestView);
}

Result<std::uint64_t> JournaledStore::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  return state_.read(file_, internal::kNewestView, offset_bytes, into);
}

Result<std::uint64_t> JournaledStore::read_committed(std::uint64_t offset_bytes,
                                                     std::span<std::byte> into) {
  return state_.read_committed(file_, offset_bytes, {&into, 1});
}

Result<void> JournaledStore::write_pieces(std::uint64_t offset_bytes, ConstPieces from) {
  const std::uint64_t length_bytes = total_bytes(from);
  if (length_bytes == 0) {
    return {};
  }
  const ByteRange range{offset_bytes, length_bytes};
  if (end_of(range) > kFileOffsetMax - state_.page_bytes()) {
    return fail(Error({.code = std::make_error_code(std::errc::file_too_large),
                       .operation = "write",
                       .subject = name() + ", " + describe(range)}));
  }
  const std::uint64_t mask = state_.page_bytes() - 1;
  const bool is_whole =
      (offset_bytes & mask) == 0 &&
      std::ranges::all_of(from, [mask](const auto& piece) { return (piece.size() & mask) == 0; });
  return is_whole ? write_whole_pages(offset_bytes, from) : write_any(offset_bytes, from);
}

Result<void> JournaledStore::write_whole_pages(std::uint64_t offset_bytes, ConstPieces from) {
  std::vector<PageImages> images;
  std::uint64_t at = offset_bytes;
  for (const auto& piece : from) {
    images.push_back({.offset_bytes = at, .bytes = piece});
    at += piece.size();
  }
  QUIRE_TRY(state_.append_growing({.file = file_, .images = images, .size_bytes = at}));
  return {};
}

// Whole pages around it, in chunks, are read, changed and written, with nobody else doing the same.
Result<void> JournaledStore::write_any(std::uint64_t offset_bytes, ConstPieces from) {
  const MutexLock lock(edges_);
  const PageSize page(state_.page_bytes());
  const std::uint64_t end = offset_bytes + total_bytes(from);
  const std::uint64_t around = round_up(end, page) - round_down(offset_bytes, page);
  const internal::RecordBuffer memory(std::min(around, kChunkBytes));
  for (std::uint64_t at = offset_bytes; at < end;) {
    const std::uint64_t first = round_down(at, page);
    const std::uint64_t stop = std::min(end, first + kChunkBytes);
    const std::span<std::byte> pages(memory.begin(), round_up(stop, page) - first);
    for (const std::uint64_t edge : {first, first + pages.size() - page.bytes()}) {
      const std::span<std::byte> bytes = pages.subspan(edge - first, page.bytes());
      const std::uint64_t got = QUIRE_TRY(read(edge, bytes));
      std::ranges::fill(bytes.subspan(got), std::byte{0});
    }
    gather(from, at - offset_bytes, pages.subspan(at - first, stop - at));
    const PageImages image{.offset_bytes = first, .bytes = pages};
    QUIRE_TRY(state_.append_growing({.file = file_, .images = {&image, 1}, .size_bytes = stop}));
    at = stop;
  }
  return {};
}

Result<void> JournaledStore::resize(std::uint64_t size_bytes) {
  const MutexLock lock(edges_);
  const FileCommit resized{.file = file_, .images = {}, .size_bytes = size_bytes};
  QUIRE_TRY(state_.append({&resized, 1}, internal::Append::kUncommitted));
  return {};
}

Result<void> JournaledStore::allocate(ByteRange range) {
  if (range.length_bytes == 0 || range.length_bytes == kToEnd) {
    return {};
  }
  QUIRE_TRY(state_.append_growing({.file = file_, .images = {}, .size_bytes = end_of(range)}));
  return {};
}

Result<void> JournaledStore::punch(ByteRange range) {
  const ByteRange inside = intersect(range, {0, QUIRE_TRY(size_bytes())});
  const std::vector<std::byte> zeros(std::min(inside.length_bytes, kChunkBytes));
  for (std::uint64_t done = 0; done < inside.length_bytes;) {
    const std::uint64_t step = std::min<std::uint64_t>(zeros.size(), inside.length_bytes - done);
    QUIRE_TRY(write(inside.offset_bytes + done, std::span(zeros).first(step)));
    done += step;
  }
  return {};
}

Result<void> JournaledStore::sync(Durability durability, ByteRange /*range*/) {
  if (durability == Durability::kStarted) {
    return state_.require_usable("sync");
  }
  const FileCommit all{.file = file_};
  QUIRE_TRY(state_.append({&all, 1}, internal::Append::kCommit));
  return {};
}

const KernelTarget* JournaledStore::kernel_target() const noexcept {
  return state_.file_store(file_).kernel_target();
}

bool JournaledStore::may_kernel_do(const IoRequest& request) const noexcept {
  return request.operation == IoOperation::kRead &&
         state_.is_in_file(file_, {request.offset_bytes, request.memory.size()}) &&
         state_.file_store(file_).may_kernel_do(request);
}

void JournaledStore::on_kernel_completion(const IoRequest& request) noexcept {
  state_.file_store(file_).on_kernel_completion(request);
}

}  // namespace quire
