// SPDX-License-Identifier: Apache-2.0
//
// The facts as members of the JSON document; docs/json.md describes them.
#include "quire/cli/doctor.h"

namespace quire::cli {
namespace {

using Number = std::optional<std::uint64_t>;

// null where nothing is known, or nothing limits.
void member(JsonWriter& json, std::string_view name, const Number& number) {
  json.key(name);
  number ? json.value(*number) : json.value_null();
}

void write_machine(const sys::MachineProbe& machine, JsonWriter& json) {
  json.key("machine").begin_object();
  json.member("kernel_release", machine.kernel_release);
  json.member("architecture", machine.architecture);
  json.member("page_size_bytes", machine.page_size_bytes);
  json.member("processor_count", machine.processor_count);
  json.member("is_root", machine.is_root);
  json.end_object();
}

void write_capabilities(const std::vector<sys::Capability>& capabilities, const char* scope,
                        JsonWriter& json) {
  for (const sys::Capability& capability : capabilities) {
    json.begin_object();
    json.member("name", capability.name);
    json.member("scope", scope);
    json.key("available");
    if (capability.available == sys::Availability::kUnknown) {
      json.value_null();
    } else {
      json.value(capability.available == sys::Availability::kYes);
    }
    json.member("reason", capability.reason);
    json.member("detail", capability.detail);
    json.member("consequence", capability.consequence);
    json.end_object();
  }
}

void write_limit(std::string_view name, const sys::ResourceLimit& limit, JsonWriter& json) {
  json.key(name).begin_object();
  json.member("is_known", limit.is_known);
  member(json, "soft", limit.soft);
  member(json, "hard", limit.hard);
  json.end_object();
}

void write_limits(const sys::ProcessLimits& limits, JsonWriter& json) {
  json.key("limits").begin_object();
  write_limit("locked_bytes", limits.locked_bytes, json);
  json.member("may_lock_without_limit", limits.may_lock_without_limit);
  member(json, "locked_now_bytes", limits.locked_now_bytes);
  write_limit("open_files", limits.open_files, json);
  write_limit("address_space_bytes", limits.address_space_bytes, json);
  write_limit("file_size_bytes", limits.file_size_bytes, json);
  member(json, "mappings_max", limits.mappings_max);
  member(json, "mappings_now", limits.mappings_now);
  member(json, "overcommit_mode", limits.overcommit_mode);
  json.end_object();
}

void write_machine_memory(const std::optional<sys::MachineMemory>& machine, JsonWriter& json) {
  json.key("machine");
  if (!machine) {
    json.value_null();
    return;
  }
  json.begin_object();
  json.member("total_bytes", machine->total_bytes);
  json.member("free_bytes", machine->free_bytes);
  json.member("available_bytes", machine->available_bytes);
  json.member("cached_bytes", machine->cached_bytes);
  json.member("swap_total_bytes", machine->swap_total_bytes);
  json.member("swap_free_bytes", machine->swap_free_bytes);
  member(json, "free_above_watermarks_bytes", machine->free_above_watermarks_bytes);
  json.end_object();
}

void write_cgroups(const std::vector<sys::CgroupLevel>& levels, JsonWriter& json) {
  json.key("cgroups").begin_array();
  for (const sys::CgroupLevel& level : levels) {
    json.begin_object();
    json.member("version", level.version);
    json.member_path("path", level.path);
    member(json, "limit_bytes", level.limit_bytes);
    member(json, "high_bytes", level.high_bytes);
    member(json, "usage_bytes", level.usage_bytes);
    json.end_object();
  }
  json.end_array();
}

void write_pressure(const std::optional<sys::MemoryPressure>& pressure, JsonWriter& json) {
  json.key("pressure");
  if (!pressure) {
    json.value_null();
    return;
  }
  json.begin_object();
  json.member("some_percent_10s", pressure->some_percent_10s);
  json.member("full_percent_10s", pressure->full_percent_10s);
  json.end_object();
}

void write_memory(const DoctorFacts& facts, JsonWriter& json) {
  json.key("memory").begin_object();
  write_machine_memory(facts.memory.machine, json);
  write_cgroups(facts.memory.cgroups, json);
  json.key("binding").begin_object();
  member(json, "bytes", facts.memory.binding_bytes);
  member(json, "usage_bytes", facts.memory.binding_usage_bytes);
  json.member("description", facts.memory.binding);
  json.end_object();
  json.key("headroom").begin_object();
  json.member("bytes", facts.headroom.bytes);
  json.member("is_known", facts.headroom.is_known);
  json.member("description", facts.headroom.binding);
  json.end_object();
  write_pressure(facts.memory.pressure, json);
  json.end_object();
}

void write_strings(std::string_view name, const std::vector<std::string>& strings,
                   JsonWriter& json) {
  json.key(name).begin_array();
  for (const std::string& text : strings) {
    json.value(text);
  }
  json.end_array();
}

void write_device(const std::optional<sys::BlockDevice>& device, JsonWriter& json) {
  json.key("device");
  if (!device) {
    json.value_null();
    return;
  }
  json.begin_object();
  json.member("name", device->name);
  json.member("partition", device->partition);
  member(json, "read_ahead_bytes", device->read_ahead_bytes);
  json.key("is_rotational");
  device->is_rotational ? json.value(*device->is_rotational) : json.value_null();
  member(json, "requests_max", device->requests_max);
  member(json, "request_bytes_max", device->request_bytes_max);
  member(json, "logical_block_bytes", device->logical_block_bytes);
  member(json, "physical_block_bytes", device->physical_block_bytes);
  json.member("scheduler", device->scheduler);
  json.member("write_cache", device->write_cache);
  json.member_path("backing_file", device->backing_file);
  write_strings("lower_devices", device->lower_devices, json);
  json.end_object();
}

void write_file_system(const sys::FileSystem& fs, JsonWriter& json) {
  json.key("file_system").begin_object();
  json.member("type", fs.type.name);
  json.member("kind", sys::name_of(fs.type.kind));
  json.member_path("mount_point", fs.mount_point);
  json.member_path("source", fs.source);
  write_strings("options", fs.options, json);
  json.member("is_read_only", fs.is_read_only);
  json.member("is_dax", fs.is_dax);
  json.member("has_barriers", fs.has_barriers);
  json.member("block_bytes", fs.block_bytes);
  json.member("total_bytes", fs.total_bytes);
  json.member("free_bytes", fs.free_bytes);
  member(json, "free_inodes", fs.free_inodes);
  json.end_object();
}

void write_alignment(const std::optional<sys::DirectAlignment>& alignment, JsonWriter& json) {
  json.key("direct_alignment");
  if (!alignment) {
    json.value_null();
    return;
  }
  json.begin_object();
  json.member("memory_bytes", alignment->memory_bytes);
  json.member("offset_bytes", alignment->offset_bytes);
  member(json, "read_offset_bytes", alignment->read_offset_bytes);
  json.end_object();
}

const char* name_of(sys::FileKind kind) {
  switch (kind) {
    case sys::FileKind::kDirectory: return "directory";
    case sys::FileKind::kBlockDevice: return "block_device";
    default: return "regular";  // Nothing else is probed.
  }
}

void write_path(const sys::PathProbe& path, JsonWriter& json) {
  json.key("path").begin_object();
  json.member_path("path", path.path);
  json.member("kind", name_of(path.kind));
  write_file_system(path.file_system, json);
  write_device(path.file_system.device, json);
  write_alignment(path.direct_alignment, json);
  json.end_object();
}

}  // namespace

void write_doctor_json(const DoctorFacts& facts, JsonWriter& json) {
  write_machine(facts.machine, json);
  json.key("capabilities").begin_array();
  write_capabilities(facts.machine.capabilities, "machine", json);
  write_capabilities(facts.path.capabilities, "path", json);
  json.end_array();
  write_limits(facts.limits, json);
  write_memory(facts, json);
  write_path(facts.path, json);
  write_strings("warnings", warnings_of(doctor_sections(facts)), json);
}

}  // namespace quire::cli
