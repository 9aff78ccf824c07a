// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/receive_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "quire/base/ticket.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/transfer/internal/accounting.h"
#include "quire/transfer/sender.h"

namespace quire::internal {
namespace {

using wire::Refusal;

// Between two looks at whether the disk is done.
constexpr std::chrono::milliseconds kDurableStep{200};

std::error_code from_errno(int value) {
  return {value, std::system_category()};
}

// Errors of a connection; all others of a transfer into a file are the file's.
bool is_of_connection(std::error_code code) {
  constexpr std::array kErrnos{EPIPE,     ECONNRESET,   ECONNABORTED, ETIMEDOUT, ENOTCONN,
                               ENETRESET, EHOSTUNREACH, ENETUNREACH,  ENETDOWN};
  return code == Errc::kTruncated || std::any_of(kErrnos.begin(), kErrnos.end(), [&](int value) {
           return code == from_errno(value);
         });
}

Failure of_peer(Error error) {
  if (error.code() == Errc::kCancelled) {
    return {.error = std::move(error), .refusal = Refusal::kStopped, .blame = Blame::kOurs};
  }
  const Refusal refusal =
      error.code() == Errc::kNewerVersion ? Refusal::kOtherVersion : Refusal::kProtocol;
  return {.error = std::move(error), .refusal = refusal, .blame = Blame::kPeer};
}

// What the connection gave, or the peer's failure.
template <typename T>
Attempt<T> from_peer(tl::expected<T, Error> result) {
  if (!result) {
    return tl::make_unexpected(of_peer(std::move(result).error()));
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

// A disk that fails one file fails all; a file that is too long for it is the sender's affair.
Failure of_disk(Error error) {
  const bool is_too_long = error.code() == from_errno(EFBIG);
  return {.error = std::move(error),
          .refusal = is_too_long ? Refusal::kTooLarge : Refusal::kFailed,
          .blame = is_too_long ? Blame::kPeer : Blame::kOurs};
}

Failure of_transfer(Error error) {
  return is_of_connection(error.code()) || error.code() == Errc::kCancelled
             ? of_peer(std::move(error))
             : of_disk(std::move(error));
}

// What the file system gave, or our failure.
template <typename T>
Attempt<T> from_disk(tl::expected<T, Error> result) {
  if (!result) {
    return tl::make_unexpected(of_disk(std::move(result).error()));
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

tl::unexpected<Failure> turned_away(Refusal refusal, int errno_value, const std::string& subject,
                                    std::string cause, std::string remedy = {}) {
  return tl::make_unexpected(Failure{.error = Error({.code = from_errno(errno_value),
                                                     .operation = "receive",
                                                     .subject = subject,
                                                     .cause = std::move(cause),
                                                     .remedy = std::move(remedy)}),
                                     .refusal = refusal,
                                     .blame = Blame::kPeer});
}

tl::unexpected<Failure> against_rules(const std::string& subject, std::string cause) {
  return tl::make_unexpected(
      of_peer(make_error(Errc::kCorrupt, "receive", subject, std::move(cause))));
}

// In a time that does not depend on where they differ.
bool is_same_secret(std::string_view given, std::string_view expected) noexcept {
  std::size_t difference = given.size() ^ expected.size();
  for (std::size_t i = 0; i < wire::kTokenBytesMax; ++i) {
    const char a = i < given.size() ? given[i] : '\0';
    const char b = i < expected.size() ? expected[i] : '\0';
    difference |= static_cast<unsigned char>(a ^ b);
  }
  return difference == 0;
}

}  // namespace

ReceiveSession::ReceiveSession(FrameChannel& channel, const ReceiverOptions& options,
                               const ReceiveEvents& events, ReceivePlace place)
    : channel_(channel), options_(options), events_(events), place_(std::move(place)) {}

template <typename Wanted>
Attempt<Wanted> ReceiveSession::expect() {
  wire::Message message = QUIRE_TRY(from_peer(channel_.receive()));
  if (auto* wanted = std::get_if<Wanted>(&message)) {
    return std::move(*wanted);
  }
  return against_rules(channel_.peer(), fmt::format("an unexpected {}", wire::name_of(message)));
}

void ReceiveSession::remark(const std::string& text) const {
  if (events_.on_remark) {
    events_.on_remark(text);
  }
}

void ReceiveSession::report_progress() const {
  if (options_.exchange.on_progress) {
    options_.exchange.on_progress({.done_bytes = position_, .total_bytes = offer_.size_bytes});
  }
}

Attempt<ReceivedFile> ReceiveSession::run() {
  QUIRE_TRY(read_offer());
  QUIRE_TRY(check_offer());
  PartFile part = QUIRE_TRY(open_part());
  is_part_empty_ = part.usable_bytes() == 0;
  const auto received = [&]() -> Attempt<void> {
    QUIRE_TRY(check_space(part));
    QUIRE_TRY(agree_on_start(part));
    QUIRE_TRY(receive_bytes(part));
    return store(part);
  }();
  if (!received) {
    if (is_part_empty_) {
      part.remove();
    }
    return tl::make_unexpected(received.error());
  }
  return std::move(file_);
}

Attempt<void> ReceiveSession::read_offer() {
  offer_ = QUIRE_TRY(expect<wire::Offer>());
  if (place_.file_name.empty()) {
    place_.file_name = offer_.name;
  }
  file_.peer = channel_.peer();
  file_.path = fmt::format("{}/{}", place_.directory_path, place_.file_name);
  file_.report.name = offer_.name;
  file_.report.size_bytes = offer_.size_bytes;
  return {};
}

Attempt<void> ReceiveSession::check_offer() const {
  if (!is_same_secret(offer_.token, options_.exchange.token)) {
    return turned_away(Refusal::kToken, EACCES, channel_.peer(), "the tokens are not the same",
                       "give both sides the same --token-file");
  }
  if (const std::string flaw = wire::find_flaw_in_name(place_.file_name); !flaw.empty()) {
    return turned_away(Refusal::kName, EINVAL, offer_.name, "the name is refused: " + flaw);
  }
  if (offer_.size_bytes > place_.bytes_left) {
    return turned_away(
        Refusal::kTooLarge, EFBIG, offer_.name,
        fmt::format("it has {} bytes, and {} may still come", offer_.size_bytes, place_.bytes_left),
        "raise --max-bytes if it is wanted");
  }
  return check_name_is_free();
}

Attempt<void> ReceiveSession::check_name_is_free() const {
  const auto there = sys::open_file_at(*place_.directory, place_.file_name.c_str(),
                                       {.no_follow = true, .path_only = true});
  if (!there) {
    return there.error().value == ENOENT
               ? Attempt<void>{}
               : from_disk<void>(fail(sys::to_error(there.error(), "receive", file_.path)));
  }
  const auto status = sys::file_status(there->get());
  if (!status) {
    return from_disk<void>(fail(sys::to_error(status.error(), "receive", file_.path)));
  }
  const bool is_replaceable =
      status->kind == sys::FileKind::kRegular || status->kind == sys::FileKind::kSymlink;
  if (!is_replaceable) {
    return turned_away(Refusal::kExists, EEXIST, file_.path,
                       fmt::format("{} of that name is there", sys::describe(status->kind)));
  }
  if (options_.existing == ExistingTarget::kRefuse) {
    return turned_away(Refusal::kExists, EEXIST, file_.path, "a file of that name is there",
                       "receive with --overwrite, or into another directory");
  }
  return {};
}

Attempt<PartFile> ReceiveSession::open_part() const {
  auto part = PartFile::open(*place_.directory, place_.directory_path, place_.file_name, offer_);
  if (part) {
    return std::move(*part);
  }
  const std::error_code code = part.error().code();
  const bool is_about_this_name = code == Errc::kLimit || code == Errc::kChanged ||
                                  code == Errc::kWrongKind || code == from_errno(ELOOP);
  return tl::make_unexpected(
      Failure{.error = part.error(), .blame = is_about_this_name ? Blame::kPeer : Blame::kOurs});
}

Attempt<void> ReceiveSession::check_space(const PartFile& part) const {
  const sys::FileSystem system = QUIRE_TRY(from_disk(sys::file_system_of(part.fd())));
  const std::uint64_t wanted_bytes =
      offer_.data_bytes - std::min(offer_.data_bytes, part.allocated_bytes());
  if (wanted_bytes > system.free_bytes) {
    return turned_away(Refusal::kNoSpace, ENOSPC, file_.path,
                       fmt::format("it takes {} bytes of disk space, and {} are free", wanted_bytes,
                                   system.free_bytes));
  }
  return {};
}

Attempt<void> ReceiveSession::agree_on_start(PartFile& part) {
  RunningChecksum checksum;
  const std::uint64_t usable_bytes = part.usable_bytes();
  for (std::uint64_t at = 0; at < usable_bytes; at += offer_.chunk_bytes) {
    const ByteRange range{at, std::min<std::uint64_t>(offer_.chunk_bytes, usable_bytes - at)};
    QUIRE_TRY(from_disk(check_bytes(checksum, part.fd(), range, part.path(), file_.report)));
    QUIRE_TRY(from_peer(channel_.keep_alive()));
  }
  QUIRE_TRY(from_peer(channel_.send(wire::Accept{
      .from_bytes = usable_bytes, .checksum = usable_bytes == 0 ? 0 : checksum.value()})));
  const auto start = QUIRE_TRY(expect<wire::Start>());
  if (start.from_bytes != usable_bytes && start.from_bytes != 0) {
    return against_rules(channel_.peer(), "a start where nothing was agreed on");
  }
  if (start.from_bytes == usable_bytes) {
    checksum_ = checksum;
    position_ = usable_bytes;
  } else {
    remark(fmt::format("{} is not the beginning of what is sent now: starting over", part.path()));
  }
  QUIRE_TRY(from_disk(part.resize(position_)));
  is_part_empty_ = position_ == 0;
  file_.report.resumed_from_bytes = position_;
  if (events_.on_start) {
    events_.on_start(file_);
  }
  return {};
}

Attempt<void> ReceiveSession::receive_bytes(PartFile& part) {
  report_progress();
  for (;;) {
    const wire::Message message = QUIRE_TRY(from_peer(channel_.receive()));
    if (const auto* chunk = std::get_if<wire::Chunk>(&message)) {
      QUIRE_TRY(take_chunk(part, *chunk));
      continue;
    }
    const auto* finish = std::get_if<wire::Finish>(&message);
    if (finish == nullptr) {
      return against_rules(channel_.peer(),
                           fmt::format("an unexpected {}", wire::name_of(message)));
    }
    if (!is_waiting_) {  // Else it was said before the sender heard of the damage.
      return check_finish(*finish);
    }
  }
}

Attempt<void> ReceiveSession::take_chunk(PartFile& part, const wire::Chunk& chunk) {
  if (is_waiting_ && chunk.offset_bytes > position_) {
    return pass_over(chunk);
  }
  const std::uint64_t left_bytes = offer_.size_bytes - position_;
  if (chunk.offset_bytes != position_ ||
      chunk.length_bytes != std::min<std::uint64_t>(offer_.chunk_bytes, left_bytes)) {
    return against_rules(channel_.peer(), "a chunk that is not the next one");
  }
  is_waiting_ = false;
  QUIRE_TRY(take_bytes(part, chunk));
  wire::ChunkEnd end;
  QUIRE_TRY(read_chunk_end(chunk, end));
  RunningChecksum checksum = checksum_;
  const ByteRange range{position_, chunk.length_bytes};
  if (offer_.has_checksums && chunk.is_hole) {
    checksum.add_zeros(range.length_bytes);
  } else if (offer_.has_checksums) {
    QUIRE_TRY(from_disk(check_bytes(checksum, part.fd(), range, part.path(), file_.report)));
  }
  if (offer_.has_checksums && checksum.value() != end.checksum) {
    return ask_again(part);
  }
  checksum_ = checksum;
  position_ += chunk.length_bytes;
  is_part_empty_ = false;
  resends_ = 0;
  file_.report.bytes += chunk.length_bytes;
  file_.report.hole_bytes += chunk.is_hole ? chunk.length_bytes : 0;
  // The disk works while the network does; what is left for the fsync is little. Only pacing: an
  // error of the disk comes out of the fsync.
  static_cast<void>(sys::sync_range(part.fd(), range, sys::SyncRange::kStart));
  report_progress();
  return from_peer(channel_.send(wire::Ack{.verified_bytes = position_}));
}

Attempt<void> ReceiveSession::pass_over(const wire::Chunk& chunk) {
  if (++passed_over_ > wire::kChunksAheadMax) {
    return against_rules(channel_.peer(), "it goes on and on with chunks behind a damaged one");
  }
  QUIRE_TRY(from_peer(channel_.discard(chunk.is_hole ? 0 : chunk.length_bytes)));
  wire::ChunkEnd end;
  return read_chunk_end(chunk, end);
}

Attempt<void> ReceiveSession::take_bytes(PartFile& part, const wire::Chunk& chunk) {
  if (chunk.is_hole) {
    return from_disk(part.resize(position_ + chunk.length_bytes));
  }
  const auto moved = move_bytes(
      {.fd = channel_.fd(), .range = {.offset_bytes = 0, .length_bytes = chunk.length_bytes}},
      {.fd = part.fd(), .offset_bytes = position_}, options_.exchange, file_.report);
  if (!moved) {
    return tl::make_unexpected(of_transfer(moved.error().about("receive", part.path())));
  }
  return {};
}

Attempt<void> ReceiveSession::read_chunk_end(const wire::Chunk& chunk, wire::ChunkEnd& end) {
  end = QUIRE_TRY(expect<wire::ChunkEnd>());
  if (end.end_bytes != chunk.offset_bytes + chunk.length_bytes) {
    return against_rules(channel_.peer(), "a chunk that ends where it does not");
  }
  return {};
}

Attempt<void> ReceiveSession::ask_again(PartFile& part) {
  QUIRE_TRY(from_disk(part.resize(position_)));
  const std::string where = fmt::format("the chunk at offset {}", position_);
  if (++resends_ > kResendsMax) {
    return tl::make_unexpected(
        Failure{.error = make_error(Errc::kCorrupt, "receive", file_.path,
                                    fmt::format("{} arrived damaged {} times", where, resends_),
                                    "look at the sender's memory and disk, and at the network"),
                .refusal = Refusal::kDamaged,
                .blame = Blame::kPeer});
  }
  remark(fmt::format("{}: {} arrived damaged; asking for it again", file_.path, where));
  ++file_.report.chunks_resent;
  is_waiting_ = true;
  passed_over_ = 0;
  return from_peer(channel_.send(wire::Resend{.from_bytes = position_}));
}

Attempt<void> ReceiveSession::check_finish(const wire::Finish& finish) const {
  if (position_ != offer_.size_bytes || finish.size_bytes != offer_.size_bytes) {
    return against_rules(channel_.peer(), "it finishes before the end");
  }
  if (offer_.has_checksums && finish.checksum != checksum_.value()) {
    return against_rules(channel_.peer(), "it finishes with the checksum of another file");
  }
  return {};
}

Attempt<void> ReceiveSession::store(PartFile& part) {
  QUIRE_TRY(from_disk(make_durable(part)));
  auto committed =
      part.commit(options_.existing == ExistingTarget::kReplace ? sys::RenameOver::kReplace
                                                                : sys::RenameOver::kRefuse);
  if (!committed && committed.error().code() == from_errno(EEXIST)) {
    return turned_away(Refusal::kExists, EEXIST, file_.path,
                       "a file of that name came there meanwhile");
  }
  QUIRE_TRY(from_disk(std::move(committed)));
  if (offer_.has_checksums) {
    file_.report.checksum = checksum_.value();
  }
  const auto told = channel_.send(
      wire::Done{.size_bytes = position_, .checksum = file_.report.checksum.value_or(0)});
  if (!told) {
    remark(fmt::format("{} is whole and durable, but the sender could not be told: {}", file_.path,
                       told.error().cause()));
  }
  return {};
}

Result<void> ReceiveSession::make_durable(PartFile& part) {
  Ticket::Source done;
  const Ticket ticket = done.ticket();
  std::thread worker;
  try {
    worker = std::thread([&] { done.resolve(part.make_durable(offer_)); });
  } catch (const std::system_error&) {
    return part.make_durable(offer_);  // No thread to be had: the sender has to be patient.
  }
  std::optional<Result<void>> outcome;
  while (!(outcome = ticket.wait_for(kDurableStep))) {
    // A sender that went away does not undo what has arrived; a stop comes too late to matter.
    static_cast<void>(channel_.keep_alive());
  }
  worker.join();
  return *std::move(outcome);
}

}  // namespace quire::internal
