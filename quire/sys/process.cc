// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process.h"

#include <unistd.h>

namespace quire::sys {

int process_id() noexcept {
  return ::getpid();
}

}  // namespace quire::sys
