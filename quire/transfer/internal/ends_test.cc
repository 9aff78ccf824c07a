// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/ends_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "quire/base/check.h"

namespace quire::internal {
namespace {

// What every file target holds before the transfer; an appended one keeps it.
constexpr const char* kOldContent = "what was there before";

void set_blocking(int fd, Blocking blocking) {
  const int flags = ::fcntl(fd, F_GETFL);
  QUIRE_CHECK_GE(flags, 0);
  const int wanted = blocking == Blocking::kNo ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  QUIRE_CHECK_EQ(::fcntl(fd, F_SETFL, wanted), 0);
}

EndPair pipe_pair() {
  std::array<int, 2> ends{};
  QUIRE_CHECK_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {.near = sys::Descriptor(ends[0]), .far = sys::Descriptor(ends[1])};
}

// In a thread of its own: a reader that has gone ends it, not the process.
void write_all_and_close(int fd, const std::string& content) {
  sigset_t broken_pipe;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  QUIRE_CHECK_EQ(::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr), 0);
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t written = ::write(fd, content.data() + done, content.size() - done);
    if (written <= 0) {
      break;
    }
    done += static_cast<std::size_t>(written);
  }
  ::close(fd);
}

std::string read_all(int fd) {
  std::string all;
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) {
      return all;
    }
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

sys::Descriptor open_or_abort(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  QUIRE_CHECK_GE(fd, 0);
  return sys::Descriptor(fd);
}

}  // namespace

const char* name_of(SourceKind kind) noexcept {
  switch (kind) {
    case SourceKind::kFile: return "file";
    case SourceKind::kPipe: return "pipe";
    case SourceKind::kUnixSocket: return "unix";
    case SourceKind::kTcpSocket: return "tcp";
  }
  return "";
}

const char* name_of(TargetKind kind) noexcept {
  switch (kind) {
    case TargetKind::kFile: return "file";
    case TargetKind::kAppendedFile: return "append";
    case TargetKind::kPipe: return "pipe";
    case TargetKind::kUnixSocket: return "unix";
    case TargetKind::kTcpSocket: return "tcp";
    case TargetKind::kNullDevice: return "null";
  }
  return "";
}

sys::Descriptor open_at(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  EXPECT_GE(fd, 0) << path;
  return sys::Descriptor(fd);
}

std::string long_pattern(std::size_t length_bytes) {
  static const std::string period = testing::pattern((1 << 18) + 13);
  std::string text;
  text.reserve(length_bytes + period.size());
  while (text.size() < length_bytes) {
    text += period;
  }
  text.resize(length_bytes);
  return text;
}

EndPair tcp_pair() {
  const sys::Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  QUIRE_CHECK_EQ(::bind(listener.get(), raw, length), 0);
  QUIRE_CHECK_EQ(::listen(listener.get(), 1), 0);
  QUIRE_CHECK_EQ(::getsockname(listener.get(), raw, &length), 0);
  EndPair pair;
  pair.near = sys::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  QUIRE_CHECK_EQ(::connect(pair.near.get(), raw, length), 0);
  pair.far = sys::Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  QUIRE_CHECK_GE(pair.far.get(), 0);
  return pair;
}

EndPair unix_pair() {
  std::array<int, 2> ends{};
  QUIRE_CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {.near = sys::Descriptor(ends[0]), .far = sys::Descriptor(ends[1])};
}

TestSource::TestSource(SourceKind kind, const testing::TempDir& directory,
                       const std::string& content, Blocking blocking) {
  if (kind == SourceKind::kFile) {
    path_ = directory.write("source", content);
    fd_ = open_or_abort(path_, O_RDONLY);
    return;
  }
  EndPair pair = kind == SourceKind::kPipe         ? pipe_pair()
                 : kind == SourceKind::kUnixSocket ? unix_pair()
                                                   : tcp_pair();
  fd_ = std::move(pair.near);
  set_blocking(fd_.get(), blocking);
  feeder_ = std::jthread([fd = pair.far.release(), content] { write_all_and_close(fd, content); });
}

TestSource::~TestSource() {
  // A feeder that is stuck ends when there is nobody to read.
  static_cast<void>(fd_.close());
}

TestTarget::TestTarget(TargetKind kind, const testing::TempDir& directory, Blocking blocking)
    : kind_(kind) {
  if (kind == TargetKind::kNullDevice) {
    fd_ = open_or_abort("/dev/null", O_WRONLY);
    return;
  }
  if (kind == TargetKind::kFile || kind == TargetKind::kAppendedFile) {
    path_ = directory.write("target", kind == TargetKind::kAppendedFile ? kOldContent : "");
    fd_ = open_or_abort(path_, O_RDWR | (kind == TargetKind::kAppendedFile ? O_APPEND : 0));
    return;
  }
  EndPair pair = kind == TargetKind::kPipe         ? pipe_pair()
                 : kind == TargetKind::kUnixSocket ? unix_pair()
                                                   : tcp_pair();
  if (kind == TargetKind::kPipe) {
    std::swap(pair.near, pair.far);
  }
  fd_ = std::move(pair.near);
  set_blocking(fd_.get(), blocking);
  collector_ = std::jthread([this, far = std::move(pair.far)] { received_ = read_all(far.get()); });
}

TestTarget::~TestTarget() {
  static_cast<void>(fd_.close());
}

std::string TestTarget::received() {
  static_cast<void>(fd_.close());
  if (collector_.joinable()) {
    collector_.join();
    return std::move(received_);
  }
  if (kind_ == TargetKind::kNullDevice) {
    return {};
  }
  std::string content = testing::read_file(path_);
  if (kind_ == TargetKind::kAppendedFile) {
    const std::string old_content = kOldContent;
    QUIRE_CHECK(content.starts_with(old_content));
    content.erase(0, old_content.size());
  }
  return content;
}

}  // namespace quire::internal
