// SPDX-License-Identifier: Apache-2.0
//
// eviction: gets a range of a file out of the page cache, checks that it went, and says what stayed
// and why. Never the global cache, never another file.
//
//   1. measure             what is resident, what is dirty
//   2. drop own mappings   one page table entry left makes the kernel keep the page, silently
//   3. write back          fdatasync, only when something is dirty; dirty pages are never dropped
//   4. FADV_DONTNEED       whole pages inside the range; a file's last partial page counts as whole
//   5. measure again       and repeat from 3 a few times: pages may sit in a CPU's private batch
//   6. explain the rest    dirty, in write-back, locked, mapped by process N, part of a large folio
//
// Nothing is lost: what is dirty is written first, and a failed write leaves the pages where they
// are and returns the error.
//
// Who maps a file is read from /proc/<pid>/maps, by device and inode, or by path where a file
// system shows another device number there than fstat does (btrfs, overlayfs). Processes that the
// caller may not look into are counted in `processes_hidden`; residue that nobody visible explains
// is then kUnknown, not a guess.
//
// Invariants:    the bytes of `remaining` add up to bytes_after, when that is known.
// Thread-safety: any thread. Blocks: for the write-back.
// Errors:        as residency(); the errno of fdatasync or of the advice itself.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire {

enum class KeptReason : std::uint8_t {
  kDirty,         // Became dirty again after it was written, or cannot be written now.
  kWriteback,     // Is on its way to the disk.
  kLocked,        // mlock()ed by a process.
  kMapped,        // In the page tables of a process.
  kLargeFolio,    // Part of a larger unit that reaches past the range, or that is partly mapped.
  kNotEvictable,  // The file system is memory: tmpfs, ramfs, hugetlbfs.
  kInUse,         // Nobody maps it; the kernel holds it for the moment (a read, a loop device).
  kUnknown,       // Nobody we may see holds it.
};

// "dirty", "locked", "mapped", "large_folio": stable, for messages and JSON.
[[nodiscard]] const char* name_of(KeptReason reason) noexcept;

// A process that maps the file.
struct Holder {
  int pid = 0;
  std::string name = {};  // As in /proc/<pid>/comm; empty when it ended meanwhile.

  friend bool operator==(const Holder&, const Holder&) = default;
};

struct Kept {
  KeptReason reason = KeptReason::kUnknown;
  std::uint64_t bytes = 0;
  std::vector<Holder> holders = {};  // For kLocked, kMapped, kLargeFolio; by pid; may be empty.
};

// "4.0 KiB mapped by process 17 (reader), 18 (writer)".
[[nodiscard]] std::string describe(const Kept& kept);

struct EvictionOptions {
  // The caller's own mappings of this file, dropped from its page tables first; the next access
  // brings them back. Whole pages. REQUIRES: shared mappings: of a private one this would throw
  // away the caller's changes.
  std::span<const std::span<std::byte>> own_mappings = {};
  // Rounds of write-back and advice before the residue is explained; at least one is made.
  int rounds_max = 3;
};

struct EvictionReport {
  ByteRange range = {};  // The whole pages that were to go; may be smaller than what was asked for.
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  bool known = true;  // False: it was tried, and the kernel does not tell what came of it.
  std::string why_unknown = {};
  std::vector<Kept> remaining = {};
  std::uint64_t processes_hidden = 0;  // Whose maps we were not allowed to read.
};

[[nodiscard]] Result<EvictionReport> evict(int fd, ByteRange range = kWholeFile,
                                           const EvictionOptions& options = {});

}  // namespace quire
