// SPDX-License-Identifier: Apache-2.0
//
// What it costs to send a file that is in memory: every method over loopback TCP and over a UNIX
// socket, against the loop that everybody writes. The goal: the method that transfer() chooses by
// itself takes at most 0.6 of that loop's processor seconds per GiB, on the sender's side.
//
//   plain_loop   read(2) into 128 KiB, write(2) of it: what cp, scp and the like do
//   automatic    transfer() with no method named
//   the others   transfer() by that method
//
// The receiver is a process of its own, the same for all: transfer() from the socket to /dev/null;
// its cost stands beside. On the loopback the sender's system calls do part of the receiver's work
// (the kernel delivers what is sent on the spot), so both sides together are the honest sum, and
// zero copy always copies: the share that the kernel says it copied is printed. The processors
// bind, and the memory bus.
//
//   transfer_bench [--dir=DIR] [--size-mib=N] [--rounds=N] [--json]
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <vector>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/transfer/transfer.h"

namespace quire::bench {
namespace {

constexpr double kGoal = 0.6;

struct Ends {
  sys::Descriptor near;
  sys::Descriptor far;
};

Ends unix_ends() {
  std::array<int, 2> ends{};
  QUIRE_CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {sys::Descriptor(ends[0]), sys::Descriptor(ends[1])};
}

Ends tcp_ends() {
  const sys::Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  QUIRE_CHECK_EQ(bind(listener.get(), raw, length), 0);
  QUIRE_CHECK_EQ(listen(listener.get(), 1), 0);
  QUIRE_CHECK_EQ(getsockname(listener.get(), raw, &length), 0);
  Ends ends{sys::Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  QUIRE_CHECK_EQ(connect(ends.near.get(), raw, length), 0);
  ends.far = sys::Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  QUIRE_CHECK(ends.far.is_open());
  return ends;
}

// Takes so many bytes, and drops them.
pid_t start_receiver(Ends& ends, std::uint64_t size_bytes) {
  const pid_t child = fork();
  QUIRE_CHECK_GE(child, 0);
  if (child == 0) {
    static_cast<void>(ends.near.close());
    const sys::Descriptor nothing(open("/dev/null", O_WRONLY | O_CLOEXEC));
    const auto taken =
        transfer({.fd = ends.far.get(), .range = {.offset_bytes = 0, .length_bytes = size_bytes}},
                 {.fd = nothing.get()}, {.method = TransferMethod::kReadWrite});
    _exit(taken ? 0 : 1);
  }
  static_cast<void>(ends.far.close());
  return child;
}

// Sends the whole file; the bytes that our side's processor copied, where that is known.
using Send = std::function<std::optional<std::uint64_t>(int file, int socket)>;

struct Row {
  std::string name;
  Send send;
  Samples sender_cpu_s_per_gib = {};
  Samples both_cpu_s_per_gib = {};
  Samples gib_per_second = {};
  std::optional<double> copied_share = {};
};

std::optional<std::uint64_t> loop_plainly(int file, int socket) {
  std::vector<char> buffer(std::size_t{128} << 10);
  std::uint64_t copied = 0;
  QUIRE_CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
  for (;;) {
    const ssize_t got = read(file, buffer.data(), buffer.size());
    QUIRE_CHECK_GE(got, 0);
    if (got == 0) {
      return copied;
    }
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = write(socket, buffer.data() + done, static_cast<std::size_t>(got - done));
      QUIRE_CHECK_GT(put, 0);
      done += put;
    }
    copied += 2 * static_cast<std::uint64_t>(got);
  }
}

Send by_method(TransferMethod method) {
  return [method](int file, int socket) {
    return transfer({.fd = file}, {.fd = socket}, {.method = method}).value().bytes_copied_by_cpu;
  };
}

std::vector<Row> rows_for(bool is_tcp) {
  std::vector<Row> rows{{"plain_loop", loop_plainly}};
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    const auto method = static_cast<TransferMethod>(i);
    const bool is_for_files =
        method == TransferMethod::kCopyFileRange || method == TransferMethod::kReflink;
    const bool is_for_tcp =
        method == TransferMethod::kZeroCopySend || method == TransferMethod::kRingSend;
    // Direct reads go to the disk: that is another question (direct_bench).
    if (!is_for_files && method != TransferMethod::kDirect && (is_tcp || !is_for_tcp)) {
      rows.push_back({name_of(method), by_method(method)});
    }
  }
  return rows;
}

class TransferBench {
 public:
  TransferBench(const std::string& directory, const Arguments& arguments)
      : path_(directory + "/transfer_bench.data"),
        size_bytes_(arguments.number("size-mib", 512) << 20),
        rounds_(arguments.number("rounds", 9)) {
    file_ =
        sys::open_file(path_.c_str(), {.write = true, .create = true, .truncate = true}).value();
    QUIRE_CHECK(sys::unlink_path(path_.c_str()).has_value());
    write_random(file_.get(), size_bytes_);
  }

  nlohmann::json run() {
    nlohmann::json report{{"benchmark", "transfer"},
                          {"size_bytes", size_bytes_},
                          {"goal", kGoal},
                          {"machine", machine_facts()}};
    bool within_goal = true;
    for (const bool is_tcp : {true, false}) {
      std::vector<Row> rows = rows_for(is_tcp);
      take_turns(rows, rounds_, [&](Row& row, bool counts) { run_row(row, is_tcp, counts); });
      nlohmann::json part = report_of(rows);
      within_goal = within_goal && part["automatic_to_plain_loop"]["median"] <= kGoal;
      report[is_tcp ? "tcp" : "unix"] = std::move(part);
    }
    report["within_goal"] = within_goal;
    return report;
  }

 private:
  void run_row(Row& row, bool is_tcp, bool counts) {
    Ends ends = is_tcp ? tcp_ends() : unix_ends();
    const pid_t receiver = start_receiver(ends, size_bytes_);
    double sender = 0;
    double both = 0;
    std::optional<std::uint64_t> copied;
    const double seconds = seconds_of([&] {
      sender = cost_of([&] { copied = row.send(file_.get(), ends.near.get()); }).cpu_seconds;
      QUIRE_CHECK_EQ(shutdown(ends.near.get(), SHUT_WR), 0);
      both = sender + wait_for_child(receiver);
    });
    if (counts) {
      const double gibibytes = static_cast<double>(size_bytes_) / kGibibyte;
      row.sender_cpu_s_per_gib.add(sender / gibibytes);
      row.both_cpu_s_per_gib.add(both / gibibytes);
      row.gib_per_second.add(gibibytes / seconds);
      if (copied) {
        row.copied_share = static_cast<double>(*copied) / static_cast<double>(size_bytes_);
      }
    }
  }

  static nlohmann::json report_of(const std::vector<Row>& rows) {
    nlohmann::json contenders;
    for (const Row& row : rows) {
      contenders[row.name] = {{"sender_cpu_s_per_gib", row.sender_cpu_s_per_gib.to_json()},
                              {"both_cpu_s_per_gib", row.both_cpu_s_per_gib.to_json()},
                              {"gib_per_second", row.gib_per_second.to_json()},
                              {"copies_per_byte", nullptr}};
      if (row.copied_share) {
        contenders[row.name]["copies_per_byte"] = *row.copied_share;
      }
    }
    const Row& plain = rows.at(0);
    const Row& automatic = rows.at(1);
    return {{"contenders", contenders},
            {"automatic_to_plain_loop",
             ratio(automatic.sender_cpu_s_per_gib, plain.sender_cpu_s_per_gib).to_json()},
            {"automatic_to_plain_loop_both_sides",
             ratio(automatic.both_cpu_s_per_gib, plain.both_cpu_s_per_gib).to_json()}};
  }

  std::string path_;
  std::uint64_t size_bytes_;
  std::size_t rounds_;
  sys::Descriptor file_;
};

void print_text(const nlohmann::json& report) {
  for (const char* kind : {"tcp", "unix"}) {
    const nlohmann::json& part = report[kind];
    fmt::print("{} over the loopback\n", kind);
    for (const auto& [name, row] : part["contenders"].items()) {
      const std::string copies = row["copies_per_byte"].is_null()
                                     ? "unknown"
                                     : fmt::format("{:.2f}", row["copies_per_byte"].get<double>());
      fmt::print(
          "  {:<13} sender {:.3f} CPU s/GiB (spread {:4.1f} %)  both {:.3f}  {:5.2f} GiB/s  "
          "copies {}\n",
          name, row["sender_cpu_s_per_gib"]["median"].get<double>(),
          100 * row["sender_cpu_s_per_gib"]["spread"].get<double>(),
          row["both_cpu_s_per_gib"]["median"].get<double>(),
          row["gib_per_second"]["median"].get<double>(), copies);
    }
    for (const char* name : {"automatic_to_plain_loop", "automatic_to_plain_loop_both_sides"}) {
      fmt::print("  {:<36} {:.2f} (spread {:.1f} %)\n", name, part[name]["median"].get<double>(),
                 100 * part[name]["spread"].get<double>());
    }
  }
  fmt::print("goal: automatic_to_plain_loop <= {}: {}\n", kGoal,
             kept_or_missed(report["within_goal"]));
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::kDirectory, {"size-mib=N", "length of the file"}, quire::bench::kRounds});
  return quire::bench::finish(
      arguments, quire::bench::TransferBench(arguments.text("dir", "."), arguments).run(),
      quire::bench::print_text);
}
