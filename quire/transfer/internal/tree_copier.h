// SPDX-License-Identifier: Apache-2.0
//
// TreeCopier: walks a directory and makes each entry again in another one, depth first.
//
//   level n   source directory, open | target directory, open | length of both paths
//
// Invariants:    names are looked up in open directories, never by path: a directory that is moved
//                under way changes nothing. A directory's times are set when all below is done.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "quire/sys/directory.h"
#include "quire/transfer/copy.h"
#include "quire/transfer/internal/file_copier.h"

namespace quire::internal {

class TreeCopier {
 public:
  TreeCopier(std::string source_path, std::string target_path, const CopyOptions& options,
             const TreeCopyEvents& events)
      : source_path_(std::move(source_path)),
        target_path_(std::move(target_path)),
        options_(options),
        events_(events),
        copier_(options) {}

  // Errors: what keeps it from starting, and kCancelled.
  [[nodiscard]] Result<TreeCopyReport> run();

 private:
  struct Level {
    sys::DirectoryReader source;
    sys::Descriptor target;
    std::size_t source_length;  // Of source_path_ up to and including this directory.
    std::size_t target_length;
  };

  Result<void> start();
  [[nodiscard]] Result<sys::Descriptor> open_target(const sys::FileStatus& source) const;
  Result<void> check_not_inside(const sys::Descriptor& target, const sys::FileStatus& source) const;
  void step();
  void enter(const std::string& name);
  void leave();
  void take_entry(const sys::DirectoryEntry& entry);
  void take_file(const std::string& name);
  void take_link(const std::string& name);
  // True when the file was there already and has got a further name.
  [[nodiscard]] bool take_known_file(const sys::FileStatus& status, const std::string& name);
  void remember(const sys::FileStatus& status);
  // Under a temporary name, then renamed over what may be there.
  [[nodiscard]] Result<void> put_in_place(
      const CopyPlace& place, const std::function<sys::Outcome<void>(const char*)>& make);
  void tell(const CopiedEntry& entry);
  void tell(const Error& error);
  void tell(sys::Errno cause);
  [[nodiscard]] sys::Outcome<sys::Descriptor> make_directory(const std::string& name) const;
  [[nodiscard]] CopyPlace place(const std::string& name) const {
    return {.directory = levels_.back().target, .name = name, .path = target_path_};
  }

  std::string source_path_;
  std::string target_path_;
  const CopyOptions& options_;
  const TreeCopyEvents& events_;
  FileCopier copier_;
  TreeCopyReport report_;

  std::vector<Level> levels_;
  std::uint64_t root_device_ = 0;
  std::size_t target_root_length_ = 0;
  // Files with several names that were copied: where to, from the target's root on.
  std::unordered_map<sys::FileId, std::string, sys::FileIdHash> linked_;
};

}  // namespace quire::internal
