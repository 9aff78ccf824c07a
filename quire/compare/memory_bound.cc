// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/memory_bound.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <string_view>

#include "quire/base/units.h"
#include "quire/sys/child.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"
#include "quire/sys/futex.h"
#include "quire/sys/names.h"
#include "quire/sys/proc_files.h"
#include "quire/sys/process.h"

namespace quire::compare {
namespace {

constexpr const char* kOperation = "limit memory";
constexpr std::string_view kNamePrefix = "quire-compare-";

// A ring is taken down after the end of its process, and its buffers stay charged until then. What
// is left below this is a page here and there of the kernel's own lists.
constexpr std::uint64_t kLeftBytesMax = 512_KiB;
constexpr std::chrono::seconds kLeaveTimeMax{2};
constexpr std::chrono::milliseconds kLeavePause{1};

sys::Outcome<void> write_text(const std::string& path, std::string_view text) noexcept {
  // The files are there in every cgroup; a made-up tree of a test gets them by being written.
  auto file = sys::open_file(path.c_str(), {.write = true, .create = true});
  if (!file) {
    return tl::unexpected<sys::Errno>(file.error());
  }
  return sys::write_all(file->get(), std::as_bytes(std::span(text)));
}

std::string parent_of(const std::string& directory) {
  const std::size_t slash = directory.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : directory.substr(0, slash);
}

sys::Outcome<void> remove_child(const std::string& directory, const char* name) noexcept {
  const auto parent = sys::open_file(directory.c_str(), {.directory = true});
  if (!parent) {
    return tl::unexpected<sys::Errno>(parent.error());
  }
  return sys::remove_directory_at(*parent, name);
}

// Children of a version 2 cgroup have only the controllers that it passes on.
sys::Outcome<void> pass_memory_on(const std::string& directory) {
  const std::string control = directory + "/cgroup.subtree_control";
  const auto passed = sys::read_proc_file(control);
  if (!passed) {
    return tl::unexpected<sys::Errno>(passed.error());
  }
  return passed->find("memory") != std::string::npos ? sys::Outcome<void>()
                                                     : write_text(control, "+memory");
}

sys::Outcome<void> set_limit(int version, const std::string& directory, std::uint64_t bytes) {
  const std::string number = std::to_string(bytes);
  if (version == 2) {
    const auto limited = write_text(directory + "/memory.max", number);
    // Missing where the kernel was built without swap, which is what it is there to forbid.
    static_cast<void>(write_text(directory + "/memory.swap.max", "0"));
    return limited;
  }
  const auto limited = write_text(directory + "/memory.limit_in_bytes", number);
  // Missing without swapaccount=1; then the advice not to swap is what there is.
  static_cast<void>(write_text(directory + "/memory.memsw.limit_in_bytes", number));
  static_cast<void>(write_text(directory + "/memory.swappiness", "0"));
  return limited;
}

// Makes and limits a cgroup there. Returns its directory.
sys::Outcome<std::string> make_in(const internal::BoundPlace& place, std::uint64_t limit_bytes) {
  static std::atomic<unsigned> made{0};
  const std::string name = fmt::format("{}{}-{}", kNamePrefix, sys::process_id(), made++);
  if (place.version == 2) {
    const auto passed = pass_memory_on(place.directory);
    if (!passed) {
      return tl::unexpected<sys::Errno>(passed.error());
    }
  }
  const auto parent = sys::open_file(place.directory.c_str(), {.directory = true});
  if (!parent) {
    return tl::unexpected<sys::Errno>(parent.error());
  }
  if (const auto created = sys::make_directory_at(*parent, name.c_str(), 0755); !created) {
    return tl::unexpected<sys::Errno>(created.error());
  }
  std::string directory = place.directory + "/" + name;
  if (const auto limited = set_limit(place.version, directory, limit_bytes); !limited) {
    static_cast<void>(sys::remove_directory_at(*parent, name.c_str()));
    return tl::unexpected<sys::Errno>(limited.error());
  }
  return directory;
}

Result<void> check_limit(std::uint64_t limit_bytes, const sys::MemoryLimits& limits) {
  const std::string subject = human_bytes(limit_bytes);
  if (limit_bytes < MemoryBound::kLimitBytesMin) {
    return fail(make_error(Errc::kLimit, kOperation, subject,
                           "a process needs some memory of its own",
                           "ask for " + human_bytes(MemoryBound::kLimitBytesMin) + " or more"));
  }
  if (limits.binding_bytes && limit_bytes > *limits.binding_bytes) {
    return fail(make_error(Errc::kLimit, kOperation, subject,
                           "there is less than that: " + limits.binding, "ask for less"));
  }
  return {};
}

}  // namespace

namespace internal {

std::vector<BoundPlace> bound_places(const sys::SystemRoot& root) {
  std::vector<BoundPlace> places;
  std::vector<sys::CgroupLevel> levels = sys::memory_limits(root).cgroups;
  for (const int version : {1, 2}) {
    std::vector<BoundPlace> found;  // Nearest first.
    for (const sys::CgroupLevel& level : levels) {
      if (level.version != version) {
        continue;
      }
      found.push_back({.version = version, .directory = level.directory});
      // Beyond a level that limits us there would be more memory than we have now.
      if (level.limit_bytes || level.high_bytes) {
        break;
      }
      if (version == 2) {
        // Where processes are, version 2 allows no children: then one beside us is what is left.
        // Further up, whoever manages the tree (systemd) would lose sight of us.
        found.push_back({.version = 2, .directory = parent_of(level.directory)});
        break;
      }
    }
    if (version == 1) {
      std::reverse(found.begin(), found.end());
    }
    places.insert(places.end(), found.begin(), found.end());
  }
  return places;
}

std::size_t remove_stale_bounds(const std::string& directory) {
  auto opened = sys::open_file(directory.c_str(), {.directory = true});
  if (!opened) {
    return 0;
  }
  sys::DirectoryReader reader(std::move(*opened));
  std::vector<std::string> stale;
  for (;;) {
    const auto entry = reader.next();
    if (!entry || !*entry) {
      break;
    }
    const std::string_view name = (*entry)->name;
    int pid = 0;
    if (name.starts_with(kNamePrefix)) {
      const std::string_view digits = name.substr(kNamePrefix.size());
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
      if (error == std::errc{} && *end == '-' && !sys::process_exists(pid)) {
        stale.emplace_back(name);
      }
    }
  }
  std::size_t removed = 0;
  for (const std::string& name : stale) {
    removed += sys::remove_directory_at(reader.descriptor(), name.c_str()) ? 1U : 0U;
  }
  return removed;
}

}  // namespace internal

Result<MemoryBound> MemoryBound::make(std::uint64_t limit_bytes, const sys::SystemRoot& root) {
  QUIRE_TRY(check_limit(limit_bytes, sys::memory_limits(root)));
  std::string refusals;
  for (const internal::BoundPlace& place : internal::bound_places(root)) {
    internal::remove_stale_bounds(place.directory);
    sys::Outcome<std::string> made = make_in(place, limit_bytes);
    if (made) {
      return MemoryBound(place.version, std::move(*made), limit_bytes);
    }
    refusals += fmt::format("{}v{} {}: {}", refusals.empty() ? "" : ", ", place.version,
                            place.directory, errno_name(made.error().value));
  }
  return fail(make_error(
      Errc::kUnsupported, kOperation, human_bytes(limit_bytes),
      refusals.empty() ? "no memory cgroup is to be seen (/sys/fs/cgroup)"
                       : "no memory cgroup can be made (" + refusals + ")",
      "run as root, or in a cgroup of your own: systemd-run --user --scope -p Delegate=yes ..."));
}

MemoryBound::MemoryBound(MemoryBound&& other) noexcept
    : version_(other.version_),
      directory_(std::exchange(other.directory_, {})),
      limit_bytes_(other.limit_bytes_) {}

MemoryBound::~MemoryBound() {
  static_cast<void>(close());
}

std::uint64_t MemoryBound::own_bytes() const {
  const auto text = sys::read_proc_file(directory_ + "/memory.stat");
  std::uint64_t bytes = 0;
  for (const char* field : {"inactive_anon", "active_anon", "unevictable"}) {
    bytes += text ? sys::parse_field(*text, field).value_or(0) : 0;
  }
  return bytes;
}

Result<void> MemoryBound::enter() const {
  const auto deadline = std::chrono::steady_clock::now() + kLeaveTimeMax;
  const std::atomic<std::uint32_t> never{0};  // The kernel tells nobody: it is asked now and then.
  while (own_bytes() > kLeftBytesMax && std::chrono::steady_clock::now() < deadline) {
    static_cast<void>(sys::futex_wait(never, 0, kLeavePause));
  }
  const auto entered = write_text(directory_ + "/cgroup.procs", std::to_string(sys::process_id()));
  if (!entered) {
    return fail(to_error(entered.error(), "enter memory cgroup", directory_));
  }
  return {};
}

Result<void> MemoryBound::close() {
  if (directory_.empty()) {
    return {};
  }
  const std::string directory = std::exchange(directory_, {});
  if (version_ == 1) {
    // What stays charged would keep the cgroup's memory of itself alive; it may refuse.
    static_cast<void>(write_text(directory + "/memory.force_empty", "0"));
  }
  const std::string parent = parent_of(directory);
  const auto removed = remove_child(parent, directory.c_str() + parent.size() + 1);
  if (!removed) {
    return fail(to_error(removed.error(), "remove memory cgroup", directory));
  }
  return {};
}

std::string MemoryBound::method() const {
  return fmt::format("memory cgroup (v{})", version_);
}

std::optional<std::uint64_t> MemoryBound::usage_bytes() const {
  const auto text = sys::read_proc_file(
      directory_ + (version_ == 1 ? "/memory.usage_in_bytes" : "/memory.current"));
  return text ? sys::parse_number(*text) : std::nullopt;
}

std::optional<std::uint64_t> MemoryBound::killed_processes() const {
  const auto text =
      sys::read_proc_file(directory_ + (version_ == 1 ? "/memory.oom_control" : "/memory.events"));
  return text ? sys::parse_field(*text, "oom_kill") : std::nullopt;
}

}  // namespace quire::compare
