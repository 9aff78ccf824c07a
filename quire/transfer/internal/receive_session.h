// SPDX-License-Identifier: Apache-2.0
//
// receive_session: one connection of a receiver, from the offer to "done".
//
//   offered --refused--> over
//      | wanted: the part is opened, its bytes are checked
//   agreed --> receiving <--> waiting for a damaged chunk (what comes before it is thrown away)
//                  | all there, all right
//              durable --> named --> told --> over
//
//   receiving   the part's first position_ bytes are the sender's, proved by their checksum;
//               the part has no others, except while a chunk arrives
//   waiting     the same; chunks that were on their way already are read and forgotten
//
// Thread-safety: one thread; the fsync at the end runs on another, so that the sender can be told
//                meanwhile that we are at work.
// Errors:        Failure: whose fault it is decides whether listening goes on.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "quire/base/result.h"
#include "quire/transfer/internal/frame_channel.h"
#include "quire/transfer/internal/part_file.h"
#include "quire/transfer/internal/running_checksum.h"
#include "quire/transfer/receiver.h"

namespace quire::internal {

enum class Blame : std::uint8_t {
  kPeer,  // The next connection may be better.
  kOurs,  // It would meet the same.
};

struct Failure {
  Error error;
  wire::Refusal refusal = wire::Refusal::kFailed;  // What the peer is told.
  Blame blame = Blame::kOurs;
};

template <typename T>
using Attempt = tl::expected<T, Failure>;

// Where files go.
struct ReceivePlace {
  const sys::Descriptor* directory = nullptr;
  std::string directory_path;
  std::string file_name;         // "": as offered.
  std::uint64_t bytes_left = 0;  // Of ReceiverOptions::bytes_max.
};

class ReceiveSession {
 public:
  ReceiveSession(FrameChannel& channel, const ReceiverOptions& options, const ReceiveEvents& events,
                 ReceivePlace place);

  [[nodiscard]] Attempt<ReceivedFile> run();

 private:
  Attempt<void> read_offer();
  Attempt<void> check_offer() const;
  Attempt<void> check_name_is_free() const;
  [[nodiscard]] Attempt<PartFile> open_part() const;
  Attempt<void> check_space(const PartFile& part) const;
  Attempt<void> agree_on_start(PartFile& part);
  Attempt<void> receive_bytes(PartFile& part);
  Attempt<void> take_chunk(PartFile& part, const wire::Chunk& chunk);
  Attempt<void> pass_over(const wire::Chunk& chunk);
  Attempt<void> take_bytes(PartFile& part, const wire::Chunk& chunk);
  Attempt<void> read_chunk_end(const wire::Chunk& chunk, wire::ChunkEnd& end);
  Attempt<void> ask_again(PartFile& part);
  Attempt<void> check_finish(const wire::Finish& finish) const;
  Attempt<void> store(PartFile& part);
  Result<void> make_durable(PartFile& part);

  template <typename Wanted>
  Attempt<Wanted> expect();
  void remark(const std::string& text) const;
  void report_progress() const;

  FrameChannel& channel_;
  const ReceiverOptions& options_;
  const ReceiveEvents& events_;
  ReceivePlace place_;
  wire::Offer offer_;
  ReceivedFile file_;
  RunningChecksum checksum_;  // Of the first position_ bytes.
  std::uint64_t position_ = 0;
  int resends_ = 0;                // Of the chunk at position_.
  std::uint32_t passed_over_ = 0;  // Chunks since the last Resend.
  bool is_waiting_ = false;
  bool is_part_empty_ = true;  // Nothing in it is worth keeping.
};

}  // namespace quire::internal
