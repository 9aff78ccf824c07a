// SPDX-License-Identifier: Apache-2.0
//
// help: what the command says about itself, and what it says to a line it does not understand.
//
// `quire` prints the table of verbs, `quire VERB --help` one screen: what the verb does, its
// options, an example. The same tree of options feeds the completion scripts (completion.cc), and a
// test compares it with the man page: there is one source.
//
// Thread-safety: one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace quire::cli {

// Makes every help text of the tree look like ours. REQUIRES: called before verbs are added.
void set_help_style(CLI::App& app);

// The verb that the line names; empty without one.
[[nodiscard]] std::string chosen_name(const CLI::App& app);
// The help of the verb that was named before --help, or of the whole command.
[[nodiscard]] std::string help_of_chosen(const CLI::App& app);

// One line for a command line that was not understood: what is wrong, and what may have been meant.
[[nodiscard]] std::string explain(const CLI::App& app, const CLI::ParseError& error,
                                  const std::vector<std::string>& arguments);

// The verbs in the order of the table; hidden ones left out.
[[nodiscard]] std::vector<const CLI::App*> verbs_of(const CLI::App& app);
// The options of a verb that have a name with dashes.
[[nodiscard]] std::vector<const CLI::Option*> named_options_of(const CLI::App& verb);

// The candidate nearest to `word` by edit distance; empty when none is near.
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace quire::cli
