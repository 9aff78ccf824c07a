// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/segment.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "quire/ipc/internal/segment_open.h"
#include "quire/ipc/step.h"
#include "quire/sys/memfd.h"
#include "quire/sys/outcome.h"

namespace quire::ipc {
namespace {

constexpr const char* kOpen = "open segment";
// For a memfd that came over a socket; the same as SegmentOptions::timeout.
constexpr std::chrono::milliseconds kAdoptTimeout{10'000};

using Clock = std::chrono::steady_clock;

Result<void> check_name(const std::string& name) {
  if (is_good_name(name, kSegmentNameBytesMax)) {
    return {};
  }
  return fail(make_error(Errc::kOutOfRange, kOpen, fmt::format("'{}'", name),
                         "this cannot be the name of a segment",
                         fmt::format("use 1 to {} bytes of [A-Za-z0-9._-], the first one not a dot",
                                     kSegmentNameBytesMax)));
}

}  // namespace

Result<Segment> Segment::open(const std::string& name, const Layout& layout,
                              const SegmentOptions& options) {
  QUIRE_TRY(layout.check());
  QUIRE_TRY(check_name(name));
  const std::string where =
      options.directory.empty() ? QUIRE_TRY(runtime_directory()) : options.directory;
  const auto others =
      options.allow_other_users ? internal::OtherUsers::kAllowed : internal::OtherUsers::kRefused;
  const sys::Descriptor directory = QUIRE_TRY(internal::open_directory(where, others));
  const std::string path = where + "/" + name;
  const internal::OpenRequest request{.path = path,
                                      .layout = &layout,
                                      .name = internal::FileName{&directory, name},
                                      .permissions = options.permissions,
                                      .must_be_new = options.mode == OpenMode::kCreate,
                                      .deadline = Clock::now() + options.timeout};
  for (;;) {
    sys::Descriptor file =
        QUIRE_TRY(internal::open_segment_file({.directory = &directory,
                                               .path = path,
                                               .name = name,
                                               .create = options.mode != OpenMode::kJoin,
                                               .others = others}));
    auto state = QUIRE_TRY(internal::open_segment(std::move(file), request));
    if (state != nullptr) {
      return Segment(std::move(state));
    }
    if (Clock::now() >= request.deadline) {
      return fail(sys::to_error({ETIMEDOUT}, kOpen, path,
                                "others make and remove it all the time: let them stop"));
    }
  }
}

Result<Segment> Segment::make_anonymous(const Layout& layout, const std::string& name) {
  QUIRE_TRY(layout.check());
  QUIRE_TRY(check_name(name));
  auto file = sys::create_memfd({.name = name.c_str()});
  const std::string path = fmt::format("memfd:{}", name);
  if (!file) {
    return fail(sys::to_error(file.error(), kOpen, path));
  }
  QUIRE_TRY(internal::secure_space(file->get(), layout.size_bytes(), path));
  const auto sealed =
      sys::add_seals(file->get(), sys::Seals::kShrink | sys::Seals::kGrow | sys::Seals::kSeal);
  if (!sealed) {
    return fail(sys::to_error(sealed.error(), kOpen, path));
  }
  return adopt(std::move(*file), layout);
}

Result<Segment> Segment::adopt(sys::Descriptor descriptor, const Layout& layout) {
  QUIRE_TRY(layout.check());
  const std::string path = sys::path_of(descriptor.get());
  const auto seals = sys::get_seals(descriptor.get());
  if (!seals) {
    return fail(make_error(Errc::kWrongKind, kOpen, path, "it is no memfd",
                           "pass the descriptor of a segment, or open one by its name"));
  }
  if (!sys::has_all(*seals, sys::Seals::kShrink)) {
    return fail(make_error(Errc::kSealed, kOpen, path,
                           "it has no seal against shrinking: whoever else has it could end this "
                           "process with SIGBUS",
                           "let its maker use Segment::make_anonymous"));
  }
  auto state = QUIRE_TRY(internal::open_segment(
      std::move(descriptor),
      {.path = path, .layout = &layout, .name = {}, .deadline = Clock::now() + kAdoptTimeout}));
  if (state == nullptr) {
    return fail(make_error(Errc::kCorrupt, kOpen, path, "it says that it is being removed"));
  }
  return Segment(std::move(state));
}

Result<ObjectRef> Segment::find(const std::string& name, ObjectKind kind,
                                const std::string& signature) const {
  ObjectRef object = QUIRE_TRY(find(name, kind));
  if (object.spec().signature != signature) {
    return fail(make_error(Errc::kWrongKind, "find object",
                           fmt::format("'{}' in {}", name, state_->path),
                           fmt::format("it is a {} [{}], and not [{}]", name_of(kind),
                                       object.spec().signature, signature)));
  }
  return object;
}

Result<ObjectRef> Segment::find(const std::string& name, ObjectKind kind) const {
  const auto index = state_->layout.index_of(name);
  const std::string subject = fmt::format("'{}' in {}", name, state_->path);
  if (!index) {
    return fail(sys::to_error({ENOENT}, "find object", subject, "add it to the layout"));
  }
  const ObjectSpec& spec = state_->layout.objects()[*index];
  if (spec.kind != kind) {
    return fail(
        make_error(Errc::kWrongKind, "find object", subject,
                   fmt::format("it is a {}, and not a {}", name_of(spec.kind), name_of(kind))));
  }
  return ObjectRef(state_, {.bytes = state_->memory->object(*index),
                            .mirrored = state_->memory->mirrored(*index),
                            .mirrored_bytes = spec.mirrored_bytes,
                            .participants = state_->participants.get(),
                            .spec = &spec});
}

Participants& Segment::participants() const noexcept {
  return *state_->participants;
}

int Segment::descriptor() const noexcept {
  return state_->file.get();
}

const std::string& Segment::name() const noexcept {
  return state_->name;
}

std::uint64_t Segment::size_bytes() const noexcept {
  return state_->layout.size_bytes();
}

bool Segment::was_made_here() const noexcept {
  return state_->was_made_here;
}

std::uint32_t Segment::generation() const noexcept {
  return state_->generation;
}

}  // namespace quire::ipc
