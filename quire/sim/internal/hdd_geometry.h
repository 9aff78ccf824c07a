// SPDX-License-Identifier: Apache-2.0
//
// HddGeometry: where a byte lies on a hard disk, and when it passes under the head.
//
//   tracks in the order of their bytes:  |-- track 0 --| switch |-- track 1 --| switch |-- track 2
//   ... stream time of a sector's start:     0 ............ R       R+S ......... 2R+S     2(R+S)
//
// A track takes one rotation R; going on to the next takes one switch S, and the tracks are skewed
// by exactly that, so that reading on loses nothing else. The *stream time* of a sector is when it
// would begin if the whole disk were read from its first byte. It gives everything:
//
//   how long it takes to read on from a to b    stream(b) - stream(a)
//   when a passes under the head                at every moment that is stream(a) modulo R
//
// Tracks shrink from zone to zone; a track of a zone with sustained rate r holds r * (R + S) bytes,
// so that reading it and switching to the next gives exactly r.
//
// Thread-safety: immutable after construction.
// Cost:          all functions a division or two; no table is larger than the number of zones.
#pragma once

#include <cstdint>
#include <vector>

#include "quire/sim/disk_model.h"
#include "quire/sim/sim_clock.h"

namespace quire::sim::internal {

class HddGeometry {
 public:
  // REQUIRES: model.is_rotating(), and consistent as parse_disk_model() makes it.
  explicit HddGeometry(const DiskModel& model);

  [[nodiscard]] std::uint64_t rotation_ns() const noexcept { return rotation_ns_; }
  [[nodiscard]] std::uint64_t track_period_ns() const noexcept { return track_period_ns_; }
  [[nodiscard]] std::uint64_t cylinder_count() const noexcept { return cylinder_count_; }

  // REQUIRES, here and below: offset_bytes <= capacity, which is past the last sector.
  [[nodiscard]] std::uint64_t track_of(std::uint64_t offset_bytes) const noexcept;
  [[nodiscard]] std::uint64_t cylinder_of(std::uint64_t offset_bytes) const noexcept {
    return track_of(offset_bytes) / heads_;
  }
  // The bytes of the track that holds `offset_bytes`.
  [[nodiscard]] std::uint64_t track_bytes_at(std::uint64_t offset_bytes) const noexcept;

  // When the sector that holds the byte begins to pass, in stream time.
  [[nodiscard]] std::uint64_t stream_begin_ns(std::uint64_t offset_bytes) const noexcept;
  // When the sector that holds the byte before `end_bytes` has passed.
  // REQUIRES: end_bytes > 0.
  [[nodiscard]] std::uint64_t stream_end_ns(std::uint64_t end_bytes) const noexcept;
  // The track under the head at a moment of stream time.
  [[nodiscard]] std::uint64_t track_at_stream(std::uint64_t stream_ns) const noexcept {
    return stream_ns / track_period_ns_;
  }

  // Moving the arm; 0 on the same track.
  [[nodiscard]] std::uint64_t seek_ns(std::uint64_t from_track,
                                      std::uint64_t to_track) const noexcept;
  // How long from `now` until the sector of `offset_bytes` begins to pass under a head that is on
  // its track.
  [[nodiscard]] std::uint64_t rotational_wait_ns(std::uint64_t offset_bytes,
                                                 SimTime now) const noexcept;

 private:
  struct Zone {
    std::uint64_t first_offset_bytes = 0;
    std::uint64_t first_track = 0;
    std::uint64_t sectors_per_track = 0;
  };
  struct Place {
    std::uint64_t track = 0;
    std::uint64_t sector = 0;
    std::uint64_t sectors_per_track = 0;
  };

  [[nodiscard]] const Zone& zone_of(std::uint64_t offset_bytes) const noexcept;
  [[nodiscard]] Place place_of(std::uint64_t offset_bytes) const noexcept;

  std::uint64_t sector_bytes_;
  std::uint64_t heads_;
  std::uint64_t rotation_ns_;
  std::uint64_t switch_ns_;
  std::uint64_t track_period_ns_;
  std::uint64_t seek_stroke_ns_;
  std::uint64_t cylinder_count_ = 0;
  std::vector<Zone> zones_;
};

}  // namespace quire::sim::internal
