#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The steps of the package tests; see CMakeLists.txt beside this file.
#
#   run.sh install PREFIX BUILD_DIR     installs and looks at what came
#   run.sh cmake PREFIX WORK CXX        find_package(quire) in a project of its own
#   run.sh pkgconfig PREFIX WORK CXX    the same program by pkg-config alone, by every compiler
#   run.sh c PREFIX WORK CC             both in C: static and shared, where no C++ compiler is known
#   run.sh headers PREFIX CXX           every installed header compiles alone, without a warning
#   run.sh embed SOURCE WORK CXX        add_subdirectory(): configures, and drags in nothing of ours
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly consumer=$here/consumer consumer_c=$here/consumer_c
readonly warnings=(-std=c++20 -Wall -Wextra -Wpedantic -Werror)
readonly warnings_c=(-std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror)

fail() {
  printf 'package: %s\n' "$1" >&2
  exit 1
}

fresh() {
  rm -rf -- "$1"
  mkdir -p -- "$1"
}

# Runs a consumer: it must print a file's content through a mapping, append to a log through
# another, and say an error as a sentence.
try_consumer() {
  local program=$1 work=$2 text='the bytes of a file' said
  printf '%s' "$text" > "$work/data.txt"
  [[ $("$program" "$work/data.txt" "$work/log.txt") == "$text" ]] ||
    fail "the consumer shows other bytes"
  [[ $(< "$work/log.txt") == shown ]] || fail "the consumer did not append to its log"
  if said=$("$program" "$work/missing.txt" "$work/log.txt" 2>&1); then
    fail "the consumer found a file that is not there"
  fi
  [[ $said == *missing.txt*ENOENT* ]] || fail "not an error to act on: $said"
}

step_install() {
  local prefix=$1 build=$2 file
  fresh "$prefix"
  cmake --install "$build" --prefix "$prefix" > /dev/null
  for file in bin/quire include/quire/quire.h include/quire/map/mapping.h \
      include/quire/c/quire.h \
      share/man/man1/quire.1 share/bash-completion/completions/quire; do
    [[ -s $prefix/$file ]] || fail "$file was not installed"
  done
  [[ -z $(find "$prefix/include" -name '*_test*' -o -name internal -o -name testing) ]] ||
    fail "private headers were installed"
  "$prefix/bin/quire" --version
}

step_cmake() {
  local prefix=$1 work=$2 compiler=$3
  fresh "$work"
  cmake -S "$consumer" -B "$work" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="${warnings[*]:1}"
  cmake --build "$work"
  try_consumer "$work/consumer" "$work"
}

# Users need not have the compiler that built the library: both must link.
step_pkgconfig() {
  local prefix=$1 work=$2 compiler=$3 other config=() libraries=()
  fresh "$work"
  PKG_CONFIG_PATH=$(dirname -- "$(find "$prefix" -name quire.pc)")
  export PKG_CONFIG_PATH
  read -ra config <<< "$(pkg-config --cflags quire)"
  read -ra libraries <<< "$(pkg-config --libs quire)"
  for other in "$compiler" g++ clang++-19; do
    if command -v "$other" > /dev/null; then
      "$other" "${warnings[@]}" "${config[@]}" "$consumer/consumer.cc" "${libraries[@]}" \
        -o "$work/consumer"
      try_consumer "$work/consumer" "$work"
      rm -- "$work/log.txt"
      printf 'used by %s\n' "$other"
    fi
  done
}

step_c() {
  local prefix=$1 work=$2 compiler=$3 package config=() libraries=() libdir
  fresh "$work"
  cmake -S "$consumer_c" -B "$work" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$compiler" -DCMAKE_C_FLAGS="${warnings_c[*]:1}"
  cmake --build "$work"
  try_consumer "$work/consumer" "$work"
  rm -- "$work/log.txt"
  try_consumer "$work/consumer_shared" "$work"
  rm -- "$work/log.txt"
  PKG_CONFIG_PATH=$(dirname -- "$(find "$prefix" -name quire.pc)")
  export PKG_CONFIG_PATH
  libdir=$(dirname -- "$PKG_CONFIG_PATH")
  for package in quire quire-c; do
    read -ra config <<< "$(pkg-config --cflags "$package")"
    read -ra libraries <<< "$(pkg-config --libs "$package")"
    "$compiler" "${warnings_c[@]}" "${config[@]}" "$consumer_c/consumer.c" "${libraries[@]}" \
      -Wl,-rpath,"$libdir" -o "$work/consumer"
    try_consumer "$work/consumer" "$work"
    rm -- "$work/log.txt"
    printf 'used through %s\n' "$package"
  done
  readelf --dynamic "$work/consumer" | grep -q 'NEEDED.*libquire\.so\.1' ||
    fail "the shared library is not linked by its ABI's name"
  "$compiler" "${warnings_c[@]}" -I "$prefix/include" -include quire/c/quire.h -fsyntax-only \
    -x c /dev/null || fail "the header is not C"
}

step_headers() {
  local prefix=$1 compiler=$2 count
  count=$(find "$prefix/include/quire" -name '*.h' | wc -l)
  ((count > 1)) || fail "no headers in $prefix/include/quire"
  find "$prefix/include/quire" -name '*.h' -print0 |
    xargs -0 -P "$(nproc)" -I '{}' "$compiler" "${warnings[@]}" -I "$prefix/include" \
      -include '{}' -fsyntax-only -x c++ /dev/null ||
    fail "a header does not compile alone"
  printf '%d headers compile alone\n' "$count"
}

step_embed() {
  local source=$1 work=$2 compiler=$3 targets
  fresh "$work"
  cmake -S "$consumer" -B "$work" -G Ninja -DQUIRE_SOURCE_DIR="$source" \
    -DCMAKE_CXX_COMPILER="$compiler"
  targets=$(cmake --build "$work" --target help)
  [[ $targets == *quire_map* ]] || fail "quire_map is not among the targets"
  [[ $targets != *_test* && $targets != *quire_cli* ]] ||
    fail "an embedding project gets our tests or the command"
}

step=step_${1-}
declare -F "$step" > /dev/null || fail "no step ${1-}"
shift
"$step" "$@"
