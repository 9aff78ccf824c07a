// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/extents.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/sys/file.h"

namespace quire::internal {

Extents::Extents(Job& job) : job_(job) {
  const SourceEnd& source = job.source();
  const TargetEnd& target = job.target();
  is_sparse_ = job.options().holes == Holes::kKeep && source.is_sized && source.is_regular() &&
               target.is_regular() && target.is_placed() &&
               source.status.allocated_bytes < source.status.size_bytes;
  if (is_sparse_) {
    job.count_call();
    if (const auto position = sys::file_position(source.fd)) {
      source_position_ = *position;
    }
  }
}

Extents::~Extents() {
  if (source_position_) {
    static_cast<void>(sys::set_file_position(job_.source().fd, *source_position_));
  }
}

std::optional<Extents::Extent> Extents::next(std::uint64_t end_bytes) {
  if (!is_sparse_) {
    return Extent{.end_bytes = end_bytes, .is_hole = false};
  }
  if (job_.source_offset() >= current_.end_bytes) {
    const auto found = look(end_bytes);
    if (!found) {
      return std::nullopt;
    }
    current_ = *found;
  }
  return current_;
}

std::optional<Extents::Extent> Extents::look(std::uint64_t end_bytes) {
  const int fd = job_.source().fd;
  const std::uint64_t offset = job_.source_offset();
  job_.count_call();
  const auto data = sys::seek_data(fd, offset);
  if (!data && data.error().value == ENXIO) {
    // No data from here on: a hole up to the end, or no file up to the end.
    job_.count_call();
    const auto status = sys::file_status(fd);
    if (!status || status->size_bytes < end_bytes) {
      return std::nullopt;
    }
    return Extent{.end_bytes = end_bytes, .is_hole = true};
  }
  if (!data) {
    return Extent{.end_bytes = end_bytes, .is_hole = false};  // Cannot be told: all of it is data.
  }
  if (*data > offset) {
    return Extent{.end_bytes = std::min(*data, end_bytes), .is_hole = true};
  }
  job_.count_call();
  const auto hole = sys::seek_hole(fd, offset);
  return Extent{.end_bytes = hole ? std::min(*hole, end_bytes) : end_bytes, .is_hole = false};
}

Step Extents::leave_out(std::uint64_t length_bytes) {
  has_left_out_ = true;
  const std::uint64_t offset = job_.target_offset();
  const std::uint64_t old_size = job_.target().status.size_bytes;
  if (offset >= old_size) {
    job_.skipped_hole(length_bytes);
    return Step::moved();
  }
  const std::uint64_t over_bytes = std::min(length_bytes, old_size - offset);
  job_.count_call();
  const auto punched = sys::punch_hole(job_.target().fd, {offset, over_bytes});
  if (punched) {
    job_.skipped_hole(over_bytes);
    return Step::moved();
  }
  if (is_refusal(punched.error().value)) {
    return write_zeros(over_bytes);
  }
  return Step::failed({.operation = "fallocate(punch)", .error = punched.error().value});
}

Step Extents::write_zeros(std::uint64_t length_bytes) {
  static constexpr std::array<std::byte, 64 << 10> kZeros{};
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(length_bytes, kZeros.size()));
  return job_.write_piece(std::span(kZeros).first(length), 1);
}

Step Extents::settle_size() {
  if (!has_left_out_) {
    return Step::moved();
  }
  job_.count_call();
  const auto status = sys::file_status(job_.target().fd);
  if (!status) {
    return Step::failed({.operation = "fstat", .error = status.error().value});
  }
  if (status->size_bytes >= job_.target_offset()) {
    return Step::moved();
  }
  job_.count_call();
  const auto set = sys::truncate_file(job_.target().fd, job_.target_offset());
  return set ? Step::moved() : Step::failed({.operation = "ftruncate", .error = set.error().value});
}

}  // namespace quire::internal
