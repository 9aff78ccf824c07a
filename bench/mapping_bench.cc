// SPDX-License-Identifier: Apache-2.0
//
// What a Mapping costs over the raw system calls. Two questions, each with its bound:
//
//   walk   a warm mapped file, summed through bytes() and through a raw mmap of the same file:
//          the same loop; the pointer is all there is                        at most 1.02
//   open   open + map + unmap + close of a small file against openat, fstat, mmap, munmap, close:
//          the same five system calls, one allocation for the path           at most 1.15
//
//   mapping_bench [--json] [--rounds=N] [--dir=D]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "quire/map/writable_mapping.h"

namespace quire::bench {
namespace {

constexpr std::uint64_t kWalkBytes = 64 << 20;  // Past every cache, so that memory speed binds.
constexpr int kOpensPerRound = 20'000;

// A loop that the compiler vectorises the same way for both: they share this very function.
[[gnu::noinline]] std::uint64_t sum(std::span<const std::byte> bytes) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    total += word;
  }
  return total;
}

std::string make_file(const std::string& dir, std::uint64_t size_bytes) {
  const std::string path = fmt::format("{}/mapping_bench.{}.{}", dir, getpid(), size_bytes);
  auto map =
      quire::map(path, {.access = Access::kReadWrite, .create = true, .minimum_bytes = size_bytes});
  if (!map) {
    fmt::print(stderr, "{}\n", map.error().message());
    std::exit(EXIT_FAILURE);
  }
  std::uint64_t value = 1;
  const std::span<std::uint64_t> words = map->as<std::uint64_t>().value();
  for (std::uint64_t& word : words) {
    word = value *= 0x9e3779b97f4a7c15;
  }
  return path;
}

// The five system calls, as anybody would write them.
std::span<const std::byte> raw_map(const char* path, int& fd) {
  fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status{};
  fstat(fd, &status);
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  return {static_cast<const std::byte*>(address), size};
}

void raw_unmap(std::span<const std::byte> bytes, int fd) {
  munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
  close(fd);
}

struct Figure {
  std::string name;
  double bound;
  std::vector<Contender> contenders;  // Ours, then the raw system calls.
};

Figure walk_figure(std::span<const std::byte> raw, const Mapping& map) {
  return {.name = "walk through bytes() / raw mmap",
          .bound = 1.02,
          .contenders = {{.name = "quire", .run = [&map] { keep(sum(map.bytes())); }},
                         {.name = "raw", .run = [raw] { keep(sum(raw)); }}}};
}

Figure open_figure(const std::string& path) {
  return {.name = "open + map + unmap + close / raw system calls",
          .bound = 1.15,
          .contenders = {{.name = "quire",
                          .run =
                              [path] {
                                for (int i = 0; i < kOpensPerRound; ++i) {
                                  const auto map = quire::map(path);
                                  keep(map->bytes().data());
                                }
                              }},
                         {.name = "raw", .run = [path] {
                            for (int i = 0; i < kOpensPerRound; ++i) {
                              int fd = -1;
                              const auto bytes = raw_map(path.c_str(), fd);
                              keep(bytes.data());
                              raw_unmap(bytes, fd);
                            }
                          }}}};
}

nlohmann::json report(Figure& figure, bool as_text) {
  const Samples wall = ratio(figure.contenders[0].seconds, figure.contenders[1].seconds);
  const Samples cpu = ratio(figure.contenders[0].cpu_seconds, figure.contenders[1].cpu_seconds);
  if (as_text) {
    fmt::print("{:<48} {:.3f} (spread {:.1f} %), CPU {:.3f}; at most {:.2f}: {}\n", figure.name,
               wall.median(), 100 * wall.spread(), cpu.median(), figure.bound,
               wall.median() <= figure.bound ? "reached" : "MISSED");
  }
  return {{"figure", figure.name},
          {"ratio", wall.to_json()},
          {"cpu_ratio", cpu.to_json()},
          {"bound", figure.bound},
          {"reached", wall.median() <= figure.bound}};
}

int run(const Arguments& arguments) {
  const std::string dir = arguments.text("dir", ".");
  const auto rounds = static_cast<std::size_t>(arguments.number("rounds", 31));
  const std::string large = make_file(dir, kWalkBytes);
  const std::string small = make_file(dir, 8192);
  int fd = -1;
  const auto raw = raw_map(large.c_str(), fd);
  const Mapping map = quire::map(large).value();
  keep(sum(raw) + sum(map.bytes()));  // Both page tables are filled before the first round.

  std::vector<Figure> figures;
  figures.push_back(walk_figure(raw, map));
  figures.push_back(open_figure(small));
  nlohmann::json document{{"machine", machine_facts(dir)}, {"figures", nlohmann::json::array()}};
  const bool as_text = !arguments.has("json");
  for (Figure& figure : figures) {
    run_interleaved(figure.contenders, rounds);
    document["figures"].push_back(report(figure, as_text));
  }
  raw_unmap(raw, fd);
  unlink(large.c_str());
  unlink(small.c_str());
  if (!as_text) {
    fmt::print("{}\n", document.dump(2));
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  return quire::bench::run({argc, argv, {quire::bench::kDirectory, quire::bench::kRounds}});
}
