// SPDX-License-Identifier: Apache-2.0
//
// send_file and Receiver with each other: what arrives, what is refused, what goes on later.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "quire/transfer/internal/exchange_harness_test.h"

namespace quire::internal {
namespace {

const std::error_code kExists{EEXIST, std::system_category()};
const std::error_code kTooBig{EFBIG, std::system_category()};
const std::error_code kDenied{EACCES, std::system_category()};

// A source, an empty directory to receive into.
class ExchangeTest : public ::testing::Test {
 protected:
  ExchangeTest() { std::filesystem::create_directory(inbox_); }

  [[nodiscard]] ReceiverOptions into_inbox() const {
    ReceiverOptions options;
    options.target = inbox_;
    return options;
  }
  [[nodiscard]] std::string received(const std::string& name) const {
    return read_file(inbox_ + "/" + name);
  }

  // As a sender of `path` whose connection breaks in the middle of a chunk.
  static void leave_part(ReceiverThread& receiver, const std::string& path, std::uint64_t chunks);

  const TempDir dir_;
  const std::string inbox_ = dir_.file("inbox");
};

void ExchangeTest::leave_part(ReceiverThread& receiver, const std::string& path,
                              std::uint64_t chunks) {
  const std::string content = read_file(path);
  const struct stat status = status_of(path);
  wire::Offer offer = offer_of(std::filesystem::path(path).filename(), content.size());
  offer.modified_s = status.st_mtim.tv_sec;
  offer.modified_ns = static_cast<std::uint32_t>(status.st_mtim.tv_nsec);
  {
    Peer peer(receiver.endpoint());
    peer.begin(offer);
    for (std::uint64_t at = 0; at < chunks * kChunk; at += kChunk) {
      peer.send_chunk(at, content.substr(at, kChunk), checksum_of(content, at + kChunk));
      ASSERT_TRUE(peer.hear().has_value());
    }
    if (chunks * kChunk < content.size()) {
      peer.send(wire::Chunk{.offset_bytes = chunks * kChunk, .length_bytes = kTestChunkBytes});
      peer.send_raw(content.substr(chunks * kChunk, 1000));
    }
  }
  static_cast<void>(receiver.wait_for_refusals(1));
}

// Goal:   whatever the length, the file arrives as it was, under its name, with nothing beside it.
// Method: lengths around the borders of chunks, over TCP and over a UNIX socket.
TEST_F(ExchangeTest, AFileArrivesWholeWhateverItsLength) {
  for (const std::string& address : {std::string("tcp:0"), "unix:" + dir_.file("socket")}) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4095},
                                   std::size_t{4096}, std::size_t{4097}, std::size_t{100'000}}) {
      SCOPED_TRACE(address + ", " + std::to_string(size));
      const std::string content = pattern(size);
      const std::string name = "f" + std::to_string(size);
      ReceiverThread receiver(into_inbox(), address);
      const auto sent = send_file(dir_.write(name, content), receiver.endpoint(), send_options());
      ASSERT_TRUE(sent.has_value()) << sent.error().message();
      const auto got = receiver.join();
      ASSERT_TRUE(got.has_value()) << got.error().message();
      EXPECT_TRUE(received(name) == content);
      EXPECT_EQ(names_in(inbox_), Names{name});
      EXPECT_EQ(sent->bytes, size);
      EXPECT_EQ(got->report.bytes, size);
      EXPECT_EQ(got->path, inbox_ + "/" + name);
      EXPECT_EQ(sent->checksum, checksum_of(content, size));
      EXPECT_EQ(got->report.checksum, sent->checksum);
      std::filesystem::remove(inbox_ + "/" + name);
    }
  }
}

TEST_F(ExchangeTest, ModeAndTimeComeWithItAndSetUserIdDoesNot) {
  const std::string path = dir_.write("tool", pattern(5000));
  ASSERT_EQ(::chmod(path.c_str(), 04751), 0);
  const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 2}, {.tv_sec = -7, .tv_nsec = 123'456'789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  const mode_t mask = ::umask(0027);
  {
    ReceiverThread receiver(into_inbox());
    ASSERT_TRUE(send_file(path, receiver.endpoint(), send_options()).has_value());
    ASSERT_TRUE(receiver.join().has_value());
  }
  ::umask(mask);
  const struct stat status = status_of(inbox_ + "/tool");
  EXPECT_EQ(status.st_mode & 07777U, 0750U) << "permission bits, less those of the umask";
  EXPECT_EQ(status.st_mtim.tv_sec, -7);
  EXPECT_EQ(status.st_mtim.tv_nsec, 123'456'789);
}

// Goal:   the bytes of the payload are not copied by the sender's processor, and counted truly.
TEST_F(ExchangeTest, TheSenderCopiesNothingUnlessItIsToldTo) {
  const std::string path = dir_.write("file", pattern(300'000));
  for (const TransferMethod method : {TransferMethod::kAutomatic, TransferMethod::kReadWrite}) {
    ReceiverThread receiver(into_inbox());
    SendOptions options = send_options();
    options.exchange.method = method;
    const auto sent = send_file(path, receiver.endpoint(), options);
    ASSERT_TRUE(sent.has_value()) << sent.error().message();
    ASSERT_TRUE(receiver.join().has_value());
    const bool is_automatic = method == TransferMethod::kAutomatic;
    EXPECT_EQ(sent->method, is_automatic ? TransferMethod::kSendFile : TransferMethod::kReadWrite);
    EXPECT_EQ(sent->bytes_copied_by_cpu, is_automatic ? 0 : 600'000U);
    EXPECT_GT(sent->system_calls, 300'000 / kChunk);
    EXPECT_FALSE(sent->reason.empty());
    std::filesystem::remove(inbox_ + "/file");
  }
}

TEST_F(ExchangeTest, HolesStayHoles) {
  const std::string path = dir_.write("sparse", "head");
  std::filesystem::resize_file(path, 64 << 20);
  std::ofstream(path, std::ios::in | std::ios::out).seekp(32 << 20) << "middle";
  ReceiverThread receiver(into_inbox());
  SendOptions options = send_options();
  options.chunk_bytes = 1 << 20;
  const auto sent = send_file(path, receiver.endpoint(), options);
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  const auto got = receiver.join();
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_TRUE(received("sparse") == read_file(path));
  EXPECT_EQ(sent->hole_bytes, 62U << 20);
  EXPECT_EQ(got->report.hole_bytes, 62U << 20);
  EXPECT_LE(status_of(inbox_ + "/sparse").st_blocks * 512, 3 << 20);
}

TEST_F(ExchangeTest, WithoutChecksumsThereAreNone) {
  ReceiverThread receiver(into_inbox());
  SendOptions options = send_options();
  options.checksums = Checksums::kNone;
  const std::string content = pattern(50'000);
  const auto sent = send_file(dir_.write("file", content), receiver.endpoint(), options);
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  const auto got = receiver.join();
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(sent->checksum, std::nullopt);
  EXPECT_EQ(got->report.checksum, std::nullopt);
  EXPECT_EQ(sent->checksum_cpu_ns, 0U);
  EXPECT_TRUE(received("file") == content);
}

TEST_F(ExchangeTest, TheTargetMayBeTheFileItself) {
  ReceiverOptions options = into_inbox();
  options.target = inbox_ + "/mine";
  ReceiverThread receiver(options);
  ASSERT_TRUE(
      send_file(dir_.write("theirs", "x"), receiver.endpoint(), send_options()).has_value());
  const auto got = receiver.join();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->report.name, "theirs");
  EXPECT_EQ(names_in(inbox_), Names{"mine"});
}

TEST_F(ExchangeTest, AFileThatIsThereIsKeptUnlessToldOtherwise) {
  dir_.write("inbox/file", "old");
  const std::string path = dir_.write("file", "new");
  {
    ReceiverThread receiver(into_inbox());
    const auto sent = send_file(path, receiver.endpoint(), send_options());
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code(), kExists) << sent.error().message();
    EXPECT_EQ(receiver.wait_for_refusals(1)[0].code(), kExists);
    EXPECT_EQ(received("file"), "old");
  }
  ReceiverOptions options = into_inbox();
  options.existing = ExistingTarget::kReplace;
  ReceiverThread receiver(options);
  ASSERT_TRUE(send_file(path, receiver.endpoint(), send_options()).has_value());
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_EQ(received("file"), "new");
  EXPECT_EQ(names_in(inbox_), Names{"file"});
}

// Goal:   a symbolic link that somebody put at the name does not lead the bytes elsewhere.
TEST_F(ExchangeTest, ALinkAtTheNameIsReplacedAndNotFollowed) {
  const std::string outside = dir_.write("outside", "precious");
  ASSERT_EQ(::symlink(outside.c_str(), (inbox_ + "/file").c_str()), 0);
  ASSERT_EQ(::symlink(outside.c_str(), (inbox_ + "/other.quire-part").c_str()), 0);
  ReceiverOptions options = into_inbox();
  options.existing = ExistingTarget::kReplace;
  ReceiverThread receiver(options);
  ASSERT_TRUE(send_file(dir_.write("file", "new"), receiver.endpoint(), send_options()));
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_EQ(received("file"), "new");
  EXPECT_FALSE(std::filesystem::is_symlink(inbox_ + "/file"));
  ReceiverThread again(into_inbox());
  EXPECT_FALSE(send_file(dir_.write("other", "new"), again.endpoint(), send_options()));
  EXPECT_EQ(read_file(outside), "precious");
}

TEST_F(ExchangeTest, MoreBytesThanAllowedAreRefusedBeforeTheyCome) {
  ReceiverOptions options = into_inbox();
  options.bytes_max = 9999;
  ReceiverThread receiver(options);
  const auto sent =
      send_file(dir_.write("file", pattern(10'000)), receiver.endpoint(), send_options());
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code(), kTooBig) << sent.error().message();
  EXPECT_TRUE(names_in(inbox_).empty());
  EXPECT_TRUE(send_file(dir_.write("less", pattern(9999)), receiver.endpoint(), send_options()));
}

TEST_F(ExchangeTest, OnlyTheSameTokenIsAccepted) {
  ReceiverOptions options = into_inbox();
  options.exchange.token = "correct horse";
  ReceiverThread receiver(options);
  const std::string path = dir_.write("file", "x");
  SendOptions sending = send_options();
  std::size_t refused = 0;
  for (const char* token : {"", "correct hors", "correct horses", "Correct horse"}) {
    sending.exchange.token = token;
    const auto sent = send_file(path, receiver.endpoint(), sending);
    ASSERT_FALSE(sent.has_value()) << token;
    EXPECT_EQ(sent.error().code(), kDenied) << sent.error().message();
    EXPECT_EQ(receiver.wait_for_refusals(++refused).back().code(), kDenied);
  }
  EXPECT_TRUE(names_in(inbox_).empty());
  sending.exchange.token = "correct horse";
  EXPECT_TRUE(send_file(path, receiver.endpoint(), sending).has_value());
  EXPECT_TRUE(receiver.join().has_value());
}

TEST_F(ExchangeTest, WhoComesAfterTheLastFileIsToldSo) {
  auto receiver = Receiver::open(parse_endpoint("tcp:0").value(), into_inbox()).value();
  std::optional<Peer> late(receiver.endpoint());
  std::thread turning_away([&] { receiver.turn_away_the_rest(); });
  const auto answer = late->hear();
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), (std::error_code{ECONNREFUSED, std::system_category()}));
  EXPECT_NE(answer.error().message().find("no more files"), std::string::npos);
  late.reset();
  turning_away.join();
}

// Goal:   what has arrived before a connection broke is not sent again.
// Method: a peer that sends half of the file, chunk by chunk, and goes away in the middle of one;
//         then the true sender of the same file.
TEST_F(ExchangeTest, ABrokenConnectionIsGoneOnWithWhereItStopped) {
  const std::string content = pattern(10 * kChunk + 77);
  const std::string path = dir_.write("file", content);
  ReceiverThread receiver(into_inbox());
  leave_part(receiver, path, 5);
  EXPECT_EQ(names_in(inbox_), (Names{"file.quire-offer", "file.quire-part"}));
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  const auto got = receiver.join();
  ASSERT_TRUE(got.has_value()) << got.error().message();
  EXPECT_EQ(sent->resumed_from_bytes, 5 * kChunk);
  EXPECT_EQ(got->report.resumed_from_bytes, 5 * kChunk);
  EXPECT_EQ(sent->bytes, content.size() - 5 * kChunk);
  EXPECT_EQ(sent->checksum, checksum_of(content, content.size()));
  EXPECT_TRUE(received("file") == content);
  EXPECT_EQ(names_in(inbox_), Names{"file"});
}

// Goal:   who asks for a part and goes away before going on with it does not take it along.
TEST_F(ExchangeTest, APartOutlivesAConnectionThatDidNotGoOnWithIt) {
  const std::string path = dir_.write("file", pattern(10 * kChunk));
  const struct stat status = status_of(path);
  ReceiverThread receiver(into_inbox());
  leave_part(receiver, path, 5);
  wire::Offer offer = offer_of("file", 10 * kChunk);
  offer.modified_s = status.st_mtim.tv_sec;
  offer.modified_ns = static_cast<std::uint32_t>(status.st_mtim.tv_nsec);
  {
    Peer peer(receiver.endpoint());
    peer.send(offer);
    EXPECT_EQ(std::get<wire::Accept>(peer.hear().value()).from_bytes, 5 * kChunk);
  }
  static_cast<void>(receiver.wait_for_refusals(2));
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_EQ(sent->resumed_from_bytes, 5 * kChunk);
}

TEST_F(ExchangeTest, APartThatIsAllThereIsOnlyCheckedAndNamed) {
  const std::string path = dir_.write("file", pattern(5 * kChunk));
  ReceiverThread receiver(into_inbox());
  leave_part(receiver, path, 5);
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_EQ(sent->bytes, 0U);
  EXPECT_EQ(sent->resumed_from_bytes, 5 * kChunk);
  EXPECT_TRUE(received("file") == read_file(path));
}

void touch(const std::string& path) {
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(9));
}

void change_byte(const std::string& path, std::streamoff at) {
  std::fstream(path, std::ios::in | std::ios::out).seekp(at).put('!');
}

// Goal:   a part is gone on with only when it is the beginning of this very file.
// Method: leave a part of five chunks, change one thing, send again.
TEST_F(ExchangeTest, APartOfAnotherFileIsNotGoneOnWith) {
  struct Row {
    const char* what;
    std::function<void(const std::string& path, const std::string& part)> change;
    std::uint64_t resumed_chunks;
  };
  const std::vector<Row> rows{
      {"nothing", [](const auto&, const auto&) {}, 5},
      {"its time", [](const auto& path, const auto&) { touch(path); }, 0},
      {"its size",
       [](const auto& path, const auto&) { std::filesystem::resize_file(path, 9 * kChunk); }, 0},
      {"a byte of the part", [](const auto&, const auto& part) { change_byte(part, 4321); }, 0},
      {"a byte of the offer beside it",
       [](const auto& path, const auto& part) {
         change_byte(std::filesystem::path(part).replace_extension("quire-offer"), 20);
         static_cast<void>(path);
       },
       0},
      {"the part, longer than the file",
       [](const auto&, const auto& part) { std::filesystem::resize_file(part, 11 * kChunk); }, 0},
      {"the part, cut inside a chunk",
       [](const auto&, const auto& part) { std::filesystem::resize_file(part, 3 * kChunk - 1); },
       2},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const std::string path = dir_.write("file", pattern(10 * kChunk));
    ReceiverThread receiver(into_inbox());
    leave_part(receiver, path, 5);
    row.change(path, inbox_ + "/file.quire-part");
    const auto sent = send_file(path, receiver.endpoint(), send_options());
    ASSERT_TRUE(sent.has_value()) << sent.error().message();
    ASSERT_TRUE(receiver.join().has_value());
    EXPECT_EQ(sent->resumed_from_bytes, row.resumed_chunks * kChunk);
    EXPECT_TRUE(received("file") == read_file(path));
    std::filesystem::remove(inbox_ + "/file");
  }
}

// Goal:   two receivers never write to one part.
TEST_F(ExchangeTest, APartThatAnotherReceiverHasIsLeftToIt) {
  const std::string path = dir_.write("file", pattern(3 * kChunk));
  ReceiverThread first(into_inbox());
  ReceiverThread second(into_inbox());
  Peer peer(first.endpoint());
  peer.begin(offer_of("file", 3 * kChunk));
  const auto sent = send_file(path, second.endpoint(), send_options());
  ASSERT_FALSE(sent.has_value());
  EXPECT_NE(sent.error().message().find("another receiver"), std::string::npos);
  EXPECT_EQ(second.wait_for_refusals(1)[0].code(), Errc::kLimit);
}

}  // namespace
}  // namespace quire::internal
