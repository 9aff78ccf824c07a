// SPDX-License-Identifier: Apache-2.0
//
// Appending: requests become records; commits that come together share one.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "quire/base/page_window.h"
#include "quire/journal/internal/journal_state.h"

namespace quire::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatchResizesMax = 60;
static_assert(kBatchResizesMax >= kJournalFilesMax);
// Every mark of a batch fits into the first block of a header, next to one image.
static_assert(kRecordFixedBytes + (kBatchResizesMax + kJournalFilesMax) * kMarkBytes +
                  kImageEntryBytes <=
              kBlockBytes);

std::string subject_of(const std::string& name, const PageImages& images) {
  return fmt::format("{}, {}", name, describe(ByteRange{images.offset_bytes, images.bytes.size()}));
}

}  // namespace

Result<void> JournalState::check_parts(std::span<const FileCommit> parts) const {
  const PageSize page(page_bytes_);
  for (const FileCommit& part : parts) {
    QUIRE_CHECK_LT(part.file, file_count());
    if (std::ranges::count(parts, part.file, &FileCommit::file) > 1) {
      return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                         .operation = "commit",
                         .subject = file_name(part.file),
                         .cause = "the file is named twice"}));
    }
    if (part.size_bytes.value_or(0) > kFileOffsetMax - page_bytes_) {
      return fail(Error({.code = std::make_error_code(std::errc::file_too_large),
                         .operation = "resize",
                         .subject = file_name(part.file)}));
    }
    for (const PageImages& images : part.images) {
      if (((images.offset_bytes | images.bytes.size()) & page.mask()) != 0) {
        return fail(make_error(Errc::kMisaligned, "commit",
                               subject_of(file_name(part.file), images),
                               fmt::format("images are whole pages of {} bytes", page_bytes_)));
      }
    }
  }
  return {};
}

Result<std::uint64_t> JournalState::append(std::span<const FileCommit> parts, Append kind) {
  QUIRE_TRY(check_parts(parts));
  Request request{.parts = parts, .kind = kind};
  return await(request);
}

Result<std::uint64_t> JournalState::append_growing(const FileCommit& part) {
  QUIRE_TRY(check_parts({&part, 1}));
  Request request{.parts = {&part, 1}, .grows = true};
  return await(request);
}

Result<std::uint64_t> JournalState::await(Request& request) {
  request.deadline = std::chrono::steady_clock::now() + options_.full_wait_max;
  const MutexLock lock(mutex_);
  queue_.push_back(&request);
  if (queue_.front()->has_waited) {
    changed_.notify_all();  // It may let this one pass.
  }
  while (!request.is_done) {
    if (queue_.front() == &request && !is_writing_) {
      lead(request);
    } else {
      request.woken.wait(mutex_);
    }
  }
  if (!request.outcome) {
    return fail(request.outcome.error());
  }
  return last_commit_;
}

bool JournalState::has_work(const Request& request) const {
  for (const FileCommit& part : request.parts) {
    if (part.size_bytes || !part.images.empty() ||
        (request.kind == Append::kCommit && files_[part.file].index->has_uncommitted())) {
      return true;
    }
  }
  return false;
}

std::uint64_t JournalState::size_after(const Batch& batch, std::size_t file) const {
  for (auto mark = batch.resizes.rbegin(); mark != batch.resizes.rend(); ++mark) {
    if (mark->file == file) {
      return mark->size_bytes;
    }
  }
  return files_[file].index->size_bytes(kNewestView);
}

Result<void> JournalState::check_sizes(const Batch& batch, const Request& request) const {
  for (const FileCommit& part : request.parts) {
    const std::uint64_t before = size_after(batch, part.file);
    const std::uint64_t wanted = part.size_bytes.value_or(before);
    const std::uint64_t size_bytes = request.grows ? std::max(before, wanted) : wanted;
    const std::uint64_t end_max = round_up(size_bytes, PageSize(page_bytes_));
    for (const PageImages& images : part.images) {
      if (end_of({images.offset_bytes, images.bytes.size()}) > end_max) {
        return fail(make_error(
            Errc::kOutOfRange, "commit", subject_of(files_[part.file].file.store->name(), images),
            fmt::format("the image lies outside of the file, which has {} bytes", size_bytes),
            "give the size that the file is to have"));
      }
    }
  }
  return {};
}

bool JournalState::may_join(const Batch& batch, const Request& request) const {
  if (request.kind == Append::kUncommitted && !batch.commits.empty()) {
    return false;  // It belongs to the transaction after these commits.
  }
  std::size_t images = batch.images.size();
  for (const FileCommit& part : request.parts) {
    for (const PageImages& more : part.images) {
      images += more.bytes.size() / page_bytes_;
    }
    // Resizes come before all images of a record, so one that cuts needs a record of its own.
    const std::uint64_t before = size_after(batch, part.file);
    if (!request.grows && part.size_bytes.value_or(before) < before) {
      return false;
    }
  }
  return images <= kRecordImagesMax &&
         batch.resizes.size() + request.parts.size() <= kBatchResizesMax &&
         check_sizes(batch, request).has_value();
}

void JournalState::add_to_batch(Batch& batch, Request& request) const {
  batch.requests.push_back(&request);
  for (const FileCommit& part : request.parts) {
    const auto file = static_cast<std::uint32_t>(part.file);
    const std::uint64_t transaction = files_[part.file].transaction;
    const std::uint64_t before = size_after(batch, part.file);
    if (part.size_bytes && !(request.grows && *part.size_bytes <= before)) {
      batch.resizes.push_back({.kind = MarkKind::kResize,
                               .file = file,
                               .transaction = transaction,
                               .size_bytes = *part.size_bytes});
    }
    for (const PageImages& images : part.images) {
      for (std::uint64_t at = 0; at < images.bytes.size(); at += page_bytes_) {
        batch.images.push_back({.offset_bytes = images.offset_bytes + at,
                                .transaction = transaction,
                                .checksum = 0,
                                .file = file});
        batch.pages.push_back(images.bytes.data() + at);
      }
    }
    if (part.memory == ImageMemory::kChanging) {
      batch.memory = ImageMemory::kChanging;
    }
    const LogMark commit{.kind = MarkKind::kCommit, .file = file, .transaction = transaction};
    if (request.kind == Append::kCommit && !std::ranges::count(batch.commits, commit)) {
      batch.commits.push_back(commit);
    }
  }
}

JournalState::Batch JournalState::make_batch(bool alone) const {
  Batch batch;
  add_to_batch(batch, *queue_.front());
  for (std::size_t i = 1; i < queue_.size() && !alone && may_join(batch, *queue_[i]); ++i) {
    add_to_batch(batch, *queue_[i]);
  }
  return batch;
}

std::vector<LogSpace::Piece> JournalState::plan(const Batch& batch) const {
  return space_->plan(batch.images.size(), batch.resizes.size(), batch.commits.size());
}

void JournalState::lead(Request& request) {
  if (request.kind == Append::kCommit) {
    await_company();
  }
  Result<void> allowed = require_usable_locked("write");
  if (allowed) {
    allowed = check_sizes({}, request);
  }
  if (!allowed || !has_work(request)) {
    finish({.requests = {&request}}, allowed);
    return;
  }
  Batch batch = make_batch(false);
  std::vector<LogSpace::Piece> pieces = plan(batch);
  if (room_needed(batch, pieces) > space_->free_bytes() && batch.requests.size() > 1) {
    batch = make_batch(true);
    pieces = plan(batch);
  }
  const std::uint64_t needed_bytes = room_needed(batch, pieces);
  if (needed_bytes <= space_->free_bytes()) {
    write_batch(batch, pieces);
  } else {
    make_room(request, needed_bytes);
  }
}

void JournalState::await_company() {
  for (const auto since = Company::Clock::now(); company_.is_expected(queue_.size(), since);) {
    mutex_.unlock();
    std::this_thread::yield();
    mutex_.lock();
  }
}

void JournalState::write_batch(Batch& batch, const std::vector<LogSpace::Piece>& pieces) {
  is_writing_ = true;
  const bool is_commit = !batch.commits.empty();
  const std::uint64_t commit = last_commit_ + (is_commit ? 1 : 0);
  const std::uint64_t first_lsn = space_->next_lsn();
  const std::uint64_t last_lsn = first_lsn + pieces.size() - 1;
  for (const LogSpace::Piece& piece : pieces) {
    space_->append(piece);
    stats_.log_bytes_written += piece.header_bytes + piece.images * page_bytes_;
  }
  const RecordHeader header{.uuid = uuid_,
                            .epoch = epoch_,
                            .lsn = first_lsn,
                            .durable_lsn = durable_lsn_,
                            .commit = commit,
                            .marks = {},
                            .images = {}};
  mutex_.unlock();
  const Clock::time_point begun = Clock::now();
  const Result<void> written = write_chain(batch, pieces, header);
  const Clock::duration write_time = Clock::now() - begun;
  mutex_.lock();
  if (written) {
    stats_.log_writes += pieces.size();
    enter_batch(batch, pieces, first_lsn, commit);
    if (is_commit) {
      // Nobody who will come again waits for an asynchronous one.
      const auto waited =
          std::ranges::count_if(batch.requests, [](const Request* one) { return !one->source; });
      company_.note(static_cast<std::size_t>(waited), write_time);
      ++stats_.commits;
      durable_lsn_ = last_lsn;
      last_commit_ = commit;
    }
  } else {
    stick(written.error());
  }
  for (std::uint64_t lsn = first_lsn; lsn <= last_lsn; ++lsn) {
    space_->release(lsn);
  }
  is_writing_ = false;
  want_checkpoint(pieces.back().end(page_bytes_) - pieces.front().position);
  finish(batch, written);
}

template <typename Write>
Result<void> JournalState::write_records(Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                                         RecordHeader header, Write&& write) {
  std::size_t first = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    header.marks = i == 0 ? batch.resizes : std::vector<LogMark>();
    if (i + 1 == pieces.size()) {
      header.marks.insert(header.marks.end(), batch.commits.begin(), batch.commits.end());
    }
    const auto images = std::span(batch.images).subspan(first, pieces[i].images);
    header.images.assign(images.begin(), images.end());
    header.position_bytes = pieces[i].position % log_bytes_;
    QUIRE_TRY(write(header, std::span(batch.pages).subspan(first, images.size())));
    std::ranges::copy(header.images, images.begin());  // With their checksums.
    first += images.size();
    ++header.lsn;
  }
  return {};
}

Result<void> JournalState::write_chain(Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                                       const RecordHeader& header) {
  using Pages = std::span<const std::byte* const>;
  // A durable write makes nothing durable but itself: what came before must be so already.
  const bool is_prefix_durable = header.durable_lsn + 1 == header.lsn;
  const bool is_commit = !batch.commits.empty();
  const bool is_short =
      pieces.back().end(page_bytes_) - pieces.front().position <= stage_.size_bytes();
  const bool is_one_write =
      is_commit && is_prefix_durable && durable_log_ && pieces.size() == 1 && is_short;
  if (is_short) {
    Store& log = is_one_write ? *durable_log_ : *log_;
    QUIRE_TRY(write_records(batch, pieces, header, [&](RecordHeader& one, Pages pages) {
      return write_staged(log, one, pages);
    }));
  } else {
    const Result<void> begun =
        write_records(batch, pieces, header, [&](RecordHeader& one, Pages pages) {
          return log_writer_.begin(one, pages, batch.memory);
        });
    const Result<void> ended = log_writer_.end();  // In any case: the images are the caller's.
    QUIRE_TRY(begun);
    QUIRE_TRY(ended);
  }
  return is_commit && !is_one_write ? log_->sync(Durability::kData) : Result<void>();
}

Result<void> JournalState::write_staged(Store& log, RecordHeader& header,
                                        std::span<const std::byte* const> pages) {
  const std::uint64_t header_bytes = record_header_bytes(header.marks.size(), pages.size());
  std::byte* copy = stage_.begin() + header_bytes;
  for (std::size_t i = 0; i < pages.size(); ++i, copy += page_bytes_) {
    std::memcpy(copy, pages[i], page_bytes_);
    header.images[i].checksum = checksum_of({copy, page_bytes_});
  }
  encode_record_header(header, {stage_.begin(), header_bytes});
  return log.write(kCircleOffsetBytes + header.position_bytes,
                   std::span<const std::byte>(stage_.begin(), copy));
}

void JournalState::enter_batch(const Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                               std::uint64_t first_lsn, std::uint64_t commit) {
  for (const LogMark& mark : batch.resizes) {
    files_[mark.file].index->add_resize(mark.size_bytes, first_lsn);
  }
  stats_.images += batch.images.size();
  stats_.uncommitted_images += batch.commits.empty() ? batch.images.size() : 0;
  std::size_t image = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::uint64_t position = pieces[i].position + pieces[i].header_bytes;
    for (std::size_t end = image + pieces[i].images; image < end; ++image) {
      files_[batch.images[image].file].index->add_image(
          batch.images[image].offset_bytes, first_lsn + i,
          {.position = position, .checksum = batch.images[image].checksum});
      position += page_bytes_;
    }
  }
  for (const LogMark& mark : batch.commits) {
    files_[mark.file].index->commit(commit, views_);
    files_[mark.file].transaction = next_transaction_++;
  }
  if (!batch.commits.empty()) {
    space_->set_commit(first_lsn + pieces.size() - 1, commit);
  }
}

void JournalState::finish(const Batch& batch, const Result<void>& outcome) {
  for (Request* request : batch.requests) {
    QUIRE_CHECK(queue_.front() == request);
    queue_.pop_front();
    request->outcome = outcome;
    request->is_done = true;
    stats_.commit_calls += request->kind == Append::kCommit && outcome.has_value() ? 1 : 0;
    if (request->source) {
      deliver(*request);
    } else {
      request->woken.notify_one();
    }
  }
  wake_front();
}

// The others in line sleep on: each would be woken at every flush, to find that it is not its turn.
void JournalState::wake_front() {
  if (!queue_.empty()) {
    queue_.front()->woken.notify_one();
  }
  changed_.notify_all();
}

Result<void> JournalState::rollback(std::span<const std::size_t> files) {
  const MutexLock lock(mutex_);
  const std::uint64_t before = async_begun_;  // Whose commits come first.
  while (is_writing_ || async_done_ < before) {
    changed_.wait(mutex_);
  }
  QUIRE_TRY(require_usable_locked("roll back"));
  for (const std::size_t file : files) {
    QUIRE_CHECK_LT(file, files_.size());
    files_[file].index->rollback();
    files_[file].transaction = next_transaction_++;
  }
  tell_release();
  return {};
}

}  // namespace quire::internal
