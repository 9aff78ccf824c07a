// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/mover.h"

#include <algorithm>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/sys/descriptor.h"

namespace quire::internal {
namespace {

constexpr PageSize kHugePage{
    2_MiB};  // Where huge pages have another size, alignment costs nothing.

}  // namespace

std::unique_ptr<Mover> make_mover(TransferMethod method, Job& job) {
  switch (method) {
    case TransferMethod::kDirect: return make_direct(job);
    case TransferMethod::kMapWrite: return make_map_write(job);
    case TransferMethod::kSendFile: return make_send_file(job);
    case TransferMethod::kSplice: return make_splice(job);
    case TransferMethod::kCopyFileRange: return make_copy_file_range(job);
    case TransferMethod::kReflink: return make_reflink(job);
    case TransferMethod::kZeroCopySend: return make_zero_copy_send(job);
    case TransferMethod::kRingSend: return make_ring_send(job);
    case TransferMethod::kReadWrite:
    case TransferMethod::kAutomatic: break;  // The choice was made before.
  }
  return make_read_write(job);
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept
    : mapped_(std::exchange(other.mapped_, {})), bytes_(std::exchange(other.bytes_, {})) {}

PageBuffer::~PageBuffer() {
  if (!mapped_.empty()) {
    static_cast<void>(sys::unmap_pages(mapped_.data(), mapped_.size()));
  }
}

sys::Outcome<PageBuffer> PageBuffer::allocate(std::size_t length_bytes) {
  const bool is_huge = length_bytes >= kHugePage.bytes();
  // Room to move the start to a boundary; what is around it is never touched.
  const std::uint64_t map_bytes = length_bytes + (is_huge ? kHugePage.bytes() : 0);
  const auto address = sys::map_pages({.length_bytes = map_bytes,
                                       .protection = sys::Protection::kReadWrite,
                                       .visibility = sys::Visibility::kPrivate});
  if (!address) {
    return tl::unexpected<sys::Errno>(address.error());
  }
  PageBuffer buffer;
  buffer.mapped_ = {*address, static_cast<std::size_t>(map_bytes)};
  const auto start = reinterpret_cast<std::uintptr_t>(*address);
  const std::uint64_t skew_bytes = is_huge ? round_up(start, kHugePage) - start : 0;
  buffer.bytes_ = buffer.mapped_.subspan(skew_bytes, length_bytes);
  if (is_huge) {
    // Refused where there are no huge pages: ordinary ones do.
    static_cast<void>(
        sys::advise_pages(buffer.bytes_.data(), length_bytes, sys::MemoryAdvice::kHugePage));
  }
  return buffer;
}

sys::Outcome<void> SourceWindow::map(Job& job, std::uint64_t length_bytes) {
  unmap();
  const auto window = make_page_window({job.source_offset(), length_bytes}, sys::os_page_size());
  if (!window) {
    return sys::refuse(window.error().code().value());
  }
  job.count_call();
  const auto address = sys::map_pages({.length_bytes = window->map_length_bytes,
                                       .protection = sys::Protection::kRead,
                                       .visibility = sys::Visibility::kShared,
                                       .fd = job.source().fd,
                                       .offset_bytes = window->map_offset_bytes});
  if (!address) {
    return tl::unexpected<sys::Errno>(address.error());
  }
  address_ = *address;
  mapped_bytes_ = window->map_length_bytes;
  bytes_ = {address_ + window->skew_bytes, static_cast<std::size_t>(window->length_bytes)};
  return {};
}

void SourceWindow::unmap() noexcept {
  if (address_ != nullptr) {
    static_cast<void>(sys::unmap_pages(std::exchange(address_, nullptr), mapped_bytes_));
  }
  bytes_ = {};
}

Step check_source_reaches(Job& job) {
  if (!job.source().is_regular()) {
    return Step::moved();
  }
  job.count_call();
  const auto status = sys::file_status(job.source().fd);
  if (!status) {
    return Step::failed({.operation = "fstat", .error = status.error().value});
  }
  return status->size_bytes < job.source_offset() ? Step::source_ended() : Step::moved();
}

}  // namespace quire::internal
