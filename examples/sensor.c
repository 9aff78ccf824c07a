// SPDX-License-Identifier: Apache-2.0
//
// The half in C of a conversation; examples/sensor_log.cc is the half in C++, and starts this one.
//
//   example_sensor SEGMENT READINGS
//
// Sends readings as records, made in place, then an empty one; waits for the other's answer, and
// fails when the sum in it is not that of what was sent.
#include <quire/c/quire.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Plain bytes that mean the same in both languages.
struct reading {
  uint32_t sensor;
  int32_t millidegrees;
};

// As the other has them: else the segment is refused, with both descriptions.
static const quire_object kObjects[] = {
    {.name = "readings", .kind = QUIRE_OBJECT_SPSC_BYTES, .capacity_bytes = 4096},
    {.name = "answers", .kind = QUIRE_OBJECT_SPSC_BYTES, .capacity_bytes = 4096}};

static quire_code send_readings(const quire_segment* segment, unsigned count, int64_t* sum,
                                quire_error* error) {
  quire_ring_writer* writer;
  quire_code code = quire_ring_writer_open(segment, "readings", &writer, error);
  for (unsigned i = 0; code == QUIRE_OK && i < count; ++i) {
    void* room;
    code =
        quire_ring_writer_reserve(writer, sizeof(struct reading), QUIRE_MS_FOREVER, &room, error);
    if (code == QUIRE_OK) {
      struct reading* reading = room;
      reading->sensor = i % 5;
      reading->millidegrees = (int32_t)(i * 37 % 40000) - 10000;
      *sum += reading->millidegrees;
      code = quire_ring_writer_commit(writer, sizeof *reading, error);
    }
  }
  if (code == QUIRE_OK) {
    code = quire_ring_writer_push(writer, NULL, 0, QUIRE_MS_FOREVER, error);
  }
  quire_ring_writer_free(writer);
  return code;
}

static quire_code await_answer(const quire_segment* segment, int64_t* answer, quire_error* error) {
  quire_ring_reader* reader;
  const void* record;
  size_t length;
  quire_code code = quire_ring_reader_open(segment, "answers", &reader, error);
  if (code == QUIRE_OK) {
    code = quire_ring_reader_peek(reader, 60000, &record, &length, error);
  }
  if (code == QUIRE_OK && length == sizeof *answer) {
    memcpy(answer, record, length);
    code = quire_ring_reader_release(reader, error);
  }
  quire_ring_reader_free(reader);
  return code;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fputs("usage: example_sensor SEGMENT READINGS\n", stderr);
    return 2;
  }
  quire_error error = QUIRE_ERROR_INIT;
  quire_segment* segment;
  int64_t sum = 0;
  int64_t answer = -1;
  if (quire_segment_open(argv[1], kObjects, 2, NULL, &segment, &error) != QUIRE_OK ||
      send_readings(segment, (unsigned)strtoul(argv[2], NULL, 10), &sum, &error) != QUIRE_OK ||
      await_answer(segment, &answer, &error) != QUIRE_OK) {
    fprintf(stderr, "%s\n", error.message);
  }
  quire_segment_free(segment);
  return error.code == QUIRE_OK && answer == sum ? 0 : 1;
}
