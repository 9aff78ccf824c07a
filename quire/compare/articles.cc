// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/articles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/compare/internal/numbers.h"

namespace quire::compare {
namespace {

using enum DurabilityChoice;

struct TargetPath {
  const char* name;
  Path path;
};

constexpr std::array<TargetPath, 5> kTargets{{{"file", Path::kReadWriteSmall},
                                              {"gathered", Path::kBufferedWriter},
                                              {"mapping", Path::kMapDefault},
                                              {"unbuffered", Path::kDirect},
                                              {"memory", Path::kMemory}}};
constexpr std::array<std::uint64_t, 5> kBlockBytes{1, 64, 4_KiB, 64_KiB, 1_MiB};
// What direct I/O can do as it is; smaller blocks would measure the padding.
constexpr std::uint64_t kUnbufferedBytesMin = 4_KiB;

bool makes_sense(Path path, std::uint64_t block_bytes, DurabilityChoice durability) noexcept {
  if (path == Path::kMemory) {
    return durability == kNone;  // There is no disk to be durable on.
  }
  return path != Path::kDirect || block_bytes >= kUnbufferedBytesMin;
}

const char* target_name(Path path) noexcept {
  const auto found = std::find_if(kTargets.begin(), kTargets.end(),
                                  [&](const TargetPath& target) { return target.path == path; });
  QUIRE_CHECK(found != kTargets.end());
  return found->name;
}

ArticleFigure to_figure(const Cell& cell) {
  return {.target = target_name(cell.path),
          .block_bytes = cell.block_bytes,
          .durability = cell.durability,
          .mib_per_s = cell.median_mib_per_s(),
          .system_calls = cell.system_calls().value_or(0) / cell.rounds.size(),
          .cpu_s_per_gib = cell.cpu_s_per_gib().value_or(0)};
}

const Cell* find(const std::vector<Cell>& cells, Path path, std::uint64_t block_bytes,
                 DurabilityChoice durability) {
  for (const Cell& cell : cells) {
    if (cell.path == path && cell.block_bytes == block_bytes && cell.durability == durability &&
        cell.has_result()) {
      return &cell;
    }
  }
  return nullptr;
}

std::string rate_of(const Cell& cell) {
  return internal::rate_text(cell.median_mib_per_s());
}

std::string writes_of(const Cell& cell) {
  return internal::operations_text(cell.median_operations_per_s(), "writes");
}

// What the matrix says about the articles' figures, as far as it was measured.
void explain(const std::vector<Cell>& cells, std::vector<std::string>& remarks) {
  const Cell* byte = find(cells, Path::kReadWriteSmall, 1, kNone);
  const Cell* large = find(cells, Path::kReadWriteSmall, 1_MiB, kNone);
  if (byte != nullptr && large != nullptr) {
    remarks.push_back(fmt::format(
        "one write() per byte: {}, a system call each, so {}; the same file in blocks of 1 MiB: {}",
        writes_of(*byte), rate_of(*byte), rate_of(*large)));
  }
  const Cell* gathered = find(cells, Path::kBufferedWriter, 1, kNone);
  const Cell* mapping = find(cells, Path::kMapDefault, 1, kNone);
  if (gathered != nullptr && mapping != nullptr) {
    remarks.push_back(fmt::format(
        "no mapping is needed to be faster than that: bytes gathered in a buffer {}, stored into "
        "a mapping {}",
        rate_of(*gathered), rate_of(*mapping)));
  }
  const Cell* flushed = find(cells, Path::kReadWriteSmall, 4_KiB, kEachOperation);
  const Cell* mapped = find(cells, Path::kMapDefault, 4_KiB, kEachOperation);
  if (flushed != nullptr && mapped != nullptr) {
    remarks.push_back(fmt::format(
        "with each 4 KiB block on the disk before the next, where the disk itself counts: write() "
        "and fdatasync {}, a mapping and msync {}",
        writes_of(*flushed), writes_of(*mapped)));
  }
}

}  // namespace

std::vector<Cell> plan_article_cells(const CompareOptions& options, const Possibilities& possible) {
  CompareOptions appends = options;
  appends.patterns = {Pattern::kAppend};
  appends.paths = {Path::kReadWriteSmall};
  std::vector<Cell> cells;
  for (const Cell& plain : plan_cells(appends, possible)) {  // One for each durability.
    for (const TargetPath& target : kTargets) {
      for (const std::uint64_t block_bytes : kBlockBytes) {
        if (makes_sense(target.path, block_bytes, plain.durability)) {
          Cell cell = plain;
          cell.path = target.path;
          cell.block_bytes = block_bytes;
          cell.skipped = target.path == Path::kDirect ? possible.why_not_direct : std::nullopt;
          cells.push_back(std::move(cell));
        }
      }
    }
  }
  return cells;
}

void report_articles(const std::vector<Cell>& cells, Report& report) {
  for (const Path path : {Path::kReadWriteSmall, Path::kMapDefault, Path::kMemory}) {
    if (const Cell* cell = find(cells, path, 1, kNone)) {
      report.articles_way.push_back(to_figure(*cell));
    }
  }
  for (const Cell& cell : cells) {
    const std::string name =
        fmt::format("{}, {}, {}", target_name(cell.path), internal::size_text(cell.block_bytes),
                    name_of(cell.durability));
    if (cell.has_result()) {
      report.articles_matrix.push_back(to_figure(cell));
    }
    if (cell.error) {
      report.remarks.push_back(name + ": " + cell.error->message());
    } else if (cell.skipped) {
      report.remarks.push_back(name + ": " + *cell.skipped);
    }
  }
  explain(cells, report.remarks);
}

}  // namespace quire::compare
