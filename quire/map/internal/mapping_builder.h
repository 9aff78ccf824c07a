// SPDX-License-Identifier: Apache-2.0
//
// MappingBuilder: from a path or descriptor and options to a mapping: the policies per kind of file
// that mapping.h lists, in one place. The public factories only translate their options.
//
//   open --> status --> kind? --+-- regular, block --> range, window --> mmap --> Mapping
//                               |                                  `- ENODEV --> read
//                               +-- pipe, size 0 -----------------------------> read
//                               +-- others ----------------------------------> kWrongKind
//
// A file that was created for a mapping that then fails is removed again.
// Thread-safety: a builder serves one call.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>

#include "quire/base/page_window.h"
#include "quire/base/result.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/descriptor.h"

namespace quire::internal {

class MappingBuilder {
 public:
  template <typename AccessType>
  MappingBuilder(const BasicMapOptions<AccessType>& options, std::string path)
      : is_writable_(std::same_as<AccessType, ReadWriteAccess>),
        sharing_(options.sharing),
        wanted_{options.offset_bytes, options.length_bytes},
        create_(options.create),
        exclusive_(options.exclusive),
        create_mode_(options.create_mode),
        minimum_bytes_(options.minimum_bytes),
        reserve_bytes_(options.reserve_bytes),
        space_(options.space),
        stream_bytes_max_(options.stream_bytes_max) {
    state().path = std::move(path);
  }

  Result<void> build_from_path();
  Result<void> build_from(sys::Descriptor file);
  // What was built. REQUIRES: building succeeded.
  [[nodiscard]] WritableMapping take() noexcept { return std::move(mapping_); }

  static Result<WritableMapping> build_anonymous(const AnonymousOptions& options);

 private:
  [[nodiscard]] Mapping::State& state() noexcept { return mapping_.state_; }
  [[nodiscard]] const std::string& path() const noexcept { return mapping_.state_.path; }
  [[nodiscard]] bool stores_reach_file() const noexcept {
    return is_writable_ && sharing_ == Sharing::kShared;
  }
  [[nodiscard]] Error refuse(Errc code, std::string cause, std::string remedy = {}) const;
  [[nodiscard]] std::string subject() const;
  Result<void> check_options() const;
  Result<sys::Descriptor> open();
  Result<void> build_regular(sys::Descriptor file, const sys::FileStatus& status);
  Result<void> build_device(sys::Descriptor file);
  Result<void> build_mapped(sys::Descriptor file, std::uint64_t size_bytes, bool is_device);
  Result<void> build_copy(sys::Descriptor file, bool is_pipe);
  Result<AddressSpace> map_window(const sys::Descriptor& file, const PageWindow& window,
                                  bool reaches_end);
  static Result<void> build_memfd(const AnonymousOptions& options, Mapping::State& state);

  bool is_writable_;
  Sharing sharing_;
  ByteRange wanted_;
  bool create_;
  bool exclusive_;
  std::uint32_t create_mode_;
  std::uint64_t minimum_bytes_;
  std::uint64_t reserve_bytes_;
  Space space_;
  std::uint64_t stream_bytes_max_;
  bool was_created_ = false;
  bool was_opened_here_ = false;
  WritableMapping mapping_;  // Filled in place: it is moved once, out of here.
};

// Reads a stream (a pipe), or a file from its start (without a size, or one that cannot be mapped),
// to its end into memory of its own.
// Errors: kLimit beyond `bytes_max`; ENXIO for a FIFO that nobody writes; the read errors.
struct CopiedBytes {
  AddressSpace space;
  std::uint64_t size_bytes = 0;
};
[[nodiscard]] Result<CopiedBytes> read_whole(int fd, bool is_pipe, std::uint64_t bytes_max,
                                             const std::string& path);

}  // namespace quire::internal
