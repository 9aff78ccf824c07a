// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/segment_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "quire/ipc/step.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/sys/outcome.h"
#include "quire/sys/proc_files.h"
#include "quire/sys/process.h"
#include "quire/sys/socket.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::ipc::internal {
namespace {

constexpr const char* kOpen = "open segment";

// Whether an errno says that the kernel has no such thing or does not show it.
bool is_not_shown(sys::Errno error) noexcept {
  return error.value == ENOENT || error.value == EACCES || error.value == EPERM;
}

Result<std::uint64_t> inode_of(const char* path) {
  const auto status = sys::path_status(path, false);
  if (!status && !is_not_shown(status.error())) {
    return fail(sys::to_error(status.error(), kOpen, path));
  }
  return status ? status->inode : 0;
}

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Without random numbers (a filter) the time and who we are will do.
std::uint64_t draw_id(const ProcessTag& self) noexcept {
  std::uint64_t id = 0;
  if (!sys::draw_random(std::as_writable_bytes(std::span(&id, 1)))) {
    id = OwnedState(0, self).word() ^ static_cast<std::uint64_t>(now_ns());
  }
  return id;
}

void zero(std::span<std::byte> bytes) noexcept {
  std::memset(bytes.data(), 0, bytes.size());
}

DirectoryEntry entry_of(const ObjectSpec& spec, const ObjectPlace& place) {
  DirectoryEntry entry{};
  std::copy(spec.name.begin(), spec.name.end(), entry.name.begin());
  entry.kind = static_cast<std::uint32_t>(spec.kind);
  entry.alignment_bytes = static_cast<std::uint32_t>(spec.alignment_bytes);
  entry.offset_bytes = place.offset_bytes;
  entry.size_bytes = place.size_bytes;
  entry.mirrored_offset_bytes = place.mirrored_offset_bytes;
  entry.mirrored_bytes = place.mirrored_bytes;
  entry.signature = XXH3_64bits(spec.signature.data(), spec.signature.size());
  std::copy(spec.signature.begin(), spec.signature.end(), entry.signature_text.begin());
  return entry;
}

SegmentFacts facts_of(const Layout& layout, const ProcessTag& self, const Domain& domain,
                      std::uint32_t generation) {
  return {.signature = layout.signature(),
          .size_bytes = layout.size_bytes(),
          .page_bytes = static_cast<std::uint32_t>(sys::os_page_size().bytes()),
          .participants = layout.participants_max(),
          .objects = static_cast<std::uint16_t>(layout.objects().size()),
          .segment_id = draw_id(self),
          .generation = generation,
          .user = sys::effective_user(),
          .creator_pid = self.pid,
          .zero = 0,
          .creator_start_ticks = self.start_ticks,
          .created_ns = now_ns(),
          .boot_id = domain.boot_id,
          .pid_namespace = domain.pid_namespace,
          .time_namespace = domain.time_namespace};
}

std::string describe(const DirectoryEntry& entry) {
  return fmt::format("{} '{}' [{}] of {} bytes, aligned to {}, {} mirrored",
                     name_of(static_cast<ObjectKind>(entry.kind)),
                     text_in(entry.name.data(), entry.name.size()),
                     text_in(entry.signature_text.data(), entry.signature_text.size()),
                     entry.size_bytes, entry.alignment_bytes, entry.mirrored_bytes);
}

// The directory as it stands in the file, of which no more is read than is there.
std::vector<DirectoryEntry> read_directory(int fd, const SegmentFacts& facts) {
  std::vector<DirectoryEntry> entries(std::min<std::size_t>(facts.objects, kObjectsMax));
  const std::uint64_t offset =
      kHeaderBytes + std::uint64_t{facts.participants} * sizeof(ParticipantSlot);
  const auto got = sys::read_at(fd, std::as_writable_bytes(std::span(entries)), offset);
  entries.resize(got.value_or(0) / sizeof(DirectoryEntry));
  return entries;
}

// The first thing in which the two differ, as "here ...; there ...".
std::string first_difference(const Layout& layout, const SegmentFacts& facts,
                             const std::vector<DirectoryEntry>& there) {
  if (facts.page_bytes != sys::os_page_size().bytes()) {
    return fmt::format("here pages of {} bytes; there pages of {}", sys::os_page_size().bytes(),
                       facts.page_bytes);
  }
  if (facts.participants != layout.participants_max()) {
    return fmt::format("here {} participants; there {}", layout.participants_max(),
                       facts.participants);
  }
  const std::size_t both = std::min(there.size(), layout.objects().size());
  for (std::size_t i = 0; i < both; ++i) {
    const DirectoryEntry here = entry_of(layout.objects()[i], layout.places()[i]);
    if (const std::string ours = describe(here); ours != describe(there[i])) {
      return fmt::format("object {} is here {}; there {}", i + 1, ours, describe(there[i]));
    }
  }
  return fmt::format("here {} objects of {} bytes in all; there {} of {}", layout.objects().size(),
                     layout.size_bytes(), facts.objects, facts.size_bytes);
}

Error other_layout(int fd, const SegmentFacts& facts, const Layout& layout,
                   const std::string& path) {
  return make_error(
      Errc::kChanged, kOpen, path,
      fmt::format("the layouts differ: signature {:016x} here, {:016x} there (made by process {}, "
                  "generation {}); {}",
                  layout.signature(), facts.signature, facts.creator_pid, facts.generation,
                  first_difference(layout, facts, read_directory(fd, facts))),
      "let all programs use one layout, and remove what older ones left (quire ipc rm)");
}

}  // namespace

std::string text_in(const char* bytes, std::size_t bytes_max) {
  std::string text(bytes, std::find(bytes, bytes + bytes_max, '\0'));
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

Result<Domain> own_domain() {
  constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";
  Domain domain{.boot_id = {},
                .pid_namespace = QUIRE_TRY(inode_of("/proc/self/ns/pid")),
                .time_namespace = QUIRE_TRY(inode_of("/proc/self/ns/time"))};
  const auto text = sys::read_proc_file(kBootId);
  if (!text && !is_not_shown(text.error())) {
    return fail(sys::to_error(text.error(), kOpen, kBootId));
  }
  std::size_t digits = 0;
  for (const char c : text.value_or(std::string())) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0 && digits < 2 * domain.boot_id.size()) {
      const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
      domain.boot_id[digits / 2] =
          static_cast<std::uint8_t>(domain.boot_id[digits / 2] << 4 | digit);
      ++digits;
    }
  }
  return domain;
}

Result<void> write_segment(SegmentMemory& memory, const Layout& layout, const ProcessTag& self,
                           bool was_used) {
  const Domain domain = QUIRE_TRY(own_domain());
  SegmentHeader& header = memory.header();
  const std::uint32_t generation = was_used ? std::max(header.facts.generation, 1U) + 1 : 1;
  header.facts.generation = generation;  // First: if we die, too, the next one counts us.
  QUIRE_IPC_STEP("segment.initialise.counted");
  if (was_used) {
    zero(memory.bytes().subspan(kHeaderBytes));
    QUIRE_IPC_STEP("segment.initialise.zeroed");
  }
  header.byte_order = kByteOrderMark;
  header.version = kFormatVersion;
  header.magic = kMagic;
  QUIRE_IPC_STEP("segment.initialise.magic");
  header.facts = facts_of(layout, self, domain, generation);
  header.zero = {};
  QUIRE_IPC_STEP("segment.initialise.facts");
  for (std::size_t i = 0; i < layout.objects().size(); ++i) {
    const ObjectSpec& spec = layout.objects()[i];
    memory.directory()[i] = entry_of(spec, layout.places()[i]);
    if (spec.initialise) {
      spec.initialise(memory.object(i));
    }
    QUIRE_IPC_STEP("segment.initialise.object");
  }
  return {};
}

SegmentFacts copy_facts(const SegmentHeader& header) noexcept {
  SegmentFacts facts;
  std::memcpy(&facts, &header.facts, sizeof facts);
  // The copy is what is judged: without this the compiler could read the original again.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return facts;
}

Result<void> check_form(const SegmentHeader& header, const std::string& path) {
  std::array<char, 8> magic{};
  std::memcpy(magic.data(), header.magic.data(), magic.size());
  const std::uint32_t version = header.version;
  const std::uint32_t byte_order = header.byte_order;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (magic == std::array<char, 8>{}) {
    return {};
  }
  if (magic != kMagic) {
    return fail(make_error(Errc::kWrongKind, kOpen, path,
                           fmt::format("it begins with '{}', and a segment with 'QUIREIPC'",
                                       text_in(magic.data(), magic.size())),
                           "choose another name, or remove that file"));
  }
  if (byte_order != kByteOrderMark || version == 0) {
    return fail(make_error(
        Errc::kCorrupt, kOpen, path,
        fmt::format("its header says byte order {:08x}, version {}", byte_order, version),
        "remove it (quire ipc rm --force)"));
  }
  if (version != kFormatVersion) {
    return fail(make_error(
        Errc::kNewerVersion, kOpen, path,
        fmt::format("its format is {}, and this build knows {}", version, kFormatVersion),
        "use one version of quire for all"));
  }
  return {};
}

Result<void> check_match(int fd, const SegmentHeader& header, const Layout& layout,
                         const std::string& path) {
  const SegmentFacts facts = copy_facts(header);
  const Domain own = QUIRE_TRY(own_domain());
  if (facts.boot_id != own.boot_id) {
    return fail(make_error(Errc::kChanged, kOpen, path,
                           "it was made before the machine was started",
                           "remove it (quire ipc rm), and keep segments on a tmpfs"));
  }
  if (facts.pid_namespace != own.pid_namespace || facts.time_namespace != own.time_namespace) {
    return fail(make_error(
        Errc::kUnsupported, kOpen, path,
        fmt::format("it was made in pid namespace {} and time namespace {}, and this process is in "
                    "{} and {}: neither could tell whether the other lives",
                    facts.pid_namespace, facts.time_namespace, own.pid_namespace,
                    own.time_namespace),
        "let the containers share them (docker run --pid=container:...)"));
  }
  if (facts.signature != layout.signature() || facts.size_bytes != layout.size_bytes()) {
    return fail(other_layout(fd, facts, layout, path));
  }
  const auto status = sys::file_status(fd);
  if (!status || status->size_bytes < layout.size_bytes()) {
    return fail(make_error(
        Errc::kTruncated, kOpen, path,
        fmt::format("it has {} bytes of {}", status ? status->size_bytes : 0, layout.size_bytes()),
        "remove it (quire ipc rm --force)"));
  }
  return {};
}

}  // namespace quire::ipc::internal
