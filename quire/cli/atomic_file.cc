// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/atomic_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "quire/sys/directory.h"
#include "quire/sys/file.h"
#include "quire/sys/process.h"

namespace quire::cli {
namespace {

// The file behind a link, or the path itself. Errors: kWrongKind.
Result<std::string> final_path(const std::string& path) {
  const auto status = sys::path_status(path.c_str(), false);
  if (!status) {
    return path;  // Not there yet, or an error that creating will tell better.
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, "create", path,
                           fmt::format("it is {}", describe(status->kind)),
                           "name a regular file, or one that does not exist yet"));
  }
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  std::string target = QUIRE_TRY(final_path(path));
  std::string temporary = fmt::format("{}.tmp-{}", target, sys::process_id());
  auto file = sys::open_file(temporary.c_str(), {.write = true, .create = true, .exclusive = true});
  if (!file) {
    return fail(sys::to_error(file.error(), "create", temporary));
  }
  return AtomicFile(std::move(target), std::move(temporary), std::move(*file));
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      file_(std::move(other.file_)) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) {
    static_cast<void>(sys::unlink_path(temporary_.c_str()));
  }
}

Result<void> AtomicFile::commit() {
  if (const auto synced = sys::sync_all(file_.get()); !synced) {
    return fail(sys::to_error(synced.error(), "fsync", temporary_));
  }
  if (const auto closed = file_.close(); !closed) {
    return fail(sys::to_error(closed.error(), "close", temporary_));
  }
  if (const auto renamed = sys::rename_path(temporary_.c_str(), path_.c_str()); !renamed) {
    return fail(sys::to_error(renamed.error(), "rename", path_));
  }
  temporary_.clear();
  // The new name is durable once its directory is.
  return sys::sync_parent_directory(path_);
}

}  // namespace quire::cli
