// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/recorded_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "quire/base/check.h"

namespace quire::testing {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;

int open_or_die(const std::string& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC, 0600);
  QUIRE_CHECK(file >= 0);
  return file;
}

void write_all(int file, const char* from, std::size_t length, std::uint64_t at) {
  QUIRE_CHECK_EQ(pwrite(file, from, length, static_cast<off_t>(at)), static_cast<ssize_t>(length));
}

// Holes stay holes: images are mostly empty.
void copy_data(int from, int to) {
  std::vector<char> buffer(1024 * 1024);
  for (off_t at = 0; (at = lseek(from, at, SEEK_DATA)) >= 0;) {
    const off_t end = lseek(from, at, SEEK_HOLE);
    while (at < end) {
      const auto step = std::min(buffer.size(), static_cast<std::size_t>(end - at));
      QUIRE_CHECK_EQ(pread(from, buffer.data(), step, at), static_cast<ssize_t>(step));
      write_all(to, buffer.data(), step, static_cast<std::uint64_t>(at));
      at += static_cast<off_t>(step);
    }
  }
}

}  // namespace

RecordedDisk::RecordedDisk(const TempDir& directory, const std::string& plugin,
                           const std::string& image)
    : record_path_(directory.write("record", "")), path_(directory.file("recorded_disk")) {
  if (plugin.empty()) {
    problem_ = "nbdkit-plugin-dev: not installed when this was built";
    return;
  }
  record_ = open_or_die(record_path_, O_WRONLY | O_APPEND);
  file_.emplace(path_,
                std::vector<std::string>{plugin, "image=" + image, "record=" + record_path_});
  problem_ = file_->problem();
}

RecordedDisk::~RecordedDisk() {
  close(record_);
}

void RecordedDisk::mark(std::uint64_t value) const {
  const BlockEntry entry{.event = BlockEvent::kMark, .length_bytes = 0, .at = value};
  QUIRE_CHECK_EQ(write(record_, &entry, sizeof(entry)), static_cast<ssize_t>(sizeof(entry)));
}

DiskHistory::DiskHistory(const std::string& image, const std::string& record, FlushMemory flushes)
    : image_(open_or_die(image, O_RDWR)), flushes_(flushes), record_(read_file(record)) {
  for (std::size_t at = 0; at < record_.size();) {
    Entry entry;
    std::memcpy(&entry.entry, record_.data() + at, sizeof(BlockEntry));
    entry.bytes_at = at + sizeof(BlockEntry);
    at = entry.bytes_at + entry.entry.length_bytes;
    QUIRE_CHECK_LE(at, record_.size());
    entries_.push_back(entry);
  }
}

DiskHistory::~DiskHistory() {
  close(image_);
}

bool DiskHistory::advance() {
  while (next_ < entries_.size() && entries_[next_].entry.event == BlockEvent::kMark) {
    mark_ = entries_[next_++].entry.at;
  }
  if (next_ == entries_.size()) {
    return false;
  }
  const Entry& entry = entries_[next_++];
  if (entry.entry.event == BlockEvent::kWrite) {
    pending_.push_back(entry);
  } else if (flushes_ == FlushMemory::kHonest) {
    for (const Entry& write : pending_) {
      apply(image_, write);
    }
    pending_.clear();
  }
  return true;
}

std::size_t DiskHistory::count(BlockEvent event) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      entries_, [event](const Entry& entry) { return entry.entry.event == event; }));
}

std::string DiskHistory::where() const {
  return "entry " + std::to_string(next_) + " of " + std::to_string(entries_.size()) + ", " +
         std::to_string(pending_.size()) + " writes since the flush";
}

void DiskHistory::make_image(const std::string& path, BlockLoss loss, Prng& random) const {
  const int image = open_or_die(path, O_RDWR | O_CREAT | O_TRUNC);
  struct stat status{};
  QUIRE_CHECK_EQ(fstat(image_, &status), 0);
  QUIRE_CHECK_EQ(ftruncate(image, status.st_size), 0);
  copy_data(image_, image);
  for (const Entry& write : pending_) {
    apply_in_part(image, write, loss, random);
  }
  close(image);
}

void DiskHistory::apply(int image, const Entry& entry) const {
  write_all(image, record_.data() + entry.bytes_at, entry.entry.length_bytes, entry.entry.at);
}

void DiskHistory::apply_in_part(int image, const Entry& entry, BlockLoss loss, Prng& random) const {
  if (loss == BlockLoss::kNothing || (loss == BlockLoss::kWrites && random.below(2) == 0)) {
    apply(image, entry);
  }
  if (loss != BlockLoss::kBlocks) {
    return;
  }
  // Some writes are there but for a piece or two, some hardly at all.
  const std::uint64_t odds = 1 + random.below(16);
  for (std::uint64_t done = 0; done < entry.entry.length_bytes;) {
    const std::uint64_t at = entry.entry.at + done;
    const std::uint64_t step =
        std::min(kBlockBytes - at % kBlockBytes, entry.entry.length_bytes - done);
    if (random.below(16) < odds) {
      write_all(image, record_.data() + entry.bytes_at + done, step, at);
    }
    done += step;
  }
}

}  // namespace quire::testing
