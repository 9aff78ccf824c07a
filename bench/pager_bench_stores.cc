// SPDX-License-Identifier: Apache-2.0
//
// Stores through the pointer to more than there is memory for, then made durable. What was stored
// is looked for in the cold file afterwards.
#include <algorithm>
#include <string>
#include <vector>

#include "bench/pager_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

constexpr std::uint64_t kRegionToMemory = 4;
constexpr std::uint64_t kChecksMax = 1000;
constexpr std::uint64_t kGrowStepBytes = 16_MiB;

std::uint64_t word_in_file(int fd, std::uint64_t offset_bytes) {
  std::uint64_t word = 0;
  QUIRE_CHECK_EQ(
      sys::read_at(fd, std::as_writable_bytes(std::span(&word, 1)), offset_bytes).value(),
      sizeof word);
  return word;
}

// --- At random -----------------------------------------------------------------------------------

// Which pages are stored to, and what: the same in every process.
struct StorePlan {
  std::size_t threads = 1;
  std::uint64_t stores = 0;  // Of all threads.
  std::uint64_t pages = 0;
  std::uint64_t salt = 0;  // Another one in each run.

  [[nodiscard]] std::uint64_t word(std::uint64_t page) const { return mark_of(page) ^ salt; }

  // Behind the page's mark.
  void store(std::span<std::byte> bytes) const {
    run_threads(threads, [&](std::size_t index) {
      Prng random(salt + index);
      for (std::uint64_t i = 0; i < stores / threads; ++i) {
        const std::uint64_t page = random.below(pages);
        *reinterpret_cast<volatile std::uint64_t*>(&bytes[page * kPageBytes + 8]) = word(page);
      }
    });
  }
  void check(const std::string& path) const {
    make_cold(path);
    const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
    Prng random(salt);
    for (std::uint64_t i = 0; i < std::min(stores / threads, kChecksMax); ++i) {
      const std::uint64_t page = random.below(pages);
      QUIRE_CHECK_EQ(word_in_file(file.get(), page * kPageBytes + 8), word(page));
    }
  }
};

nlohmann::json store_paged(const Setting& setting, FaultPath path, const StorePlan& plan) {
  Pager pager(pager_options(setting, path));
  WritablePagedArea area = pager.map(setting.file(), {.access = Access::kReadWrite}).value();
  const Meter meter;
  plan.store(area.bytes());
  QUIRE_CHECK(area.flush().has_value());
  nlohmann::json found = meter.stop(static_cast<double>(plan.stores));
  found["pager"] = counters_of(pager, area);
  QUIRE_CHECK(area.close().has_value());
  return found;
}

nlohmann::json store_mapped(const Setting& setting, const StorePlan& plan) {
  const KernelMapping mapping(setting.file(), KernelMapping::Use::kStores);
  mapping.advise(sys::MemoryAdvice::kRandom);
  const Meter meter;
  plan.store(mapping.bytes());
  QUIRE_CHECK(sys::sync_pages(mapping.bytes().data(), mapping.bytes().size()).has_value());
  return meter.stop(static_cast<double>(plan.stores));
}

nlohmann::json random_stores(const Setting& setting, std::size_t threads) {
  const std::uint64_t pages = setting.limit_bytes * kRegionToMemory / kPageBytes;
  StorePlan plan{.threads = threads, .stores = threads == 1 ? pages / 2 : pages, .pages = pages};
  const auto check = [&] {
    plan.check(setting.file());
    plan.salt += threads;
  };
  const auto paged = [&](FaultPath path) {
    return Side{.name = name_of(path),
                .run = [&, path] { return store_paged(setting, path, plan); },
                .check_after = check};
  };
  return race(setting,
              {paged(FaultPath::kInline),
               paged(FaultPath::kHandler),
               {.name = "mmap_random",
                .run = [&] { return store_mapped(setting, plan); },
                .check_after = check}},
              {{"inline to mmap", "inline", {"mmap_random"}, 1.5},
               {"handler to mmap", "handler", {"mmap_random"}, 1.5}});
}

// --- At the end ----------------------------------------------------------------------------------

// Every word of [from, to) of the new file.
void append_words(std::span<std::byte> bytes, std::uint64_t from_bytes, std::uint64_t to_bytes) {
  auto* words = reinterpret_cast<std::uint64_t*>(bytes.data());
  for (std::uint64_t i = from_bytes / 8; i < to_bytes / 8; ++i) {
    words[i] = mark_of(i);
  }
}

struct AppendPlan {
  std::string path;
  std::uint64_t size_bytes = 0;

  void remove() const { static_cast<void>(sys::unlink_path(path.c_str())); }
  void check() const {
    make_cold(path);
    {
      const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
      QUIRE_CHECK_EQ(sys::file_status(file.get()).value().size_bytes, size_bytes);
      Prng random(1);
      for (std::uint64_t i = 0; i < kChecksMax; ++i) {
        const std::uint64_t word = random.below(size_bytes / 8);
        QUIRE_CHECK_EQ(word_in_file(file.get(), word * 8), mark_of(word));
      }
    }
    remove();
  }
};

nlohmann::json append_paged(const Setting& setting, FaultPath path, const AppendPlan& plan) {
  Pager pager(pager_options(setting, path));
  WritablePagedArea area =
      pager
          .map(plan.path,
               {.access = Access::kReadWrite, .create = true, .reserve_bytes = plan.size_bytes})
          .value();
  const Meter meter;
  for (std::uint64_t at = 0; at < plan.size_bytes; at += kGrowStepBytes) {
    const std::uint64_t end = std::min(at + kGrowStepBytes, plan.size_bytes);
    QUIRE_CHECK(area.resize(end).has_value());
    append_words(area.bytes(), at, end);
  }
  QUIRE_CHECK(area.flush().has_value());
  nlohmann::json found = meter.stop(static_cast<double>(plan.size_bytes));
  found["pager"] = counters_of(pager, area);
  QUIRE_CHECK(area.close().has_value());
  return found;
}

// The space is there before anything is measured.
nlohmann::json append_mapped(const AppendPlan& plan, sys::MemoryAdvice advice) {
  {
    const sys::Descriptor file =
        sys::open_file(plan.path.c_str(), {.write = true, .create = true}).value();
    QUIRE_CHECK(sys::allocate_space(file.get(), {0, plan.size_bytes}, sys::Allocate::kExtendSize)
                    .has_value());
    QUIRE_CHECK(sys::sync_all(file.get()).has_value());
  }
  const KernelMapping mapping(plan.path, KernelMapping::Use::kStores);
  mapping.advise(advice);
  const Meter meter;
  append_words(mapping.bytes(), 0, plan.size_bytes);
  QUIRE_CHECK(sys::sync_pages(mapping.bytes().data(), plan.size_bytes).has_value());
  return meter.stop(static_cast<double>(plan.size_bytes));
}

nlohmann::json append(const Setting& setting) {
  const AppendPlan plan{.path = setting.directory + "/pager_bench.appended",
                        .size_bytes = setting.limit_bytes * kRegionToMemory};
  plan.remove();
  const auto check = [&] { plan.check(); };
  const auto paged = [&](FaultPath path) {
    return Side{.name = name_of(path),
                .run = [&, path] { return append_paged(setting, path, plan); },
                .check_after = check};
  };
  const auto mapped = [&](const char* name, sys::MemoryAdvice advice) {
    return Side{.name = name,
                .run = [&, advice] { return append_mapped(plan, advice); },
                .check_after = check};
  };
  const std::vector<std::string> others{"mmap_normal", "mmap_sequential"};
  nlohmann::json report =
      race(setting,
           {paged(FaultPath::kInline), paged(FaultPath::kHandler),
            mapped("mmap_normal", sys::MemoryAdvice::kNormal),
            mapped("mmap_sequential", sys::MemoryAdvice::kSequential)},
           {{"inline to mmap", "inline", others, 1.2}, {"handler to mmap", "handler", others, 1.2}},
           Start::kAny);
  plan.remove();
  return report;
}

}  // namespace

std::vector<Case> store_cases() {
  return {{"stores-1", "random 4 KiB stores over 4 times the memory, then durable, 1 thread",
           [](const Setting& setting) { return random_stores(setting, 1); }},
          {"stores-16", "the same, 16 threads",
           [](const Setting& setting) { return random_stores(setting, 16); }},
          {"append", "a file of 4 times the memory grows through the pointer, then durable (bytes)",
           append}};
}

}  // namespace quire::bench
