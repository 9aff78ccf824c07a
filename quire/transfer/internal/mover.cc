// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/mover.h"

#include <cerrno>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

constexpr PageSize kHugePage{
    2_MiB};  // Where huge pages have another size, alignment costs nothing.

// A piece of the source, mapped for reading.
class SourceWindow {
 public:
  SourceWindow() = default;
  ~SourceWindow() { unmap(); }
  SourceWindow(const SourceWindow&) = delete;
  SourceWindow& operator=(const SourceWindow&) = delete;

  // At most length_bytes from job.source_offset(). Errors: of mmap.
  sys::Outcome<void> map(Job& job, std::uint64_t length_bytes);
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  void unmap() noexcept;

 private:
  sys::Address address_ = nullptr;
  std::uint64_t mapped_bytes_ = 0;
  std::span<const std::byte> bytes_;
};

sys::Outcome<void> SourceWindow::map(Job& job, std::uint64_t length_bytes) {
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

// Whether the source still reaches job.source_offset(): a page that straddles a truncated end reads
// as zeros that the file does not have. kSourceEnded when it does not.
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

Step move_window(Job& job, std::uint64_t length_bytes,
                 const std::function<Step(std::span<const std::byte>)>& send) {
  SourceWindow window;
  if (const auto mapped = window.map(job, length_bytes); !mapped) {
    return refused_or_failed("mmap", mapped.error());
  }
  const Step sent = send(window.bytes());
  window.unmap();
  job.count_call();
  if (sent.fault.error == EFAULT) {
    return Step::source_ended();  // A page that is not there: truncated, or a device error.
  }
  return sent.is_moved() ? check_source_reaches(job) : sent;
}

}  // namespace quire::internal
