// SPDX-License-Identifier: Apache-2.0
#include "quire/map/file_set.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "quire/base/check.h"
#include "quire/map/internal/file_set_state.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/directory.h"

namespace quire {
namespace {

Result<void> check(const FileSetOptions& options) {
  const std::size_t alignment = options.alignment_bytes;
  if (!std::has_single_bit(alignment) || alignment > kEntryAlignmentMax) {
    return fail(make_error(Errc::kOutOfRange, "FileSet::open",
                           "alignment_bytes = " + std::to_string(alignment),
                           "entries can only be aligned to a power of two up to " +
                               std::to_string(kEntryAlignmentMax)));
  }
  return {};
}

// Whether an entry of a directory is a regular file, or a link that leads to one.
bool leads_to_file(const sys::DirectoryEntry& entry, const std::string& path) {
  const bool must_look = !entry.is_kind_known || entry.kind == sys::FileKind::kSymlink;
  if (!must_look) {
    return entry.kind == sys::FileKind::kRegular;
  }
  const sys::Outcome<sys::FileStatus> status = sys::path_status(path.c_str(), false);
  return status && status->kind == sys::FileKind::kRegular;
}

Result<std::vector<std::string>> files_in(const std::string& path) {
  const auto to_error = [&](sys::Errno cause, const char* operation) {
    return fail(sys::to_error(cause, operation, path));
  };
  if (sys::path_has_nul(path)) {
    return to_error(sys::Errno{EINVAL}, "open");
  }
  auto directory = sys::open_file(path.c_str(), {.directory = true});
  if (!directory) {
    return to_error(directory.error(), "open");
  }
  sys::DirectoryReader reader(*std::move(directory));
  std::vector<std::string> files;
  const std::string prefix = path.ends_with('/') ? path : path + "/";
  for (;;) {
    const auto entry = reader.next();
    if (!entry) {
      return to_error(entry.error(), "getdents");
    }
    if (!*entry) {
      break;
    }
    std::string file = prefix + (*entry)->name;
    if (leads_to_file(**entry, file)) {
      files.push_back(std::move(file));
    }
  }
  std::ranges::sort(files);
  return files;
}

const FileSetStats kNoStats;

}  // namespace

FileSet::FileSet() noexcept = default;
FileSet::FileSet(std::unique_ptr<internal::FileSetState> state) noexcept
    : state_(std::move(state)) {}
FileSet::FileSet(FileSet&& other) noexcept = default;
FileSet& FileSet::operator=(FileSet&& other) noexcept = default;
FileSet::~FileSet() = default;

Result<FileSet> FileSet::open(std::span<const std::string> paths, const FileSetOptions& options) {
  QUIRE_TRY(check(options));
  auto state = std::make_unique<internal::FileSetState>(options);
  internal::FileSetLoader(*state).load(paths);
  if (options.on_error == OnFileError::kFail && state->stats.files_failed > 0) {
    return fail(state->error(state->entries.size() - 1));
  }
  return FileSet(std::move(state));
}

Result<FileSet> FileSet::open_directory(const std::string& path, const FileSetOptions& options) {
  return open(QUIRE_TRY(files_in(path)), options);
}

std::size_t FileSet::size() const noexcept {
  return state_ == nullptr ? 0 : state_->entries.size();
}

FileSet::File FileSet::file(std::size_t index) const noexcept {
  QUIRE_CHECK_LT(index, size());
  return {state_.get(), index};
}

const FileSetStats& FileSet::stats() const noexcept {
  return state_ == nullptr ? kNoStats : state_->stats;
}

Result<void> FileSet::close() {
  if (state_ == nullptr) {
    return {};
  }
  const std::unique_ptr<internal::FileSetState> state = std::move(state_);
  return state->release();
}

std::string_view FileSet::File::path() const noexcept {
  return state_->path(index_);
}

bool FileSet::File::is_open() const noexcept {
  return state_->entries[index_].held != internal::Held::kFailed;
}

Result<std::span<const std::byte>> FileSet::File::bytes() const {
  if (!is_open()) {
    return fail(state_->error(index_));
  }
  const internal::FileSetState::Entry& entry = state_->entries[index_];
  return std::span(entry.first, entry.size_bytes);
}

Result<std::string_view> FileSet::File::text() const {
  const std::span<const std::byte> all = QUIRE_TRY(bytes());
  return std::string_view(reinterpret_cast<const char*>(all.data()), all.size());
}

std::string FileSet::File::explain() const {
  return state_->explain(index_);
}

}  // namespace quire
