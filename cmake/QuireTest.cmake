# SPDX-License-Identifier: Apache-2.0
#
# quire_test(NAME SOURCES ... LIBRARIES ... [LABELS ...] [TIMEOUT_S n])
#
# A GoogleTest program whose main (quire/testing/test_main.cc) prints the seed and dumps every
# thread's stack when a test hangs. Each test case is a CTest of its own, run in its own process.
#
# quire_command_test(NAME COMMAND ... [LABELS ...] [TIMEOUT_S n] [SKIP_CODE n] [ENVIRONMENT ...]
#                    [CONFIGURATION name])
#
# Any other program as a CTest, under tools/with_timeout.py, which does the same from outside:
# when the time is over it dumps the stacks of the whole process tree and kills it. With a
# configuration it runs only when that is asked for: ctest -C soak -L soak.
#
# quire_soak_test(PROGRAM SECONDS n [FILTER pattern])
#
# A program of quire_test once more, in a soak (quire/testing/soak.h) of so many seconds for each of
# its test cases, or of those that match; ctest -C soak -L soak. QUIRE_SOAK_S=n makes it n seconds.
#
# Labels: `unit` when none is given; `threads` for programs that also run under ThreadSanitizer,
# which the target quire_threads_tests builds; `stack` for journals on mounted file systems; `soak`
# for what takes minutes; `bench-smoke` for benchmarks on tiny files; `cli`, `browser`, `example`,
# `package` and `tidy` for the rest.
include(GoogleTest)
find_package(GTest REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(QUIRE_TEST_TIMEOUT_S 120)  # The slowest honest test takes a tenth of this under asan.

add_custom_target(quire_threads_tests COMMENT "The tests that also run under ThreadSanitizer")

function(quire_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT_S" "SOURCES;LIBRARIES;LABELS")
  if(NOT arg_TIMEOUT_S)
    set(arg_TIMEOUT_S ${QUIRE_TEST_TIMEOUT_S})
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE
    ${arg_LIBRARIES} quire_testing quire_test_main quire_build_flags GTest::gtest)
  # What is tested is optimised as the preset says. To optimise GoogleTest's assertions as well
  # takes as long as everything else together.
  target_compile_options(${name} PRIVATE -O0)
  if(threads IN_LIST arg_LABELS)
    add_dependencies(quire_threads_tests ${name})
  endif()
  # The watchdog inside the program fires first, with stacks; CTest's limit is the last resort.
  math(EXPR ctest_timeout "${arg_TIMEOUT_S} + 30")
  gtest_discover_tests(${name} TEST_PREFIX "${name}/" NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${ctest_timeout} ENVIRONMENT QUIRE_TEST_TIMEOUT_S=${arg_TIMEOUT_S})
  # gtest_discover_tests keeps only the first of several labels, so they are set afterwards.
  set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
  file(WRITE ${labels_file} "foreach(test IN LISTS ${name}_TESTS)\n"
    "  set_tests_properties(\${test} PROPERTIES LABELS \"${arg_LABELS}\")\nendforeach()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
endfunction()

function(quire_command_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT_S;SKIP_CODE;CONFIGURATION"
    "COMMAND;LABELS;ENVIRONMENT")
  if(NOT arg_TIMEOUT_S)
    set(arg_TIMEOUT_S ${QUIRE_TEST_TIMEOUT_S})
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  math(EXPR ctest_timeout "${arg_TIMEOUT_S} + 120")  # Time for gdb to visit a few processes.
  add_test(NAME ${name}
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/with_timeout.py ${arg_TIMEOUT_S}
            ${arg_COMMAND}
    CONFIGURATIONS ${arg_CONFIGURATION})
  set_tests_properties(${name} PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT ${ctest_timeout} ENVIRONMENT "${arg_ENVIRONMENT}")
  if(arg_SKIP_CODE)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE ${arg_SKIP_CODE})
  endif()
endfunction()

# No limit but the program's own watchdog, which each finished round feeds.
function(quire_soak_test program)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SECONDS;FILTER" "")
  if(NOT arg_FILTER)
    set(arg_FILTER *)
  endif()
  add_test(NAME soak/${program}
    COMMAND ${program} --soak=${arg_SECONDS} --gtest_filter=${arg_FILTER} CONFIGURATIONS soak)
  set_tests_properties(soak/${program} PROPERTIES LABELS soak TIMEOUT 0)
endfunction()

# quire_must_not_compile(SOURCE LIBRARY CASE...)
#
# SOURCE compiles as it is, and does not compile with any of the CASEs defined: what the types are
# there to forbid. Only the front end runs.
function(quire_must_not_compile source library)
  get_filename_component(stem ${source} NAME_WE)
  set(compile ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -I${PROJECT_SOURCE_DIR}
      ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  add_test(NAME ${stem}/baseline COMMAND ${compile})
  set_tests_properties(${stem}/baseline PROPERTIES LABELS unit TIMEOUT ${QUIRE_TEST_TIMEOUT_S})
  foreach(case IN LISTS ARGN)
    add_test(NAME ${stem}/${case} COMMAND ${compile} -D${case})
    set_tests_properties(${stem}/${case} PROPERTIES
      LABELS unit TIMEOUT ${QUIRE_TEST_TIMEOUT_S} WILL_FAIL TRUE)
  endforeach()
endfunction()
