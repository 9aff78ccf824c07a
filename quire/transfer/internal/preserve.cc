// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/preserve.h"

#include <fmt/format.h>

#include <cerrno>

#include "quire/sys/process.h"

namespace quire::internal {
namespace {

constexpr std::uint32_t kSetIdBits = 06000;

void remark(std::vector<std::string>& remarks, const std::string& what, sys::Errno cause) {
  remarks.push_back(
      fmt::format("{} not kept: {}", what, sys::to_error(cause, "copy", what).cause()));
}

// True when the target now belongs to whom the source belongs to.
bool keep_owner(const sys::FileMetadata& from, int target, std::vector<std::string>& remarks) {
  const auto now = sys::metadata_of(target);
  if (now && now->owner == from.owner && now->group == from.group) {
    return true;
  }
  if (!sys::is_root()) {
    return false;
  }
  const auto set = sys::set_owner(target, from.owner, from.group);
  if (!set) {
    remark(remarks, "owner", set.error());
  }
  return set.has_value();
}

// The security labels of a system are its own to give; without being root they cannot be read or
// set, and nobody expects it.
bool is_for_everybody(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("system.posix_acl_");
}

void keep_attributes(int source, int target, std::vector<std::string>& remarks) {
  const auto names = sys::attribute_names(source);
  if (!names) {
    if (names.error().value != EOPNOTSUPP) {
      remark(remarks, "extended attributes", names.error());
    }
    return;
  }
  for (const std::string& name : *names) {
    if (!sys::is_root() && !is_for_everybody(name)) {
      continue;
    }
    const auto value = sys::attribute(source, name);
    if (!value) {
      remark(remarks, fmt::format("attribute {}", name), value.error());
      continue;
    }
    if (const auto set = sys::set_attribute(target, name, *value); !set) {
      remark(remarks, fmt::format("attribute {}", name), set.error());
    }
  }
}

}  // namespace

Result<void> preserve_metadata(int source, int target, const std::string& shown_path,
                               std::vector<std::string>& remarks) {
  const auto fails = [&](sys::Errno cause) {
    return fail(sys::to_error(cause, "copy", shown_path));
  };
  const auto from = sys::metadata_of(source);
  if (!from) {
    return fails(from.error());
  }
  const bool has_owner = keep_owner(*from, target, remarks);
  keep_attributes(source, target, remarks);
  const std::uint32_t mode = has_owner ? from->mode : from->mode & ~kSetIdBits;
  if (const auto set = sys::set_mode(target, mode); !set) {
    return fails(set.error());
  }
  if (const auto set = sys::set_times(target, from->accessed, from->modified); !set) {
    return fails(set.error());
  }
  return {};
}

void preserve_link_metadata(const sys::Descriptor& source_directory, const char* source_name,
                            const sys::Descriptor& target_directory, const char* target_name,
                            std::vector<std::string>& remarks) {
  const auto from = sys::metadata_at(source_directory, source_name);
  if (!from) {
    remark(remarks, "times of the link", from.error());
    return;
  }
  if (sys::is_root()) {
    const auto set = sys::set_owner_at(target_directory, target_name, from->owner, from->group);
    if (!set) {
      remark(remarks, "owner of the link", set.error());
    }
  }
  const auto set = sys::set_times_at(target_directory, target_name, from->accessed, from->modified);
  if (!set) {
    remark(remarks, "times of the link", set.error());
  }
}

}  // namespace quire::internal
