// SPDX-License-Identifier: Apache-2.0
//
// map_options: everything that can be chosen about a mapping, as one aggregate for designated
// initialisers.
//
//   quire::map("data.bin")                                                  read-only, whole file
//   quire::map("data.bin", {.offset_bytes = 10, .length_bytes = 1})         one byte
//   quire::map("data.bin", {.access = Access::kReadWrite})                  stores reach the file
//   quire::map("data.bin", {.access = Access::kReadWrite,
//                           .sharing = Sharing::kPrivate})                  copy-on-write
//   quire::map("log.bin",  {.access = Access::kReadWrite, .create = true, .reserve_bytes = 1_TiB})
//
// Access is a type, not a value: map() with kReadOnly gives a Mapping, with kReadWrite a
// WritableMapping, and storing through a Mapping does not compile.
//
//                 file                                    anonymous (map_anonymous)
//   kShared   every mapper and read()/write() see       a memfd: children and whoever receives its
//             each other's stores at once               descriptor see each other's stores
//   kPrivate  stores stay here (copy-on-write);         like malloc'ed memory; a forked child gets
//             later changes of the file may or may      a copy
//             not be seen: unspecified (mmap(2))
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>

#include "quire/base/units.h"

namespace quire {

// The types behind Access::kReadOnly and Access::kReadWrite. kReadWrite has no default: it must be
// asked for by name.
struct ReadOnlyAccess {
  explicit constexpr ReadOnlyAccess(int) noexcept {}
  static constexpr ReadOnlyAccess by_default() noexcept { return ReadOnlyAccess(0); }
};
struct ReadWriteAccess {
  explicit constexpr ReadWriteAccess(int) noexcept {}
};
struct Access {
  static constexpr ReadOnlyAccess kReadOnly{0};
  static constexpr ReadWriteAccess kReadWrite{0};
};

enum class Sharing : std::uint8_t { kShared, kPrivate };

// Whether disk space (or memory, for a memfd) stands behind every byte before it is stored to.
enum class Space : std::uint8_t {
  kSecured,  // fallocate: a full disk is an error of map() or resize(), never a SIGBUS at a store.
  kSparse,   // ftruncate: holes. A store can meet a full disk; see guarded().
};

enum class HugePages : std::uint8_t {
  kNone,
  kTransparent,  // Asked for with madvise; explain() says whether this machine grants it.
  kReserved,     // From the hugetlb pool (vm.nr_hugepages); map_anonymous() only. Fails when empty.
};

// The default of reserve_bytes: a shared mapping that may grow (it is writable and reaches the end)
// and memory get kReserveAheadBytes of addresses beyond their size, or none where the process has
// none left; everything else gets none.
inline constexpr std::uint64_t kReserveAutomatic = kToEnd;
inline constexpr std::uint64_t kReserveAheadBytes = std::uint64_t{1} << 30;

// The most that is read into memory from something without a size: a pipe, a /proc file.
inline constexpr std::uint64_t kStreamBytesMaxDefault = std::uint64_t{1} << 30;

template <typename AccessType>
struct BasicMapOptions {
  AccessType access = AccessType::by_default();
  Sharing sharing = Sharing::kShared;

  // What to show: any offset, any length, down to one byte. kToEnd follows the size at opening.
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = kToEnd;

  // The rest, but for the last, needs Access::kReadWrite and Sharing::kShared.
  bool create = false;               // Makes the file when it is missing...
  bool exclusive = false;            // ... and fails when it is not (EEXIST).
  std::uint32_t create_mode = 0644;  // Permissions of a created file, before the umask.
  std::uint64_t minimum_bytes = 0;   // A shorter file is grown to this when it is opened.
  // Addresses for the view, growth included: they cost no memory and no disk. 0 keeps none.
  std::uint64_t reserve_bytes = kReserveAutomatic;
  Space space = Space::kSecured;  // For what minimum_bytes, resize() and append() add.

  std::uint64_t stream_bytes_max = kStreamBytesMaxDefault;
};

using MapOptions = BasicMapOptions<ReadOnlyAccess>;
using WritableMapOptions = BasicMapOptions<ReadWriteAccess>;

struct AnonymousOptions {
  std::uint64_t size_bytes = 0;
  Sharing sharing = Sharing::kPrivate;
  std::uint64_t reserve_bytes = kReserveAutomatic;
  HugePages huge_pages = HugePages::kNone;

  // Sharing::kShared only.
  const char* name = "quire";     // Shown in /proc/PID/maps as /memfd:NAME.
  Space space = Space::kSecured;  // kSecured: the memory is taken now, or refused (kLimit).
  bool secret = false;            // memfd_secret: out of reach for ptrace and dumps. Fixed size.
};

}  // namespace quire
