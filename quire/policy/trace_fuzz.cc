// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes the trace reader: any bytes, in chunks of any size, give records or an Error that says
// something; what is accepted is written again to a trace that gives the same records, and can be
// loaded for the simulator.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/base/check.h"
#include "quire/policy/recorded_trace.h"
#include "quire/policy/trace.h"

namespace quire {
namespace {

struct Trace {
  TraceHeader header;
  std::vector<TraceRecord> records;

  friend bool operator==(const Trace&, const Trace&) = default;
};

TraceReader::Source chunked(std::span<const std::byte> bytes, std::size_t chunk_bytes) {
  return [bytes, chunk_bytes](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const std::size_t count = std::min({bytes.size(), chunk_bytes, into.size()});
    std::copy_n(bytes.begin(), count, into.begin());
    bytes = bytes.subspan(count);
    return count;
  };
}

Result<Trace> read_all(std::span<const std::byte> bytes, std::size_t chunk_bytes) {
  TraceReader reader = QUIRE_TRY(TraceReader::open(chunked(bytes, chunk_bytes), "input"));
  Trace trace{.header = reader.header(), .records = {}};
  std::vector<TraceRecord> block(chunk_bytes);
  while (true) {
    const std::size_t count = QUIRE_TRY(reader.read(block));
    trace.records.insert(trace.records.end(), block.begin(),
                         block.begin() + static_cast<std::ptrdiff_t>(count));
    if (count < block.size()) {
      QUIRE_CHECK_EQ(reader.read(block).value(), 0U);
      return trace;
    }
  }
}

std::vector<std::byte> write_all(const Trace& trace) {
  std::vector<std::byte> bytes;
  TraceWriter writer(trace.header, [&bytes](std::span<const std::byte> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return std::error_code{};
  });
  for (const TraceRecord& record : trace.records) {
    writer.record(record);
  }
  QUIRE_CHECK(!writer.finish());
  return bytes;
}

void load(std::span<const std::byte> bytes, const Trace& trace) {
  TraceReader reader = TraceReader::open(chunked(bytes, bytes.size()), "input").value();
  TraceLoader loader = TraceLoader::make(reader, 0).value();
  while (loader.step().value()) {
  }
  RecordedTrace loaded = loader.finish();
  QUIRE_CHECK_EQ(loaded.access_count(), trace.records.size());
  std::vector<PageAccess> accesses(trace.records.size() + 1);
  QUIRE_CHECK_EQ(loaded.next(accesses), trace.records.size());
  for (std::size_t i = 0; i < trace.records.size(); ++i) {
    QUIRE_CHECK_LT(accesses[i].page(), loaded.page_span());
    QUIRE_CHECK_EQ(accesses[i].is_store(), trace.records[i].is_store);
  }
}

}  // namespace
}  // namespace quire

// The first byte is the size of the chunks.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  if (size_bytes == 0) {
    return 0;
  }
  const auto bytes = std::as_bytes(std::span(data, size_bytes)).subspan(1);
  const auto trace = quire::read_all(bytes, std::size_t{data[0]} + 1);
  if (!trace) {
    QUIRE_CHECK(!trace.error().message().empty());
    return 0;
  }
  const std::vector<std::byte> again = quire::write_all(*trace);
  const auto second = quire::read_all(again, size_bytes);
  QUIRE_CHECK(second.has_value() && *second == *trace);
  quire::load(again, *trace);
  return 0;
}
