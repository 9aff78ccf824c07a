// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/inventory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "quire/ipc/internal/segment_open.h"
#include "quire/ipc/internal/segment_view.h"
#include "quire/ipc/segment.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/sys/names.h"
#include "quire/sys/outcome.h"

namespace quire::ipc {
namespace {

constexpr const char* kInspect = "inspect segment";
constexpr const char* kRemove = "remove segment";
// A directory with more names than this is no runtime directory; chosen arbitrarily.
constexpr std::size_t kNamesMax = 100'000;

using Clock = std::chrono::steady_clock;

// A segment's file, opened by name in its directory.
struct OpenFile {
  std::string path;
  sys::Descriptor directory;
  sys::Descriptor file;
  sys::FileStatus status;
};

Result<std::string> directory_or_default(const std::string& directory) {
  return directory.empty() ? runtime_directory() : Result<std::string>(directory);
}

Result<OpenFile> open_file(const std::string& name, const std::string& directory, bool write,
                           const char* operation) {
  const std::string where = QUIRE_TRY(directory_or_default(directory));
  OpenFile opened{.path = where + "/" + name, .directory = {}, .file = {}, .status = {}};
  if (!is_good_name(name, kSegmentNameBytesMax)) {
    return fail(make_error(Errc::kOutOfRange, operation, fmt::format("'{}'", name),
                           "this cannot be the name of a segment"));
  }
  auto folder = sys::open_file(where.c_str(), {.directory = true});
  if (!folder) {
    return fail(sys::to_error(folder.error(), operation, where));
  }
  auto file = sys::open_file_at(*folder, name.c_str(), {.write = write, .no_follow = true});
  const auto status = file
                          ? sys::file_status(file->get())
                          : sys::Outcome<sys::FileStatus>(tl::unexpected<sys::Errno>(file.error()));
  if (!status) {
    return fail(sys::to_error(status.error(), operation, opened.path));
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, operation, opened.path,
                           fmt::format("it is {}", sys::describe(status->kind))));
  }
  opened.directory = std::move(*folder);
  opened.file = std::move(*file);
  opened.status = *status;
  return opened;
}

Result<SegmentInfo> look_into(const OpenFile& opened, const std::string& name) {
  const internal::Domain own = QUIRE_TRY(internal::own_domain());
  SegmentInfo info;
  info.name = name;
  info.path = opened.path;
  const auto now = sys::file_status(opened.file.get());
  info.file_bytes = now ? now->size_bytes : opened.status.size_bytes;
  info.allocated_bytes = now ? now->allocated_bytes : opened.status.allocated_bytes;
  info.mode = opened.status.mode;
  info.user = opened.status.owner;
  internal::view_segment(
      [&](std::span<std::byte> into, std::uint64_t offset_bytes) {
        return sys::read_at(opened.file.get(), into, offset_bytes).value_or(0);
      },
      internal::is_alive, own, info);
  return info;
}

std::string describe_living(const SegmentInfo& info) {
  std::string pids;
  for (const Participant& one : info.participants) {
    if (one.liveness == Liveness::kAlive) {
      pids += fmt::format("{}{}", pids.empty() ? "" : ", ", one.pid);
    }
  }
  return pids;
}

Result<void> unlink_name(const OpenFile& opened, const std::string& name) {
  const auto unlinked = sys::unlink_at(opened.directory, name.c_str());
  if (!unlinked) {
    return fail(sys::to_error(unlinked.error(), kRemove, opened.path));
  }
  return {};
}

// Header and slots, mapped: what remove_segment() works on.
struct MappedFront {
  AddressSpace memory;

  [[nodiscard]] internal::SegmentHeader& header() const { return internal::header_in(memory); }
};

Result<std::shared_ptr<MappedFront>> map_front(const OpenFile& opened, std::uint64_t slots) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  const std::uint64_t bytes = internal::kHeaderBytes + slots * sizeof(internal::ParticipantSlot);
  const std::uint64_t mapped = (bytes + page_bytes - 1) / page_bytes * page_bytes;
  auto memory = AddressSpace::map({.fd = opened.file.get(),
                                   .protection = sys::Protection::kReadWrite,
                                   .visibility = sys::Visibility::kShared},
                                  mapped, mapped);
  if (!memory) {
    return fail(sys::to_error(memory.error(), kRemove, opened.path));
  }
  return std::make_shared<MappedFront>(MappedFront{.memory = std::move(*memory)});
}

// True: it is removed. False: it is not what `info` says any more.
Result<bool> remove_if_unused(const OpenFile& opened, const SegmentInfo& info,
                              Clock::time_point deadline) {
  const std::uint64_t slots = info.participants_max;  // 0 for one that is not finished.
  const auto front = QUIRE_TRY(map_front(opened, slots));
  auto* const first = reinterpret_cast<internal::ParticipantSlot*>(front->memory.address() +
                                                                   internal::kHeaderBytes);
  std::optional<internal::ParticipantTable> table;
  if (slots > 0) {
    table.emplace(front, std::span(first, static_cast<std::size_t>(slots)), info.segment_id);
  }
  const internal::FileName name{.directory = &opened.directory, .name = info.name};
  const auto removed = internal::remove_segment(front->header(), table ? &*table : nullptr, name,
                                                opened.file.get(), opened.path, deadline);
  if (!removed && removed.error().code() == std::errc::device_or_resource_busy) {
    const SegmentInfo now = QUIRE_TRY(look_into(opened, info.name));
    return fail(Error({.code = removed.error().code(),
                       .operation = kRemove,
                       .subject = opened.path,
                       .cause = fmt::format("it is in use by process {}", describe_living(now)),
                       .remedy = "end it first; forcing takes the name away and leaves it there"}));
  }
  if (!removed) {
    return fail(removed.error());
  }
  return *removed != internal::Removal::kLookAgain;
}

// What cannot be removed as a segment can; what should not be, with a reason.
Result<void> check_removable(const SegmentInfo& info) {
  if (info.condition == SegmentCondition::kDamaged) {
    return fail(make_error(Errc::kWrongKind, kRemove, info.path, info.problem,
                           "force it, if it is not needed"));
  }
  if (info.condition == SegmentCondition::kElsewhere) {
    return fail(make_error(Errc::kUnsupported, kRemove, info.path,
                           "it is of another pid namespace, and whether somebody uses it cannot be "
                           "told from here",
                           "remove it there, or force it"));
  }
  return {};
}

}  // namespace

const char* name_of(SegmentCondition condition) noexcept {
  switch (condition) {
    case SegmentCondition::kReady: return "ready";
    case SegmentCondition::kUnfinished: return "unfinished";
    case SegmentCondition::kRemoving: return "removing";
    case SegmentCondition::kElsewhere: return "elsewhere";
    case SegmentCondition::kOld: return "old";
    case SegmentCondition::kDamaged: break;
  }
  return "damaged";
}

std::size_t SegmentInfo::living() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(participants.begin(), participants.end(),
                    [](const Participant& one) { return one.liveness == Liveness::kAlive; }));
}

Result<std::vector<std::string>> list_segments(const std::string& directory) {
  const std::string where = QUIRE_TRY(directory_or_default(directory));
  auto folder = sys::open_file(where.c_str(), {.directory = true});
  if (!folder && folder.error().value == ENOENT) {
    return std::vector<std::string>();
  }
  if (!folder) {
    return fail(sys::to_error(folder.error(), "list segments", where));
  }
  std::vector<std::string> names;
  sys::DirectoryReader reader(std::move(*folder));
  for (;;) {
    const auto entry = reader.next();
    if (!entry) {
      return fail(sys::to_error(entry.error(), "list segments", where));
    }
    if (!*entry || names.size() == kNamesMax) {
      break;
    }
    const bool may_be_file = !(*entry)->is_kind_known || (*entry)->kind == sys::FileKind::kRegular;
    if (may_be_file && is_good_name((*entry)->name, kSegmentNameBytesMax)) {
      names.emplace_back((*entry)->name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<SegmentInfo> inspect_segment(const std::string& name, const std::string& directory) {
  const OpenFile opened = QUIRE_TRY(open_file(name, directory, false, kInspect));
  return look_into(opened, name);
}

Result<void> remove_segment(const std::string& name, const RemoveOptions& options) {
  const auto deadline = Clock::now() + options.timeout;
  const OpenFile opened = QUIRE_TRY(open_file(name, options.directory, true, kRemove));
  if (options.force) {
    return unlink_name(opened, name);
  }
  if (opened.status.size_bytes == 0) {  // As whoever opens it: then there is a word to agree by.
    QUIRE_TRY(internal::secure_space(opened.file.get(), internal::kHeaderBytes, opened.path));
  }
  for (;;) {
    const SegmentInfo info = QUIRE_TRY(look_into(opened, name));
    QUIRE_TRY(check_removable(info));
    if (info.condition == SegmentCondition::kOld) {
      return unlink_name(opened, name);  // Nobody alive can have it.
    }
    if (QUIRE_TRY(remove_if_unused(opened, info, deadline))) {
      return {};
    }
  }
}

Result<std::vector<std::string>> remove_stale_segments(const std::string& directory) {
  std::vector<std::string> removed;
  std::optional<Error> first;
  for (const std::string& name : QUIRE_TRY(list_segments(directory))) {
    const auto info = inspect_segment(name, directory);
    if (!info || info->condition == SegmentCondition::kDamaged || info->living() > 0) {
      continue;
    }
    const auto outcome = remove_segment(name, {.directory = directory});
    if (outcome) {
      removed.push_back(name);
    } else if (outcome.error().code() != std::errc::device_or_resource_busy &&
               outcome.error().code() != std::errc::timed_out &&
               outcome.error().code() != std::errc::no_such_file_or_directory && !first) {
      first = outcome.error();
    }
  }
  if (first) {
    return fail(*first);
  }
  return removed;
}

}  // namespace quire::ipc
