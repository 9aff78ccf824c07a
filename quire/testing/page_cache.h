// SPDX-License-Identifier: Apache-2.0
//
// The page cache as tests need it: put into a known state, and asked in another way than the code
// under test asks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace quire::testing {

inline constexpr std::size_t kPageBytes = 4096;

// Writes the file back and drops its pages. Aborts when some stay: the test would mean nothing.
void make_cold(const std::string& path);

// Reads these pages and no neighbours, each into a folio of its own.
void read_pages(const std::string& path, const std::vector<std::uint64_t>& page_numbers);

// One flag per page of the file, by mincore over all of it.
[[nodiscard]] std::vector<bool> resident_pages(const std::string& path);

// Runs `body` in a child process as a user without rights, in a new session of credentials.
// Returns the child's exit code.
[[nodiscard]] int run_as_nobody(const std::function<int()>& body);
inline constexpr unsigned kNobody = 65534;

}  // namespace quire::testing
