// SPDX-License-Identifier: Apache-2.0
//
// facts: what about this machine and this file bends the numbers of a comparison, each with what
// follows from it.
//
// Thread-safety: any thread. Cost: a dozen small files; the machine is probed once per process.
#pragma once

#include <vector>

#include "quire/compare/report.h"
#include "quire/compare/target.h"

namespace quire::compare {

[[nodiscard]] std::vector<Fact> gather_facts(const Target& target);

}  // namespace quire::compare
