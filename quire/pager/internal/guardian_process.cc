// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/guardian_process.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>
#include <string_view>

#include "quire/base/page_window.h"
#include "quire/cache/granule_table.h"
#include "quire/sys/byte_lock.h"
#include "quire/sys/file.h"
#include "quire/sys/memfd.h"
#include "quire/sys/memory.h"
#include "quire/sys/socket_io.h"

namespace quire::internal {
namespace {

constexpr int kStandardError = 2;

template <typename T>
std::span<std::byte> bytes_of(T& value) noexcept {
  return std::as_writable_bytes(std::span(&value, 1));
}

// A line of text on the stack; what does not fit is cut.
class Line {
 public:
  Line& operator<<(std::string_view text) noexcept {
    const std::size_t count = std::min(text.size(), text_.size() - 1 - length_);
    std::memcpy(text_.data() + length_, text.data(), count);
    length_ += count;
    return *this;
  }
  Line& operator<<(std::uint64_t number) noexcept {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return *this << std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data()));
  }
  void write() noexcept {
    text_[length_++] = '\n';
    static_cast<void>(
        sys::write_all(kStandardError, std::as_bytes(std::span(text_.data(), length_))));
  }

 private:
  std::array<char, 400> text_;
  std::size_t length_ = 0;
};

std::string_view name_of_error(int error) noexcept {
  const char* name = ::strerrorname_np(error);
  return name == nullptr ? std::string_view("unknown error") : std::string_view(name);
}

}  // namespace

int GuardianProcess::run(void* self) noexcept {
  auto& process = *static_cast<GuardianProcess*>(self);
  // Its own pages now, not when memory is short.
  process.buffer_.fill(std::byte{0});
  return process.serve();
}

int GuardianProcess::serve() noexcept {
  for (;;) {
    GuardRequest request;
    const sys::Outcome<std::size_t> got = sys::receive_some(socket_, bytes_of(request));
    if (!got || *got != sizeof request) {
      return rescue_all();
    }
    GuardReply reply;
    if (request.kind == GuardRequest::Kind::kWatch) {
      const sys::Outcome<void> watched = watch(request);
      reply.error = watched ? 0 : watched.error().value;
    } else {
      forget(request.slot);
    }
    // Whoever does not hear it is gone: the next request says so.
    static_cast<void>(sys::send_some(socket_, bytes_of(reply), {}));
    if (watched_ == 0) {
      return 0;
    }
  }
}

// --- Areas ---------------------------------------------------------------------------------------

sys::Outcome<void> GuardianProcess::watch(const GuardRequest& request) noexcept {
  // All three are taken off the socket, whatever becomes of them.
  sys::Outcome<sys::Descriptor> memory = sys::receive_descriptor(socket_);
  sys::Outcome<sys::Descriptor> states = sys::receive_descriptor(socket_);
  sys::Outcome<sys::Descriptor> file = sys::receive_descriptor(socket_);
  for (const auto* received : {&memory, &states, &file}) {
    if (!*received) {
      return sys::refuse(received->error().value);
    }
  }
  QUIRE_TRY(sys::lock_byte_shared(file->get(), kGuardianByte, sys::LockHolder::kProcess));
  const sys::FileId id = QUIRE_TRY(sys::file_status(file->get())).id();
  Area& area = areas_[request.slot];
  area.memory = std::move(*memory);
  area.states = std::move(*states);
  area.file = std::move(*file);
  area.id = id;
  area.granule_bytes = request.granule_bytes;
  area.granule_count = request.granule_count;
  area.name = request.name;
  ++watched_;
  return {};
}

void GuardianProcess::forget(std::uint32_t slot) noexcept {
  const sys::FileId id = areas_[slot].id;
  areas_[slot] = Area();
  --watched_;
  // The lock of this process went with the first descriptor of the file; others may still need it.
  for (const Area& other : areas_) {
    if (other.file.get() >= 0 && other.id == id) {
      static_cast<void>(
          sys::lock_byte_shared(other.file.get(), kGuardianByte, sys::LockHolder::kProcess));
    }
  }
}

// --- The owner is gone ---------------------------------------------------------------------------

int GuardianProcess::rescue_all() noexcept {
  bool is_complete = true;
  for (std::size_t i = 0; i < areas_.size(); ++i) {
    if (areas_[i].file.get() < 0) {
      continue;
    }
    const Loss loss = rescue(areas_[i], board_.areas[i]);
    if (loss.error != 0) {
      complain(areas_[i], loss);
      is_complete = false;
    }
  }
  return is_complete ? 0 : 1;
}

GuardianProcess::Loss GuardianProcess::rescue(const Area& area,
                                              const GuardBoard::Area& told) noexcept {
  Loss loss;
  if (told.has_zeros.load()) {
    return {.operation = "zeros stand where bytes could not be read", .error = EIO};
  }
  const std::uint64_t size_bytes = told.size_bytes.load();
  ByteRange run{.offset_bytes = 0, .length_bytes = 0};  // Not written yet.
  for (std::uint64_t first = 0; first < area.granule_count; first += kLeafCells) {
    const sys::Outcome<std::uint64_t> data =
        sys::seek_data(area.states.get(), first * GranuleTable::kCellBytes);
    if (!data) {
      if (data.error().value != ENXIO) {
        loss = {.operation = "lseek of the states", .error = data.error().value};
      }
      break;
    }
    first = *data / GranuleTable::kLeafBytes * kLeafCells;
    if (first < area.granule_count) {
      write_runs(area, first, size_bytes, run, loss);
    }
  }
  write(area, run, loss);
  const sys::Outcome<void> synced = sys::sync_data(area.file.get());
  if (!synced && loss.error == 0) {
    loss = {.operation = "fdatasync", .error = synced.error().value};
  }
  return loss;
}

// The states of one leaf: what is newer joins the run, or begins another one.
void GuardianProcess::write_runs(const Area& area, std::uint64_t first, std::uint64_t size_bytes,
                                 ByteRange& run, Loss& loss) noexcept {
  static_assert(sizeof cells_ == GranuleTable::kLeafBytes);
  const sys::Outcome<std::size_t> got =
      sys::read_at(area.states.get(), std::as_writable_bytes(std::span(cells_)),
                   first * GranuleTable::kCellBytes);
  if (!got) {
    loss = {.operation = "read of the states", .error = got.error().value};
    return;
  }
  const std::uint64_t count =
      std::min<std::uint64_t>(*got / GranuleTable::kCellBytes, area.granule_count - first);
  for (std::uint64_t i = 0; i < count; ++i) {
    GranuleWord word;
    std::memcpy(&word.bits, &cells_[i], sizeof word.bits);
    if (!word.may_be_newer()) {
      continue;
    }
    const ByteRange wanted =
        intersect({(first + i) * area.granule_bytes, area.granule_bytes}, {0, size_bytes});
    if (run.length_bytes > 0 && run.offset_bytes + run.length_bytes == wanted.offset_bytes) {
      run.length_bytes += wanted.length_bytes;
      continue;
    }
    write(area, run, loss);
    run = wanted;
  }
}

void GuardianProcess::write(const Area& area, ByteRange run, Loss& loss) noexcept {
  if (run.length_bytes == 0) {
    return;
  }
  // See the header. Where it cannot be had nothing waits; what cannot be written is said below.
  static_cast<void>(sys::allocate_space(area.file.get(), run, sys::Allocate::kKeepSize));
  for (std::uint64_t done = 0; done < run.length_bytes; done += buffer_.size()) {
    const std::uint64_t at = run.offset_bytes + done;
    const std::span<std::byte> piece =
        std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), run.length_bytes - done));
    const sys::Outcome<std::size_t> got = sys::read_at(area.memory.get(), piece, at);
    const sys::Outcome<void> written = !got ? sys::Outcome<void>(sys::refuse(got.error().value))
                                            : sys::write_at(area.file.get(), piece.first(*got), at);
    if (!written) {
      const std::uint64_t lost_bytes = loss.lost_bytes + piece.size();
      if (loss.error == 0) {
        loss = {.operation = got ? "write" : "read of the memory",
                .offset_bytes = at,
                .error = written.error().value};
      }
      loss.lost_bytes = lost_bytes;
    }
  }
}

void GuardianProcess::complain(const Area& area, const Loss& loss) noexcept {
  Line line;
  line << "quire-guardian: " << std::string_view(area.name.data()) << ": " << loss.operation;
  if (loss.lost_bytes > 0) {
    line << " at offset " << loss.offset_bytes;
  }
  line << ": " << name_of_error(loss.error) << "; ";
  if (loss.lost_bytes > 0) {
    line << loss.lost_bytes << " bytes that were stored are lost";
  } else {
    line << "what was stored since the last flush may be lost";
  }
  line.write();
}

}  // namespace quire::internal
