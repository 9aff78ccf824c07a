// SPDX-License-Identifier: Apache-2.0
//
// A plugin of nbdkit: a disk in an image file that writes down, in order, every write with its
// bytes, and every flush. See recorded_disk.h.
//
//   nbdkit PLUGIN image=FILE record=FILE
//
// Requests come one at a time, so the order of the record is one that the disk could have chosen: a
// write is in it before its end is told, a flush when it comes.
#define NBDKIT_API_VERSION 2
#include <fcntl.h>
#include <nbdkit-plugin.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "quire/testing/block_record.h"

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): nbdkit's way.
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

namespace {

using quire::testing::BlockEntry;
using quire::testing::BlockEvent;

int image = -1;
int record = -1;

int fail(const char* what) {
  nbdkit_error("%s: %s", what, std::strerror(errno));
  return -1;
}

int note(BlockEvent event, const void* bytes, std::uint32_t length, std::uint64_t offset) {
  BlockEntry entry{.event = event, .length_bytes = length, .at = offset};
  const iovec pieces[] = {{&entry, sizeof(entry)}, {const_cast<void*>(bytes), length}};
  const auto wanted = static_cast<ssize_t>(sizeof(entry) + length);
  return ::writev(record, pieces, 2) == wanted ? 0 : fail("record");
}

int on_config(const char* key, const char* value) {
  const bool is_image = std::strcmp(key, "image") == 0;
  if (!is_image && std::strcmp(key, "record") != 0) {
    nbdkit_error("%s: unknown", key);
    return -1;
  }
  int& file = is_image ? image : record;
  file = ::open(value, O_CLOEXEC | (is_image ? O_RDWR : O_WRONLY | O_APPEND));
  return file >= 0 ? 0 : fail(value);
}

void* on_open(int /*readonly*/) {
  return &image;
}

std::int64_t on_get_size(void* /*handle*/) {
  struct stat status{};
  return ::fstat(image, &status) == 0 ? status.st_size : fail("image");
}

int on_read(void* /*handle*/, void* into, std::uint32_t count, std::uint64_t offset,
            std::uint32_t /*flags*/) {
  return ::pread(image, into, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count)
             ? 0
             : fail("read");
}

int on_write(void* /*handle*/, const void* from, std::uint32_t count, std::uint64_t offset,
             std::uint32_t /*flags*/) {
  if (::pwrite(image, from, count, static_cast<off_t>(offset)) != static_cast<ssize_t>(count)) {
    return fail("write");
  }
  return note(BlockEvent::kWrite, from, count, offset);
}

int on_flush(void* /*handle*/, std::uint32_t /*flags*/) {
  return note(BlockEvent::kFlush, nullptr, 0, 0);
}

nbdkit_plugin describe() {
  nbdkit_plugin plugin{};
  plugin.name = "quire-recording-disk";
  plugin.config = on_config;
  plugin.open = on_open;
  plugin.get_size = on_get_size;
  plugin.pread = on_read;
  plugin.pwrite = on_write;
  plugin.flush = on_flush;
  return plugin;
}

nbdkit_plugin plugin = describe();

}  // namespace

NBDKIT_REGISTER_PLUGIN(plugin)
