// SPDX-License-Identifier: Apache-2.0
#include "quire/base/error.h"

#include <cstring>
#include <utility>

namespace quire {
namespace {

const char* text_of(Errc code) noexcept {
  switch (code) {
    case Errc::kOutOfRange: return "the range is out of bounds";
    case Errc::kMisaligned: return "the alignment does not fit";
    case Errc::kUnsupported: return "not supported here";
    case Errc::kWrongKind: return "not a kind of file that holds bytes";
    case Errc::kTruncated: return "the file became shorter";
    case Errc::kClosed: return "already closed";
    case Errc::kLimit: return "a limit would be exceeded";
    case Errc::kCancelled: return "cancelled";
    case Errc::kCorrupt: return "the data is damaged";
    case Errc::kReadOnly: return "the mapping is read-only";
    case Errc::kFault: return "a memory access failed";
    case Errc::kChanged: return "the file has changed";
    case Errc::kNewerVersion: return "written by a newer version";
    case Errc::kFailed: return "an earlier error is still in force";
    case Errc::kSealed: return "a seal forbids it";
  }
  return "unknown error";
}

class QuireCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "quire"; }
  [[nodiscard]] std::string message(int value) const override {
    return text_of(static_cast<Errc>(value));
  }
};

}  // namespace

const std::error_category& quire_category() noexcept {
  static const QuireCategory category;
  return category;
}

std::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), quire_category()};
}

Error::Error(ErrorParts parts) : parts_(std::make_shared<const ErrorParts>(std::move(parts))) {}

std::string Error::cause() const {
  const std::error_code& code = parts_->code;
  std::string text = parts_->cause.empty() ? code.message() : parts_->cause;
  if (code.category() == std::system_category() || code.category() == std::generic_category()) {
    text += " (" + errno_name(code.value()) + ")";
  }
  return text;
}

std::string Error::message() const {
  std::string text = parts_->operation + "(" + parts_->subject + "): " + cause();
  if (!parts_->remedy.empty()) {
    text += "; " + parts_->remedy;
  }
  return text;
}

Error Error::about(std::string operation, std::string subject) const {
  ErrorParts parts = *parts_;
  parts.operation = std::move(operation);
  parts.subject = std::move(subject);
  return Error(std::move(parts));
}

Error Error::with_remedy(std::string remedy) const {
  ErrorParts parts = *parts_;
  parts.remedy = std::move(remedy);
  return Error(std::move(parts));
}

Error make_error(Errc code, std::string operation, std::string subject, std::string cause,
                 std::string remedy) {
  return Error({.code = code,
                .operation = std::move(operation),
                .subject = std::move(subject),
                .cause = std::move(cause),
                .remedy = std::move(remedy)});
}

std::string errno_name(int value) {
  const char* name = strerrorname_np(value);
  return name != nullptr ? std::string(name) : "errno " + std::to_string(value);
}

}  // namespace quire
