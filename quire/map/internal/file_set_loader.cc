// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/map/internal/file_set_state.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// The first read of a file that claims size 0: an OS page, which is what /proc and /sys fill at
// once.
constexpr std::uint64_t kUnsizedFirstBytes = 4_KiB;
// How much more than the stated size is read: enough for every /proc file that one would want, and
// an end for those that have none.
constexpr std::uint64_t kUnstatedBytesMax = 64_MiB;

// Sizes above this are confirmed by fstat, which costs nothing beside reading so much: seeking to
// the end of a directory can give anything up to 2^63 - 1.
constexpr std::uint64_t kUnseenBytesMax = 1_MiB;

// Long lists of paths are cold in the processor's caches, and waiting for a path costs a twentieth
// of opening its file: it is asked for while the files before it are opened.
constexpr std::size_t kPathsAhead = 3;

LoadProblem wrong_kind(sys::FileKind kind) noexcept {
  LoadProblem problem(LoadStep::kOpen, Errc::kWrongKind);
  problem.kind = kind;
  return problem;
}

}  // namespace

void FileSetLoader::load(std::span<const std::string> paths) {
  std::size_t paths_bytes = 0;
  for (const std::string& path : paths) {
    paths_bytes += path.size();
  }
  state_.paths.reserve(paths_bytes);
  state_.entries.reserve(paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (i + kPathsAhead < paths.size()) {
      __builtin_prefetch(paths[i + kPathsAhead].data());
    }
    state_.arena.expect(i, paths.size() - i);
    load_one(paths[i], i + 1 < paths.size() ? &paths[i + 1] : nullptr);
    if (state_.stats.files_failed > 0 && state_.options.on_error == OnFileError::kFail) {
      break;
    }
  }
  finish();
}

void FileSetLoader::load_one(const std::string& path, const std::string* next_path) {
  state_.paths += path;
  Entry entry{.path_end_bytes = state_.paths.size()};
  Remark remark{.index = state_.entries.size()};
  if (Loaded<void> filled = fill(path, next_path, entry, remark); !filled) {
    entry.held = Held::kFailed;
    remark.problem = filled.error();
  }
  count(entry, remark);
  entry.has_remark = remark.problem || remark.map_error != 0 ||
                     (entry.held != Held::kFailed && remark.stated_bytes != entry.size_bytes);
  if (entry.has_remark) {
    state_.remarks.push_back(remark);
  }
  state_.entries.push_back(entry);
}

auto FileSetLoader::fill(const std::string& path, const std::string* next_path, Entry& entry,
                         Remark& remark) -> Loaded<void> {
  const sys::Descriptor file = QUIRE_TRY(open(path, next_path));
  // Closing what was only read can fail but not lose anything: the bytes are here.
  ++state_.stats.close_calls;
  ++state_.stats.seek_calls;
  const sys::Outcome<std::uint64_t> end = sys::seek_end(file.get());
  entry.held = Held::kRead;
  if (end && *end > 0 && *end <= std::min(state_.options.read_bytes_max, kUnseenBytesMax)) {
    remark.stated_bytes = *end;
    return read(file, entry, remark);
  }
  remark.stated_bytes = QUIRE_TRY(look(file, end.value_or(0)));
  const bool is_large = remark.stated_bytes > state_.options.read_bytes_max;
  if (is_large && map(file, entry, remark)) {
    return {};
  }
  return read(file, entry, remark);
}

auto FileSetLoader::look(const sys::Descriptor& file, std::uint64_t end_bytes)
    -> Loaded<std::uint64_t> {
  ++state_.stats.status_calls;
  const sys::Outcome<sys::FileStatus> status = sys::file_status(file.get());
  if (!status) {
    return tl::unexpected(LoadProblem(LoadStep::kStatus, status.error()));
  }
  if (status->kind == sys::FileKind::kBlockDevice && end_bytes > 0) {
    return end_bytes;
  }
  if (status->kind != sys::FileKind::kRegular) {
    return tl::unexpected(wrong_kind(status->kind));
  }
  return status->size_bytes;
}

auto FileSetLoader::open(const std::string& path, const std::string* next_path)
    -> Loaded<sys::Descriptor> {
  if (sys::path_has_nul(path)) {
    return tl::unexpected(LoadProblem(LoadStep::kOpen, sys::Errno{EINVAL}));
  }
  const bool next_is_usable = next_path != nullptr && !sys::path_has_nul(*next_path);
  auto file = opener_.open(path, next_is_usable ? next_path : nullptr);
  if (file) {
    return *std::move(file);
  }
  LoadProblem problem(LoadStep::kOpen, file.error());
  if (problem.error == ENXIO) {  // What open(2) says to a socket, and to a device without a driver.
    const sys::Outcome<sys::FileStatus> status = sys::path_status(path.c_str(), false);
    ++state_.stats.status_calls;
    if (status && status->kind != sys::FileKind::kRegular) {
      problem = wrong_kind(status->kind);
    }
  }
  return tl::unexpected(problem);
}

bool FileSetLoader::map(const sys::Descriptor& file, Entry& entry, Remark& remark) {
  if (state_.stats.files_mapped >= state_.options.mappings_max) {
    entry.held = Held::kReadMapLimit;
    return false;
  }
  ++state_.stats.map_calls;
  const sys::Outcome<sys::Address> address = sys::map_pages(
      {.length_bytes = round_up(remark.stated_bytes, sys::os_page_size()), .fd = file.get()});
  if (!address) {
    entry.held = Held::kReadNotMapped;
    remark.map_error = address.error().value;
    return false;
  }
  entry.held = Held::kMapped;
  entry.first = *address;
  entry.size_bytes = remark.stated_bytes;
  return true;
}

auto FileSetLoader::read(const sys::Descriptor& file, Entry& entry, const Remark& remark)
    -> Loaded<void> {
  const std::uint64_t size_bytes = QUIRE_TRY(read_to_end(file, remark.stated_bytes));
  if (size_bytes > 0) {
    entry.first = state_.arena.commit(size_bytes).data();
    entry.size_bytes = size_bytes;
  }
  return {};
}

// Asks for one byte more than was promised: a file that gives just what was promised has then
// also shown its end, in one call. One that gives less is asked again until it says 0; one that
// gives more, for more.
auto FileSetLoader::read_to_end(const sys::Descriptor& file, std::uint64_t stated_bytes)
    -> Loaded<std::uint64_t> {
  const std::uint64_t bytes_left = state_.options.arena_bytes_max - state_.stats.read_bytes;
  if (stated_bytes > bytes_left) {
    return tl::unexpected(LoadProblem(LoadStep::kRead, Errc::kLimit));
  }
  std::uint64_t wanted_bytes = stated_bytes == 0 ? kUnsizedFirstBytes : stated_bytes + 1;
  std::span<std::byte> into = QUIRE_TRY(room(0, wanted_bytes));
  std::uint64_t done_bytes = 0;
  for (;;) {
    ++state_.stats.read_calls;
    const sys::Outcome<std::size_t> got =
        sys::read_some_at(file.get(), into.subspan(done_bytes), done_bytes);
    if (!got) {
      return tl::unexpected(got.error().value == EISDIR
                                ? wrong_kind(sys::FileKind::kDirectory)
                                : LoadProblem(LoadStep::kRead, got.error()));
    }
    const bool was_short = *got < wanted_bytes - done_bytes;
    done_bytes += *got;
    if (done_bytes > std::min(bytes_left, stated_bytes + kUnstatedBytesMax)) {
      return tl::unexpected(LoadProblem(LoadStep::kRead, Errc::kLimit));
    }
    if (*got == 0 || (done_bytes == stated_bytes && was_short)) {
      return done_bytes;
    }
    if (done_bytes == wanted_bytes) {
      wanted_bytes += std::max(wanted_bytes, kUnsizedFirstBytes);
      into = QUIRE_TRY(room(done_bytes, wanted_bytes));
    }
  }
}

auto FileSetLoader::room(std::uint64_t used_bytes, std::uint64_t bytes)
    -> Loaded<std::span<std::byte>> {
  const auto into =
      used_bytes == 0 ? state_.arena.room(bytes) : state_.arena.enlarge(used_bytes, bytes);
  if (!into) {
    return tl::unexpected(LoadProblem(LoadStep::kRead, into.error()));
  }
  return *into;
}

void FileSetLoader::count(const Entry& entry, const Remark& remark) {
  FileSetStats& stats = state_.stats;
  if (entry.held == Held::kFailed) {
    ++stats.files_failed;
  } else if (entry.held == Held::kMapped) {
    ++stats.files_mapped;
    stats.mapped_bytes += entry.size_bytes;
  } else {
    ++stats.files_read;
    stats.read_bytes += entry.size_bytes;
    stats.files_of_other_size += remark.stated_bytes != entry.size_bytes ? 1 : 0;
  }
}

void FileSetLoader::finish() {
  state_.arena.trim();
  state_.remarks.shrink_to_fit();
  FileSetStats& stats = state_.stats;
  stats.open_calls = opener_.open_calls();
  stats.close_calls += opener_.directory_count();
  stats.memory_calls = state_.arena.call_count();
  stats.arena_bytes = state_.arena.held_bytes();
  stats.metadata_bytes = sizeof(FileSetState) + state_.paths.capacity() +
                         state_.entries.capacity() * sizeof(Entry) +
                         state_.remarks.capacity() * sizeof(Remark) + state_.arena.metadata_bytes();
}

}  // namespace quire::internal
