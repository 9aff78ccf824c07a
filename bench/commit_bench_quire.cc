// SPDX-License-Identifier: Apache-2.0
#include "bench/commit_bench.h"

namespace quire::bench {

std::vector<Product> quire_products(std::size_t threads) {
  return {journal_pages(), tracked_pages(threads), paged_pages(threads)};
}

std::vector<MemoryProduct> quire_memories() {
  return {journal_memory(), tracked_memory(), paged_memory()};
}

void make_page_file(const std::string& path, std::uint64_t pages, std::uint64_t value_bytes) {
  write_zeros(path, pages * value_bytes);
}

}  // namespace quire::bench
