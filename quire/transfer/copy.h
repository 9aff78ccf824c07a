// SPDX-License-Identifier: Apache-2.0
//
// copy: files and trees, whole or not at all.
//
//   target directory:  .TARGET.quire-XXXXXXXX  <-- bytes, mode, times, owner, attributes
//                              |  sync (as Durability asks), verify (if asked)
//                              +-- rename --> TARGET        the old file until here, then the new
//
// Whoever opens TARGET sees the old file or the new one, never a part. On any error, or when asked
// to stop, the temporary file is removed and TARGET is as it was; where the file system has
// nameless files (O_TMPFILE) a new target never has a temporary name at all, so that even a process
// that is killed leaves nothing.
//
// What is kept: bytes, holes, permission bits, access and modification time; for root, owner and
// group; extended attributes where the target's file system takes them. What could not be kept is
// in `remarks`, not an error. Symbolic links inside a tree stay links; hard links within one tree
// are made again (up to kCopyLinkedFilesMax of them). Sockets, pipes and devices are passed by with
// an error each.
//
// Refused before anything is written: source and target being one file; a directory onto a file or
// the other way round; a tree into itself; a target file system without room for the source's
// blocks.
//
// Verification reads both files back and compares their XXH3 checksums before the copy gets its
// name: the target's pages are written and evicted first, so what is compared is what the disk
// gives. Pages that did not leave are told in a remark.
//
// Safety:        a source whose size or modification time changes under way is an error, kChanged:
//                the copy would be a mixture of two states.
// Thread-safety: any thread; two copies to one target: the later rename wins, whole.
// Blocks:        yes. Memory is bounded: transfer's buffers, one path, one directory per level, the
//                identities of files with several names.
// Errors:        as transfer(); kChanged; kCorrupt when verification finds a difference; kWrongKind
//                for special files; EINVAL for a source that is the target; EEXIST, ENOSPC, ... as
//                the file system says.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "quire/base/durability.h"
#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/transfer/transfer.h"

namespace quire {

enum class Verification : std::uint8_t { kNone, kReadBack };
enum class ExistingTarget : std::uint8_t { kReplace, kRefuse };

struct CopyProgress {
  std::uint64_t done_bytes = 0;  // Over all files so far, holes included.
  std::uint64_t file_count = 0;  // Finished ones.
};

struct CopyOptions {
  TransferMethod method = TransferMethod::kAutomatic;
  // Before the rename, so that a name never stands for bytes that a power cut can take. kData: the
  // bytes; kAll: also times and mode, and the name in its directory; kStarted: write-back is under
  // way; nothing: as the kernel likes, which is what cp does.
  std::optional<Durability> durability = std::nullopt;
  Verification verification = Verification::kNone;
  ExistingTarget existing = ExistingTarget::kReplace;
  Holes holes = Holes::kKeep;
  // A copy is no reason to keep a long source in memory: what was not there before is given back.
  SourceCache source_cache = SourceCache::kDropBehind;
  std::function<void(const CopyProgress&)> on_progress = {};
  std::stop_token stop = {};
  int stop_fd = -1;              // Readable: stop; -1: none.
  bool one_file_system = false;  // Trees: do not enter directories of another file system.
};

enum class CopiedKind : std::uint8_t { kFile, kDirectory, kSymlink, kHardLink };
// "file", "directory", "symlink", "hard_link": stable, for JSON.
[[nodiscard]] const char* name_of(CopiedKind kind) noexcept;

// One thing that was copied.
struct CopiedEntry {
  std::string source = {};
  std::string target = {};
  CopiedKind kind = CopiedKind::kFile;
  TransferReport transfer = {};                      // Of a file; empty for the others.
  std::optional<std::uint64_t> xxh3 = std::nullopt;  // With verification: of both.
  std::vector<std::string> remarks = {};             // What could not be kept, and why.
};

// `source` is a regular file, or a link to one; a file without a size (/proc) is fine.
// `target` is the name of the copy, never a directory to put it in; where it is a link, what the
// link points at is replaced.
[[nodiscard]] Result<CopiedEntry> copy_file(const PathArgument& source, const PathArgument& target,
                                            const CopyOptions& options = {});

struct TreeCopyReport {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t hard_links = 0;
  std::uint64_t failures = 0;  // Entries told to on_error.
  std::uint64_t bytes = 0;
  std::uint64_t hole_bytes = 0;
  std::uint64_t system_calls = 0;  // Of the transfers.
  std::optional<std::uint64_t> bytes_copied_by_cpu = 0;
};

// Who listens to the copy of a tree. Both may be empty.
struct TreeCopyEvents {
  std::function<void(const CopiedEntry&)> on_entry = {};
  // The copy goes on with the next entry.
  std::function<void(const Error&)> on_error = {};
};

// Beyond this many, further links to a file become files of their own; about 100 MiB by then.
inline constexpr std::size_t kCopyLinkedFilesMax = std::size_t{1} << 20;
// Deeper directories are an error each: every level holds two descriptors.
inline constexpr std::size_t kCopyDepthMax = 256;

// Copies the directory `source` so that `target` is its copy. An existing directory `target` is
// merged into: files of the same name are replaced, others stay.
// Errors: what keeps it from starting, and kCancelled; all else goes to on_error.
[[nodiscard]] Result<TreeCopyReport> copy_tree(const PathArgument& source,
                                               const PathArgument& target,
                                               const CopyOptions& options = {},
                                               const TreeCopyEvents& events = {});

}  // namespace quire
