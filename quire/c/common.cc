// SPDX-License-Identifier: Apache-2.0
#include "quire/c/common.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <system_error>

#include "quire/base/durability.h"
#include "quire/c/internal/boundary.h"
#include "quire/c/internal/handles.h"

namespace quire::c {
namespace {

// Position: the code. What C programs were compiled with is never renumbered.
constexpr std::array kCodeNames = {"QUIRE_OK",
                                   "QUIRE_ERROR_OUT_OF_RANGE",
                                   "QUIRE_ERROR_MISALIGNED",
                                   "QUIRE_ERROR_UNSUPPORTED",
                                   "QUIRE_ERROR_WRONG_KIND",
                                   "QUIRE_ERROR_TRUNCATED",
                                   "QUIRE_ERROR_CLOSED",
                                   "QUIRE_ERROR_LIMIT",
                                   "QUIRE_ERROR_CANCELLED",
                                   "QUIRE_ERROR_CORRUPT",
                                   "QUIRE_ERROR_READ_ONLY",
                                   "QUIRE_ERROR_FAULT",
                                   "QUIRE_ERROR_CHANGED",
                                   "QUIRE_ERROR_NEWER_VERSION",
                                   "QUIRE_ERROR_FAILED",
                                   "QUIRE_ERROR_SEALED"};

constexpr bool is(Errc errc, quire_code code) {
  return static_cast<quire_code>(errc) == code;
}
static_assert(is(Errc::kOutOfRange, QUIRE_ERROR_OUT_OF_RANGE) &&
              is(Errc::kMisaligned, QUIRE_ERROR_MISALIGNED) &&
              is(Errc::kUnsupported, QUIRE_ERROR_UNSUPPORTED) &&
              is(Errc::kWrongKind, QUIRE_ERROR_WRONG_KIND) &&
              is(Errc::kTruncated, QUIRE_ERROR_TRUNCATED) &&
              is(Errc::kClosed, QUIRE_ERROR_CLOSED) && is(Errc::kLimit, QUIRE_ERROR_LIMIT) &&
              is(Errc::kCancelled, QUIRE_ERROR_CANCELLED) &&
              is(Errc::kCorrupt, QUIRE_ERROR_CORRUPT) &&
              is(Errc::kReadOnly, QUIRE_ERROR_READ_ONLY) && is(Errc::kFault, QUIRE_ERROR_FAULT) &&
              is(Errc::kChanged, QUIRE_ERROR_CHANGED) &&
              is(Errc::kNewerVersion, QUIRE_ERROR_NEWER_VERSION) &&
              is(Errc::kFailed, QUIRE_ERROR_FAILED) && is(Errc::kSealed, QUIRE_ERROR_SEALED));
static_assert(QUIRE_TO_END == kToEnd);

}  // namespace

Result<Durability> to_durability(const char* operation, std::uint32_t durability) {
  QUIRE_TRY(check_constant(operation, "durability", durability, QUIRE_DURABILITY_STARTED));
  switch (durability) {
    case QUIRE_DURABILITY_ALL: return Durability::kAll;
    case QUIRE_DURABILITY_STARTED: return Durability::kStarted;
    default: return Durability::kData;
  }
}

}  // namespace quire::c

using quire::Result;
using quire::c::misuse;
using quire::c::require;
using quire::c::run;

uint32_t quire_abi_version() noexcept {
  return QUIRE_ABI_VERSION;
}

const char* quire_version() noexcept {
  return QUIRE_VERSION;
}

const char* quire_code_name(quire_code code) noexcept {
  const char* name = nullptr;
  if (code >= 0) {
    const auto number = static_cast<std::size_t>(code);
    name = number < quire::c::kCodeNames.size() ? quire::c::kCodeNames[number] : nullptr;
  } else if (code != INT32_MIN) {
    name = strerrorname_np(-code);
  }
  return name != nullptr ? name : "unknown";
}

int32_t quire_ticket_is_done(const quire_ticket* ticket) noexcept {
  return ticket != nullptr && ticket->ticket.is_done() ? 1 : 0;
}

quire_code quire_ticket_wait(const quire_ticket* ticket, uint32_t timeout_ms,
                             quire_error* error) noexcept {
  return run(__func__, {{"ticket", ticket}}, error, [&](const char* operation) -> Result<void> {
    if (timeout_ms == QUIRE_MS_FOREVER) {
      return ticket->ticket.wait();
    }
    const std::optional<Result<void>> outcome =
        ticket->ticket.wait_for(std::chrono::milliseconds(timeout_ms));
    if (!outcome) {
      return fail(quire::Error({.code = {ETIMEDOUT, std::system_category()},
                                .operation = operation,
                                .subject = std::to_string(timeout_ms) + " ms",
                                .cause = "it goes on",
                                .remedy = "wait again, or free the ticket"}));
    }
    return *outcome;
  });
}

void quire_ticket_free(quire_ticket* ticket) noexcept {
  delete ticket;
}

void quire_update_end(quire_update* update) noexcept {
  delete update;
}
