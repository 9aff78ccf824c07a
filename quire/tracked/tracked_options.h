// SPDX-License-Identifier: Apache-2.0
//
// tracked_options: what can be chosen about a mapping whose stores become durable by commit().
//
//   quire::map("state.bin", {.access = Access::kReadWrite, .commit = Commit::kAtomic})
//   quire::map("state.bin", {.commit = Commit::kAtomic})           the last commit, to read
//
// .commit has no default: a list of options that names it, and only such a list, chooses these
// overloads of map(). Nor has .access here: to be writable must be asked for by name.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/commit.h"
#include "quire/base/units.h"
#include "quire/journal/journal_options.h"
#include "quire/map/map_options.h"

namespace quire {

struct TrackedOptions {
  ReadWriteAccess access;
  AtomicCommit commit;
  bool create = false;              // Makes the file when it is missing.
  std::uint64_t minimum_bytes = 0;  // A shorter file is grown to this, in a commit of its own.
  // Addresses for the view, growth included; kReserveAutomatic is kReserveAheadBytes more than the
  // size. resize() ends there.
  std::uint64_t reserve_bytes = kReserveAutomatic;
  // Once more bytes than this were committed since the last time, commit() checkpoints and gives
  // the private copies of pages back: the file has them. REQUIRES then: no store during a commit();
  // one that comes all the same may be lost.
  std::uint64_t drop_past_bytes = kToEnd;
  std::string journal_path{};  // "": beside the file, see journal_file.h.
  JournalOptions journal{};    // log_bytes bounds what one commit can hold.
};

struct CommittedOptions {
  ReadOnlyAccess access = ReadOnlyAccess::by_default();
  AtomicCommit commit;
  std::string journal_path{};
};

}  // namespace quire
