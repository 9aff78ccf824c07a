// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/cached_file.h"

#include <fmt/format.h>

#include "quire/sys/file_system.h"

namespace quire::internal {
namespace {

std::string subject_of(int fd, ByteRange part) {
  return fmt::format("{}, {}", sys::path_of(fd), describe(part));
}

}  // namespace

Error CachedFile::error(sys::Errno cause, ByteRange part) const {
  return sys::to_error(cause, operation, subject_of(fd, part));
}

Error CachedFile::error(Errc code, ByteRange part, std::string cause, std::string remedy) const {
  return make_error(code, operation, subject_of(fd, part), std::move(cause), std::move(remedy));
}

Result<CachedFile> look_at(int fd, ByteRange wanted, const char* operation) {
  CachedFile file{.fd = fd, .operation = operation};
  const sys::Outcome<sys::FileStatus> status = sys::file_status(fd);
  if (!status) {
    return fail(file.error(status.error(), wanted));
  }
  file.status = *status;
  if (status->kind == sys::FileKind::kBlockDevice) {
    const sys::Outcome<std::uint64_t> size = sys::block_device_bytes(fd);
    if (!size) {
      return fail(file.error(size.error(), wanted));
    }
    file.status.size_bytes = *size;
  } else if (status->kind != sys::FileKind::kRegular) {
    return fail(file.error(
        Errc::kWrongKind, wanted,
        fmt::format("it is {}, which has no page cache of its own", sys::describe(status->kind))));
  }
  file.has_counts = sys::has_cache_counts(fd).value_or(true);
  const Result<ByteRange> range = resolve_range(wanted, file.status.size_bytes);
  if (!range) {
    return fail(make_error(Errc::kOutOfRange, operation, subject_of(fd, wanted),
                           range.error().cause(), range.error().remedy()));
  }
  file.range = *range;
  return file;
}

}  // namespace quire::internal
