# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` puts where: libraries and headers (cmake/QuireFloor.cmake), the package
# files below, the command with its man page and completions (quire/cli).
include(CMakePackageConfigHelpers)

get_property(quire_floors GLOBAL PROPERTY QUIRE_FLOORS)
add_library(quire INTERFACE)
add_library(quire::quire ALIAS quire)
foreach(floor IN LISTS quire_floors)
  target_link_libraries(quire INTERFACE quire_${floor})
  list(PREPEND quire_pc_libs "-lquire_${floor}")
endforeach()
list(JOIN quire_pc_libs " " QUIRE_PC_LIBS)

if(NOT QUIRE_INSTALL)
  return()
endif()
install(TARGETS quire EXPORT quireTargets)
install(FILES quire/quire.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quire)
set(quire_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quire)
install(EXPORT quireTargets NAMESPACE quire:: DESTINATION ${quire_package_dir})
configure_package_config_file(cmake/quireConfig.cmake.in ${PROJECT_BINARY_DIR}/quireConfig.cmake
  INSTALL_DESTINATION ${quire_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/quireConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quireConfig.cmake ${PROJECT_BINARY_DIR}/quireConfigVersion.cmake
  DESTINATION ${quire_package_dir})

# Relative, so that the prefix may still be chosen, or changed, at installation.
set(quire_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH QUIRE_PC_TO_PREFIX /prefix/${quire_pc_dir} /prefix)
configure_file(cmake/quire.pc.in ${PROJECT_BINARY_DIR}/quire.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/quire.pc DESTINATION ${quire_pc_dir})
if(TARGET quire_shared)
  configure_file(cmake/quire-c.pc.in ${PROJECT_BINARY_DIR}/quire-c.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/quire-c.pc DESTINATION ${quire_pc_dir})
endif()
