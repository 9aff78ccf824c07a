# SPDX-License-Identifier: Apache-2.0
#
# quire_floor(NAME SOURCES ... [DEPENDS ...] [PRIVATE_DEPENDS ...])
#
# One folder of quire/ as the library quire::NAME. DEPENDS are the floors below that its headers may
# include; PRIVATE_DEPENDS are libraries that only its sources use. Every header of the folder is
# installed, except those in internal/.
function(quire_floor name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS")
  add_library(quire_${name} STATIC ${arg_SOURCES})
  add_library(quire::${name} ALIAS quire_${name})
  set_target_properties(quire_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(quire_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(quire_${name} PUBLIC cxx_std_20)
  target_link_libraries(quire_${name}
    PUBLIC ${arg_DEPENDS}
    PRIVATE $<BUILD_INTERFACE:quire_build_flags> ${arg_PRIVATE_DEPENDS})
  if(QUIRE_INSTALL)
    install(TARGETS quire_${name} EXPORT quireTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/
      DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quire/${name}
      FILES_MATCHING PATTERN "*.h" PATTERN "internal" EXCLUDE)
  endif()
  set_property(GLOBAL APPEND PROPERTY QUIRE_FLOORS ${name})
endfunction()
