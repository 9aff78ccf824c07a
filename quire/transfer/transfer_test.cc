// SPDX-License-Identifier: Apache-2.0
//
// Every method between every two ends: the same bytes, or a refusal that was to be expected.
#include "quire/transfer/transfer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "quire/testing/temp_dir.h"
#include "quire/transfer/internal/ends_test.h"

namespace quire::internal {
namespace {

constexpr std::size_t kLongBytes = (9 << 20) + 5;  // More than one step, and no round number.

constexpr TransferMethod kAllMethods[] = {
    TransferMethod::kAutomatic,     TransferMethod::kReadWrite, TransferMethod::kDirect,
    TransferMethod::kMapWrite,      TransferMethod::kSendFile,  TransferMethod::kSplice,
    TransferMethod::kCopyFileRange, TransferMethod::kReflink,   TransferMethod::kZeroCopySend,
    TransferMethod::kRingSend};
constexpr SourceKind kAllSources[] = {SourceKind::kFile, SourceKind::kPipe, SourceKind::kUnixSocket,
                                      SourceKind::kTcpSocket};
constexpr TargetKind kAllTargets[] = {TargetKind::kFile,      TargetKind::kAppendedFile,
                                      TargetKind::kPipe,      TargetKind::kUnixSocket,
                                      TargetKind::kTcpSocket, TargetKind::kNullDevice};

// Whether the test's file system can share blocks between files.
bool shares_blocks() {
  static const bool answer = [] {
    const TempDir directory;
    const TestSource source(SourceKind::kFile, directory, pattern(8192));
    const TestTarget target(TargetKind::kFile, directory);
    return transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = TransferMethod::kReflink})
        .has_value();
  }();
  return answer;
}

// What a method is for.
bool is_for(TransferMethod method, SourceKind source, TargetKind target) {
  const bool from_file = source == SourceKind::kFile;
  switch (method) {
    case TransferMethod::kAutomatic:
    case TransferMethod::kReadWrite: return true;
    case TransferMethod::kDirect:
    case TransferMethod::kMapWrite: return from_file;
    case TransferMethod::kSendFile: return from_file && target != TargetKind::kAppendedFile;
    case TransferMethod::kSplice: return target != TargetKind::kAppendedFile;
    case TransferMethod::kCopyFileRange: return from_file && target == TargetKind::kFile;
    case TransferMethod::kReflink:
      return from_file && target == TargetKind::kFile && shares_blocks();
    case TransferMethod::kZeroCopySend:
    case TransferMethod::kRingSend: return from_file && target == TargetKind::kTcpSocket;
  }
  return false;
}

// How often the processor copies a byte on our side; nothing where the kernel does not tell.
std::optional<std::uint64_t> copies_of(TransferMethod method, SourceKind source,
                                       TargetKind target) {
  const bool to_file = target == TargetKind::kFile || target == TargetKind::kAppendedFile;
  switch (method) {
    case TransferMethod::kReadWrite: return 2;
    case TransferMethod::kDirect:
    case TransferMethod::kMapWrite: return 1;
    case TransferMethod::kCopyFileRange:
      return shares_blocks() ? std::nullopt : std::optional<std::uint64_t>(1);
    case TransferMethod::kSendFile: return to_file ? 1 : 0;
    case TransferMethod::kSplice:
      if (to_file) {
        return 1;
      }
      if (source == SourceKind::kUnixSocket || source == SourceKind::kTcpSocket) {
        return std::nullopt;
      }
      return 0;
    case TransferMethod::kZeroCopySend:
    case TransferMethod::kRingSend: return 1;  // Loopback: the kernel says that it copied.
    default: return 0;
  }
}

bool is_available(TransferMethod method) {
  const bool needs_ring = method == TransferMethod::kRingSend || method == TransferMethod::kDirect;
  if (!needs_ring) {
    return true;
  }
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, pattern(8192));
  TestTarget target(method == TransferMethod::kDirect ? TargetKind::kFile : TargetKind::kTcpSocket,
                    directory);
  const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = method});
  static_cast<void>(target.received());
  return moved || moved.error().code() != Errc::kUnsupported;
}

// One method on every pair of ends: a loop, since each pair alone is a matter of milliseconds.
class TransferMethodTest : public ::testing::TestWithParam<TransferMethod> {
 protected:
  void SetUp() override {
    if (!is_available(GetParam())) {
      GTEST_SKIP() << name_of(GetParam()) << ": not on this kernel or file system";
    }
  }

  static void move_content(SourceKind source_kind, TargetKind target_kind, Blocking blocking,
                           const std::string& content);
};

std::string method_name(const ::testing::TestParamInfo<TransferMethod>& info) {
  return name_of(info.param);
}

INSTANTIATE_TEST_SUITE_P(All, TransferMethodTest, ::testing::ValuesIn(kAllMethods), method_name);

void TransferMethodTest::move_content(SourceKind source_kind, TargetKind target_kind,
                                      Blocking blocking, const std::string& content) {
  const TransferMethod method = GetParam();
  SCOPED_TRACE(std::string(name_of(source_kind)) + " to " + name_of(target_kind) + ", " +
               std::to_string(content.size()) + " bytes");
  const TempDir directory;
  const TestSource source(source_kind, directory, content, blocking);
  TestTarget target(target_kind, directory, blocking);
  TransferReport so_far;
  const auto moved =
      transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = method, .so_far = &so_far});
  if (!is_for(method, source_kind, target_kind)) {
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().code(), Errc::kUnsupported) << moved.error().message();
    EXPECT_FALSE(moved.error().cause().empty());
    return;
  }
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(moved->bytes, content.size());
  EXPECT_EQ(so_far.bytes, content.size());
  EXPECT_GT(moved->system_calls, 0U);
  EXPECT_FALSE(moved->reason.empty());
  if (method != TransferMethod::kAutomatic) {
    EXPECT_EQ(moved->method, method);
    EXPECT_TRUE(moved->fallbacks.empty());
    const auto copies = copies_of(method, source_kind, target_kind);
    EXPECT_EQ(moved->bytes_copied_by_cpu.has_value(), copies.has_value());
    EXPECT_EQ(moved->bytes_copied_by_cpu.value_or(0), copies.value_or(0) * content.size());
  }
  if (target_kind != TargetKind::kNullDevice) {
    EXPECT_TRUE(target.received() == content);
  }
}

// Goal:   whatever moves the bytes, they are the same, all of them, once; the report is true.
// Method: lengths around a page, a step and nothing, on blocking and non-blocking descriptors.
TEST_P(TransferMethodTest, MovesTheSameBytesOrIsRefusedForAReason) {
  const std::string long_content = long_pattern(kLongBytes);
  for (const SourceKind source : kAllSources) {
    for (const TargetKind target : kAllTargets) {
      for (const Blocking blocking : {Blocking::kYes, Blocking::kNo}) {
        move_content(source, target, blocking, "x");
        move_content(source, target, blocking, pattern(4097));
        // A refusal does not depend on the length.
        if (is_for(GetParam(), source, target)) {
          move_content(source, target, blocking, long_content);
        }
      }
    }
  }
}

TEST_P(TransferMethodTest, MovesNothingFromNothing) {
  for (const SourceKind source_kind : kAllSources) {
    for (const TargetKind target_kind : kAllTargets) {
      const TempDir directory;
      const TestSource source(source_kind, directory, "");
      TestTarget target(target_kind, directory);
      const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = GetParam()});
      if (moved) {
        EXPECT_EQ(moved->bytes, 0U);
        EXPECT_EQ(target.received(), "");
      } else {
        EXPECT_EQ(moved.error().code(), Errc::kUnsupported) << moved.error().message();
      }
    }
  }
}

// Methods that read a file, each with a target it can write.
class FileMethodTest : public ::testing::TestWithParam<TransferMethod> {
 protected:
  void SetUp() override {
    if (!is_available(GetParam())) {
      GTEST_SKIP() << name_of(GetParam()) << ": not on this kernel or file system";
    }
  }
  [[nodiscard]] static TargetKind target_kind() {
    const bool needs_tcp =
        GetParam() == TransferMethod::kZeroCopySend || GetParam() == TransferMethod::kRingSend;
    return needs_tcp ? TargetKind::kTcpSocket : TargetKind::kFile;
  }
};

INSTANTIATE_TEST_SUITE_P(All, FileMethodTest,
                         ::testing::Values(TransferMethod::kAutomatic, TransferMethod::kReadWrite,
                                           TransferMethod::kDirect, TransferMethod::kMapWrite,
                                           TransferMethod::kSendFile, TransferMethod::kSplice,
                                           TransferMethod::kCopyFileRange,
                                           TransferMethod::kZeroCopySend,
                                           TransferMethod::kRingSend),
                         method_name);

TEST_P(FileMethodTest, MovesExactlyTheRangeThatWasAskedFor) {
  const TempDir directory;
  const std::string content = long_pattern(kLongBytes);
  const TestSource source(SourceKind::kFile, directory, content);
  for (const ByteRange range : {ByteRange{1, 1}, ByteRange{4095, 8194}, ByteRange{777, kToEnd},
                                ByteRange{kLongBytes, kToEnd}, ByteRange{(1 << 20) - 1, 1 << 20}}) {
    TestTarget target(target_kind(), directory);
    const auto moved =
        transfer({.fd = source.fd(), .range = range}, {.fd = target.fd()}, {.method = GetParam()});
    ASSERT_TRUE(moved) << moved.error().message();
    const std::string wanted = content.substr(range.offset_bytes, range.length_bytes);
    EXPECT_EQ(moved->bytes, wanted.size());
    EXPECT_TRUE(target.received() == wanted) << describe(range);
  }
}

// Goal:   a source that is cut under way is an error with the position, at once and from every
//         method; what arrived before is the source's.
// Method: the file is truncated from inside the progress callback, to below where we are, to the
//         middle of a page ahead of us, and to exactly where we are.
TEST_P(FileMethodTest, TellsThePositionWhenTheSourceIsTruncatedUnderWay) {
  for (const std::int64_t beyond : {-5000, 0, 3000}) {
    const TempDir directory;
    const std::string content = long_pattern(40 << 20);
    const TestSource source(SourceKind::kFile, directory, content);
    TestTarget target(target_kind(), directory);
    TransferReport so_far;
    std::uint64_t cut_at = 0;
    const auto moved = transfer(
        {.fd = source.fd()}, {.fd = target.fd()},
        {.method = GetParam(),
         .on_progress =
             [&](const TransferProgress& progress) {
               if (cut_at == 0) {
                 cut_at = progress.done_bytes + static_cast<std::uint64_t>(beyond);
                 ASSERT_EQ(::truncate(source.path().c_str(), static_cast<off_t>(cut_at)), 0);
               }
             },
         .so_far = &so_far});
    ASSERT_FALSE(moved) << beyond;
    EXPECT_EQ(moved.error().code(), Errc::kTruncated) << moved.error().message();
    EXPECT_NE(moved.error().message().find(std::to_string(cut_at)), std::string::npos)
        << moved.error().message();
    const std::string received = target.received();
    ASSERT_GE(content.size(), received.size());
    // Direct reads that were already under way may have seen what was there before the cut.
    const std::size_t true_bytes = std::min<std::size_t>(received.size(), cut_at);
    EXPECT_TRUE(received.compare(0, true_bytes, content, 0, true_bytes) == 0);
  }
}

TEST_P(FileMethodTest, DoesNotFollowASourceThatGrowsUnderWay) {
  const TempDir directory;
  const std::string content = long_pattern(kLongBytes);
  const TestSource source(SourceKind::kFile, directory, content);
  TestTarget target(target_kind(), directory);
  const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()},
                              {.method = GetParam(), .on_progress = [&](const TransferProgress&) {
                                 ASSERT_EQ(::truncate(source.path().c_str(), kLongBytes * 2), 0);
                               }});
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(moved->bytes, content.size());
  EXPECT_TRUE(target.received() == content);
}

TEST_P(FileMethodTest, LeavesTheSourcePositionAlone) {
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, pattern(100'000));
  ASSERT_EQ(::lseek(source.fd(), 123, SEEK_SET), 123);
  TestTarget target(target_kind(), directory);
  ASSERT_TRUE(transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = GetParam()}));
  EXPECT_EQ(::lseek(source.fd(), 0, SEEK_CUR), 123);
}

TEST_P(FileMethodTest, StopsBetweenTwoStepsWhenAsked) {
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, long_pattern(40 << 20));
  TestTarget target(target_kind(), directory);
  std::stop_source stop;
  TransferReport so_far;
  const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()},
                              {.method = GetParam(),
                               .on_progress = [&](const TransferProgress&) { stop.request_stop(); },
                               .stop = stop.get_token(),
                               .so_far = &so_far});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), Errc::kCancelled) << moved.error().message();
  EXPECT_GT(so_far.bytes, 0U);
  EXPECT_LT(so_far.bytes, std::uint64_t{40} << 20);
}

TEST_P(FileMethodTest, LeaksNoDescriptor) {
  const TempDir directory;
  const int before = testing::count_open_descriptors();
  {
    const TestSource source(SourceKind::kFile, directory, long_pattern(kLongBytes));
    TestTarget target(target_kind(), directory);
    ASSERT_TRUE(transfer({.fd = source.fd()}, {.fd = target.fd()}, {.method = GetParam()}));
    static_cast<void>(target.received());
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

}  // namespace
}  // namespace quire::internal
