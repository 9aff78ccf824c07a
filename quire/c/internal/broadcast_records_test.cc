// SPDX-License-Identifier: Apache-2.0
//
// Records of C and objects of C++ are the same in shared memory: a segment that one language has
// made, the other one opens, and each reads what the other one publishes.
#include "quire/c/internal/broadcast_records.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <utility>

#include "quire/c/broadcast.h"
#include "quire/ipc/blackboard.h"
#include "quire/ipc/broadcast.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/semaphore.h"
#include "quire/sys/descriptor.h"

namespace quire::c {
namespace {

// From less than a slot's first line to more than a page.
template <std::size_t kWords>
struct Words {
  std::array<std::uint64_t, kWords> words{};
};

struct Sizes {
  std::uint64_t record_bytes = 0;
  std::uint64_t records = 0;
  std::uint32_t units = 0;
};

quire_object object_of(const char* name, std::uint32_t kind, const Sizes& sizes) {
  quire_object object{};
  object.name = name;
  object.kind = kind;
  object.units = sizes.units;
  object.capacity_records = sizes.records;
  object.record_bytes = sizes.record_bytes;
  return object;
}

template <typename T>
class BroadcastRecordsTest : public ::testing::Test {
 protected:
  using Broadcast = ipc::Broadcast<T>;
  using Blackboard = ipc::Blackboard<T>;

  void SetUp() override {
    const std::array<quire_object, 4> objects{
        object_of("news", QUIRE_OBJECT_BROADCAST, {.record_bytes = sizeof(T), .records = 5}),
        object_of("usual", QUIRE_OBJECT_BROADCAST, {.record_bytes = sizeof(T)}),
        object_of("board", QUIRE_OBJECT_BLACKBOARD, {.record_bytes = sizeof(T)}),
        object_of("places", QUIRE_OBJECT_SEMAPHORE, {.units = 3})};
    ASSERT_EQ(quire_segment_make_anonymous(objects.data(), objects.size(), nullptr, &c_, nullptr),
              QUIRE_OK);
    ipc::Layout layout;
    layout.add(Broadcast::object("news", {.capacity = 5}));
    layout.add(Broadcast::object("usual", {}));
    layout.add(Blackboard::object("board"));
    layout.add(ipc::Semaphore::object("places", {.units = 3}));
    Result<ipc::Segment> adopted = ipc::Segment::adopt(
        sys::duplicate(quire_segment_descriptor(c_)).value(), layout);  // kChanged if they differ.
    ASSERT_TRUE(adopted.has_value()) << adopted.error().message();
    cpp_.emplace(*std::move(adopted));
  }
  void TearDown() override { quire_segment_free(c_); }

  static T filled(std::uint64_t value) {
    T object;
    object.words.fill(value);
    return object;
  }

  quire_segment* c_ = nullptr;
  std::optional<ipc::Segment> cpp_;
};

using Lengths = ::testing::Types<Words<1>, Words<3>, Words<7>, Words<8>, Words<600>>;
TYPED_TEST_SUITE(BroadcastRecordsTest, Lengths);

TYPED_TEST(BroadcastRecordsTest, WhatCppPublishesCReads) {
  auto writer = TestFixture::Broadcast::writer(*this->cpp_, "news").value();
  quire_broadcast_reader* reader = nullptr;
  ASSERT_EQ(quire_broadcast_reader_open(this->c_, "news", QUIRE_FROM_OLDEST, &reader, nullptr),
            QUIRE_OK);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    writer.publish(TestFixture::filled(i));
    TypeParam read;
    ASSERT_EQ(quire_broadcast_reader_read(reader, &read, sizeof read, 0, nullptr, nullptr),
              QUIRE_OK);
    EXPECT_EQ(read.words, TestFixture::filled(i).words);
  }
  quire_broadcast_reader_free(reader);
}

TYPED_TEST(BroadcastRecordsTest, WhatCPublishesCppReads) {
  quire_broadcast_writer* writer = nullptr;
  ASSERT_EQ(quire_broadcast_writer_open(this->c_, "usual", &writer, nullptr), QUIRE_OK);
  auto reader = TestFixture::Broadcast::reader(*this->cpp_, "usual").value();
  for (std::uint64_t i = 1; i <= 200; ++i) {
    const TypeParam object = TestFixture::filled(i);
    ASSERT_EQ(quire_broadcast_writer_publish(writer, &object, sizeof object, nullptr), QUIRE_OK);
    TypeParam read;
    ASSERT_TRUE(reader.try_read(read));
    EXPECT_EQ(read.words, object.words);
  }
  EXPECT_TRUE(reader.check_invariants());
  quire_broadcast_writer_free(writer);
}

TYPED_TEST(BroadcastRecordsTest, ABlackboardIsOneForBoth) {
  quire_blackboard_writer* c_writer = nullptr;
  quire_blackboard_reader* c_reader = nullptr;
  auto cpp_reader = TestFixture::Blackboard::reader(*this->cpp_, "board").value();
  ASSERT_EQ(quire_blackboard_writer_open(this->c_, "board", &c_writer, nullptr), QUIRE_OK);
  ASSERT_EQ(quire_blackboard_reader_open(this->c_, "board", &c_reader, nullptr), QUIRE_OK);
  TypeParam object = TestFixture::filled(17);
  ASSERT_EQ(quire_blackboard_writer_write(c_writer, &object, sizeof object, nullptr), QUIRE_OK);
  quire_blackboard_writer_free(c_writer);
  TypeParam read;
  EXPECT_EQ(cpp_reader.read(read).value(), 1U);
  EXPECT_EQ(read.words, object.words);
  TestFixture::Blackboard::writer(*this->cpp_, "board").value().write(TestFixture::filled(18));
  std::uint64_t version = 0;
  ASSERT_EQ(quire_blackboard_reader_read(c_reader, &read, sizeof read, &version, nullptr),
            QUIRE_OK);
  EXPECT_EQ(version, 2U);
  EXPECT_EQ(read.words, TestFixture::filled(18).words);
  quire_blackboard_reader_free(c_reader);
}

}  // namespace
}  // namespace quire::c
