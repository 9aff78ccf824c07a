// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/crash_search_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "quire/base/check.h"
#include "quire/journal/internal/recovery.h"
#include "quire/journal/journaled_store.h"
#include "quire/testing/slow_store.h"

namespace quire::internal {
namespace {

using testing::CrashDisk;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::size_t kFiles = 2;
constexpr std::uint64_t kPagesMax = 10;

const JournalOptions kOptions{.page_bytes = kPageBytes,
                              .log_bytes = 128 * 1024,
                              .checkpointing = Checkpointing::kOnDemand,
                              .full_wait_max = std::chrono::milliseconds(0)};

CrashDisk::Contents first_contents() {
  testing::MemoryStore log;
  Journal::format(log, JournalUuid{std::byte{7}}, kOptions).value();
  CrashDisk::Contents contents{log.image()};
  for (std::size_t file = 0; file < kFiles; ++file) {
    contents.emplace_back(3 * kPageBytes + 100 * file, std::byte{1});
  }
  return contents;
}

JournalParts parts_of(CrashDisk& disk, bool has_durable_log) {
  JournalParts parts{.log = disk.store(0), .durable_log = nullptr, .files = {}, .guard = nullptr};
  if (has_durable_log) {
    parts.durable_log = disk.durable_store(0);
  }
  for (std::size_t file = 0; file < kFiles; ++file) {
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
    : options_(options), random_(options.seed), disk_(first_contents(), options.disk) {
  now_ = files_of(disk_);
  generations_.push_back(now_);
  open();
  work();
  journal_.reset();
}

void CrashSearch::open() {
  journal_.reset();
  journal_ = Journal::open(parts_of(disk_, options_.has_durable_log), kOptions).value();
  now_ = generations_.back();
}

void CrashSearch::work() {
  for (int i = 0; i < options_.steps; ++i) {
    step();
  }
}

void CrashSearch::step() {
  const std::uint64_t choice = random_.below(20);
  if (choice < 9) {
    write_pages();
  } else if (choice < 15) {
    commit();
  } else if (choice < 16) {
    roll_back({random_.below(kFiles)});
  } else if (choice < 17) {
    const std::size_t file = random_.below(kFiles);
    const std::uint64_t size = random_.below(kPagesMax * kPageBytes);
    if (journal_->file(file).resize(size)) {
      now_[file].resize(size);
    }
  } else if (choice < 19) {
    journal_->checkpoint().value();
  } else {
    if (random_.below(2) == 0) {
      journal_->close().value();
    }
    open();
  }
}

void CrashSearch::roll_back(std::vector<std::size_t> files) {
  journal_->roll_back(files).value();
  for (const std::size_t file : files) {
    now_[file] = generations_.back()[file];
  }
}

void CrashSearch::write_pages() {
  const std::size_t file = random_.below(kFiles);
  const std::uint64_t first = random_.below(kPagesMax);
  const std::uint64_t count = 1 + random_.below(std::min<std::uint64_t>(3, kPagesMax - first));
  std::vector<std::byte> bytes(count * kPageBytes - (random_.below(4) == 0 ? 1000 : 0));
  const std::uint64_t word = random_();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
  }
  const std::uint64_t offset = first * kPageBytes;
  if (!journal_->file(file).write(offset, bytes)) {
    roll_back({0, 1});  // Too much is uncommitted.
    return;
  }
  std::vector<std::byte>& content = now_[file];
  content.resize(std::max<std::uint64_t>(content.size(), offset + bytes.size()));
  std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(offset));
}

void CrashSearch::commit() {
  std::vector<std::size_t> files{0, 1};
  if (random_.below(2) == 0) {
    files = {random_.below(kFiles)};
  }
  // Now and then with images of its own.
  const std::uint64_t page = random_.below(kPagesMax);
  const std::vector<std::byte> bytes(kPageBytes, static_cast<std::byte>(random_()));
  const PageImages images{.offset_bytes = page * kPageBytes, .bytes = bytes};
  const bool has_image = now_[files[0]].size() >= (page + 1) * kPageBytes && random_.below(2) == 0;
  std::vector<FileCommit> commits;
  for (const std::size_t file : files) {
    commits.push_back({.file = file});
  }
  if (has_image) {
    commits[0].images = {&images, 1};
  }
  Contents after = generations_.back();
  for (const std::size_t file : files) {
    after[file] = now_[file];
  }
  if (has_image) {
    std::ranges::copy(bytes,
                      after[files[0]].begin() + static_cast<std::ptrdiff_t>(page * kPageBytes));
  }
  if (!journal_->commit(commits)) {
    roll_back({0, 1});
    return;
  }
  for (const std::size_t file : files) {
    now_[file] = after[file];
  }
  generations_.push_back(std::move(after));
  disk_.mark(generations_.size() - 1);
}

std::string CrashSearch::judge(const Contents& files, std::uint64_t mark) const {
  for (std::uint64_t g = mark; g < std::min<std::uint64_t>(mark + 2, generations_.size()); ++g) {
    if (files == generations_[g]) {
      return "";
    }
  }
  // What is wrong with it, seen from the next one.
  const Contents& wanted = generations_[std::min<std::uint64_t>(mark + 1, generations_.size() - 1)];
  std::string text = fmt::format("neither generation {} nor the next", mark);
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto [seen, expected] = std::ranges::mismatch(files[file], wanted[file]);
    if (seen != files[file].end() || expected != wanted[file].end()) {
      text += fmt::format("; file {}: {} bytes instead of {}, wrong from {} on", file,
                          files[file].size(), wanted[file].size(), seen - files[file].begin());
    }
  }
  return text;
}

std::string CrashSearch::recover_and_judge(CrashDisk& disk, std::uint64_t mark) const {
  const std::shared_ptr<Store> log = disk.store(0);
  const Result<Superblock> superblock = read_superblock(*log);
  if (!superblock) {
    return superblock.error().message();
  }
  const Result<Replay> replay = Replay::read(*log, *superblock, options_.verification);
  if (!replay) {
    return replay.error().message();
  }
  const std::vector<std::shared_ptr<Store>> stores{disk.store(1), disk.store(2)};
  const std::vector<Store*> files{stores[0].get(), stores[1].get()};
  if (!superblock->is_clean) {
    if (const auto applied = replay->apply(*log, files); !applied) {
      return applied.error().message();
    }
  }
  return judge(files_of(disk), mark);
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
      const auto opened = Journal::open(parts_of(crashed, options_.has_durable_log), kOptions);
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
