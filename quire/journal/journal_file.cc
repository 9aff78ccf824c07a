// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/io/file.h"
#include "quire/journal/internal/log_scan.h"
#include "quire/sys/byte_lock.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"
#include "quire/sys/journal_mark.h"
#include "quire/sys/metadata.h"
#include "quire/sys/proc_files.h"
#include "quire/sys/process.h"

namespace quire {
namespace {

const std::string kAttribute = sys::kJournalAttribute;
// Beyond every journal's end: tells others the number of the process that has it open.
constexpr std::uint64_t kSignOffsetBytes = kFileOffsetMax - 1;

constexpr std::uint32_t kPrivateMode = 0600;
constexpr std::uint32_t kSharedMode = 0666;
constexpr std::uint32_t kGroupMode = 0070;
const std::string kAccessControlList = "system.posix_acl_access";

std::string text_of(const JournalUuid& uuid) {
  std::string text;
  for (const std::byte byte : uuid) {
    text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  }
  return text;
}

std::string mark_of(const JournalUuid& uuid, std::size_t number) {
  return fmt::format("{} {}", text_of(uuid), number);
}

bool has_no_attributes(sys::Errno error) {
  return error.value == EOPNOTSUPP || error.value == ENOSYS;
}

// What a file says about its journal; nothing: none, or the file system cannot say.
Result<std::optional<std::string>> read_mark(const File& file) {
  const sys::Outcome<std::string> mark = sys::attribute(file.fd(), kAttribute);
  if (mark) {
    return std::optional<std::string>(*mark);
  }
  if (mark.error().value == ENODATA || has_no_attributes(mark.error())) {
    return std::optional<std::string>();
  }
  return fail(sys::to_error(mark.error(), "read attribute " + kAttribute, file.name()));
}

// Whether its file system has any, so that a file without a mark was never given one.
bool has_attributes(const File& file) {
  const sys::Outcome<std::string> mark = sys::attribute(file.fd(), kAttribute);
  return mark || !has_no_attributes(mark.error());
}

Result<sys::FileId> id_of(int fd, const std::string& name) {
  const sys::Outcome<sys::FileStatus> status = sys::file_status(fd);
  if (!status) {
    return fail(sys::to_error(status.error(), "open journal", name));
  }
  return status->id();
}

Error named_twice(const std::string& name) {
  return Error({.code = std::make_error_code(std::errc::invalid_argument),
                .operation = "open journal",
                .subject = name,
                .cause = "the file is named twice, or is the journal itself",
                .remedy = "name each file once: two names of one would undo each other's commits"});
}

class FileGuard final : public JournalGuard {
 public:
  // `id`: of the journal. `remark`: what explain() says of the log.
  FileGuard(sys::Descriptor lock, sys::FileId id, const JournalUuid& uuid, std::string remark)
      : lock_(std::move(lock)), uuid_(uuid), ids_{id}, remark_(std::move(remark)) {}

  Result<void> enter_file(Store& store, std::size_t number) override {
    const auto* const file = dynamic_cast<File*>(&store);
    if (file == nullptr) {
      return {};
    }
    const sys::FileId id = QUIRE_TRY(id_of(file->fd(), file->name()));
    if (std::ranges::find(ids_, id) != ids_.end()) {
      return fail(named_twice(file->name()));
    }
    const std::string mark = mark_of(uuid_, number);
    const std::optional<std::string> found = QUIRE_TRY(read_mark(*file));
    if (found && !found->starts_with(text_of(uuid_))) {
      return fail(belongs_to_another(*file));
    }
    const sys::Outcome<void> set = found ? sys::set_attribute(file->fd(), kAttribute, mark)
                                         : sys::add_attribute(file->fd(), kAttribute, mark);
    if (!set && has_no_attributes(set.error())) {
      ids_.push_back(id);
      remark_ += (remark_.empty() ? "" : "; ") + file->name() +
                 ": its file system has no user attributes: a journal that is lost goes unnoticed";
      return {};
    }
    if (!set && set.error().value == EEXIST) {
      return fail(belongs_to_another(*file));
    }
    if (!set) {
      return fail(sys::to_error(set.error(), "set attribute " + kAttribute, file->name()));
    }
    ids_.push_back(id);
    marked_.push_back(&store);
    return store.sync(Durability::kAll);
  }

  Result<void> leave_clean() override {
    for (Store* const store : std::exchange(marked_, {})) {
      const auto* const file = dynamic_cast<File*>(store);
      const auto removed = sys::remove_attribute(file->fd(), kAttribute);
      if (!removed && removed.error().value != ENODATA) {
        return fail(sys::to_error(removed.error(), "remove attribute " + kAttribute, file->name()));
      }
      QUIRE_TRY(store->sync(Durability::kAll));
    }
    return {};
  }

  [[nodiscard]] std::string explain() const override { return remark_; }

  static Error belongs_to_another(const File& file) {
    return make_error(Errc::kChanged, "open journal", file.name(),
                      "the file belongs to another journal, which may have its last commits",
                      "open it with that one; remove the attribute " + kAttribute +
                          " to give up what is in there");
  }

 private:
  const sys::Descriptor lock_;
  const JournalUuid uuid_;
  std::vector<sys::FileId> ids_;  // Of the journal, and of the files it has.
  std::vector<Store*> marked_;
  std::string remark_;
};

Error in_use(const std::string& path, int fd) {
  std::string who = "another process, or this one,";
  const auto sign = sys::find_byte_lock(fd, kSignOffsetBytes);
  if (sign && *sign && (*sign)->pid > 0) {
    std::string name =
        sys::read_proc_file(fmt::format("/proc/{}/comm", (*sign)->pid).c_str()).value_or("");
    name.erase(std::remove(name.begin(), name.end(), '\n'), name.end());
    who = fmt::format("process {} ({})", (*sign)->pid, name);
  }
  return Error({.code = std::make_error_code(std::errc::device_or_resource_busy),
                .operation = "open journal",
                .subject = path,
                .cause = who + " has it open",
                .remedy = "one process at a time can commit to a file"});
}

Result<sys::Descriptor> lock_path(const std::string& path, bool create) {
  sys::Outcome<sys::Descriptor> opened =
      sys::open_file(path.c_str(), {.write = true,
                                    .create = create,
                                    .no_follow = create,  // Somebody may have put a link there.
                                    .mode = kPrivateMode});
  if (!opened) {
    return fail(sys::to_error(opened.error(), "open journal", path));
  }
  if (const auto locked = sys::lock_file(opened->get()); !locked) {
    return fail(locked.error().value == EWOULDBLOCK
                    ? in_use(path, opened->get())
                    : sys::to_error(locked.error(), "lock journal", path));
  }
  return std::move(*opened);
}

Result<std::shared_ptr<File>> open_log(const std::string& path, WriteThrough through) {
  return std::shared_ptr<File>(QUIRE_TRY(
      open_file(path, {.writable = true, .cache = CacheUse::kBypass, .write_through = through})));
}

// What all of these files have in common: kKeepOwner where they differ.
Result<sys::FileMetadata> common_access(const std::vector<JournalFile>& files) {
  std::optional<sys::FileMetadata> common;
  for (const JournalFile& file : files) {
    const auto& data = dynamic_cast<const File&>(*file.store);
    const sys::Outcome<sys::FileMetadata> found = sys::metadata_of(data.fd());
    if (!found) {
      return fail(sys::to_error(found.error(), "make journal", data.name()));
    }
    if (!common) {
      common = *found;
    }
    common->owner = common->owner == found->owner ? common->owner : sys::kKeepOwner;
    common->group = common->group == found->group ? common->group : sys::kKeepOwner;
    common->mode &= found->mode;
    if (sys::attribute(data.fd(), kAccessControlList)) {
      common->mode &= ~kGroupMode;  // They are the list's mask.
    }
  }
  return *common;
}

// It holds the bytes of its files: who may not read one of them may not read it.
Result<void> share_access(int journal, const std::vector<JournalFile>& files) {
  const sys::FileMetadata common = QUIRE_TRY(common_access(files));
  // Only root gives files away; a group may be one of the process's own.
  if (!sys::set_owner(journal, common.owner, common.group)) {
    static_cast<void>(sys::set_owner(journal, sys::kKeepOwner, common.group));
  }
  const sys::Outcome<sys::FileMetadata> made = sys::metadata_of(journal);
  const bool is_their_group = made && made->group == common.group;
  const std::uint32_t shared_mode = is_their_group ? kSharedMode : kSharedMode & ~kGroupMode;
  // Refused where the file system has no modes: then none is too wide.
  static_cast<void>(sys::set_mode(journal, (common.mode & shared_mode) | kPrivateMode));
  return {};
}

Result<void> write_journal(const std::string& path, int fd, const std::vector<JournalFile>& files,
                           const JournalOptions& options) {
  QUIRE_TRY(share_access(fd, files));
  JournalUuid uuid{};
  if (const auto drawn = sys::draw_random(uuid); !drawn) {
    return fail(sys::to_error(drawn.error(), "make journal", path));
  }
  return Journal::format(*QUIRE_TRY(open_log(path, WriteThrough::kOnSync)), uuid, options);
}

// Under another name until it is whole and durable. Returns its lock.
Result<sys::Descriptor> make_journal(const std::string& path, const std::vector<JournalFile>& files,
                                     const JournalOptions& options) {
  const std::string unfinished = path + ".new";
  sys::Descriptor lock = QUIRE_TRY(lock_path(unfinished, true).map_error([&](const Error& error) {
    return error.about("make journal", path);
  }));
  // Somebody else may have made it since it was found to be missing. From here on nobody can.
  if (sys::path_status(path.c_str(), false)) {
    static_cast<void>(sys::unlink_path(unfinished.c_str()));
    return lock_path(path, false);
  }
  if (const auto written = write_journal(unfinished, lock.get(), files, options); !written) {
    static_cast<void>(sys::unlink_path(unfinished.c_str()));  // Why it failed counts.
    return fail(written.error().about("make journal", path));
  }
  if (const auto renamed = sys::rename_path(unfinished.c_str(), path.c_str()); !renamed) {
    return fail(sys::to_error(renamed.error(), "make journal", path));
  }
  QUIRE_TRY(sys::sync_parent_directory(path));
  return lock;
}

Error missing(const std::string& path, const File& file) {
  return Error({.code = std::make_error_code(std::errc::no_such_file_or_directory),
                .operation = "open journal",
                .subject = path,
                .cause = file.name() + " needs its journal, which may have its last commits",
                .remedy = "bring the journal back, or name it: it may stand beside another name of "
                          "the file; remove the attribute " +
                          kAttribute + " to give up what is in there"});
}

// The lock of the journal, which is there afterwards.
Result<sys::Descriptor> find_or_make(const std::string& path, const std::vector<JournalFile>& files,
                                     const JournalOptions& options) {
  const auto status = sys::path_status(path.c_str(), false);
  if (status) {
    return lock_path(path, false);
  }
  if (status.error().value != ENOENT) {
    return fail(sys::to_error(status.error(), "open journal", path));
  }
  for (const JournalFile& file : files) {
    const auto& data = dynamic_cast<const File&>(*file.store);
    if (QUIRE_TRY(read_mark(data))) {
      return fail(missing(path, data));
    }
  }
  return make_journal(path, files, options);
}

// Of a symbolic link, what it leads to; other paths stay as they are.
std::string target_of(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(path, error) || error) {
    return path;
  }
  const std::string target = std::filesystem::canonical(path, error).string();
  return error ? path : target;
}

Error outdated(const File& file, const Store& log) {
  return make_error(
      Errc::kChanged, "open journal", log.name(),
      "it has changes for " + file.name() +
          ", which was closed with all its commits since: it is an old copy",
      "open the file with the journal that it had last; it needs none now, so if that "
      "is lost, remove this one");
}

// A file that carries this journal's mark and number is the file of that number, wherever a copy
// of both has come from. One without a mark needs no journal: where a journal has changes for it
// all the same, they are older than what is in the file.
Result<void> recognise(std::vector<JournalFile>& files, const internal::Superblock& superblock,
                       const Store& log) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& data = dynamic_cast<const File&>(*files[i].store);
    const std::optional<std::string> mark = QUIRE_TRY(read_mark(data));
    if (mark && !mark->starts_with(text_of(superblock.uuid))) {
      return fail(FileGuard::belongs_to_another(data));
    }
    if (i >= superblock.files.size()) {
      continue;
    }
    if (mark == mark_of(superblock.uuid, i)) {
      files[i].identity = superblock.files[i].identity;
    }
    const bool is_known = files[i].identity == superblock.files[i].identity;
    if (!mark && is_known && !superblock.is_clean && has_attributes(data)) {
      return fail(outdated(data, log));
    }
  }
  return {};
}

// Before anything is written to one of them.
Result<void> require_different(const std::vector<JournalFile>& files, sys::FileId journal) {
  std::vector<sys::FileId> ids{journal};
  for (const JournalFile& file : files) {
    const auto& data = dynamic_cast<const File&>(*file.store);
    const sys::FileId id = QUIRE_TRY(id_of(data.fd(), data.name()));
    if (std::ranges::find(ids, id) != ids.end()) {
      return fail(named_twice(data.name()));
    }
    ids.push_back(id);
  }
  return {};
}

}  // namespace

std::string journal_path_of(const std::string& path) {
  return target_of(path) + ".quire-journal";
}

Result<JournalFile> open_journal_file(const std::string& path, bool create) {
  std::shared_ptr<File> file = QUIRE_TRY(open_file(path, {.writable = true,
                                                          .create = create,
                                                          .behind_journal = BehindJournal::kAllowed,
                                                          .cache = CacheUse::kBypass}));
  const auto status = sys::file_status(file->fd());
  if (!status) {
    return fail(sys::to_error(status.error(), "open journal", path));
  }
  FileIdentity identity{};
  for (std::size_t i = 0; i < sizeof(status->inode); ++i) {
    identity.at(i) = static_cast<std::byte>(status->inode >> (8 * i));
  }
  std::error_code ignored;  // Then the path stays as it was given: it is a hint.
  const std::string name =
      std::filesystem::absolute(target_of(path), ignored).lexically_normal().string();
  return JournalFile{
      .store = std::move(file), .identity = identity, .name = name.empty() ? path : name};
}

Result<std::unique_ptr<Journal>> open_journal(const std::vector<std::string>& paths,
                                              const JournalFileOptions& options) {
  if (paths.empty()) {
    return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                       .operation = "open journal",
                       .subject = options.path,
                       .cause = "it needs a file"}));
  }
  JournalParts parts;
  for (const std::string& path : paths) {
    parts.files.push_back(QUIRE_TRY(open_journal_file(path, options.create)));
  }
  const std::string path = options.path.empty() ? journal_path_of(paths[0]) : options.path;
  sys::Descriptor lock = QUIRE_TRY(find_or_make(path, parts.files, options.journal));
  const std::shared_ptr<File> log = QUIRE_TRY(open_log(path, WriteThrough::kOnSync));
  parts.log = log;
  parts.durable_log = QUIRE_TRY(open_log(path, WriteThrough::kEachWrite));
  // Last, since it goes with the first descriptor of the journal that this process closes. Where
  // there are no such locks, others are refused all the same, only not told by whom.
  static_cast<void>(sys::lock_byte_shared(lock.get(), kSignOffsetBytes, sys::LockHolder::kProcess));
  const internal::Superblock superblock = QUIRE_TRY(internal::peek_superblock(*parts.log));
  QUIRE_TRY(recognise(parts.files, superblock, *log));
  const sys::FileId id = QUIRE_TRY(id_of(lock.get(), path));
  QUIRE_TRY(require_different(parts.files, id));
  parts.guard = std::make_shared<FileGuard>(std::move(lock), id, superblock.uuid,
                                            log->is_direct() ? "" : log->explain());
  return Journal::open(std::move(parts), options.journal);
}

}  // namespace quire
