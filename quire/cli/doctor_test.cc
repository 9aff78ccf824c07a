// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/doctor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "quire/base/units.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/temp_dir.h"

namespace quire::cli {
namespace {

using sys::Availability;
using sys::Capability;
using testing::TempDir;

constexpr std::size_t kScreenColumns = 80;
constexpr std::size_t kScreenLines = 50;  // A tall terminal, the prompt included.

// This machine's facts with every capability there: the names are the real ones.
DoctorFacts healthy_facts() {
  const TempDir dir;
  DoctorFacts facts = examine(dir.path()).value();
  for (std::vector<Capability>* all : {&facts.machine.capabilities, &facts.path.capabilities}) {
    for (Capability& capability : *all) {
      capability = {.name = capability.name,
                    .available = Availability::kYes,
                    .detail = "a detail",
                    .reason = {},
                    .consequence = "what follows"};
    }
  }
  facts.path.path = "/data";
  facts.path.file_system = {};
  facts.path.file_system.type = {.name = "ext4", .kind = sys::StorageKind::kLocalDisk};
  facts.path.file_system.mount_point = "/";
  facts.path.file_system.total_bytes = 10_GiB;
  facts.path.file_system.device = sys::BlockDevice{};
  facts.path.file_system.device->name = "vda";
  facts.path.file_system.device->read_ahead_bytes = 128_KiB;
  facts.limits = {};
  facts.limits.mappings_max = 65530;
  facts.limits.mappings_now = 40;
  facts.limits.overcommit_mode = 0;
  facts.limits.address_space_bytes.is_known = true;
  facts.memory.pressure = sys::MemoryPressure{};
  return facts;
}

Capability& capability_of(std::vector<Capability>& all, std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [name](const Capability& capability) {
    return capability.name == name;
  });
  QUIRE_CHECK(found != all.end());
  return *found;
}

void take_away(std::vector<Capability>& all, std::string_view name, const std::string& reason) {
  Capability& capability = capability_of(all, name);
  capability.available = Availability::kNo;
  capability.detail.clear();
  capability.reason = reason;
}

ReportLine line_named(const DoctorFacts& facts, std::string_view name) {
  for (const ReportSection& section : doctor_sections(facts)) {
    for (const ReportLine& line : section.lines) {
      if (line.name == name) {
        return line;
      }
    }
  }
  ADD_FAILURE() << "no line " << name;
  return {};
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  return lines;
}

nlohmann::json document_of(const DoctorFacts& facts) {
  const TempDir dir;
  const std::string path = dir.file("out.json");
  sys::Descriptor file = sys::open_file(path.c_str(), {.write = true, .create = true}).value();
  Output output(file.get());
  JsonWriter json(output);
  json.begin_object();
  write_doctor_json(facts, json);
  json.close_to(0);
  QUIRE_CHECK(output.flush().has_value());
  return nlohmann::json::parse(testing::read_file(path));
}

TEST(DoctorReportTest, AHealthyMachineFitsOnOneScreen) {
  const std::string text =
      render_sections(doctor_sections(healthy_facts()), {.columns = kScreenColumns});
  const std::vector<std::string> lines = split_lines(text);
  EXPECT_LE(lines.size(), kScreenLines) << text;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), kScreenColumns) << line;
  }
  EXPECT_EQ(text.find('\x1b'), std::string::npos);  // Colour is for terminals.
}

TEST(DoctorReportTest, EveryLineSaysWhatFollowsOrWhatIsThere) {
  for (const ReportSection& section : doctor_sections(healthy_facts())) {
    EXPECT_FALSE(section.lines.empty()) << section.title;
    for (const ReportLine& line : section.lines) {
      EXPECT_FALSE(line.value.empty() && line.consequence.empty()) << line.name;
    }
  }
}

TEST(DoctorReportTest, WrappingLosesNothing) {
  DoctorFacts facts = healthy_facts();
  const std::string reason =
      "EPERM: one two three four five six seven eight nine ten eleven twelve";
  take_away(facts.machine.capabilities, "cachestat", reason);
  std::string joined;
  for (const std::string& line :
       split_lines(render_sections(doctor_sections(facts), {.columns = 50}))) {
    EXPECT_LE(line.size(), 50U) << line;
    joined += " " + line.substr(std::min(line.find_first_not_of(' '), line.size()));
  }
  EXPECT_NE(joined.find(reason), std::string::npos);
}

TEST(DoctorReportTest, LargeReadAheadIsAWarningWithItsRemedy) {
  DoctorFacts facts = healthy_facts();
  EXPECT_EQ(line_named(facts, "read-ahead").mark, Mark::kGood);
  EXPECT_TRUE(warnings_of(doctor_sections(facts)).empty());
  facts.path.file_system.device->read_ahead_bytes = 1_MiB;
  EXPECT_EQ(line_named(facts, "read-ahead").mark, Mark::kGood);
  facts.path.file_system.device->read_ahead_bytes = 8_MiB;
  const ReportLine line = line_named(facts, "read-ahead");
  EXPECT_EQ(line.mark, Mark::kWarning);
  EXPECT_NE(line.consequence.find("MADV_RANDOM"), std::string::npos);
  const std::vector<std::string> warnings = warnings_of(doctor_sections(facts));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("8.0 MiB"), std::string::npos);
}

TEST(DoctorReportTest, NearLimitsAreWarnings) {
  DoctorFacts facts = healthy_facts();
  facts.limits.mappings_now = 60'000;
  EXPECT_EQ(line_named(facts, "mappings").mark, Mark::kWarning);
  facts.limits.overcommit_mode = 2;
  EXPECT_EQ(line_named(facts, "overcommit").mark, Mark::kWarning);
  facts.limits.address_space_bytes.soft = 1_GiB;
  EXPECT_EQ(line_named(facts, "address space").mark, Mark::kWarning);
  facts.memory.pressure->some_percent_10s = 40;
  EXPECT_EQ(line_named(facts, "pressure").mark, Mark::kWarning);
  facts.path.file_system.has_barriers = false;
  EXPECT_EQ(line_named(facts, "no barriers").mark, Mark::kWarning);
  EXPECT_EQ(warnings_of(doctor_sections(facts)).size(), 5U);
}

TEST(DoctorReportTest, WhatIsNotKnownIsMarkedSo) {
  DoctorFacts facts = healthy_facts();
  facts.limits = {};
  facts.memory = {};
  facts.headroom = {};
  facts.path.file_system = {};
  for (const char* name : {"memory", "what binds", "headroom", "pressure", "mappings", "type",
                           "locked memory", "open files", "address space", "overcommit"}) {
    EXPECT_EQ(line_named(facts, name).mark, Mark::kUnknown) << name;
  }
}

TEST(DoctorReportTest, TheFirstWayIntoUserfaultfdThatWorksIsShown) {
  DoctorFacts facts = healthy_facts();
  std::vector<Capability>& all = facts.machine.capabilities;
  EXPECT_EQ(line_named(facts, "userfaultfd").value, "by device");
  take_away(all, "userfaultfd.device", "ENOENT: no");
  EXPECT_EQ(line_named(facts, "userfaultfd").value, "by syscall");
  take_away(all, "userfaultfd.syscall", "EPERM: no");
  EXPECT_EQ(line_named(facts, "userfaultfd").value, "by user_mode_only");
  take_away(all, "userfaultfd.user_mode_only", "ENOSYS: no");
  EXPECT_EQ(line_named(facts, "userfaultfd").mark, Mark::kMissing);
  EXPECT_EQ(line_named(facts, "userfaultfd").value, "ENOSYS: no");
  EXPECT_EQ(line_named(facts, "its features").mark, Mark::kGood);  // Ways are no features.
  take_away(all, "userfaultfd.move", "bit 16");
  EXPECT_EQ(line_named(facts, "its features").value, "without move");
}

TEST(DoctorReportTest, ALineOfSeveralCapabilitiesShowsTheOneThatIsMissing) {
  DoctorFacts facts = healthy_facts();
  EXPECT_EQ(line_named(facts, "populate").mark, Mark::kGood);
  take_away(facts.machine.capabilities, "madvise.populate_write", "EINVAL: no");
  EXPECT_EQ(line_named(facts, "populate").mark, Mark::kMissing);
  EXPECT_EQ(line_named(facts, "populate").value, "EINVAL: no");
}

TEST(DoctorReportTest, HostileNamesCannotReachTheTerminal) {
  DoctorFacts facts = healthy_facts();
  facts.path.path = "/tmp/\x1b]0;owned\x07";
  facts.path.file_system.mount_point = "/mnt/\x1b[2J";
  const std::string text = render_sections(doctor_sections(facts), {.columns = kScreenColumns});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\x07'), std::string::npos);
}

TEST(DoctorReportTest, ColourComesOnlyWhenAskedFor) {
  const std::vector<ReportSection> sections = doctor_sections(healthy_facts());
  EXPECT_NE(render_sections(sections, {.paint = Paint(true)}).find('\x1b'), std::string::npos);
  EXPECT_EQ(render_sections(sections, {.paint = Paint(false)}).find('\x1b'), std::string::npos);
}

TEST(DoctorJsonTest, EachCapabilitySaysWhetherAndWhy) {
  DoctorFacts facts = healthy_facts();
  take_away(facts.machine.capabilities, "cachestat", "ENOSYS: no");
  Capability& unknown = capability_of(facts.path.capabilities, "reflink");
  unknown.available = Availability::kUnknown;
  unknown.reason = "not tried";
  const nlohmann::json document = document_of(facts);
  ASSERT_EQ(document["capabilities"].size(),
            facts.machine.capabilities.size() + facts.path.capabilities.size());
  for (const nlohmann::json& capability : document["capabilities"]) {
    const std::string name = capability["name"];
    const nlohmann::json& available = capability["available"];
    EXPECT_EQ(available.is_null(), name == "reflink") << name;
    EXPECT_EQ(available == false, name == "cachestat") << name;
    EXPECT_EQ(capability["reason"].get<std::string>().empty(), available == true) << name;
    EXPECT_TRUE(capability["detail"].is_string());
    EXPECT_TRUE(capability["consequence"].is_string());
    EXPECT_TRUE(capability["scope"] == "machine" || capability["scope"] == "path");
  }
}

TEST(DoctorJsonTest, TheKeysAreStable) {
  const nlohmann::json document = document_of(healthy_facts());
  const auto keys_of = [](const nlohmann::json& object) {
    std::string keys;
    for (const auto& item : object.items()) {
      keys += item.key() + " ";
    }
    return keys;
  };
  EXPECT_EQ(keys_of(document), "capabilities limits machine memory path warnings ");
  EXPECT_EQ(keys_of(document["machine"]),
            "architecture is_root kernel_release page_size_bytes processor_count ");
  EXPECT_EQ(keys_of(document["limits"]),
            "address_space_bytes file_size_bytes locked_bytes locked_now_bytes mappings_max "
            "mappings_now may_lock_without_limit open_files overcommit_mode ");
  EXPECT_EQ(keys_of(document["limits"]["locked_bytes"]), "hard is_known soft ");
  EXPECT_EQ(keys_of(document["memory"]), "binding cgroups headroom machine pressure ");
  EXPECT_EQ(keys_of(document["memory"]["headroom"]), "bytes description is_known ");
  EXPECT_EQ(keys_of(document["path"]), "device direct_alignment file_system kind path ");
  EXPECT_EQ(document["path"]["kind"], "directory");
  EXPECT_EQ(document["path"]["file_system"]["kind"], "local_disk");
}

TEST(DoctorJsonTest, WhatIsNotKnownIsNull) {
  DoctorFacts facts = healthy_facts();
  facts.limits = {};
  facts.memory = {};
  facts.path.file_system.device.reset();
  facts.path.direct_alignment.reset();
  const nlohmann::json document = document_of(facts);
  EXPECT_TRUE(document["memory"]["machine"].is_null());
  EXPECT_TRUE(document["memory"]["pressure"].is_null());
  EXPECT_TRUE(document["memory"]["binding"]["bytes"].is_null());
  EXPECT_TRUE(document["limits"]["mappings_max"].is_null());
  EXPECT_TRUE(document["path"]["device"].is_null());
  EXPECT_TRUE(document["path"]["direct_alignment"].is_null());
}

TEST(DoctorJsonTest, WarningsAreTheOnesOfTheReport) {
  DoctorFacts facts = healthy_facts();
  facts.path.file_system.device->read_ahead_bytes = 8_MiB;
  const nlohmann::json document = document_of(facts);
  ASSERT_EQ(document["warnings"].size(), 1U);
  EXPECT_EQ(document["warnings"][0], warnings_of(doctor_sections(facts))[0]);
}

}  // namespace
}  // namespace quire::cli
