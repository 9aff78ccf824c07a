// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "quire/sys/file.h"
#include "quire/sys/names.h"
#include "quire/transfer/copy.h"
#include "quire/transfer/internal/preserve.h"
#include "quire/transfer/internal/stop.h"
#include "quire/transfer/internal/temporary_file.h"
#include "quire/transfer/internal/tree_copier.h"

namespace quire {
namespace internal {
namespace {

constexpr const char* kOperation = "copy";
// Of a directory under construction: its own mode may forbid us to write into it.
constexpr std::uint32_t kPrivateMode = 0700;

Error error_about(sys::Errno cause, const std::string& path) {
  return sys::to_error(cause, kOperation, path);
}

// The directory itself, opened for reading its names.
sys::Outcome<sys::Descriptor> open_directory(const sys::Descriptor& parent,
                                             const std::string& name) noexcept {
  return sys::open_file_at(parent, name.c_str(), {.directory = true, .no_follow = true});
}

}  // namespace

Result<TreeCopyReport> TreeCopier::run() {
  QUIRE_TRY(start());
  while (!levels_.empty()) {
    if (is_stop_requested(options_.stop, options_.stop_fd)) {
      return fail(make_error(Errc::kCancelled, kOperation, source_path_));
    }
    step();
  }
  return report_;
}

Result<void> TreeCopier::start() {
  auto source = sys::open_file(source_path_.c_str(), {.directory = true});
  if (!source) {
    return fail(error_about(source.error(), source_path_));
  }
  const auto status = sys::file_status(source->get());
  if (!status) {
    return fail(error_about(status.error(), source_path_));
  }
  root_device_ = status->device;
  auto target = QUIRE_TRY(open_target(*status));
  target_root_length_ = target_path_.size();
  levels_.push_back({sys::DirectoryReader(std::move(*source)), std::move(target),
                     source_path_.size(), target_path_.size()});
  return {};
}

Result<sys::Descriptor> TreeCopier::open_target(const sys::FileStatus& source) const {
  auto target = sys::open_file(target_path_.c_str(), {.directory = true});
  if (!target && target.error().value == ENOENT) {
    // Where it would lie is looked at before it is made: who refuses leaves nothing behind.
    const std::filesystem::path parent = std::filesystem::path(target_path_).parent_path();
    const std::string parent_path = parent.empty() ? "." : parent.string();
    const auto above = sys::open_file(parent_path.c_str(), {.directory = true});
    if (!above) {
      return fail(error_about(above.error(), parent_path));
    }
    QUIRE_TRY(check_not_inside(*above, source));
    const auto made = sys::make_directory(target_path_.c_str(), kPrivateMode);
    if (!made) {
      return fail(error_about(made.error(), target_path_));
    }
    target = sys::open_file(target_path_.c_str(), {.directory = true});
  }
  if (!target) {
    return fail(error_about(target.error(), target_path_));
  }
  QUIRE_TRY(check_not_inside(*target, source));
  return std::move(*target);
}

Result<void> TreeCopier::check_not_inside(const sys::Descriptor& target,
                                          const sys::FileStatus& source) const {
  sys::FileStatus previous;
  auto at = sys::duplicate(target.get());
  while (at) {
    const auto status = sys::file_status(at->get());
    if (!status || status->id() == previous.id()) {
      return {};  // The root is its own parent.
    }
    if (status->id() == source.id()) {
      return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                         .operation = kOperation,
                         .subject = fmt::format("{} to {}", source_path_, target_path_),
                         .cause = "the target is the source, or lies inside it"}));
    }
    previous = *status;
    at = sys::open_file_at(*at, "..", {.directory = true});
  }
  return {};
}

void TreeCopier::step() {
  Level& level = levels_.back();
  source_path_.resize(level.source_length);
  target_path_.resize(level.target_length);
  const auto entry = level.source.next();
  if (!entry) {
    tell(entry.error());
    leave();
  } else if (!entry->has_value()) {
    leave();
  } else {
    take_entry(**entry);
  }
}

void TreeCopier::take_entry(const sys::DirectoryEntry& entry) {
  const std::string name = entry.name;
  source_path_ += "/" + name;
  target_path_ += "/" + name;
  sys::FileKind kind = entry.kind;
  if (!entry.is_kind_known) {
    const auto status = status_at(levels_.back().source.descriptor(), name);
    if (!status) {
      tell(status.error());
      return;
    }
    kind = status->kind;
  }
  switch (kind) {
    case sys::FileKind::kDirectory: enter(name); break;
    case sys::FileKind::kRegular: take_file(name); break;
    case sys::FileKind::kSymlink: take_link(name); break;
    default:
      tell(make_error(Errc::kWrongKind, kOperation, source_path_,
                      fmt::format("it is {}; only files, directories and symbolic links are copied",
                                  describe(kind))));
  }
}

sys::Outcome<sys::Descriptor> TreeCopier::make_directory(const std::string& name) const {
  const sys::Descriptor& parent = levels_.back().target;
  const auto made = sys::make_directory_at(parent, name.c_str(), kPrivateMode);
  if (!made && made.error().value != EEXIST) {
    return tl::unexpected<sys::Errno>(made.error());
  }
  return open_directory(parent, name);
}

void TreeCopier::enter(const std::string& name) {
  auto source = open_directory(levels_.back().source.descriptor(), name);
  if (!source) {
    tell(source.error());
    return;
  }
  const auto status = sys::file_status(source->get());
  if (!status) {
    tell(status.error());
    return;
  }
  if (options_.one_file_system && status->device != root_device_) {
    return;
  }
  if (levels_.size() >= kCopyDepthMax) {
    tell(make_error(Errc::kLimit, kOperation, source_path_,
                    fmt::format("it lies deeper than {} directories", kCopyDepthMax),
                    "copy it by itself"));
    return;
  }
  auto target = make_directory(name);
  if (!target) {
    tell(error_about(target.error(), target_path_));
    return;
  }
  levels_.push_back({sys::DirectoryReader(std::move(*source)), std::move(*target),
                     source_path_.size(), target_path_.size()});
}

void TreeCopier::leave() {
  const Level level = std::move(levels_.back());
  levels_.pop_back();
  CopiedEntry entry{.source = source_path_, .target = target_path_, .kind = CopiedKind::kDirectory};
  const auto kept = preserve_metadata(level.source.descriptor().get(), level.target.get(),
                                      target_path_, entry.remarks);
  if (!kept) {
    tell(kept.error());
    return;
  }
  if (options_.durability == Durability::kAll) {
    if (const auto synced = sys::sync_all(level.target.get()); !synced) {
      tell(error_about(synced.error(), target_path_));
      return;
    }
  }
  ++report_.directories;
  tell(entry);
}

void TreeCopier::take_file(const std::string& name) {
  const auto file =
      sys::open_file_at(levels_.back().source.descriptor(), name.c_str(), {.no_follow = true});
  if (!file) {
    tell(file.error());
    return;
  }
  const auto status = sys::file_status(file->get());
  if (!status) {
    tell(status.error());
    return;
  }
  if (take_known_file(*status, name)) {
    return;
  }
  const auto entry =
      copier_.copy({.fd = file->get(), .status = *status, .path = source_path_}, place(name));
  if (!entry) {
    if (entry.error().code() != Errc::kCancelled) {  // run() sees that by itself.
      tell(entry.error());
    }
    return;
  }
  remember(*status);
  ++report_.files;
  report_.bytes += entry->transfer.bytes;
  report_.hole_bytes += entry->transfer.hole_bytes;
  report_.system_calls += entry->transfer.system_calls;
  if (report_.bytes_copied_by_cpu && entry->transfer.bytes_copied_by_cpu) {
    *report_.bytes_copied_by_cpu += *entry->transfer.bytes_copied_by_cpu;
  } else {
    report_.bytes_copied_by_cpu.reset();
  }
  tell(*entry);
}

bool TreeCopier::take_known_file(const sys::FileStatus& status, const std::string& name) {
  if (status.link_count < 2) {
    return false;
  }
  const auto known = linked_.find(status.id());
  if (known == linked_.end()) {
    return false;
  }
  const sys::Descriptor& root = levels_.front().target;
  const auto put = put_in_place(place(name), [&](const char* new_name) {
    return sys::link_at(root, known->second.c_str(), levels_.back().target, new_name);
  });
  if (!put) {
    // EMLINK, or a name that somebody took away: a copy of its own is right, too.
    return false;
  }
  ++report_.hard_links;
  tell({.source = source_path_, .target = target_path_, .kind = CopiedKind::kHardLink});
  return true;
}

void TreeCopier::remember(const sys::FileStatus& status) {
  if (status.link_count >= 2 && linked_.size() < kCopyLinkedFilesMax) {
    linked_.emplace(status.id(), target_path_.substr(target_root_length_ + 1));
  }
}

void TreeCopier::take_link(const std::string& name) {
  const sys::Descriptor& from = levels_.back().source.descriptor();
  const auto text = sys::read_link_at(from, name.c_str());
  if (!text) {
    tell(text.error());
    return;
  }
  const auto put = put_in_place(place(name), [&](const char* new_name) {
    return sys::symlink_at(*text, levels_.back().target, new_name);
  });
  if (!put) {
    tell(put.error());
    return;
  }
  CopiedEntry entry{.source = source_path_, .target = target_path_, .kind = CopiedKind::kSymlink};
  preserve_link_metadata(from, name.c_str(), levels_.back().target, name.c_str(), entry.remarks);
  ++report_.symlinks;
  tell(entry);
}

Result<void> TreeCopier::put_in_place(const CopyPlace& place,
                                      const std::function<sys::Outcome<void>(const char*)>& make) {
  const auto made = make(place.name.c_str());
  if (made) {
    return {};
  }
  if (made.error().value != EEXIST) {
    return fail(error_about(made.error(), place.path));
  }
  QUIRE_TRY(check_name(place, status_at(place.directory, place.name), options_));
  for (int attempt = 0; attempt < kDottedNamesMax; ++attempt) {
    const std::string dotted = dotted_name_for(place.name);
    if (const auto again = make(dotted.c_str()); !again) {
      if (again.error().value == EEXIST) {
        continue;
      }
      return fail(error_about(again.error(), place.path));
    }
    const auto renamed = sys::rename_at(place.directory, dotted.c_str(), place.name.c_str(),
                                        sys::RenameOver::kReplace);
    // Renaming one link of a file over another does nothing, successfully: both names stay.
    static_cast<void>(sys::unlink_at(place.directory, dotted.c_str()));
    if (!renamed) {
      return fail(error_about(renamed.error(), place.path));
    }
    return {};
  }
  return fail(error_about(sys::Errno{EEXIST}, place.path));
}

void TreeCopier::tell(const CopiedEntry& entry) {
  if (events_.on_entry) {
    events_.on_entry(entry);
  }
}

void TreeCopier::tell(const Error& error) {
  ++report_.failures;
  if (events_.on_error) {
    events_.on_error(error);
  }
}

void TreeCopier::tell(sys::Errno cause) {
  tell(error_about(cause, source_path_));
}

}  // namespace internal

namespace {

// "a/b" for "a/b//"; the root stays.
std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  return path;
}

}  // namespace

Result<TreeCopyReport> copy_tree(const PathArgument& source, const PathArgument& target,
                                 const CopyOptions& options, const TreeCopyEvents& events) {
  return internal::TreeCopier(without_last_slashes(source.text()),
                              without_last_slashes(target.text()), options, events)
      .run();
}

}  // namespace quire
