// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "quire/cli/help.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"

namespace quire::cli {
namespace {

// What may follow an option: "auto|always|never" are words, anything else is a value or nothing.
bool is_word_list(const std::string& value) {
  return value.find('|') != std::string::npos;
}

std::string words_of(std::string value) {
  for (char& character : value) {
    character = character == '|' ? ' ' : character;
  }
  return value;
}

std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> all;
  for (const std::string& name : option.get_snames()) {
    all.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    all.push_back("--" + name);
  }
  return all;
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char character : text) {
    out += character == '\'' ? std::string("'\\''") : std::string(1, character);
  }
  return out + "'";
}

std::string bash_options(const CLI::App& verb) {
  std::string words;
  for (const CLI::Option* option : named_options_of(verb)) {
    for (const std::string& name : spellings(*option)) {
      words += words.empty() ? name : " " + name;
    }
  }
  return words;
}

std::string bash_script(const CLI::App& app) {
  std::string verbs;
  std::string cases;
  std::string values;
  for (const CLI::App* verb : verbs_of(app)) {
    verbs += verb->get_name() + " ";
    cases += fmt::format("    {}) words=\"{}\" ;;\n", verb->get_name(), bash_options(*verb));
  }
  for (const CLI::Option* option : named_options_of(*verbs_of(app).front())) {
    if (is_word_list(option->get_option_text())) {
      values +=
          fmt::format("    --{}) COMPREPLY=($(compgen -W \"{}\" -- \"$current\")); return ;;\n",
                      option->get_lnames().front(), words_of(option->get_option_text()));
    }
  }
  return fmt::format(R"(# bash completion for quire; made by `quire completion bash`
_quire() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{}{}" -- "$current"))
    return
  fi
  case $previous in
{}  esac
  case ${{COMP_WORDS[1]}} in
{}  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) COMPREPLY=() ;;
  esac
}}
complete -o default -o bashdefault -F _quire quire
)",
                     verbs, bash_options(app), values, cases);
}

std::string zsh_option(const CLI::Option& option) {
  std::string lines;
  const std::string& value = option.get_option_text();
  for (const std::string& name : spellings(option)) {
    std::string spec = name + "[" + option.get_description() + "]";
    if (is_word_list(value)) {
      spec += ":value:(" + words_of(value) + ")";
    } else if (!value.empty()) {
      spec += ":" + value + ":" + (value == "FILE" ? "_files" : "");
    }
    lines += "        " + shell_quoted(spec) + " \\\n";
  }
  return lines;
}

std::string zsh_script(const CLI::App& app) {
  std::string verbs;
  std::string cases;
  for (const CLI::App* verb : verbs_of(app)) {
    verbs += "    " + shell_quoted(verb->get_name() + ":" + verb->get_description()) + "\n";
    cases += "    " + verb->get_name() + ")\n      _arguments -S \\\n";
    for (const CLI::Option* option : named_options_of(*verb)) {
      cases += zsh_option(*option);
    }
    cases += "        '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef quire
# zsh completion for quire; made by `quire completion zsh`
_quire() {{
  local -a verbs
  verbs=(
{})
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{}  esac
}}
_quire "$@"
)",
                     verbs, cases);
}

std::string fish_script(const CLI::App& app) {
  std::string lines = "# fish completion for quire; made by `quire completion fish`\n";
  for (const CLI::App* verb : verbs_of(app)) {
    lines += fmt::format("complete -c quire -f -n __fish_use_subcommand -a {} -d {}\n",
                         verb->get_name(), shell_quoted(verb->get_description()));
    for (const CLI::Option* option : named_options_of(*verb)) {
      lines +=
          fmt::format("complete -c quire -n '__fish_seen_subcommand_from {}'", verb->get_name());
      for (const std::string& name : option->get_snames()) {
        lines += " -s " + name;
      }
      for (const std::string& name : option->get_lnames()) {
        lines += " -l " + name;
      }
      if (is_word_list(option->get_option_text())) {
        lines += " -x -a " + shell_quoted(words_of(option->get_option_text()));
      }
      lines += " -d " + shell_quoted(option->get_description()) + "\n";
    }
  }
  return lines;
}

ExitCode run_completion(Session& session, const CLI::App& app, const std::string& shell) {
  session.output().write(shell == "bash"  ? bash_script(app)
                         : shell == "zsh" ? zsh_script(app)
                                          : fish_script(app));
  return ExitCode::kDone;
}

}  // namespace

void add_completion(CLI::App& app, Session& session) {
  const auto shell = std::make_shared<std::string>();
  CLI::App& verb = *app.add_subcommand("completion", "Print a completion script for a shell.");
  verb.group("");
  verb.footer("Example:\n  quire completion bash > /etc/bash_completion.d/quire");
  verb.add_option("SHELL", *shell, "The shell")
      ->option_text("bash|zsh|fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb.callback([&app, &session, shell] {
    session.choose("completion", [&app, shell](Session& running) {
      return run_completion(running, app, *shell);
    });
  });
}

}  // namespace quire::cli
