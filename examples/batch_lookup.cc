// SPDX-License-Identifier: Apache-2.0
//
// batch_lookup: the vectors that a search wants, all at once.
//
//   batch_lookup [COUNT]
//
// An index lives in memory, its vectors in a file. A query names a few hundred of them: what is in
// memory is copied, what is not is read with many requests under way. The second query finds the
// first one's answer in memory.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "quire/quire.h"

namespace {

using Vector = std::array<float, 256>;

quire::Result<void> write_vectors(quire::File& file, std::size_t count) {
  quire::RecordWriter writer = QUIRE_TRY(quire::RecordWriter::make(file));
  Vector vector{};
  for (std::size_t i = 0; i < count; ++i) {
    vector[0] = static_cast<float>(i);
    QUIRE_TRY(writer.append(std::as_bytes(std::span(vector))));
  }
  QUIRE_TRY(writer.flush(quire::Durability::kData));
  return writer.close();
}

quire::Result<void> look_up(quire::BatchReader& reader, std::size_t count, const char* when) {
  std::vector<Vector> found(200);
  std::vector<quire::ReadRange> ranges;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::uint64_t number = i * 7919 % count;
    ranges.push_back({.offset_bytes = number * sizeof(Vector),
                      .into = std::as_writable_bytes(std::span(found[i]))});
  }
  const quire::BatchReport report = QUIRE_TRY(reader.read_batch(ranges));
  for (std::size_t i = 0; i < found.size(); ++i) {
    QUIRE_CHECK(found[i][0] == static_cast<float>(i * 7919 % count));
  }
  std::printf("%s: %llu of %zu vectors were in memory, %llu requests for the others\n", when,
              static_cast<unsigned long long>(report.resident_ranges), found.size(),
              static_cast<unsigned long long>(report.requests));
  return {};
}

quire::Result<void> run(const std::string& path, std::size_t count) {
  const auto file = QUIRE_TRY(quire::open_file(path, {.writable = true, .create = true}));
  QUIRE_TRY(write_vectors(*file, count));
  QUIRE_TRY(quire::evict(file->fd()));
  const auto reader = QUIRE_TRY(quire::BatchReader::make(path));
  std::printf("%s\n", reader->explain().c_str());
  QUIRE_TRY(look_up(*reader, count, "cold"));
  return look_up(*reader, count, "warm");
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 50'000;
  const std::string path = "batch_lookup." + std::to_string(::getpid());
  const quire::Result<void> done = run(path, count == 0 ? 1 : count);
  ::unlink(path.c_str());
  if (!done) {
    std::fprintf(stderr, "batch_lookup: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
