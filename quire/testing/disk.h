// SPDX-License-Identifier: Apache-2.0
//
// Small file systems and block devices for tests, for those who may make them (root). Each setup
// answers with why it did not work, "" when it did: the text of the skip.
//
// All of it goes away with the process, however that ends: mounts are made in a mount namespace of
// the test's own, loop devices detach at their last close.
#pragma once

#include <string>

namespace quire::testing {

// Gives this thread and its children mounts of their own, which go away with them. Empty, or why
// not.
[[nodiscard]] std::string enter_mount_namespace();

// A file system mounted at a directory, seen by this thread and its children only.
class Mount {
 public:
  Mount() = default;
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  // `source` is a device, or a name for a file system without one; `options` as for mount(8) -o.
  [[nodiscard]] std::string mount(const std::string& type, const std::string& source,
                                  const std::string& path, const std::string& options);

 private:
  std::string path_;
};

// A file as a block device.
class LoopDevice {
 public:
  LoopDevice() = default;
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  [[nodiscard]] std::string attach(const std::string& file);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  // Borrowed; the device detaches when its last descriptor is closed.
  [[nodiscard]] int descriptor() const noexcept { return device_; }

 private:
  [[nodiscard]] std::string configure(int control, int backing);

  std::string path_;
  int device_ = -1;
};

}  // namespace quire::testing
