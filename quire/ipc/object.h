// SPDX-License-Identifier: Apache-2.0
//
// object: what a segment is made of. A structure describes itself by an ObjectSpec, which goes into
// a Layout; once the segment is open it is found again as an ObjectRef.
//
//   ObjectSpec  --Layout::add-->  Layout  --Segment::open-->  Segment  --find-->  ObjectRef
//
//   bytes()       |== size_bytes ==|              of the object alone, zeroed, then initialised
//   mirrored()    |== data ==|== data ==|         mirrored_bytes of shared memory, mapped twice in
//                 0          mirrored_bytes       a row: byte i is byte i + mirrored_bytes
//
// Invariants:    the signature tells everything that two builds must agree on: the name of the type
//                as the user gave it, size and alignment, capacity, version of the structure. Two
//                specs with one signature have the same bytes.
// Thread-safety: plain values; what bytes() shows belongs to the structure.
// Errors:        a spec is checked by Layout; a name, signature or size that does not fit is told
//                when the segment is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace quire::ipc {

class Participants;

// Values are stable: they stand in shared memory.
enum class ObjectKind : std::uint32_t {
  kSpscRing = 1,
  kSpscBytes = 2,
  kMpscRing = 3,
  kMpscBytes = 4,
  kBroadcast = 5,
  kBlackboard = 6,
  kMutex = 7,
  kEvent = 8,
  kSemaphore = 9,
  kUser = 1000,  // Bytes of which only the user knows what they mean.
};

// "spsc_ring": for machines and messages; "kind 4711" for one that this build does not know.
[[nodiscard]] std::string name_of(ObjectKind kind);

inline constexpr std::size_t kObjectNameBytesMax = 31;
// Enough to name a type and four numbers; it stands in the segment, where a mismatch quotes it.
inline constexpr std::size_t kSignatureBytesMax = 159;

struct ObjectSpec {
  std::string name;  // 1 to kObjectNameBytesMax bytes of [A-Za-z0-9._-].
  ObjectKind kind = ObjectKind::kUser;
  std::string signature;  // "Tick[4096] 64/64 v1"; 1 to kSignatureBytesMax printable bytes.
  std::size_t size_bytes = 0;
  std::size_t alignment_bytes = 64;  // A power of two, at most a page.
  // Makes the object from zeroed bytes. May be called again, by another process and on zeroed bytes
  // again, when the one that did it died; nobody else sees the bytes meanwhile.
  std::function<void(std::span<std::byte>)> initialise = {};
  std::size_t mirrored_bytes = 0;  // A multiple of the page size; 0: none.
};

// An object of an open segment. Keeps the segment open.
class ObjectRef {
 public:
  struct Place {
    std::span<std::byte> bytes;
    std::byte* mirrored = nullptr;
    std::size_t mirrored_bytes = 0;
    Participants* participants = nullptr;
    const ObjectSpec* spec = nullptr;
  };

  ObjectRef() = default;
  // REQUIRES: `keeper` keeps all of `place` valid.
  ObjectRef(std::shared_ptr<void> keeper, const Place& place) noexcept
      : keeper_(std::move(keeper)), place_(place) {}

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return place_.bytes; }
  // The data area, 2 * mirrored_bytes() of addresses; nullptr when the spec asked for none.
  [[nodiscard]] std::byte* mirrored() const noexcept { return place_.mirrored; }
  [[nodiscard]] std::size_t mirrored_bytes() const noexcept { return place_.mirrored_bytes; }
  // As the layout of this opener has it. REQUIRES: is_open().
  [[nodiscard]] const ObjectSpec& spec() const noexcept { return *place_.spec; }
  // Who is attached to the segment.
  [[nodiscard]] Participants& participants() const noexcept { return *place_.participants; }
  [[nodiscard]] bool is_open() const noexcept { return keeper_ != nullptr; }

 private:
  std::shared_ptr<void> keeper_;
  Place place_;
};

}  // namespace quire::ipc
