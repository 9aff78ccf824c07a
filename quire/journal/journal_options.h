// SPDX-License-Identifier: Apache-2.0
//
// journal_options: what can be chosen about a Journal, and who its files are.
//
//   log_bytes    bounds the disk space of the journal, the memory of its index (about 2 % of it),
//                the time of recovery, and what can be uncommitted or held by a snapshot at a time
//   page_bytes   the unit of atomic images; that of the journal on disk counts once there is one
//
// Thread-safety: plain values.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>

#include "quire/base/units.h"

namespace quire {

// Which journal it is; drawn at random when it is made.
using JournalUuid = std::array<std::byte, 16>;
// Which file it is: two with the same identity are the same file. How it is found out depends on
// who opens the file; see journal_file.h.
using FileIdentity = std::array<std::byte, 16>;

inline constexpr std::size_t kJournalFilesMax = 31;  // They fit into a superblock.
inline constexpr std::uint64_t kJournalPageBytesMax = 64 * 1024;
inline constexpr std::uint64_t kLogBytesMin = 64 * 1024;
inline constexpr std::uint64_t kLogPagesMin = 16;

enum class Checkpointing : std::uint8_t {
  kBackground,  // A thread of the journal, "quire-journal", begins when the log is half full, or
                // later where what is committed meanwhile finds room: at 7/8 at the latest.
  kOnDemand,    // Only checkpoint(), close(), and a commit that finds the log full.
};

// Of opening a journal, or looking through it.
struct JournalProgress {
  std::uint64_t done_bytes = 0;   // Read and written so far. Never falls.
  std::uint64_t total_bytes = 0;  // In all; 0 as long as the end of the log is not found.
};

// Who wants to know how far that is, or to end it before its time: it fails with kCancelled then,
// and the journal is as it was, so that opening begins anew the next time.
struct JournalWatch {
  // Called by the thread that opens or looks, between two transfers. It may not use the journal.
  std::function<void(const JournalProgress&)> on_progress{};
  std::stop_token stop{};
};

struct JournalOptions {
  std::uint64_t page_bytes = 4096;  // A power of two from 4096 to kJournalPageBytesMax.
  // Rounded up to pages; at least kLogBytesMin and kLogPagesMin.
  std::uint64_t log_bytes = 256_MiB;
  Checkpointing checkpointing = Checkpointing::kBackground;
  // How long a commit or write waits for space that others hold: a snapshot, uncommitted changes.
  std::chrono::milliseconds full_wait_max{10'000};
  // Of images that opening holds at a time when there is something to recover: with as much as the
  // log has it reads the log once; with less, some of it several times. Nothing: as much as the log
  // needs, and at most a quarter of what can be had; blocks of 4 MiB for transfers come on top. A
  // checkpoint takes up to a quarter of that, at most a quarter of the log, and 4 MiB at least.
  std::optional<std::uint64_t> recovery_memory_bytes{};
  JournalWatch recovery_watch{};  // For when there is something to recover.
};

}  // namespace quire
