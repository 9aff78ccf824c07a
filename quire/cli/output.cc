// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/output.h"

#include <span>

#include "quire/sys/file.h"

namespace quire::cli {

void Output::write(std::string_view bytes) {
  if (failure_) {
    return;
  }
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    static_cast<void>(flush());
  }
  if (bytes.size() >= kBufferBytes && !failure_) {
    if (const auto written = sys::write_all(fd_, std::as_bytes(std::span(bytes))); !written) {
      failure_ = written.error();
    }
    return;
  }
  buffer_ += bytes;
}

sys::Outcome<void> Output::flush() {
  if (!failure_ && !buffer_.empty()) {
    if (const auto written = sys::write_all(fd_, std::as_bytes(std::span(buffer_))); !written) {
      failure_ = written.error();
    }
  }
  buffer_.clear();
  if (failure_) {
    return tl::unexpected<sys::Errno>(*failure_);
  }
  return {};
}

}  // namespace quire::cli
