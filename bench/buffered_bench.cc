// SPDX-License-Identifier: Apache-2.0
//
// buffered_bench: a cold file read through the page cache, and small records appended and read.
//
//   build/release/bench/buffered_bench [--dir=.] [--mib=1024] [--records=2000000] [--rounds=9]
//                                      [--json]
//
//   read     open_file() and 1 MiB reads against `dd bs=1M`, both cold; the device is the bound
//   append   64-byte records: RecordWriter against write() and fwrite(), the file closed but not
//            synced, in the page cache; the processor is the bound
//   records  the way back: RecordReader against read() and fread(), warm
//
// Goals: read at least 1.0 of dd; append at least 10 times write() and 0.9 of fwrite().
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/io/file.h"
#include "quire/io/records.h"
#include "quire/sys/file.h"
#include "quire/testing/process.h"

namespace quire::bench {
namespace {

using Record = std::array<std::byte, 64>;

// dd's own seconds: "1073741824 bytes (1.1 GB, 1.0 GiB) copied, 0.48 s, 2.2 GB/s"
double dd_seconds(const std::string& path) {
  const testing::ProgramEnd run =
      testing::run_program({"dd", "if=" + path, "of=/dev/null", "bs=1M"});
  QUIRE_CHECK_EQ(run.end.exit_code, 0);
  const std::size_t at = run.standard_error.find("copied, ");
  QUIRE_CHECK(at != std::string::npos);
  return std::stod(run.standard_error.substr(at + 8));
}

class BufferedBench {
 public:
  explicit BufferedBench(const Arguments& arguments)
      : path_(arguments.text("dir", ".") + "/buffered_bench.data"),
        size_bytes_(arguments.number("mib", 1024) * 1_MiB),
        records_(arguments.number("records", 2'000'000)),
        rounds_(arguments.number("rounds", 9)) {}
  ~BufferedBench() { static_cast<void>(sys::unlink_path(path_.c_str())); }
  BufferedBench(const BufferedBench&) = delete;
  BufferedBench& operator=(const BufferedBench&) = delete;

  nlohmann::json run() {
    return {{"benchmark", "buffered"},      {"size_bytes", size_bytes_},
            {"records", records_},          {"read", read()},
            {"append", append()},           {"read_records", read_records()},
            {"machine", machine_facts(".")}};
  }

 private:
  nlohmann::json read() {
    write_random_file(path_, size_bytes_);
    std::vector<std::byte> block(1_MiB);
    std::vector<Racer> racers{
        {"quire",
         [&] {
           return double(size_bytes_) / seconds_of([&] {
                    const auto file =
                        open_file(path_, {.read_ahead = ReadAhead::kSequential}).value();
                    for (std::uint64_t at = 0; at < size_bytes_; at += block.size()) {
                      QUIRE_CHECK_EQ(file->read(at, block).value(), block.size());
                    }
                  });
         }},
        {"dd", [&] { return double(size_bytes_) / dd_seconds(path_); }}};
    run_races(racers, rounds_, [this] { make_cold(path_); });
    return {{"rates", rates_of(racers)}, {"figures", {figure("to_dd", racers[0], racers[1], 1.0)}}};
  }

  nlohmann::json append() {
    const Record record{};
    std::vector<Racer> racers{
        {"RecordWriter",
         [&] {
           return double(records_) / seconds_of([&] {
                    const auto file = open_file(path_, {.writable = true, .create = true}).value();
                    RecordWriter writer = RecordWriter::make(*file).value();
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      QUIRE_CHECK(writer.append(record).has_value());
                    }
                    QUIRE_CHECK(writer.close().has_value());
                  });
         }},
        {"write",
         [&] {
           return double(records_) / seconds_of([&] {
                    const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      QUIRE_CHECK_EQ(::write(fd, record.data(), record.size()), 64);
                    }
                    ::close(fd);
                  });
         }},
        {"fwrite", [&] {
           return double(records_) / seconds_of([&] {
                    std::FILE* file = std::fopen(path_.c_str(), "we");
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      QUIRE_CHECK_EQ(std::fwrite(record.data(), record.size(), 1, file), 1U);
                    }
                    QUIRE_CHECK_EQ(std::fclose(file), 0);
                  });
         }}};
    run_races(racers, rounds_, [this] { static_cast<void>(sys::unlink_path(path_.c_str())); });
    return {{"rates", rates_of(racers)},
            {"figures",
             {figure("to_write", racers[0], racers[1], 10),
              figure("to_fwrite", racers[0], racers[2], 0.9)}}};
  }

  // The file of the last append is there, and warm.
  nlohmann::json read_records() {
    Record record{};
    std::vector<Racer> racers{
        {"RecordReader",
         [&] {
           return double(records_) / seconds_of([&] {
                    const auto file = open_file(path_).value();
                    RecordReader reader(*file);
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      keep(reader.next(record.size()).value().front());
                    }
                  });
         }},
        {"read",
         [&] {
           return double(records_) / seconds_of([&] {
                    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      QUIRE_CHECK_EQ(::read(fd, record.data(), record.size()), 64);
                    }
                    ::close(fd);
                  });
         }},
        {"fread", [&] {
           return double(records_) / seconds_of([&] {
                    std::FILE* file = std::fopen(path_.c_str(), "re");
                    for (std::uint64_t i = 0; i < records_; ++i) {
                      QUIRE_CHECK_EQ(std::fread(record.data(), record.size(), 1, file), 1U);
                    }
                    QUIRE_CHECK_EQ(std::fclose(file), 0);
                  });
         }}};
    run_races(racers, rounds_, [] {});
    return {{"rates", rates_of(racers)},
            {"figures",
             {figure("to_read", racers[0], racers[1], 10),
              figure("to_fread", racers[0], racers[2], 0.9)}}};
  }

  static nlohmann::json figure(const char* name, const Racer& above, const Racer& below,
                               double goal) {
    return figure_of(name, ratio(above.rates, below.rates), goal);
  }

  const std::string path_;
  const std::uint64_t size_bytes_;
  const std::uint64_t records_;
  const std::size_t rounds_;
};

void print_text(const nlohmann::json& report) {
  for (const char* part : {"read", "append", "read_records"}) {
    for (const auto& [name, rate] : report[part]["rates"].items()) {
      fmt::print("{:<20}  {:<14} {:14.0f} per second\n", part, name, rate["median"].get<double>());
    }
    for (const nlohmann::json& figure : report[part]["figures"]) {
      print_figure(part, figure);
    }
  }
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(argc, argv,
                                          {quire::bench::kDirectory,
                                           {"mib=N", "length of the file"},
                                           {"records=N", "how many records"},
                                           quire::bench::kRounds});
  return quire::bench::finish(arguments, quire::bench::BufferedBench(arguments).run(),
                              quire::bench::print_text);
}
