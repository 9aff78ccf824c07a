// SPDX-License-Identifier: Apache-2.0
//
// A program in C++ that talks to one in C through shared memory: records come, an answer goes.
//
//   example_sensor_log SENSOR READINGS
//
// SENSOR is examples/sensor.c, built; it is started as a process of its own. Both name the same
// objects, in the same order: that is all they have in common.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <span>
#include <string>

namespace {

namespace ipc = quire::ipc;

struct Reading {
  std::uint32_t sensor = 0;
  std::int32_t millidegrees = 0;
};

quire::Result<ipc::Segment> open_segment(const std::string& name) {
  ipc::Layout layout;
  layout.add(ipc::SpscBytes::object("readings", {.capacity_bytes = 4096}));
  layout.add(ipc::SpscBytes::object("answers", {.capacity_bytes = 4096}));
  return ipc::Segment::open(name, layout, {.mode = ipc::OpenMode::kCreate});
}

// Returns how many there were.
quire::Result<std::uint64_t> answer_the_sum(const ipc::Segment& segment) {
  auto readings = QUIRE_TRY(ipc::SpscBytes::reader(segment, "readings"));
  auto answers = QUIRE_TRY(ipc::SpscBytes::writer(segment, "answers"));
  std::int64_t sum = 0;
  std::uint64_t count = 0;
  for (;;) {
    const auto record = QUIRE_TRY(readings.peek({.timeout = std::chrono::seconds(60)}));
    Reading reading;
    const bool is_reading = record.size() == sizeof(reading);
    if (is_reading) {
      std::memcpy(&reading, record.data(), sizeof(reading));
    }
    readings.release();
    if (!is_reading) {
      break;
    }
    sum += reading.millidegrees;
    ++count;
  }
  QUIRE_TRY(answers.push(std::as_bytes(std::span(&sum, 1))));
  return count;
}

quire::Result<int> talk(const std::string& name, const char* sensor, const char* readings) {
  const ipc::Segment segment = QUIRE_TRY(open_segment(name));
  const pid_t child = fork();
  if (child == 0) {
    execl(sensor, sensor, name.c_str(), readings, static_cast<char*>(nullptr));
    _exit(127);
  }
  const quire::Result<std::uint64_t> count = answer_the_sum(segment);
  int status = -1;
  waitpid(child, &status, 0);
  if (!count) {
    return fail(count.error());
  }
  std::printf("%llu readings\n", static_cast<unsigned long long>(*count));
  return status == 0 && std::to_string(*count) == readings ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: example_sensor_log SENSOR READINGS\n");
    return 2;
  }
  const std::string name = "example-sensor-" + std::to_string(getpid());
  const quire::Result<int> outcome = talk(name, argv[1], argv[2]);
  const quire::Result<void> removed = ipc::remove_segment(name);
  if (!outcome || !removed) {
    const quire::Error& error = outcome ? removed.error() : outcome.error();
    std::fprintf(stderr, "%s\n", error.message().c_str());
    return 1;
  }
  return *outcome;
}
