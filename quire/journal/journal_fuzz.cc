// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes what opens a journal. The first byte says what the rest is:
//
//   even  patches of a journal that a crash left: 3 bytes of place, 1 of value. Whatever is
//         accepted then must be one of its generations, for every checksum is its own.
//   odd   the same, and all checksums are made right again, as somebody would who means it: no
//         crash, no more memory than the stores have, and an end.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quire/journal/internal/journal_format.h"
#include "quire/journal/journal.h"
#include "quire/journal/journaled_store.h"
#include "quire/testing/slow_store.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire {
namespace {

using Bytes = std::vector<std::byte>;
using testing::MemoryStore;

constexpr std::uint64_t kFileBytesMax = 1 << 20;

// No file becomes larger than that, whatever a journal says.
class SmallStore final : public Store {
 public:
  [[nodiscard]] const std::string& name() const noexcept override { return inner_.name(); }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override { return inner_.size_bytes(); }
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override {
    return inner_.read_pieces(offset_bytes, into);
  }
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override {
    return inner_.write_pieces(offset_bytes, from);
  }
  Result<void> resize(std::uint64_t size_bytes) override {
    if (size_bytes > kFileBytesMax) {
      return fail(Error({.code = std::make_error_code(std::errc::file_too_large),
                         .operation = "resize",
                         .subject = name()}));
    }
    return inner_.resize(size_bytes);
  }
  Result<void> allocate(ByteRange range) override { return inner_.allocate(range); }
  Result<void> punch(ByteRange range) override { return inner_.punch(range); }
  Result<void> sync(Durability durability, ByteRange range) override {
    return inner_.sync(durability, range);
  }
  [[nodiscard]] Bytes image() const { return inner_.image(); }

 private:
  MemoryStore inner_;
};

const JournalOptions kOptions{.log_bytes = 128 * 1024, .checkpointing = Checkpointing::kOnDemand};

std::unique_ptr<Journal> open(const std::shared_ptr<Store>& log,
                              const std::shared_ptr<SmallStore>& file) {
  auto journal = Journal::open({.log = log,
                                .durable_log = nullptr,
                                .files = {{.store = file, .identity = {std::byte{1}}}},
                                .guard = nullptr},
                               kOptions);
  if (!journal) {
    QUIRE_CHECK(!journal.error().message().empty());
    return nullptr;
  }
  return std::move(*journal);
}

// What a crash left of a few commits, and what the file held after each.
struct Crashed {
  Bytes log;
  std::vector<Bytes> generations;
};

Crashed make_crashed() {
  Crashed crashed{.log = {}, .generations = {Bytes()}};
  const auto log = std::make_shared<MemoryStore>();
  const auto file = std::make_shared<SmallStore>();
  Journal::format(*log, JournalUuid{std::byte{3}}, kOptions).value();
  const std::unique_ptr<Journal> journal = open(log, file);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    const Bytes page(i == 2 ? 5000 : 4096, static_cast<std::byte>(i));
    journal->file(0).write(i % 3 * 4096, page).value();
    if (i == 3) {
      journal->file(0).resize(6000).value();
    }
    journal->commit().value();
    Bytes content(journal->file(0).size_bytes().value());
    journal->file(0).read(0, content).value();
    crashed.generations.push_back(content);
  }
  journal->file(0).write(0, Bytes(4096, std::byte{99})).value();  // Never committed.
  QUIRE_CHECK_EQ(journal->stats().checkpoints, 0U);               // All of it is in the log.
  crashed.log = log->image();
  return crashed;
}

void put_checksum(std::span<std::byte> bytes, std::size_t at) {
  XXH3_state_t state;
  static_cast<void>(XXH3_64bits_reset(&state));
  static_cast<void>(XXH3_64bits_update(&state, bytes.data(), at));
  static_cast<void>(XXH3_64bits_update(&state, bytes.data() + at + 8, bytes.size() - at - 8));
  const std::uint64_t checksum = XXH3_64bits_digest(&state);
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[at + i] = static_cast<std::byte>(checksum >> (8 * i));
  }
}

void make_checksums_right(std::span<std::byte> log) {
  put_checksum(log.first(internal::kSlotBytes), 88);
  put_checksum(log.subspan(internal::kSlotBytes, internal::kSlotBytes), 88);
  const auto circle = log.subspan(internal::kCircleOffsetBytes);
  for (std::size_t at = 0; at < circle.size(); at += internal::kBlockBytes) {
    const auto blocks = static_cast<std::size_t>(circle[at + 9]) / 16;
    const std::size_t length = std::max<std::size_t>(blocks, 1) * internal::kBlockBytes;
    if (circle[at] == std::byte{'q'} && at + length <= circle.size()) {
      put_checksum(circle.subspan(at, length), 80);
    }
  }
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  static const quire::Crashed crashed = quire::make_crashed();
  if (size_bytes == 0) {
    return 0;
  }
  quire::Bytes log = crashed.log;
  for (std::size_t i = 1; i + 4 <= size_bytes; i += 4) {
    const std::size_t place =
        data[i] | std::size_t{data[i + 1]} << 8 | std::size_t{data[i + 2]} << 16;
    log[place % log.size()] = static_cast<std::byte>(data[i + 3]);
  }
  const bool is_forged = data[0] % 2 == 1;
  if (is_forged) {
    quire::make_checksums_right(log);
  }
  const auto file = std::make_shared<quire::SmallStore>();
  const auto journal = quire::open(std::make_shared<quire::MemoryStore>(std::move(log)), file);
  if (!journal) {
    return 0;
  }
  journal->check_invariants();
  QUIRE_CHECK_LE(file->image().size(), quire::kFileBytesMax);
  QUIRE_CHECK(is_forged || std::ranges::count(crashed.generations, file->image()) > 0);
  return 0;
}
