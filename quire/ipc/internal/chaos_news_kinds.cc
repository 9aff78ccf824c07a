// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include "quire/ipc/blackboard.h"
#include "quire/ipc/broadcast.h"
#include "quire/ipc/internal/chaos_news.h"

namespace quire::ipc::internal {
namespace {

// Small enough that viewers are overtaken all the time.
constexpr std::uint64_t kObjects = 16;

struct ChaosObject {
  std::array<std::byte, 200> bytes;
};
using Objects = Broadcast<ChaosObject>;
using Latest = Blackboard<ChaosObject>;

ChaosObject to_object(const ChaosMessage& message) noexcept {
  ChaosObject object{};
  message.write_to(object.bytes);
  return object;
}

// In place and by copy in turn.
class BroadcastWriter final : public ChaosWriter {
 public:
  explicit BroadcastWriter(Objects::Writer writer) : writer_(std::move(writer)) {}
  Result<void> send(const ChaosMessage& message, const WaitOptions& /*options*/) override {
    if (message.number % 2 == 0) {
      writer_.publish(to_object(message));
    } else {
      message.write_to(writer_.begin().bytes);
      writer_.commit();
    }
    return {};
  }

 private:
  Objects::Writer writer_;
};

class BroadcastViewer final : public ChaosViewer {
 public:
  explicit BroadcastViewer(Objects::Reader reader) : reader_(std::move(reader)) {}
  Result<ChaosSight> look(const WaitOptions& options) override {
    if (const ChaosObject* object = ++looks_ % 2 == 0 ? reader_.peek() : nullptr) {
      copy_ = *object;
      if (reader_.finish()) {
        return sight(reader_.news());
      }
    }
    return sight(QUIRE_TRY(reader_.read(copy_, options)));
  }
  bool is_sound() override { return !reader_.is_corrupt() && reader_.check_invariants(); }

 private:
  [[nodiscard]] ChaosSight sight(const News& news) const noexcept {
    return {.bytes = copy_.bytes, .number = news.number, .missed = news.missed};
  }

  Objects::Reader reader_;
  ChaosObject copy_{};
  std::uint64_t looks_ = 0;
};

class BlackboardWriter final : public ChaosWriter {
 public:
  explicit BlackboardWriter(Latest::Writer writer) : writer_(std::move(writer)) {}
  Result<void> send(const ChaosMessage& message, const WaitOptions& /*options*/) override {
    writer_.write(to_object(message));
    return {};
  }

 private:
  Latest::Writer writer_;
};

class BlackboardViewer final : public ChaosViewer {
 public:
  explicit BlackboardViewer(Latest::Reader reader) : reader_(std::move(reader)) {}
  Result<ChaosSight> look(const WaitOptions& options) override {
    for (;;) {
      // The first look takes what is there.
      if (version_ != 0) {
        QUIRE_TRY(reader_.wait_for_change(options));
      }
      const auto version = reader_.read(copy_);
      if (version && *version > 0) {
        const std::uint64_t missed = version_ == 0 ? 0 : *version - version_ - 1;
        version_ = *version;
        return ChaosSight{.bytes = copy_.bytes, .number = *version, .missed = missed};
      }
      if (!version && version.error().code() != std::errc::resource_unavailable_try_again) {
        return fail(version.error());
      }
      QUIRE_TRY(reader_.wait_for_change(options));
    }
  }
  bool is_sound() override { return reader_.check_invariants(); }

 private:
  Latest::Reader reader_;
  ChaosObject copy_{};
  std::uint64_t version_ = 0;
};

}  // namespace

std::vector<ChaosNewsKind> chaos_news() {
  return {
      {.name = "broadcast",
       .object =
           [](const std::string& name) { return Objects::object(name, {.capacity = kObjects}); },
       .open_writer = [](const Segment& segment,
                         const std::string& name) -> Result<std::unique_ptr<ChaosWriter>> {
         return std::make_unique<BroadcastWriter>(QUIRE_TRY(Objects::writer(segment, name)));
       },
       .open_viewer = [](const Segment& segment, const std::string& name,
                         bool from_oldest) -> Result<std::unique_ptr<ChaosViewer>> {
         const auto from = from_oldest ? Objects::From::kOldest : Objects::From::kNewest;
         return std::make_unique<BroadcastViewer>(QUIRE_TRY(Objects::reader(segment, name, from)));
       }},
      {.name = "blackboard",
       .shows_latest = true,
       .object = [](const std::string& name) { return Latest::object(name); },
       .open_writer = [](const Segment& segment,
                         const std::string& name) -> Result<std::unique_ptr<ChaosWriter>> {
         return std::make_unique<BlackboardWriter>(QUIRE_TRY(Latest::writer(segment, name)));
       },
       .open_viewer = [](const Segment& segment, const std::string& name,
                         bool /*from_oldest*/) -> Result<std::unique_ptr<ChaosViewer>> {
         return std::make_unique<BlackboardViewer>(QUIRE_TRY(Latest::reader(segment, name)));
       }}};
}

}  // namespace quire::ipc::internal
