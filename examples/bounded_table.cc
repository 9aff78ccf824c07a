// SPDX-License-Identifier: Apache-2.0
//
// bounded_table: a hash table in a file, many times larger than the memory it may use.
//
//   bounded_table [MEMORY_MIB]
//
// The table knows nothing of files: it is a span of slots. The pager keeps a bounded part of it in
// memory, whatever the keys do. A query that knows its next keys has them read ahead of time.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "quire/quire.h"

namespace {

struct Slot {
  std::uint64_t key = 0;  // 0: free.
  std::uint64_t count = 0;
};

std::size_t home_of(std::uint64_t key, std::size_t slot_count) {
  return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15 >> 20) % slot_count;
}

// The slot of a key, or the free one where it belongs.
Slot& find(std::span<Slot> table, std::uint64_t key) {
  std::size_t i = home_of(key, table.size());
  while (table[i].key != 0 && table[i].key != key) {
    i = (i + 1) % table.size();
  }
  return table[i];
}

// Reads the pages of 64 keys at a time, then looks them up.
quire::Result<std::uint64_t> sum_ahead(quire::WritablePagedArea& area, std::span<Slot> table,
                                       std::uint64_t key_count) {
  std::uint64_t sum = 0;
  std::array<quire::ByteRange, 64> ranges;
  for (std::uint64_t first = 1; first <= key_count; first += ranges.size()) {
    const std::uint64_t batch = std::min<std::uint64_t>(ranges.size(), key_count + 1 - first);
    for (std::uint64_t i = 0; i < batch; ++i) {
      ranges[i] = {home_of(first + i, table.size()) * sizeof(Slot), sizeof(Slot)};
    }
    QUIRE_TRY(area.prefetch(std::span(ranges).first(batch)).wait());
    for (std::uint64_t i = 0; i < batch; ++i) {
      sum += find(table, first + i).count;
    }
  }
  return sum;
}

quire::Result<void> run(const std::string& path, std::uint64_t memory_bytes) {
  const std::uint64_t table_bytes = 8 * memory_bytes;
  quire::Pager pager({.memory_bytes = memory_bytes});
  auto area = QUIRE_TRY(pager.map(
      path, {.access = quire::Access::kReadWrite, .create = true, .minimum_bytes = table_bytes}));
  std::printf("%s\n", area.explain().c_str());
  const std::span<Slot> table = QUIRE_TRY(area.as<Slot>());

  const std::uint64_t key_count = table.size() / 64;
  for (std::uint64_t key = 1; key <= key_count; ++key) {
    Slot& slot = find(table, key);
    slot.key = key;
    slot.count += key % 10;
  }
  QUIRE_TRY(area.flush());  // Every count survives a power cut from here on.

  std::uint64_t expected = 0;
  for (std::uint64_t key = 1; key <= key_count; ++key) {
    expected += key % 10;
  }
  QUIRE_CHECK_EQ(QUIRE_TRY(sum_ahead(area, table, key_count)), expected);

  const quire::PagerStats stats = pager.stats();
  QUIRE_CHECK_LE(stats.taken_bytes_max, memory_bytes);
  std::printf("%llu keys in a table of %s; never more than %s of %s in memory\n",
              static_cast<unsigned long long>(key_count), quire::human_bytes(table_bytes).c_str(),
              quire::human_bytes(stats.taken_bytes_max).c_str(),
              quire::human_bytes(memory_bytes).c_str());
  return area.close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t memory_mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 16;
  const std::string path = "bounded_table." + std::to_string(::getpid());
  const quire::Result<void> done = run(path, std::max<std::uint64_t>(memory_mib, 1) << 20);
  ::unlink(path.c_str());
  if (!done) {
    std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
