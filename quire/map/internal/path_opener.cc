// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/path_opener.h"

#include <string_view>

namespace quire::internal {
namespace {

// The kernel refuses longer paths (PATH_MAX); in two parts they would slip through.
constexpr std::size_t kPathBytesMax = 4095;

// Where the last component starts; npos when there is no directory before it, or nothing behind.
std::size_t name_start(std::string_view path) noexcept {
  const std::size_t slash = path.rfind('/');
  const bool has_both =
      slash != std::string_view::npos && slash + 1 < path.size() && path.size() <= kPathBytesMax;
  return has_both ? slash + 1 : std::string_view::npos;
}

// "a/b/" of "a/b/c": with the slash, which "/c" needs.
std::string_view directory_of(std::string_view path) noexcept {
  const std::size_t start = name_start(path);
  return start == std::string_view::npos ? std::string_view() : path.substr(0, start);
}

}  // namespace

void PathOpener::enter(std::string_view directory_path) {
  directory_path_ = directory_path;
  directory_ = sys::Descriptor();
  ++open_calls_;
  auto opened = sys::open_file(directory_path_.c_str(), {.directory = true, .path_only = true});
  if (opened) {
    directory_ = *std::move(opened);
    ++directory_count_;
  }
}

sys::Outcome<sys::Descriptor> PathOpener::open(const std::string& path,
                                               const std::string* next_path) {
  const std::string_view directory = directory_of(path);
  if (!directory.empty() && directory != directory_path_ && next_path != nullptr &&
      directory_of(*next_path) == directory) {
    enter(directory);
  }
  ++open_calls_;
  if (!directory.empty() && directory == directory_path_ && directory_.is_open()) {
    return sys::open_file_at(directory_, path.c_str() + directory.size(), {});
  }
  return sys::open_file(path.c_str(), {});
}

}  // namespace quire::internal
