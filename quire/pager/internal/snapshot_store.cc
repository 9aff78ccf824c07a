// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/snapshot_store.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "quire/pager/internal/service.h"

namespace quire::internal {

SnapshotStore::SnapshotStore(JournalSnapshot snapshot, std::size_t file, const std::string& of)
    : snapshot_(std::move(snapshot)),
      file_(file),
      name_(fmt::format("{}, commit {}", of, snapshot_.commit_number())) {}

SnapshotStore::~SnapshotStore() {
  if (Service::is_in_forked_child()) {
    // For good: the journal's thread was not inherited.
    static_cast<void>(new (std::nothrow) JournalSnapshot(std::move(snapshot_)));
  }
}

Result<std::uint64_t> SnapshotStore::size_bytes() const {
  return snapshot_.size_bytes(file_);
}

Result<std::uint64_t> SnapshotStore::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  std::uint64_t done = 0;
  for (const std::span<std::byte> piece : into) {
    const std::uint64_t got = QUIRE_TRY(snapshot_.read(file_, offset_bytes + done, piece));
    done += got;
    if (got < piece.size()) {
      break;
    }
  }
  return done;
}

tl::unexpected<Error> SnapshotStore::refuse(const char* operation) const {
  return fail(make_error(Errc::kReadOnly, operation, name_, "a snapshot cannot be changed"));
}

Result<void> SnapshotStore::write_pieces(std::uint64_t /*offset_bytes*/, ConstPieces /*from*/) {
  return refuse("write");
}

Result<void> SnapshotStore::resize(std::uint64_t /*size_bytes*/) {
  return refuse("resize");
}

Result<void> SnapshotStore::allocate(ByteRange /*range*/) {
  return refuse("allocate");
}

Result<void> SnapshotStore::punch(ByteRange /*range*/) {
  return refuse("punch");
}

Result<void> SnapshotStore::sync(Durability /*durability*/, ByteRange /*range*/) {
  return {};  // A commit is durable.
}

}  // namespace quire::internal
