// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/cp_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/base/units.h"

namespace quire::cli {
namespace {

void write_count_or_null(JsonWriter& json, const char* key,
                         const std::optional<std::uint64_t>& count) {
  if (count) {
    json.member(key, *count);
  } else {
    json.key(key).value_null();
  }
}

void write_transfer(JsonWriter& json, const TransferReport& report) {
  json.member("bytes", report.bytes);
  json.member("hole_bytes", report.hole_bytes);
  json.member("method", name_of(report.method));
  json.member("system_calls", report.system_calls);
  write_count_or_null(json, "bytes_copied_by_cpu", report.bytes_copied_by_cpu);
  json.member("reason", report.reason);
  json.key("fallbacks").begin_array();
  for (const TransferFallback& fallback : report.fallbacks) {
    json.begin_object();
    json.member("method", name_of(fallback.method));
    json.member("at_bytes", fallback.at_bytes);
    json.member("cause", fallback.cause);
    json.end_object();
  }
  json.end_array();
}

void write_methods(JsonWriter& json, const CpTotals& totals) {
  json.key("methods").begin_array();
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    if (totals.method_files.at(i) > 0) {
      json.begin_object();
      json.member("method", name_of(static_cast<TransferMethod>(i)));
      json.member("files", totals.method_files.at(i));
      json.member("bytes", totals.method_bytes.at(i));
      json.member("reason", totals.reasons.at(i));
      json.end_object();
    }
  }
  json.end_array();
}

std::string speed_of(const CpTotals& totals) {
  if (totals.seconds <= 0) {
    return "";
  }
  const double rate = static_cast<double>(totals.bytes) / totals.seconds;
  return fmt::format(" ({}/s)", human_bytes(static_cast<std::uint64_t>(rate)));
}

std::string other_entries(const CpTotals& totals) {
  std::string text;
  const auto add = [&](std::uint64_t count, const char* one, const char* many) {
    text += count > 0 ? ", " + count_of(count, one, many) : "";
  };
  add(totals.directories, "directory", "directories");
  add(totals.symlinks, "symbolic link", "symbolic links");
  add(totals.hard_links, "hard link", "hard links");
  return text;
}

}  // namespace

void CpTotals::add(const CopiedEntry& entry) {
  switch (entry.kind) {
    case CopiedKind::kDirectory: ++directories; return;
    case CopiedKind::kSymlink: ++symlinks; return;
    case CopiedKind::kHardLink: ++hard_links; return;
    case CopiedKind::kFile: break;
  }
  ++files;
  const TransferReport& transfer = entry.transfer;
  bytes += transfer.bytes;
  hole_bytes += transfer.hole_bytes;
  system_calls += transfer.system_calls;
  if (copied_bytes && transfer.bytes_copied_by_cpu) {
    *copied_bytes += *transfer.bytes_copied_by_cpu;
  } else {
    copied_bytes.reset();
  }
  verified_files += entry.xxh3 ? 1 : 0;
  const auto method = static_cast<std::size_t>(transfer.method);
  if (method_files.at(method)++ == 0) {
    reasons.at(method) = transfer.reason;
  }
  method_bytes.at(method) += transfer.bytes;
}

std::optional<TransferMethod> CpTotals::main_method() const noexcept {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    if (method_files[i] > 0 && (!best || method_bytes[i] > method_bytes[*best])) {
      best = i;
    }
  }
  return best ? std::optional(static_cast<TransferMethod>(*best)) : std::nullopt;
}

void write_entry(JsonWriter& json, const CopiedEntry& entry) {
  json.begin_object();
  json.member_path("source", entry.source);
  json.member_path("target", entry.target);
  json.member("kind", name_of(entry.kind));
  if (entry.kind == CopiedKind::kFile) {
    write_transfer(json, entry.transfer);
    if (entry.xxh3) {
      json.member("checksum", fmt::format("xxh3:{:016x}", *entry.xxh3));
    } else {
      json.key("checksum").value_null();
    }
  }
  json.end_object();
}

void write_totals(JsonWriter& json, const CpTotals& totals) {
  const auto method = totals.main_method();
  json.member("bytes", totals.bytes);
  json.member("hole_bytes", totals.hole_bytes);
  if (method) {
    json.member("method", name_of(*method));
    json.member("reason", totals.reasons.at(static_cast<std::size_t>(*method)));
  } else {
    json.key("method").value_null();
    json.key("reason").value_null();
  }
  json.member("system_calls", totals.system_calls);
  write_count_or_null(json, "bytes_copied_by_cpu", totals.copied_bytes);
  write_methods(json, totals);
  json.key("totals").begin_object();
  json.member("files", totals.files);
  json.member("directories", totals.directories);
  json.member("symlinks", totals.symlinks);
  json.member("hard_links", totals.hard_links);
  json.member("verified_files", totals.verified_files);
  json.member("failures", totals.failures);
  json.member("seconds", totals.seconds);
  json.end_object();
}

void print_totals(Session& session, const CpTotals& totals) {
  std::string text = session.paint()(
      Tone::kStrong, fmt::format("copied {} in {:.2f} s{}", human_bytes(totals.bytes),
                                 totals.seconds, speed_of(totals)));
  text += fmt::format("\n  {}{}", count_of(totals.files, "file", "files"), other_entries(totals));
  if (totals.hole_bytes > 0) {
    text += fmt::format("; {} are holes", human_bytes(totals.hole_bytes));
  }
  if (totals.verified_files > 0) {
    text += fmt::format("; {} verified", totals.verified_files == totals.files
                                             ? "all"
                                             : with_thousands(totals.verified_files));
  }
  if (const auto method = totals.main_method()) {
    text += fmt::format("\n  by {}: {}", name_of(*method),
                        totals.reasons.at(static_cast<std::size_t>(*method)));
    text += fmt::format("\n  {}; ", count_of(totals.system_calls, "system call", "system calls"));
    text += totals.copied_bytes
                ? fmt::format("{} copied by the processor", human_bytes(*totals.copied_bytes))
                : "the kernel does not tell whether it copied";
  }
  session.print("{}\n", text);
}

}  // namespace quire::cli
