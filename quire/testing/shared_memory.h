// SPDX-License-Identifier: Apache-2.0
//
// SharedMemory<T>: a T that a test shares with the children it forks, and that outlives them: what
// they have done, or were told, when they are killed. T is made of atomics.
#pragma once

#include <sys/mman.h>

#include <new>

#include "quire/base/check.h"

namespace quire::testing {

template <typename T>
class SharedMemory {
 public:
  SharedMemory() {
    void* memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    value_ = new (memory) T;
  }
  ~SharedMemory() { ::munmap(value_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_ = nullptr;
};

}  // namespace quire::testing
