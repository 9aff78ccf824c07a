// SPDX-License-Identifier: Apache-2.0
//
// choice: which methods a pair of ends allows, best first, and why.
//
//   file   -> file, same file system   reflink, copy_file_range, sendfile, read_write
//   file   -> file, another one        sendfile, read_write
//   file   -> socket                   sendfile, splice, read_write
//   file   -> pipe                     splice, sendfile, read_write
//   pipe   -> anything                 splice, read_write
//   socket -> pipe                     splice, read_write
//   anything else                      read_write
//
// mmap_write, direct, msg_zerocopy and send_zc are never chosen, only used when they are named:
// none of them was the cheapest for any pair in bench/transfer_bench. read_write ends every list:
// it needs nothing but read and write.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/transfer/internal/ends.h"

namespace quire::internal {

struct Choice {
  std::vector<TransferMethod> methods;  // Best first; never empty.
  std::string reason;                   // Of the first.
};

// Errors: kUnsupported when the method asked for is not one for this pair, with why.
[[nodiscard]] Result<Choice> choose_methods(const SourceEnd& source, const TargetEnd& target,
                                            const TransferOptions& options);

// Why a method that followed a refused one was taken.
[[nodiscard]] std::string reason_after(TransferMethod refused, const std::string& cause);

}  // namespace quire::internal
