// SPDX-License-Identifier: Apache-2.0
//
// What the tests of store_conformance.h and store_concurrency.h work on: an empty store for each.
//
// Thread-safety: as Store's.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "quire/io/store.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

struct StoreMaker {
  std::string name;
  std::function<std::unique_ptr<Store>(const TempDir& directory)> make;
};

inline void PrintTo(const StoreMaker& maker, std::ostream* out) {  // NOLINT: GoogleTest's hook.
  *out << maker.name;
}

inline std::string store_maker_name(const ::testing::TestParamInfo<StoreMaker>& info) {
  return info.param.name;
}

class StoreConformanceTest : public ::testing::TestWithParam<StoreMaker> {
 protected:
  using Bytes = std::vector<std::byte>;

  [[nodiscard]] Bytes read_all() const {
    Bytes bytes(store_->size_bytes().value() + 1);  // One more than there is.
    const std::uint64_t got = store_->read(0, bytes).value();
    bytes.resize(got);
    return bytes;
  }

  // As much of `bytes` as there is past `offset_bytes` of the store.
  [[nodiscard]] Bytes read_at(std::uint64_t offset_bytes, std::size_t length_bytes) const {
    Bytes bytes(length_bytes, std::byte{0xee});
    bytes.resize(store_->read(offset_bytes, bytes).value());
    return bytes;
  }

  [[nodiscard]] Store& store() const { return *store_; }

 private:
  const TempDir directory_;
  const std::unique_ptr<Store> store_ = GetParam().make(directory_);
};

}  // namespace quire::testing
