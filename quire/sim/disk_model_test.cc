// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/disk_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/base/units.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace quire::sim {
namespace {

const std::vector<std::string> kValid{
    "hdd",
    "ssd",
    "nvme",
    "hdd,rpm=5400,seek_avg_ms=9",
    "hdd,capacity_gb=1,sector=512,heads=1,zones=1,outer_mb_s=100,inner_mb_s=100",
    "hdd,write_cache=off,read_ahead_kb=0,seek_track_ms=0,controller_us=0",
    "nvme,read_us=70.5,program_us=400,units=128,page=4096,queue_depth=64",
    "ssd,write_cache=off,flush_us=0,cache_mb=1,interface_mb_s=300",
    "ssd,read_latency_us=3,write_latency_us=4,capacity_gb=2000",
};

TEST(DiskModelTest, EveryPresetIsReadByItsNameAndWrittenAsIt) {
  for (const DiskKind kind : {DiskKind::kHdd, DiskKind::kSsd, DiskKind::kNvme}) {
    const auto model = parse_disk_model(name_of(kind));
    ASSERT_TRUE(model.has_value());
    EXPECT_EQ(*model, preset(kind));
    EXPECT_EQ(to_text(*model), name_of(kind));
  }
}

TEST(DiskModelTest, ParametersReplaceThoseOfThePreset) {
  const DiskModel model = parse_disk_model("hdd,rpm=5400,seek_avg_ms=9.25,write_cache=off").value();
  DiskModel expected = preset(DiskKind::kHdd);
  expected.rpm = 5400;
  expected.seek_average_ns = 9'250'000;
  expected.has_write_cache = false;
  EXPECT_EQ(model, expected);
}

TEST(DiskModelTest, TheTextOfAModelIsReadAsThatModel) {
  for (const std::string& text : kValid) {
    const DiskModel model = parse_disk_model(text).value();
    EXPECT_EQ(parse_disk_model(to_text(model)).value(), model) << text;
  }
  EXPECT_EQ(to_text(parse_disk_model("hdd,seek_avg_ms=9.0,rpm=7200").value()), "hdd,seek_avg_ms=9");
}

// Method: 60 seconds over the revolutions; and the curve's mean over all pairs of cylinders, summed
//         up here, is the average that was asked for.
TEST(DiskModelTest, RotationAndSeekCurveFollowFromTheDataSheet) {
  const DiskModel model = preset(DiskKind::kHdd);
  EXPECT_EQ(model.rotation_ns(), 8'333'333U);
  constexpr int kCylinders = 2000;
  double weighted = 0;
  double pairs = 0;
  for (int distance = 1; distance < kCylinders; ++distance) {
    const double count = kCylinders - distance;
    const double share = std::sqrt(static_cast<double>(distance) / kCylinders);
    weighted += count * (static_cast<double>(model.seek_track_ns) +
                         share * static_cast<double>(model.seek_stroke_ns()));
    pairs += count;
  }
  EXPECT_NEAR(weighted / pairs, static_cast<double>(model.seek_average_ns), 10'000);
}

struct Refusal {
  const char* text;
  Errc code;
  const char* words;  // Of the message.
};

TEST(DiskModelTest, WhatCannotBeIsRefusedWithItsNameAndTheWayOut) {
  const std::string too_long(kModelTextBytesMax + 1, 'x');
  const std::vector<Refusal> refusals{
      {"", Errc::kUnsupported, "begin with hdd, ssd or nvme"},
      {"floppy", Errc::kUnsupported, "device model(floppy): there is no such model"},
      {"hdd,", Errc::kCorrupt, "a parameter needs a value"},
      {"hdd,rpm", Errc::kCorrupt, "device model(rpm): a parameter needs a value"},
      {"hdd,rpm=", Errc::kCorrupt, "'' is not a number"},
      {"hdd,rpm=fast", Errc::kCorrupt, "'fast' is not a number"},
      {"hdd,rpm=72oo", Errc::kCorrupt, "'72oo' is not a number"},
      {"hdd,rpm=1e4", Errc::kCorrupt, "'1e4' is not a number"},
      {"hdd,rpm=nan", Errc::kCorrupt, "'nan' is not a number"},
      {"hdd,rpm=7200.5", Errc::kCorrupt, "7200.5 is not a whole number"},
      {"hdd,rpm=0", Errc::kOutOfRange, "0 is outside 60 to 100000"},
      {"hdd,rpm=-7200", Errc::kOutOfRange, "outside"},
      {"hdd,rmp=7200", Errc::kUnsupported, "hdd has no such parameter; it has capacity_gb, sector"},
      {"hdd,units=8", Errc::kUnsupported, "hdd has no such parameter"},
      {"nvme,rpm=7200", Errc::kUnsupported, "nvme has no such parameter"},
      {"hdd,write_cache=perhaps", Errc::kCorrupt, "neither on nor off"},
      {"hdd,sector=1000", Errc::kOutOfRange, "not a power of two"},
      {"hdd,inner_mb_s=200", Errc::kOutOfRange, "inner_mb_s is above outer_mb_s"},
      {"hdd,seek_avg_ms=0.1", Errc::kOutOfRange, "seek_avg_ms is below seek_track_ms"},
      {"hdd,rpm=100000,inner_mb_s=1", Errc::kOutOfRange, "holds less than a sector"},
      {"nvme,page=1000", Errc::kOutOfRange, "flash page"},
      {"nvme,sector=4096,page=2048", Errc::kOutOfRange, "flash page"},
      {too_long.c_str(), Errc::kLimit, "at most 1024 are read"},
  };
  for (const Refusal& refusal : refusals) {
    const auto model = parse_disk_model(refusal.text);
    ASSERT_FALSE(model.has_value()) << refusal.text;
    EXPECT_EQ(model.error().code(), refusal.code) << model.error().message();
    EXPECT_NE(model.error().message().find(refusal.words), std::string::npos)
        << model.error().message();
  }
}

TEST(DiskModelTest, HelpNamesEveryParameterOfTheKindAndNoOther) {
  const std::string hdd = describe_parameters(DiskKind::kHdd);
  EXPECT_NE(hdd.find("rpm=7200"), std::string::npos);
  EXPECT_NE(hdd.find("write_cache=on"), std::string::npos);
  EXPECT_EQ(hdd.find("units="), std::string::npos);
  const std::string nvme = describe_parameters(DiskKind::kNvme);
  EXPECT_NE(nvme.find("units=64"), std::string::npos);
  EXPECT_EQ(nvme.find("rpm="), std::string::npos);
}

// Goal:   no text whatever makes a model that a disk breaks on.
// Method: the fuzzer's entry over the valid texts and seeded mutations of them.
TEST(DiskModelCorpusTest, MutatedTextsGiveAWorkingModelOrAnError) {
  constexpr int kRounds = 4000;
  Prng prng(testing::test_seed());
  for (int round = 0; round < kRounds; ++round) {
    std::string text = kValid[prng.below(kValid.size())];
    const std::string& other = kValid[prng.below(kValid.size())];
    const std::uint64_t changes = prng.below(4);
    for (std::uint64_t i = 0; i < changes && !text.empty(); ++i) {
      const std::size_t at = prng.below(text.size());
      switch (prng.below(4)) {
        case 0: text[at] = static_cast<char>(prng.below(256)); break;
        case 1: text.erase(at, prng.below(8)); break;
        case 2: text.insert(at, 1, static_cast<char>('0' + prng.below(10))); break;
        default: text += other.substr(std::min(other.find(','), other.size())); break;
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
}

}  // namespace
}  // namespace quire::sim
