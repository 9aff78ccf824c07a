// SPDX-License-Identifier: Apache-2.0
//
// boundary: where C meets C++: Results become codes, structures of any size become ours, and no
// exception gets through.
//
//   quire_code quire_mapping_resize(quire_mapping* mapping, uint64_t size_bytes,
//                                   quire_error* error) noexcept {
//     return run(__func__, error, [&](const char* operation) -> Result<void> {
//       QUIRE_TRY(require(operation, {{"mapping", mapping}}));
//       return QUIRE_TRY(writable(*mapping, operation))->resize(size_bytes);
//     });
//   }
//
// Structures. The caller's struct_size is what it was compiled with, ours is sizeof(T):
//
//   0 ... first version ... sizeof(T) ............ kStructBytesMax
//   |  EINVAL  |  rest is zero  |  rest must be zero   |  EINVAL
//
// Thread-safety: any thread.
// Errors:        misuse is EINVAL; no memory is ENOMEM, told without taking any.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/c/common.h"

namespace quire::c {

// --- Errors --------------------------------------------------------------------------------------

// Null, or of a size that this version can write to.
[[nodiscard]] bool is_usable(const quire_error* error) noexcept;
quire_code tell_success(quire_error* error) noexcept;
quire_code tell(const Error& from, quire_error* error);
quire_code tell_no_memory(const char* operation, quire_error* error) noexcept;

// operation(argument): cause; remedy. With EINVAL.
[[nodiscard]] Error misuse(const char* operation, const char* argument, std::string cause,
                           std::string remedy = {});

// Calls work(operation), which returns a Result<void>.
template <typename Work>
quire_code run(const char* operation, quire_error* error, Work&& work) noexcept {
  if (!is_usable(error)) {
    return -EINVAL;
  }
  try {
    const Result<void> done = work(operation);
    return done ? tell_success(error) : tell(done.error(), error);
  } catch (const std::bad_alloc&) {
    return tell_no_memory(operation, error);
  }
}

// --- Arguments -----------------------------------------------------------------------------------

struct PointerArgument {
  const char* name;
  const void* pointer;
};
// Errors: EINVAL naming the first one that is null.
[[nodiscard]] Result<void> require(const char* operation,
                                   std::initializer_list<PointerArgument> arguments);

// The same as run(), of a function that needs those pointers; `work` may do without the operation.
template <typename Work>
quire_code run(const char* operation, std::initializer_list<PointerArgument> needed,
               quire_error* error, Work&& work) noexcept {
  return run(operation, error, [&](const char* name) -> Result<void> {
    QUIRE_TRY(require(name, needed));
    if constexpr (std::is_invocable_v<Work, const char*>) {
      return work(name);
    } else {
      return work();
    }
  });
}

// Memory of the caller's. Errors: EINVAL for a null pointer to more than nothing, and for a length
// that no memory can have: it would be taken for QUIRE_TO_END.
[[nodiscard]] Result<std::span<std::byte>> to_span(const char* operation, const char* argument,
                                                   void* first, std::size_t length_bytes);
[[nodiscard]] Result<std::span<const std::byte>> to_span(const char* operation,
                                                         const char* argument, const void* first,
                                                         std::size_t length_bytes);

// Errors: EINVAL when `value` exceeds `last`.
[[nodiscard]] Result<void> check_constant(const char* operation, const char* field,
                                          std::uint32_t value, std::uint32_t last);

// The constants of the C API are the enumerators of E, from 0 to `last`.
template <typename E>
[[nodiscard]] Result<E> to_enum(const char* operation, const char* field, std::uint32_t value,
                                E last) {
  QUIRE_TRY(check_constant(operation, field, value, static_cast<std::uint32_t>(last)));
  return static_cast<E>(value);
}
[[nodiscard]] Result<bool> to_bool(const char* operation, const char* field, std::uint32_t value);

// Zero stands for the default.
template <typename T, typename Value>
void set_unless_zero(T& into, Value value) {
  if (value != 0) {
    into = T(value);
  }
}

// What `create` says.
struct Creation {
  bool create = false;
  bool exclusive = false;
};
[[nodiscard]] Result<Creation> to_creation(const char* operation, std::uint32_t create);

// reserve_bytes has another zero in C++.
[[nodiscard]] std::uint64_t to_reserve(std::uint64_t reserve_bytes) noexcept;

// What options of mappings and areas say alike about the file that may have to be made.
template <typename Options, typename Given>
[[nodiscard]] Result<void> fill_file(const char* operation, const Given& given, Options& options) {
  const Creation creation = QUIRE_TRY(to_creation(operation, given.create));
  options.create = creation.create;
  options.exclusive = creation.exclusive;
  set_unless_zero(options.create_mode, given.create_mode);
  options.minimum_bytes = given.minimum_bytes;
  options.reserve_bytes = to_reserve(given.reserve_bytes);
  using Space = decltype(options.space);
  options.space = QUIRE_TRY(to_enum(operation, "space", given.space, Space::kSparse));
  return {};
}

// --- Structures ----------------------------------------------------------------------------------

inline constexpr std::uint32_t kStructBytesMax = 4096;  // More is memory that nobody filled in.

// Of a structure that has grown: specialised, with the size that it was published with.
template <typename T>
inline constexpr std::size_t kFirstVersionBytes = sizeof(T);

[[nodiscard]] Result<void> check_size(const char* operation, const char* argument,
                                      std::uint32_t given_bytes, std::size_t first_version_bytes);
// Errors: kUnsupported when something beyond `known_bytes` is not zero.
[[nodiscard]] Result<void> copy_in(const char* operation, const char* argument, const void* from,
                                   std::uint32_t given_bytes, std::span<std::byte> into);
void copy_out(std::span<const std::byte> from, std::uint32_t given_bytes, void* into) noexcept;

// The caller's options as this version knows them; all zero for null.
template <typename T>
[[nodiscard]] Result<T> read_options(const char* operation, const char* argument, const T* given) {
  T options{};
  if (given != nullptr) {
    QUIRE_TRY(check_size(operation, argument, given->struct_size, kFirstVersionBytes<T>));
    QUIRE_TRY(copy_in(operation, argument, given, given->struct_size,
                      std::as_writable_bytes(std::span(&options, 1))));
  }
  return options;
}

// Whether results can be written, before anything is done.
template <typename T>
[[nodiscard]] Result<void> check_results(const char* operation, const char* argument,
                                         const T* into) {
  QUIRE_TRY(require(operation, {{argument, into}}));
  return check_size(operation, argument, into->struct_size, kFirstVersionBytes<T>);
}
template <typename T>
[[nodiscard]] Result<void> check_optional_results(const char* operation, const char* argument,
                                                  const T* into) {
  return into != nullptr ? check_results(operation, argument, into) : Result<void>{};
}
// REQUIRES: it is null, or was checked.
template <typename T>
void write_results(T results, T* into) noexcept {
  if (into != nullptr) {
    results.struct_size = into->struct_size;
    copy_out(std::as_bytes(std::span(&results, 1)), into->struct_size, into);
  }
}

// --- Handles and texts ---------------------------------------------------------------------------

// Calls make(operation), which returns a Result<Handle>, or, of one that cannot be moved, a
// Result<std::unique_ptr<Handle>>, and gives it to the caller.
template <typename Handle, typename Make>
quire_code make_handle(const char* operation, const char* argument, Handle** out,
                       quire_error* error, Make&& make) noexcept {
  if (out != nullptr) {
    *out = nullptr;
  }
  return run(operation, error, [&](const char* name) -> Result<void> {
    QUIRE_TRY(require(name, {{argument, static_cast<const void*>(out)}}));
    auto made = make(name);
    if (!made) {
      return fail(made.error());
    }
    if constexpr (std::is_same_v<decltype(made), Result<Handle>>) {
      *out = std::make_unique<Handle>(*std::move(made)).release();
    } else {
      *out = made->release();
    }
    return {};
  });
}

// As much as fits, whole characters, and a zero.
void copy_text(std::string_view from, std::span<char> into) noexcept;

// Calls explain(), which returns a string; gives the length of all of it, as snprintf().
template <typename Explain>
std::size_t give_text(char* text, std::size_t text_bytes, Explain&& explain) noexcept {
  const std::span<char> into(text, text != nullptr ? text_bytes : 0);
  try {
    const std::string whole = explain();
    copy_text(whole, into);
    return whole.size();
  } catch (const std::bad_alloc&) {
    copy_text({}, into);
    return 0;
  }
}

}  // namespace quire::c
