// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "quire/base/error.h"

namespace quire::testing {
namespace {

std::string problem(const char* what) {
  return std::string(what) + ": " + errno_name(errno);
}

}  // namespace

std::string enter_mount_namespace() {
  if (unshare(CLONE_NEWNS) != 0) {
    return problem("mount namespace");
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return problem("private mounts");
  }
  return "";
}

Mount::~Mount() {
  if (!path_.empty()) {
    umount2(path_.c_str(), MNT_DETACH);
  }
}

std::string Mount::mount(const std::string& type, const std::string& source,
                         const std::string& path, const std::string& options) {
  if (std::string why_not = enter_mount_namespace(); !why_not.empty()) {
    return why_not;
  }
  if (::mount(source.c_str(), path.c_str(), type.c_str(), 0, options.c_str()) != 0) {
    return problem(type.c_str());
  }
  path_ = path;
  return "";
}

LoopDevice::~LoopDevice() {
  if (device_ >= 0) {
    close(device_);
  }
}

std::string LoopDevice::attach(const std::string& file) {
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) {
    return problem("loop device");
  }
  const int backing = open(file.c_str(), O_RDWR | O_CLOEXEC);
  std::string why_not = backing < 0 ? problem("backing file") : configure(control, backing);
  close(control);
  close(backing);
  return why_not;
}

std::string LoopDevice::configure(int control, int backing) {
  constexpr int kTriesMax = 8;  // Another process may take the free device first.
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(backing);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  std::string why_not;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    path_ = "/dev/loop" + std::to_string(ioctl(control, LOOP_CTL_GET_FREE));
    device_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    if (device_ >= 0 && ioctl(device_, LOOP_CONFIGURE, &config) == 0) {
      return "";
    }
    why_not = problem("loop device");
    close(device_);
    device_ = -1;
  }
  return why_not;
}

}  // namespace quire::testing
