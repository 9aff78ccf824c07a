// SPDX-License-Identifier: Apache-2.0
//
// tree_walk: from the paths on the command line to every file they mean, each once.
//
//   named on the command line   a link is followed; what is no file or directory is an error
//   found inside a directory    links are never followed; sockets, pipes and devices are passed by
//   /proc, /sys and the like    their files are made up when read and have no pages: an error where
//                               named, passed by where found
//
// A file is one inode: hard links, and paths named twice, are visited once. A name that vanishes
// between reading the directory and opening it is no error: that is what trees of live systems do.
// What cannot be opened is reported, and the walk goes on.
//
// Invariants:    memory does not grow with the number of files: one buffer per directory level, one
//                path, and the identity of files with more than one link, up to kLinkedFilesMax.
// Thread-safety: one thread.
// Errors:        reported to the Session; the walk ends early only when a stop is requested.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "quire/cli/session.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/directory.h"

namespace quire::cli {

// One file, open for reading while it is visited. A visitor may move `file` away to keep it open.
struct WalkedFile {
  const std::string& path;  // As reached from what was named.
  sys::Descriptor& file;
  const sys::FileStatus& status;
};

struct WalkOptions {
  bool one_file_system = false;  // Do not enter directories of another file system.
};

// Tells files of /proc, /sys and the like, which are made up when they are read, from those that
// have pages. Each file system is asked once: a walk meets few of them.
class MadeUpFiles {
 public:
  // REQUIRES: `fd` is open on a file or directory of `device`.
  [[nodiscard]] bool contains(int fd, std::uint64_t device);
  [[nodiscard]] static Error error(const std::string& operation, const std::string& path);

 private:
  std::unordered_map<std::uint64_t, bool> devices_;
};

class TreeWalk {
 public:
  // Deeper directories are reported and not entered: each level holds a descriptor, of which a
  // process has 1024 by default.
  static constexpr std::size_t kDepthMax = 256;
  // 32 MiB or so. Beyond, further links to files already seen count again, and a note says so.
  static constexpr std::size_t kLinkedFilesMax = std::size_t{1} << 20;

  using Visit = std::function<void(const WalkedFile&)>;

  // `operation` is what errors are about: "map", "warm".
  TreeWalk(Session& session, std::string operation, WalkOptions options)
      : session_(session), operation_(std::move(operation)), options_(options) {}

  // Visits every file behind `paths`. Returns false when it was stopped before the end.
  bool walk(const std::vector<std::string>& paths, const Visit& visit);

  // Called by a visitor that has had enough: no further file is visited.
  void stop() noexcept { is_stopped_ = true; }

  // Files visited so far.
  [[nodiscard]] std::uint64_t file_count() const noexcept { return file_count_; }

 private:
  struct Level {
    sys::DirectoryReader reader;
    std::size_t path_length;  // Of path_ up to and including this directory.
  };

  [[nodiscard]] bool is_over() const { return is_stopped_ || session_.stop_requested(); }
  void note_named(const std::vector<std::string>& paths);
  void walk_named(const std::string& path, const Visit& visit);
  void walk_directory(sys::Descriptor directory, const sys::FileStatus& status, const Visit& visit);
  void step(const Visit& visit);
  void enter(sys::Descriptor directory);
  void take_entry(const sys::DirectoryEntry& entry, const Visit& visit);
  void take_file(sys::Descriptor& file, const sys::FileStatus& status, const Visit& visit);
  [[nodiscard]] bool is_first_visit(const sys::FileStatus& status);
  void report(sys::Errno cause);
  void report_kind(sys::FileKind kind);

  Session& session_;
  std::string operation_;
  WalkOptions options_;

  std::string path_;
  std::vector<Level> levels_;
  std::uint64_t root_device_ = 0;
  // On the command line; true: visited.
  std::unordered_map<sys::FileId, bool, sys::FileIdHash> named_;
  // Visited, with further links.
  std::unordered_set<sys::FileId, sys::FileIdHash> linked_;
  MadeUpFiles made_up_files_;
  bool is_link_limit_noted_ = false;
  bool is_stopped_ = false;
  std::uint64_t file_count_ = 0;
};

// The options and positional that all verbs over trees share.
struct TreeArguments {
  std::vector<std::string> paths;
  bool one_file_system = false;
};
void add_tree_arguments(CLI::App& verb, TreeArguments& arguments, const char* what);

}  // namespace quire::cli
