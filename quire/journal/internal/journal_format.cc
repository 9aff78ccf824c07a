// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/journal_format.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>

#include "quire/base/page_window.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::internal {
namespace {

constexpr std::array<char, 8> kSuperblockMagic{'q', 'u', 'i', 'r', 'e', 'J', 'N', 'L'};
constexpr std::array<char, 8> kRecordMagic{'q', 'u', 'i', 'r', 'e', 'R', 'E', 'C'};

constexpr std::size_t kSuperblockChecksumAt = 88;
constexpr std::size_t kSuperblockFilesAt = 512;
constexpr std::size_t kSuperblockFileBytes = 512;
constexpr std::uint32_t kFlagClean = 1;
// No counter gets there by counting, and none that is below wraps.
constexpr std::uint64_t kCountMax = std::uint64_t{1} << 62;

constexpr std::size_t kRecordChecksumAt = 80;
constexpr std::size_t kRecordEpochAt = 40;
constexpr std::size_t kRecordUsedBytes = 88;

static_assert(kSuperblockFilesAt + kJournalFilesMax * kSuperblockFileBytes == kSlotBytes);
static_assert(kFileNameBytesMax + 40 == kSuperblockFileBytes);

// Numbers go in and out in order, little-endian.
class Writer {
 public:
  explicit Writer(std::span<std::byte> into) : into_(into) {}

  template <std::unsigned_integral T>
  void put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      into_[at_++] = static_cast<std::byte>(value >> (8 * i));
    }
  }
  void put_bytes(std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, into_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += bytes.size();
  }
  void seek(std::size_t at) { at_ = at; }

 private:
  std::span<std::byte> into_;
  std::size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> from) : from_(from) {}

  template <std::unsigned_integral T>
  T get() {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value = static_cast<T>(value | static_cast<T>(from_[at_++]) << (8 * i));
    }
    return value;
  }
  template <std::size_t N>
  std::array<std::byte, N> get_bytes() {
    std::array<std::byte, N> bytes;
    std::ranges::copy(from_.subspan(at_, N), bytes.begin());
    at_ += N;
    return bytes;
  }
  void seek(std::size_t at) { at_ = at; }

 private:
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
};

bool has_magic(std::span<const std::byte> bytes, const std::array<char, 8>& magic) {
  return std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

bool is_zero(std::span<const std::byte> bytes) {
  // Each byte is the one before it: recovery asks this of every header.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Of all of `bytes` but the eight at `at`, which hold it.
std::uint64_t checksum_around(std::span<const std::byte> bytes, std::size_t at) {
  XXH3_state_t state;
  static_cast<void>(XXH3_64bits_reset(&state));
  static_cast<void>(XXH3_64bits_update(&state, bytes.data(), at));
  const auto rest = bytes.subspan(at + sizeof(std::uint64_t));
  static_cast<void>(XXH3_64bits_update(&state, rest.data(), rest.size()));
  return XXH3_64bits_digest(&state);
}

std::uint64_t stored_checksum(std::span<const std::byte> bytes, std::size_t at) {
  return Reader(bytes.subspan(at)).get<std::uint64_t>();
}

tl::unexpected<Error> corrupt(const std::string& name, std::string cause) {
  return fail(make_error(Errc::kCorrupt, "open journal", name, std::move(cause),
                         "name the right journal, or restore it from a copy together with its "
                         "files"));
}

Result<void> check_superblock(const Superblock& found, const std::string& name) {
  if (!std::has_single_bit(found.page_bytes) || found.page_bytes < kBlockBytes ||
      found.page_bytes > kJournalPageBytesMax) {
    return corrupt(name, "its page size is impossible");
  }
  if (found.log_bytes < std::max(kLogBytesMin, kLogPagesMin * found.page_bytes) ||
      found.log_bytes % found.page_bytes != 0 ||
      found.log_bytes > kFileOffsetMax - kCircleOffsetBytes) {
    return corrupt(name, "its log size is impossible");
  }
  if (found.tail_position_bytes % kBlockBytes != 0 ||
      found.tail_position_bytes + kBlockBytes + found.page_bytes > found.log_bytes) {
    return corrupt(name, "its tail lies outside the log");
  }
  for (const std::uint64_t count :
       {found.generation, found.epoch, found.tail_lsn, found.tail_commit}) {
    if (count > kCountMax) {
      return corrupt(name, "one of its counters is impossible");
    }
  }
  if (found.tail_lsn == 0) {
    return corrupt(name, "records are numbered from 1");
  }
  return {};
}

Result<SuperblockFile> decode_file(std::span<const std::byte> bytes, const std::string& name) {
  Reader in(bytes);
  SuperblockFile file;
  file.identity = in.get_bytes<16>();
  file.size_bytes = in.get<std::uint64_t>();
  const auto name_bytes = in.get<std::uint32_t>();
  if (name_bytes > kFileNameBytesMax || file.size_bytes > kFileOffsetMax) {
    return corrupt(name, "an entry of its table of files is impossible");
  }
  file.name.assign(reinterpret_cast<const char*>(bytes.data()) + 40, name_bytes);
  return file;
}

}  // namespace

void encode_superblock(const Superblock& superblock, std::span<std::byte> slot) {
  QUIRE_CHECK_EQ(slot.size(), kSlotBytes);
  QUIRE_CHECK_LE(superblock.files.size(), kJournalFilesMax);
  std::ranges::fill(slot, std::byte{0});
  Writer out(slot);
  out.put_bytes(std::as_bytes(std::span(kSuperblockMagic)));
  out.put(kJournalVersion);
  out.put(static_cast<std::uint32_t>(superblock.page_bytes));
  out.put_bytes(superblock.uuid);
  for (const std::uint64_t value :
       {superblock.generation, superblock.epoch, superblock.log_bytes,
        superblock.tail_position_bytes, superblock.tail_lsn, superblock.tail_commit}) {
    out.put(value);
  }
  out.put(static_cast<std::uint32_t>(superblock.files.size()));
  out.put(superblock.is_clean ? kFlagClean : 0U);
  for (std::size_t i = 0; i < superblock.files.size(); ++i) {
    const SuperblockFile& file = superblock.files[i];
    out.seek(kSuperblockFilesAt + i * kSuperblockFileBytes);
    out.put_bytes(file.identity);
    out.put(file.size_bytes);
    const std::string name = file.name.size() > kFileNameBytesMax ? "" : file.name;
    out.put(static_cast<std::uint32_t>(name.size()));
    out.seek(kSuperblockFilesAt + i * kSuperblockFileBytes + 40);
    out.put_bytes(std::as_bytes(std::span(name)));
  }
  out.seek(kSuperblockChecksumAt);
  out.put(checksum_around(slot, kSuperblockChecksumAt));
}

bool begins_as_superblock(std::span<const std::byte> slot) {
  QUIRE_CHECK_GE(slot.size(), kSuperblockMagic.size());
  return has_magic(slot, kSuperblockMagic);
}

Result<Superblock> decode_superblock(std::span<const std::byte> slot, const std::string& name) {
  QUIRE_CHECK_EQ(slot.size(), kSlotBytes);
  if (!begins_as_superblock(slot)) {
    return corrupt(name, "it does not begin as a journal of quire");
  }
  Reader in(slot);
  in.seek(kSuperblockMagic.size());
  const auto version = in.get<std::uint32_t>();
  if (version > kJournalVersion) {
    return fail(make_error(Errc::kNewerVersion, "open journal", name,
                           "its format is version " + std::to_string(version) +
                               ", this program knows version " + std::to_string(kJournalVersion),
                           "open it with the version of quire that wrote it"));
  }
  if (version != kJournalVersion || stored_checksum(slot, kSuperblockChecksumAt) !=
                                        checksum_around(slot, kSuperblockChecksumAt)) {
    return corrupt(name, "the checksum of its superblock is wrong");
  }
  Superblock found;
  found.page_bytes = in.get<std::uint32_t>();
  found.uuid = in.get_bytes<16>();
  for (std::uint64_t* value : {&found.generation, &found.epoch, &found.log_bytes,
                               &found.tail_position_bytes, &found.tail_lsn, &found.tail_commit}) {
    *value = in.get<std::uint64_t>();
  }
  const auto file_count = in.get<std::uint32_t>();
  found.is_clean = (in.get<std::uint32_t>() & kFlagClean) != 0;
  QUIRE_TRY(check_superblock(found, name));
  if (file_count > kJournalFilesMax) {
    return corrupt(name, "it claims more files than fit");
  }
  for (std::size_t i = 0; i < file_count; ++i) {
    const auto entry =
        slot.subspan(kSuperblockFilesAt + i * kSuperblockFileBytes, kSuperblockFileBytes);
    found.files.push_back(QUIRE_TRY(decode_file(entry, name)));
  }
  std::vector<std::byte> expected(kSlotBytes);
  encode_superblock(found, expected);
  if (!std::ranges::equal(slot, expected)) {
    return corrupt(name, "its superblock has something where its version has zeros");
  }
  return found;
}

bool RecordHeader::is_commit() const noexcept {
  return std::ranges::any_of(marks,
                             [](const LogMark& mark) { return mark.kind == MarkKind::kCommit; });
}

std::uint64_t record_header_bytes(std::size_t marks, std::size_t images) noexcept {
  return round_up(kRecordFixedBytes + marks * kMarkBytes + images * kImageEntryBytes,
                  PageSize(kBlockBytes));
}

void encode_record_header(const RecordHeader& header, std::span<std::byte> into) {
  QUIRE_CHECK_EQ(into.size(), record_header_bytes(header.marks.size(), header.images.size()));
  std::ranges::fill(into, std::byte{0});
  Writer out(into);
  out.put_bytes(std::as_bytes(std::span(kRecordMagic)));
  out.put(static_cast<std::uint32_t>(into.size()));
  out.put(static_cast<std::uint32_t>(header.marks.size()));
  out.put(static_cast<std::uint32_t>(header.images.size()));
  out.put(std::uint32_t{0});
  out.put_bytes(header.uuid);
  for (const std::uint64_t value :
       {header.epoch, header.lsn, header.durable_lsn, header.commit, header.position_bytes}) {
    out.put(value);
  }
  out.seek(kRecordFixedBytes);
  for (const LogMark& mark : header.marks) {
    out.put(static_cast<std::uint32_t>(mark.kind));
    out.put(mark.file);
    out.put(mark.transaction);
    out.put(mark.size_bytes);
    out.put(std::uint64_t{0});
  }
  for (const LogImage& image : header.images) {
    out.put(image.offset_bytes);
    out.put(image.transaction);
    out.put(image.checksum);
    out.put(image.file);
    out.put(std::uint32_t{0});
  }
  out.seek(kRecordChecksumAt);
  out.put(checksum_around(into, kRecordChecksumAt));
}

std::optional<std::uint64_t> peek_header_bytes(std::span<const std::byte> block,
                                               const Superblock& superblock) {
  QUIRE_CHECK_GE(block.size(), kBlockBytes);
  if (!has_magic(block, kRecordMagic)) {
    return std::nullopt;
  }
  Reader in(block);
  in.seek(kRecordMagic.size());
  const auto header_bytes = in.get<std::uint32_t>();
  const auto marks = in.get<std::uint32_t>();
  const auto images = in.get<std::uint32_t>();
  in.seek(24);
  if (in.get_bytes<16>() != superblock.uuid || in.get<std::uint64_t>() != superblock.epoch ||
      marks > kRecordMarksMax || images > kRecordImagesMax ||
      header_bytes != record_header_bytes(marks, images)) {
    return std::nullopt;
  }
  return header_bytes;
}

std::uint64_t record_epoch(std::span<const std::byte> block) {
  Reader in(block);
  in.seek(kRecordEpochAt);
  return in.get<std::uint64_t>();
}

namespace {

bool is_possible(const RecordHeader& header, std::uint64_t header_bytes,
                 const Superblock& superblock) {
  const std::uint64_t length_bytes = header_bytes + header.images.size() * superblock.page_bytes;
  if (length_bytes > superblock.log_bytes ||
      header.position_bytes > superblock.log_bytes - length_bytes || header.lsn == 0 ||
      header.durable_lsn >= header.lsn || header.commit > kCountMax ||
      (header.is_commit() && header.commit == 0)) {
    return false;
  }
  const std::size_t files = superblock.files.size();
  const auto is_good_mark = [&](const LogMark& mark) {
    return mark.file < files && mark.size_bytes <= kFileOffsetMax &&
           (mark.kind == MarkKind::kResize || mark.kind == MarkKind::kCommit);
  };
  const auto is_good_image = [&](const LogImage& image) {
    return image.file < files && image.offset_bytes % superblock.page_bytes == 0 &&
           image.offset_bytes <= kFileOffsetMax - superblock.page_bytes;
  };
  return std::ranges::all_of(header.marks, is_good_mark) &&
         std::ranges::all_of(header.images, is_good_image);
}

}  // namespace

std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes,
                                                 const Superblock& superblock,
                                                 std::uint64_t position_bytes) {
  if (peek_header_bytes(bytes, superblock) != bytes.size() ||
      stored_checksum(bytes, kRecordChecksumAt) != checksum_around(bytes, kRecordChecksumAt) ||
      !is_zero(bytes.subspan(kRecordUsedBytes, kRecordFixedBytes - kRecordUsedBytes))) {
    return std::nullopt;
  }
  RecordHeader header{.uuid = superblock.uuid, .marks = {}, .images = {}};
  Reader in(bytes);
  in.seek(12);
  header.marks.resize(in.get<std::uint32_t>());
  header.images.resize(in.get<std::uint32_t>());
  std::uint64_t unused = in.get<std::uint32_t>();
  in.seek(kRecordEpochAt);
  for (std::uint64_t* value :
       {&header.epoch, &header.lsn, &header.durable_lsn, &header.commit, &header.position_bytes}) {
    *value = in.get<std::uint64_t>();
  }
  in.seek(kRecordFixedBytes);
  for (LogMark& mark : header.marks) {
    mark.kind = static_cast<MarkKind>(in.get<std::uint32_t>());
    mark.file = in.get<std::uint32_t>();
    mark.transaction = in.get<std::uint64_t>();
    mark.size_bytes = in.get<std::uint64_t>();
    unused |= in.get<std::uint64_t>();
    unused |= mark.kind == MarkKind::kResize ? 0 : mark.size_bytes;
  }
  for (LogImage& image : header.images) {
    image.offset_bytes = in.get<std::uint64_t>();
    image.transaction = in.get<std::uint64_t>();
    image.checksum = in.get<std::uint64_t>();
    image.file = in.get<std::uint32_t>();
    unused |= in.get<std::uint32_t>();
  }
  const std::size_t used_bytes = kRecordFixedBytes + header.marks.size() * kMarkBytes +
                                 header.images.size() * kImageEntryBytes;
  if (unused != 0 || !is_zero(bytes.subspan(used_bytes))) {
    return std::nullopt;
  }
  if (header.position_bytes != position_bytes || !is_possible(header, bytes.size(), superblock)) {
    return std::nullopt;
  }
  return header;
}

std::uint64_t next_record_position(std::uint64_t end_bytes, const Superblock& superblock) noexcept {
  return end_bytes + kBlockBytes + superblock.page_bytes > superblock.log_bytes ? 0 : end_bytes;
}

std::uint64_t checksum_of(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace quire::internal
