// SPDX-License-Identifier: Apache-2.0
//
// Many small files: opened and summed as a FileSet, against the two loops one would write by hand.
//
//   small_files_bench [--files=20000] [--bytes=1024] [--rounds=15] [--dir=PATH] [--json]
//   small_files_bench --crossover [--rounds=15] [--dir=PATH] [--json]
//
// The files are made first, in directories of a thousand, under a temporary directory of --dir (the
// working directory by default), and removed at the end. Everything is warm: the page cache, and
// the kernel's cache of names; the number of system calls and page faults should bind. Limits:
// at least 2 times faster than open, fstat, mmap, touch, munmap, close of
// each; at most 1.15 times a bare open, read, close of each by its full path; at most 1.2 times the
// files' bytes held when all are open.
//
// --crossover measures the same set read and mapped, for each size of file: where mapping becomes
// the cheaper one is the threshold of FileSetOptions::read_bytes_max.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/map/file_set.h"

namespace quire::bench {
namespace {

constexpr std::size_t kFilesPerDirectory = 1000;
constexpr double kMapRatioMin = 2.0;
constexpr double kReadRatioMax = 1.15;
constexpr double kHeldRatioMax = 1.2;

// Every byte, eight at a time: what "summed" means for all contenders.
std::uint64_t sum(const std::byte* first, std::size_t size_bytes) {
  std::uint64_t total = 0;
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= size_bytes; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, first + at, sizeof word);
    total += word;
  }
  for (; at < size_bytes; ++at) {
    total += std::to_integer<std::uint64_t>(first[at]);
  }
  return total;
}

// A tree of equal files, removed at the end.
class FileTree {
 public:
  FileTree(const std::string& parent, std::size_t files, std::size_t size_bytes)
      : root_(parent + "/quire-small-files-XXXXXX") {
    QUIRE_CHECK(mkdtemp(root_.data()) != nullptr);
    const std::string content(size_bytes, 'q');
    for (std::size_t i = 0; i < files; ++i) {
      const std::string directory = fmt::format("{}/{:03}", root_, i / kFilesPerDirectory);
      if (i % kFilesPerDirectory == 0) {
        std::filesystem::create_directory(directory);
      }
      paths.push_back(fmt::format("{}/{:05}", directory, i));
      std::ofstream(paths.back(), std::ios::binary) << content;
    }
  }
  ~FileTree() { std::filesystem::remove_all(root_); }
  FileTree(const FileTree&) = delete;
  FileTree& operator=(const FileTree&) = delete;

  std::vector<std::string> paths;

 private:
  std::string root_;
};

std::uint64_t sum_by_mapping(const std::vector<std::string>& paths) {
  std::uint64_t total = 0;
  for (const std::string& path : paths) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    QUIRE_CHECK_EQ(fstat(fd, &status), 0);
    const auto size_bytes = static_cast<std::size_t>(status.st_size);
    void* address = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    QUIRE_CHECK(address != MAP_FAILED);
    total += sum(static_cast<const std::byte*>(address), size_bytes);
    munmap(address, size_bytes);
    close(fd);
  }
  return total;
}

std::uint64_t sum_by_reading(const std::vector<std::string>& paths,
                             std::vector<std::byte>& buffer) {
  std::uint64_t total = 0;
  for (const std::string& path : paths) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    QUIRE_CHECK_GE(got, 0);
    total += sum(buffer.data(), static_cast<std::size_t>(got));
    close(fd);
  }
  return total;
}

std::uint64_t sum_of(const FileSet& set) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    const std::span<const std::byte> bytes = set.file(i).bytes().value();
    total += sum(bytes.data(), bytes.size());
  }
  return total;
}

std::uint64_t sum_by_set(const std::vector<std::string>& paths, const FileSetOptions& options) {
  FileSet set = FileSet::open(paths, options).value();
  const std::uint64_t total = sum_of(set);
  QUIRE_CHECK(set.close().has_value());
  return total;
}

// Private memory of this process, as the kernel counts it.
std::uint64_t anonymous_bytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("RssAnon:")) {
      return std::strtoull(line.c_str() + std::strlen("RssAnon:"), nullptr, 10) * 1024;
    }
  }
  return 0;
}

nlohmann::json held(const std::vector<std::string>& paths, std::uint64_t content_bytes) {
  const std::uint64_t before = anonymous_bytes();
  const FileSet set = FileSet::open(paths).value();
  const std::uint64_t measured = anonymous_bytes() - before;
  const auto share = [&](std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(content_bytes);
  };
  const FileSetStats& stats = set.stats();
  return {{"content_bytes", content_bytes},
          {"held_bytes", stats.held_bytes()},
          {"measured_bytes", measured},
          {"held_ratio", share(stats.held_bytes())},
          {"measured_ratio", share(measured)},
          {"calls",
           {{"open", stats.open_calls},
            {"lseek", stats.seek_calls},
            {"fstat", stats.status_calls},
            {"read", stats.read_calls},
            {"close", stats.close_calls},
            {"memory", stats.memory_calls}}}};
}

std::string working_directory(const Arguments& arguments) {
  return arguments.text("dir", std::filesystem::current_path().string());
}

int compare(const Arguments& arguments) {
  const std::size_t files = arguments.number("files", 20'000);
  const std::size_t size_bytes = arguments.number("bytes", 1024);
  const std::size_t rounds = arguments.number("rounds", 15);
  const FileTree tree(working_directory(arguments), files, size_bytes);
  std::vector<std::byte> buffer(size_bytes + 1);
  const std::uint64_t expected = sum_by_reading(tree.paths, buffer);
  // Measured first: afterwards the allocator has memory of the rounds to hand.
  const nlohmann::json memory = held(tree.paths, files * size_bytes);
  std::vector<Contender> contenders{
      {.name = "file set", .run = [&] { QUIRE_CHECK_EQ(sum_by_set(tree.paths, {}), expected); }},
      {.name = "open, fstat, mmap, touch, munmap, close",
       .run = [&] { QUIRE_CHECK_EQ(sum_by_mapping(tree.paths), expected); }},
      {.name = "open, read, close",
       .run = [&] { QUIRE_CHECK_EQ(sum_by_reading(tree.paths, buffer), expected); }}};
  run_interleaved(contenders, rounds);

  const auto& [set, mapping, reading] = std::tie(contenders[0], contenders[1], contenders[2]);
  const Samples map_ratio = ratio(mapping.seconds, set.seconds);
  const Samples read_ratio = ratio(set.seconds, reading.seconds);
  const Samples map_cpu_ratio = ratio(mapping.cpu_seconds, set.cpu_seconds);
  const Samples read_cpu_ratio = ratio(set.cpu_seconds, reading.cpu_seconds);
  const double held_ratio =
      std::max(memory["held_ratio"].get<double>(), memory["measured_ratio"].get<double>());
  const bool is_kept = map_ratio.median() >= kMapRatioMin && read_ratio.median() <= kReadRatioMax &&
                       held_ratio <= kHeldRatioMax;
  nlohmann::json report{{"benchmark", "small_files"},
                        {"files", files},
                        {"bytes_per_file", size_bytes},
                        {"times_faster_than_mmap", map_ratio.to_json()},
                        {"times_of_bare_read", read_ratio.to_json()},
                        {"times_less_cpu_than_mmap", map_cpu_ratio.to_json()},
                        {"times_cpu_of_bare_read", read_cpu_ratio.to_json()},
                        {"memory", memory},
                        {"within_limits", is_kept},
                        {"machine", machine_facts(working_directory(arguments))}};
  for (const Contender& contender : contenders) {
    report["seconds"][contender.name] = contender.seconds.to_json();
    report["cpu_seconds"][contender.name] = contender.cpu_seconds.to_json();
  }
  if (arguments.has("json")) {
    fmt::print("{}\n", report.dump(2));
    return is_kept ? 0 : 1;
  }
  fmt::print("{} files of {} bytes, {} rounds, warm\n", files, size_bytes, rounds);
  for (const Contender& contender : contenders) {
    const double to_us = 1e6 / static_cast<double>(files);
    fmt::print("  {:<42} {:6.2f} us per file  spread {:4.1f} %  cpu {:6.2f} us\n", contender.name,
               contender.seconds.median() * to_us, contender.seconds.spread() * 100,
               contender.cpu_seconds.median() * to_us);
  }
  fmt::print("  {:.2f} times faster than mmap of each (spread {:.1f} %, cpu {:.2f}; limit {})\n",
             map_ratio.median(), map_ratio.spread() * 100, map_cpu_ratio.median(), kMapRatioMin);
  fmt::print("  {:.2f} times the bare loop (spread {:.1f} %, cpu {:.2f}; limit {})\n",
             read_ratio.median(), read_ratio.spread() * 100, read_cpu_ratio.median(),
             kReadRatioMax);
  fmt::print("  holds {:.3f} times the content, {:.3f} by the kernel's count (limit {})\n",
             memory["held_ratio"].get<double>(), memory["measured_ratio"].get<double>(),
             kHeldRatioMax);
  fmt::print("machine: {}\n", report["machine"].dump());
  return is_kept ? 0 : 1;
}

// As many files as make 64 MiB, between 200 and 5000.
std::size_t files_for(std::uint64_t size_bytes) {
  return std::clamp<std::size_t>(64_MiB / size_bytes, 200, 5000);
}

int crossover(const Arguments& arguments) {
  const std::size_t rounds = arguments.number("rounds", 15);
  nlohmann::json rows = nlohmann::json::array();
  for (std::uint64_t size_bytes = 256; size_bytes <= 1_MiB; size_bytes *= 2) {
    const std::size_t files = files_for(size_bytes);
    const FileTree tree(working_directory(arguments), files, size_bytes);
    const FileSetOptions read{.read_bytes_max = kToEnd};
    const FileSetOptions map{.read_bytes_max = 0};
    std::vector<Contender> contenders{
        {.name = "read", .run = [&] { keep(sum_by_set(tree.paths, read)); }},
        {.name = "map", .run = [&] { keep(sum_by_set(tree.paths, map)); }}};
    run_interleaved(contenders, rounds);
    const double to_us = 1e6 / static_cast<double>(files);
    rows.push_back(
        {{"bytes_per_file", size_bytes},
         {"files", files},
         {"read_us", contenders[0].cpu_seconds.median() * to_us},
         {"map_us", contenders[1].cpu_seconds.median() * to_us},
         {"read_over_map", ratio(contenders[0].cpu_seconds, contenders[1].cpu_seconds).to_json()}});
  }
  const nlohmann::json report{{"benchmark", "small_files_crossover"},
                              {"rows", rows},
                              {"machine", machine_facts(working_directory(arguments))}};
  if (arguments.has("json")) {
    fmt::print("{}\n", report.dump(2));
    return 0;
  }
  fmt::print("{:>10}  {:>11}  {:>11}  {:>9}\n", "bytes", "read cpu us", "map cpu us", "read/map");
  for (const nlohmann::json& row : rows) {
    fmt::print("{:>10}  {:>11.2f}  {:>11.2f}  {:>9.2f}\n", row["bytes_per_file"].get<std::size_t>(),
               row["read_us"].get<double>(), row["map_us"].get<double>(),
               row["read_over_map"]["median"].get<double>());
  }
  fmt::print("machine: {}\n", report["machine"].dump());
  return 0;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {{"crossover", "read against mapped, for each size of file"},
       {"files=N", "how many files"},
       {"bytes=N", "length of each"},
       quire::bench::kRounds,
       quire::bench::kDirectory});
  return arguments.has("crossover") ? quire::bench::crossover(arguments)
                                    : quire::bench::compare(arguments);
}
