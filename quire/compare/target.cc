// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/base/prng.h"
#include "quire/compare/internal/counters.h"
#include "quire/compare/workload.h"
#include "quire/sys/file.h"
#include "quire/sys/names.h"
#include "quire/sys/process.h"

namespace quire::compare {
namespace {

constexpr const char* kMake = "make scratch file";
// One piece of writing: large enough for the device, small enough to stop soon.
constexpr std::uint64_t kPieceBytes = 4_MiB;
// Left free for everybody else.
constexpr std::uint64_t kMarginBytes = 64_MiB;

std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return bytes / kPatternPageBytes * kPatternPageBytes;
}

// Nameless where the file system can, else named and unlinked: without a name either way.
Result<sys::Descriptor> open_without_name(const sys::Descriptor& directory,
                                          const std::string& path) {
  auto file = sys::open_nameless(directory, 0600);
  if (file) {
    return std::move(*file);
  }
  const std::string name = fmt::format(".quire-compare-{}", sys::process_id());
  file = sys::open_file_at(
      directory, name.c_str(),
      {.write = true, .create = true, .exclusive = true, .no_follow = true, .mode = 0600});
  if (!file) {
    return fail(to_error(file.error(), kMake, path + "/" + name));
  }
  if (const auto unlinked = sys::unlink_at(directory, name.c_str()); !unlinked) {
    return fail(to_error(unlinked.error(), kMake, path + "/" + name));
  }
  return std::move(*file);
}

Result<void> check_space(const sys::FileSystem& file_system, const std::string& path,
                         std::uint64_t wanted_bytes) {
  if (file_system.free_bytes >= wanted_bytes + kMarginBytes) {
    return {};
  }
  return fail(make_error(Errc::kLimit, kMake, path,
                         fmt::format("{} are free, and {} with a margin of {} are needed",
                                     human_bytes(file_system.free_bytes), human_bytes(wanted_bytes),
                                     human_bytes(kMarginBytes)),
                         "choose a smaller --size, or another directory with --dir"));
}

// Reserved, so that a full disk is found out now; where the file system cannot, the file has its
// size and holes.
Result<void> reserve(int fd, std::uint64_t size_bytes, const std::string& path) {
  auto sized = sys::allocate_space(fd, {.offset_bytes = 0, .length_bytes = size_bytes},
                                   sys::Allocate::kExtendSize);
  if (!sized && sized.error().value == EOPNOTSUPP) {
    sized = sys::truncate_file(fd, size_bytes);
  }
  if (!sized) {
    return fail(to_error(sized.error(), kMake, path));
  }
  return {};
}

Result<void> write_pages(int fd, std::uint64_t size_bytes, std::uint64_t seed,
                         const std::string& path, const CompareHooks& hooks) {
  std::vector<std::byte> piece(kPieceBytes);
  for (std::uint64_t at = 0; at < size_bytes; at += kPieceBytes) {
    if (hooks.should_stop && hooks.should_stop()) {
      return fail(make_error(Errc::kCancelled, kMake, path));
    }
    if (hooks.on_progress) {
      hooks.on_progress({.doing = "writing the scratch file",
                         .done_share = static_cast<double>(at) / static_cast<double>(size_bytes),
                         .left_s = std::nullopt});
    }
    const std::uint64_t length = std::min(kPieceBytes, size_bytes - at);
    for (std::uint64_t page = 0; page < length; page += kPatternPageBytes) {
      fill_page(std::span(piece).subspan(page, kPatternPageBytes), (at + page) / kPatternPageBytes,
                seed);
    }
    const ByteRange range{.offset_bytes = at, .length_bytes = length};
    if (const auto written = sys::write_at(fd, std::span(piece).first(length), at); !written) {
      return fail(to_error(written.error(), kMake, path));
    }
    // The device writes one piece while the next one is made; pages do not pile up.
    static_cast<void>(sys::sync_range(fd, range, sys::SyncRange::kStart));
    if (at >= kPieceBytes) {
      const ByteRange before{.offset_bytes = at - kPieceBytes, .length_bytes = kPieceBytes};
      static_cast<void>(sys::sync_range(fd, before, sys::SyncRange::kStartAndWait));
      static_cast<void>(sys::advise_file(fd, before, sys::FileAdvice::kDontNeed));
    }
  }
  if (const auto synced = sys::sync_data(fd); !synced) {
    return fail(to_error(synced.error(), kMake, path));
  }
  static_cast<void>(sys::advise_file(fd, kWholeFile, sys::FileAdvice::kDontNeed));
  return {};
}

Result<std::uint64_t> size_of(const sys::Descriptor& file, const sys::FileStatus& status,
                              const std::string& path) {
  if (status.kind == sys::FileKind::kRegular) {
    return status.size_bytes;
  }
  if (status.kind == sys::FileKind::kBlockDevice) {
    const auto size_bytes = sys::block_device_bytes(file.get());
    if (!size_bytes) {
      return fail(to_error(size_bytes.error(), "measure", path));
    }
    return *size_bytes;
  }
  return fail(make_error(Errc::kWrongKind, "measure", path, sys::describe(status.kind),
                         status.kind == sys::FileKind::kDirectory
                             ? "name a file; for a scratch file here: --size 1G --dir DIRECTORY"
                             : "name a regular file or a block device"));
}

Result<void> check_size(std::uint64_t size_bytes, const std::string& path) {
  if (size_bytes >= kPatternPageBytes) {
    return {};
  }
  return fail(
      make_error(Errc::kOutOfRange, "measure", path,
                 size_bytes == 0
                     ? "the file is empty: there is nothing to read"
                     : fmt::format("the file has {} bytes, and one read of the comparison takes {}",
                                   size_bytes, kPatternPageBytes),
                 "name a larger file, or let quire make one: --size 1G"));
}

// `fd` is for looking only: that it reads without read-ahead from now on disturbs nobody.
bool sees_cache(int fd) {
  const ByteRange page{.offset_bytes = 0, .length_bytes = kPatternPageBytes};
  return sys::sees_cached_page(fd, page,
                               [&] { return internal::cached_bytes(fd, page).value_or(0) > 0; });
}

}  // namespace

Result<Target> Target::open_user_file(const std::string& path) {
  if (sys::path_has_nul(path)) {
    return fail(sys::to_error({EINVAL}, "open", path));
  }
  auto file = sys::open_file(path.c_str(), {});
  if (!file) {
    return fail(to_error(file.error(), "open", path));
  }
  const auto status = sys::file_status(file->get());
  if (!status) {
    return fail(to_error(status.error(), "open", path));
  }
  const std::uint64_t size_bytes = QUIRE_TRY(size_of(*file, *status, path));
  QUIRE_TRY(check_size(size_bytes, path));
  Target target;
  target.file_system_ = QUIRE_TRY(sys::file_system_of(file->get()));
  target.name_ = path;
  target.file_ = std::move(*file);
  target.status_ = *status;
  target.size_bytes_ = whole_pages(size_bytes);
  target.is_cache_visible_ = sees_cache(target.fd());
  return target;
}

Result<Target> Target::make_scratch(const CompareOptions& options, std::uint64_t room_bytes,
                                    const CompareHooks& hooks) {
  const std::string& path = options.directory;
  const std::uint64_t size_bytes = whole_pages(options.scratch_bytes);
  QUIRE_TRY(check_size(size_bytes, path));
  auto directory = sys::open_file(path.c_str(), {.directory = true});
  if (!directory) {
    return fail(to_error(directory.error(), "open", path));
  }
  Target target;
  target.file_system_ = QUIRE_TRY(sys::file_system_of(directory->get()));
  QUIRE_TRY(check_space(target.file_system_, path, size_bytes + room_bytes));
  target.file_ = QUIRE_TRY(open_without_name(*directory, path));
  target.directory_ = std::move(*directory);
  target.name_ = path;
  target.size_bytes_ = size_bytes;
  QUIRE_TRY(reserve(target.fd(), size_bytes, path));
  QUIRE_TRY(write_pages(target.fd(), size_bytes, options.seed, path, hooks));
  target.is_cache_visible_ = sees_cache(target.fd());
  return target;
}

std::string Target::path_to_reopen() const {
  return fmt::format("/proc/self/fd/{}", file_.get());
}

Result<void> Target::check() const {
  if (is_scratch()) {
    return {};
  }
  const auto status = sys::path_status(name_.c_str(), false);
  if (!status) {
    return fail(to_error(status.error(), "measure", name_, "the file is gone"));
  }
  if (status->id() != status_.id()) {
    return fail(make_error(Errc::kChanged, "measure", name_, "another file has its name now"));
  }
  if (status->kind == sys::FileKind::kRegular && status->size_bytes < size_bytes_) {
    return fail(make_error(Errc::kTruncated, "measure", name_,
                           fmt::format("it has {} bytes; at the start it had {}",
                                       status->size_bytes, status_.size_bytes)));
  }
  return {};
}

Result<sys::Descriptor> Target::make_beside(std::uint64_t size_bytes) const {
  QUIRE_CHECK(is_scratch());
  sys::Descriptor file = QUIRE_TRY(open_without_name(directory_, name_));
  QUIRE_TRY(reserve(file.get(), size_bytes, name_));
  return file;
}

}  // namespace quire::compare
