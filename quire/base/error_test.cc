// SPDX-License-Identifier: Apache-2.0
#include "quire/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <type_traits>

#include "quire/base/result.h"

namespace quire {
namespace {

Error no_space() {
  return Error({.code = std::error_code(ENOSPC, std::system_category()),
                .operation = "write",
                .subject = "log.bin, offset 0, 512 bytes",
                .remedy = "free some space on that file system"});
}

TEST(ErrorTest, MessageIsOperationSubjectCauseNameAndRemedy) {
  EXPECT_EQ(no_space().message(),
            "write(log.bin, offset 0, 512 bytes): No space left on device (ENOSPC); "
            "free some space on that file system");
}

TEST(ErrorTest, MessageWithoutRemedyEndsWithTheCause) {
  EXPECT_EQ(make_error(Errc::kClosed, "flush", "log.bin").message(),
            "flush(log.bin): already closed");
}

TEST(ErrorTest, AGivenCauseReplacesTheCodesOwnText) {
  const Error error = make_error(Errc::kOutOfRange, "map", "a.bin", "it ends past the end", "ask");
  EXPECT_EQ(error.cause(), "it ends past the end");
  EXPECT_EQ(error.message(), "map(a.bin): it ends past the end; ask");
}

TEST(ErrorTest, AGivenCauseKeepsTheErrnosName) {
  const Error error({.code = std::make_error_code(std::errc::operation_not_permitted),
                     .operation = "open",
                     .subject = "x",
                     .cause = "the file is immutable"});
  EXPECT_EQ(error.message(), "open(x): the file is immutable (EPERM)");
}

TEST(ErrorTest, CodesCompareWithErrcOfTheStandardLibraryAndWithOurs) {
  EXPECT_TRUE(no_space().code() == std::errc::no_space_on_device);
  EXPECT_FALSE(no_space().code() == std::errc::io_error);
  EXPECT_FALSE(no_space().code() == Errc::kOutOfRange);
  const Error ours = make_error(Errc::kOutOfRange, "map", "x");
  EXPECT_TRUE(ours.code() == Errc::kOutOfRange);
  EXPECT_FALSE(ours.code() == Errc::kMisaligned);
  // 1 is EPERM too: the category tells them apart.
  EXPECT_FALSE(ours.code() == std::errc::operation_not_permitted);
}

TEST(ErrorTest, EveryErrcHasATextOfItsOwn) {
  std::set<std::string> texts;
  for (int value = static_cast<int>(Errc::kOutOfRange); value <= static_cast<int>(Errc::kSealed);
       ++value) {
    const std::error_code code = make_error_code(static_cast<Errc>(value));
    EXPECT_STREQ(code.category().name(), "quire");
    EXPECT_NE(code.message(), "unknown error") << value;
    EXPECT_TRUE(texts.insert(code.message()).second) << "twice: " << code.message();
  }
  EXPECT_EQ(std::error_code(4711, quire_category()).message(), "unknown error");
}

TEST(ErrorTest, ErrnoNamesAreSymbolic) {
  EXPECT_EQ(errno_name(ENOENT), "ENOENT");
  EXPECT_EQ(errno_name(EIO), "EIO");
  EXPECT_EQ(errno_name(4711), "errno 4711");
  EXPECT_EQ(errno_name(-1), "errno -1");
}

// Goal:   copying an Error shares its parts: no allocation, nothing that throws.
TEST(ErrorTest, CopiesShareTheirParts) {
  static_assert(std::is_nothrow_copy_constructible_v<Error>);
  static_assert(std::is_nothrow_copy_assignable_v<Error>);
  const Error original = no_space();
  const Error copy = original;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(&copy.subject(), &original.subject());
  EXPECT_EQ(copy.message(), original.message());
}

TEST(ErrorTest, AnotherRemedyLeavesTheOriginalAlone) {
  const Error original = no_space();
  const Error changed = original.with_remedy("delete old logs");
  EXPECT_EQ(original.remedy(), "free some space on that file system");
  EXPECT_EQ(changed.remedy(), "delete old logs");
  EXPECT_EQ(changed.code(), original.code());
  EXPECT_EQ(changed.operation(), original.operation());
  EXPECT_EQ(changed.subject(), original.subject());
}

TEST(ErrorTest, OutlivesWhatItWasCopiedFrom) {
  auto original = std::make_unique<Error>(no_space());
  const Error copy = *original;
  const std::string message = original->message();
  original.reset();
  EXPECT_EQ(copy.message(), message);
}

// --- Result, QUIRE_TRY --------------------------------------------------------------------------

Result<int> number(bool works) {
  if (works) {
    return 42;
  }
  return fail(no_space());
}

Result<void> nothing(bool works) {
  if (works) {
    return {};
  }
  return fail(no_space());
}

Result<std::string> as_text(bool number_works, bool nothing_works, int& steps) {
  const int value = QUIRE_TRY(number(number_works));
  ++steps;
  QUIRE_TRY(nothing(nothing_works));
  ++steps;
  return std::to_string(value);
}

TEST(ResultTest, NothingHasAValueTooOrThrowsItsError) {
  const Result<void> good;
  EXPECT_NO_THROW(good.value());
  const Result<void> bad = fail(make_error(Errc::kLimit, "flush", "log"));
  try {
    bad.value();
    FAIL() << "no exception";
  } catch (const tl::bad_expected_access<Error>& thrown) {
    EXPECT_EQ(thrown.error().code(), Errc::kLimit);
  }
}

TEST(QuireTryTest, UnwrapsValuesAndGoesOn) {
  int steps = 0;
  EXPECT_EQ(as_text(true, true, steps), std::string("42"));
  EXPECT_EQ(steps, 2);
}

TEST(QuireTryTest, ReturnsTheFirstErrorAndStopsThere) {
  int steps = 0;
  const Result<std::string> first = as_text(false, true, steps);
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().message(), no_space().message());
  EXPECT_EQ(steps, 0);
  EXPECT_FALSE(as_text(true, false, steps).has_value());
  EXPECT_EQ(steps, 1);
}

Result<std::unique_ptr<int>> boxed() {
  return std::make_unique<int>(7);
}

Result<int> unboxed() {
  const std::unique_ptr<int> box = QUIRE_TRY(boxed());
  return *box;
}

TEST(QuireTryTest, MovesWhatCannotBeCopied) {
  EXPECT_EQ(unboxed(), 7);
}

}  // namespace
}  // namespace quire
