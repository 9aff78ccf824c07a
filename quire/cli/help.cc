// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/help.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <numeric>

namespace quire::cli {
namespace {

constexpr std::size_t kTextColumns = 80;     // Help is written for the narrowest usual terminal.
constexpr std::size_t kNameColumns = 26;     // Of the left column of options.
constexpr std::size_t kNearDistanceMax = 2;  // More changed letters are another word.

// `text` after `left` (which is `indent` wide at most), broken between words.
std::string two_columns(std::string_view left, std::string_view text, std::size_t indent) {
  std::string out(left);
  std::size_t column = out.size();
  if (column >= indent) {
    out += '\n';
    column = 0;
  }
  out += std::string(indent - column, ' ');
  column = indent;
  bool is_line_start = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (!is_line_start && column + 1 + word.size() > kTextColumns) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
      is_line_start = true;
    }
    out += is_line_start ? std::string(word) : " " + std::string(word);
    column += word.size() + (is_line_start ? 0 : 1);
    is_line_start = false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + "\n";
}

std::string names_of(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) {
    names += (names.empty() ? "-" : ", -") + name;
  }
  for (const std::string& name : option.get_lnames()) {
    names += (names.empty() ? "    --" : ", --") + name;
  }
  const std::string& value = option.get_option_text();
  return value.empty() ? names : names + " " + value;
}

std::string option_lines(const CLI::App& app, const std::string& group) {
  std::string lines;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional() && option->get_group() == group) {
      lines += two_columns("  " + names_of(*option), option->get_description(), kNameColumns);
    }
  }
  return lines;
}

std::string positional_lines(const CLI::App& app) {
  std::string lines;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() && !option->get_group().empty()) {
      lines +=
          two_columns("  " + option->get_option_text(), option->get_description(), kNameColumns);
    }
  }
  return lines;
}

// "quire save [OPTION]... --output FILE PATH...": what cannot be left out, then the rest.
std::string usage_of(const CLI::App& app) {
  std::string usage = "quire " + app.get_name() + " [OPTION]...";
  std::string positionals;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() && !option->get_group().empty()) {
      positionals += " " + option->get_option_text();
    } else if (option->get_required()) {
      usage += " --" + option->get_lnames().front() + " " + option->get_option_text();
    }
  }
  return usage + positionals;
}

std::string verb_help(const CLI::App& app) {
  std::string text = fmt::format("{}\n\nUsage: {}\n", app.get_description(), usage_of(app));
  if (const std::string positionals = positional_lines(app); !positionals.empty()) {
    text += "\n" + positionals;
  }
  for (const char* group : {"Options", "Output"}) {
    if (const std::string lines = option_lines(app, group); !lines.empty()) {
      text += fmt::format("\n{}:\n{}", group, lines);
    }
  }
  return text + fmt::format("\n{}\n", app.get_footer());
}

std::string command_help(const CLI::App& app) {
  std::string text = fmt::format("quire: {}\n\nUsage: quire VERB [OPTION]... [PATH]...\n\n",
                                 app.get_description());
  for (const CLI::App* verb : verbs_of(app)) {
    text += two_columns("  " + verb->get_name(), verb->get_description(), 12);
  }
  return text + fmt::format("\n{}\n{}", option_lines(app, "Options"),
                            "Each verb explains itself: quire VERB --help. More: man quire\n");
}

std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

const CLI::App* chosen_verb(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? nullptr : chosen.front();
}

std::vector<std::string> long_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : named_options_of(verb)) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

std::string suggestion(const std::string& candidate) {
  return candidate.empty() ? "" : fmt::format("; did you mean '{}'?", candidate);
}

std::string explain_first_word(const CLI::App& app, const std::string& word) {
  if (word.starts_with("-")) {
    return fmt::format("unknown option '{}'{}", word, suggestion(nearest(word, long_names(app))));
  }
  std::vector<std::string> names;
  for (const CLI::App* verb : verbs_of(app)) {
    names.push_back(verb->get_name());
  }
  return fmt::format("unknown verb '{}'{}", word, suggestion(nearest(word, names)));
}

// The first argument with a dash that the verb does not have.
std::string unknown_option(const CLI::App& verb, const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--") {
      break;
    }
    const std::string option = argument.substr(0, argument.find('='));
    if (option.size() > 1 && option.front() == '-' && verb.get_option_no_throw(option) == nullptr) {
      return option;
    }
  }
  return {};
}

}  // namespace

void set_help_style(CLI::App& app) {
  app.formatter_fn([](const CLI::App* which, const std::string&, CLI::AppFormatMode) {
    return which->get_parent() == nullptr ? command_help(*which) : verb_help(*which);
  });
  app.set_help_flag("-h,--help", "Print this text and exit");
}

std::string chosen_name(const CLI::App& app) {
  const CLI::App* verb = chosen_verb(app);
  return verb == nullptr ? "" : verb->get_name();
}

std::string help_of_chosen(const CLI::App& app) {
  const CLI::App* verb = chosen_verb(app);
  return verb == nullptr ? app.help() : verb->help();
}

std::string explain(const CLI::App& app, const CLI::ParseError& error,
                    const std::vector<std::string>& arguments) {
  const CLI::App* verb = chosen_verb(app);
  if (verb == nullptr) {
    return arguments.empty() ? error.what() : explain_first_word(app, arguments.front());
  }
  if (const auto* extras = dynamic_cast<const CLI::ExtrasError*>(&error); extras != nullptr) {
    const std::string option = unknown_option(*verb, arguments);
    if (!option.empty()) {
      return fmt::format("unknown option '{}'{}", option,
                         suggestion(nearest(option, long_names(*verb))));
    }
  }
  return error.what();
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
}

std::vector<const CLI::Option*> named_options_of(const CLI::App& verb) {
  return verb.get_options([](const CLI::Option* option) { return !option->get_positional(); });
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = kNearDistanceMax + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace quire::cli
