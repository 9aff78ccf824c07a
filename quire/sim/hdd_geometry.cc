// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "quire/base/check.h"
#include "quire/sim/internal/hdd_geometry.h"

namespace quire::sim::internal {

HddGeometry::HddGeometry(const DiskModel& model)
    : sector_bytes_(model.sector_bytes),
      heads_(model.heads),
      rotation_ns_(model.rotation_ns()),
      switch_ns_(model.seek_track_ns),
      track_period_ns_(rotation_ns_ + switch_ns_),
      seek_stroke_ns_(model.seek_stroke_ns()) {
  QUIRE_CHECK(model.is_rotating());
  std::uint64_t bytes_per_round_of_zones = 0;  // One track of each zone.
  for (std::uint64_t i = 0; i < model.zones; ++i) {
    const std::uint64_t slope = model.outer_bytes_per_s - model.inner_bytes_per_s;
    const std::uint64_t rate =
        model.outer_bytes_per_s - (model.zones > 1 ? slope * i / (model.zones - 1) : 0);
    // The rate in bytes per microsecond would be too coarse: the product fits, see kParameters.
    const std::uint64_t bytes = rate / 1000 * track_period_ns_ / kNanosecondsPerMillisecond;
    const std::uint64_t sectors = std::max<std::uint64_t>(1, bytes / sector_bytes_);
    zones_.push_back({.sectors_per_track = sectors});
    bytes_per_round_of_zones += sectors * sector_bytes_;
  }
  const std::uint64_t tracks_per_zone =
      (model.capacity_bytes + bytes_per_round_of_zones - 1) / bytes_per_round_of_zones;
  for (std::size_t i = 1; i < zones_.size(); ++i) {
    const Zone& above = zones_[i - 1];
    zones_[i].first_track = above.first_track + tracks_per_zone;
    zones_[i].first_offset_bytes =
        above.first_offset_bytes + tracks_per_zone * above.sectors_per_track * sector_bytes_;
  }
  cylinder_count_ = track_of(model.capacity_bytes) / heads_ + 1;
}

const HddGeometry::Zone& HddGeometry::zone_of(std::uint64_t offset_bytes) const noexcept {
  const auto above = std::upper_bound(
      zones_.begin(), zones_.end(), offset_bytes,
      [](std::uint64_t offset, const Zone& zone) { return offset < zone.first_offset_bytes; });
  return *(above - 1);
}

HddGeometry::Place HddGeometry::place_of(std::uint64_t offset_bytes) const noexcept {
  const Zone& zone = zone_of(offset_bytes);
  const std::uint64_t sector = (offset_bytes - zone.first_offset_bytes) / sector_bytes_;
  return {.track = zone.first_track + sector / zone.sectors_per_track,
          .sector = sector % zone.sectors_per_track,
          .sectors_per_track = zone.sectors_per_track};
}

std::uint64_t HddGeometry::track_of(std::uint64_t offset_bytes) const noexcept {
  return place_of(offset_bytes).track;
}

std::uint64_t HddGeometry::track_bytes_at(std::uint64_t offset_bytes) const noexcept {
  return zone_of(offset_bytes).sectors_per_track * sector_bytes_;
}

std::uint64_t HddGeometry::stream_begin_ns(std::uint64_t offset_bytes) const noexcept {
  const Place place = place_of(offset_bytes);
  return place.track * track_period_ns_ + place.sector * rotation_ns_ / place.sectors_per_track;
}

std::uint64_t HddGeometry::stream_end_ns(std::uint64_t end_bytes) const noexcept {
  QUIRE_DCHECK(end_bytes > 0);
  const Place last = place_of(end_bytes - 1);
  return last.track * track_period_ns_ + (last.sector + 1) * rotation_ns_ / last.sectors_per_track;
}

std::uint64_t HddGeometry::seek_ns(std::uint64_t from_track,
                                   std::uint64_t to_track) const noexcept {
  if (from_track == to_track) {
    return 0;
  }
  const std::uint64_t from = from_track / heads_;
  const std::uint64_t to = to_track / heads_;
  const std::uint64_t distance = from < to ? to - from : from - to;
  if (distance <= 1) {
    return switch_ns_;  // Another head or the next cylinder: what skew allows for.
  }
  const double share =
      std::sqrt(static_cast<double>(distance) / static_cast<double>(cylinder_count_ - 1));
  return switch_ns_ + static_cast<std::uint64_t>(share * static_cast<double>(seek_stroke_ns_));
}

std::uint64_t HddGeometry::rotational_wait_ns(std::uint64_t offset_bytes,
                                              SimTime now) const noexcept {
  const std::uint64_t angle = stream_begin_ns(offset_bytes) % rotation_ns_;
  const std::uint64_t turned = now.ns % rotation_ns_;
  return angle >= turned ? angle - turned : rotation_ns_ - turned + angle;
}

}  // namespace quire::sim::internal
