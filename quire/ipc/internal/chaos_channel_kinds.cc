// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstring>
#include <utility>

#include "quire/ipc/internal/chaos_channel.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"

namespace quire::ipc::internal {
namespace {

// Small enough to be full most of the time, and to go round thousands of times.
constexpr std::uint64_t kObjects = 32;
constexpr std::uint64_t kRecordsBytes = std::uint64_t{32} << 10;
constexpr unsigned kManyWriters = 4;

// A cell of more than two cache lines.
struct ChaosObject {
  std::array<std::byte, 200> bytes;
};

// Of all kinds of lengths, some of them longer than half of a ring of bytes.
std::size_t record_bytes(std::uint64_t number) noexcept {
  return number % 61 == 60 ? kRecordsBytes / 2 + 1000
                           : ChaosMessage::kHeadBytes + number * 733 % 3'000;
}

// --- Objects of one type ---------------------------------------------------------------------

class ObjectWriter final : public ChaosWriter {
 public:
  explicit ObjectWriter(SpscRing<ChaosObject>::Writer writer) : writer_(std::move(writer)) {}

  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    QUIRE_TRY(writer_.wait(options));
    message.write_to(writer_.reserve().front().bytes);
    writer_.commit();
    return {};
  }

 private:
  SpscRing<ChaosObject>::Writer writer_;
};

class ObjectReader final : public ChaosReader {
 public:
  explicit ObjectReader(SpscRing<ChaosObject>::Reader reader) : reader_(std::move(reader)) {}

  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    QUIRE_TRY(reader_.wait(options));
    return reader_.peek().front().bytes;
  }
  void release() override { reader_.release(); }
  bool is_idle() override { return reader_.peek().empty(); }
  bool is_sound() override { return !reader_.is_corrupt(); }

 private:
  SpscRing<ChaosObject>::Reader reader_;
};

class SharedObjectWriter final : public ChaosWriter {
 public:
  explicit SharedObjectWriter(MpscRing<ChaosObject>::Writer writer) : writer_(std::move(writer)) {}

  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    auto claim = QUIRE_TRY(writer_.reserve(options));
    message.write_to(claim->bytes);
    claim.commit();
    return {};
  }

 private:
  MpscRing<ChaosObject>::Writer writer_;
};

class SharedObjectReader final : public ChaosReader {
 public:
  explicit SharedObjectReader(MpscRing<ChaosObject>::Reader reader) : reader_(std::move(reader)) {}

  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    QUIRE_TRY(reader_.wait(options));
    return reader_.peek()->bytes;
  }
  void release() override { reader_.release(); }
  bool is_idle() override { return reader_.peek() == nullptr && reader_.awaited().is_nobody(); }
  bool is_sound() override { return reader_.check_invariants(); }

 private:
  MpscRing<ChaosObject>::Reader reader_;
};

// --- Records of any length -------------------------------------------------------------------

class RecordWriter final : public ChaosWriter {
 public:
  explicit RecordWriter(SpscBytes::Writer writer) : writer_(std::move(writer)) {}

  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    const std::size_t length_bytes = record_bytes(message.number);
    message.write_to(QUIRE_TRY(writer_.reserve(length_bytes, options)));
    writer_.commit(length_bytes);
    return {};
  }

 private:
  SpscBytes::Writer writer_;
};

class RecordReader final : public ChaosReader {
 public:
  explicit RecordReader(SpscBytes::Reader reader) : reader_(std::move(reader)) {}

  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    return reader_.peek(options);
  }
  void release() override { reader_.release(); }
  bool is_idle() override { return !reader_.peek().has_value(); }
  bool is_sound() override { return !reader_.is_corrupt(); }

 private:
  SpscBytes::Reader reader_;
};

class SharedRecordWriter final : public ChaosWriter {
 public:
  explicit SharedRecordWriter(MpscBytes::Writer writer) : writer_(std::move(writer)) {}

  Result<void> send(const ChaosMessage& message, const WaitOptions& options) override {
    const std::size_t length_bytes = record_bytes(message.number);
    auto claim = QUIRE_TRY(writer_.reserve(length_bytes, options));
    message.write_to(claim.bytes());
    claim.commit(length_bytes);
    return {};
  }

 private:
  MpscBytes::Writer writer_;
};

class SharedRecordReader final : public ChaosReader {
 public:
  explicit SharedRecordReader(MpscBytes::Reader reader) : reader_(std::move(reader)) {}

  Result<std::span<const std::byte>> receive(const WaitOptions& options) override {
    return reader_.peek(options);
  }
  void release() override { reader_.release(); }
  bool is_idle() override { return !reader_.peek().has_value() && reader_.awaited().is_nobody(); }
  bool is_sound() override { return reader_.check_invariants(); }

 private:
  MpscBytes::Reader reader_;
};

template <typename Ring, typename Writer, typename Reader>
ChaosChannel make_channel(const std::string& name, unsigned writers,
                          const typename Ring::Options& options) {
  return {.name = name,
          .writers = writers,
          .object = [options](const std::string& object) { return Ring::object(object, options); },
          .open_writer = [](const Segment& segment,
                            const std::string& object) -> Result<std::unique_ptr<ChaosWriter>> {
            return std::make_unique<Writer>(QUIRE_TRY(Ring::writer(segment, object)));
          },
          .open_reader = [](const Segment& segment,
                            const std::string& object) -> Result<std::unique_ptr<ChaosReader>> {
            return std::make_unique<Reader>(QUIRE_TRY(Ring::reader(segment, object)));
          }};
}

}  // namespace

std::vector<ChaosChannel> chaos_channels() {
  using Objects = SpscRing<ChaosObject>;
  using SharedObjects = MpscRing<ChaosObject>;
  return {make_channel<Objects, ObjectWriter, ObjectReader>("spsc-ring", 1, {.capacity = kObjects}),
          make_channel<SpscBytes, RecordWriter, RecordReader>("spsc-bytes", 1,
                                                              {.capacity_bytes = kRecordsBytes}),
          make_channel<SharedObjects, SharedObjectWriter, SharedObjectReader>(
              "mpsc-ring", kManyWriters, {.capacity = kObjects}),
          make_channel<MpscBytes, SharedRecordWriter, SharedRecordReader>(
              "mpsc-bytes", kManyWriters, {.capacity_bytes = kRecordsBytes})};
}

}  // namespace quire::ipc::internal
