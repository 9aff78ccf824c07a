// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/temporary_file.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <utility>

#include "quire/base/prng.h"
#include "quire/sys/process.h"

namespace quire::internal {
namespace {

constexpr const char* kOperation = "copy";
// Of a file under construction: nobody else may look before its mode is the source's.
constexpr std::uint32_t kPrivateMode = 0600;
// NAME_MAX is 255; the dots, ".quire-" and eight digits take 16.
constexpr std::size_t kStemBytesMax = 239;

}  // namespace

std::string dotted_name_for(const std::string& name) {
  static std::atomic<std::uint64_t> counter{0};
  // Different in every process and at every call; who still meets a taken name tries another.
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  Prng prng(static_cast<std::uint64_t>(now) ^ (++counter << 32) ^
            static_cast<std::uint64_t>(sys::process_id()));
  return fmt::format(".{}.quire-{:08x}", name.substr(0, kStemBytesMax),
                     static_cast<std::uint32_t>(prng()));
}

Result<TemporaryFile> TemporaryFile::create(const sys::Descriptor& directory,
                                            const std::string& name,
                                            const std::string& shown_path) {
  TemporaryFile file(directory, name, shown_path);
  auto nameless = sys::open_nameless(directory, kPrivateMode);
  if (nameless) {
    file.file_ = std::move(*nameless);
    return file;
  }
  // EOPNOTSUPP, EISDIR, ENOENT: what file systems without nameless files say. Any other reason
  // shows again with a named one.
  QUIRE_TRY(file.open_dotted());
  return file;
}

TemporaryFile::TemporaryFile(TemporaryFile&& other) noexcept
    : directory_(other.directory_),
      name_(std::move(other.name_)),
      shown_path_(std::move(other.shown_path_)),
      dotted_name_(std::exchange(other.dotted_name_, {})),
      file_(std::move(other.file_)) {}

TemporaryFile::~TemporaryFile() {
  if (!dotted_name_.empty()) {
    static_cast<void>(sys::unlink_at(*directory_, dotted_name_.c_str()));
  }
}

Result<void> TemporaryFile::open_dotted() {
  for (int attempt = 0; attempt < kDottedNamesMax; ++attempt) {
    std::string dotted = dotted_name_for(name_);
    auto opened = sys::open_file_at(*directory_, dotted.c_str(),
                                    {.write = true,
                                     .create = true,
                                     .exclusive = true,
                                     .no_follow = true,
                                     .mode = kPrivateMode});
    if (opened) {
      file_ = std::move(*opened);
      dotted_name_ = std::move(dotted);
      return {};
    }
    if (opened.error().value != EEXIST) {
      return fail(sys::to_error(opened.error(), kOperation, shown_path_));
    }
  }
  return fail(sys::to_error(sys::Errno{EEXIST}, kOperation, shown_path_));
}

Result<void> TemporaryFile::give_dotted_name() {
  for (int attempt = 0; attempt < kDottedNamesMax; ++attempt) {
    std::string dotted = dotted_name_for(name_);
    const auto linked = sys::link_nameless(file_.get(), *directory_, dotted.c_str());
    if (linked) {
      dotted_name_ = std::move(dotted);
      return {};
    }
    if (linked.error().value != EEXIST) {
      return fail(sys::to_error(linked.error(), kOperation, shown_path_));
    }
  }
  return fail(sys::to_error(sys::Errno{EEXIST}, kOperation, shown_path_));
}

Result<void> TemporaryFile::commit(sys::RenameOver over) {
  if (dotted_name_.empty()) {
    const auto linked = sys::link_nameless(file_.get(), *directory_, name_.c_str());
    if (linked) {
      return {};
    }
    if (linked.error().value != EEXIST || over == sys::RenameOver::kRefuse) {
      return fail(sys::to_error(linked.error(), kOperation, shown_path_));
    }
    QUIRE_TRY(give_dotted_name());
  }
  const auto renamed = sys::rename_at(*directory_, dotted_name_.c_str(), name_.c_str(), over);
  if (!renamed) {
    return fail(sys::to_error(renamed.error(), kOperation, shown_path_));
  }
  dotted_name_.clear();
  return {};
}

}  // namespace quire::internal
