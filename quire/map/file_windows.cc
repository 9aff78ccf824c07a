// SPDX-License-Identifier: Apache-2.0
#include "quire/map/file_windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/base/page_window.h"

namespace quire {
namespace {

Result<std::uint64_t> size_of(const sys::Descriptor& file, const std::string& path) {
  const sys::Outcome<sys::FileStatus> status = sys::file_status(file.get());
  if (!status) {
    return fail(sys::to_error(status.error(), "fstat", path));
  }
  if (status->kind == sys::FileKind::kRegular) {
    return status->size_bytes;
  }
  if (status->kind == sys::FileKind::kBlockDevice) {
    const sys::Outcome<std::uint64_t> size_bytes = sys::block_device_bytes(file.get());
    if (size_bytes) {
      return *size_bytes;
    }
    return fail(sys::to_error(size_bytes.error(), "ioctl(BLKGETSIZE64)", path));
  }
  return fail(make_error(Errc::kWrongKind, "open_windows", path,
                         fmt::format("it is {}", sys::describe(status->kind)),
                         "name a regular file or a block device"));
}

}  // namespace

Result<FileWindows> open_windows(PathArgument path, const WindowOptions& options) {
  FileWindows windows;
  windows.path_ = path.take();
  if (options.window_bytes <= options.overlap_bytes) {
    return fail(make_error(Errc::kOutOfRange, "open_windows", windows.path_,
                           fmt::format("windows of {} bytes cannot overlap by {}",
                                       options.window_bytes, options.overlap_bytes)));
  }
  if (sys::path_has_nul(windows.path_)) {
    return fail(make_error(Errc::kWrongKind, "open_windows", windows.path_,
                           "the path contains a NUL byte"));
  }
  sys::Outcome<sys::Descriptor> file = sys::open_file(windows.path_.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "open", windows.path_));
  }
  const std::uint64_t size_bytes = QUIRE_TRY(size_of(*file, windows.path_));
  const Result<ByteRange> range = resolve_range(options.range, size_bytes);
  if (!range) {
    return fail(range.error().about("open_windows",
                                    fmt::format("{}, {}", windows.path_, describe(options.range))));
  }
  windows.file_ = std::move(*file);
  windows.range_ = *range;
  windows.options_ = options;
  windows.position_bytes_ = range->offset_bytes;
  return windows;
}

Result<bool> FileWindows::next() {
  window_ = Mapping();  // Gives the addresses back before asking for new ones.
  const std::uint64_t end = end_of(range_);
  if (position_bytes_ >= end) {
    return false;
  }
  const std::uint64_t start =
      has_started_ ? position_bytes_ - options_.overlap_bytes : position_bytes_;
  const std::uint64_t length = std::min(options_.window_bytes, end - start);
  Result<Mapping> window =
      map_borrowed(file_.get(), {.offset_bytes = start, .length_bytes = length});
  if (!window) {
    const bool is_shorter = window.error().code() == Errc::kOutOfRange;
    const std::string subject = fmt::format("{}, {}", path_, describe(ByteRange{start, length}));
    return fail(is_shorter ? make_error(Errc::kTruncated, "next_window", subject,
                                        "the file is shorter than when it was opened")
                           : window.error().about("next_window", subject));
  }
  window_ = std::move(*window);
  position_bytes_ = start + length;
  has_started_ = true;
  return true;
}

}  // namespace quire
