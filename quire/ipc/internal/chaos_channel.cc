// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_channel.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/internal/chaos_sending.h"

namespace quire::ipc::internal {
namespace {

// An id of a message in one word of a book.
constexpr unsigned kWriterShift = 56;
// Longer than it takes to find out that a claim's owner is dead.
constexpr std::chrono::seconds kDrainMax{20};
// How long an empty ring is waited for.
constexpr std::chrono::milliseconds kDrainPatience{20};

std::uint64_t mix(std::uint64_t number) noexcept {
  number = (number ^ (number >> 31U)) * 0x9e3779b97f4a7c15;
  return number ^ (number >> 29U);
}

std::uint64_t pattern_word(const ChaosMessage& message, std::size_t index) noexcept {
  return mix(message.number * 0x100000001b3 + std::uint64_t{message.writer} * 0x10001 + index);
}

using Head = std::array<std::uint64_t, ChaosMessage::kHeadBytes / 8>;

Head head_of(const ChaosMessage& message, std::size_t length_bytes) noexcept {
  Head head{std::uint64_t{message.writer} | static_cast<std::uint64_t>(length_bytes) << 32U,
            message.number, message.acknowledged_before, 0};
  head[3] = mix(head[0] ^ mix(head[1] ^ mix(head[2])));
  return head;
}

// The bytes behind the head, eight at a time, the last ones in part.
template <typename Visit>
bool for_each_word(const ChaosMessage& message, std::size_t length_bytes, Visit visit) {
  for (std::size_t at = ChaosMessage::kHeadBytes; at < length_bytes; at += 8) {
    const std::uint64_t word = pattern_word(message, at / 8);
    if (!visit(at, &word, std::min<std::size_t>(8, length_bytes - at))) {
      return false;
    }
  }
  return true;
}

// The book of a reader: what it may be given, and what it was.
class Receipts {
 public:
  Receipts(const std::string& name, unsigned writers, const ChaosStation& station) noexcept
      : name_(name), writers_(writers), station_(station), log_(station.log()) {
    // One that was killed between two lines of its book.
    repeatable_ = noted(log_.in_hand);
    if (repeatable_ != 0) {
      note(log_.seen[repeatable_ >> kWriterShift],
           repeatable_ & ((std::uint64_t{1} << kWriterShift) - 1));
    }
  }

  Result<void> take(std::span<const std::byte> bytes) {
    const auto message = ChaosMessage::read_from(bytes);
    if (!message || message->writer >= writers_) {
      return fail(violation(name_, "a message came torn"));
    }
    const std::uint64_t id = message->number | static_cast<std::uint64_t>(message->writer)
                                                   << kWriterShift;
    if (std::exchange(repeatable_, 0) == id) {
      note(log_.repeated, noted(log_.repeated) + 1);
      return {};
    }
    QUIRE_TRY(check_number(*message));
    note(log_.in_hand, id);
    note(log_.seen[message->writer], message->number);
    return {};
  }
  void has_released() noexcept { note(log_.in_hand, 0); }

 private:
  Result<void> check_number(const ChaosMessage& message) const {
    const std::uint64_t seen = noted(log_.seen[message.writer]);
    if (message.number > noted(station_.log_of(message.writer).begun)) {
      return fail(violation(name_, fmt::format("message {} of writer {} came, which nobody sent",
                                               message.number, message.writer)));
    }
    if (message.number <= seen) {
      return fail(violation(
          name_, fmt::format("message {} of writer {} came, although {} had come and been released",
                             message.number, message.writer, seen)));
    }
    if (message.acknowledged_before > seen) {
      return fail(violation(
          name_, fmt::format("message {} of writer {} came; {} was acknowledged before it, but the "
                             "last one to come was {}",
                             message.number, message.writer, message.acknowledged_before, seen)));
    }
    return {};
  }

  const std::string& name_;
  unsigned writers_;
  const ChaosStation& station_;
  ChaosLog& log_;
  std::uint64_t repeatable_ = 0;  // May come once more, as the first message.
};

}  // namespace

void ChaosMessage::write_to(std::span<std::byte> bytes) const noexcept {
  const Head head = head_of(*this, bytes.size());
  std::memcpy(bytes.data(), head.data(), sizeof(head));
  for_each_word(*this, bytes.size(), [&](std::size_t at, const void* word, std::size_t count) {
    std::memcpy(bytes.data() + at, word, count);
    return true;
  });
}

std::optional<ChaosMessage> ChaosMessage::read_from(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeadBytes) {
    return std::nullopt;
  }
  Head head{};
  std::memcpy(head.data(), bytes.data(), sizeof(head));
  const ChaosMessage message{.writer = static_cast<std::uint32_t>(head[0]),
                             .number = head[1],
                             .acknowledged_before = head[2]};
  const bool is_whole =
      head == head_of(message, bytes.size()) &&
      for_each_word(message, bytes.size(), [&](std::size_t at, const void* word, std::size_t n) {
        return std::memcmp(bytes.data() + at, word, n) == 0;
      });
  return is_whole ? std::optional(message) : std::nullopt;
}

ChannelGame::ChannelGame(ChaosChannel channel) : channel_(std::move(channel)) {
  QUIRE_CHECK_LE(channel_.writers, kChaosWritersMax);
}

std::vector<ChaosGame::Role> ChannelGame::roles() const {
  std::vector<Role> roles;
  for (unsigned writer = 0; writer < channel_.writers; ++writer) {
    roles.push_back({.name = fmt::format("writer {}", writer)});
  }
  roles.push_back({.name = "reader", .goes_on = true});
  return roles;
}

void ChannelGame::add_objects(Layout& layout) const {
  layout.add(channel_.object(channel_.name));
}

Result<void> ChannelGame::play(ChaosStation& station) const {
  return station.number() < channel_.writers
             ? play_sender(station, channel_.name, channel_.open_writer)
             : play_reader(station);
}

Result<void> ChannelGame::play_reader(ChaosStation& station) const {
  const auto reader = QUIRE_TRY(
      take_place(station, [&] { return channel_.open_reader(station.segment(), channel_.name); }));
  Receipts receipts(channel_.name, channel_.writers, station);
  for (;;) {
    station.begins(ChaosDoing::kReceiving);
    const std::span<const std::byte> bytes = QUIRE_TRY(reader->receive(station.patience()));
    QUIRE_TRY(receipts.take(bytes));
    station.dawdle();
    if (!ChaosMessage::read_from(bytes)) {
      return fail(violation(channel_.name, "a message changed before it was released"));
    }
    reader->release();
    receipts.has_released();
    station.has_finished();
  }
}

Result<void> ChannelGame::audit(ChaosStation& station) const {
  const auto reader = QUIRE_TRY(
      take_place(station, [&] { return channel_.open_reader(station.segment(), channel_.name); }));
  QUIRE_TRY(drain(station, *reader));
  if (!reader->is_sound()) {
    return fail(violation(channel_.name, "its words make no sense"));
  }
  return compare_books(station);
}

Result<void> ChannelGame::drain(ChaosStation& station, ChaosReader& reader) const {
  Receipts receipts(channel_.name, channel_.writers, station);
  const auto end = std::chrono::steady_clock::now() + kDrainMax;
  for (;;) {
    const auto bytes = reader.receive({.policy = WaitPolicy::kSleep, .timeout = kDrainPatience});
    if (bytes) {
      QUIRE_TRY(receipts.take(*bytes));
      reader.release();
      receipts.has_released();
    } else if (bytes.error().code() != std::errc::timed_out) {
      return fail(bytes.error());
    } else if (reader.is_idle()) {
      return {};
    } else if (std::chrono::steady_clock::now() > end) {
      return fail(violation(channel_.name, "what a dead writer had begun keeps the reader"));
    }
  }
}

Result<void> ChannelGame::compare_books(ChaosStation& station) const {
  for (unsigned writer = 0; writer < channel_.writers; ++writer) {
    const std::uint64_t seen = noted(station.log().seen[writer]);
    const std::uint64_t acknowledged = noted(station.log_of(writer).acknowledged);
    if (seen < acknowledged) {
      return fail(violation(
          channel_.name, fmt::format("message {} of writer {} was acknowledged, but the last one "
                                     "to come was {}",
                                     acknowledged, writer, seen)));
    }
  }
  return {};
}

}  // namespace quire::ipc::internal
