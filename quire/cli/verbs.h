// SPDX-License-Identifier: Apache-2.0
//
// verbs: each is one file that adds itself to the command line. The order here is the order of the
// table that `quire` prints.
//
// Thread-safety: called once, by main().
#pragma once

namespace CLI {
class App;
}

namespace quire::cli {

class Session;

void add_doctor(CLI::App& app, Session& session);
void add_map(CLI::App& app, Session& session);
void add_warm(CLI::App& app, Session& session);
void add_evict(CLI::App& app, Session& session);
void add_lock(CLI::App& app, Session& session);
void add_save(CLI::App& app, Session& session);
void add_restore(CLI::App& app, Session& session);
void add_compare(CLI::App& app, Session& session);
void add_cp(CLI::App& app, Session& session);
void add_send(CLI::App& app, Session& session);
void add_receive(CLI::App& app, Session& session);
void add_journal(CLI::App& app, Session& session);
void add_recover(CLI::App& app, Session& session);
void add_ipc(CLI::App& app, Session& session);
void add_simulate(CLI::App& app, Session& session);
// Hidden: prints a shell's completion script, made from the options above.
void add_completion(CLI::App& app, Session& session);

}  // namespace quire::cli
