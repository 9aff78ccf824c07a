// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

#include "quire/sim/disk_model.h"
#include "quire/sim/sim_clock.h"

namespace quire::sim {
namespace {

constexpr double kMicro = 1e3;  // Nanoseconds.
constexpr double kMilli = 1e6;
constexpr double kMega = 1e6;  // Bytes.
constexpr double kGiga = 1e9;
constexpr double kKibi = 1024;
constexpr double kMebi = 1024 * 1024;

enum class Technology : std::uint8_t { kAny, kRotating, kFlash };

// One parameter: its name, which field it sets, what one unit of the text is in units of the field,
// and between which values, in units of the text, a disk is believed.
struct Parameter {
  const char* name;
  Technology technology;
  std::uint64_t DiskModel::* field;
  double scale;
  double least;
  double most;
  const char* meaning;
};

// The bounds keep every sum of the simulation within 64 bits; beyond that they are generous.
constexpr std::array<Parameter, 22> kParameters{{
    {"capacity_gb", Technology::kAny, &DiskModel::capacity_bytes, kGiga, 1, 100'000,
     "size of the disk in 10^9 bytes"},
    {"sector", Technology::kAny, &DiskModel::sector_bytes, 1, 512, 4096,
     "bytes of the least read or write, a power of two"},
    {"controller_us", Technology::kAny, &DiskModel::controller_ns, kMicro, 0, 10'000,
     "per command, one after the other"},
    {"interface_mb_s", Technology::kAny, &DiskModel::interface_bytes_per_s, kMega, 1, 100'000,
     "bandwidth of the link"},
    {"queue_depth", Technology::kAny, &DiskModel::queue_depth, 1, 1, 65535,
     "commands the disk holds at a time"},
    {"cache_mb", Technology::kAny, &DiskModel::cache_bytes, kMebi, 1, 65536,
     "written bytes it can hold in memory, in MiB"},
    {"flush_us", Technology::kAny, &DiskModel::flush_ns, kMicro, 0, 1'000'000,
     "cost of a flush beyond the writing"},
    {"rpm", Technology::kRotating, &DiskModel::rpm, 1, 60, 100'000,
     "turns of the platter a minute"},
    {"heads", Technology::kRotating, &DiskModel::heads, 1, 1, 32, "tracks of a cylinder"},
    {"zones", Technology::kRotating, &DiskModel::zones, 1, 1, 1024, "zones of equal rate"},
    {"outer_mb_s", Technology::kRotating, &DiskModel::outer_bytes_per_s, kMega, 1, 10'000,
     "sustained rate of the outermost zone"},
    {"inner_mb_s", Technology::kRotating, &DiskModel::inner_bytes_per_s, kMega, 1, 10'000,
     "sustained rate of the innermost zone"},
    {"seek_track_ms", Technology::kRotating, &DiskModel::seek_track_ns, kMilli, 0, 1000,
     "seek to the next track"},
    {"seek_avg_ms", Technology::kRotating, &DiskModel::seek_average_ns, kMilli, 0, 1000,
     "mean over all seeks"},
    {"read_ahead_kb", Technology::kRotating, &DiskModel::read_ahead_bytes, kKibi, 0, 65536,
     "read on after a read, in KiB; 0 for none"},
    {"units", Technology::kFlash, &DiskModel::units, 1, 1, 4096, "pages worked on at a time"},
    {"page", Technology::kFlash, &DiskModel::page_bytes, 1, 512, 1'048'576,
     "bytes of a flash page, a power of two"},
    {"read_us", Technology::kFlash, &DiskModel::read_ns, kMicro, 0.1, 100'000, "reading a page"},
    {"program_us", Technology::kFlash, &DiskModel::program_ns, kMicro, 0.1, 100'000,
     "programming a page"},
    {"read_latency_us", Technology::kFlash, &DiskModel::read_latency_ns, kMicro, 0, 100'000,
     "of a read, beyond all of the above"},
    {"write_latency_us", Technology::kFlash, &DiskModel::write_latency_ns, kMicro, 0, 100'000,
     "of a write into the cache, likewise"},
    {"write_cache", Technology::kAny, nullptr, 1, 0, 1,
     "on, or off: a write ends when the medium has it"},
}};

bool applies(const Parameter& parameter, DiskKind kind) noexcept {
  const bool is_rotating = kind == DiskKind::kHdd;
  return parameter.technology == Technology::kAny ||
         (parameter.technology == Technology::kRotating) == is_rotating;
}

Error model_error(Errc code, std::string_view text, std::string cause, std::string remedy) {
  return make_error(code, "device model", std::string(text), std::move(cause), std::move(remedy));
}

std::string names_for(DiskKind kind) {
  std::string names;
  for (const Parameter& parameter : kParameters) {
    if (applies(parameter, kind)) {
      names += names.empty() ? "" : ", ";
      names += parameter.name;
    }
  }
  return names;
}

std::optional<DiskKind> kind_named(std::string_view name) noexcept {
  for (const DiskKind kind : {DiskKind::kHdd, DiskKind::kSsd, DiskKind::kNvme}) {
    if (name == name_of(kind)) {
      return kind;
    }
  }
  return std::nullopt;
}

std::optional<double> parse_number(std::string_view text) noexcept {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

Result<void> set_number(DiskModel& model, const Parameter& parameter, std::string_view value) {
  const std::optional<double> number = parse_number(value);
  if (!number) {
    return fail(
        model_error(Errc::kCorrupt, parameter.name, fmt::format("'{}' is not a number", value),
                    fmt::format("write it as {}=12 or {}=12.5", parameter.name, parameter.name)));
  }
  if (*number < parameter.least || *number > parameter.most) {
    return fail(
        model_error(Errc::kOutOfRange, parameter.name,
                    fmt::format("{} is outside {} to {}", value, parameter.least, parameter.most),
                    parameter.meaning));
  }
  if (parameter.scale == 1 && *number != std::floor(*number)) {
    return fail(model_error(Errc::kCorrupt, parameter.name,
                            fmt::format("{} is not a whole number", value), parameter.meaning));
  }
  model.*parameter.field = static_cast<std::uint64_t>(std::llround(*number * parameter.scale));
  return {};
}

Result<void> set_switch(DiskModel& model, const Parameter& parameter, std::string_view value) {
  if (value != "on" && value != "off") {
    return fail(model_error(Errc::kCorrupt, parameter.name,
                            fmt::format("'{}' is neither on nor off", value), parameter.meaning));
  }
  model.has_write_cache = value == "on";
  return {};
}

Result<void> set_parameter(DiskModel& model, std::string_view item) {
  const std::size_t equals = item.find('=');
  if (equals == std::string_view::npos) {
    return fail(model_error(Errc::kCorrupt, item, "a parameter needs a value",
                            "write NAME=VALUE, as in rpm=5400"));
  }
  const std::string_view name = item.substr(0, equals);
  const std::string_view value = item.substr(equals + 1);
  for (const Parameter& parameter : kParameters) {
    if (name == parameter.name && applies(parameter, model.kind)) {
      return parameter.field == nullptr ? set_switch(model, parameter, value)
                                        : set_number(model, parameter, value);
    }
  }
  return fail(model_error(Errc::kUnsupported, name,
                          fmt::format("{} has no such parameter", name_of(model.kind)),
                          "it has " + names_for(model.kind)));
}

// What holds between parameters, each of which may be given alone.
Result<void> check_consistency(const DiskModel& model, std::string_view text) {
  const auto refuse = [text](const char* cause) {
    return fail(model_error(Errc::kOutOfRange, text, cause, "change one of the two"));
  };
  if (!std::has_single_bit(model.sector_bytes)) {
    return refuse("the sector is not a power of two");
  }
  if (model.is_rotating()) {
    if (model.inner_bytes_per_s > model.outer_bytes_per_s) {
      return refuse("inner_mb_s is above outer_mb_s");
    }
    if (model.seek_average_ns < model.seek_track_ns) {
      return refuse("seek_avg_ms is below seek_track_ms");
    }
    if (model.rotation_ns() * (model.inner_bytes_per_s / 1000) / kNanosecondsPerMillisecond <
        model.sector_bytes) {
      return refuse("a track of the innermost zone holds less than a sector");
    }
  } else {
    if (!std::has_single_bit(model.page_bytes) || model.page_bytes < model.sector_bytes) {
      return refuse("the flash page is not a power of two of at least a sector");
    }
    if (model.cache_bytes < model.page_bytes) {
      return refuse("the cache holds less than a flash page");
    }
  }
  return {};
}

std::string value_text(const DiskModel& model, const Parameter& parameter) {
  if (parameter.field == nullptr) {
    return model.has_write_cache ? "on" : "off";
  }
  // Fixed form, the only one that parse_number() reads; nine digits tell every value apart.
  std::string text =
      fmt::format("{:.9f}", static_cast<double>(model.*parameter.field) / parameter.scale);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') {
    text.pop_back();
  }
  return text;
}

}  // namespace

Result<DiskModel> parse_disk_model(std::string_view text) {
  if (text.size() > kModelTextBytesMax) {
    return fail(model_error(Errc::kLimit, text.substr(0, 32),
                            fmt::format("{} bytes of text", text.size()),
                            fmt::format("at most {} are read", kModelTextBytesMax)));
  }
  const std::size_t comma = text.find(',');
  const std::optional<DiskKind> kind = kind_named(text.substr(0, comma));
  if (!kind) {
    return fail(model_error(Errc::kUnsupported, text.substr(0, comma), "there is no such model",
                            "begin with hdd, ssd or nvme, as in hdd,rpm=5400"));
  }
  DiskModel model = preset(*kind);
  std::string_view rest = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  bool is_more = comma != std::string_view::npos;
  while (is_more) {
    const std::size_t next = rest.find(',');
    QUIRE_TRY(set_parameter(model, rest.substr(0, next)));
    is_more = next != std::string_view::npos;
    rest = is_more ? rest.substr(next + 1) : "";
  }
  QUIRE_TRY(check_consistency(model, text));
  return model;
}

std::string to_text(const DiskModel& model) {
  const DiskModel base = preset(model.kind);
  std::string text = name_of(model.kind);
  for (const Parameter& parameter : kParameters) {
    if (!applies(parameter, model.kind)) {
      continue;
    }
    const std::string value = value_text(model, parameter);
    if (value != value_text(base, parameter)) {
      text += fmt::format(",{}={}", parameter.name, value);
    }
  }
  return text;
}

std::string describe_parameters(DiskKind kind) {
  const DiskModel model = preset(kind);
  std::string lines;
  for (const Parameter& parameter : kParameters) {
    if (applies(parameter, kind)) {
      lines += fmt::format("{:<28}{}\n",
                           fmt::format("{}={}", parameter.name, value_text(model, parameter)),
                           parameter.meaning);
    }
  }
  return lines;
}

}  // namespace quire::sim
