// SPDX-License-Identifier: Apache-2.0
//
// Segment: shared memory by name, or without one, that is whole for whoever sees it.
//
//   ipc::Layout layout;
//   layout.add(ipc::SpscRing<Tick>::object("ticks", {.capacity = 4096}));
//   auto prices = ipc::Segment::open("prices", layout).value();    // whoever is first makes it
//
//   auto nameless = ipc::Segment::make_anonymous(layout).value();  // a sealed memfd
//   ... sys::send_descriptor(socket, nameless.descriptor()) -> ipc::Segment::adopt(...) ...
//
// A name is a file in the runtime directory: $QUIRE_IPC_DIR, else /dev/shm/quire-UID. /dev/shm is a
// tmpfs on every Linux, and there for daemons and cron jobs, which $XDG_RUNTIME_DIR is not (and its
// tmpfs is a tenth of the memory, and goes at logout). The segment outlives its users: it stays
// until it is removed, or the machine is switched off.
//
// Who opens does the same, whether first or not; the state word (internal/segment_header.h) says
// what is next, and whose turn it is:
//
//   blank --claim--> initialising (pid, start) --> ready <--> removing (pid, start) --> removed
//                      '- died: the next one claims it, zeroes, begins anew
//                                                          '- died: the next one goes on with what
//                                                             the file says: has it a name or not?
//
// Invariants:    memory is really there before it is mapped (fallocate): storing cannot meet a full
//                /dev/shm. A memfd cannot be shrunk (F_SEAL_SHRINK, and adopt() insists on it).
//                A file cannot be sealed: instead it is mode 0600 in a directory 0700 of the same
//                user, opened without following links, its owner, mode and size are checked, and
//                quire itself never makes one shorter. Whoever has this user's rights and truncates
//                it kills its users with SIGBUS, as he could with kill.
//                No user has an offset or a length from shared memory: all follow from his layout.
// Thread-safety: find() and participants() from any thread; a Segment is moved by one at a time.
// Fork:          the child shares the memory but is not the participant: it opens the segment
//                again. Its copies of the parent's objects do nothing when they are destroyed.
// Errors:        kChanged for another layout, with both; kLimit, ENOSPC for no memory, with the
//                limit; EACCES for another user's; EEXIST, ENOENT by mode; ETIMEDOUT when a process
//                that lives holds the segment half-made; kUnsupported for another pid namespace;
//                kCorrupt and kWrongKind for what is no segment.
// Cost:          opening takes some 100 us and a page fault for each page that is touched.
// Kernel:        5.3 (pidfd_open).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "quire/base/result.h"
#include "quire/ipc/layout.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/sys/descriptor.h"

namespace quire::ipc {

namespace internal {
struct SegmentState;
}

inline constexpr std::size_t kSegmentNameBytesMax = 100;

enum class OpenMode : std::uint8_t {
  kCreateOrJoin,
  kCreate,  // EEXIST when it is there; one that its maker left unfinished is not.
  kJoin,    // ENOENT when it is not there.
};

struct SegmentOptions {
  OpenMode mode = OpenMode::kCreateOrJoin;
  std::string directory = {};  // "": runtime_directory().
  // Of the file, when we make it. More than 0600 needs allow_other_users, a directory that they
  // can enter, and trust: whoever may write can also truncate.
  std::uint32_t permissions = 0600;
  bool allow_other_users = false;
  // For a process that lives and has begun to make or remove the segment.
  std::chrono::milliseconds timeout{10'000};
};

class Segment {
 public:
  // Creates or joins it, and attaches. Blocks while somebody else initialises.
  [[nodiscard]] static Result<Segment> open(const std::string& name, const Layout& layout,
                                            const SegmentOptions& options = {});
  // Without a name, gone with the last who has it. `name` is for /proc/PID/maps alone.
  [[nodiscard]] static Result<Segment> make_anonymous(const Layout& layout,
                                                      const std::string& name = "quire-ipc");
  // One that came over a socket. Errors: kSealed when it could be made shorter by others.
  [[nodiscard]] static Result<Segment> adopt(sys::Descriptor descriptor, const Layout& layout);

  Segment(Segment&&) noexcept = default;
  Segment& operator=(Segment&&) noexcept = default;
  ~Segment() = default;

  // Errors: ENOENT when the layout has none of that name; kWrongKind when kind or signature are not
  // those of the layout.
  [[nodiscard]] Result<ObjectRef> find(const std::string& name, ObjectKind kind,
                                       const std::string& signature) const;
  // The same for structures that judge the signature, ObjectRef::spec(), themselves.
  [[nodiscard]] Result<ObjectRef> find(const std::string& name, ObjectKind kind) const;

  [[nodiscard]] Participants& participants() const noexcept;
  // The memfd or the file; still owned here.
  [[nodiscard]] int descriptor() const noexcept;
  // "" for one without.
  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
  // Whether it was this call that initialised it.
  [[nodiscard]] bool was_made_here() const noexcept;
  // 1; more when somebody had to begin anew after a death.
  [[nodiscard]] std::uint32_t generation() const noexcept;

 private:
  explicit Segment(std::shared_ptr<internal::SegmentState> state) noexcept
      : state_(std::move(state)) {}

  std::shared_ptr<internal::SegmentState> state_;
};

// Where segments without a directory of their own are. Errors: EINVAL for a $QUIRE_IPC_DIR that is
// not an absolute path.
[[nodiscard]] Result<std::string> runtime_directory();

}  // namespace quire::ipc
