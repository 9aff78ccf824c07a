// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/segment_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "quire/base/units.h"
#include "quire/ipc/segment.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/sys/limits.h"
#include "quire/sys/names.h"
#include "quire/sys/outcome.h"
#include "quire/sys/socket.h"

namespace quire::ipc {

Result<std::string> runtime_directory() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read only, like everywhere.
  const char* chosen = std::getenv("QUIRE_IPC_DIR");
  if (chosen == nullptr || *chosen == '\0') {
    return fmt::format("/dev/shm/quire-{}", sys::effective_user());
  }
  if (*chosen != '/') {
    return fail(sys::to_error({EINVAL}, "open segment", fmt::format("$QUIRE_IPC_DIR '{}'", chosen),
                              "give it an absolute path: processes have different directories"));
  }
  return std::string(chosen);
}

namespace internal {
namespace {

constexpr const char* kOpen = "open segment";
constexpr std::uint32_t kDirectoryMode = 0700;
constexpr std::uint32_t kFileMode = 0600;
constexpr std::uint32_t kOthersMayWrite = 0022;
constexpr std::uint32_t kOthersMayUse = 0077;
// Less than this at once cannot hurt a machine that still runs, and is not worth reading /proc for.
constexpr std::uint64_t kAskFirstBytes = 64 << 20;

Result<void> check_owner(const sys::FileStatus& status, std::uint32_t forbidden,
                         const std::string& path) {
  const std::uint32_t self = sys::effective_user();
  if (status.owner != self) {
    return fail(Error({.code = std::make_error_code(std::errc::permission_denied),
                       .operation = kOpen,
                       .subject = path,
                       .cause = fmt::format("it belongs to user {}, and this process to user {}",
                                            status.owner, self),
                       .remedy = "use a directory of your own ($QUIRE_IPC_DIR), or allow other "
                                 "users on both sides (allow_other_users)"}));
  }
  if ((status.mode & forbidden) != 0) {
    return fail(Error({.code = std::make_error_code(std::errc::permission_denied),
                       .operation = kOpen,
                       .subject = path,
                       .cause = fmt::format("its mode {:04o} lets other users in", status.mode),
                       .remedy = fmt::format("chmod go-rwx '{}', or allow other users "
                                             "(allow_other_users)",
                                             path)}));
  }
  return {};
}

Error no_space(const std::string& path, std::uint64_t wanted_bytes, const std::string& there_is) {
  return Error(
      {.code = std::make_error_code(std::errc::no_space_on_device),
       .operation = kOpen,
       .subject = path,
       .cause = fmt::format("{} more are needed, and {}", human_bytes(wanted_bytes), there_is),
       .remedy = "make the file system larger (mount -o remount,size=..., docker run "
                 "--shm-size=...), remove stale segments (quire ipc rm --stale), or set "
                 "$QUIRE_IPC_DIR"});
}

Result<void> check_memory(std::uint64_t more_bytes, const std::string& path) {
  if (more_bytes < kAskFirstBytes) {
    return {};
  }
  const sys::MemoryLimits limits = sys::memory_limits();
  const std::optional<std::uint64_t> there_are = sys::obtainable_bytes(limits);
  if (there_are && more_bytes > *there_are) {
    return fail(
        make_error(Errc::kLimit, kOpen, path,
                   fmt::format("{} more are needed, and {} of memory can be had at most; "
                               "what binds is {}",
                               human_bytes(more_bytes), human_bytes(*there_are), limits.binding),
                   "ask for smaller objects, or raise that limit"));
  }
  return {};
}

// A memfd lies on a tmpfs without a limit, and answers kToEnd.
std::uint64_t free_bytes(int fd) noexcept {
  return sys::free_bytes_of(fd).value_or(kToEnd);
}

}  // namespace

Result<sys::Descriptor> open_directory(const std::string& path, OtherUsers others) {
  const sys::Outcome<void> made = sys::make_directory(path.c_str(), kDirectoryMode);
  if (!made && made.error().value != EEXIST) {
    return fail(sys::to_error(made.error(), kOpen, path));
  }
  auto directory = sys::open_file(path.c_str(), {.directory = true, .no_follow = true});
  if (!directory) {
    return fail(sys::to_error(directory.error(), kOpen, path));
  }
  const auto status = sys::file_status(directory->get());
  if (!status) {
    return fail(sys::to_error(status.error(), kOpen, path));
  }
  if (others == OtherUsers::kRefused) {
    QUIRE_TRY(check_owner(*status, kOthersMayWrite, path));
  }
  return std::move(*directory);
}

Result<sys::Descriptor> open_segment_file(const FileRequest& request) {
  auto file = sys::open_file_at(
      *request.directory, request.name.c_str(),
      {.write = true, .create = request.create, .no_follow = true, .mode = kFileMode});
  if (!file) {
    return fail(sys::to_error(file.error(), kOpen, request.path));
  }
  const auto status = sys::file_status(file->get());
  if (!status) {
    return fail(sys::to_error(status.error(), kOpen, request.path));
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, kOpen, request.path,
                           fmt::format("it is {}", sys::describe(status->kind))));
  }
  if (request.others == OtherUsers::kRefused) {
    QUIRE_TRY(check_owner(*status, kOthersMayUse, request.path));
  }
  return std::move(*file);
}

bool is_named(const sys::Descriptor& directory, const std::string& name, int fd) noexcept {
  const auto ours = sys::file_status(fd);
  const auto named =
      sys::open_file_at(directory, name.c_str(), {.no_follow = true, .path_only = true});
  if (!ours || !named) {
    return false;
  }
  const auto status = sys::file_status(named->get());
  return status && status->id() == ours->id();
}

Result<void> secure_space(int fd, std::uint64_t size_bytes, const std::string& path) {
  const auto status = sys::file_status(fd);
  if (!status) {
    return fail(sys::to_error(status.error(), kOpen, path));
  }
  const std::uint64_t more_bytes = size_bytes - std::min(size_bytes, status->allocated_bytes);
  QUIRE_TRY(check_memory(more_bytes, path));
  if (const std::uint64_t there_are = free_bytes(fd); more_bytes > there_are) {
    return fail(no_space(path, more_bytes,
                         fmt::format("the file system has {} left", human_bytes(there_are))));
  }
  const auto allocated = sys::allocate_space(fd, {.offset_bytes = 0, .length_bytes = size_bytes},
                                             sys::Allocate::kExtendSize);
  if (!allocated && allocated.error().value == ENOSPC) {
    return fail(no_space(path, more_bytes, "the file system does not have them"));
  }
  if (!allocated) {
    return fail(
        sys::to_error(allocated.error(), kOpen, fmt::format("{}, {} bytes", path, size_bytes)));
  }
  return {};
}

}  // namespace internal
}  // namespace quire::ipc
