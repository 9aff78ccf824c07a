// SPDX-License-Identifier: Apache-2.0
//
// open_file(): the descriptor, what kind of file it is, and how its bytes are going to be moved.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/io/internal/file_state.h"
#include "quire/sys/file.h"
#include "quire/sys/journal_mark.h"

namespace quire {
namespace internal {
namespace {

// Somebody may create and remove the file while we look: a few tries settle that.
constexpr int kOpenTries = 8;

// The window of advice behind a writer: two of them are dirty at most, and one keeps a disk busy
// for some milliseconds.
constexpr std::uint64_t kDropWindowBytes = 8_MiB;

class FileOpener {
 public:
  FileOpener(std::string path, const FileOptions& options) {
    state_->name = std::move(path);
    state_->options = options;
  }

  Result<std::unique_ptr<FileState>> run() {
    QUIRE_TRY(check_options());
    state_->file = QUIRE_TRY(open_or_create());
    const Result<void> prepared = prepare();
    if (!prepared) {
      if (!state_->is_name_durable.load()) {
        static_cast<void>(sys::unlink_path(path().c_str()));  // Nothing was ever in it.
      }
      return fail(prepared.error());
    }
    return std::move(state_);
  }

 private:
  [[nodiscard]] const FileOptions& options() const noexcept { return state_->options; }
  [[nodiscard]] const std::string& path() const noexcept { return state_->name; }

  Result<void> prepare() {
    QUIRE_TRY(look());
    QUIRE_TRY(ask_journal());
    if (options().cache == CacheUse::kBypass) {
      QUIRE_TRY(go_direct());
    }
    if (!state_->is_direct()) {
      go_buffered();
    }
    return {};
  }

  Result<void> check_options() {
    if (sys::path_has_nul(path())) {
      return fail(sys::to_error({EINVAL}, "open", path(), "the path has a zero byte in it"));
    }
    if ((options().create || options().exclusive) && !options().writable) {
      return fail(sys::to_error({EINVAL}, "open", path(),
                                "a file is created to be written: set .writable, too"));
    }
    if (options().exclusive && !options().create) {
      return fail(sys::to_error({EINVAL}, "open", path(), "set .create, too"));
    }
    return {};
  }

  // Knows afterwards whether the file is new, which O_CREAT alone would not tell.
  Result<sys::Descriptor> open_or_create() {
    const sys::OpenFlags present{.write = options().writable};
    const sys::OpenFlags fresh{
        .write = true, .create = true, .exclusive = true, .mode = options().create_mode};
    int error = ENOENT;
    for (int i = 0; i < kOpenTries; ++i) {
      if (!options().exclusive) {
        sys::Outcome<sys::Descriptor> opened = sys::open_file(path().c_str(), present);
        if (opened) {
          return std::move(*opened);
        }
        error = opened.error().value;
        if (error != ENOENT || !options().create) {
          break;
        }
      }
      sys::Outcome<sys::Descriptor> created = sys::open_file(path().c_str(), fresh);
      if (created) {
        state_->is_name_durable.store(false);
        return std::move(*created);
      }
      error = created.error().value;
      if (error != EEXIST || options().exclusive) {
        break;
      }
    }
    return fail(sys::to_error({error}, "open", path()));
  }

  Result<void> look() {
    const sys::Outcome<sys::FileStatus> status = sys::file_status(state_->fd());
    if (!status) {
      return fail(sys::to_error(status.error(), "fstat", path()));
    }
    state_->kind = status->kind;
    if (status->kind != sys::FileKind::kRegular && status->kind != sys::FileKind::kBlockDevice) {
      return fail(make_error(Errc::kWrongKind, "open", path(),
                             std::string("it is ") + sys::describe(status->kind),
                             "a regular file or a block device has bytes at an offset"));
    }
    return {};
  }

  // Errors: EBUSY for a file that only its journal may write to.
  Result<void> ask_journal() {
    const bool is_new = !state_->is_name_durable.load();
    if (!options().writable || is_new || options().behind_journal == BehindJournal::kAllowed) {
      return {};
    }
    return sys::require_no_journal_mark(state_->fd(), "open", path());
  }

  // Errors: those of a refusal that must not be got around, and EIO of the probe.
  Result<void> go_direct() {
    sys::Outcome<void> set = sys::set_direct(state_->fd(), true);
    sys::Outcome<sys::DirectSupport> support =
        set ? sys::direct_support_of(state_->fd()) : tl::unexpected<sys::Errno>(set.error());
    if (support) {
      settle_direct(*support);
      const sys::Outcome<std::uint64_t> size = state_->size_now();
      if (!size) {
        return fail(sys::to_error(size.error(), "size", path()));
      }
      state_->size_gate.set_floor(*size);
      return {};
    }
    const int cause = support.error().value;
    const bool is_refused = cause == EINVAL || cause == EOPNOTSUPP;
    if (!is_refused) {
      return fail(sys::to_error(support.error(), "open(direct)", path()));
    }
    if (options().fallback == Fallback::kRefused) {
      return fail(make_error(Errc::kUnsupported, "open", path(),
                             "no direct I/O on this file (" + errno_name(cause) + ")",
                             "CacheUse::kDropBehind leaves no trace in the page cache, either"));
    }
    if (set) {
      const sys::Outcome<void> back = sys::set_direct(state_->fd(), false);
      if (!back) {
        return fail(sys::to_error(back.error(), "open(direct)", path()));
      }
    }
    state_->fallback_reason = errno_name(cause);
    return {};
  }

  // One unit for offsets that is one for memory, too: what is aligned in a buffer stays aligned
  // when a transfer is cut short and gone on with.
  void settle_direct(sys::DirectSupport support) {
    sys::DirectAlignment& alignment = support.alignment;
    alignment.offset_bytes = std::max(alignment.offset_bytes, alignment.memory_bytes);
    if (alignment.read_offset_bytes) {
      alignment.read_offset_bytes = std::max(*alignment.read_offset_bytes, alignment.memory_bytes);
    }
    state_->direct = support;
    state_->target = KernelTarget{
        .fd = state_->fd(),
        .memory_alignment_bytes = alignment.memory_bytes,
        .read_alignment_bytes = alignment.read_offset_bytes.value_or(alignment.offset_bytes),
        .write_alignment_bytes = alignment.offset_bytes,
        .read_flags = state_->read_flags(),
        .write_flags = state_->write_flags()};
  }

  void go_buffered() {
    if (options().cache != CacheUse::kKeep) {
      choose_drop_method();
    }
    const bool drops = state_->drop_method != DropMethod::kNone;
    const bool by_advice = state_->drop_method == DropMethod::kAdvice;
    const bool reads_ahead = options().read_ahead == ReadAhead::kWindow;
    const DropReads behind = by_advice ? DropReads::kAll : DropReads::kUnused;
    state_->read_stream.configure({.ahead_bytes = reads_ahead ? options().read_ahead_bytes : 0,
                                   .drop = drops ? behind : DropReads::kNothing});
    const std::uint64_t behind_bytes = options().write_behind_bytes;
    state_->write_stream.configure(
        {.window_bytes = drops && behind_bytes == 0 ? kDropWindowBytes : behind_bytes,
         .drops = drops});
    advise_reads();
    // Reads that must be followed are not the kernel's alone; for writes see may_kernel_do().
    if (!by_advice && !reads_ahead) {
      state_->target = KernelTarget{.fd = state_->fd(),
                                    .read_flags = state_->read_flags(),
                                    .write_flags = state_->write_flags()};
    }
  }

  void choose_drop_method() {
    state_->drop_method = DropMethod::kAdvice;
    if (options().read_ahead == ReadAhead::kWindow) {
      // Pages that were read ahead do not belong to the read that then uses them: it would not
      // drop them.
      state_->advice_reason = "pages that are read ahead by the window are not RWF_DONTCACHE's";
      return;
    }
    // A read past the last offset there can be: it moves nothing, but its flags are looked at.
    std::array<std::byte, 1> byte{};
    const std::span<std::byte> into(byte);
    const sys::Outcome<std::uint64_t> tried = sys::read_vector_some_at(
        state_->fd(), {&into, 1}, kFileOffsetMax - 1, {.drop_behind = true});
    if (tried) {
      state_->drop_method = DropMethod::kFlag;
      return;
    }
    state_->advice_reason = "RWF_DONTCACHE: " + errno_name(tried.error().value);
    FileCounters::add(state_->counters.drop_fallbacks);
  }

  // Advice: what is refused changes speed, not results.
  void advise_reads() {
    switch (options().read_ahead) {
      case ReadAhead::kKernel: return;
      case ReadAhead::kNone:
      case ReadAhead::kWindow:  // Ours, so not the kernel's.
        static_cast<void>(sys::advise_file(state_->fd(), kWholeFile, sys::FileAdvice::kRandom));
        return;
      case ReadAhead::kSequential:
        static_cast<void>(sys::advise_file(state_->fd(), kWholeFile, sys::FileAdvice::kSequential));
        return;
    }
  }

  std::unique_ptr<FileState> state_ = std::make_unique<FileState>();
};

}  // namespace
}  // namespace internal

Result<std::unique_ptr<File>> open_file(PathArgument path, const FileOptions& options) {
  std::unique_ptr<internal::FileState> state =
      QUIRE_TRY(internal::FileOpener(path.take(), options).run());
  return std::unique_ptr<File>(new File(std::move(state)));
}

}  // namespace quire
