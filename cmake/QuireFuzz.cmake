# SPDX-License-Identifier: Apache-2.0
#
# quire_fuzzer(NAME SOURCES ... LIBRARIES ...)
#
# A libFuzzer program from an x_fuzz.cc that defines LLVMFuzzerTestOneInput. Built by the preset
# `fuzz` only (clang); tools/check.py finds the programs by their names, which end in _fuzz. In the
# other presets the same x_fuzz.cc is compiled into the folder's test program, whose corpus test
# calls the same entry, so every compiler sees it.
function(quire_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  if(NOT name MATCHES "_fuzz$")
    message(FATAL_ERROR "quire_fuzzer(${name}): the name of a fuzzer ends in _fuzz")
  endif()
  if(QUIRE_BUILD_FUZZERS)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} quire_testing quire_build_flags)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()
