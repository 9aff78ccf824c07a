// SPDX-License-Identifier: Apache-2.0
//
// cp_output: what `quire cp` says: one JSON object for each entry, and the sum of all.
//
// Thread-safety: the thread of main().
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "quire/cli/session.h"
#include "quire/transfer/copy.h"

namespace quire::cli {

struct CpTotals {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t symlinks = 0;
  std::uint64_t hard_links = 0;
  std::uint64_t failures = 0;
  std::uint64_t bytes = 0;
  std::uint64_t hole_bytes = 0;
  std::uint64_t system_calls = 0;
  std::optional<std::uint64_t> copied_bytes = 0;  // By the processor.
  std::uint64_t verified_files = 0;
  // By method: what it moved, and why it was the one, of the first file.
  std::array<std::uint64_t, kTransferMethodCount> method_bytes{};
  std::array<std::uint64_t, kTransferMethodCount> method_files{};
  std::array<std::string, kTransferMethodCount> reasons{};
  CopyProgress progress;
  double seconds = 0;

  void add(const CopiedEntry& entry);
  [[nodiscard]] std::uint64_t entry_count() const noexcept {
    return files + directories + symlinks + hard_links;
  }
  // That moved the most; nothing when no file was copied.
  [[nodiscard]] std::optional<TransferMethod> main_method() const noexcept;
};

void write_entry(JsonWriter& json, const CopiedEntry& entry);
void write_totals(JsonWriter& json, const CpTotals& totals);
void print_totals(Session& session, const CpTotals& totals);

}  // namespace quire::cli
