# SPDX-License-Identifier: Apache-2.0
#
# What may be switched, and the flags that follow from it. CMakePresets.json sets these.

option(QUIRE_BUILD_COMMAND "The command, quire" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_BUILD_TESTS "Unit, property and command tests" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_BUILD_EXAMPLES "The examples, which are also run as tests" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_BUILD_BENCHMARKS "The benchmarks behind docs/benchmarks.md" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_BUILD_FUZZERS "libFuzzer targets (clang only)" OFF)
option(QUIRE_BUILD_TIDY_PLUGIN "Makes clang-tidy-19 walk our own code only; needs its headers" OFF)
option(QUIRE_INSTALL "What 'cmake --install' copies" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_WARNINGS_AS_ERRORS "Warnings stop the build" ${PROJECT_IS_TOP_LEVEL})
option(QUIRE_SLOW_CHECKS "QUIRE_DCHECK_SLOW walks whole structures" OFF)
set(QUIRE_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(QUIRE_CCACHE ccache)
if(QUIRE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QUIRE_CCACHE})
endif()

# Everything of ours is compiled with these; nothing of them reaches a user of the library.
add_library(quire_build_flags INTERFACE)
target_compile_options(quire_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Wold-style-cast>
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
  $<$<BOOL:${QUIRE_WARNINGS_AS_ERRORS}>:-Werror>
  # gcc 12, optimising, sees overlaps in std::string::operator= and uninitialised members in what a
  # std::optional or tl::expected does not hold. Both are wrong; clang and the sanitizers stay on.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict -Wno-maybe-uninitialized>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-gnu-statement-expression-from-macro-expansion>)
target_compile_definitions(quire_build_flags INTERFACE
  _GNU_SOURCE _FILE_OFFSET_BITS=64 $<$<BOOL:${QUIRE_SLOW_CHECKS}>:QUIRE_SLOW_CHECKS>)
if(QUIRE_SANITIZE)
  target_compile_options(quire_build_flags INTERFACE
    -fsanitize=${QUIRE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    # It asks the kernel, through a pipe, whether a vtable can be read: without descriptors it finds
    # every object invalid. There are hardly any downcasts for it to look at.
    -fno-sanitize=vptr)
  target_link_options(quire_build_flags INTERFACE -fsanitize=${QUIRE_SANITIZE})
endif()
if(QUIRE_BUILD_FUZZERS)
  target_compile_options(quire_build_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
