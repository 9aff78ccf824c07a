// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace quire::compare {
namespace {

using Lines = std::vector<std::string>;

bool is_direct(Path path) noexcept {
  return path == Path::kDirect || path == Path::kDirectQueued;
}

bool is_queued(Path path) noexcept {
  return path == Path::kDirectQueued || path == Path::kBufferedQueued;
}

bool is_mapped(Path path) noexcept {
  return path == Path::kMapDefault || path == Path::kMapAdvised || path == Path::kMapPopulated;
}

bool reads(Pattern pattern) noexcept {
  return !is_write(pattern) || pattern == Pattern::kRandomUpdate;
}

// --- With quire ----------------------------------------------------------------------------------

std::string open_line(const AdviceRequest& request) {
  std::string options;
  const auto add = [&](std::string_view option) {
    options += (options.empty() ? "" : ", ") + std::string(option);
  };
  if (is_write(request.pattern)) {
    add(".writable = true");
  }
  if (is_direct(request.path)) {
    add(".cache = quire::CacheUse::kBypass");
  } else if (request.path == Path::kBufferedDropBehind) {
    add(".cache = quire::CacheUse::kDropBehind");
  }
  if (request.durability == DurabilityChoice::kEachOperation) {
    add(".write_through = quire::WriteThrough::kEachWrite");
  }
  return options.empty()
             ? "auto file = QUIRE_TRY(quire::open_file(\"data.bin\"));"
             : fmt::format("auto file = QUIRE_TRY(quire::open_file(\"data.bin\", {{{}}}));",
                           options);
}

void add_quire_sync(const AdviceRequest& request, Lines& lines) {
  if (is_write(request.pattern) && request.durability == DurabilityChoice::kAtEnd) {
    lines.emplace_back("QUIRE_TRY(file->sync(quire::Durability::kData));  // Once, at the end.");
  }
}

Lines quire_calls(const AdviceRequest& request) {
  Lines lines{open_line(request)};
  if (reads(request.pattern)) {
    lines.emplace_back("const std::uint64_t got = QUIRE_TRY(file->read(offset, buffer));");
  }
  if (request.pattern == Pattern::kAppend) {
    lines.emplace_back("QUIRE_TRY(file->write(offset, record));  // offset: the end so far.");
  } else if (is_write(request.pattern)) {
    lines.emplace_back("QUIRE_TRY(file->write(offset, buffer));");
  }
  add_quire_sync(request, lines);
  return lines;
}

Lines quire_records(const AdviceRequest& request) {
  Lines lines{open_line(request)};
  if (!is_write(request.pattern)) {
    lines.emplace_back("quire::RecordReader records(*file);");
    lines.emplace_back("const auto next = QUIRE_TRY(records.next(64));  // Empty at the end.");
    return lines;
  }
  lines.emplace_back("auto log = QUIRE_TRY(quire::RecordWriter::make(*file));");
  lines.emplace_back("QUIRE_TRY(log.append(record));  // A memcpy, mostly.");
  lines.emplace_back(request.durability == DurabilityChoice::kNone
                         ? "QUIRE_TRY(log.flush(std::nullopt));"
                         : "QUIRE_TRY(log.flush(quire::Durability::kData));");
  return lines;
}

Lines quire_batch(const AdviceRequest& request) {
  return {fmt::format("auto reader = QUIRE_TRY(quire::BatchReader::make(\"data.bin\", "
                      "{{.depth = {}, .cache = quire::CacheUse::{}}}));",
                      request.depth, is_direct(request.path) ? "kBypass" : "kKeep"),
          "const auto report = QUIRE_TRY(reader->read_batch(ranges));  // Many, in any order."};
}

Lines quire_queue(const AdviceRequest& request) {
  Lines lines{open_line(request)};
  lines.push_back(fmt::format(
      "auto pool = QUIRE_TRY(quire::BufferPool::make({{.buffer_count = {}}}));", request.depth));
  lines.push_back(fmt::format(
      "auto queue = QUIRE_TRY(quire::IoQueue::make({{.depth = {}, .registered = pool.get()}}));",
      request.depth));
  lines.emplace_back("for (quire::IoRequest& one : requests) { queue->submit(one); }");
  lines.emplace_back("queue->drain();  // Each request's on_done has run; it may submit the next.");
  add_quire_sync(request, lines);
  return lines;
}

const char* best_advice(Pattern pattern) noexcept {
  return is_random(pattern) ? "Random" : "Sequential";
}

Lines quire_mapping(const AdviceRequest& request) {
  const bool is_writing = is_write(request.pattern);
  Lines lines{is_writing ? "auto map = QUIRE_TRY(quire::map(\"data.bin\", "
                           "{.access = quire::Access::kReadWrite}));"
                         : "auto map = QUIRE_TRY(quire::map(\"data.bin\"));"};
  if (request.path == Path::kMapAdvised) {
    lines.push_back(fmt::format("QUIRE_TRY(map.advise(quire::kWholeFile, quire::Advice::k{}));",
                                best_advice(request.pattern)));
  } else if (request.path == Path::kMapPopulated) {
    lines.emplace_back("QUIRE_TRY(map.populate());  // Fails where a load would be SIGBUS.");
  }
  if (request.pattern == Pattern::kAppend) {
    lines.emplace_back("QUIRE_TRY(map.append(record));");
  } else {
    lines.emplace_back(is_writing ? "std::span<std::byte> bytes = map.bytes();"
                                  : "std::span<const std::byte> bytes = map.bytes();");
  }
  if (is_writing && request.durability != DurabilityChoice::kNone) {
    lines.emplace_back(request.durability == DurabilityChoice::kAtEnd
                           ? "QUIRE_TRY(map.flush());  // Once, at the end."
                           : "QUIRE_TRY(map.flush());  // After each store; a range will do.");
  }
  return lines;
}

std::string pager_line(const AdviceRequest& request) {
  return fmt::format(
      "quire::Pager pager({{.memory_bytes = std::uint64_t{{{}}} << 20{}}});  // All it ever takes.",
      std::max(request.memory_bytes / 1_MiB, std::uint64_t{1}),
      request.path == Path::kPagedHandler ? ", .fault_path = quire::FaultPath::kHandler" : "");
}

Lines quire_paged_reads(const AdviceRequest& request) {
  Lines lines{pager_line(request), "auto area = QUIRE_TRY(pager.map(\"data.bin\"));",
              "std::span<const std::byte> bytes = area.bytes();"};
  if (request.path == Path::kPagedPrefetched) {
    lines.push_back(
        fmt::format("quire::Ticket soon = area.prefetch({{offset, 4096}});  // The next {}, ahead "
                    "of the loads.",
                    request.depth));
  }
  return lines;
}

Lines quire_paged_writes(const AdviceRequest& request) {
  Lines lines{pager_line(request)};
  if (request.pattern == Pattern::kRandomUpdate) {
    lines.emplace_back(
        "auto area = QUIRE_TRY(pager.map(\"data.bin\", {.access = quire::Access::kReadWrite}));");
    lines.emplace_back("std::span<std::byte> bytes = area.bytes();");
  } else {
    lines.emplace_back(
        "auto area = QUIRE_TRY(pager.map(\"data.bin\", "
        "{.access = quire::Access::kReadWrite, .create = true}));");
    lines.emplace_back("QUIRE_TRY(area.resize(64 << 20));  // Long enough; cut off in the end.");
    lines.push_back(
        fmt::format("std::memcpy(area.bytes().data() + offset, {0}.data(), {0}.size());",
                    request.pattern == Pattern::kAppend ? "record" : "buffer"));
  }
  if (request.durability == DurabilityChoice::kAtEnd) {
    lines.emplace_back("QUIRE_TRY(area.flush());  // Once, at the end.");
  } else if (request.durability == DurabilityChoice::kEachOperation) {
    lines.push_back(fmt::format("QUIRE_TRY(area.flush({{offset, {}}}));  // After each store.",
                                request.pattern == Pattern::kAppend ? "record.size()" : "4096"));
  }
  return lines;
}

Lines with_quire(const AdviceRequest& request) {
  const bool is_random_read = is_random(request.pattern) && !is_write(request.pattern);
  if (request.path == Path::kMemory) {
    return {};
  }
  if (is_mapped(request.path)) {
    return quire_mapping(request);
  }
  if (is_paged(request.path)) {
    return is_write(request.pattern) ? quire_paged_writes(request) : quire_paged_reads(request);
  }
  if (is_queued(request.path)) {
    return is_random_read ? quire_batch(request) : quire_queue(request);
  }
  return request.path == Path::kBufferedWriter ? quire_records(request) : quire_calls(request);
}

// --- With system calls ---------------------------------------------------------------------------

std::string system_open_line(const AdviceRequest& request) {
  std::string flags = is_write(request.pattern) ? "O_RDWR | O_CLOEXEC" : "O_RDONLY | O_CLOEXEC";
  if (is_direct(request.path)) {
    flags += " | O_DIRECT";
  }
  if (request.durability == DurabilityChoice::kEachOperation && !is_mapped(request.path)) {
    flags += " | O_DSYNC";
  }
  return fmt::format("int fd = open(\"data.bin\", {});", flags);
}

void add_system_sync(const AdviceRequest& request, Lines& lines) {
  if (is_write(request.pattern) && request.durability == DurabilityChoice::kAtEnd) {
    lines.emplace_back("fdatasync(fd);  // Once, at the end.");
  }
}

// How much one call moves.
const char* system_length(const AdviceRequest& request) noexcept {
  if (request.pattern == Pattern::kAppend) {
    return "record_length";
  }
  const bool is_block = is_random(request.pattern) || request.path == Path::kReadWriteSmall;
  return is_block ? "4096" : "1 << 20";
}

Lines system_calls(const AdviceRequest& request) {
  Lines lines{system_open_line(request)};
  const char* length = system_length(request);
  if (is_direct(request.path)) {
    lines.emplace_back(
        "posix_memalign(&buffer, 4096, 1 << 20);  // Offset and length aligned, too.");
  }
  if (reads(request.pattern)) {
    lines.push_back(fmt::format("pread(fd, buffer, {}, offset);", length));
  }
  if (is_write(request.pattern)) {
    lines.push_back(fmt::format("pwrite(fd, buffer, {}, offset);", length));
  }
  add_system_sync(request, lines);
  return lines;
}

Lines system_drop_behind(const AdviceRequest& request) {
  Lines lines{system_open_line(request)};
  lines.push_back(fmt::format("struct iovec piece = {{buffer, {}}};", system_length(request)));
  if (reads(request.pattern)) {
    lines.emplace_back("preadv2(fd, &piece, 1, offset, RWF_DONTCACHE);  // Linux 6.14; before it:");
  }
  if (is_write(request.pattern)) {
    lines.emplace_back(
        "pwritev2(fd, &piece, 1, offset, RWF_DONTCACHE);  // Linux 6.14; before it:");
    lines.emplace_back(
        "sync_file_range(fd, 0, offset, SYNC_FILE_RANGE_WRITE);  // Behind the writer.");
  }
  lines.emplace_back("posix_fadvise(fd, 0, offset, POSIX_FADV_DONTNEED);  // What is behind.");
  add_system_sync(request, lines);
  return lines;
}

Lines system_records(const AdviceRequest& request) {
  if (!is_write(request.pattern)) {
    return {"FILE* file = fopen(\"data.bin\", \"re\");", "setvbuf(file, NULL, _IOFBF, 256 << 10);",
            "fread(buffer, record_length, 1, file);"};
  }
  Lines lines{"FILE* file = fopen(\"data.bin\", \"ae\");",
              "setvbuf(file, NULL, _IOFBF, 256 << 10);", "fwrite(buffer, record_length, 1, file);",
              "fflush(file);"};
  if (request.durability != DurabilityChoice::kNone) {
    lines.emplace_back("fdatasync(fileno(file));");
  }
  return lines;
}

Lines system_queue(const AdviceRequest& request) {
  const char* call = is_write(request.pattern) ? "write" : "read";
  Lines lines{
      system_open_line(request),
      "struct io_uring ring;  // liburing",
      fmt::format("io_uring_queue_init({}, &ring, 0);", request.depth),
      "struct io_uring_sqe* entry = io_uring_get_sqe(&ring);  // For each request:",
      fmt::format("io_uring_prep_{}(entry, fd, buffer, {}, offset);", call, system_length(request)),
      "io_uring_submit_and_wait(&ring, 1);  // Then look at the completions, and refill."};
  add_system_sync(request, lines);
  return lines;
}

Lines system_mapping(const AdviceRequest& request) {
  const bool is_writing = is_write(request.pattern);
  Lines lines{system_open_line(request)};
  if (request.pattern == Pattern::kAppend || request.pattern == Pattern::kSequentialWrite) {
    lines.emplace_back("posix_fallocate(fd, 0, size);  // A full disk would be SIGBUS at a store.");
  }
  lines.push_back(fmt::format("void* data = mmap(NULL, size, {}, MAP_SHARED, fd, 0);",
                              is_writing ? "PROT_READ | PROT_WRITE" : "PROT_READ"));
  if (request.path == Path::kMapAdvised) {
    lines.emplace_back(is_random(request.pattern) ? "madvise(data, size, MADV_RANDOM);"
                                                  : "madvise(data, size, MADV_SEQUENTIAL);");
  } else if (request.path == Path::kMapPopulated) {
    lines.push_back(fmt::format("madvise(data, size, MADV_POPULATE_{});  // Linux 5.14",
                                is_writing ? "WRITE" : "READ"));
  }
  if (is_writing && request.durability != DurabilityChoice::kNone) {
    lines.emplace_back(
        request.durability == DurabilityChoice::kAtEnd
            ? "msync(data, size, MS_SYNC);  // Once, at the end."
            : "msync(data, size, MS_SYNC);  // After each store; its pages will do.");
  }
  return lines;
}

Lines with_system_calls(const AdviceRequest& request) {
  if (request.path == Path::kMemory || is_paged(request.path)) {
    return {};
  }
  if (is_mapped(request.path)) {
    return system_mapping(request);
  }
  if (is_queued(request.path)) {
    return system_queue(request);
  }
  if (request.path == Path::kBufferedDropBehind) {
    return system_drop_behind(request);
  }
  return request.path == Path::kBufferedWriter ? system_records(request) : system_calls(request);
}

}  // namespace

Advice advice_for(const AdviceRequest& request) {
  return {.with_quire = with_quire(request), .with_system_calls = with_system_calls(request)};
}

}  // namespace quire::compare
