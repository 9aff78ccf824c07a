// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/mapping_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/map/internal/flush_state.h"
#include "quire/map/internal/space.h"
#include "quire/sys/file.h"
#include "quire/sys/journal_mark.h"

namespace quire::internal {

Error MappingBuilder::refuse(Errc code, std::string cause, std::string remedy) const {
  return make_error(code, "map", subject(), std::move(cause), std::move(remedy));
}

std::string MappingBuilder::subject() const {
  return wanted_ == kWholeFile ? path() : fmt::format("{}, {}", path(), describe(wanted_));
}

Result<void> MappingBuilder::check_options() const {
  if (sys::path_has_nul(path())) {
    return fail(refuse(Errc::kWrongKind, "the path contains a NUL byte"));
  }
  const bool wants_growth = create_ || exclusive_ || minimum_bytes_ > 0 ||
                            (reserve_bytes_ > 0 && reserve_bytes_ != kReserveAutomatic);
  if (wants_growth && !stores_reach_file()) {
    return fail(refuse(Errc::kReadOnly,
                       "create, minimum_bytes and reserve_bytes are for mappings that change the "
                       "file",
                       "add .access = Access::kReadWrite and leave .sharing at kShared"));
  }
  if (minimum_bytes_ > kFileOffsetMax ||
      (reserve_bytes_ > kMapLengthMax && reserve_bytes_ != kReserveAutomatic)) {
    return fail(
        refuse(Errc::kOutOfRange, fmt::format("minimum_bytes may be {} at most, reserve_bytes {}",
                                              kFileOffsetMax, kMapLengthMax)));
  }
  return {};
}

// Opening first and creating second tells us whether the file is ours to remove again, which
// O_CREAT alone does not. Somebody may create or remove it in between: a few tries settle that.
Result<sys::Descriptor> MappingBuilder::open() {
  constexpr int kTriesMax = 16;
  const sys::OpenFlags existing{.write = stores_reach_file()};
  const sys::OpenFlags fresh{
      .write = true, .create = true, .exclusive = true, .mode = create_mode_};
  int error = 0;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    if (!exclusive_) {
      sys::Outcome<sys::Descriptor> opened = sys::open_file(path().c_str(), existing);
      if (opened || !create_ || opened.error().value != ENOENT) {
        if (!opened) {
          return fail(sys::to_error(opened.error(), "open", path()));
        }
        return std::move(*opened);
      }
    }
    sys::Outcome<sys::Descriptor> created = sys::open_file(path().c_str(), fresh);
    if (created) {
      was_created_ = true;
      return std::move(*created);
    }
    error = created.error().value;
    if (exclusive_ || error != EEXIST) {
      break;
    }
  }
  return fail(sys::to_error({error}, "create", path()));
}

Result<void> MappingBuilder::build_from_path() {
  QUIRE_TRY(check_options());
  sys::Descriptor file = QUIRE_TRY(open());
  was_opened_here_ = true;
  Result<void> built = build_from(std::move(file));
  if (!built && was_created_) {
    static_cast<void>(sys::unlink_path(path().c_str()));
  }
  return built;
}

Result<void> MappingBuilder::build_from(sys::Descriptor file) {
  QUIRE_TRY(check_options());
  const sys::Outcome<sys::FileStatus> status = sys::file_status(file.get());
  if (!status) {
    return fail(sys::to_error(status.error(), "fstat", path()));
  }
  switch (status->kind) {
    case sys::FileKind::kRegular: return build_regular(std::move(file), *status);
    case sys::FileKind::kBlockDevice: return build_device(std::move(file));
    case sys::FileKind::kPipe: return build_copy(std::move(file), true);
    default:
      return fail(refuse(Errc::kWrongKind, fmt::format("it is {}", sys::describe(status->kind)),
                         "name a regular file, a block device or a pipe"));
  }
}

Result<void> MappingBuilder::build_regular(sys::Descriptor file, const sys::FileStatus& status) {
  std::uint64_t size_bytes = status.size_bytes;
  if (size_bytes == 0 && !stores_reach_file()) {
    return build_copy(std::move(file), false);  // Empty, or a /proc file that only says so.
  }
  if (stores_reach_file() && !was_created_) {
    QUIRE_TRY(sys::require_no_journal_mark(file.get(), "map", path()));
  }
  bool wrote_zeros = false;
  if (minimum_bytes_ > size_bytes) {
    const Secured secured =
        QUIRE_TRY(grow_file(file.get(), size_bytes, minimum_bytes_, space_, "map", path()));
    wrote_zeros = secured == Secured::kWritten;
    size_bytes = minimum_bytes_;
  }
  state().wrote_zeros = wrote_zeros;
  state().secured_bytes = size_bytes;
  return build_mapped(std::move(file), size_bytes, false);
}

Result<void> MappingBuilder::build_device(sys::Descriptor file) {
  const sys::Outcome<std::uint64_t> size_bytes = sys::block_device_bytes(file.get());
  if (!size_bytes) {
    return fail(sys::to_error(size_bytes.error(), "ioctl(BLKGETSIZE64)", path()));
  }
  if (minimum_bytes_ > *size_bytes) {
    return fail(refuse(Errc::kUnsupported, fmt::format("a block device cannot grow; it has {}",
                                                       human_bytes(*size_bytes))));
  }
  return build_mapped(std::move(file), *size_bytes, true);
}

namespace {

// Maps `backed_bytes` and reserves what was asked for behind them. Automatic reservations are a
// courtesy: where they cannot be had the mapping stands without.
sys::Outcome<AddressSpace> map_and_reserve(const AddressSpace::Backing& backing,
                                           std::uint64_t backed_bytes, std::uint64_t reserve_bytes,
                                           bool may_grow, PageSize page) {
  const bool is_automatic = reserve_bytes == kReserveAutomatic;
  if (is_automatic) {
    reserve_bytes = may_grow ? backed_bytes + kReserveAheadBytes : 0;
  }
  const std::uint64_t reserved_bytes = std::max(backed_bytes, round_up(reserve_bytes, page));
  if (reserved_bytes == 0) {
    return AddressSpace{};
  }
  sys::Outcome<AddressSpace> space = AddressSpace::map(backing, backed_bytes, reserved_bytes);
  if (!space && is_automatic && backed_bytes > 0 && reserved_bytes > backed_bytes) {
    return AddressSpace::map(backing, backed_bytes, backed_bytes);
  }
  return space;
}

}  // namespace

Result<AddressSpace> MappingBuilder::map_window(const sys::Descriptor& file,
                                                const PageWindow& window, bool reaches_end) {
  const bool is_private = sharing_ == Sharing::kPrivate;
  const std::uint64_t reserve_bytes =
      reserve_bytes_ == 0 || reserve_bytes_ == kReserveAutomatic
          ? reserve_bytes_
          : std::min(window.skew_bytes + reserve_bytes_, kMapLengthMax);
  sys::Outcome<AddressSpace> space = map_and_reserve(
      {.fd = file.get(),
       .offset_bytes = window.map_offset_bytes,
       .protection = is_writable_ ? sys::Protection::kReadWrite : sys::Protection::kRead,
       .visibility = is_private ? sys::Visibility::kPrivate : sys::Visibility::kShared,
       // Copies are made one page at a time: memory for all of them is not demanded beforehand.
       .no_reserve = is_private},
      window.map_length_bytes, reserve_bytes, stores_reach_file() && reaches_end,
      sys::os_page_size());
  if (!space) {
    return fail(sys::to_error(
        space.error(), "mmap", subject(),
        space.error().value == ENOMEM
            ? fmt::format(
                  "{} of addresses are not to be had: see ulimit -v, vm.max_map_count, "
                  "vm.overcommit_memory; open_windows() walks a file in pieces",
                  human_bytes(std::max(window.map_length_bytes,
                                       reserve_bytes == kReserveAutomatic ? 0 : reserve_bytes)))
            : std::string{}));
  }
  return std::move(*space);
}

Result<void> MappingBuilder::build_mapped(sys::Descriptor file, std::uint64_t size_bytes,
                                          bool is_device) {
  const Result<ByteRange> range = resolve_range(wanted_, size_bytes);
  if (!range) {
    return fail(range.error().about("map", subject()));
  }
  const Result<PageWindow> window = make_page_window(*range, sys::os_page_size());
  if (!window) {
    return fail(window.error().about("map", subject()));
  }
  const bool reaches_end = !is_device && end_of(*range) == size_bytes;
  Result<AddressSpace> space = map_window(file, *window, reaches_end);
  if (!space) {
    if (space.error().code() == std::errc::no_such_device && !stores_reach_file()) {
      return build_copy(std::move(file), false);  // sysfs, some FUSE: no mmap at all.
    }
    return fail(space.error());
  }
  Mapping::State& state = this->state();
  state.space = std::move(*space);
  // An empty view of a file that may grow still knows where its first byte will be.
  state.first = state.space.is_open() ? state.space.address() + window->skew_bytes : nullptr;
  state.size_bytes = range->length_bytes;
  state.offset_bytes = range->offset_bytes;
  state.file = std::move(file);
  if (stores_reach_file()) {
    state.flush_state = std::make_shared<FlushState>(was_created_ ? path() : std::string{});
  }
  state.sharing = sharing_;
  state.space_policy = space_;
  state.is_open = true;
  state.is_writable = is_writable_;
  state.reaches_end = reaches_end;
  state.is_device = is_device;
  return {};
}

Result<void> MappingBuilder::build_copy(sys::Descriptor file, bool is_pipe) {
  if (stores_reach_file()) {
    return fail(refuse(Errc::kUnsupported, "stores cannot reach it: it cannot be mapped",
                       "map it read-only or with Sharing::kPrivate"));
  }
  CopiedBytes copy = QUIRE_TRY(read_whole(file.get(), is_pipe, stream_bytes_max_, path()));
  if (is_pipe && copy.size_bytes == 0 && was_opened_here_) {
    // A FIFO opened by name, and nothing came: waiting for a writer who may never come is no
    // option.
    return fail(sys::to_error({ENXIO}, "map", path(),
                              "nobody has this FIFO open for writing: start the writer first"));
  }
  const Result<ByteRange> range = resolve_range(wanted_, copy.size_bytes);
  if (!range) {
    return fail(range.error().about("map", subject()));
  }
  Mapping::State& state = this->state();
  if (range->length_bytes > 0) {
    const std::uint64_t used_bytes = round_up(copy.size_bytes, sys::os_page_size());
    if (!is_writable_) {
      // Nobody's bug may change what was read. A refusal takes nothing away.
      static_cast<void>(
          sys::protect_pages(copy.space.address(), used_bytes, sys::Protection::kRead));
    }
    copy.space.trim(used_bytes);
    state.first = copy.space.address() + range->offset_bytes;
    state.space = std::move(copy.space);
  }
  state.size_bytes = range->length_bytes;
  state.offset_bytes = range->offset_bytes;
  state.origin = copy.size_bytes > 0 || is_pipe ? Origin::kCopy : Origin::kFile;
  state.file = std::move(file);
  state.sharing = sharing_;
  state.is_open = true;
  state.is_writable = is_writable_;
  return {};
}

namespace {

constexpr const char* kHugePagePoolRemedy =
    "the pool of reserved huge pages is too small: raise vm.nr_hugepages";

}  // namespace

Result<void> MappingBuilder::build_memfd(const AnonymousOptions& options, Mapping::State& state) {
  sys::Outcome<sys::Descriptor> memfd =
      options.secret
          ? sys::create_secret_memfd()
          : sys::create_memfd(
                {.name = options.name, .huge_pages = options.huge_pages == HugePages::kReserved});
  if (!memfd) {
    return fail(sys::to_error(
        memfd.error(), options.secret ? "memfd_secret" : "memfd_create", state.path,
        options.secret ? "it needs Linux 5.14 and the boot option secretmem.enable=1" : ""));
  }
  const Space space = options.secret ? Space::kSparse : options.space;
  const Result<Secured> secured =
      grow_memory(memfd->get(), 0, options.size_bytes, space, "map_anonymous", state.path);
  if (!secured) {
    return fail(options.huge_pages == HugePages::kReserved
                    ? secured.error().with_remedy(kHugePagePoolRemedy)
                    : secured.error());
  }
  state.secured_bytes = options.size_bytes;
  state.file = std::move(*memfd);
  state.origin = Origin::kMemfd;
  state.reaches_end = true;
  state.is_secret = options.secret;
  return {};
}

namespace {

Result<void> check_anonymous(const AnonymousOptions& options, const std::string& subject) {
  const bool is_shared = options.sharing == Sharing::kShared;
  if (options.secret && (!is_shared || options.huge_pages != HugePages::kNone)) {
    return fail(make_error(Errc::kUnsupported, "map_anonymous", subject,
                           "secret memory is shared memory of ordinary pages",
                           "use .sharing = Sharing::kShared without huge pages"));
  }
  const bool is_fixed = options.secret || options.huge_pages == HugePages::kReserved;
  if (is_fixed && options.reserve_bytes != kReserveAutomatic &&
      options.reserve_bytes > options.size_bytes) {
    return fail(make_error(Errc::kUnsupported, "map_anonymous", subject,
                           "secret and hugetlb memory cannot grow",
                           "give its final size, and no reserve_bytes"));
  }
  return {};
}

// The pages it is made of: on hugetlb larger ones, and only whole ones can be mapped.
PageSize page_size_of(const AnonymousOptions& options, const sys::Descriptor& memfd) {
  constexpr std::uint64_t kHugePageBytesUsual = 2 << 20;  // x86-64, arm64 with 4 KiB pages.
  if (options.huge_pages != HugePages::kReserved) {
    return sys::os_page_size();
  }
  const sys::Outcome<sys::FileStatus> status = sys::file_status(memfd.get());
  return PageSize(memfd.is_open() && status ? status->preferred_bytes : kHugePageBytesUsual);
}

}  // namespace

Result<WritableMapping> MappingBuilder::build_anonymous(const AnonymousOptions& options) {
  const bool is_shared = options.sharing == Sharing::kShared;
  WritableMapping mapping;
  Mapping::State& state = mapping.state_;
  state.path = is_shared ? fmt::format("memfd:{}", options.name) : "anonymous memory";
  const std::string subject = fmt::format("{}, {} bytes", state.path, options.size_bytes);
  QUIRE_TRY(check_anonymous(options, subject));
  state.origin = Origin::kAnonymous;
  state.is_writable = true;
  state.reaches_end = true;
  if (is_shared) {
    QUIRE_TRY(build_memfd(options, state));
  }
  state.sharing = options.sharing;
  state.space_policy = options.space;
  state.huge_pages = options.huge_pages;
  const PageSize page = page_size_of(options, state.file);
  const std::uint64_t backed_bytes = round_up(options.size_bytes, page);
  const bool is_automatic = options.reserve_bytes == kReserveAutomatic;
  if (backed_bytes > kMapLengthMax || (!is_automatic && options.reserve_bytes > kMapLengthMax)) {
    return fail(make_error(Errc::kOutOfRange, "map_anonymous", subject,
                           "that is more than the address space"));
  }
  const bool may_grow = !options.secret && options.huge_pages != HugePages::kReserved;
  sys::Outcome<AddressSpace> space =
      map_and_reserve(mapping.backing(), backed_bytes, options.reserve_bytes, may_grow, page);
  if (!space) {
    return fail(
        sys::to_error(space.error(), "mmap", subject,
                      options.huge_pages == HugePages::kReserved ? kHugePagePoolRemedy : ""));
  }
  state.space = std::move(*space);
  state.first = state.space.address();
  state.size_bytes = options.size_bytes;
  state.is_open = true;
  if (options.huge_pages == HugePages::kTransparent && backed_bytes > 0) {
    // Refused by kernels without transparent huge pages; explain() reads what was granted.
    static_cast<void>(sys::advise_pages(state.first, backed_bytes, sys::MemoryAdvice::kHugePage));
  }
  return mapping;
}

}  // namespace quire::internal

namespace quire {

using internal::MappingBuilder;

namespace {

std::string name_of_descriptor(int fd) {
  return fmt::format("descriptor {}", fd);
}

template <typename AccessType>
Result<WritableMapping> adopt(sys::Descriptor file, const BasicMapOptions<AccessType>& options) {
  MappingBuilder builder(options, name_of_descriptor(file.get()));
  QUIRE_TRY(builder.build_from(std::move(file)));
  return builder.take();
}

template <typename AccessType>
Result<WritableMapping> borrow(int fd, const BasicMapOptions<AccessType>& options) {
  sys::Outcome<sys::Descriptor> copy = sys::duplicate(fd);
  if (!copy) {
    return fail(sys::to_error(copy.error(), "dup", name_of_descriptor(fd)));
  }
  MappingBuilder builder(options, name_of_descriptor(fd));
  QUIRE_TRY(builder.build_from(std::move(*copy)));
  return builder.take();
}

}  // namespace

Result<Mapping> map(PathArgument path, const MapOptions& options) {
  MappingBuilder builder(options, path.take());
  QUIRE_TRY(builder.build_from_path());
  return builder.take();
}

Result<Mapping> map_adopted(int fd, const MapOptions& options) {
  return adopt(sys::Descriptor(fd), options);
}

Result<Mapping> map_borrowed(int fd, const MapOptions& options) {
  return borrow(fd, options);
}

namespace internal {

Result<WritableMapping> map_writable(PathArgument path, const WritableMapOptions& options) {
  MappingBuilder builder(options, path.take());
  QUIRE_TRY(builder.build_from_path());
  return builder.take();
}

Result<WritableMapping> map_writable_adopted(int fd, const WritableMapOptions& options) {
  return adopt(sys::Descriptor(fd), options);
}

Result<WritableMapping> map_writable_borrowed(int fd, const WritableMapOptions& options) {
  return borrow(fd, options);
}

}  // namespace internal

Result<WritableMapping> map_anonymous(const AnonymousOptions& options) {
  return MappingBuilder::build_anonymous(options);
}

}  // namespace quire
