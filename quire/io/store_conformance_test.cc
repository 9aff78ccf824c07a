// SPDX-License-Identifier: Apache-2.0
//
// The promises of Store, kept by every kind of File and by the simulated store.
#include "quire/testing/store_conformance.h"

#include "quire/io/file.h"
#include "quire/testing/sim_store.h"

namespace quire::testing {
namespace {

StoreMaker file_maker(std::string name, FileOptions options) {
  options.writable = true;
  options.create = true;
  return {std::move(name), [options](const TempDir& directory) -> std::unique_ptr<Store> {
            return open_file(directory.file("store"), options).value();
          }};
}

INSTANTIATE_TEST_SUITE_P(Cache, StoreConformanceTest,
                         ::testing::Values(file_maker("Keep", {.cache = CacheUse::kKeep}),
                                           file_maker("DropBehind",
                                                      {.cache = CacheUse::kDropBehind}),
                                           file_maker("Bypass", {.cache = CacheUse::kBypass,
                                                                 .fallback = Fallback::kAllowed})),
                         store_maker_name);

INSTANTIATE_TEST_SUITE_P(
    Ahead, StoreConformanceTest,
    ::testing::Values(file_maker("None", {.read_ahead = ReadAhead::kNone}),
                      file_maker("Sequential", {.read_ahead = ReadAhead::kSequential}),
                      file_maker("Window",
                                 {.read_ahead = ReadAhead::kWindow, .read_ahead_bytes = 256_KiB}),
                      // The window's pages are dropped by advice, behind reader and writer.
                      file_maker("WindowDropped", {.cache = CacheUse::kDropBehind,
                                                   .read_ahead = ReadAhead::kWindow,
                                                   .read_ahead_bytes = 256_KiB,
                                                   .write_behind_bytes = 64_KiB})),
    store_maker_name);

INSTANTIATE_TEST_SUITE_P(
    Behind, StoreConformanceTest,
    ::testing::Values(file_maker("WriteBehind", {.write_behind_bytes = 64_KiB}),
                      file_maker("EachWrite", {.write_through = WriteThrough::kEachWrite}),
                      file_maker("EachWriteBypass", {.cache = CacheUse::kBypass,
                                                     .write_through = WriteThrough::kEachWrite})),
    store_maker_name);

INSTANTIATE_TEST_SUITE_P(Simulated, StoreConformanceTest,
                         ::testing::Values(StoreMaker{
                             "Sim", [](const TempDir&) { return std::make_unique<SimStore>(); }}),
                         store_maker_name);

}  // namespace
}  // namespace quire::testing
