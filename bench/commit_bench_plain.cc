// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/testing/aligned_memory.h"

namespace quire::bench {
namespace {

std::uint64_t size_of(const sys::Descriptor& file) {
  return sys::file_status(file.get()).value().size_bytes;
}

// Memory beside a file, which is written at the same place, and synced.
class WrittenMemory : public FileMemory {
 public:
  WrittenMemory(const std::string& path, bool direct)
      : file_(sys::open_file(path.c_str(), {.write = true, .direct = direct}).value()),
        memory_(static_cast<std::size_t>(size_of(file_))) {
    QUIRE_CHECK_EQ(sys::read_at(file_.get(), bytes(), 0).value(), bytes().size());
  }

  [[nodiscard]] std::span<std::byte> bytes() final { return memory_.bytes(); }
  void commit(ByteRange changed) final {
    const auto from = bytes().subspan(changed.offset_bytes, changed.length_bytes);
    QUIRE_CHECK(sys::write_at(file_.get(), from, changed.offset_bytes).has_value());
    QUIRE_CHECK(sys::sync_data(file_.get()).has_value());
  }

 protected:
  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  const sys::Descriptor file_;
  const testing::PageMemory memory_;
};

class GrowingLog final : public WrittenMemory {
 public:
  explicit GrowingLog(const std::string& path) : WrittenMemory(path, false) {}

  // It is empty again.
  void begin_turn() override {
    QUIRE_CHECK(sys::truncate_file(fd(), 0).has_value());
    QUIRE_CHECK(sys::sync_all(fd()).has_value());
  }
};

class KernelMemory : public FileMemory {
 public:
  KernelMemory(const std::string& path, sys::Visibility visibility)
      : file_(sys::open_file(path.c_str(), {.write = true}).value()), size_bytes_(size_of(file_)) {
    first_ = sys::map_pages({.length_bytes = size_bytes_,
                             .protection = sys::Protection::kReadWrite,
                             .visibility = visibility,
                             .fd = file_.get()})
                 .value();
  }
  ~KernelMemory() override { static_cast<void>(sys::unmap_pages(first_, size_bytes_)); }

  [[nodiscard]] std::span<std::byte> bytes() final { return {first_, size_bytes_}; }

 private:
  const sys::Descriptor file_;
  const std::uint64_t size_bytes_;
  std::byte* first_ = nullptr;
};

class SyncedMapping final : public KernelMemory {
 public:
  explicit SyncedMapping(const std::string& path) : KernelMemory(path, sys::Visibility::kShared) {}

  void commit(ByteRange changed) override {
    QUIRE_CHECK(sys::sync_pages(&bytes()[changed.offset_bytes], changed.length_bytes).has_value());
  }
};

class PrivateMapping final : public KernelMemory {
 public:
  explicit PrivateMapping(const std::string& path)
      : KernelMemory(path, sys::Visibility::kPrivate) {}

  void commit(ByteRange /*changed*/) override { QUIRE_CHECK(false); }
};

// A page is written over the one before, directly, and flushed: what no transaction of one page can
// do without. Nothing is atomic about it.
class RawPages final : public PageStore {
 public:
  explicit RawPages(const std::string& path)
      : file_(sys::open_file(path.c_str(), {.write = true, .direct = true}).value()) {}

  void commit(std::span<const PageValue> values) override {
    for (const PageValue& value : values) {
      QUIRE_CHECK(
          sys::write_at(file_.get(), value.bytes, value.page * value.bytes.size()).has_value());
    }
    QUIRE_CHECK(sys::sync_data(file_.get()).has_value());
  }
  void read(std::uint64_t page, std::span<std::byte> into) override {
    const testing::PageMemory memory(into.size());
    QUIRE_CHECK_EQ(sys::read_at(file_.get(), memory.bytes(), page * into.size()).value(),
                   into.size());
    std::ranges::copy(memory.bytes(), into.begin());
  }

 private:
  const sys::Descriptor file_;
};

using Opened = std::unique_ptr<FileMemory>;

}  // namespace

Product raw_pages() {
  return {.name = "raw", .make = make_page_file, .open = [](const std::string& path) {
            return std::unique_ptr<PageStore>(std::make_unique<RawPages>(path));
          }};
}

MemoryProduct growing_log() {
  return {
      .name = "append",
      .open = [](const std::string& path) -> Opened { return std::make_unique<GrowingLog>(path); },
      .is_mapping = false};
}

MemoryProduct written_log() {
  return {.name = "overwrite",
          .open = [](const std::string& path) -> Opened {
            return std::make_unique<WrittenMemory>(path, false);
          },
          .is_mapping = false};
}

MemoryProduct direct_write() {
  return {.name = "raw",
          .open = [](const std::string& path) -> Opened {
            return std::make_unique<WrittenMemory>(path, true);
          },
          .is_mapping = false};
}

MemoryProduct synced_mapping() {
  return {.name = "msync", .open = [](const std::string& path) -> Opened {
            return std::make_unique<SyncedMapping>(path);
          }};
}

MemoryProduct private_mapping() {
  return {.name = "private", .open = [](const std::string& path) -> Opened {
            return std::make_unique<PrivateMapping>(path);
          }};
}

}  // namespace quire::bench
