// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/journal_workload_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quire/journal/journaled_store.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kPageBytes = kWorkloadPageBytes;
constexpr std::uint64_t kPagesMax = 10;

}  // namespace

JournalWorkload::JournalWorkload(Prng& random, Contents first, Opener opener, Told told)
    : random_(random), opener_(std::move(opener)), told_(std::move(told)) {
  generations_.push_back(std::move(first));
  open();
}

void JournalWorkload::open() {
  journal_.reset();
  journal_ = opener_();
  now_ = generations_.back();
}

void JournalWorkload::work(int steps) {
  for (int i = 0; i < steps; ++i) {
    step();
  }
}

void JournalWorkload::step() {
  const std::uint64_t choice = random_.below(20);
  if (choice < 9) {
    write_pages();
  } else if (choice < 15) {
    commit();
  } else if (choice < 16) {
    rollback({random_.below(kWorkloadFiles)});
  } else if (choice < 17) {
    const std::size_t file = random_.below(kWorkloadFiles);
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

void JournalWorkload::rollback(std::vector<std::size_t> files) {
  journal_->rollback(files).value();
  for (const std::size_t file : files) {
    now_[file] = generations_.back()[file];
  }
}

void JournalWorkload::write_pages() {
  const std::size_t file = random_.below(kWorkloadFiles);
  const std::uint64_t first = random_.below(kPagesMax);
  const std::uint64_t count = 1 + random_.below(std::min<std::uint64_t>(3, kPagesMax - first));
  std::vector<std::byte> bytes(count * kPageBytes - (random_.below(4) == 0 ? 1000 : 0));
  const std::uint64_t word = random_();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
  }
  const std::uint64_t offset = first * kPageBytes;
  if (!journal_->file(file).write(offset, bytes)) {
    rollback({0, 1});  // Too much is uncommitted.
    return;
  }
  std::vector<std::byte>& content = now_[file];
  content.resize(std::max<std::uint64_t>(content.size(), offset + bytes.size()));
  std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(offset));
}

void JournalWorkload::commit() {
  std::vector<std::size_t> files{0, 1};
  if (random_.below(2) == 0) {
    files = {random_.below(kWorkloadFiles)};
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
  const bool is_async = random_.below(4) == 0;
  const bool is_committed = is_async ? journal_->commit_async(commits).value().wait().has_value()
                                     : journal_->commit(commits).has_value();
  if (!is_committed) {
    rollback({0, 1});
    return;
  }
  for (const std::size_t file : files) {
    now_[file] = after[file];
  }
  generations_.push_back(std::move(after));
  told_(generations_.size() - 1);
}

std::string JournalWorkload::judge(const Contents& files, std::uint64_t generation) const {
  for (std::uint64_t g = generation;
       g < std::min<std::uint64_t>(generation + 2, generations_.size()); ++g) {
    if (files == generations_[g]) {
      return "";
    }
  }
  // What is wrong with it, seen from the next one.
  const Contents& wanted =
      generations_[std::min<std::uint64_t>(generation + 1, generations_.size() - 1)];
  std::string text = fmt::format("neither generation {} nor the next", generation);
  for (std::size_t file = 0; file < files.size(); ++file) {
    const auto [seen, expected] = std::ranges::mismatch(files[file], wanted[file]);
    if (seen != files[file].end() || expected != wanted[file].end()) {
      text += fmt::format("; file {}: {} bytes instead of {}, wrong from {} on", file,
                          files[file].size(), wanted[file].size(), seen - files[file].begin());
    }
  }
  return text;
}

}  // namespace quire::internal
