// SPDX-License-Identifier: Apache-2.0
//
// probe_path: finds something at the path that can be tried on, and runs the path probes on it.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <vector>

#include "quire/sys/file.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys {
namespace {

using internal::PathSubject;
using internal::try_call;

constexpr const char* kOperation = "probe";

// Big enough for every alignment that is asked for, small enough for every disk.
constexpr std::size_t kTrialFileBytes = std::size_t{64} << 10;

// Names tried before we believe that the directory is full of them.
constexpr int kNameTriesMax = 16;

Error to_path_error(Errno cause, const std::string& path) {
  return to_error(cause, kOperation, path);
}

// A file with a name that nobody else has, unlinked before anything else happens.
Outcome<Descriptor> create_and_unlink(const std::string& directory) {
  for (int number = 0; number < kNameTriesMax; ++number) {
    const std::string path =
        fmt::format("{}/.quire-doctor-probe-{}-{}", directory, ::getpid(), number);
    Outcome<Descriptor> file = open_file(
        path.c_str(), {.write = true, .create = true, .exclusive = true, .no_follow = true});
    if (file) {
      QUIRE_TRY(unlink_path(path.c_str()));
      return file;
    }
    if (file.error().value != EEXIST) {
      return file;
    }
  }
  return refuse(EEXIST);
}

Outcome<Descriptor> create_nameless(const std::string& directory) {
  const Outcome<long> fd =
      try_call([&] { return ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); });
  if (fd) {
    return Descriptor(static_cast<int>(*fd));
  }
  // EISDIR: a kernel or file system that takes the flag for O_DIRECTORY.
  const int error = fd.error().value;
  if (error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT) {
    return create_and_unlink(directory);
  }
  return tl::unexpected<Errno>(fd.error());
}

// The two files that a directory is probed with: one with blocks on the disk, one empty.
struct TrialFiles {
  Descriptor full;
  Descriptor empty;
};

Outcome<TrialFiles> create_trial_files(const std::string& directory) {
  TrialFiles files;
  files.full = QUIRE_TRY(create_nameless(directory));
  files.empty = QUIRE_TRY(create_nameless(directory));
  const std::vector<std::byte> content(kTrialFileBytes, std::byte{0x5a});
  QUIRE_TRY(write_at(files.full.get(), content, 0));
  QUIRE_TRY(sync_data(files.full.get()));
  return files;
}

void run_probes(const PathSubject& subject, PathProbe& probe) {
  // First, while the page cache is as it was found.
  const bool is_residency_told = internal::probe_page_cache(subject, probe.capabilities);
  probe.direct_alignment =
      internal::probe_direct_io(subject, is_residency_told, probe.capabilities);
  internal::probe_file_io(subject, probe.capabilities);
}

void skip_probes(const std::string& reason, std::vector<Capability>& found) {
  internal::skip_page_cache(reason, found);
  internal::skip_direct_io(reason, found);
  internal::skip_file_io(reason, found);
}

void probe_directory(const std::string& path, PathProbe& probe) {
  if (probe.file_system.type.kind == StorageKind::kPseudo) {
    skip_probes("not tried: a pseudo file system takes no temporary file", probe.capabilities);
    return;
  }
  const Outcome<TrialFiles> files = create_trial_files(path);
  if (!files) {
    skip_probes("no temporary file could be made here: " + internal::explain(files.error()) +
                    "; name a file to have it tried read-only",
                probe.capabilities);
    return;
  }
  run_probes({.fd = files->full.get(),
              .kind = FileKind::kRegular,
              .size_bytes = kTrialFileBytes,
              .twin_fd = files->empty.get()},
             probe);
}

Result<void> probe_file(const std::string& path, const FileStatus& status, PathProbe& probe) {
  // Files of /proc and /sys are programs: reading one may consume, wait, or change something.
  if (probe.file_system.type.kind == StorageKind::kPseudo) {
    skip_probes("not tried: the file is made up when it is read", probe.capabilities);
    return {};
  }
  const Outcome<Descriptor> file = open_file(path.c_str(), {});
  if (!file) {
    return fail(to_path_error(file.error(), path));
  }
  run_probes({.fd = file->get(), .kind = status.kind, .size_bytes = status.size_bytes}, probe);
  return {};
}

Result<FileStatus> look_at(const std::string& path, const Descriptor& node) {
  const Outcome<FileStatus> status = file_status(node.get());
  if (!status) {
    return fail(to_path_error(status.error(), path));
  }
  switch (status->kind) {
    case FileKind::kRegular:
    case FileKind::kDirectory:
    case FileKind::kBlockDevice: return *status;
    default: break;
  }
  return fail(make_error(Errc::kWrongKind, kOperation, path,
                         fmt::format("it is {}", describe(status->kind)),
                         "name a directory, a regular file or a block device"));
}

}  // namespace

Result<PathProbe> probe_path(const std::string& path) {
  if (path_has_nul(path)) {
    return fail(to_path_error(Errno{EINVAL}, path.c_str()));
  }
  // O_PATH opens anything without waking it up: a FIFO, a device, a file that we may not read.
  const Outcome<Descriptor> node = open_file(path.c_str(), {.path_only = true});
  if (!node) {
    return fail(to_path_error(node.error(), path));
  }
  const FileStatus status = QUIRE_TRY(look_at(path, *node));
  PathProbe probe;
  probe.path = path;
  probe.kind = status.kind;
  probe.file_system = QUIRE_TRY(file_system_of(node->get()));
  if (status.kind == FileKind::kDirectory) {
    probe_directory(path, probe);
  } else {
    QUIRE_TRY(probe_file(path, status, probe));
  }
  return probe;
}

}  // namespace quire::sys
