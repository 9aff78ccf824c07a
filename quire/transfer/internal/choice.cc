// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/choice.h"

#include <fmt/format.h>

#include <algorithm>

namespace quire::internal {
namespace {

using Method = TransferMethod;

// Empty when the method can be tried on this pair; else why it is not even worth a system call.
std::string why_not(Method method, const SourceEnd& source, const TargetEnd& target) {
  const auto needs_file_source = [&]() -> std::string {
    return source.is_placed()
               ? ""
               : fmt::format("its source must be a file, not {}", describe(source.status.kind));
  };
  const auto needs_files = [&]() -> std::string {
    return source.is_regular() && target.is_regular()
               ? ""
               : "both ends must be regular files, opened without O_APPEND";
  };
  const auto needs_stream_socket = [&]() -> std::string {
    return target.is_socket() && target.socket.is_stream ? needs_file_source()
                                                         : "its target must be a stream socket";
  };
  const bool maps =
      method == Method::kMapWrite || method == Method::kZeroCopySend || method == Method::kRingSend;
  if (maps && source.is_placed() && !source.is_sized) {
    return "its source tells no size, so it cannot be mapped";
  }
  switch (method) {
    case Method::kDirect:
    case Method::kMapWrite:
    case Method::kSendFile: return needs_file_source();
    case Method::kCopyFileRange:
    case Method::kReflink:
      return target.is_placed() ? needs_files()
                                : "its target is opened with "
                                  "O_APPEND, or is no file";
    case Method::kZeroCopySend:
    case Method::kRingSend: return needs_stream_socket();
    case Method::kSplice:
    case Method::kReadWrite:
    case Method::kAutomatic: break;
  }
  return "";
}

// Whether the peer can see the source's own pages, and with them later changes.
bool shares_pages(Method method, const SourceEnd& source, const TargetEnd& target) {
  const bool is_kept = target.is_pipe() || target.is_socket();
  switch (method) {
    case Method::kSendFile:
    case Method::kZeroCopySend:
    case Method::kRingSend: return is_kept;
    case Method::kSplice: return is_kept && (source.is_placed() || source.is_pipe());
    default: return false;
  }
}

Choice choose_for_file(const SourceEnd& source, const TargetEnd& target,
                       const TransferOptions& options) {
  if (!source.is_sized) {
    return {{Method::kReadWrite}, "the source tells no size: only reading finds its end"};
  }
  if (target.is_socket()) {
    return {{Method::kSendFile, Method::kSplice, Method::kReadWrite},
            "a file's pages go to a socket as they are"};
  }
  if (target.is_pipe()) {
    return {{Method::kSplice, Method::kSendFile, Method::kReadWrite},
            "a pipe takes references to a file's pages"};
  }
  if (!source.is_regular() || !target.is_regular() || !target.is_placed()) {
    return {{Method::kSendFile, Method::kReadWrite}, "the kernel copies from the page cache"};
  }
  if (source.status.device != target.status.device) {
    return {{Method::kSendFile, Method::kCopyFileRange, Method::kReadWrite},
            "two file systems share no blocks: the kernel copies from page to page"};
  }
  if (options.holes == Holes::kFill) {
    return {{Method::kSendFile, Method::kReadWrite}, "holes are to be filled with zeros"};
  }
  if (!may_share_blocks(target.file_system)) {
    return {{Method::kCopyFileRange, Method::kSendFile, Method::kReadWrite},
            fmt::format("{} shares no blocks: the kernel copies from page to page",
                        target.file_system)};
  }
  return {{Method::kReflink, Method::kCopyFileRange, Method::kSendFile, Method::kReadWrite},
          "two files of one file system may share their blocks"};
}

Choice choose_automatically(const SourceEnd& source, const TargetEnd& target,
                            const TransferOptions& options) {
  if (source.is_placed()) {
    return choose_for_file(source, target, options);
  }
  if (source.is_pipe()) {
    return {{Method::kSplice, Method::kReadWrite}, "what a pipe holds can move as it is"};
  }
  if (source.is_socket() && target.is_pipe()) {
    return {{Method::kSplice, Method::kReadWrite}, "a pipe takes what a socket received"};
  }
  return {{Method::kReadWrite},
          fmt::format("from {} to {} everything else copies as often or "
                      "more",
                      describe(source.status.kind), describe(target.status.kind))};
}

}  // namespace

Result<Choice> choose_methods(const SourceEnd& source, const TargetEnd& target,
                              const TransferOptions& options) {
  if (options.method != Method::kAutomatic) {
    if (std::string why = why_not(options.method, source, target); !why.empty()) {
      return fail(
          make_error(Errc::kUnsupported, fmt::format("transfer by {}", name_of(options.method)),
                     describe(source, target), std::move(why), "leave the method to quire"));
    }
    return Choice{{options.method}, "asked for by name"};
  }
  Choice choice = choose_automatically(source, target, options);
  std::erase_if(choice.methods,
                [&](Method method) { return !why_not(method, source, target).empty(); });
  if (options.stability == SourceStability::kMayChange &&
      shares_pages(choice.methods.front(), source, target)) {
    std::erase_if(choice.methods,
                  [&](Method method) { return shares_pages(method, source, target); });
    choice.reason = "the source may change while it travels: its pages must not be shared";
  }
  return choice;
}

std::string reason_after(TransferMethod refused, const std::string& cause) {
  return fmt::format("{} was refused ({})", name_of(refused), cause);
}

}  // namespace quire::internal
