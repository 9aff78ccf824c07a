// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes the request sequences of Store: any bytes are taken for requests, which a direct file, two
// kinds of buffered ones and the simulated store must do as a vector of bytes does.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quire/base/check.h"
#include "quire/io/file.h"
#include "quire/testing/sim_store.h"
#include "quire/testing/store_model.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

struct Stores {
  Stores() {
    add("direct", {.cache = CacheUse::kBypass});
    add("buffered", {.read_ahead = ReadAhead::kWindow, .read_ahead_bytes = 128_KiB});
    add("dropped", {.cache = CacheUse::kDropBehind, .write_behind_bytes = 64_KiB});
  }
  void add(const char* name, FileOptions options) {
    options.writable = true;
    options.create = true;
    all.push_back(open_file(directory.file(name), options).value());
  }

  testing::TempDir directory;
  std::vector<std::unique_ptr<Store>> all;
};

void check(Store& store, std::span<const std::uint8_t> program) {
  const std::string problem = testing::differ_from_model(store, program);
  const bool is_same = problem.empty();
  if (!is_same) {
    // The name of the store and the request: where the failed check shows them.
    std::fputs((store.name() + ": " + problem + "\n").c_str(), stderr);
  }
  QUIRE_CHECK(is_same);
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  static const quire::Stores stores;  // Opened once; each input starts with empty files.
  const std::span<const std::uint8_t> program(data, size_bytes);
  for (const auto& store : stores.all) {
    QUIRE_CHECK(store->resize(0).has_value());
    quire::check(*store, program);
  }
  quire::testing::SimStore simulated;
  quire::check(simulated, program);
  return 0;
}
