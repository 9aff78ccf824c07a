// SPDX-License-Identifier: Apache-2.0
//
// Each case is a mistake that the types forbid. CTest compiles this file once as it is (it must
// work) and once per case (it must not): see quire_must_not_compile.
#include <string>

#include "quire/map/writable_mapping.h"

namespace quire {

// Everything here that is not in a case is right, so that a case fails for its own reason.
inline void use(Mapping& map, WritableMapping& log) {
  log.bytes()[0] = map.bytes()[0];
  log.as<int>().value()[0] = map.as<int>().value()[0];
  const Mapping given_away = std::move(log);
#ifdef STORE_THROUGH_READ_ONLY_MAPPING
  map.bytes()[0] = std::byte{1};
#endif
#ifdef STORE_THROUGH_READ_ONLY_VIEW
  map.as<int>().value()[0] = 1;
#endif
#ifdef STORE_THROUGH_CONST_MAPPING
  static_cast<const WritableMapping&>(log).bytes()[0] = std::byte{1};
#endif
#ifdef RESIZE_READ_ONLY_MAPPING
  map.resize(1).value();
#endif
#ifdef FLUSH_READ_ONLY_MAPPING
  map.flush().value();
#endif
#ifdef VIEW_OF_NON_TRIVIAL_TYPE
  map.as<std::string>().value();
#endif
#ifdef COPY_MAPPING
  const Mapping copy = map;
#endif
}

}  // namespace quire
