// SPDX-License-Identifier: Apache-2.0
//
// The smallest program in C: prints a file through a mapping, and appends a line to another one.
#include <quire/c/quire.h>
#include <stdio.h>

static quire_code show(const char* path, quire_error* error) {
  quire_mapping* map;
  const quire_code code = quire_map_file(path, NULL, &map, error);
  if (code == QUIRE_OK) {
    fwrite(quire_mapping_bytes(map), 1, quire_mapping_size(map), stdout);
  }
  quire_mapping_free(map);
  return code;
}

static quire_code note(const char* path, const char* line, size_t length, quire_error* error) {
  const quire_map_options options = {.struct_size = sizeof options,
                                     .access = QUIRE_ACCESS_READ_WRITE,
                                     .create = QUIRE_CREATE_IF_MISSING};
  quire_mapping* log;
  quire_code code = quire_map_file(path, &options, &log, error);
  if (code == QUIRE_OK) {
    code = quire_mapping_append(log, line, length, error);
  }
  if (code == QUIRE_OK) {
    code = quire_mapping_close(log, error);
  }
  quire_mapping_free(log);
  return code;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fputs("usage: consumer FILE LOG\n", stderr);
    return 2;
  }
  quire_error error = QUIRE_ERROR_INIT;
  if (show(argv[1], &error) != QUIRE_OK || note(argv[2], "shown\n", 6, &error) != QUIRE_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  return 0;
}
