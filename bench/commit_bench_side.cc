// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

// Of /sys/dev/block/MAJOR:MINOR/stat; the last one since Linux 5.5.
constexpr std::size_t kWrittenSectorsField = 6;
constexpr std::size_t kFlushesField = 15;
constexpr std::uint64_t kSectorBytes = 512;

// A product in the race. Its file is made in the first turn, which does not count.
class MemoryEntrant {
 public:
  MemoryEntrant(const CommitSetting& setting, const MemoryProduct& product,
                std::uint64_t size_bytes, MemoryTurn what)
      : setting_(setting), product_(product), size_bytes_(size_bytes), turn_(what) {}

  [[nodiscard]] Side side() {
    return {.name = product_.name, .run = [this] { return run(); }, .is_apart = false};
  }

  // After one more turn, in which nothing is put in order, what is in memory is there when the file
  // is opened again.
  void check_and_remove() {
    if (memory_ == nullptr) {
      return;  // Not asked for.
    }
    static_cast<void>(turn());
    const std::vector<std::byte> expected(memory_->bytes().begin(), memory_->bytes().end());
    memory_.reset();
    memory_ = product_.open(path());
    const std::span<const std::byte> found = memory_->bytes();
    QUIRE_CHECK_GE(found.size(), 1U);  // A log that grows is as long as its last turn.
    QUIRE_CHECK(std::ranges::equal(found, std::span(expected).first(found.size())));
    memory_.reset();
    remove_files(setting_, file_name());
  }

 private:
  [[nodiscard]] std::string file_name() const { return product_.name + ".memory"; }
  [[nodiscard]] std::string path() const { return setting_.file(file_name()); }

  nlohmann::json turn() {
    memory_->begin_turn();
    return turn_(setting_, *memory_, round_++);
  }

  nlohmann::json run() {
    if (memory_ == nullptr) {
      write_zeros(path(), size_bytes_);
      memory_ = product_.open(path());
    }
    nlohmann::json found = turn();
    const double settle_seconds = seconds_of([this] { memory_->settle(); });
    found["settle_seconds"] = settle_seconds;
    found["settled_rate"] =
        found["operations"].get<double>() / (found["seconds"].get<double>() + settle_seconds);
    return found;
  }

  const CommitSetting& setting_;
  const MemoryProduct product_;
  const std::uint64_t size_bytes_;
  const MemoryTurn turn_;
  std::uint64_t round_ = 0;
  std::unique_ptr<FileMemory> memory_;
};

}  // namespace

nlohmann::json race_memories(const CommitSetting& setting,
                             const std::vector<MemoryProduct>& products,
                             const std::vector<Figure>& figures, std::uint64_t size_bytes,
                             MemoryTurn turn) {
  std::vector<std::unique_ptr<MemoryEntrant>> entrants;
  std::vector<Side> sides;
  for (const MemoryProduct& product : products) {
    entrants.push_back(std::make_unique<MemoryEntrant>(setting, product, size_bytes, turn));
    sides.push_back(entrants.back()->side());
  }
  nlohmann::json report = race(setting.race, sides, figures, Start::kAny);
  for (const auto& entrant : entrants) {
    entrant->check_and_remove();
  }
  return report;
}

std::optional<DeviceCounts> device_counts(const std::string& directory) {
  struct stat status{};
  QUIRE_CHECK_EQ(::stat(directory.c_str(), &status), 0);
  const std::string device =
      fmt::format("/sys/dev/block/{}:{}", major(status.st_dev), minor(status.st_dev));
  // Flushes are the whole disk's, whatever the partition.
  const bool is_partition = std::filesystem::exists(device + "/partition");
  std::ifstream in(device + (is_partition ? "/../stat" : "/stat"));
  std::vector<std::uint64_t> fields;
  for (std::uint64_t field = 0; in >> field;) {
    fields.push_back(field);
  }
  if (fields.size() <= kFlushesField) {
    return std::nullopt;
  }
  return DeviceCounts{.write_bytes = fields[kWrittenSectorsField] * kSectorBytes,
                      .cache_flushes = fields[kFlushesField]};
}

nlohmann::json CommitMeter::stop(std::uint64_t commits, std::uint64_t operations_each) const {
  nlohmann::json found = meter_.stop(static_cast<double>(commits * operations_each));
  const std::optional<DeviceCounts> device = device_counts(directory_);
  if (device && device_before_) {
    const auto per_commit = [&](std::uint64_t DeviceCounts::* counter) {
      return static_cast<double>((*device).*counter - (*device_before_).*counter) /
             static_cast<double>(commits);
    };
    found["device_write_bytes_per_commit"] = per_commit(&DeviceCounts::write_bytes);
    found["device_flushes_per_commit"] = per_commit(&DeviceCounts::cache_flushes);
  }
  return found;
}

std::optional<nlohmann::json> limit_figure(const nlohmann::json& report, const std::string& side,
                                           const std::string& number, double at_most) {
  const nlohmann::json& sides = report["sides"];
  if (!sides.contains(side) || !sides[side].contains(number)) {
    return std::nullopt;
  }
  Samples samples;
  for (const double value : sides[side][number]["rounds"]) {
    samples.add(value);
  }
  return figure_of(side + ": " + number, samples, at_most, Goal::kAtMost);
}

void write_zeros(const std::string& path, std::uint64_t size_bytes) {
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .create = true, .truncate = true}).value();
  const std::vector<std::byte> block(1_MiB);
  for (std::uint64_t at = 0; at < size_bytes; at += block.size()) {
    const auto length = static_cast<std::size_t>(std::min(size_bytes - at, 1_MiB));
    QUIRE_CHECK(sys::write_at(file.get(), std::span(block).first(length), at).has_value());
  }
  QUIRE_CHECK(sys::sync_all(file.get()).has_value());
}

void remove_files(const CommitSetting& setting, const std::string& prefix) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(setting.race.directory)) {
    if (entry.path().filename().string().starts_with(prefix)) {
      found.push_back(entry.path());
    }
  }
  for (const std::filesystem::path& path : found) {
    std::filesystem::remove(path);
  }
}

}  // namespace quire::bench
