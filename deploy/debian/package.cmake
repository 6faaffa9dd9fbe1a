# The Debian package, by CPack: the programs, and what Debian wants beside them. `make deb`.
set(WAITD_DEBIAN_DIR ${CMAKE_CURRENT_LIST_DIR})
set(WAITD_DEBIAN_OUT ${PROJECT_BINARY_DIR}/debian)
find_program(WAITD_GZIP gzip REQUIRED)

# Policy wants these compressed; what `make install` brings is not.
set(WAITD_GZIPPED)
foreach(WHAT "man/waitd.8" "man/waitctl.1" "changelog")
  set(FROM ${PROJECT_BINARY_DIR}/${WHAT})
  if(WHAT STREQUAL "changelog")
    set(FROM ${WAITD_DEBIAN_DIR}/changelog)
  endif()
  add_custom_command(
    OUTPUT ${WAITD_DEBIAN_OUT}/${WHAT}.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${WAITD_DEBIAN_OUT}/man
    COMMAND ${WAITD_GZIP} -9nc ${FROM} > ${WAITD_DEBIAN_OUT}/${WHAT}.gz
    DEPENDS ${FROM}
    VERBATIM)
  list(APPEND WAITD_GZIPPED ${WAITD_DEBIAN_OUT}/${WHAT}.gz)
endforeach()
add_custom_target(waitd_debian_files ALL DEPENDS ${WAITD_GZIPPED})
add_dependencies(waitd_debian_files waitd_man_page waitctl_man_page)

# Only in the package: below another prefix the unit would start a program that is not there.
macro(waitd_debian_file FROM TO)
  install(FILES ${FROM} DESTINATION ${TO} COMPONENT debian EXCLUDE_FROM_ALL ${ARGN})
endmacro()
waitd_debian_file(${PROJECT_SOURCE_DIR}/deploy/systemd/waitd.service lib/systemd/system)
waitd_debian_file(${PROJECT_SOURCE_DIR}/deploy/systemd/waitd-edge.service lib/systemd/system)
waitd_debian_file(${PROJECT_SOURCE_DIR}/deploy/edge/nginx.conf /etc/waitd RENAME edge.conf)
waitd_debian_file(${WAITD_DEBIAN_DIR}/waitd.conf /etc/waitd)
waitd_debian_file(${WAITD_DEBIAN_DIR}/waitd.default /etc/default RENAME waitd)
waitd_debian_file(${WAITD_DEBIAN_DIR}/copyright share/doc/waitd)
waitd_debian_file(${WAITD_DEBIAN_OUT}/changelog.gz share/doc/waitd)
waitd_debian_file(${WAITD_DEBIAN_OUT}/man/waitd.8.gz share/man/man8)
waitd_debian_file(${WAITD_DEBIAN_OUT}/man/waitctl.1.gz share/man/man1)

set(CPACK_GENERATOR DEB)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PACKAGE_NAME waitd)
set(CPACK_PACKAGE_CONTACT "The waitd authors <waitd@users.noreply.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "remote timed waits on named poll descriptors")
set(CPACK_PACKAGE_DESCRIPTION
"waitd is a gRPC service for waits that outlive a process, a machine and a
language. One program parks in Wait, another calls Ready, and whoever owns the
time limit calls SetDeadline, also while the waiter is parked.
.
This package has the server, with a hardened systemd service that serves on
loopback and keeps its store in /var/lib/waitd, and waitctl, its client for
the command line.")
set(CPACK_COMPONENTS_ALL programs debian)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# For waitd-edge.service, which is there and not enabled.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "nginx-light | nginx")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${WAITD_DEBIAN_DIR}/conffiles ${WAITD_DEBIAN_DIR}/postinst ${WAITD_DEBIAN_DIR}/prerm
  ${WAITD_DEBIAN_DIR}/postrm)
include(CPack)
