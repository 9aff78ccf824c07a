// SPDX-License-Identifier: Apache-2.0
//
// FileSetState: what a FileSet holds, and FileSetLoader, which fills it.
//
//   entries   one small record per path, in order: where the bytes are, how many, how they came
//   there remarks   what there is to say about the few entries that are not as usual; ordered by
//   index paths     every path, one after the other without separators; entry i ends at
//   path_end_bytes arena     the bytes of the files that were read
//
// An Error is built when somebody asks for it, so that a hundred thousand missing files cost a
// remark each and not an allocation or two.
//
// Invariants:    entries, and remarks, are ordered; an entry that kFailed has a remark with the
//                cause.
// Thread-safety: the loader is one thread's; afterwards the state only changes in release().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quire/map/file_set.h"
#include "quire/map/internal/byte_arena.h"
#include "quire/map/internal/path_opener.h"
#include "quire/sys/descriptor.h"

namespace quire::internal {

// How an entry came to its bytes.
enum class Held : std::uint8_t {
  kRead,
  kReadNotMapped,  // Larger than the threshold, but mmap refused it.
  kReadMapLimit,   // Larger than the threshold, but mappings_max files are mapped already.
  kMapped,
  kFailed,
};

// Which step of opening an entry failed.
enum class LoadStep : std::uint8_t { kOpen, kStatus, kRead };

// Why an entry has no bytes: the kernel's errno, or a reason of our own.
struct LoadProblem {
  LoadProblem(LoadStep at, sys::Errno cause) noexcept : step(at), error(cause.value) {}
  LoadProblem(LoadStep at, Errc cause) noexcept : step(at), code(cause) {}

  LoadStep step;
  sys::FileKind kind = sys::FileKind::kOther;  // For kWrongKind.
  int error = 0;                               // 0: `code` is the cause.
  Errc code = Errc::kFailed;
};

struct FileSetState {
  struct Entry {
    const std::byte* first = nullptr;
    std::uint64_t size_bytes = 0;
    std::uint64_t path_end_bytes = 0;
    Held held = Held::kFailed;
    bool has_remark = false;
  };
  static_assert(sizeof(Entry) <= 32, "an entry must stay small beside a file of 1 KiB");

  struct Remark {
    std::uint64_t index = 0;
    std::uint64_t stated_bytes = 0;           // What the file claimed before it was read.
    int map_error = 0;                        // For kReadNotMapped.
    std::optional<LoadProblem> problem = {};  // For kFailed.
  };

  explicit FileSetState(const FileSetOptions& chosen) noexcept
      : options(chosen), arena(chosen.alignment_bytes) {}
  ~FileSetState() { static_cast<void>(release()); }
  FileSetState(const FileSetState&) = delete;
  FileSetState& operator=(const FileSetState&) = delete;

  [[nodiscard]] std::string_view path(std::size_t index) const noexcept;
  // REQUIRES: the entry has a remark.
  [[nodiscard]] const Remark& remark(std::size_t index) const noexcept;
  // REQUIRES: the entry is kFailed.
  [[nodiscard]] Error error(std::size_t index) const;
  [[nodiscard]] std::string explain(std::size_t index) const;
  // Unmaps everything. The first error; all are tried.
  Result<void> release();

  FileSetOptions options;
  std::vector<Entry> entries;
  std::vector<Remark> remarks;
  std::string paths;
  ByteArena arena;
  FileSetStats stats;
};

class FileSetLoader {
 public:
  explicit FileSetLoader(FileSetState& state) noexcept : state_(state) {}

  // One entry per path. Stops at the first failure when the options ask for it; the last entry is
  // then the one that failed.
  void load(std::span<const std::string> paths);

 private:
  using Remark = FileSetState::Remark;
  using Entry = FileSetState::Entry;
  template <typename T>
  using Loaded = tl::expected<T, LoadProblem>;

  void load_one(const std::string& path, const std::string* next_path);
  Loaded<void> fill(const std::string& path, const std::string* next_path, Entry& entry,
                    Remark& remark);
  Loaded<sys::Descriptor> open(const std::string& path, const std::string* next_path);
  // The size of a file that has no plain one, by fstat, or why it has no bytes at all.
  Loaded<std::uint64_t> look(const sys::Descriptor& file, std::uint64_t end_bytes);
  // False when the file must be read instead; `entry.held` says why.
  bool map(const sys::Descriptor& file, Entry& entry, Remark& remark);
  Loaded<void> read(const sys::Descriptor& file, Entry& entry, const Remark& remark);
  Loaded<std::uint64_t> read_to_end(const sys::Descriptor& file, std::uint64_t stated_bytes);
  Loaded<std::span<std::byte>> room(std::uint64_t used_bytes, std::uint64_t bytes);
  void count(const Entry& entry, const Remark& remark);
  void finish();

  FileSetState& state_;
  PathOpener opener_;
};

}  // namespace quire::internal
