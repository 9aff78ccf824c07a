// SPDX-License-Identifier: Apache-2.0
//
// FileSet: thousands of small files as memory, without a page, a mapping and a descriptor for each.
//
//   FileSet set = FileSet::open(paths).value();
//   for (std::size_t i = 0; i < set.size(); ++i) {
//     Result<std::span<const std::byte>> bytes = set.file(i).bytes();      // or why not
//   }
//
//   a file <= threshold                         a file > threshold
//   open, lseek, pread, close                   open, lseek, fstat, mmap, close
//        |                                           |
//   arena: |file 0|file 1|f2|file 3 |...        its own pages, shared with the page cache
//          ^ aligned, one after the other
//
// A mapping of 10 bytes costs a page of address space, a page-table entry, a fault and two calls
// that take the lock of the address space; a read costs a copy. Files up to a threshold are
// therefore read into one arena, larger ones are mapped read-only; explain() says which and why.
// Either way the bytes are a span, valid until the set is closed or destroyed (moving the set keeps
// them).
//
// One entry per path, in the order given. An entry that could not be opened holds its error and
// does not disturb the others, unless OnFileError::kFail asks for it. What each path may lead to:
//   regular file              read or mapped
//   file that claims size 0, or another size than its content has (/proc, /sys), or changes
//   meanwhile                 read to its end: the entry is what was read, and explain() says so
//   block device              like a file of the device's size
//   directory, FIFO, socket, character device
//                             Errc::kWrongKind
//
// The size is asked for with lseek(SEEK_END), which is cheaper than fstat; fstat follows where that
// gives no plain answer: nothing, zero, or more than the threshold.
//
// Paths of one directory that follow each other are opened relative to it, with one walk of the
// path for all: if that directory is renamed or replaced meanwhile, the run still sees the old one.
//
// Invariants:    at most two descriptors at any moment while opening, none afterwards;
//                at most mappings_max mappings beside the arena's few.
// Thread-safety: const members from any number of threads; the others need the set for themselves.
// Safety:        bytes that were read cannot change any more. Mapped ones are the file's: whoever
//                truncates it turns a load into SIGBUS; guarded(bytes, ...) makes an Error of that.
// Errors:        Result; per entry the operation, the path, the cause, a remedy.
// Cost:          bench/small_files_bench; for memory see stats().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/map/typed_view.h"

namespace quire {

namespace internal {
struct FileSetState;
}  // namespace internal

// Where mapping becomes the cheaper way: `small_files_bench --crossover` gives the processor time
// of opening, summing and closing a file that is read, divided by that of one that is mapped. On
// two processors of a virtual machine: 0.31 at 1 KiB, 0.37 at 4 KiB, 0.61 at 16 KiB, 0.81 at 32
// KiB, 1.01 at 64 KiB, 1.09 at 128 KiB, 1.56 at 1 MiB. Copies are also memory on top of the page
// cache.
inline constexpr std::uint64_t kReadBytesMaxDefault = 64_KiB;

// A quarter of the usual vm.max_map_count (65530): the rest is the program's.
inline constexpr std::uint64_t kFileMappingsMaxDefault = 16'384;

// For an alignment of entries: the OS page is the largest that an arena keeps.
inline constexpr std::size_t kEntryAlignmentMax = 4096;

enum class OnFileError : std::uint8_t {
  kKeep,  // The entry holds the error.
  kFail,  // The first error is the result of open(), and there is no set.
};

struct FileSetOptions {
  // The threshold. 0 maps every file that is not empty; kToEnd reads every file.
  std::uint64_t read_bytes_max = kReadBytesMaxDefault;
  // Of the first byte of every entry that is read: a power of two up to kEntryAlignmentMax. 16 fits
  // every fundamental type; the rest of each last step is lost.
  std::size_t alignment_bytes = 16;
  // The most that is read, all entries together. What does not fit is an error of its entry
  // (kLimit).
  std::uint64_t arena_bytes_max = kToEnd;
  // When so many files are mapped, further ones are read whatever their size.
  std::uint64_t mappings_max = kFileMappingsMaxDefault;
  OnFileError on_error = OnFileError::kKeep;
};

struct FileSetStats {
  std::uint64_t files_read = 0;
  std::uint64_t files_mapped = 0;
  std::uint64_t files_failed = 0;
  std::uint64_t files_of_other_size = 0;  // Among those read: they had claimed another size.

  std::uint64_t read_bytes = 0;      // Content in the arena.
  std::uint64_t mapped_bytes = 0;    // Content that is mapped: the page cache's memory, not ours.
  std::uint64_t arena_bytes = 0;     // Memory behind the arena: content, alignment, last pages.
  std::uint64_t metadata_bytes = 0;  // Entries, paths and the set itself.

  // System calls made by open().
  std::uint64_t open_calls = 0;
  std::uint64_t seek_calls = 0;
  std::uint64_t status_calls = 0;
  std::uint64_t read_calls = 0;
  std::uint64_t map_calls = 0;     // Of files.
  std::uint64_t memory_calls = 0;  // For the arena: mmap, madvise, munmap.
  std::uint64_t close_calls = 0;

  // Everything the set holds in memory of its own.
  [[nodiscard]] std::uint64_t held_bytes() const noexcept { return arena_bytes + metadata_bytes; }
};

class FileSet {
 public:
  // One entry, as a view. Valid as long as the set.
  class File {
   public:
    [[nodiscard]] std::string_view path() const noexcept;
    [[nodiscard]] bool is_open() const noexcept;
    // Errors: why this file could not be opened.
    [[nodiscard]] Result<std::span<const std::byte>> bytes() const;
    [[nodiscard]] Result<std::string_view> text() const;
    // Errors: also kMisaligned, as for Mapping::as().
    template <typename T>
    [[nodiscard]] Result<std::span<const T>> as() const {
      return typed_view<const T>(QUIRE_TRY(bytes()), std::string(path()));
    }
    // "read: 1024 bytes <= threshold 64.0 KiB", "mapped: ...", or the error.
    [[nodiscard]] std::string explain() const;

   private:
    friend class FileSet;
    File(const internal::FileSetState* state, std::size_t index) noexcept
        : state_(state), index_(index) {}

    const internal::FileSetState* state_;
    std::size_t index_;
  };

  FileSet() noexcept;
  FileSet(FileSet&& other) noexcept;
  FileSet& operator=(FileSet&& other) noexcept;
  ~FileSet();

  // Opens every path, in order.
  // Errors: kOutOfRange for an option; with OnFileError::kFail the first error of an entry.
  // Blocks: while files are read.
  [[nodiscard]] static Result<FileSet> open(std::span<const std::string> paths,
                                            const FileSetOptions& options = {});
  // Opens the regular files of a directory, and the links that lead to one, ordered by name.
  // Anything else in it is left out; subdirectories are not entered.
  // Errors: also those of opening and reading the directory.
  [[nodiscard]] static Result<FileSet> open_directory(const std::string& path,
                                                      const FileSetOptions& options = {});

  [[nodiscard]] std::size_t size() const noexcept;
  // REQUIRES: index < size().
  [[nodiscard]] File file(std::size_t index) const noexcept;
  [[nodiscard]] const FileSetStats& stats() const noexcept;

  // Gives everything back; the set is empty afterwards, whatever is returned.
  // Errors: munmap.
  Result<void> close();

 private:
  explicit FileSet(std::unique_ptr<internal::FileSetState> state) noexcept;

  std::unique_ptr<internal::FileSetState> state_;
};

}  // namespace quire
