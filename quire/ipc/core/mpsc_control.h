// SPDX-License-Identifier: Apache-2.0
//
// mpsc_control: the words that the rings of many writers and one reader share, for objects
// (mpsc_cells.h) and for records of bytes (mpsc_records.h).
//
// offset  bytes  field      written by
//      0      8  tail       writers: the next position to claim, or one that is claimed already
//     64      8  head       the reader: positions released; it may lag behind what cells say
//     72      8  head_bytes the reader: bytes released (records only)
//     80      8  abandoned  the reader: claims of members that died
//     88      4  reader     takers of the role
//    128     64  not_empty  what a reader sleeps on
//    192     64  not_full   what a writer sleeps on
//    256      4  writers_wake  a reader that may sleep: writers notify (see wake.h)
//    260      4  reader_wakes  a writer that may sleep: the reader notifies
//
// The last line is read by all and hardly ever written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quire/ipc/core/role.h"
#include "quire/ipc/core/wake.h"

namespace quire::ipc::internal {

struct MpscControl {
  alignas(64) std::atomic<std::uint64_t> tail;
  alignas(64) std::atomic<std::uint64_t> head;
  std::atomic<std::uint64_t> head_bytes;
  std::atomic<std::uint64_t> abandoned;
  RoleWord reader;
  alignas(64) WaitPoint not_empty;
  alignas(64) WaitPoint not_full;
  alignas(64) WakeWord writers_wake;
  WakeWord reader_wakes;
};
static_assert(sizeof(MpscControl) == 320);
static_assert(offsetof(MpscControl, head) == 64);
static_assert(offsetof(MpscControl, head_bytes) == 72);
static_assert(offsetof(MpscControl, abandoned) == 80);
static_assert(offsetof(MpscControl, reader) == 88);
static_assert(offsetof(MpscControl, not_empty) == 128);
static_assert(offsetof(MpscControl, not_full) == 192);
static_assert(offsetof(MpscControl, writers_wake) == 256);
static_assert(offsetof(MpscControl, reader_wakes) == 260);

// What a try came to.
enum class TryResult : std::uint8_t {
  kDone,
  kNothing,  // No room, or nothing to read.
  kBlocked,  // The next one is claimed by a member that is not done with it.
  kCorrupt,  // The words make no sense: a peer that is not of ours wrote them.
};

// A writer that loses this many races in a row is told that there is no room: with honest peers it
// does not happen, and dishonest ones shall not keep it for ever.
inline constexpr int kClaimRoundsMax = 1 << 16;

}  // namespace quire::ipc::internal
