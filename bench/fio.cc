// SPDX-License-Identifier: Apache-2.0
#include "bench/fio.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "quire/base/check.h"
#include "quire/testing/process.h"

namespace quire::bench {
namespace {

constexpr const char* kPoolPath = "/proc/sys/vm/nr_hugepages";

}  // namespace

double run_fio(const FioJob& job) {
  const testing::ProgramEnd run =
      testing::run_program({"fio",
                            "--name=limit",
                            "--output-format=json",
                            "--ioengine=io_uring",
                            "--direct=1",
                            "--fixedbufs=1",
                            "--registerfiles=1",
                            "--iomem=mmaphuge",
                            "--norandommap",
                            "--randrepeat=0",
                            "--time_based",
                            "--allow_file_create=0",
                            "--invalidate=0",
                            "--refill_buffers=0",
                            "--rw=" + job.rw,
                            fmt::format("--bs={}", job.block_bytes),
                            fmt::format("--iodepth={}", job.depth),
                            "--filename=" + job.file,
                            fmt::format("--size={}", job.size_bytes),
                            fmt::format("--runtime={}ms", job.seconds * 1e3)});
  if (run.end.exit_code != 0) {
    fmt::print(stderr, "fio failed:\n{}{}", run.standard_output, run.standard_error);
    QUIRE_CHECK_EQ(run.end.exit_code, 0);
  }
  const auto report = nlohmann::json::parse(run.standard_output);
  const char* side = job.rw.ends_with("read") ? "read" : "write";
  return report.at("jobs").at(0).at(side).at("bw_bytes").get<double>();
}

HugePagePool::HugePagePool(std::uint64_t pages) {
  std::ifstream(kPoolPath) >> before_;
  std::ofstream(kPoolPath) << before_ + pages;
}

HugePagePool::~HugePagePool() {
  std::ofstream(kPoolPath) << before_;
}

}  // namespace quire::bench
