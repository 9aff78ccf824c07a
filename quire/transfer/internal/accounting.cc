// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/accounting.h"

#include <fmt/format.h>

#include <cerrno>

#include "quire/sys/process.h"
#include "quire/transfer/wire.h"

namespace quire::internal {
namespace {

Error bad_option(std::string subject, std::string cause) {
  return Error({.code = {EINVAL, std::system_category()},
                .operation = "exchange",
                .subject = std::move(subject),
                .cause = std::move(cause)});
}

void add(ExchangeReport& report, const TransferReport& moved) {
  report.method = moved.method;
  report.reason = moved.reason;
  report.system_calls += moved.system_calls;
  if (report.bytes_copied_by_cpu && moved.bytes_copied_by_cpu) {
    *report.bytes_copied_by_cpu += *moved.bytes_copied_by_cpu;
  } else {
    report.bytes_copied_by_cpu.reset();
  }
}

}  // namespace

Result<void> move_bytes(const TransferSource& source, const TransferTarget& target,
                        const ExchangeOptions& options, ExchangeReport& report) {
  const std::uint64_t started_ns = sys::thread_cpu_ns();
  TransferReport moved;
  const auto done = transfer(source, target,
                             {.method = options.method,
                              .stop_fd = options.stop_fd,
                              .stall_timeout_ms = static_cast<int>(options.idle_limit.count()),
                              .so_far = &moved});
  add(report, moved);
  report.transfer_cpu_ns += sys::thread_cpu_ns() - started_ns;
  return done ? Result<void>{} : fail(done.error());
}

Result<void> check_bytes(RunningChecksum& checksum, int fd, ByteRange range,
                         const std::string& path, ExchangeReport& report) {
  const std::uint64_t started_ns = sys::thread_cpu_ns();
  Result<void> added = checksum.add_file(fd, range, path);
  report.checksum_cpu_ns += sys::thread_cpu_ns() - started_ns;
  return added;
}

Result<void> check_options(const ExchangeOptions& options) {
  if (options.token.size() > wire::kTokenBytesMax) {
    return fail(
        bad_option("token", fmt::format("it has more than {} bytes", wire::kTokenBytesMax)));
  }
  if (options.idle_limit < kIdleLimitMin || options.idle_limit > kIdleLimitMax) {
    return fail(bad_option(
        "idle limit", fmt::format("it is not from {} to {} seconds", kIdleLimitMin.count() / 1000,
                                  kIdleLimitMax.count() / 1000)));
  }
  return {};
}

}  // namespace quire::internal
