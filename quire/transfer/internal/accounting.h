// SPDX-License-Identifier: Apache-2.0
//
// accounting: moves the bytes of a chunk, computes its checksum, and writes both into the account.
//
//   Moving    transfer() between a file and the connection   -> transfer_cpu_ns, system_calls, ...
//   Checking  RunningChecksum over the file's pages          -> checksum_cpu_ns
//
// Thread-safety: one thread: processor time is the calling thread's.
// Errors:        those of transfer() and of RunningChecksum.
#pragma once

#include <string>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/transfer/exchange.h"
#include "quire/transfer/internal/running_checksum.h"

namespace quire::internal {

// transfer() with the options of an exchange.
Result<void> move_bytes(const TransferSource& source, const TransferTarget& target,
                        const ExchangeOptions& options, ExchangeReport& report);

// RunningChecksum::add_file.
Result<void> check_bytes(RunningChecksum& checksum, int fd, ByteRange range,
                         const std::string& path, ExchangeReport& report);

// Errors: EINVAL for a token or an idle limit out of their ranges.
[[nodiscard]] Result<void> check_options(const ExchangeOptions& options);

}  // namespace quire::internal
