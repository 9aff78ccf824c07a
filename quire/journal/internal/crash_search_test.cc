// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/crash_search_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quire/journal/internal/recovery.h"
#include "quire/testing/slow_store.h"

namespace quire::internal {
namespace {

using testing::CrashDisk;

CrashDisk::Contents first_contents() {
  testing::MemoryStore log;
  Journal::format(log, JournalUuid{std::byte{7}}, kWorkloadOptions).value();
  CrashDisk::Contents contents{log.image()};
  for (std::size_t file = 0; file < kWorkloadFiles; ++file) {
    contents.emplace_back(3 * kWorkloadOptions.page_bytes + 100 * file, std::byte{1});
  }
  return contents;
}

JournalParts parts_of(CrashDisk& disk, bool has_durable_log) {
  JournalParts parts{.log = disk.store(0), .durable_log = nullptr, .files = {}, .guard = nullptr};
  if (has_durable_log) {
    parts.durable_log = disk.durable_store(0);
  }
  for (std::size_t file = 0; file < kWorkloadFiles; ++file) {
    parts.files.push_back(
        {.store = disk.store(1 + file), .identity = {std::byte{1}, static_cast<std::byte>(file)}});
  }
  return parts;
}

CrashDisk::Contents files_of(const CrashDisk& disk) {
  CrashDisk::Contents contents = disk.contents();
  contents.erase(contents.begin());
  return contents;
}

}  // namespace

CrashSearch::CrashSearch(const CrashSearchOptions& options)
    : options_(options),
      random_(options.seed),
      disk_(first_contents(), options.disk),
      workload_(
          random_, files_of(disk_),
          [this] {
            return Journal::open(parts_of(disk_, options_.has_durable_log), kWorkloadOptions)
                .value();
          },
          [this](std::uint64_t generation) { disk_.mark(generation); }) {
  workload_.work(options_.steps);
  workload_.leave();
}

std::string CrashSearch::recover_and_judge(CrashDisk& disk, std::uint64_t mark) const {
  const std::shared_ptr<Store> log = disk.store(0);
  WorkMeter unwatched;
  const Result<Superblock> superblock = read_superblock(*log, unwatched);
  if (!superblock) {
    return superblock.error().message();
  }
  const Result<Replay> replay = Replay::read(*log, *superblock, options_.verification, unwatched);
  if (!replay) {
    return replay.error().message();
  }
  const std::vector<std::shared_ptr<Store>> stores{disk.store(1), disk.store(2)};
  const std::vector<Store*> files{stores[0].get(), stores[1].get()};
  if (!superblock->is_clean) {
    if (const auto applied = replay->apply(*log, files, options_.recovery_memory_bytes, unwatched);
        !applied) {
      return applied.error().message();
    }
  }
  return workload_.judge(files_of(disk), mark);
}

CrashSearch::Contents CrashSearch::some_crash(const CrashDisk::Walk& walk) {
  return walk.crash(static_cast<CrashDisk::Loss>(random_.below(CrashDisk::kLossCount)), random_);
}

std::string CrashSearch::run(std::uint64_t states_max) {
  const std::uint64_t points = 2 * disk_.operation_count();
  const std::uint64_t repeats =
      std::max<std::uint64_t>(states_max / std::max<std::uint64_t>(points, 1), 1);
  for (CrashDisk::Walk walk(disk_); walk.advance();) {
    for (std::uint64_t i = 0; i < repeats; ++i) {
      CrashDisk crashed(some_crash(walk));
      ++states_;
      if (const std::string wrong = recover_and_judge(crashed, walk.mark()); !wrong.empty()) {
        return fmt::format("seed {}, {}: {}", options_.seed, walk.where(), wrong);
      }
    }
  }
  return "";
}

std::string CrashSearch::run_nested(std::uint64_t states_max) {
  const std::uint64_t first = states_;
  while (states_ < first + states_max) {
    for (CrashDisk::Walk walk(disk_); walk.advance() && states_ < first + states_max;) {
      if (random_.below(8) != 0) {
        continue;
      }
      // The whole of opening it, twice, crashed in between at every point.
      CrashDisk crashed(some_crash(walk));
      JournalOptions chosen = kWorkloadOptions;
      chosen.recovery_memory_bytes = options_.recovery_memory_bytes;
      const auto opened = Journal::open(parts_of(crashed, options_.has_durable_log), chosen);
      if (!opened) {
        return opened.error().message();
      }
      for (CrashDisk::Walk inner(crashed); inner.advance();) {
        CrashDisk again(some_crash(inner));
        ++states_;
        if (const std::string wrong = recover_and_judge(again, walk.mark()); !wrong.empty()) {
          return fmt::format("seed {}, {}, then in recovery {}: {}", options_.seed, walk.where(),
                             inner.where(), wrong);
        }
      }
    }
  }
  return "";
}

}  // namespace quire::internal
