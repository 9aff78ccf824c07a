// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <utility>

#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/metadata.h"
#include "quire/transfer/internal/accounting.h"
#include "quire/transfer/internal/frame_channel.h"
#include "quire/transfer/internal/running_checksum.h"

namespace quire {
namespace {

using internal::FrameChannel;
using internal::More;
using internal::RunningChecksum;

constexpr std::uint32_t kPermissionBits = 0777;

Error bad_option(std::string subject, std::string cause, std::string remedy) {
  return Error({.code = {EINVAL, std::system_category()},
                .operation = "send",
                .subject = std::move(subject),
                .cause = std::move(cause),
                .remedy = std::move(remedy)});
}

// The file to be sent, and what it was when it was offered.
struct Source {
  std::string path = {};
  sys::Descriptor file = {};
  sys::FileStatus status = {};
  sys::FileTime modified = {};
};

Result<Source> open_source(const std::string& path) {
  Source source{.path = path};
  auto file = sys::open_file(path.c_str(), {});
  const auto status =
      file ? sys::file_status(file->get()) : tl::unexpected<sys::Errno>(file.error());
  if (!status) {
    return fail(sys::to_error(status.error(), "send", path));
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, "send", path,
                           fmt::format("it is {}", sys::describe(status->kind)),
                           "send a regular file: only that can be resumed"));
  }
  const auto metadata = sys::metadata_of(file->get());
  if (!metadata) {
    return fail(sys::to_error(metadata.error(), "send", path));
  }
  source.file = std::move(*file);
  source.status = *status;
  source.modified = metadata->modified;
  return source;
}

Result<wire::Offer> make_offer(const Source& source, const SendOptions& options) {
  wire::Offer offer{.size_bytes = source.status.size_bytes,
                    .data_bytes = std::min(source.status.size_bytes, source.status.allocated_bytes),
                    .modified_s = source.modified.seconds,
                    .modified_ns = static_cast<std::uint32_t>(source.modified.nanoseconds),
                    .mode = source.status.mode & kPermissionBits,
                    .chunk_bytes = options.chunk_bytes,
                    .has_checksums = options.checksums == Checksums::kXxh3,
                    .name = options.name.empty()
                                ? std::filesystem::path(source.path).filename().string()
                                : options.name,
                    .token = options.exchange.token};
  if (const std::string flaw = wire::find_flaw_in_name(offer.name); !flaw.empty()) {
    return fail(bad_option(offer.name, "it cannot be the name of the file there: " + flaw,
                           "choose another one with --name"));
  }
  if (!std::has_single_bit(offer.chunk_bytes) || offer.chunk_bytes < wire::kChunkBytesMin ||
      offer.chunk_bytes > wire::kChunkBytesMax) {
    return fail(bad_option("chunk_bytes", "it is no power of two from 4 KiB to 64 MiB", ""));
  }
  return offer;
}

// One conversation.
//
//   acked_ <= position_ <= size. Between the two lie the chunks of marks_, each with the checksum
//   of what stands before it: a place to go back to.
class SendSession {
 public:
  SendSession(const Source& source, wire::Offer offer, FrameChannel& channel,
              const SendOptions& options, ExchangeReport& report)
      : source_(source),
        offer_(std::move(offer)),
        channel_(channel),
        options_(options),
        report_(report) {}

  Result<void> run() {
    QUIRE_TRY(channel_.send(offer_));
    QUIRE_TRY(agree_on_start());
    while (!is_done_) {
      QUIRE_TRY(send_what_is_left());
      QUIRE_TRY(check_unchanged());
      QUIRE_TRY(channel_.send(
          wire::Finish{.size_bytes = offer_.size_bytes, .checksum = checksum_value()}));
      do {
        QUIRE_TRY(take(QUIRE_TRY(channel_.receive())));
      } while (!is_done_ && position_ == offer_.size_bytes);
    }
    return {};
  }

  // Whether the receiver would take a frame for a frame now.
  [[nodiscard]] bool is_between_frames() const noexcept { return !is_inside_chunk_; }

 private:
  struct Mark {
    std::uint64_t offset_bytes = 0;
    std::uint64_t hole_bytes = 0;
    RunningChecksum before = {};
  };

  Result<void> agree_on_start() {
    const wire::Message answer = QUIRE_TRY(channel_.receive());
    const auto* accept = std::get_if<wire::Accept>(&answer);
    if (accept == nullptr || !is_possible_start(accept->from_bytes)) {
      return fail(against_rules("an impossible answer to the offer"));
    }
    QUIRE_TRY(check_prefix(*accept));
    report_.resumed_from_bytes = position_;
    acked_ = position_;
    report_progress();
    return channel_.send(wire::Start{.from_bytes = position_});
  }

  [[nodiscard]] bool is_possible_start(std::uint64_t from_bytes) const noexcept {
    return from_bytes == 0 ||
           (offer_.has_checksums && from_bytes <= offer_.size_bytes &&
            (from_bytes == offer_.size_bytes || from_bytes % offer_.chunk_bytes == 0));
  }

  // Goes on behind what the receiver has, if that is what stands there here.
  Result<void> check_prefix(const wire::Accept& accept) {
    RunningChecksum checksum;
    for (std::uint64_t at = 0; at < accept.from_bytes; at += offer_.chunk_bytes) {
      const ByteRange range{at,
                            std::min<std::uint64_t>(offer_.chunk_bytes, accept.from_bytes - at)};
      QUIRE_TRY(check_bytes(checksum, source_.file.get(), range, source_.path, report_));
      QUIRE_TRY(channel_.keep_alive());
    }
    if (accept.from_bytes > 0 && checksum.value() == accept.checksum) {
      checksum_ = checksum;
      position_ = accept.from_bytes;
    }
    return {};
  }

  Result<void> send_what_is_left() {
    while (position_ < offer_.size_bytes) {
      while (const auto message = QUIRE_TRY(channel_.poll())) {
        QUIRE_TRY(take(*message));
      }
      while (marks_.size() >= wire::kChunksAheadMax) {
        QUIRE_TRY(take(QUIRE_TRY(channel_.receive())));
      }
      if (position_ < offer_.size_bytes) {
        QUIRE_TRY(send_chunk());
      }
    }
    return {};
  }

  Result<void> send_chunk() {
    const ByteRange range{
        position_, std::min<std::uint64_t>(offer_.chunk_bytes, offer_.size_bytes - position_)};
    const bool is_hole = is_in_hole(range);
    marks_.push_back({.offset_bytes = position_,
                      .hole_bytes = is_hole ? range.length_bytes : 0,
                      .before = checksum_});
    QUIRE_TRY(
        channel_.send(wire::Chunk{.offset_bytes = range.offset_bytes,
                                  .length_bytes = static_cast<std::uint32_t>(range.length_bytes),
                                  .is_hole = is_hole},
                      is_hole ? More::kNo : More::kYes));
    if (!is_hole) {
      QUIRE_TRY(send_bytes(range));
    }
    QUIRE_TRY(add_to_checksum(range, is_hole));
    position_ += range.length_bytes;
    return channel_.send(wire::ChunkEnd{.end_bytes = position_, .checksum = checksum_value()});
  }

  // The chunk has no data: nothing from its start to its end, by the word of the file system.
  bool is_in_hole(ByteRange range) {
    if (source_.status.allocated_bytes >= source_.status.size_bytes) {
      return false;
    }
    const auto data = sys::seek_data(source_.file.get(), range.offset_bytes);
    return data ? *data >= range.offset_bytes + range.length_bytes : data.error().value == ENXIO;
  }

  Result<void> send_bytes(ByteRange range) {
    is_inside_chunk_ = true;
    const auto moved = internal::move_bytes({.fd = source_.file.get(), .range = range},
                                            {.fd = channel_.fd()}, options_.exchange, report_);
    if (!moved && moved.error().code() == Errc::kOutOfRange) {
      QUIRE_TRY(check_unchanged());  // It became shorter between two chunks.
    }
    if (!moved) {
      return fail(channel_.why_broken(moved.error().about("send", source_.path)));
    }
    is_inside_chunk_ = false;
    return {};
  }

  // After the bytes went: their pages are in memory now, and a change on the way shows.
  Result<void> add_to_checksum(ByteRange range, bool is_hole) {
    if (!offer_.has_checksums) {
      return {};
    }
    if (is_hole) {
      checksum_.add_zeros(range.length_bytes);
      return {};
    }
    return check_bytes(checksum_, source_.file.get(), range, source_.path, report_);
  }

  [[nodiscard]] std::uint64_t checksum_value() const noexcept {
    return offer_.has_checksums ? checksum_.value() : 0;
  }

  Result<void> take(const wire::Message& message) {
    if (const auto* ack = std::get_if<wire::Ack>(&message)) {
      return take_ack(*ack);
    }
    if (const auto* resend = std::get_if<wire::Resend>(&message)) {
      return go_back(*resend);
    }
    if (const auto* done = std::get_if<wire::Done>(&message)) {
      return take_done(*done);
    }
    return fail(against_rules(fmt::format("an unexpected {}", wire::name_of(message))));
  }

  Result<void> take_ack(const wire::Ack& ack) {
    if (marks_.empty() || ack.verified_bytes != end_of_first_mark()) {
      return fail(against_rules("an acknowledgement of what is not the next chunk"));
    }
    report_.hole_bytes += marks_.front().hole_bytes;
    marks_.pop_front();
    acked_ = ack.verified_bytes;
    report_.bytes = acked_ - report_.resumed_from_bytes;
    resends_ = 0;
    report_progress();
    return {};
  }

  [[nodiscard]] std::uint64_t end_of_first_mark() const {
    return marks_.size() > 1 ? marks_[1].offset_bytes : position_;
  }

  Result<void> go_back(const wire::Resend& resend) {
    if (marks_.empty() || resend.from_bytes != acked_ || ++resends_ > kResendsMax) {
      return fail(against_rules("it asks again for what it cannot ask for"));
    }
    checksum_ = marks_.front().before;
    position_ = acked_;
    marks_.clear();
    ++report_.chunks_resent;
    // A checksum that never agrees is, most often, a file that somebody is writing to.
    return check_unchanged();
  }

  Result<void> take_done(const wire::Done& done) {
    if (acked_ != offer_.size_bytes || done.size_bytes != offer_.size_bytes ||
        done.checksum != checksum_value()) {
      return fail(against_rules("it is done with another file than this"));
    }
    is_done_ = true;
    if (offer_.has_checksums) {
      report_.checksum = checksum_.value();
    }
    return {};
  }

  // The file is still the one that was offered.
  Result<void> check_unchanged() const {
    const auto status = sys::file_status(source_.file.get());
    if (!status) {
      return fail(sys::to_error(status.error(), "send", source_.path));
    }
    if (status->size_bytes != source_.status.size_bytes ||
        status->modified_ns != source_.status.modified_ns) {
      return fail(make_error(Errc::kChanged, "send", source_.path,
                             "the file changed while it was sent",
                             "send it again when nobody writes to it, or send a copy"));
    }
    return {};
  }

  [[nodiscard]] Error against_rules(std::string cause) const {
    return make_error(Errc::kCorrupt, "send", channel_.peer(), std::move(cause));
  }

  void report_progress() const {
    if (options_.exchange.on_progress) {
      options_.exchange.on_progress({.done_bytes = acked_, .total_bytes = offer_.size_bytes});
    }
  }

  const Source& source_;
  const wire::Offer offer_;
  FrameChannel& channel_;
  const SendOptions& options_;
  ExchangeReport& report_;
  RunningChecksum checksum_;  // Of the first position_ bytes.
  std::uint64_t position_ = 0;
  std::uint64_t acked_ = 0;
  std::deque<Mark> marks_;  // At most kChunksAheadMax.
  int resends_ = 0;         // Of the chunk at acked_.
  bool is_inside_chunk_ = false;
  bool is_done_ = false;
};

wire::Refusal refusal_of(std::error_code code) {
  if (code == Errc::kCancelled) {
    return wire::Refusal::kStopped;
  }
  if (code == Errc::kChanged) {
    return wire::Refusal::kChanged;
  }
  return code == Errc::kCorrupt ? wire::Refusal::kProtocol : wire::Refusal::kFailed;
}

}  // namespace

Result<ExchangeReport> send_file(const PathArgument& path, const Endpoint& to,
                                 const SendOptions& options) {
  ExchangeReport own_report;
  ExchangeReport& report = options.so_far == nullptr ? own_report : *options.so_far;
  report = {};
  QUIRE_TRY(internal::check_options(options.exchange));
  const Source source = QUIRE_TRY(open_source(path.text()));
  wire::Offer offer = QUIRE_TRY(make_offer(source, options));
  report.name = offer.name;
  report.size_bytes = offer.size_bytes;
  sys::Descriptor connection = QUIRE_TRY(
      connect_to(to, options.exchange.allowed_user,
                 {.wait = options.exchange.idle_limit, .stop_fd = options.exchange.stop_fd}));
  FrameChannel channel(std::move(connection), to_text(to),
                       {.idle = options.exchange.idle_limit, .stop_fd = options.exchange.stop_fd});
  SendSession session(source, std::move(offer), channel, options, report);
  const auto sent = session.run();
  if (sent) {
    return report;
  }
  if (session.is_between_frames() && !channel.was_refused()) {
    channel.refuse({.code = refusal_of(sent.error().code()),
                    .text = sent.error().cause().substr(0, wire::kRefusalBytesMax)});
  }
  return fail(sent.error());
}

}  // namespace quire
