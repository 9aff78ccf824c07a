// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/ends.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "quire/base/page_window.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"

namespace quire::internal {
namespace {

constexpr const char* kOperation = "transfer";

Result<void> look(TransferEnd& end, std::uint64_t& system_calls) {
  const auto fails = [&](sys::Errno cause) {
    return fail(sys::to_error(cause, kOperation, sys::path_of(end.fd)));
  };
  system_calls += 2;
  const auto status = sys::file_status(end.fd);
  if (!status) {
    return fails(status.error());
  }
  const auto open = sys::open_state(end.fd);
  if (!open) {
    return fails(open.error());
  }
  end.status = *status;
  end.open = *open;
  if (end.is_socket()) {
    const auto facts = sys::socket_facts(end.fd);
    system_calls += 4;
    if (!facts) {
      return fails(facts.error());
    }
    end.socket = *facts;
  }
  const bool may_have_offsets = end.is_regular() || end.status.kind == sys::FileKind::kBlockDevice;
  end.placement = may_have_offsets ? Placement::kPlaced : Placement::kStream;
  if (end.status.kind == sys::FileKind::kDirectory) {
    return fail(make_error(Errc::kWrongKind, kOperation, sys::path_of(end.fd),
                           "it is a directory, which has no bytes to move"));
  }
  return {};
}

// What the file system says of the file's size may be nothing, or a page for five bytes of /sys.
bool is_made_up(SourceEnd& end, std::uint64_t& system_calls) {
  const auto type = sys::file_system_type_of(end.fd);
  ++system_calls;
  if (type) {
    end.file_system = type->name;
    if (type->kind == sys::StorageKind::kPseudo) {
      return true;
    }
  }
  if (end.status.size_bytes > 0) {
    return false;
  }
  std::array<std::byte, 1> probe{};
  ++system_calls;
  const auto read = sys::read_some_at(end.fd, probe, 0);
  return !read || *read > 0;
}

Result<void> size_file(SourceEnd& end, std::uint64_t& system_calls) {
  std::uint64_t size_bytes = end.status.size_bytes;
  if (end.status.kind == sys::FileKind::kBlockDevice) {
    const auto device_bytes = sys::block_device_bytes(end.fd);
    ++system_calls;
    if (!device_bytes) {
      return fail(sys::to_error(device_bytes.error(), kOperation, sys::path_of(end.fd)));
    }
    size_bytes = *device_bytes;
  } else if (is_made_up(end, system_calls)) {
    return {};
  }
  const ByteRange wanted{end.start_bytes, end.length_bytes.value_or(kToEnd)};
  const auto range = resolve_range(wanted, size_bytes);
  if (!range) {
    return fail(range.error().about(kOperation,
                                    fmt::format("{}, {}", sys::path_of(end.fd), describe(wanted))));
  }
  end.is_sized = true;
  end.length_bytes = range->length_bytes;
  return {};
}

Error not_open_for(const TransferEnd& end, const char* what) {
  return make_error(Errc::kWrongKind, kOperation, sys::path_of(end.fd),
                    fmt::format("the descriptor is not open for {}", what));
}

Result<void> place_target(TargetEnd& end, const TransferTarget& target,
                          std::uint64_t& system_calls) {
  if (!end.is_placed() || end.open.is_appending) {
    end.placement = Placement::kStream;
    if (target.offset_bytes) {
      return fail(make_error(Errc::kWrongKind, kOperation, sys::path_of(end.fd),
                             end.open.is_appending
                                 ? "it was opened with O_APPEND: bytes go to its end, not to an "
                                   "offset"
                                 : fmt::format("{} has no offsets", describe(end.status.kind)),
                             "leave the target's offset out"));
    }
    return {};
  }
  if (target.offset_bytes) {
    end.start_bytes = *target.offset_bytes;
    return {};
  }
  const auto position = sys::file_position(end.fd);
  ++system_calls;
  if (!position) {
    return fail(sys::to_error(position.error(), kOperation, sys::path_of(end.fd)));
  }
  end.start_bytes = *position;
  end.moves_position = true;
  return {};
}

}  // namespace

Result<SourceEnd> look_at_source(const TransferSource& source, std::uint64_t& system_calls) {
  SourceEnd end;
  end.fd = source.fd;
  QUIRE_TRY(look(end, system_calls));
  if (!end.open.is_readable) {
    return fail(not_open_for(end, "reading"));
  }
  end.start_bytes = source.range.offset_bytes;
  if (source.range.length_bytes != kToEnd) {
    end.length_bytes = source.range.length_bytes;
  }
  if (end.is_placed()) {
    QUIRE_TRY(size_file(end, system_calls));
  } else if (end.start_bytes != 0) {
    return fail(make_error(Errc::kWrongKind, kOperation, sys::path_of(end.fd),
                           fmt::format("{} has no offsets", describe(end.status.kind)),
                           "read it from where it stands: offset 0"));
  }
  return end;
}

Result<TargetEnd> look_at_target(const TransferTarget& target, std::uint64_t& system_calls) {
  TargetEnd end;
  end.fd = target.fd;
  QUIRE_TRY(look(end, system_calls));
  if (!end.open.is_writable) {
    return fail(not_open_for(end, "writing"));
  }
  QUIRE_TRY(place_target(end, target, system_calls));
  if (end.is_regular()) {
    const auto type = sys::file_system_type_of(end.fd);
    ++system_calls;
    end.file_system = type ? type->name : std::string();
  }
  return end;
}

Result<void> check_overlap(const SourceEnd& source, const TargetEnd& target) {
  const bool is_same =
      source.status.id() == target.status.id() && source.status.kind == target.status.kind;
  if (!is_same || !source.is_placed() || !target.is_placed()) {
    return {};
  }
  const std::uint64_t length_bytes = source.length_bytes.value_or(kToEnd);
  const ByteRange from{source.start_bytes, length_bytes};
  const ByteRange to{target.start_bytes, length_bytes};
  if (intersect(from, to).length_bytes == 0) {
    return {};
  }
  return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                     .operation = kOperation,
                     .subject = describe(source, target),
                     .cause = fmt::format("source ({}) and target ({}) are the same bytes of one "
                                          "file, at least in part",
                                          describe(from), describe(to)),
                     .remedy = "move through another file"}));
}

bool may_share_blocks(const std::string& file_system) noexcept {
  // Those of which it is known that they cannot; of any other the kernel must be asked.
  constexpr std::array<const char*, 5> kNever{"ext2", "ext3", "ext4", "tmpfs", "ramfs"};
  return std::ranges::find(kNever, file_system) == kNever.end();
}

std::string describe(const TransferEnd& source, const TransferEnd& target) {
  return fmt::format("{} to {}", sys::path_of(source.fd), sys::path_of(target.fd));
}

}  // namespace quire::internal
