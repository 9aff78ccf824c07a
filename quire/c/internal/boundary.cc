// SPDX-License-Identifier: Apache-2.0
#include "quire/c/internal/boundary.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "quire/map/map_options.h"

namespace quire::c {
namespace {

// The message buffers are part of the ABI, and the first version had them all.
static_assert(sizeof(quire_error) == 2048);

quire_code code_of(const std::error_code& code) noexcept {
  return code.category() == quire_category() ? code.value() : -code.value();
}

void write(quire_error* error, quire_code code, std::string_view message,
           std::string_view remedy) noexcept {
  if (error != nullptr) {
    error->code = code;
    error->system_errno = code < 0 ? -code : 0;
    copy_text(message, error->message);
    copy_text(remedy, error->remedy);
  }
}

bool is_continuation(char byte) noexcept {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

Result<void> check_memory(const char* operation, const char* argument, const void* first,
                          std::size_t length_bytes) {
  if (length_bytes == QUIRE_TO_END) {
    return fail(misuse(operation, argument, "no memory has that many bytes",
                       "pass the length of the memory; QUIRE_TO_END is for ranges of files"));
  }
  return length_bytes > 0 ? require(operation, {{argument, first}}) : Result<void>{};
}

}  // namespace

bool is_usable(const quire_error* error) noexcept {
  return error == nullptr ||
         (error->struct_size >= sizeof(quire_error) && error->struct_size <= kStructBytesMax);
}

quire_code tell_success(quire_error* error) noexcept {
  write(error, QUIRE_OK, {}, {});
  return QUIRE_OK;
}

quire_code tell(const Error& from, quire_error* error) {
  const quire_code code = code_of(from.code());
  if (error != nullptr) {
    write(error, code, from.message(), from.remedy());
  }
  return code;
}

quire_code tell_no_memory(const char* operation, quire_error* error) noexcept {
  write(error, -ENOMEM, operation, {});
  if (error != nullptr) {
    const std::size_t length = std::strlen(error->message);
    copy_text("(): no memory for it (ENOMEM)", std::span<char>(error->message).subspan(length));
  }
  return -ENOMEM;
}

Error misuse(const char* operation, const char* argument, std::string cause, std::string remedy) {
  return Error({.code = {EINVAL, std::system_category()},
                .operation = operation,
                .subject = argument,
                .cause = std::move(cause),
                .remedy = std::move(remedy)});
}

Result<void> require(const char* operation, std::initializer_list<PointerArgument> arguments) {
  for (const PointerArgument& argument : arguments) {
    if (argument.pointer == nullptr) {
      return fail(misuse(operation, argument.name, "it is NULL"));
    }
  }
  return {};
}

Result<std::span<std::byte>> to_span(const char* operation, const char* argument, void* first,
                                     std::size_t length_bytes) {
  QUIRE_TRY(check_memory(operation, argument, first, length_bytes));
  return std::span(static_cast<std::byte*>(first), length_bytes);
}

Result<std::span<const std::byte>> to_span(const char* operation, const char* argument,
                                           const void* first, std::size_t length_bytes) {
  QUIRE_TRY(check_memory(operation, argument, first, length_bytes));
  return std::span(static_cast<const std::byte*>(first), length_bytes);
}

Result<void> check_constant(const char* operation, const char* field, std::uint32_t value,
                            std::uint32_t last) {
  if (value > last) {
    return fail(misuse(operation, field, "it is " + std::to_string(value),
                       "the constants of this version end with " + std::to_string(last)));
  }
  return {};
}

Result<bool> to_bool(const char* operation, const char* field, std::uint32_t value) {
  QUIRE_TRY(check_constant(operation, field, value, 1));
  return value == 1;
}

Result<Creation> to_creation(const char* operation, std::uint32_t create) {
  QUIRE_TRY(check_constant(operation, "create", create, QUIRE_CREATE_EXCLUSIVE));
  return Creation{.create = create != QUIRE_CREATE_NEVER,
                  .exclusive = create == QUIRE_CREATE_EXCLUSIVE};
}

std::uint64_t to_reserve(std::uint64_t reserve_bytes) noexcept {
  if (reserve_bytes == 0) {
    return kReserveAutomatic;
  }
  return reserve_bytes == QUIRE_RESERVE_NONE ? 0 : reserve_bytes;
}

Result<void> check_size(const char* operation, const char* argument, std::uint32_t given_bytes,
                        std::size_t first_version_bytes) {
  if (given_bytes < first_version_bytes || given_bytes > kStructBytesMax) {
    return fail(misuse(operation, argument, "its struct_size is " + std::to_string(given_bytes),
                       "set it to sizeof of the structure, which had " +
                           std::to_string(first_version_bytes) + " bytes from the beginning"));
  }
  return {};
}

Result<void> copy_in(const char* operation, const char* argument, const void* from,
                     std::uint32_t given_bytes, std::span<std::byte> into) {
  const std::span given(static_cast<const std::byte*>(from), given_bytes);
  const std::size_t both_bytes = std::min(given.size(), into.size());
  const std::span beyond = given.subspan(both_bytes);
  if (std::ranges::any_of(beyond, [](std::byte byte) { return byte != std::byte{0}; })) {
    return fail(make_error(Errc::kUnsupported, operation, argument,
                           "it asks for something that this version does not know",
                           "leave what came after version " + std::string(quire_version()) +
                               " at zero, or use a later library"));
  }
  std::ranges::copy(given.first(both_bytes), into.begin());
  return {};
}

void copy_out(std::span<const std::byte> from, std::uint32_t given_bytes, void* into) noexcept {
  const std::span given(static_cast<std::byte*>(into), given_bytes);
  const std::size_t both_bytes = std::min(given.size(), from.size());
  std::ranges::copy(from.first(both_bytes), given.begin());
  std::ranges::fill(given.subspan(both_bytes), std::byte{0});
}

void copy_text(std::string_view from, std::span<char> into) noexcept {
  if (into.empty()) {
    return;
  }
  std::size_t length = std::min(from.size(), into.size() - 1);
  while (length > 0 && length < from.size() && is_continuation(from[length])) {
    --length;
  }
  std::ranges::copy(from.substr(0, length), into.begin());
  into[length] = '\0';
}

}  // namespace quire::c
