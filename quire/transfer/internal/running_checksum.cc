// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/running_checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/map/guarded.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// Stays in the processor's second cache between the read and the checksum.
constexpr std::size_t kReadBytes = std::size_t{256} << 10;

constexpr std::array<std::byte, std::size_t{64} << 10> kZeros{};

Error ends_early(const std::string& path, std::uint64_t at_bytes) {
  return make_error(Errc::kTruncated, "checksum", path,
                    fmt::format("the file ends at or before offset {}, and was longer", at_bytes),
                    "keep others from changing it, and try again");
}

// A piece of a file for as long as it is looked at.
class Pages {
 public:
  Pages(int fd, const PageWindow& window)
      : window_(window),
        address_(sys::map_pages({.length_bytes = window.map_length_bytes,
                                 .protection = sys::Protection::kRead,
                                 .fd = fd,
                                 .offset_bytes = window.map_offset_bytes,
                                 .populate = true})) {}
  ~Pages() {
    if (address_) {
      static_cast<void>(sys::unmap_pages(*address_, window_.map_length_bytes));
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] bool are_mapped() const noexcept { return address_.has_value(); }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {*address_ + window_.skew_bytes, window_.length_bytes};
  }

 private:
  PageWindow window_;
  sys::Outcome<sys::Address> address_;
};

}  // namespace

void RunningChecksum::add_zeros(std::uint64_t length_bytes) noexcept {
  while (length_bytes > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(length_bytes, kZeros.size());
    add(std::span(kZeros).first(piece));
    length_bytes -= piece;
  }
}

Result<void> RunningChecksum::add_file(int fd, ByteRange range, const std::string& path) {
  if (range.length_bytes == 0) {
    return {};
  }
  const Pages pages(fd, QUIRE_TRY(make_page_window(range, sys::os_page_size())));
  if (!pages.are_mapped()) {
    return add_read(fd, range, path);
  }
  return guarded_with(
      pages.bytes(), [&] { add(pages.bytes()); },
      [&](const GuardFault& fault) {
        const std::uint64_t at_bytes = range.offset_bytes + fault.offset_bytes;
        const auto status = sys::file_status(fd);
        return status && status->size_bytes <= at_bytes
                   ? ends_early(path, at_bytes)
                   : make_error(Errc::kFault, "checksum",
                                fmt::format("{}, offset {}", path, at_bytes), describe(fault),
                                remedy_for(fault));
      });
}

Result<void> RunningChecksum::add_read(int fd, ByteRange range, const std::string& path) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(range.length_bytes, kReadBytes));
  std::uint64_t done = 0;
  while (done < range.length_bytes) {
    const std::uint64_t piece = std::min<std::uint64_t>(buffer.size(), range.length_bytes - done);
    const std::uint64_t at_bytes = range.offset_bytes + done;
    const auto got = sys::read_at(fd, std::span(buffer).first(piece), at_bytes);
    if (!got) {
      return fail(
          sys::to_error(got.error(), "checksum", fmt::format("{}, offset {}", path, at_bytes)));
    }
    if (*got < piece) {
      return fail(ends_early(path, at_bytes + *got));
    }
    add(std::span(buffer).first(piece));
    done += piece;
  }
  return {};
}

}  // namespace quire::internal
