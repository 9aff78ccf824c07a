// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/top_view.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/file_view.h"
#include "quire/sys/directory.h"
#include "quire/sys/proc_files.h"

namespace quire::cli {
namespace {

constexpr std::size_t kWhoColumns = 28;

// A file that processes use, and a way to open it.
struct UsedFile {
  std::string path;  // For people.
  std::string door;  // Under /proc: opens the very file, whatever became of its name.
  std::set<int> users;
};

struct UsedFiles {
  std::map<sys::FileId, UsedFile> files;
  std::map<int, std::string> names;
  std::uint64_t processes_hidden = 0;
  bool is_cut = false;
};

void add_user(UsedFiles& used, const sys::FileId& id, int pid, const std::string& path,
              const std::string& door) {
  const auto found = used.files.find(id);
  if (found != used.files.end()) {
    found->second.users.insert(pid);
  } else if (used.files.size() < kUsedFilesMax) {
    used.files.emplace(id, UsedFile{.path = path, .door = door, .users = {pid}});
  } else {
    used.is_cut = true;
  }
}

// A mapped file, by the link in map_files where we may use it (root), by its path elsewhere.
void add_mapping(UsedFiles& used, int pid, const sys::ProcMapping& mapping) {
  if (mapping.inode == 0) {
    return;
  }
  std::string door =
      sys::proc_path(pid, fmt::format("map_files/{:x}-{:x}", mapping.start, mapping.end));
  auto status = sys::path_status(door.c_str(), false);
  if (!status) {
    door = mapping.path;
    status = sys::path_status(door.c_str(), false);
  }
  const bool is_same = status && status->inode == mapping.inode;
  if (is_same && status->kind == sys::FileKind::kRegular) {
    add_user(used, status->id(), pid, mapping.path, door);
  }
}

void add_open_file(UsedFiles& used, int pid, const char* number) {
  const std::string door = sys::proc_path(pid, fmt::format("fd/{}", number));
  const auto status = sys::path_status(door.c_str(), false);
  if (!status || status->kind != sys::FileKind::kRegular || status->size_bytes == 0) {
    return;
  }
  std::error_code ignored;
  const std::string path = std::filesystem::read_symlink(door, ignored).string();
  add_user(used, status->id(), pid, path, door);
}

// Returns false when the process may not be looked into.
bool add_process(UsedFiles& used, int pid) {
  const auto maps = sys::read_proc_file(sys::proc_path(pid, "maps"), sys::kProcFileBytesMax);
  auto directory = sys::open_file(sys::proc_path(pid, "fd").c_str(), {.directory = true});
  if (!maps || !directory) {
    const int error = !maps ? maps.error().value : directory.error().value;
    return error != EACCES && error != EPERM;
  }
  for (const sys::ProcMapping& mapping : sys::parse_maps(*maps)) {
    add_mapping(used, pid, mapping);
  }
  sys::DirectoryReader reader(std::move(*directory));
  for (auto entry = reader.next(); entry && *entry; entry = reader.next()) {
    add_open_file(used, pid, (*entry)->name);
  }
  std::string name = sys::read_proc_file(sys::proc_path(pid, "comm")).value_or("");
  name.erase(name.find_last_not_of('\n') + 1);
  used.names[pid] = std::move(name);
  return true;
}

struct RankedFile {
  FileView view;
  std::set<int> users;
};

std::vector<RankedFile> ranked(Session& session, const UsedFiles& used, std::uint64_t files_max) {
  std::vector<RankedFile> ranking;
  for (const auto& [id, file] : used.files) {
    if (session.stop_requested()) {
      break;
    }
    const auto opened = sys::open_file(file.door.c_str(), {});
    auto found = opened ? residency(opened->get())
                        : Result<Residency>(fail(make_error(Errc::kClosed, "open", file.door)));
    if (found && found->resident_known && found->resident_bytes > 0) {
      ranking.push_back(
          {.view = {.path = file.path, .residency = std::move(*found)}, .users = file.users});
    }
  }
  std::sort(ranking.begin(), ranking.end(), [](const RankedFile& left, const RankedFile& right) {
    const std::uint64_t left_bytes = left.view.residency.resident_bytes;
    const std::uint64_t right_bytes = right.view.residency.resident_bytes;
    return left_bytes != right_bytes ? left_bytes > right_bytes : left.view.path < right.view.path;
  });
  ranking.resize(std::min<std::size_t>(ranking.size(), files_max));
  return ranking;
}

// The first of the users, and how many more; --json lists all.
std::string who(const Session& session, const UsedFiles& used, const std::set<int>& users) {
  const int first = *users.begin();
  const std::string text = fmt::format("{} ({})", session.name(used.names.at(first)), first);
  return users.size() == 1 ? text : fmt::format("{} +{}", text, users.size() - 1);
}

void print_ranking(Session& session, const UsedFiles& used,
                   const std::vector<RankedFile>& ranking) {
  const Paint paint = session.paint();
  session.print("{}\n", paint(Tone::kDim, fmt::format("{:>10}  {:>7}  {:<{}}  {}", "resident",
                                                      "share", "used by", kWhoColumns, "file")));
  constexpr std::size_t kUsed = 10 + 2 + 7 + 2 + kWhoColumns + 2;
  const std::size_t columns = std::max<std::size_t>(session.columns() - kUsed, 20);
  for (const RankedFile& file : ranking) {
    const Residency& found = file.view.residency;
    std::string path = fit_path(session.name(file.view.path), columns, session.charset());
    path.erase(path.find_last_not_of(' ') + 1);
    session.print("{:>10}  {:>7}  {}  {}\n", human_bytes(found.resident_bytes),
                  percent(found.resident_bytes, found.size_bytes),
                  fit_path(who(session, used, file.users), kWhoColumns, session.charset()), path);
  }
}

void write_ranking(JsonWriter& json, const UsedFiles& used,
                   const std::vector<RankedFile>& ranking) {
  json.key("files").begin_array();
  for (const RankedFile& file : ranking) {
    json.begin_object();
    write_file_members(json, file.view, false);
    json.key("processes").begin_array();
    for (const int pid : file.users) {
      json.begin_object();
      json.member("pid", pid);
      json.member("name", used.names.at(pid));
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.member("processes_hidden", used.processes_hidden);
}

}  // namespace

ExitCode show_top(Session& session, std::uint64_t files_max) {
  const auto processes = sys::list_processes();
  if (!processes) {
    session.report(sys::to_error(processes.error(), "map", "/proc", "mount /proc"));
    return ExitCode::kFailed;
  }
  UsedFiles used;
  for (const int pid : *processes) {
    if (session.stop_requested()) {
      return ExitCode::kFailed;
    }
    used.processes_hidden += add_process(used, pid) ? 0 : 1;
  }
  const std::vector<RankedFile> ranking = ranked(session, used, files_max);
  if (session.is_json()) {
    write_ranking(session.json(), used, ranking);
  } else {
    print_ranking(session, used, ranking);
  }
  if (used.processes_hidden > 0) {
    session.note(fmt::format("{} could not be looked into; root sees all",
                             count_of(used.processes_hidden, "process", "processes")));
  }
  if (used.is_cut) {
    session.note(fmt::format("more than {} files in use; some were left out", kUsedFilesMax));
  }
  return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
}

}  // namespace quire::cli
