#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages of tools/packages.txt that are missing.
#
#   tools/install_packages.sh GROUP...       groups: build test bench
#   tools/install_packages.sh --list GROUP...   only prints what is missing
#
# Does nothing, and needs neither root nor a network, when nothing is missing. Needs no more than
# the packages every Debian has: bash, apt, dpkg, grep, sed.
set -euo pipefail

list_file=$(dirname -- "${BASH_SOURCE[0]}")/packages.txt
log=$(mktemp -t quire-apt-XXXXXX)
trap 'rm -f -- "$log"' EXIT

fail() {
  printf 'install_packages: %s\n' "$1" >&2
  exit 1
}

packages_of() {
  local group package why
  while read -r group package why; do
    if [[ $group == "$1" && -n $why ]]; then
      printf '%s\n' "$package"
    fi
  done < "$list_file"
}

# By its own name, or because an installed package provides it, as some nodejs do with npm.
is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2> /dev/null) == installed ]] ||
    is_provided "$1"
}

is_provided() {
  dpkg-query --show --showformat='${db:Status-Status}, ${Provides},\n' 2> /dev/null |
    grep "^installed,.* $1\( (\|,\)" > /dev/null
}

# Runs apt-get as root without a question; on failure its last lines are the error.
apt_get() {
  local as_root=()
  if [[ $EUID -ne 0 ]]; then
    as_root=(sudo)
  fi
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes "$@" \
      > "$log" 2>&1 < /dev/null; then
    tail -n 20 "$log" >&2
    fail "apt-get $1 failed; its last lines are above"
  fi
}

check_possible() {
  command -v apt-get > /dev/null ||
    fail "this is not a Debian system (no apt-get); install what tools/packages.txt lists"
  if [[ $EUID -ne 0 ]]; then
    command -v sudo > /dev/null ||
      fail "root is needed and there is no sudo; as root: apt-get install ${missing[*]}"
    sudo -n true 2> /dev/null || [[ -t 0 ]] ||
      fail "sudo wants a password and there is no terminal; as root: apt-get install ${missing[*]}"
    sudo -v || fail "sudo refused; as root: apt-get install ${missing[*]}"
  fi
}

list_only=no
if [[ ${1-} == --list ]]; then
  list_only=yes
  shift
fi
[[ $# -gt 0 ]] || fail "which group? build, test, bench"

missing=()
for group in "$@"; do
  mapfile -t packages < <(packages_of "$group")
  [[ ${#packages[@]} -gt 0 ]] || fail "no group $group in $list_file"
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
done

if [[ ${#missing[@]} -eq 0 ]]; then
  [[ $list_only == yes ]] || printf 'packages (%s): all there\n' "$*"
elif [[ $list_only == yes ]]; then
  printf '%s\n' "${missing[@]}"
else
  check_possible
  printf 'packages (%s): installing %d: %s\n' "$*" "${#missing[@]}" "${missing[*]}"
  apt_get update
  apt_get install --no-install-recommends "${missing[@]}"
fi
