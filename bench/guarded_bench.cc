// SPDX-License-Identifier: Apache-2.0
//
// What guarded() costs when nothing goes wrong: a copy of one page out of a warm mapped file, with
// and without it. The limit: 100 ns around a copy of 4 KiB.
//
// Everything is in memory and in the page tables, and one page is copied again and again, so that
// the processor binds: the smallest copy, and so the largest share for the guard.
//
//   guarded_bench [--rounds=N] [--copies=N] [--json]
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/map/guarded.h"

namespace quire::bench {
namespace {

constexpr std::size_t kCopyBytes = 4096;
constexpr double kNanosecondsPerSecond = 1e9;
constexpr double kOverheadNsMax = 100;

// A page of a file, mapped: a memfd is a file like any other to a load.
std::span<const std::byte> map_page() {
  const int fd = memfd_create("guarded_bench", MFD_CLOEXEC);
  QUIRE_CHECK_EQ(ftruncate(fd, kCopyBytes), 0);
  void* address = mmap(nullptr, kCopyBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  QUIRE_CHECK(address != MAP_FAILED);
  std::memset(address, 1, kCopyBytes);
  close(fd);
  return {static_cast<const std::byte*>(address), kCopyBytes};
}

void print_text(const nlohmann::json& report) {
  fmt::print(
      "a copy of {} bytes: plain {:.1f} ns, guarded {:.1f} ns (spread {:.1f} % and {:.1f} %)\n",
      kCopyBytes, report["plain_ns"].get<double>(), report["guarded_ns"].get<double>(),
      100 * report["plain_spread"].get<double>(), 100 * report["guarded_spread"].get<double>());
  fmt::print("the guard adds {:.1f} ns; around nothing it takes {:.1f} ns; limit {} ns: {}\n",
             report["overhead_ns"].get<double>(), report["empty_guard_ns"].get<double>(),
             kOverheadNsMax, report["within_limit"].get<bool>() ? "kept" : "MISSED");
  fmt::print("machine: {}\n", report["machine"].dump());
}

int run(const Arguments& arguments) {
  const std::size_t rounds = arguments.number("rounds", 31);
  const std::size_t copies = arguments.number("copies", 200'000);
  const std::span<const std::byte> page = map_page();
  std::array<std::byte, kCopyBytes> buffer;
  const auto copy = [&] {
    std::memcpy(buffer.data(), page.data(), kCopyBytes);
    keep(buffer);
  };
  const auto repeat = [copies](auto body) {
    return [copies, body] {
      for (std::size_t i = 0; i < copies; ++i) {
        body();
      }
    };
  };
  std::vector<Contender> contenders{
      {.name = "plain", .run = repeat(copy)},
      {.name = "guarded", .run = repeat([&] { QUIRE_CHECK(guarded(page, copy).has_value()); })},
      // Alone, nothing hides the guard's own instructions behind the copy's memory accesses.
      {.name = "empty", .run = repeat([&] { QUIRE_CHECK(guarded(page, [] {}).has_value()); })}};
  run_interleaved(contenders, rounds);
  const double to_ns = kNanosecondsPerSecond / static_cast<double>(copies);
  const double plain_ns = contenders[0].seconds.median() * to_ns;
  const double guarded_ns = contenders[1].seconds.median() * to_ns;
  const nlohmann::json report{{"benchmark", "guarded"},
                              {"copy_bytes", kCopyBytes},
                              {"plain_ns", plain_ns},
                              {"guarded_ns", guarded_ns},
                              {"overhead_ns", guarded_ns - plain_ns},
                              {"empty_guard_ns", contenders[2].seconds.median() * to_ns},
                              {"plain_spread", contenders[0].seconds.spread()},
                              {"guarded_spread", contenders[1].seconds.spread()},
                              {"rounds", rounds},
                              {"copies_per_round", copies},
                              {"limit_ns", kOverheadNsMax},
                              {"within_limit", guarded_ns - plain_ns <= kOverheadNsMax},
                              {"machine", machine_facts()}};
  if (arguments.has("json")) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print_text(report);
  }
  return report["within_limit"].get<bool>() ? 0 : 1;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  return quire::bench::run(quire::bench::Arguments(
      argc, argv, {quire::bench::kRounds, {"copies=N", "of a page, in each round"}}));
}
