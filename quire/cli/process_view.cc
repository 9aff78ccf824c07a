// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/process_view.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "quire/base/units.h"
#include "quire/sys/proc_files.h"

namespace quire::cli {
namespace {

constexpr std::size_t kRowsDefault = 40;
constexpr std::size_t kRowsReserved = 14;  // The summary above the table, and the next prompt.
constexpr std::size_t kRowsMin = 5;
constexpr std::size_t kNameColumnsMin = 20;

// The columns of the table; what is zero for every row is left out.
struct ObjectColumn {
  const char* title;
  std::uint64_t MappedObject::* bytes;
  bool is_optional;
};
constexpr std::array<ObjectColumn, 6> kColumns{{
    {"resident", &MappedObject::resident_bytes, false},
    {"its share", &MappedObject::proportional_bytes, false},
    {"mapped", &MappedObject::size_bytes, false},
    {"dirty", &MappedObject::dirty_bytes, false},
    {"swapped", &MappedObject::swapped_bytes, true},
    {"locked", &MappedObject::locked_bytes, true},
}};

std::string name_of_mapping(const sys::ProcMapping& mapping) {
  if (mapping.inode != 0 || mapping.path.starts_with('/')) {
    return mapping.path;
  }
  // "[anon:name]" is memory that a program gave a name; all else without a name is one kind.
  return mapping.path.empty() ? "[anonymous]" : mapping.path;
}

void add_use(MappedObject& object, const sys::ProcMappingUse& use) {
  object.is_file = use.mapping.inode != 0;
  object.is_deleted = use.mapping.is_deleted;
  object.size_bytes += use.mapping.end - use.mapping.start;
  object.resident_bytes += use.resident_bytes;
  object.proportional_bytes += use.proportional_bytes;
  object.dirty_bytes += use.shared_dirty_bytes + use.private_dirty_bytes;
  object.swapped_bytes += use.swap_bytes;
  object.locked_bytes += use.locked_bytes;
}

// Dirty pages of the mapped file itself: private copies are dirty too, but no file's.
std::uint64_t dirty_file_bytes(const sys::ProcMappingUse& use) {
  const std::uint64_t dirty = use.shared_dirty_bytes + use.private_dirty_bytes;
  return use.mapping.inode == 0 ? 0 : dirty - std::min(dirty, use.anonymous_bytes);
}

bool is_shared_memory(const sys::ProcMapping& mapping) {
  return mapping.path.starts_with("/memfd:") || mapping.path.starts_with("/SYSV") ||
         mapping.path.starts_with("/dev/shm/") || mapping.path == "/dev/zero";
}

std::string percent_of_resident(std::uint64_t part, const ProcessMemory& memory) {
  return fmt::format("{} of {} ({})", human_bytes(part), human_bytes(memory.resident_bytes()),
                     percent(part, memory.resident_bytes()));
}

std::string kind_line(const char* kind, std::uint64_t bytes, const char* consequence) {
  return fmt::format("  {:<18}{:>10}   {}\n", kind, human_bytes(bytes), consequence);
}

std::string summary_lines(const Session& session, const ProcessMemory& memory) {
  std::string text =
      kind_line("clean file pages", memory.clean_file_bytes,
                "dropped by the kernel when memory is needed") +
      kind_line("dirty file pages", memory.dirty_file_bytes, "written first, then dropped") +
      kind_line("shared memory", memory.shared_bytes, "stays until removed or unmapped by all") +
      kind_line("anonymous memory", memory.anonymous_bytes, "given back by the process only");
  if (memory.swapped_bytes > 0) {
    text += kind_line("swapped out", memory.swapped_bytes, "anonymous memory, now on disk");
  }
  if (memory.locked_bytes > 0) {
    text += kind_line("locked", memory.locked_bytes, "part of the above that must stay");
  }
  return text + "\n" + session.paint()(Tone::kStrong, "Is it a leak?") + "\n" +
         indented(leak_verdict(memory), session.columns()) + "\n";
}

std::string bytes_or_dash(std::uint64_t bytes) {
  return bytes == 0 ? "-" : human_bytes(bytes);
}

std::vector<ObjectColumn> columns_of(const ProcessPicture& picture) {
  std::vector<ObjectColumn> columns;
  for (const ObjectColumn& column : kColumns) {
    const bool is_used =
        std::any_of(picture.objects.begin(), picture.objects.end(),
                    [&](const MappedObject& object) { return object.*column.bytes > 0; });
    if (is_used || !column.is_optional) {
      columns.push_back(column);
    }
  }
  return columns;
}

std::string object_row(const Session& session, const std::vector<ObjectColumn>& columns,
                       const MappedObject& object) {
  std::string row;
  for (const ObjectColumn& column : columns) {
    row += fmt::format("{:>10}  ", bytes_or_dash(object.*column.bytes));
  }
  const std::string name = session.name(object.name) + (object.is_deleted ? " (deleted)" : "");
  std::string shown = fit_path(
      name, std::max(session.columns() - std::min(session.columns(), row.size()), kNameColumnsMin),
      session.charset());
  shown.erase(shown.find_last_not_of(' ') + 1);
  return row + shown + "\n";
}

void print_picture(Session& session, const std::string& title, const ProcessPicture& picture,
                   bool is_all) {
  const Paint paint = session.paint();
  session.print("{}: {} resident\n{}\n", paint(Tone::kStrong, title),
                human_bytes(picture.memory.resident_bytes()),
                summary_lines(session, picture.memory));
  const std::vector<ObjectColumn> columns = columns_of(picture);
  std::string header;
  for (const ObjectColumn& column : columns) {
    header += fmt::format("{:>10}  ", column.title);
  }
  session.print("{}\n", paint(Tone::kDim, header + "what"));
  const std::size_t fitting =
      session.rows() ? *session.rows() - std::min(*session.rows(), kRowsReserved) : kRowsDefault;
  const std::size_t count = picture.objects.size();
  const std::size_t shown = is_all ? count : std::min(count, std::max(fitting, kRowsMin));
  for (std::size_t index = 0; index < shown; ++index) {
    session.output().write(object_row(session, columns, picture.objects[index]));
  }
  if (shown < count) {
    session.print("{}\n", paint(Tone::kDim, fmt::format("... and {} with less; --all lists them",
                                                        with_thousands(count - shown))));
  }
}

void write_picture(JsonWriter& json, int pid, const std::string& name,
                   const ProcessPicture& picture) {
  const ProcessMemory& memory = picture.memory;
  json.key("process").begin_object();
  json.member("pid", pid);
  json.member("name", name);
  json.member("resident_bytes", memory.resident_bytes());
  json.member("clean_file_bytes", memory.clean_file_bytes);
  json.member("dirty_file_bytes", memory.dirty_file_bytes);
  json.member("shared_bytes", memory.shared_bytes);
  json.member("anonymous_bytes", memory.anonymous_bytes);
  json.member("swapped_bytes", memory.swapped_bytes);
  json.member("locked_bytes", memory.locked_bytes);
  json.member("verdict", leak_verdict(memory));
  json.end_object();
  json.key("mappings").begin_array();
  for (const MappedObject& object : picture.objects) {
    json.begin_object();
    json.member_path("path", object.name);
    json.member("is_file", object.is_file);
    json.member("is_deleted", object.is_deleted);
    json.member("size_bytes", object.size_bytes);
    json.member("resident_bytes", object.resident_bytes);
    json.member("proportional_bytes", object.proportional_bytes);
    json.member("dirty_bytes", object.dirty_bytes);
    json.member("swapped_bytes", object.swapped_bytes);
    json.member("locked_bytes", object.locked_bytes);
    json.end_object();
  }
  json.end_array();
}

Error process_error(sys::Errno cause, int pid) {
  const std::string subject = fmt::format("process {}", pid);
  if (cause.value == ENOENT || cause.value == ESRCH) {
    return sys::to_error(sys::Errno{ESRCH}, "map", subject, "look for it with ps or pgrep");
  }
  return sys::to_error(cause, "map", subject, "run as the user of that process, or as root");
}

}  // namespace

std::string leak_verdict(const ProcessMemory& memory) {
  const std::uint64_t largest = std::max({memory.clean_file_bytes, memory.dirty_file_bytes,
                                          memory.shared_bytes, memory.anonymous_bytes});
  if (largest == 0) {
    return "It has no resident memory of its own.";
  }
  if (largest == memory.clean_file_bytes) {
    return fmt::format(
        "No sign of one: {} are clean file pages, which the kernel drops when it "
        "needs the memory.",
        percent_of_resident(largest, memory));
  }
  if (largest == memory.dirty_file_bytes) {
    return fmt::format(
        "No sign of one: {} are dirty file pages, which the kernel can drop once "
        "they are written; a flush makes them clean.",
        percent_of_resident(largest, memory));
  }
  if (largest == memory.shared_bytes) {
    return fmt::format(
        "Perhaps a forgotten one: {} are shared memory, which stays until its file "
        "is removed and every process has unmapped it.",
        percent_of_resident(largest, memory));
  }
  return fmt::format(
      "Possibly: {} are anonymous memory, which only the process gives back; if it "
      "keeps growing while the work does not, it is a leak.",
      percent_of_resident(largest, memory));
}

ProcessPicture picture_of(std::string_view smaps, std::string_view status) {
  ProcessPicture picture;
  std::map<std::string, MappedObject> objects;
  std::uint64_t dirty = 0;
  for (const sys::ProcMappingUse& use : sys::parse_smaps(smaps)) {
    const std::string name = name_of_mapping(use.mapping);
    add_use(objects[name], use);
    dirty += is_shared_memory(use.mapping) ? 0 : dirty_file_bytes(use);
  }
  for (auto& [name, object] : objects) {
    object.name = name;
    picture.objects.push_back(std::move(object));
  }
  std::sort(picture.objects.begin(), picture.objects.end(),
            [](const MappedObject& left, const MappedObject& right) {
              return left.resident_bytes != right.resident_bytes
                         ? left.resident_bytes > right.resident_bytes
                         : left.name < right.name;
            });
  const auto field = [&](std::string_view name) {
    return sys::parse_field(status, name).value_or(0);
  };
  const std::uint64_t file_bytes = field("RssFile");
  picture.memory = {.clean_file_bytes = file_bytes - std::min(file_bytes, dirty),
                    .dirty_file_bytes = std::min(file_bytes, dirty),
                    .shared_bytes = field("RssShmem"),
                    .anonymous_bytes = field("RssAnon"),
                    .swapped_bytes = field("VmSwap"),
                    .locked_bytes = field("VmLck")};
  return picture;
}

ExitCode show_process(Session& session, int pid, bool is_all) {
  const auto status = sys::read_proc_file(sys::proc_path(pid, "status"));
  const auto smaps = sys::read_proc_file(sys::proc_path(pid, "smaps"), sys::kProcFileBytesMax);
  if (!status || !smaps) {
    session.report(process_error(!status ? status.error() : smaps.error(), pid));
    return ExitCode::kFailed;
  }
  std::string name = sys::read_proc_file(sys::proc_path(pid, "comm")).value_or("");
  name.erase(name.find_last_not_of('\n') + 1);
  const ProcessPicture picture = picture_of(*smaps, *status);
  if (session.is_json()) {
    write_picture(session.json(), pid, name, picture);
  } else {
    print_picture(session, fmt::format("{} (process {})", session.name(name), pid), picture,
                  is_all);
  }
  return ExitCode::kDone;
}

}  // namespace quire::cli
