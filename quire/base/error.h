// SPDX-License-Identifier: Apache-2.0
//
// Error: what was tried, on what, why it failed, and what to do about it, in one sentence.
//
//   map(data.bin, offset 8192, 4096 bytes): the range ends past the end of the file, which has
//   10000 bytes; ask for at most 1808 bytes, or use quire::kToEnd
//   '-operation '-subject                   '-cause                    '-remedy
//
// Causes come from two places: the kernel (errno values, std::system_category) and quire itself
// (Errc, below). Both are std::error_code, so `error.code() == std::errc::no_space_on_device` and
// `error.code() == quire::Errc::kOutOfRange` both work.
//
// Invariants:    code() is never zero in an Error that a function returned.
// Thread-safety: immutable once built, so it can be copied and read from any thread.
// Cost:          building one allocates; copying one does not. Nothing on a fault path builds one.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace quire {

// Causes that the kernel has no errno for. Values are stable: they are printed and logged.
enum class Errc {
  kOutOfRange = 1,     // A range ends past what it indexes, or its sum overflows.
  kMisaligned = 2,     // An address or length does not fit the type or the device.
  kUnsupported = 3,    // This kernel, file system or kind of object cannot do it.
  kWrongKind = 4,      // A directory, a socket, ... where bytes were wanted.
  kTruncated = 5,      // The file is shorter than it was when we looked.
  kClosed = 6,         // The object was closed or moved from.
  kLimit = 7,          // A limit of the process, the machine or quire would be exceeded.
  kCancelled = 8,      // The caller asked us to stop.
  kCorrupt = 9,        // Bytes from outside do not have the form they claim.
  kReadOnly = 10,      // The mapping may only be read.
  kFault = 11,         // A load or store of mapped memory failed (SIGBUS).
  kChanged = 12,       // The file is not the one it was.
  kNewerVersion = 13,  // Written by a later version of quire.
  kFailed = 14,        // An earlier error sticks to this object.
  kSealed = 15,        // A seal forbids it, or a seal that was asked for is missing.
};

[[nodiscard]] const std::error_category& quire_category() noexcept;
[[nodiscard]] std::error_code make_error_code(Errc code) noexcept;

// The pieces of an Error by name. `cause` replaces the code's own text where that would be vague.
struct ErrorParts {
  std::error_code code;
  std::string operation;
  std::string subject;
  std::string cause = {};
  std::string remedy = {};
};

class Error {
 public:
  explicit Error(ErrorParts parts);

  [[nodiscard]] std::error_code code() const noexcept { return parts_->code; }
  [[nodiscard]] const std::string& operation() const noexcept { return parts_->operation; }
  [[nodiscard]] const std::string& subject() const noexcept { return parts_->subject; }
  // Why it failed, in words; the errno's name in parentheses where there is one.
  [[nodiscard]] std::string cause() const;
  // What the caller can do; may be empty.
  [[nodiscard]] const std::string& remedy() const noexcept { return parts_->remedy; }

  // operation(subject): cause; remedy
  [[nodiscard]] std::string message() const;

  // The same cause under another operation and subject: for the layer that knows what was wanted.
  [[nodiscard]] Error about(std::string operation, std::string subject) const;
  // The same error with another remedy: for the layer that knows better what to do.
  [[nodiscard]] Error with_remedy(std::string remedy) const;

 private:
  std::shared_ptr<const ErrorParts> parts_;
};

// An Error with a code of quire's own.
[[nodiscard]] Error make_error(Errc code, std::string operation, std::string subject,
                               std::string cause = {}, std::string remedy = {});

// The symbolic name of an errno value, "ENOENT"; "errno 4711" for one without a name.
[[nodiscard]] std::string errno_name(int value);

}  // namespace quire

template <>
struct std::is_error_code_enum<quire::Errc> : std::true_type {};
