// SPDX-License-Identifier: Apache-2.0
//
// One camera, many viewers: the camera never waits for anybody, each viewer looks at the newest
// frames as fast as it can, at the place where the camera put them, and knows how many it missed.
//
//   example_camera FRAMES VIEWERS
//
// The frames are passed on as a descriptor that children inherit; there is no name, and nothing
// is left when the last process is gone.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

namespace ipc = quire::ipc;

struct Frame {
  std::uint64_t number = 0;
  std::array<std::uint8_t, 64 * 1024> pixels{};
};

using Frames = ipc::Broadcast<Frame>;

ipc::Layout layout() {
  ipc::Layout layout;
  layout.add(Frames::object("camera", {.capacity = 8, .type = "Frame"}));
  return layout;
}

quire::Result<void> film(const ipc::Segment& segment, std::uint64_t count) {
  auto camera = QUIRE_TRY(Frames::writer(segment, "camera"));
  for (std::uint64_t number = 0; number < count; ++number) {
    Frame& frame = camera.begin();  // Exposed where viewers will see it: nothing is copied.
    frame.number = number;
    frame.pixels.fill(static_cast<std::uint8_t>(number));
    camera.commit();
  }
  return {};
}

struct Viewed {
  std::uint64_t seen = 0;
  std::uint64_t missed = 0;
};

// Looks until the last frame. The first viewer looks at each pixel, the next at every second...
quire::Result<Viewed> view(int descriptor, std::uint64_t count, std::size_t stride) {
  const ipc::Segment segment =
      QUIRE_TRY(ipc::Segment::adopt(quire::sys::Descriptor(dup(descriptor)), layout()));
  auto viewer = QUIRE_TRY(Frames::reader(segment, "camera", Frames::From::kOldest));
  Viewed viewed;
  for (bool is_last = false; !is_last;) {
    const Frame* frame = viewer.peek();
    if (frame == nullptr) {
      QUIRE_TRY(viewer.wait({.timeout = std::chrono::seconds(60)}));
      continue;
    }
    bool is_whole = true;
    for (std::size_t pixel = 0; pixel < frame->pixels.size(); pixel += stride) {
      is_whole = is_whole && frame->pixels[pixel] == static_cast<std::uint8_t>(frame->number);
    }
    if (!viewer.finish()) {
      continue;  // The camera came round to this frame while we looked: what we saw is void.
    }
    if (!is_whole) {
      return quire::fail(
          quire::make_error(quire::Errc::kCorrupt, "view", "camera", "half a frame"));
    }
    viewed.seen += 1;
    viewed.missed += viewer.news().missed;
    is_last = viewer.news().number + 1 == count;
  }
  return viewed;
}

int run_viewer(int descriptor, std::uint64_t count, std::size_t stride) {
  const auto viewed = view(descriptor, count, stride);
  if (!viewed) {
    std::fprintf(stderr, "%s\n", viewed.error().message().c_str());
    return EXIT_FAILURE;
  }
  std::printf("viewer %zu: %llu frames, %llu missed\n", stride,
              static_cast<unsigned long long>(viewed->seen),
              static_cast<unsigned long long>(viewed->missed));
  std::fflush(stdout);
  // Who came late missed none of what was before.
  return viewed->seen + viewed->missed <= count ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FRAMES VIEWERS\n", argv[0]);
    return 2;
  }
  const std::uint64_t count = std::strtoull(argv[1], nullptr, 10);
  const std::size_t viewers = std::strtoull(argv[2], nullptr, 10);
  const auto segment = ipc::Segment::make_anonymous(layout(), "camera");
  if (!segment) {
    std::fprintf(stderr, "%s\n", segment.error().message().c_str());
    return EXIT_FAILURE;
  }
  for (std::size_t viewer = 1; viewer <= viewers; ++viewer) {
    if (fork() == 0) {
      _exit(run_viewer(segment->descriptor(), count, viewer));
    }
  }
  bool all_good = film(*segment, count).has_value();
  int status = 0;
  while (wait(&status) > 0) {
    all_good = all_good && status == 0;
  }
  return all_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
