// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/store_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {
namespace {

constexpr std::uint64_t kLengthBytesMax = 640_KiB;  // Several bounce buffers of a direct file.
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPiecesMax = 9;

enum class Operation : std::uint8_t { kRead, kWrite, kResize, kPunch, kAllocate, kSync, kCount };

struct Request {
  Operation operation = Operation::kRead;
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::size_t skew_bytes = 0;  // Of the memory, from a page.
  std::size_t piece_count = 1;

  [[nodiscard]] ByteRange range() const { return {offset_bytes, length_bytes}; }
  [[nodiscard]] std::string text() const {
    constexpr std::array<const char*, 6> kNames{"read",  "write",    "resize",
                                                "punch", "allocate", "sync"};
    return std::string(kNames.at(static_cast<std::size_t>(operation))) + "(" + describe(range()) +
           ", memory + " + std::to_string(skew_bytes) + ", " + std::to_string(piece_count) +
           " pieces)";
  }
};

// Numbers from the program, and zeros behind its end.
class Program {
 public:
  explicit Program(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool is_over() const { return bytes_.empty(); }

  std::uint64_t number(std::size_t byte_count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < byte_count; ++i) {
      value = value << 8;
      if (!bytes_.empty()) {
        value |= bytes_.front();
        bytes_ = bytes_.subspan(1);
      }
    }
    return value;
  }

  // A number that is often round, since what is special happens at the edges of blocks.
  std::uint64_t size(std::uint64_t max) {
    const std::uint64_t form = number(1);
    const std::uint64_t value = number(3) % (max + 1);
    switch (form % 4) {
      case 0: return value;
      case 1: return round_down(value, PageSize(512));
      case 2: return round_down(value, PageSize(kPageBytes));
      default: break;
    }
    return value % (form < 128 ? 1024 : 16384);
  }

  Request request() {
    Request next;
    const std::uint64_t chosen = number(1);
    // Reads and writes are the most of it.
    next.operation = chosen < 96    ? Operation::kRead
                     : chosen < 208 ? Operation::kWrite
                                    : static_cast<Operation>(chosen % 6);
    next.offset_bytes = size(kModelBytesMax);
    next.length_bytes = std::min(size(kLengthBytesMax), kModelBytesMax - next.offset_bytes);
    next.skew_bytes = number(1) * 16 % kPageBytes;
    next.piece_count = 1 + number(1) % kPiecesMax;
    return next;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

class ModelRun {
 public:
  explicit ModelRun(Store& store) : store_(store) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    page_ = memory_.data() + (kPageBytes - address % kPageBytes) % kPageBytes;
  }

  std::string run(Program program) {
    for (int number = 0; !program.is_over(); ++number) {
      const Request request = program.request();
      const std::string problem = apply(request, number);
      if (!problem.empty()) {
        return "request " + std::to_string(number) + ", " + request.text() + ": " + problem;
      }
    }
    return compare_all();
  }

 private:
  std::string apply(const Request& request, int number) {
    switch (request.operation) {
      case Operation::kRead: return read(request);
      case Operation::kWrite: return write(request, number);
      case Operation::kResize:
        model_.resize(request.offset_bytes);
        return told(store_.resize(request.offset_bytes));
      case Operation::kPunch: return punch(request);
      case Operation::kAllocate: return allocate(request);
      case Operation::kSync:
        return told(
            store_.sync(request.skew_bytes % 2 == 0 ? Durability::kStarted : Durability::kData,
                        request.range()));
      case Operation::kCount: break;
    }
    return "no such operation";
  }

  static std::string told(const Result<void>& result) {
    return result ? std::string() : result.error().message();
  }

  std::span<std::byte> memory_of(const Request& request) {
    return {page_ + request.skew_bytes, request.length_bytes};
  }

  // The memory in pieces: one after another in the file, and elsewhere in memory. The last one
  // takes what is left, and some are empty.
  template <typename Byte>
  static std::vector<std::span<Byte>> split(std::span<Byte> memory, std::size_t count) {
    std::vector<std::span<Byte>> pieces;
    for (std::size_t i = 0; i + 1 < count; ++i) {
      const std::size_t length =
          i % 3 == 2 ? 0 : round_down(memory.size() / (count - i), PageSize(i % 2 == 0 ? 512 : 1));
      pieces.push_back(memory.first(length));
      memory = memory.subspan(length);
    }
    pieces.push_back(memory);
    return pieces;
  }

  std::string read(const Request& request) {
    const std::span<std::byte> memory = memory_of(request);
    std::ranges::fill(memory, std::byte{0xee});
    const Result<std::uint64_t> got =
        store_.read_pieces(request.offset_bytes, split(memory, request.piece_count));
    if (!got) {
      return got.error().message();
    }
    const ByteRange there = intersect(request.range(), {0, model_.size()});
    if (*got != there.length_bytes) {
      return "got " + std::to_string(*got) + " bytes instead of " +
             std::to_string(there.length_bytes);
    }
    return compare(memory.first(*got), there.offset_bytes);
  }

  std::string write(const Request& request, int number) {
    const std::span<std::byte> memory = memory_of(request);
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = pattern_at(request.offset_bytes + i) ^ static_cast<std::byte>(number);
    }
    const std::span<const std::byte> from = memory;
    const std::string problem =
        told(store_.write_pieces(request.offset_bytes, split(from, request.piece_count)));
    if (!memory.empty()) {
      model_.resize(std::max<std::uint64_t>(model_.size(), end_of(request.range())));
      std::ranges::copy(memory, at(request.offset_bytes));
    }
    return problem;
  }

  std::string punch(const Request& request) {
    const ByteRange inside = intersect(request.range(), {0, model_.size()});
    if (inside.length_bytes > 0) {
      std::fill_n(at(inside.offset_bytes), inside.length_bytes, std::byte{0});
    }
    return told(store_.punch(request.range()));
  }

  std::string allocate(const Request& request) {
    const Result<void> done = store_.allocate(request.range());
    if (!done && done.error().code() == Errc::kUnsupported) {
      return {};
    }
    if (request.length_bytes > 0) {
      model_.resize(std::max<std::uint64_t>(model_.size(), end_of(request.range())));
    }
    return told(done);
  }

  std::string compare_all() {
    const Result<std::uint64_t> size = store_.size_bytes();
    if (!size || *size != model_.size()) {
      return "at the end: " + (size ? "the size is " + std::to_string(*size) + " instead of " +
                                          std::to_string(model_.size())
                                    : size.error().message());
    }
    std::vector<std::byte> all(model_.size());
    const Result<std::uint64_t> got = store_.read(0, all);
    if (!got) {
      return "at the end: " + got.error().message();
    }
    return compare(all, 0);
  }

  std::string compare(std::span<const std::byte> bytes, std::uint64_t offset_bytes) {
    if (bytes.empty() ||
        std::memcmp(bytes.data(), model_.data() + offset_bytes, bytes.size()) == 0) {
      return {};
    }
    const auto first = std::ranges::mismatch(bytes, std::span(model_).subspan(offset_bytes)).in1;
    return "byte " +
           std::to_string(offset_bytes + static_cast<std::uint64_t>(first - bytes.begin())) +
           " differs";
  }

  std::vector<std::byte>::iterator at(std::uint64_t offset_bytes) {
    return model_.begin() + static_cast<std::ptrdiff_t>(offset_bytes);
  }

  Store& store_;
  std::vector<std::byte> model_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(kLengthBytesMax + 2 * kPageBytes);
  std::byte* page_ = nullptr;
};

}  // namespace

std::string differ_from_model(Store& store, std::span<const std::uint8_t> program) {
  return ModelRun(store).run(Program(program));
}

}  // namespace quire::testing
