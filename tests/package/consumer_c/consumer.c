// SPDX-License-Identifier: Apache-2.0
//
// A small program in C: prints a file through a pager, and appends a line to another one through a
// mapping.
#include <quire/c/quire.h>
#include <stdio.h>

static quire_code show(const char* path, quire_error* error) {
  quire_pager* pager;
  quire_area* area = NULL;
  quire_code code = quire_pager_create(NULL, &pager, error);
  if (code == QUIRE_OK) {
    code = quire_pager_map(pager, path, NULL, &area, error);
  }
  if (code == QUIRE_OK) {
    fwrite(quire_area_bytes(area), 1, (size_t)quire_area_size(area), stdout);
  }
  quire_area_free(area);
  quire_pager_free(pager);
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
