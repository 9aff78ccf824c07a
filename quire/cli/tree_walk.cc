// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/tree_walk.h"

#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "quire/sys/file_system.h"

namespace quire::cli {
namespace {

// Names that were there a moment ago, or are a link now: what a live tree does while we walk it.
bool is_gone(sys::Errno cause) noexcept {
  return cause.value == ENOENT || cause.value == ELOOP || cause.value == ENOTDIR;
}

bool holds_pages(sys::FileKind kind) noexcept {
  return kind == sys::FileKind::kRegular || kind == sys::FileKind::kBlockDevice;
}

// What an entry of a directory is, by a look that has no side effects on devices and pipes.
sys::Outcome<sys::FileKind> kind_of(const sys::Descriptor& directory,
                                    const sys::DirectoryEntry& entry) {
  if (entry.is_kind_known) {
    return entry.kind;
  }
  const auto looked =
      sys::open_file_at(directory, entry.name, {.no_follow = true, .path_only = true});
  if (!looked) {
    return tl::unexpected<sys::Errno>(looked.error());
  }
  return sys::file_status(looked->get()).map([](const sys::FileStatus& status) {
    return status.kind;
  });
}

}  // namespace

bool MadeUpFiles::contains(int fd, std::uint64_t device) {
  if (const auto known = devices_.find(device); known != devices_.end()) {
    return known->second;
  }
  const auto found = sys::file_system_of(fd);
  const bool is_pseudo = found && found->type.kind == sys::StorageKind::kPseudo;
  devices_.emplace(device, is_pseudo);
  return is_pseudo;
}

Error MadeUpFiles::error(const std::string& operation, const std::string& path) {
  return make_error(Errc::kUnsupported, operation, path,
                    "its file system makes files up when they are read; they have no pages",
                    "name files on a disk, or in a tmpfs");
}

bool TreeWalk::walk(const std::vector<std::string>& paths, const Visit& visit) {
  note_named(paths);
  for (const std::string& path : paths) {
    if (is_over()) {
      break;
    }
    walk_named(path, visit);
  }
  return !is_over();
}

// A file may be named and also lie in a directory that is named: it is known beforehand which
// identities to watch for.
void TreeWalk::note_named(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (const auto status = sys::path_status(path.c_str(), false); status) {
      named_.emplace(status->id(), false);
    }
  }
}

void TreeWalk::walk_named(const std::string& path, const Visit& visit) {
  path_ = path;
  const auto looked = sys::path_status(path.c_str(), false);
  if (!looked) {
    report(looked.error());
    return;
  }
  const bool is_directory = looked->kind == sys::FileKind::kDirectory;
  if (!is_directory && !holds_pages(looked->kind)) {
    report_kind(looked->kind);
    return;
  }
  auto opened = sys::open_file(path.c_str(), {.directory = is_directory});
  const auto status =
      opened ? sys::file_status(opened->get()) : tl::unexpected<sys::Errno>(opened.error());
  if (!status) {
    report(status.error());
  } else if (!is_directory && !holds_pages(status->kind)) {
    report_kind(status->kind);
  } else if (made_up_files_.contains(opened->get(), status->device)) {
    session_.report(MadeUpFiles::error(operation_, path_));
  } else if (is_directory) {
    walk_directory(std::move(*opened), *status, visit);
  } else {
    take_file(*opened, *status, visit);
  }
}

void TreeWalk::walk_directory(sys::Descriptor directory, const sys::FileStatus& status,
                              const Visit& visit) {
  if (!is_first_visit(status)) {
    return;
  }
  root_device_ = status.device;
  if (path_.ends_with('/')) {
    path_.erase(path_.find_last_not_of('/') + 1);  // "/" becomes "", and "/" + name is right.
  }
  enter(std::move(directory));
  while (!levels_.empty() && !is_over()) {
    step(visit);
  }
  levels_.clear();
}

void TreeWalk::enter(sys::Descriptor directory) {
  if (levels_.size() == kDepthMax) {
    session_.report(make_error(Errc::kLimit, operation_, path_,
                               fmt::format("more than {} directories deep", kDepthMax),
                               "name this directory on the command line"));
    return;
  }
  levels_.push_back(
      {.reader = sys::DirectoryReader(std::move(directory)), .path_length = path_.size()});
}

// One entry of the innermost directory, or the way back out of it.
void TreeWalk::step(const Visit& visit) {
  Level& level = levels_.back();
  path_.resize(level.path_length);
  const auto entry = level.reader.next();
  if (!entry && !is_gone(entry.error())) {
    report(entry.error());
  }
  if (!entry || !*entry) {
    levels_.pop_back();
    return;
  }
  path_ += '/';
  path_ += (*entry)->name;
  take_entry(**entry, visit);
}

void TreeWalk::take_entry(const sys::DirectoryEntry& entry, const Visit& visit) {
  const sys::Descriptor& parent = levels_.back().reader.descriptor();
  const auto kind = kind_of(parent, entry);
  const bool is_directory = kind && *kind == sys::FileKind::kDirectory;
  if (!kind || (!is_directory && *kind != sys::FileKind::kRegular)) {
    if (!kind && !is_gone(kind.error())) {
      report(kind.error());
    }
    return;
  }
  auto opened =
      sys::open_file_at(parent, entry.name, {.directory = is_directory, .no_follow = true});
  const auto status =
      opened ? sys::file_status(opened->get()) : tl::unexpected<sys::Errno>(opened.error());
  if (!status) {
    if (!is_gone(status.error())) {
      report(status.error());
    }
  } else if (status->kind == sys::FileKind::kRegular) {
    take_file(*opened, *status, visit);
  } else if (is_directory) {
    const bool is_elsewhere = options_.one_file_system && status->device != root_device_;
    if (!is_elsewhere && !made_up_files_.contains(opened->get(), status->device) &&
        is_first_visit(*status)) {
      enter(std::move(*opened));
    }
  }
}

void TreeWalk::take_file(sys::Descriptor& file, const sys::FileStatus& status, const Visit& visit) {
  if (is_first_visit(status)) {
    ++file_count_;
    visit({.path = path_, .file = file, .status = status});
  }
}

bool TreeWalk::is_first_visit(const sys::FileStatus& status) {
  const sys::FileId id = status.id();
  if (const auto named = named_.find(id); named != named_.end()) {
    return !std::exchange(named->second, true);
  }
  // A directory has one name, whatever its link count says.
  if (status.link_count < 2 || status.kind == sys::FileKind::kDirectory) {
    return true;
  }
  if (linked_.size() < kLinkedFilesMax) {
    return linked_.insert(id).second;
  }
  if (!std::exchange(is_link_limit_noted_, true)) {
    session_.note(
        fmt::format("more than {} files with several links; further links to one file "
                    "may count more than once",
                    kLinkedFilesMax));
  }
  return !linked_.contains(id);
}

void TreeWalk::report(sys::Errno cause) {
  session_.report(sys::to_error(cause, operation_, path_.empty() ? "/" : path_));
}

void TreeWalk::report_kind(sys::FileKind kind) {
  session_.report(make_error(Errc::kWrongKind, operation_, path_,
                             fmt::format("it is {}, which has no pages of its own", describe(kind)),
                             "name files, directories or block devices"));
}

void add_tree_arguments(CLI::App& verb, TreeArguments& arguments, const char* what) {
  verb.add_option("PATH", arguments.paths, what)->option_text("PATH...");
  verb.add_flag("-x,--one-file-system", arguments.one_file_system,
                "Do not enter directories of other file systems");
}

}  // namespace quire::cli
