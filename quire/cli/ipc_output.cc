// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/ipc_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "quire/base/units.h"
#include "quire/cli/text.h"

namespace quire::cli {
namespace {

using ipc::Liveness;
using ipc::ObjectInfo;
using ipc::Participant;
using ipc::SegmentCondition;
using ipc::SegmentInfo;

std::size_t dead_in(const SegmentInfo& info) {
  return info.participants.size() - info.living();
}

Tone tone_of(const SegmentInfo& info) {
  if (info.condition != SegmentCondition::kReady) {
    return Tone::kBad;
  }
  return info.living() > 0 ? Tone::kGood : Tone::kDim;
}

std::string users_of(const SegmentInfo& info) {
  const std::size_t dead = dead_in(info);
  return fmt::format("{} of {}{}", info.living(), info.participants_max,
                     dead == 0 ? "" : fmt::format(", {} dead", dead));
}

// The process of a member, or what there is to say when it is not attached any more.
std::string process_of(const SegmentInfo& info, ipc::MemberId member) {
  const auto found = std::find_if(info.participants.begin(), info.participants.end(),
                                  [&](const Participant& one) { return one.id == member; });
  if (found == info.participants.end()) {
    return "gone";
  }
  return fmt::format("{}{}", found->pid, found->liveness == Liveness::kAlive ? "" : " (dead)");
}

// What is published and not released; nothing where the two make no sense together.
std::optional<std::uint64_t> depth_of(const ipc::ObjectGauges& gauges) {
  if (!gauges.written || !gauges.released || *gauges.released > *gauges.written) {
    return std::nullopt;
  }
  return *gauges.written - *gauges.released;
}

std::string gauges_text(const SegmentInfo& info, const ObjectInfo& object) {
  const ipc::ObjectGauges& gauges = object.gauges;
  std::string text;
  if (gauges.written) {
    text += fmt::format("  {} written", with_thousands(*gauges.written));
  }
  if (const auto depth = depth_of(gauges)) {
    text += fmt::format("  {} waiting", with_thousands(*depth));
  }
  for (const ipc::ObjectHolder& holder : gauges.holders) {
    text += fmt::format("  {} {}", holder.role, process_of(info, holder.member));
  }
  if (gauges.deaths.value_or(0) > 0) {
    text += fmt::format("  {} left by the dead", with_thousands(*gauges.deaths));
  }
  return text;
}

void write_number(JsonWriter& json, const char* name, std::optional<std::uint64_t> number) {
  json.key(name);
  number ? json.value(*number) : json.value_null();
}

void write_participant(JsonWriter& json, const Participant& one) {
  json.begin_object();
  json.member("slot", one.id.slot());
  json.member("generation", one.id.generation());
  json.member("pid", one.pid);
  json.member("start_ticks", one.start_ticks);
  json.member("user", one.user);
  json.member("attached_ns", one.attached_ns);
  json.member("is_alive", one.liveness == Liveness::kAlive);
  json.end_object();
}

void write_object(JsonWriter& json, const ObjectInfo& object) {
  json.begin_object();
  json.member("name", object.name);
  json.member("kind", object.kind);
  json.member("signature", object.signature);
  json.member("offset_bytes", object.offset_bytes);
  json.member("size_bytes", object.size_bytes);
  json.member("mirrored_bytes", object.mirrored_bytes);
  write_number(json, "written", object.gauges.written);
  write_number(json, "released", object.gauges.released);
  write_number(json, "deaths", object.gauges.deaths);
  json.key("holders").begin_array();
  for (const ipc::ObjectHolder& holder : object.gauges.holders) {
    json.begin_object();
    json.member("role", holder.role);
    json.member("slot", holder.member.slot());
    json.member("generation", holder.member.generation());
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_common(JsonWriter& json, const SegmentInfo& info) {
  json.member_path("name", info.name);
  json.member_path("path", info.path);
  json.member("condition", ipc::name_of(info.condition));
  json.member("problem", info.problem);
  json.member("file_bytes", info.file_bytes);
  json.member("allocated_bytes", info.allocated_bytes);
  json.member("user", info.user);
  json.member("mode", fmt::format("{:04o}", info.mode));
  json.member("living", info.living());
  json.member("dead", dead_in(info));
  json.member("participants_max", info.participants_max);
}

// "12.3 k/s": what changed since the last look.
std::string rate_text(const Counts& before, const SegmentInfo& info, const ObjectInfo& object,
                      double seconds) {
  const auto found = before.find({info.segment_id, object.name});
  if (found == before.end() || seconds <= 0 || !object.gauges.written ||
      *object.gauges.written < found->second) {
    return {};
  }
  const double rate = static_cast<double>(*object.gauges.written - found->second) / seconds;
  return fmt::format("  {}/s", with_thousands(static_cast<std::uint64_t>(rate)));
}

}  // namespace

void write_segment_summary(JsonWriter& json, const SegmentInfo& info) {
  json.begin_object();
  write_common(json, info);
  json.member("objects", info.objects.size());
  json.end_object();
}

std::string segment_table(const Session& session, const std::vector<SegmentInfo>& segments) {
  constexpr std::size_t kNameColumns = 32;
  std::string text = pad_right("NAME", kNameColumns) + "  STATE       SIZE        ATTACHED\n";
  for (const SegmentInfo& info : segments) {
    text += pad_right(session.paint()(tone_of(info), session.name(info.name)) +
                          std::string(kNameColumns - std::min(kNameColumns, info.name.size()), ' '),
                      0);
    text += fmt::format("  {:<10}  {:<10}  {}\n", ipc::name_of(info.condition),
                        human_bytes(info.allocated_bytes), users_of(info));
  }
  return text;
}

void write_segment(JsonWriter& json, const SegmentInfo& info) {
  write_common(json, info);
  json.member("signature", fmt::format("{:016x}", info.signature));
  json.member("segment_id", fmt::format("{:016x}", info.segment_id));
  json.member("generation", info.generation);
  json.member("page_bytes", info.page_bytes);
  json.member("creator_pid", info.creator_pid);
  json.member("is_creator_alive", info.is_creator_alive);
  json.member("created_ns", info.created_ns);
  json.key("participants").begin_array();
  for (const Participant& one : info.participants) {
    write_participant(json, one);
  }
  json.end_array();
  json.key("objects").begin_array();
  for (const ObjectInfo& object : info.objects) {
    write_object(json, object);
  }
  json.end_array();
}

std::string segment_text(const Session& session, const SegmentInfo& info) {
  std::string text =
      fmt::format("{}  {}{}\n", session.paint()(Tone::kStrong, session.name(info.path)),
                  session.paint()(tone_of(info), ipc::name_of(info.condition)),
                  info.problem.empty() ? "" : ": " + info.problem);
  text += fmt::format("  file         {} bytes, {} in memory; user {}, mode {:04o}\n",
                      with_thousands(info.file_bytes), human_bytes(info.allocated_bytes), info.user,
                      info.mode);
  if (info.participants_max == 0) {
    return text;
  }
  text += fmt::format("  made by      process {} ({}), generation {}, signature {:016x}\n",
                      info.creator_pid, info.is_creator_alive ? "alive" : "gone", info.generation,
                      info.signature);
  text += fmt::format("  attached     {}\n", users_of(info));
  for (const Participant& one : info.participants) {
    const bool is_alive = one.liveness == Liveness::kAlive;
    text += fmt::format(
        "  slot {:<7} process {}, user {}, {}\n", one.id.slot(), one.pid, one.user,
        session.paint()(is_alive ? Tone::kGood : Tone::kBad, is_alive ? "alive" : "dead"));
  }
  for (const ObjectInfo& object : info.objects) {
    text += fmt::format("  {:<12} {} [{}], {}{}\n", object.kind, session.name(object.name),
                        session.name(object.signature),
                        human_bytes(object.size_bytes + object.mirrored_bytes),
                        gauges_text(info, object));
  }
  return text;
}

Counts counts_of(const std::vector<SegmentInfo>& segments) {
  Counts counts;
  for (const SegmentInfo& info : segments) {
    for (const ObjectInfo& object : info.objects) {
      if (object.gauges.written) {
        counts[{info.segment_id, object.name}] = *object.gauges.written;
      }
    }
  }
  return counts;
}

std::string watch_text(const Session& session, const std::vector<SegmentInfo>& segments,
                       const Counts& before, double seconds) {
  std::string text = segment_table(session, segments);
  for (const SegmentInfo& info : segments) {
    for (const ObjectInfo& object : info.objects) {
      text += fmt::format("{}/{}  {}{}{}\n", session.name(info.name), session.name(object.name),
                          object.kind, rate_text(before, info, object, seconds),
                          gauges_text(info, object));
    }
    for (const Participant& one : info.participants) {
      if (one.liveness == Liveness::kDead) {
        text +=
            fmt::format("{}  {}\n", session.name(info.name),
                        session.paint()(Tone::kBad, fmt::format("process {} is dead", one.pid)));
      }
    }
  }
  return text;
}

}  // namespace quire::cli
