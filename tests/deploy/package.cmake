# The unit, the Debian package and the image, each with the real programs. The latter two install into
# roots of their own, and so run on their own: `make test-packages`.
foreach(WHAT systemd deb image)
  set(CONFIGURATION CONFIGURATIONS Packages)
  if(WHAT STREQUAL "systemd")
    set(CONFIGURATION)
  endif()
  add_test(NAME deploy_${WHAT} ${CONFIGURATION}
    COMMAND ${Python3_EXECUTABLE} -m pytest -q -p no:cacheprovider
      ${CMAKE_CURRENT_LIST_DIR}/test_${WHAT}.py)
  set_tests_properties(deploy_${WHAT} PROPERTIES
    ENVIRONMENT "WAITD_BIN_DIR=$<TARGET_FILE_DIR:waitd>;WAITD_BUILD_DIR=${PROJECT_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1"
    TIMEOUT 300
    RUN_SERIAL ON)
endforeach()
