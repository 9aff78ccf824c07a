// SPDX-License-Identifier: Apache-2.0
//
// segment_header: the bytes at the beginning of a segment: header, slots, directory. docs/ipc.md
// has the same tables.
//
//   header, 4096 bytes; numbers in the byte order of the machine
//     0   8  magic "QUIREIPC"; zero until somebody initialises
//     8   4  version of this format, 1
//    12   4  0x01020304, in the byte order of who made it
//    16   8  state: bits 0-1 blank 0, initialising 1, ready 2, removing 3; bits 2-23 pid and bits
//            24-63 start time of who initialises or removes. Ready: both 0. Removing with both 0:
//            it is removed, and has no name any more
//    24   8  signature of the layout
//    32   8  size of the segment in bytes
//    40   4  page size in bytes
//    44   2  slots of participants
//    46   2  objects in the directory
//    48   8  segment id, random: names what belongs to this segment alone
//    56   4  generation: 1; 2 and more when somebody began anew after a death
//    60   4  user who made it
//    64   4  pid of who made it
//    68   4  zero
//    72   8  start time of that process, in clock ticks since boot
//    80   8  when it was made, ns since the epoch
//    88  16  boot id of the kernel
//   104   8  pid namespace (inode), 112   8  time namespace
//   120  -   zero
//   slots, 64 bytes each: participants.h
//   directory, 256 bytes for each object
//     0  32  name, padded with zeros
//    32   4  kind
//    36   4  alignment in bytes
//    40   8  offset in the segment, 48   8  size
//    56   8  offset of the mirrored data, 64   8  its size; both 0: none
//    72   8  XXH3 of the signature's text
//    80  160 the signature's text, padded with zeros
//   240  16  zero
//
// Invariants:    everything but `state` and the slots is written once, while initialising, before
//                ready is stored (release) and read after ready was loaded (acquire).
// Thread-safety: the fields are bytes of shared memory that a hostile peer may change at any time:
//                what is not atomic is copied once and judged in the copy.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace quire::ipc::internal {

inline constexpr std::array<char, 8> kMagic = {'Q', 'U', 'I', 'R', 'E', 'I', 'P', 'C'};
inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::uint32_t kByteOrderMark = 0x01020304;
inline constexpr std::size_t kHeaderBytes = 4096;

struct SegmentFacts {  // What is written once.
  std::uint64_t signature;
  std::uint64_t size_bytes;
  std::uint32_t page_bytes;
  std::uint16_t participants;
  std::uint16_t objects;
  std::uint64_t segment_id;
  std::uint32_t generation;
  std::uint32_t user;
  std::uint32_t creator_pid;
  std::uint32_t zero;
  std::uint64_t creator_start_ticks;
  std::int64_t created_ns;
  std::array<std::uint8_t, 16> boot_id;
  std::uint64_t pid_namespace;
  std::uint64_t time_namespace;
};

struct SegmentHeader {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t byte_order;
  std::atomic<std::uint64_t> state;
  SegmentFacts facts;
  std::array<std::byte, kHeaderBytes - 24 - sizeof(SegmentFacts)> zero;
};
static_assert(sizeof(SegmentHeader) == kHeaderBytes);
static_assert(offsetof(SegmentHeader, state) == 16);
static_assert(offsetof(SegmentHeader, facts) == 24);
static_assert(offsetof(SegmentFacts, segment_id) == 48 - 24);
static_assert(offsetof(SegmentFacts, creator_start_ticks) == 72 - 24);
static_assert(offsetof(SegmentFacts, boot_id) == 88 - 24);
static_assert(offsetof(SegmentFacts, time_namespace) == 112 - 24);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

struct ParticipantSlot {
  std::atomic<std::uint64_t> state;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> user;
  std::atomic<std::int64_t> attached_ns;
  std::array<std::byte, 40> zero;
};
static_assert(sizeof(ParticipantSlot) == 64);
static_assert(offsetof(ParticipantSlot, generation) == 8);
static_assert(offsetof(ParticipantSlot, user) == 12);
static_assert(offsetof(ParticipantSlot, attached_ns) == 16);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

struct DirectoryEntry {
  std::array<char, 32> name;
  std::uint32_t kind;
  std::uint32_t alignment_bytes;
  std::uint64_t offset_bytes;
  std::uint64_t size_bytes;
  std::uint64_t mirrored_offset_bytes;
  std::uint64_t mirrored_bytes;
  std::uint64_t signature;
  std::array<char, 160> signature_text;
  std::array<std::byte, 16> zero;
};
static_assert(sizeof(DirectoryEntry) == 256);
static_assert(offsetof(DirectoryEntry, offset_bytes) == 40);
static_assert(offsetof(DirectoryEntry, signature_text) == 80);

}  // namespace quire::ipc::internal
