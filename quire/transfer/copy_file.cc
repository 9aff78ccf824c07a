// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <filesystem>

#include "quire/sys/descriptor.h"
#include "quire/transfer/copy.h"
#include "quire/transfer/internal/file_copier.h"

namespace quire {
namespace {

constexpr const char* kOperation = "copy";

Result<void> check_path(const std::string& path) {
  if (path.empty() || sys::path_has_nul(path)) {
    return fail(sys::to_error(sys::Errno{path.empty() ? ENOENT : EINVAL}, kOperation, path));
  }
  return {};
}

// The file behind a link, or the path itself.
Result<std::string> final_path(const std::string& path) {
  const auto status = sys::path_status(path.c_str(), true);
  if (!status || status->kind != sys::FileKind::kSymlink) {
    return path;
  }
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) {
    return fail(Error({.code = error,
                       .operation = kOperation,
                       .subject = path,
                       .cause = "it is a symbolic link that leads nowhere",
                       .remedy = "remove the link, or name the file it was to lead to"}));
  }
  return real.string();
}

}  // namespace

const char* name_of(CopiedKind kind) noexcept {
  switch (kind) {
    case CopiedKind::kFile: return "file";
    case CopiedKind::kDirectory: return "directory";
    case CopiedKind::kSymlink: return "symlink";
    case CopiedKind::kHardLink: break;
  }
  return "hard_link";
}

Result<CopiedEntry> copy_file(const PathArgument& source, const PathArgument& target,
                              const CopyOptions& options) {
  QUIRE_TRY(check_path(source.text()));
  QUIRE_TRY(check_path(target.text()));
  const auto file = sys::open_file(source.text().c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), kOperation, source.text()));
  }
  const auto status = sys::file_status(file->get());
  if (!status) {
    return fail(sys::to_error(status.error(), kOperation, source.text()));
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, kOperation, source.text(),
                           fmt::format("it is {}, not a regular file", describe(status->kind))));
  }
  const std::filesystem::path place = QUIRE_TRY(final_path(target.text()));
  const std::string parent = place.has_parent_path() ? place.parent_path().string() : ".";
  const std::string name = place.filename().string();
  const auto directory = sys::open_file(parent.c_str(), {.directory = true});
  if (!directory) {
    return fail(sys::to_error(directory.error(), kOperation, parent));
  }
  if (name.empty() || name == "." || name == "..") {
    return fail(make_error(Errc::kWrongKind, kOperation, target.text(), "it names a directory",
                           "name the copy itself"));
  }
  return internal::FileCopier(options).copy(
      {.fd = file->get(), .status = *status, .path = source.text()},
      {.directory = *directory, .name = name, .path = target.text()});
}

}  // namespace quire
