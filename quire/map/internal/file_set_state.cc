// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/file_set_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

const char* name_of(LoadStep step) noexcept {
  switch (step) {
    case LoadStep::kOpen: return "open";
    case LoadStep::kStatus: return "fstat";
    case LoadStep::kRead: break;
  }
  return "read";
}

}  // namespace

std::string_view FileSetState::path(std::size_t index) const noexcept {
  const std::uint64_t start = index == 0 ? 0 : entries[index - 1].path_end_bytes;
  return std::string_view(paths).substr(start, entries[index].path_end_bytes - start);
}

const FileSetState::Remark& FileSetState::remark(std::size_t index) const noexcept {
  const auto found = std::ranges::lower_bound(remarks, index, {}, &Remark::index);
  QUIRE_CHECK(found != remarks.end() && found->index == index);
  return *found;
}

Error FileSetState::error(std::size_t index) const {
  const Remark& why = remark(index);
  QUIRE_CHECK(why.problem.has_value());
  const char* operation = name_of(why.problem->step);
  std::string subject(path(index));
  if (why.problem->error != 0) {
    return sys::to_error(sys::Errno{why.problem->error}, operation, std::move(subject));
  }
  if (why.problem->code == Errc::kWrongKind) {
    return make_error(Errc::kWrongKind, operation, std::move(subject),
                      fmt::format("it is {}", describe(why.problem->kind)),
                      "a set holds files that have bytes");
  }
  return make_error(why.problem->code, operation, std::move(subject),
                    "it does not fit into arena_bytes_max, or has no end",
                    "raise FileSetOptions::arena_bytes_max, or open it on its own");
}

std::string FileSetState::explain(std::size_t index) const {
  const Entry& entry = entries[index];
  const std::string threshold = human_bytes(options.read_bytes_max);
  std::string text;
  switch (entry.held) {
    case Held::kFailed: return error(index).message();
    case Held::kMapped:
      return fmt::format("mapped: {} bytes > threshold {}", entry.size_bytes, threshold);
    case Held::kRead:
      text = options.read_bytes_max == kToEnd
                 ? fmt::format("read: {} bytes, as every file", entry.size_bytes)
                 : fmt::format("read: {} bytes <= threshold {}", entry.size_bytes, threshold);
      break;
    case Held::kReadNotMapped:
      text = fmt::format("read: {} bytes, since mmap refused the file ({})", entry.size_bytes,
                         errno_name(remark(index).map_error));
      break;
    case Held::kReadMapLimit:
      text = fmt::format("read: {} bytes, since {} files are mapped already (mappings_max)",
                         entry.size_bytes, options.mappings_max);
      break;
  }
  if (entry.has_remark && remark(index).stated_bytes != entry.size_bytes) {
    text += fmt::format("; it had claimed {}: it changed meanwhile, or has no size of its own",
                        remark(index).stated_bytes);
  }
  return text;
}

Result<void> FileSetState::release() {
  Result<void> first_error;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (entry.held != Held::kMapped) {
      continue;
    }
    const sys::Outcome<void> outcome = sys::unmap_pages(
        const_cast<sys::Address>(entry.first), round_up(entry.size_bytes, sys::os_page_size()));
    if (!outcome && first_error) {
      first_error = fail(sys::to_error(outcome.error(), "munmap", std::string(path(i))));
    }
  }
  entries.clear();
  const sys::Outcome<void> outcome = arena.release();
  if (!outcome && first_error) {
    first_error = fail(sys::to_error(outcome.error(), "munmap", "the arena of a file set"));
  }
  return first_error;
}

}  // namespace quire::internal
