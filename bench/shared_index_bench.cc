// SPDX-License-Identifier: Apache-2.0
//
// One index file under several processes: what sharing the page cache is worth.
//
//   mapped    each process maps the file (quire::map, Advice::kRandom) and searches it in place
//   copied    each process reads the file into memory of its own first, as one does without mapping
//
// Every process answers the same binary searches; the file is warm, so that memory and not the disk
// binds. Reported per contender: the time until all processes are done, and the memory that the
// kernel keeps for each of them alone (Private_Dirty of smaps_rollup, the largest of the
// processes).
//
//   shared_index_bench [--json] [--dir=D] [--size-mib=N] [--processes=N] [--queries=N] [--rounds=N]
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/file.h"
#include "quire/sys/proc_files.h"

namespace quire::bench {
namespace {

struct Plan {
  std::string path;
  std::uint64_t key_count = 0;
  std::uint64_t processes = 0;
  std::uint64_t queries = 0;
};

using Keys = std::span<const std::uint64_t>;

std::uint64_t search(Keys keys, std::uint64_t queries) {
  std::uint64_t random = 1;
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < queries; ++i) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    const std::uint64_t wanted = (random >> 20) % (2 * keys.size());
    hits += std::ranges::binary_search(keys, wanted);
  }
  return hits;
}

// Memory that exists for this process alone. (Clean pages are the page cache's, there for
// everybody, even while only one process happens to have them in its page tables.)
std::uint64_t private_bytes() {
  constexpr std::string_view kKey = "Private_Dirty:";
  const auto text = sys::read_proc_file("/proc/self/smaps_rollup");
  const std::size_t at = text ? text->find(kKey) : std::string::npos;
  return at == std::string::npos
             ? 0
             : std::strtoull(text->c_str() + at + kKey.size(), nullptr, 10) << 10;
}

std::uint64_t search_mapped(const Plan& plan) {
  const Mapping map = quire::map(plan.path).value();
  static_cast<void>(map.advise(kWholeFile, Advice::kRandom));
  const std::uint64_t hits = search(map.as<std::uint64_t>().value(), plan.queries);
  return hits == 0 ? 0 : private_bytes();
}

std::uint64_t search_copied(const Plan& plan) {
  const auto file = sys::open_file(plan.path.c_str(), {}).value();
  std::vector<std::uint64_t> keys(plan.key_count);
  const auto got = sys::read_at(file.get(), std::as_writable_bytes(std::span(keys)), 0);
  const std::uint64_t hits = got ? search(keys, plan.queries) : 0;
  return hits == 0 ? 0 : private_bytes();
}

// Runs the work in every process at once; the largest private memory that one of them reported.
std::uint64_t run_processes(const Plan& plan, std::uint64_t (*work)(const Plan&)) {
  WritableMapping reports = map_anonymous({.size_bytes = plan.processes * sizeof(std::uint64_t),
                                           .sharing = Sharing::kShared})
                                .value();
  const std::span<std::uint64_t> held = reports.as<std::uint64_t>().value();
  for (std::uint64_t i = 0; i < plan.processes; ++i) {
    if (fork() == 0) {
      held[i] = work(plan);
      _exit(held[i] == 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    }
  }
  int status = 0;
  while (wait(&status) > 0) {
    if (status != 0) {
      fmt::print(stderr, "a process failed\n");
      std::exit(EXIT_FAILURE);
    }
  }
  return *std::ranges::max_element(held);
}

void build_index(const Plan& plan) {
  WritableMapping map = quire::map(plan.path, {.access = Access::kReadWrite,
                                               .create = true,
                                               .minimum_bytes = plan.key_count * 8})
                            .value();
  std::uint64_t key = 0;
  const std::span<std::uint64_t> slots = map.as<std::uint64_t>().value();
  for (std::uint64_t& slot : slots) {
    slot = key;
    key += 2;
  }
  map.flush().value();  // Dirty pages would count as somebody's own.
}

int run(const Arguments& arguments) {
  const Plan plan{
      .path = fmt::format("{}/shared_index_bench.{}", arguments.text("dir", "."), getpid()),
      .key_count = arguments.number("size-mib", 256) << 17,
      .processes = arguments.number("processes", 4),
      .queries = arguments.number("queries", 200'000)};
  build_index(plan);
  std::uint64_t mapped_bytes = 0;
  std::uint64_t copied_bytes = 0;
  std::vector<Contender> contenders{
      {.name = "mapped", .run = [&] { mapped_bytes = run_processes(plan, search_mapped); }},
      {.name = "copied", .run = [&] { copied_bytes = run_processes(plan, search_copied); }}};
  run_interleaved(contenders, static_cast<std::size_t>(arguments.number("rounds", 7)));
  unlink(plan.path.c_str());
  const Samples time = ratio(contenders[0].seconds, contenders[1].seconds);
  const double memory = static_cast<double>(mapped_bytes) / static_cast<double>(copied_bytes);
  if (arguments.has("json")) {
    const nlohmann::json document{{"machine", machine_facts(".")},
                                  {"mapped_seconds", contenders[0].seconds.to_json()},
                                  {"copied_seconds", contenders[1].seconds.to_json()},
                                  {"time_ratio", time.to_json()},
                                  {"mapped_private_bytes", mapped_bytes},
                                  {"copied_private_bytes", copied_bytes},
                                  {"private_memory_ratio", memory}};
    fmt::print("{}\n", document.dump(2));
    return EXIT_SUCCESS;
  }
  fmt::print("{} processes, {} queries each, one index of {}, warm\n", plan.processes, plan.queries,
             human_bytes(plan.key_count * 8));
  fmt::print("  mapped   {:7.3f} s   {} private to a process\n", contenders[0].seconds.median(),
             human_bytes(mapped_bytes));
  fmt::print("  copied   {:7.3f} s   {} private to a process\n", contenders[1].seconds.median(),
             human_bytes(copied_bytes));
  fmt::print("  mapped / copied: time {:.2f} (spread {:.1f} %), private memory {:.4f}\n",
             time.median(), 100 * time.spread(), memory);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  return quire::bench::run({argc,
                            argv,
                            {quire::bench::kDirectory,
                             {"size-mib=N", "length of the index"},
                             {"processes=N", "that search it"},
                             {"queries=N", "of each process"},
                             quire::bench::kRounds}});
}
