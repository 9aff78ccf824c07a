// SPDX-License-Identifier: Apache-2.0
#include "quire/map/transfer_mapping.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

namespace quire {
namespace {

constexpr const char* kReceived = "received descriptor";

// Receives one descriptor and checks it against what was agreed.
Result<sys::Descriptor> receive_checked(int socket, std::uint64_t minimum_bytes,
                                        sys::Seals required) {
  sys::Outcome<sys::Descriptor> file = sys::receive_descriptor(socket);
  if (!file) {
    return fail(sys::to_error(file.error(), "receive_mapping", fmt::format("socket {}", socket)));
  }
  const sys::Outcome<sys::FileStatus> status = sys::file_status(file->get());
  if (!status) {
    return fail(sys::to_error(status.error(), "fstat", kReceived));
  }
  if (status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, "receive_mapping", kReceived,
                           fmt::format("the peer sent {}", sys::describe(status->kind))));
  }
  // Seals first: a size that is not sealed could change right after it was looked at.
  const sys::Outcome<sys::Seals> seals = sys::get_seals(file->get());
  if (!seals && seals.error().value != EINVAL) {  // EINVAL: a file that cannot have seals.
    return fail(sys::to_error(seals.error(), "fcntl(F_GET_SEALS)", kReceived));
  }
  if (!sys::has_all(seals.value_or(sys::Seals::kNone), required)) {
    return fail(make_error(Errc::kSealed, "receive_mapping", kReceived,
                           "a seal is missing that was asked for",
                           "the sender must seal() it first, or set required_seals to kNone"));
  }
  const std::uint64_t size_bytes = sys::file_status(file->get()).value_or(*status).size_bytes;
  if (size_bytes < minimum_bytes) {
    return fail(
        make_error(Errc::kTruncated, "receive_mapping", kReceived,
                   fmt::format("it has {} bytes; {} were agreed", size_bytes, minimum_bytes)));
  }
  return std::move(*file);
}

}  // namespace

Result<void> send_mapping(int socket, const Mapping& mapping) {
  if (!mapping.state_.file.is_open() || mapping.origin() == Origin::kCopy) {
    return fail(mapping.error_on(Errc::kUnsupported, "send_mapping", kWholeFile,
                                 "there is no file behind these bytes to send",
                                 "use shared anonymous memory or a file"));
  }
  const sys::Outcome<void> sent = sys::send_descriptor(socket, mapping.descriptor());
  if (!sent) {
    return fail(sys::to_error(sent.error(), "send_mapping",
                              fmt::format("{} over socket {}", mapping.path(), socket)));
  }
  return {};
}

Result<Mapping> receive_mapping(int socket, const ReceiveOptions& options) {
  sys::Descriptor file =
      QUIRE_TRY(receive_checked(socket, options.minimum_bytes, options.required_seals));
  return map_adopted(file.release());
}

Result<WritableMapping> internal::receive_writable_mapping(int socket,
                                                           const WritableReceiveOptions& options) {
  sys::Descriptor file =
      QUIRE_TRY(receive_checked(socket, options.minimum_bytes, options.required_seals));
  return map_adopted(file.release(), {.access = Access::kReadWrite});
}

}  // namespace quire
