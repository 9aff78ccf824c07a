// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/file_copier.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/transfer/internal/ends.h"
#include "quire/transfer/internal/preserve.h"
#include "quire/transfer/internal/temporary_file.h"
#include "quire/transfer/internal/verify.h"

namespace quire::internal {
namespace {

constexpr const char* kOperation = "copy";

Error error_about(sys::Errno cause, const std::string& path) {
  return sys::to_error(cause, kOperation, path);
}

// Whether the source is still what it was when it was opened.
Result<void> check_unchanged(const CopySource& source) {
  const auto now = sys::file_status(source.fd);
  if (!now) {
    return fail(error_about(now.error(), source.path));
  }
  if (now->size_bytes == source.status.size_bytes &&
      now->modified_ns == source.status.modified_ns) {
    return {};
  }
  return fail(make_error(Errc::kChanged, kOperation, source.path,
                         "somebody wrote to it while it was copied",
                         "copy it again when it rests"));
}

}  // namespace

sys::Outcome<sys::FileStatus> status_at(const sys::Descriptor& directory,
                                        const std::string& name) noexcept {
  const auto look =
      sys::open_file_at(directory, name.c_str(), {.no_follow = true, .path_only = true});
  if (!look) {
    return tl::unexpected<sys::Errno>(look.error());
  }
  return sys::file_status(look->get());
}

Result<void> check_name(const CopyPlace& target, const sys::Outcome<sys::FileStatus>& now,
                        const CopyOptions& options) {
  if (!now && now.error().value == ENOENT) {
    return {};
  }
  if (!now) {
    return fail(error_about(now.error(), target.path));
  }
  const bool is_replaceable =
      now->kind == sys::FileKind::kRegular || now->kind == sys::FileKind::kSymlink;
  if (!is_replaceable) {
    return fail(
        make_error(Errc::kWrongKind, kOperation, target.path,
                   fmt::format("it is {}, which a copy does not replace", describe(now->kind))));
  }
  if (options.existing == ExistingTarget::kRefuse) {
    return fail(error_about(sys::Errno{EEXIST}, target.path));
  }
  return {};
}

Result<void> FileCopier::check_target(const CopySource& source, const CopyPlace& target) const {
  const auto now = status_at(target.directory, target.name);
  if (now && now->id() == source.status.id()) {
    return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                       .operation = kOperation,
                       .subject = fmt::format("{} to {}", source.path, target.path),
                       .cause = "both names are one and the same file"}));
  }
  return check_name(target, now, options_);
}

Result<void> FileCopier::check_space(const CopySource& source, const CopyPlace& target) const {
  const std::uint64_t needed_bytes =
      options_.holes == Holes::kKeep ? source.status.allocated_bytes : source.status.size_bytes;
  const auto free_bytes = sys::free_bytes_of(target.directory.get());
  if (!free_bytes || *free_bytes >= needed_bytes) {
    return {};  // Where it cannot be told, writing tells.
  }
  const auto type = sys::file_system_type_of(target.directory.get());
  const auto status = sys::file_status(target.directory.get());
  if (status && status->device == source.status.device && type && may_share_blocks(type->name)) {
    return {};
  }
  return fail(Error({.code = std::make_error_code(std::errc::no_space_on_device),
                     .operation = kOperation,
                     .subject = target.path,
                     .cause = fmt::format("it needs {}, and the file system has {} left (ENOSPC)",
                                          human_bytes(needed_bytes), human_bytes(*free_bytes)),
                     .remedy = "make room first; nothing was written"}));
}

Result<TransferReport> FileCopier::move_bytes(const CopySource& source, int target) {
  const std::uint64_t before_bytes = progress_.done_bytes;
  TransferOptions options{.method = options_.method,
                          .holes = options_.holes,
                          .source_cache = options_.source_cache,
                          .stop = options_.stop,
                          .stop_fd = options_.stop_fd};
  if (options_.on_progress) {
    options.on_progress = [&](const TransferProgress& now) {
      progress_.done_bytes = before_bytes + now.done_bytes;
      options_.on_progress(progress_);
    };
  }
  auto moved = transfer({.fd = source.fd}, {.fd = target, .offset_bytes = 0}, options);
  progress_.done_bytes = before_bytes + (moved ? moved->bytes : 0);
  return moved;
}

Result<void> FileCopier::make_durable(int target, const std::string& path) const {
  if (!options_.durability) {
    return {};
  }
  sys::Outcome<void> outcome;
  switch (*options_.durability) {
    case Durability::kStarted:
      outcome = sys::sync_range(target, kWholeFile, sys::SyncRange::kStart);
      break;
    case Durability::kData: outcome = sys::sync_data(target); break;
    case Durability::kAll: outcome = sys::sync_all(target); break;
  }
  if (!outcome) {
    return fail(error_about(outcome.error(), path));
  }
  return {};
}

Result<CopiedEntry> FileCopier::copy(const CopySource& source, const CopyPlace& target) {
  QUIRE_TRY(check_target(source, target));
  QUIRE_TRY(check_space(source, target));
  auto temporary = QUIRE_TRY(TemporaryFile::create(target.directory, target.name, target.path));
  CopiedEntry entry{.source = source.path, .target = target.path, .kind = CopiedKind::kFile};
  entry.transfer = QUIRE_TRY(move_bytes(source, temporary.fd()));
  QUIRE_TRY(preserve_metadata(source.fd, temporary.fd(), target.path, entry.remarks));
  QUIRE_TRY(make_durable(temporary.fd(), target.path));
  if (options_.verification == Verification::kReadBack) {
    entry.xxh3 = QUIRE_TRY(verify_copy({.fd = source.fd, .shown_path = source.path},
                                       {.fd = temporary.fd(), .shown_path = target.path}, options_,
                                       entry.remarks));
  }
  QUIRE_TRY(check_unchanged(source));
  QUIRE_TRY(temporary.commit(options_.existing == ExistingTarget::kRefuse
                                 ? sys::RenameOver::kRefuse
                                 : sys::RenameOver::kReplace));
  if (options_.durability == Durability::kAll) {
    if (const auto synced = sys::sync_all(target.directory.get()); !synced) {
      return fail(error_about(synced.error(), target.path));
    }
  }
  ++progress_.file_count;
  return entry;
}

}  // namespace quire::internal
