// SPDX-License-Identifier: Apache-2.0
//
// Either side against another one that lies, stalls, or goes away at the worst moment: an error, in
// time, and nothing under a name that was not earned. A receiver then serves the next one.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <filesystem>

#include "quire/base/prng.h"
#include "quire/sys/transfer_calls.h"
#include "quire/testing/seed.h"
#include "quire/transfer/internal/exchange_harness_test.h"

namespace quire::internal {
namespace {

std::error_code errno_code(int value) {
  return {value, std::system_category()};
}

// A receiver with an inbox, and a way to see that it has survived.
class HostilePeerTest : public ::testing::Test {
 protected:
  HostilePeerTest() {
    std::filesystem::create_directory(inbox_);
    ReceiverOptions options;
    options.target = inbox_;
    receiver_.emplace(std::move(options));
  }

  [[nodiscard]] const Endpoint& endpoint() const { return receiver_->endpoint(); }

  // What a peer that does this hears next, after which it goes away.
  Result<wire::Message> answer_to(const std::function<void(Peer&)>& talk) {
    Peer peer(endpoint());
    talk(peer);
    return peer.hear();
  }

  // The next refusal is with this code; nothing has a name.
  void expect_refused(std::error_code code) {
    const std::vector<Error> refusals = receiver_->wait_for_refusals(++refused_);
    EXPECT_EQ(refusals.back().code(), code) << refusals.back().message();
    for (const std::string& name : names_in(inbox_)) {
      EXPECT_TRUE(name.ends_with(".quire-part") || name.ends_with(".quire-offer")) << name;
    }
  }

  // An honest sender is still served.
  void expect_alive() {
    const std::string content = pattern(3 * kChunk + 5);
    const auto sent = send_file(dir_.write("honest", content), endpoint(), send_options());
    ASSERT_TRUE(sent.has_value()) << sent.error().message();
    ASSERT_TRUE(receiver_->join().has_value());
    EXPECT_TRUE(read_file(inbox_ + "/honest") == content);
  }

  const TempDir dir_;
  const std::string inbox_ = dir_.file("inbox");
  std::optional<ReceiverThread> receiver_;
  std::size_t refused_ = 0;
};

// Goal:   it does not matter where in a frame a connection ends.
// Method: a whole conversation, cut before each of its bytes up to the first chunk's payload.
TEST_F(HostilePeerTest, AConnectionMayEndAtEveryByteOfItsFrames) {
  const std::string content = pattern(kChunk);
  const std::vector<std::byte> offer = wire::encode(offer_of("cut", content.size()));
  for (std::size_t length = 0; length < offer.size(); ++length) {
    Peer(endpoint()).send_raw(std::span(offer).first(length));
    expect_refused(length == 0 ? errno_code(ECONNRESET) : std::error_code(Errc::kTruncated));
  }
  std::vector<std::byte> rest;
  for (const wire::Message& message :
       {wire::Message(wire::Start{}),
        wire::Message(wire::Chunk{.length_bytes = kTestChunkBytes})}) {
    const auto frame = wire::encode(message);
    rest.insert(rest.end(), frame.begin(), frame.end());
  }
  const std::size_t start_bytes = wire::encode(wire::Start{}).size();
  for (std::size_t length = 0; length <= rest.size(); ++length) {
    {
      Peer peer(endpoint());
      peer.send_raw(offer);
      ASSERT_TRUE(std::holds_alternative<wire::Accept>(peer.hear().value()));
      peer.send_raw(std::span(rest).first(length));
    }
    const bool is_between = length == 0 || length == start_bytes;
    expect_refused(is_between ? errno_code(ECONNRESET) : std::error_code(Errc::kTruncated));
  }
  EXPECT_EQ(names_in(inbox_), Names{}) << "no chunk, no part";
  expect_alive();
}

TEST_F(HostilePeerTest, ARowOfBytesThatNeverBecomesAFrameEndsAtItsHeader) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 50; ++round) {
    std::string noise(wire::kHeaderBytes + random.below(5000), '\0');
    for (char& byte : noise) {
      byte = static_cast<char>(random.below(256));
    }
    noise[0] = 'x';  // Chance would not find the magic, but a test says what it relies on.
    const auto answer = answer_to([&](Peer& peer) { peer.send_raw(noise); });
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code(), Errc::kCorrupt) << answer.error().message();
    expect_refused(Errc::kCorrupt);
  }
  expect_alive();
}

TEST_F(HostilePeerTest, AnotherVersionIsToldWhichOneIsSpoken) {
  std::vector<std::byte> frame = wire::encode(offer_of("a", 1));
  frame[4] = std::byte{2};
  const auto answer = answer_to([&](Peer& peer) { peer.send_raw(frame); });
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), Errc::kNewerVersion);
  EXPECT_NE(answer.error().message().find("version 1"), std::string::npos);
  expect_refused(Errc::kNewerVersion);
}

// Goal:   a name cannot leave the directory, nor touch what is not a received file.
TEST_F(HostilePeerTest, NamesThatLeadElsewhereAreRefused) {
  for (const std::string& name :
       {std::string(".."), std::string("."), std::string("../escaped"), std::string("a/b"),
        dir_.file("absolute"), std::string("x.quire-part"), std::string("x.quire-offer"),
        std::string(255, 'n')}) {
    const auto answer = answer_to([&](Peer& peer) { peer.send(offer_of(name, 10)); });
    ASSERT_FALSE(answer.has_value()) << name;
    EXPECT_EQ(answer.error().code(), errno_code(EINVAL)) << answer.error().message();
    expect_refused(errno_code(EINVAL));
  }
  EXPECT_EQ(names_in(dir_.path()), Names{"inbox"});
  EXPECT_EQ(names_in(inbox_), Names{});
  expect_alive();
}

TEST_F(HostilePeerTest, MoreThanTheDiskHasIsRefused) {
  const auto answer =
      answer_to([](Peer& peer) { peer.send(offer_of("huge", wire::kFileBytesMax)); });
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), errno_code(ENOSPC)) << answer.error().message();
  expect_refused(errno_code(ENOSPC));
  EXPECT_EQ(names_in(inbox_), Names{});
}

// Goal:   no order of frames but the right one gets anywhere.
// Method: each row says what a liar sends after an accepted offer of three chunks.
TEST_F(HostilePeerTest, WhatComesOutOfOrderIsRefused) {
  const std::string content = pattern(3 * kChunk);
  const auto first = [&](Peer& peer) {
    peer.send_chunk(0, content.substr(0, kChunk), checksum_of(content, kChunk));
    EXPECT_TRUE(std::holds_alternative<wire::Ack>(peer.hear().value()));
  };
  struct Row {
    const char* what;
    std::function<void(Peer&)> lie;
  };
  const std::vector<Row> rows{
      {"a second offer", [](Peer& peer) { peer.send(offer_of("b", 1)); }},
      {"what only a receiver says", [](Peer& peer) { peer.send(wire::Ack{}); }},
      {"a chunk behind the next one",
       [](Peer& peer) { peer.send(wire::Chunk{.offset_bytes = kChunk, .length_bytes = kChunk}); }},
      {"the same chunk twice",
       [&](Peer& peer) {
         first(peer);
         peer.send(wire::Chunk{.offset_bytes = 0, .length_bytes = kChunk});
       }},
      {"a chunk past the end",
       [](Peer& peer) {
         peer.send(wire::Chunk{.offset_bytes = 3 * kChunk, .length_bytes = kChunk});
       }},
      {"a chunk that is too short",
       [](Peer& peer) { peer.send(wire::Chunk{.offset_bytes = 0, .length_bytes = 10}); }},
      {"a chunk that is too long",
       [](Peer& peer) {
         peer.send(wire::Chunk{.offset_bytes = 0, .length_bytes = wire::kChunkBytesMax});
       }},
      {"an end somewhere else",
       [&](Peer& peer) {
         peer.send(wire::Chunk{.offset_bytes = 0, .length_bytes = kChunk});
         peer.send_raw(content.substr(0, kChunk));
         peer.send(wire::ChunkEnd{.end_bytes = kChunk - 1});
       }},
      {"the finish at once",
       [&](Peer& peer) {
         peer.send(wire::Finish{.size_bytes = 3 * kChunk, .checksum = checksum_of(content, 0)});
       }},
      {"the finish of a shorter file",
       [&](Peer& peer) {
         first(peer);
         peer.send(wire::Finish{.size_bytes = kChunk, .checksum = checksum_of(content, kChunk)});
       }},
      {"busy without getting on",
       [](Peer& peer) {
         peer.send(wire::Busy{.progress = 5});
         peer.send(wire::Busy{.progress = 5});
       }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const auto answer = answer_to([&](Peer& peer) {
      peer.begin(offer_of("liar", 3 * kChunk));
      row.lie(peer);
    });
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code(), Errc::kCorrupt) << answer.error().message();
    expect_refused(Errc::kCorrupt);
    std::filesystem::remove(inbox_ + "/liar.quire-part");
  }
  expect_alive();
}

TEST_F(HostilePeerTest, AStartThatNobodyOfferedIsRefused) {
  const auto answer = answer_to([](Peer& peer) {
    peer.send(offer_of("liar", 3 * kChunk));
    ASSERT_TRUE(peer.hear().has_value());
    peer.send(wire::Start{.from_bytes = kChunk});
  });
  EXPECT_EQ(answer.error().code(), Errc::kCorrupt);
  expect_refused(Errc::kCorrupt);
}

// Goal:   a chunk whose checksum is wrong is asked for again, and never becomes part of the file.
TEST_F(HostilePeerTest, AChunkThatIsAlwaysDamagedIsAskedForThreeTimesAndThenRefused) {
  const std::string content = pattern(2 * kChunk);
  const auto answer = answer_to([&](Peer& peer) {
    peer.begin(offer_of("bad", content.size()));
    peer.send_chunk(0, content.substr(0, kChunk), checksum_of(content, kChunk));
    EXPECT_EQ(std::get<wire::Ack>(peer.hear().value()).verified_bytes, kChunk);
    for (int attempt = 0; attempt < kResendsMax; ++attempt) {
      peer.send_chunk(kChunk, std::string(kChunk, 'x'), checksum_of(content, 2 * kChunk));
      EXPECT_EQ(std::get<wire::Resend>(peer.hear().value()).from_bytes, kChunk);
      EXPECT_EQ(std::filesystem::file_size(inbox_ + "/bad.quire-part"), kChunk);
    }
    peer.send_chunk(kChunk, std::string(kChunk, 'x'), checksum_of(content, 2 * kChunk));
  });
  EXPECT_EQ(answer.error().code(), Errc::kCorrupt);
  expect_refused(Errc::kCorrupt);
  EXPECT_EQ(receiver_->remarks().size(), std::size_t{kResendsMax});
  EXPECT_TRUE(read_file(inbox_ + "/bad.quire-part") == content.substr(0, kChunk));
  expect_alive();
}

TEST_F(HostilePeerTest, ChunksBehindADamagedOneAreForgottenButNotForEver) {
  const std::string content = pattern(40 * kChunk);
  const auto answer = answer_to([&](Peer& peer) {
    peer.begin(offer_of("bad", content.size()));
    peer.send_chunk(0, content.substr(0, kChunk), 0);
    EXPECT_EQ(std::get<wire::Resend>(peer.hear().value()).from_bytes, 0U);
    for (std::uint32_t i = 1; i <= wire::kChunksAheadMax; ++i) {
      peer.send_chunk(i * kChunk, std::string(kChunk, 'x'), 0);
    }
    peer.send_chunk(0, content.substr(0, kChunk), checksum_of(content, kChunk));
    EXPECT_EQ(std::get<wire::Ack>(peer.hear().value()).verified_bytes, kChunk);
    peer.send_chunk(kChunk, std::string(kChunk, 'x'), 0);
    EXPECT_EQ(std::get<wire::Resend>(peer.hear().value()).from_bytes, kChunk);
    for (std::uint32_t i = 2; i <= wire::kChunksAheadMax + 2; ++i) {
      peer.send(wire::Chunk{.offset_bytes = i * kChunk, .length_bytes = kChunk, .is_hole = true});
      peer.send(wire::ChunkEnd{.end_bytes = (i + 1) * kChunk});
    }
  });
  EXPECT_EQ(answer.error().code(), Errc::kCorrupt);
  expect_refused(Errc::kCorrupt);
}

// Goal:   who connects and says nothing holds the others up for the idle limit, and no longer.
TEST(StalledPeerTest, ASilentSenderIsLeftAfterTheIdleLimit) {
  const TempDir dir;
  ReceiverOptions options;
  options.target = dir.path();
  options.exchange.idle_limit = kIdleLimitMin;
  ReceiverThread receiver(options);
  Peer silent(receiver.endpoint());
  Peer half(receiver.endpoint());
  const auto offer = wire::encode(offer_of("half", 10));
  half.send_raw(std::span(offer).first(20));
  Peer without_bytes(receiver.endpoint());
  without_bytes.send(offer_of("none", kChunk));
  without_bytes.send(wire::Start{});
  without_bytes.send(wire::Chunk{.length_bytes = kTestChunkBytes});
  for (std::size_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(receiver.wait_for_refusals(i).back().code(), errno_code(ETIMEDOUT)) << i;
  }
}

// What a fake receiver answers to an offer, and how send_file ends.
Result<ExchangeReport> send_to(const std::function<void(FrameChannel&, const wire::Offer&)>& talk) {
  const TempDir dir;
  const FakeReceiver receiver([&](FrameChannel& channel) {
    const auto offer = channel.receive();
    if (offer) {
      talk(channel, std::get<wire::Offer>(*offer));
    }
  });
  return send_file(dir.write("file", pattern(3 * kChunk)), receiver.endpoint(), send_options());
}

TEST(HostileReceiverTest, AConnectionMayEndAtEveryByteOfTheAnswer) {
  const auto accept = wire::encode(wire::Accept{});
  for (std::size_t length = 0; length < accept.size(); ++length) {
    const auto sent = send_to([&](FrameChannel& channel, const wire::Offer&) {
      ASSERT_EQ(::send(channel.fd(), accept.data(), length, 0), static_cast<ssize_t>(length));
    });
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code(),
              length == 0 ? errno_code(ECONNRESET) : std::error_code(Errc::kTruncated));
  }
}

// Goal:   the sender says "sent" only after a true Done.
TEST(HostileReceiverTest, AnswersThatCannotBeAreRefused) {
  const std::uint64_t whole = checksum_of(pattern(3 * kChunk), 3 * kChunk);
  const auto say = [](FrameChannel& channel, const std::vector<wire::Message>& messages) {
    for (const wire::Message& message : messages) {
      if (!channel.send(message)) {
        return;
      }
    }
    while (channel.discard(1)) {
    }
  };
  const wire::Accept none{};
  const std::vector<std::vector<wire::Message>> rows{
      {wire::Accept{.from_bytes = 100}},
      {wire::Accept{.from_bytes = 4 * kChunk}},
      {wire::Done{.size_bytes = 3 * kChunk, .checksum = whole}},
      {none, none},
      {none, wire::Done{.size_bytes = 3 * kChunk, .checksum = whole}},
      {none, wire::Ack{.verified_bytes = 3 * kChunk}},
      {none, wire::Ack{.verified_bytes = 1}},
      {none, wire::Resend{.from_bytes = kChunk}},
      {none, wire::Resend{}, wire::Resend{}, wire::Resend{}, wire::Resend{}},
      {none, wire::Start{}},
      {none, offer_of("back", 1)},
      {none, wire::Busy{.progress = 1}, wire::Busy{.progress = 0}},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto sent =
        send_to([&](FrameChannel& channel, const wire::Offer&) { say(channel, rows[i]); });
    ASSERT_FALSE(sent.has_value()) << "row " << i;
    EXPECT_EQ(sent.error().code(), Errc::kCorrupt) << "row " << i << ": " << sent.error().message();
  }
}

TEST(HostileReceiverTest, ADoneWithAnotherChecksumIsNoDone) {
  const auto sent = send_to([](FrameChannel& channel, const wire::Offer& offer) {
    ASSERT_TRUE(channel.send(wire::Accept{}));
    for (;;) {
      const auto message = channel.receive().value();
      if (const auto* chunk = std::get_if<wire::Chunk>(&message)) {
        ASSERT_TRUE(channel.discard(chunk->length_bytes));
      } else if (const auto* end = std::get_if<wire::ChunkEnd>(&message)) {
        ASSERT_TRUE(channel.send(wire::Ack{.verified_bytes = end->end_bytes}));
      } else if (std::holds_alternative<wire::Finish>(message)) {
        break;
      }
    }
    ASSERT_TRUE(channel.send(wire::Done{.size_bytes = offer.size_bytes, .checksum = 1}));
    while (channel.discard(1)) {
    }
  });
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code(), Errc::kCorrupt) << sent.error().message();
}

TEST(HostileReceiverTest, AReceiverThatNeverReadsIsLeftAfterTheIdleLimit) {
  SendOptions options = send_options();
  options.exchange.idle_limit = kIdleLimitMin;
  StopPipe over;
  const TempDir dir;
  // More than the buffers of a connection take.
  const std::string path = dir.write("file", pattern(64 << 20));
  options.chunk_bytes = wire::kChunkBytesMax;
  std::optional<Result<ExchangeReport>> sent;
  {
    const FakeReceiver receiver([&](FrameChannel& channel) {
      static_cast<void>(channel.send(wire::Accept{}));
      static_cast<void>(sys::wait_for(over.fd(), sys::WaitFor::kReadable, -1,
                                      static_cast<int>(kPatience.count())));
    });
    sent = send_file(path, receiver.endpoint(), options);
    over.raise();
  }
  ASSERT_FALSE(sent->has_value());
  EXPECT_EQ(sent->error().code(), errno_code(ETIMEDOUT)) << sent->error().message();
}

}  // namespace
}  // namespace quire::internal
